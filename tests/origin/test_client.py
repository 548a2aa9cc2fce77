"""The client against servers that answer oddly, break off or say nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from addon.origin.client import OriginLimits, S3Origin
from addon.store.ports import OriginChanged, OriginRefused, OriginRequest, OriginUnavailable, StoreError
from tests.origin.raw_server import SECRET_ACCESS_KEY, Received, answer, origin_at, raw_server

IMPATIENT = OriginLimits(
    connect_timeout_s=0.5, read_timeout_s=0.3, write_timeout_s=0.5, connection_wait_s_max=0.2, connections_max=1
)
OBJECT = (
    b'HTTP/1.1 200 OK\r\nETag: "abc"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 5\r\n\r\nhello'
)
GET = OriginRequest("GET", "k", "", [])


async def whole(body: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in body])


async def test_headers_come_as_they_are_without_those_of_the_connection() -> None:
    answered = (
        b"HTTP/1.1 206 Partial\r\nX-Amz-Meta-A: caf\xc3\xa9\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nConnection: close, X-Hop\r\n"
        b"X-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x00"
    )
    async with raw_server(answered) as server, origin_at(server.port) as origin, origin.send(GET) as got:
        assert got.status == 206
        assert got.headers == [
            ("x-amz-meta-a", "caf\u00c3\u00a9"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("content-encoding", "gzip"),
            ("content-length", "3"),
        ]
        assert await whole(got.body) == b"\x1f\x8b\x00"


async def test_no_redirect_is_followed_and_no_cookie_kept() -> None:
    redirect = answer(307, "Location: http://169.254.169.254/\r\nSet-Cookie: a=1\r\n")
    async with raw_server(redirect) as server, origin_at(server.port) as origin:
        for _ in range(2):
            async with origin.send(GET) as got:
                assert (got.status, got.header("location")) == (307, "http://169.254.169.254/")
        assert len(server.received) == 2
        assert not [name for received in server.received for name, _ in received.headers if name == "cookie"]


async def test_a_chunked_answer_is_unwrapped() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    async with raw_server(chunked) as server, origin_at(server.port) as origin, origin.send(GET) as got:
        assert got.headers == []
        assert await whole(got.body) == b"hello"


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nnonsense\r\n",
    ],
)
async def test_a_truncated_answer_raises_at_its_end(start: bytes) -> None:
    async def break_off(_: Received, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        await writer.drain()
        writer.close()

    async with raw_server(break_off) as server, origin_at(server.port) as origin, origin.send(GET) as got:
        assert await anext(got.body) == b"hello"
        with pytest.raises(OriginUnavailable):
            await anext(got.body)


@pytest.mark.parametrize(
    "start", [b"", b"HTTP/1.1 200", b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n"]
)
async def test_no_http_answer_is_unavailable(start: bytes) -> None:
    async def say(_: Received, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        await writer.drain()
        writer.close()

    async with raw_server(say) as server, origin_at(server.port) as origin:
        with pytest.raises(OriginUnavailable):
            async with origin.send(GET):
                pass


async def test_silence_is_unavailable_before_and_inside_the_body() -> None:
    never = asyncio.Event()

    async def hang(_: Received, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(server.received) == 2:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
            await writer.drain()
        await asyncio.wait_for(never.wait(), 10)
        writer.close()

    async with raw_server(hang) as server, origin_at(server.port, limits=IMPATIENT) as origin:
        with pytest.raises(OriginUnavailable, match="ReadTimeout"):
            async with origin.send(GET):
                pass
        async with origin.send(GET) as got:
            with pytest.raises(OriginUnavailable, match="ReadTimeout"):
                await whole(got.body)
        never.set()


async def test_nobody_there_is_unavailable() -> None:
    async with raw_server() as server:
        port = server.port
    async with origin_at(port) as origin:
        with pytest.raises(OriginUnavailable, match="ConnectError"):
            async with origin.send(GET):
                pass


async def test_waiting_for_a_connection_is_bounded_and_one_given_up_is_free_again() -> None:
    async with raw_server(OBJECT) as server, origin_at(server.port, limits=IMPATIENT) as origin:
        async with origin.send(GET):
            with pytest.raises(OriginUnavailable, match="PoolTimeout"):
                async with origin.send(GET):
                    pass
        for _ in range(3):
            async with origin.send(GET) as got:
                assert await whole(got.body) == b"hello"


async def test_an_early_answer_is_seen_while_the_body_is_still_sent() -> None:
    async def refuse(_: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 4\r\n\r\nstop")
        await writer.drain()
        writer.write_eof()
        while await reader.read(1 << 16):
            pass
        writer.close()

    async def body() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield bytes(1 << 16)

    async with raw_server(refuse, read_body=False) as server, origin_at(server.port) as origin:
        put = OriginRequest("PUT", "k", "", [], body=body(), content_length=64 << 16)
        async with origin.send(put) as got:
            assert (got.status, await whole(got.body)) == (403, b"stop")


class BodyFailed(Exception):
    """What a request's body raises in these tests."""


