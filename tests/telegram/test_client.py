"""Answers and failures of single calls, what goes over the wire, and that a token never leaves the client."""

from __future__ import annotations

import asyncio
import email.parser
import email.policy
import json
import logging
import time
from pathlib import Path

import httpx
import pytest

from addon.telegram.client import Answer, BotApi, Timeouts, download_failure, interpret
from addon.telegram.downloads import download
from addon.telegram.errors import (
    BadRequest,
    BotApiError,
    ChatMigrated,
    Forbidden,
    MalformedAnswer,
    NetworkFailure,
    NotFound,
    RateLimited,
    ServerFailure,
    TooLarge,
    Unauthorized,
)
from addon.telegram.multipart import FileChanged, FilePart
from tests.telegram.scripted_server import Request, answer, reset, scripted_server
from tests.telegram.secrecy import TOKEN, assert_no_token

QUICK = Timeouts(connect_s=1.0, stall_s=0.3, answer_s=0.3)


def refused(code: int, description: str, **parameters: int) -> bytes:
    answer = {"ok": False, "error_code": code, "description": description}
    return json.dumps(answer | ({"parameters": parameters} if parameters else {})).encode()


HTML = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body></body></html>"

ANSWERS = [
    (200, b'{"ok":true,"result":{"id":1}}', Answer({"id": 1}, "")),
    (200, b'{"ok":true,"result":false}', Answer(False, "")),
    (200, b'{"ok":true,"result":null}', MalformedAnswer),
    (200, b'{"ok":true}', MalformedAnswer),
    (200, b'{"ok":', MalformedAnswer),
    (200, b"", MalformedAnswer),
    (200, b"[1]", MalformedAnswer),
    (200, b"[" * 100_000, MalformedAnswer),
    (302, b"", MalformedAnswer),
    (200, b'{"ok":"yes","result":1}', MalformedAnswer),
    (429, refused(429, "Too Many Requests: retry after 7", retry_after=7), RateLimited),
    (400, refused(400, "Bad Request: Too Many Requests: retry after 15"), RateLimited),
    (400, refused(400, "Too Many Requests: retry after 15"), RateLimited),
    (429, HTML, RateLimited),
    (400, refused(400, "Bad Request: chat not found"), BadRequest),
    (400, refused(400, "group chat was upgraded", migrate_to_chat_id=-1007), ChatMigrated),
    (401, refused(401, "Unauthorized"), Unauthorized),
    (404, refused(404, "Not Found"), Unauthorized),
    (404, refused(404, "Not Found: method not found"), BadRequest),
    (421, refused(421, "Misdirected Request: unallowed token specified"), Unauthorized),
    (403, refused(403, "Forbidden: bot was kicked from the channel chat"), Forbidden),
    (409, refused(409, "Conflict"), BadRequest),
    (413, refused(413, "Request Entity Too Large"), TooLarge),
    (413, b"<html>413</html>", TooLarge),
    (413, b"", TooLarge),
    (500, refused(500, "Internal Server Error: restart"), ServerFailure),
    (502, HTML, ServerFailure),
    (504, refused(504, "Gateway Timeout"), ServerFailure),
    (500, b'{"ok":true,"result":1}', ServerFailure),
    (200, b'{"ok":false}', MalformedAnswer),
]


@pytest.mark.parametrize(("status", "body", "meaning"), ANSWERS)
def test_each_form_of_answer_has_its_meaning(status: int, body: bytes, meaning: Answer | type[BotApiError]) -> None:
    found = interpret("m", status, httpx.Headers(), body)
    if isinstance(meaning, Answer):
        assert found == meaning
    else:
        assert type(found) is meaning


