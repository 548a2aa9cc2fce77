"""One download: exactly the bytes that were asked for, or an error, whatever the file host does."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.telegram.client import BotApi, Timeouts
from addon.telegram.downloads import SLOW_GRACE_S, bytes_to_skip, download
from addon.telegram.errors import BotApiError, MalformedAnswer, NetworkFailure
from addon.telegram.wide_reads import READ_BYTES, read_in_wide_pieces
from tests.telegram.scripted_server import Handler, Request, answer, scripted_server

CONTENT = random.Random(3).randbytes(3_000_000)
PIECE_BYTES_MAX = 1 << 20

SIZE, OFFSET, LENGTH = 1000, 100, 50


@pytest.mark.parametrize(
    ("status", "headers", "skip"),
    [
        (200, {"content-length": "1000"}, 100),
        (200, {}, 100),
        (200, {"content-length": "0"}, None),
        (200, {"content-length": "999"}, None),
        (200, {"content-length": "50"}, None),
        (200, {"content-length": "1000", "content-encoding": "gzip"}, None),
        (206, {"content-range": "bytes 100-149/1000"}, 0),
        (206, {"content-range": "bytes 100-149/*"}, 0),
        (206, {"content-range": "bytes 100-149/1001"}, None),
        (206, {"content-range": "bytes 0-49/1000"}, None),
        (206, {"content-range": "bytes 100-148/1000"}, None),
        (206, {"content-range": "bytes 100-999/1000"}, None),
        (206, {"content-length": "50"}, None),
        (206, {"content-range": "bytes 100-149/1000", "content-encoding": "gzip"}, None),
    ],
)
def test_headers_show_where_the_wanted_bytes_are_or_that_they_are_not_there(status, headers, skip) -> None:
    if skip is not None:
        assert bytes_to_skip(status, headers, size=SIZE, offset=OFFSET, length=LENGTH) == skip
    else:
        with pytest.raises(MalformedAnswer):
            bytes_to_skip(status, headers, size=SIZE, offset=OFFSET, length=LENGTH)


@asynccontextmanager
async def bot_before(handle: Handler) -> AsyncIterator[BotApi]:
    async with scripted_server(handle) as server, httpx.AsyncHTTPTransport() as transport:
        yield BotApi(server.url, "1:a", transport, Timeouts(stall_s=0.5))


async def fetch(
    bot: BotApi, size: int, offset: int, length: int, clock=time.monotonic
) -> tuple[bytes, Exception | None]:
    pieces = bytearray()
    stream = download(bot, "documents/file_1.bin", size=size, offset=offset, length=length, clock=clock)
    try:
        async with aclosing(stream):
            async for piece in stream:
                assert 0 < len(piece) <= PIECE_BYTES_MAX
                pieces += piece
    except BotApiError as error:
        return bytes(pieces), error
    return bytes(pieces), None


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_the_file_host_sends_only_right_bytes_are_passed_on(data: st.DataObject) -> None:
    """The host may honour the range or not, lie about it, cut the body anywhere, send more, in chunks or not."""
    size = data.draw(st.integers(1, 5000))
    offset = data.draw(st.integers(0, size - 1))
    length = data.draw(st.integers(1, size - offset))
    ranged = data.draw(st.booleans())
    first = data.draw(st.sampled_from([offset, 0, min(offset + 1, size - 1)])) if ranged else 0
    last = data.draw(st.sampled_from([offset + length - 1, size - 1])) if ranged else size - 1
    body = CONTENT[first : max(last, first) + 1]
    cut = data.draw(st.sampled_from([len(body), 0, len(body) // 2, max(len(body) - 1, 0)]))
    told = data.draw(st.sampled_from(["whole", "cut", "chunked"]))

    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        extra = {"Content-Range": f"bytes {first}-{max(last, first)}/{size}"} if ranged else {}
        if told == "chunked":
            lines = "".join(f"{name}: {value}\r\n" for name, value in extra.items())
            head = f"HTTP/1.1 {206 if ranged else 200} X\r\nTransfer-Encoding: chunked\r\n{lines}\r\n".encode()
            chunk = f"{cut:x}\r\n".encode() + body[:cut] + b"\r\n" if cut else b""
            writer.write(head + chunk + b"0\r\n\r\n")
        else:
            length_told = len(body) if told == "whole" else cut
            writer.write(answer(body[:cut], 206 if ranged else 200, extra, length=length_told))
        writer.close()

    async def run() -> tuple[bytes, Exception | None]:
        async with bot_before(handle) as bot, asyncio.timeout(10):
            return await fetch(bot, size, offset, length)

    got, error = asyncio.run(run())
    wanted = CONTENT[offset : offset + length]
    assert got == wanted[: len(got)]
    assert (error is None) == (got == wanted)


async def test_a_large_file_comes_in_pieces_of_bounded_size() -> None:
    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        assert "range" not in request.headers
        assert request.headers["accept-encoding"] == "identity"
        writer.write(answer(CONTENT))

    async with bot_before(handle) as bot:
        assert await fetch(bot, len(CONTENT), 0, len(CONTENT)) == (CONTENT, None)


async def test_the_rest_of_a_file_is_not_waited_for() -> None:
    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(CONTENT[:1000], length=len(CONTENT)))

    async with bot_before(handle) as bot:
        assert await fetch(bot, len(CONTENT), 100, 900) == (CONTENT[100:1000], None)


async def test_a_transfer_that_stalls_is_ended() -> None:
    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(CONTENT[:1000], length=len(CONTENT)))

    async with bot_before(handle) as bot:
        got, error = await fetch(bot, len(CONTENT), 0, len(CONTENT))
    assert got == CONTENT[:1000]
    assert isinstance(error, NetworkFailure)


async def test_a_transfer_that_trickles_is_ended() -> None:
    stop = asyncio.Event()

    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"", length=len(CONTENT)))
        for byte in CONTENT[:500]:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        await stop.wait()

    now_s = 0.0

    def clock() -> float:
        nonlocal now_s
        now_s += SLOW_GRACE_S / 10
        return now_s

    async with bot_before(handle) as bot:
        got, error = await fetch(bot, len(CONTENT), 0, len(CONTENT), clock)
        stop.set()
    assert isinstance(error, NetworkFailure)
    assert got == CONTENT[: len(got)]
    assert "only" in str(error) or "broke off" in str(error)


async def test_a_slow_reader_is_no_slow_transfer() -> None:
    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(CONTENT))

    now_s = 0.0
    got = bytearray()
    async with bot_before(handle) as bot:
        stream = download(bot, "documents/f.bin", size=len(CONTENT), offset=0, length=len(CONTENT), clock=lambda: now_s)
        async with aclosing(stream):
            async for piece in stream:
                got += piece
                now_s += 3600.0  # the reader's own time, between two pieces
    assert got == CONTENT


@pytest.mark.parametrize("offset", [0, 1_000, len(CONTENT) - 500_000])
async def test_one_connection_serves_one_download_after_the_other(offset: int) -> None:
    connections = set()

    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        connections.add(writer.get_extra_info("peername"))
        length = 500_000
        told = {"Content-Range": f"bytes {offset}-{offset + length - 1}/{len(CONTENT)}"}
        writer.write(answer(CONTENT[offset : offset + length], 206, told))

    async with bot_before(handle) as bot:
        for _ in range(3):
            pieces = download(
                bot, "documents/f", size=len(CONTENT), offset=offset, length=500_000, clock=time.monotonic
            )
            assert b"".join([piece async for piece in pieces]) == CONTENT[offset : offset + 500_000]
    assert len(connections) == 1


async def test_whether_ranges_are_honoured_is_told() -> None:
    told: list[bool] = []

    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        if told:
            writer.write(answer(CONTENT[5:15], 206, {"Content-Range": f"bytes 5-14/{len(CONTENT)}"}))
        else:
            writer.write(answer(CONTENT))

    async with bot_before(handle) as bot:
        for _ in range(2):
            ranged = download(
                bot, "f", size=len(CONTENT), offset=5, length=10, clock=time.monotonic, tell_range=told.append
            )
            async with aclosing(ranged) as pieces:
                assert b"".join([piece async for piece in pieces]) == CONTENT[5:15]
    assert told == [False, True]


async def test_pieces_are_as_wide_as_asyncio_reads_them() -> None:
    """httpcore's constant still means what we take it for: without it there would be 46 pieces."""

    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(CONTENT))
        await writer.drain()

    read_in_wide_pieces()
    async with bot_before(handle) as bot:
        pieces = download(bot, "f", size=len(CONTENT), offset=0, length=len(CONTENT), clock=time.monotonic)
        widest = max([len(piece) async for piece in pieces])
    assert 64 * 1024 < widest <= READ_BYTES