async def test_a_body_that_fails_is_broken_off_and_its_exception_passes() -> None:
    ended = asyncio.Event()
    got = bytearray()

    async def collect(_: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1024):
            got.extend(piece)
        ended.set()
        writer.close()

    async def body() -> AsyncIterator[bytes]:
        yield b"hello"
        raise BodyFailed

    async with raw_server(collect, read_body=False) as server, origin_at(server.port) as origin:
        with pytest.raises(BodyFailed):
            async with origin.send(OriginRequest("PUT", "k", "", [], body=body(), content_length=10)):
                pass
        await asyncio.wait_for(ended.wait(), 5)
        assert got == b"hello"


@pytest.mark.parametrize("length", [4, 6])
async def test_a_body_of_another_length_than_announced_is_an_error(length: int) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"hello"

    async with raw_server(read_body=False) as server, origin_at(server.port) as origin:
        with pytest.raises(OriginUnavailable, match="announced"):
            async with origin.send(OriginRequest("PUT", "k", "", [], body=body(), content_length=length)):
                pass


async def test_a_copy_asks_for_the_stored_bytes_of_one_version() -> None:
    async with raw_server(OBJECT) as server, origin_at(server.port) as origin:
        async with origin.get_object("a b/\u00e9", if_match="abc") as got:
            assert await whole(got.body) == b"hello"
        (received,) = server.received
        assert (received.method, received.target) == ("GET", b"/bucket/a%20b/%C3%A9")
        assert received.header("accept-encoding") == b"identity"
        assert received.header("if-match") == b'"abc"'
        assert received.header("x-amz-checksum-mode") == b"ENABLED"


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (204, "", OriginRefused),
        (206, "", OriginRefused),
        (301, "PermanentRedirect", OriginRefused),
        (304, "", OriginRefused),
        (400, "InvalidRequest", OriginRefused),
        (400, "RequestTimeout", OriginUnavailable),
        (403, "AccessDenied", OriginRefused),
        (403, "InvalidObjectState", OriginRefused),
        (403, "SignatureDoesNotMatch", OriginUnavailable),
        (403, "RequestTimeTooSkewed", OriginUnavailable),
        (404, "NoSuchKey", OriginRefused),
        (408, "", OriginUnavailable),
        (409, "ConditionalRequestConflict", OriginUnavailable),
        (412, "PreconditionFailed", OriginChanged),
        (429, "", OriginUnavailable),
        (500, "InternalError", OriginUnavailable),
        (501, "NotImplemented", OriginRefused),
        (503, "SlowDown", OriginUnavailable),
    ],
)
async def test_what_other_answers_to_a_copy_mean(status: int, code: str, error: type[StoreError]) -> None:
    body = f"<Error><Code>{code}</Code><Key>k</Key></Error>".encode() if code else b""
    answered = answer(status, body=b"" if status in (204, 304) else body)
    async with raw_server(answered) as server, origin_at(server.port) as origin:
        with pytest.raises(error, match=str(status)) as raised:
            async with origin.get_object("k"):
                pass
        assert code in str(raised.value)
        assert getattr(raised.value, "status", status) == status
        assert getattr(raised.value, "code", code) == code


@pytest.mark.parametrize(("value", "wait_s"), [("7", 7.0), ("999999999", 86400.0), ("-1", None), ("soon", None)])
async def test_retry_after_is_passed_on(value: str, wait_s: float | None) -> None:
    async with raw_server(answer(503, f"Retry-After: {value}\r\n")) as server, origin_at(server.port) as origin:
        with pytest.raises(OriginUnavailable) as raised:
            async with origin.get_object("k"):
                pass
        assert raised.value.retry_after_s == wait_s


@pytest.mark.parametrize(
    "answered",
    [
        answer(200, "Content-Type: text/html\r\n", b"<html>log in</html>"),
        answer(200, 'ETag: W/"abc"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n', b"x"),
        answer(200, 'ETag: "abc"\r\n', b"x"),
    ],
)
async def test_a_200_that_is_no_stored_object_is_refused(answered: bytes) -> None:
    async with raw_server(answered) as server, origin_at(server.port) as origin:
        with pytest.raises(OriginRefused, match="no object"):
            async with origin.get_object("k"):
                pass


async def test_an_endless_error_page_is_not_read_to_its_end() -> None:
    async def flood(_: Received, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 404 No\r\nContent-Length: 1000000000000\r\n\r\n")
        while True:
            writer.write(bytes(1 << 16))
            await writer.drain()

    async with raw_server(flood) as server, origin_at(server.port) as origin:
        with pytest.raises(OriginRefused):
            async with asyncio.timeout(5), origin.get_object("k"):
                pass


async def test_no_secret_is_in_a_log_or_an_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with raw_server() as server:
        port = server.port
        async with origin_at(port) as origin, origin.send(OriginRequest("GET", "k", "a=query-secret", [])):
            pass
        signature = server.received[0].header("authorization").decode().rpartition("=")[2]
    async with origin_at(port) as origin:
        with pytest.raises(OriginUnavailable) as raised:
            async with origin.send(OriginRequest("GET", "k", "a=query-secret", [])):
                pass
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
    said = caplog.text + str(raised.value) + repr(origin) + repr(vars(origin))
    for secret in (SECRET_ACCESS_KEY, signature, "query-secret"):
        assert secret not in said


def test_half_a_pair_of_keys_is_refused() -> None:
    with pytest.raises(ValueError, match="both"):
        S3Origin(endpoint="https://h", bucket="b", region="r", addressing="path", access_key_id="a")