@pytest.mark.parametrize(
    ("headers", "body", "retry_after_s"),
    [
        ({"retry-after": "9"}, refused(429, "Too Many Requests: retry after 7", retry_after=7), 7),
        ({"retry-after": "9"}, b"", 9),
        ({"retry-after": "soon"}, b"", 5),
        ({}, refused(400, "too many requests: Retry after 15"), 15),
        ({}, refused(429, "Too Many Requests: retry after 1", retry_after=10**400), 24 * 3600),
        ({}, refused(429, "Too Many Requests", retry_after=-3), 0),
    ],
)
def test_retry_after_is_read_from_wherever_it_stands(headers, body, retry_after_s) -> None:
    found = interpret("m", 429, httpx.Headers(headers), body)
    assert isinstance(found, RateLimited)
    assert found.retry_after_s == retry_after_s


def test_where_a_group_went() -> None:
    found = interpret("m", 400, httpx.Headers(), refused(400, "upgraded", migrate_to_chat_id=-1007))
    assert isinstance(found, ChatMigrated)
    assert found.chat_id == -1007


@pytest.mark.parametrize(
    ("status", "meaning"),
    [(404, NotFound), (401, Unauthorized), (429, RateLimited), (502, ServerFailure), (416, MalformedAnswer)],
)
def test_each_status_of_a_file_link_has_its_meaning(status: int, meaning: type[BotApiError]) -> None:
    assert type(download_failure(status, httpx.Headers())) is meaning


@pytest.mark.parametrize("token", ["", "124", "abc:def", "0123:abc", "123:a/b", "123:a b", "123:"])
def test_what_cannot_be_a_token_is_refused_without_repeating_it(token: str) -> None:
    with pytest.raises(ValueError, match="BotFather") as caught:
        BotApi("http://127.0.0.1", token, httpx.AsyncHTTPTransport(), QUICK)
    assert not token or token not in str(caught.value)


async def test_a_document_goes_out_as_multipart_with_its_length(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000  # more than two blocks
    path = tmp_path / "document"
    path.write_bytes(content)

    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer({"ok": True, "result": True}))

    async with scripted_server(handle) as server, httpx.AsyncHTTPTransport() as transport:
        bot = BotApi(server.url + "/", TOKEN, transport, QUICK)
        part = FilePart("document", "abc.bin", path, len(content))
        assert await bot.call("sendDocument", {"chat_id": -1001, "caption": "x", "quiet": True}, file=part) is True
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", f"/bot{TOKEN}/sendDocument")
    assert "transfer-encoding" not in request.headers
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + request.body)
    parts = {part.get_param("name", header="content-disposition"): part for part in message.iter_parts()}
    assert {name: part.get_payload() for name, part in parts.items() if name != "document"} == {
        "chat_id": "-1001",
        "caption": "x",
        "quiet": "true",
    }
    assert parts["document"].get_filename() == "abc.bin"
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    assert b"\r\n\r\n" + content + b"\r\n--" + boundary + b"--\r\n" in request.body


async def test_a_file_that_is_shorter_than_announced_is_our_mistake_and_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "document").write_bytes(b"abc")

    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        raise AssertionError("a whole request arrived")

    async with scripted_server(handle) as server, httpx.AsyncHTTPTransport() as transport:
        bot = BotApi(server.url, TOKEN, transport, QUICK)
        with pytest.raises(FileChanged):
            await bot.call("sendDocument", file=FilePart("document", "a.bin", tmp_path / "document", 4))


