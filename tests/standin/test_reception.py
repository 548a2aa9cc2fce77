"""Requests in every form, and those that the parser refuses without a word."""

import asyncio
import gzip
import json
import socket
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest

from addon.standin.server import StandIn
from addon.standin.switches import Switches
from tests.standin.asking import Asker
from tests.standin_fixture import BOT_A, CHANNEL

ANSWER_S_MAX = 5.0


async def exchange(standin: StandIn, request: bytes) -> bytes:
    """Send raw bytes and read until the server closes, or resets because it did not want all of them."""
    host, port = standin.url.removeprefix("http://").split(":")

    def blocking() -> bytes:
        received = b""
        with socket.create_connection((host, int(port)), timeout=ANSWER_S_MAX) as connection:
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(request)
            with suppress(ConnectionResetError):
                while piece := connection.recv(65536):
                    received += piece
        return received

    return await asyncio.to_thread(blocking)


def raw(method: str, target: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def form(*parts: tuple[str, bytes]) -> tuple[str, bytes]:
    """A Content-Type and Content-Length header and a multipart body of parts with these dispositions."""
    body = b"".join(
        b"--B\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + content + b"\r\n"
        for head, content in parts
    )
    body += b"--B--\r\n"
    return f"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: {len(body)}", body


@pytest.mark.parametrize("verb", ["PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW"])
async def test_other_verbs_are_501_with_nothing_and_the_end(standin: StandIn, verb: str) -> None:
    answer = await exchange(standin, f"{verb} /bot{BOT_A}/getMe HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 501 Not Implemented\r\n")
    assert b"Content-Length: 0" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 300_000 + b"\r\n\r\n", 431),
        (raw("POST", "/botT/m", "Content-Type: multipart/form-data", "Content-Length: 0"), 400),
        (raw("POST", "/botT/m", "Content-Type: application/json", "Content-Length: 1", body=b"["), 400),
        (raw("POST", "/botT/m", "Content-Encoding: br", "Content-Length: 1", body=b"x"), 415),
        (raw("POST", "/botT/m", "Content-Encoding: gzip", "Content-Length: 1", body=b"x"), 400),
    ],
)
async def test_what_the_parser_refuses_is_a_bare_status_line(
    standin: StandIn, request_bytes: bytes, status: int
) -> None:
    answer = await exchange(standin, request_bytes)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert answer.endswith(b"Connection: close\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([("filename=x", b"x")], 400),
        ([("name=a", b"x" * (1024 * 1024 + 1))], 413),
        ([(f"name=f{number}; filename=x", b"x") for number in range(51)], 413),
    ],
)
async def test_multipart_that_is_refused_bare(standin: StandIn, parts: list[tuple[str, bytes]], status: int) -> None:
    headers, body = form(*parts)
    answer = await exchange(standin, raw("POST", f"/bot{BOT_A}/sendDocument", headers, body=body))
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


async def test_the_same_call_from_every_source(standin: StandIn, http: httpx.AsyncClient) -> None:
    url = f"{standin.url}/bot{BOT_A}/sendMessage"
    arguments = {"chat_id": str(CHANNEL), "text": "grüße+"}

    async def chunked() -> AsyncIterator[bytes]:
        yield b'{"chat_id": "%d",' % CHANNEL
        yield '"text": "grüße+"}'.encode()

    as_json = json.dumps(arguments).encode()
    answers = [
        await http.get(url, params=arguments),
        await http.post(url, data=arguments),
        await http.post(url, json={**arguments, "chat_id": CHANNEL}),
        await http.post(url, content=chunked(), headers={"Content-Type": "application/json"}),
        await http.post(url, params={"chat_id": CHANNEL}, json={"chat_id": 5, "text": "grüße+"}),
        await http.post(
            url,
            content=gzip.compress(as_json),
            headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
        ),
        await http.post(
            url,
            content=zlib.compress(as_json),
            headers={"Content-Type": "application/json", "Content-Encoding": "deflate"},
        ),
    ]
    for number, answer in enumerate(answers, start=2):
        assert answer.json()["result"]["text"] == "grüße+", answer.text
        assert answer.json()["result"]["message_id"] == number


async def test_the_part_is_found_by_filename_and_its_type_is_ignored(standin: StandIn, bot: Asker) -> None:
    headers, body = form(
        ('name="chat_id"\r\nContent-Type: text/plain', str(CHANNEL).encode()),
        ("name=document; filename=chunk 3.bin\r\nContent-Type: image/png", b"x"),
    )
    answer = await exchange(standin, raw("POST", f"/bot{BOT_A}/sendDocument", headers, body=body))
    document = json.loads(answer.partition(b"\r\n\r\n")[2])["result"]["document"]
    assert document["file_name"] == "chunk 3.bin"
    assert document["mime_type"] == "application/octet-stream"


async def test_many_requests_on_one_connection(standin: StandIn) -> None:
    one = f"GET /bot{BOT_A}/getMe HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    answer = await exchange(standin, one * 3 + raw("GET", f"/bot{BOT_A}/getMe"))
    assert answer.count(b'"ok":true') == 4


async def test_an_upload_that_breaks_off_leaves_nothing(standin: StandIn) -> None:
    headers, body = form(("name=document; filename=x", b"x" * 100_000))
    host, port = standin.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(raw("POST", f"/bot{BOT_A}/sendDocument?chat_id={CHANNEL}", headers, body=body[:50_000]))
    await writer.drain()
    writer.write_eof()
    async with asyncio.timeout(ANSWER_S_MAX):
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    assert list((standin.folder / "incoming").iterdir()) == []
    assert standin.control.log()[-1]["outcome"] == "gone"


class TestUploadLimit:
    @pytest.fixture
    def switches(self) -> Switches:
        return Switches(upload_limit_bytes=50_000, upload_limit_counts="file")

    async def test_the_limit_itself_passes_and_one_byte_more_does_not(self, standin: StandIn, bot: Asker) -> None:
        await bot.send(bytes(50_000))
        answer = await bot.answer("sendDocument", {"document": ("a.bin", bytes(50_001))}, chat_id=CHANNEL)
        assert answer.status_code == 413
        assert answer.content == b'{"ok":false,"error_code":413,"description":"Request Entity Too Large"}'
        assert answer.headers["content-length"] == "70"
        assert answer.headers["connection"] == "close"
        assert list((standin.folder / "incoming").iterdir()) == []


class TestUploadLimitOfTheBody:
    @pytest.fixture
    def switches(self) -> Switches:
        return Switches(upload_limit_bytes=50_000)

    async def test_the_whole_body_counts(self, bot: Asker) -> None:
        await bot.send(bytes(49_000))
        assert (await bot.refused("sendDocument", {"document": ("a.bin", bytes(50_000))}, chat_id=CHANNEL))[0] == 413


class TestEarlyRefusal:
    @pytest.fixture
    def switches(self) -> Switches:
        return Switches(upload_limit_bytes=50_000, oversize_answer="early")

    async def test_the_client_is_refused_or_reset_while_it_writes(self, standin: StandIn, bot: Asker) -> None:
        try:
            answer = await bot.answer("sendDocument", {"document": ("a.bin", bytes(30_000_000))}, chat_id=CHANNEL)
        except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
            pass
        else:
            assert answer.status_code == 413
        assert standin.control.log()[-1]["status"] in (0, 413)
        assert standin.control.log()[-1]["executed"] == 0