async def _reset(request: Request, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def _close(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _hang(request: Request, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(10)


async def _trickle(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(b"", length=1000))
    for _ in range(1000):
        writer.write(b" ")
        await asyncio.sleep(0.01)


async def _truncate(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(b'{"ok":true,"resu', length=100))
    writer.close()


async def _redirect(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(b"", 302, {"Location": f"https://example.com/bot{TOKEN}/getMe"}))


async def _not_http(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(f"/bot{TOKEN} is not HTTP\r\n\r\n".encode())
    writer.close()


async def _gossip(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(refused(400, f"Bad Request: POST /bot{TOKEN}/getMe is odd"), 400))


async def _flood(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(b" " * (5 << 20)))


@pytest.mark.parametrize(
    ("handle", "error", "ambiguous"),
    [
        (_reset, NetworkFailure, True),
        (_close, NetworkFailure, True),
        (_hang, NetworkFailure, True),
        (_trickle, NetworkFailure, True),
        (_truncate, NetworkFailure, True),
        (_not_http, NetworkFailure, True),
        (_redirect, MalformedAnswer, None),
        (_gossip, BadRequest, None),
        (_flood, MalformedAnswer, None),
    ],
)
async def test_failures_are_mapped_and_the_token_shows_nowhere(handle, error, ambiguous, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    async with scripted_server(handle) as server, httpx.AsyncHTTPTransport() as transport:
        bot = BotApi(server.url, TOKEN, transport, QUICK)
        with pytest.raises(error) as caught:
            await bot.call("getMe")
        with pytest.raises(BotApiError) as on_link:
            await everything(bot)
    if ambiguous is not None:
        assert caught.value.ambiguous is ambiguous
    assert_no_token(caught.value, on_link.value, bot, caplog.text)


async def test_a_refused_connection_was_certainly_not_a_request(caplog) -> None:
    caplog.set_level(logging.DEBUG)
    async with httpx.AsyncHTTPTransport() as transport:
        bot = BotApi("http://127.0.0.1:1", TOKEN, transport, QUICK)
        with pytest.raises(NetworkFailure) as caught:
            await bot.call("getMe")
    assert caught.value.ambiguous is False
    assert_no_token(caught.value, bot, caplog.text)


async def test_an_upload_cut_off_in_the_middle_was_certainly_not_carried_out(tmp_path: Path) -> None:
    path = tmp_path / "document"
    path.write_bytes(bytes(30_000_000))

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1000)
        reset(writer)

    listener = await asyncio.start_server(cut, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    async with listener, httpx.AsyncHTTPTransport() as transport:
        bot = BotApi(url, TOKEN, transport, QUICK)
        with pytest.raises(NetworkFailure) as caught:
            await bot.call("sendDocument", file=FilePart("document", "a.bin", path, 30_000_000))
    assert caught.value.ambiguous is False


async def test_an_upload_whose_answer_is_lost_may_have_been_carried_out(tmp_path: Path) -> None:
    (tmp_path / "document").write_bytes(b"abc")
    async with scripted_server(_reset) as server, httpx.AsyncHTTPTransport() as transport:
        bot = BotApi(server.url, TOKEN, transport, QUICK)
        with pytest.raises(NetworkFailure) as caught:
            await bot.call("sendDocument", file=FilePart("document", "a.bin", tmp_path / "document", 3))
    assert caught.value.ambiguous is True


async def test_the_line_that_httpx_writes_for_each_url_is_redacted_for_everyone(caplog) -> None:
    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer({"ok": True, "result": True}))

    caplog.set_level(logging.DEBUG)
    async with scripted_server(handle) as server, httpx.AsyncHTTPTransport() as transport:
        BotApi(server.url, TOKEN, transport, QUICK)
        async with httpx.AsyncClient() as client:
            await client.get(f"{server.url}/bot{TOKEN}/getMe")
    assert "bot<token>/getMe" in caplog.text
    assert_no_token(caplog.text)


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "https://example.com/x", "a/../../b?c", "a b\r\nX: y", ""])
async def test_a_file_path_that_is_none_is_not_asked_for(path: str) -> None:
    async with httpx.AsyncHTTPTransport() as transport:
        bot = BotApi("http://127.0.0.1:1", TOKEN, transport, QUICK)
        with pytest.raises(MalformedAnswer):
            async with bot.open_file(path, {}):
                pass


async def everything(bot: BotApi) -> bytes:
    pieces = download(bot, "documents/file_0.bin", size=9, offset=1, length=8, clock=time.monotonic)
    return b"".join([piece async for piece in pieces])
