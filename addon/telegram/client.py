"""One bot's side of the Bot API: calls and file links over HTTP, answers and failures as values.

Rules:
- The token is part of every URL, and httpx logs URLs at INFO and hangs the request on its exceptions. So requests go straight to
  an httpx transport, below the client that does both; the library's exceptions are replaced outside any chain (`from None`);
  and descriptions that come from outside have the token cut out. `redaction.py` guards the libraries' own loggers.
- Nothing here waits, retries or limits: policy is `documents.py`, `downloads.py` and `limits.py`.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx

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
from addon.telegram.multipart import FilePart, MultipartBody
from addon.telegram.redaction import guard_library_loggers

ANSWER_BYTES_MAX = 4 << 20
DESCRIPTION_LENGTH_MAX = 300
RETRY_AFTER_S_DEFAULT = 5.0  # For a 429 that names no time (a gateway's page).
RETRY_AFTER_S_MAX = 24 * 3600.0

_TOKEN = re.compile(r"[1-9][0-9]{0,19}:[A-Za-z0-9_-]{1,80}")
_RETRY_TEXT = re.compile(r"Too Many Requests: retry after (\d+)", re.IGNORECASE)
_FILE_PATH = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~ -]*(/[A-Za-z0-9_~-][A-Za-z0-9_.~ -]*)*")

# The connection was not there yet, so the server cannot have seen the request.
_BEFORE_REQUEST = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@functools.cache
def public_authorities() -> ssl.SSLContext:
    """Whom to trust with the token: the authorities that httpx brings. Read once, as that takes some hundredths of a second."""
    return httpx.create_ssl_context(trust_env=False)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits of one HTTP exchange in seconds. `stall_s` is between two pieces of a transfer; `answer_s` for the whole answer
    of a call; an upload may take `answer_s` plus its size at `upload_bytes_per_s_min`. getFile may take `get_file_s`: a local
    server fetches the whole file first."""

    connect_s: float = 10.0
    stall_s: float = 30.0
    answer_s: float = 45.0
    get_file_s: float = 45.0
    upload_bytes_per_s_min: int = 100_000

    def of_call(self, method: str, upload_bytes: int) -> float:
        answer_s = self.get_file_s if method == "getFile" else self.answer_s
        return answer_s + upload_bytes / self.upload_bytes_per_s_min


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful call: the `result`, and the server's `Date` header ('' where it sent none)."""

    result: Any
    date: str


class BotApi:
    """One bot. `api_url` is `https://api.telegram.org` or the base of a compatible server; `transport` is shared and not owned.

    Raises `ValueError` for a token or URL that cannot be one (the text does not repeat it).
    """

    def __init__(self, api_url: str, token: str, transport: httpx.AsyncBaseTransport, timeouts: Timeouts) -> None:
        if not _TOKEN.fullmatch(token):
            raise ValueError("a bot token looks like 123456:ABC…, as BotFather gives it")
        if urlsplit(api_url).scheme not in ("http", "https") or not urlsplit(api_url).hostname:
            raise ValueError("the Bot API's URL looks like https://api.telegram.org")
        guard_library_loggers()
        self.bot_id = int(token.partition(":")[0])
        self._base = api_url.rstrip("/")
        self._token = token
        self._transport = transport
        self._timeouts = timeouts

    def __repr__(self) -> str:
        return f"<BotApi of bot {self.bot_id}>"

    def without_token(self, text: str) -> str:
        """The text with the token cut out of it."""
        return text.replace(self._token, "<token>")

    async def call(
        self, method: str, params: Mapping[str, str | int | bool] | None = None, *, file: FilePart | None = None
    ) -> Any:
        """Call `method` and return its `result`. Raises a `BotApiError`, or `OSError`/`FileChanged` where `file` cannot be read."""
        return (await self.exchange(method, params, file=file)).result

    async def exchange(
        self, method: str, params: Mapping[str, str | int | bool] | None = None, *, file: FilePart | None = None
    ) -> Answer:
        """`call`, with what the answer's headers say."""
        texts = {name: _text(value) for name, value in (params or {}).items()}
        body = MultipartBody(texts, file) if file else None
        # A failure leaves this frame only as one of our own errors: the request object, whose repr shows the URL, stays inside.
        outcome = await self._outcome(method, texts, body, self._timeouts.of_call(method, file.size if file else 0))
        if isinstance(outcome, BotApiError):
            raise outcome
        return outcome

    async def _outcome(
        self, method: str, params: Mapping[str, str], body: MultipartBody | None, timeout_s: float
    ) -> Answer | BotApiError:
        sent = True
        try:
            async with asyncio.timeout(timeout_s):
                request = self._request(method, params, body)
                response = await self._transport.handle_async_request(request)
                try:
                    content = await _whole(response, method)
                finally:
                    await response.aclose()
        except httpx.TransportError as error:
            sent = not isinstance(error, _BEFORE_REQUEST) and (body is None or body.complete)
            return NetworkFailure(method, _kind(error), ambiguous=sent)
        except TimeoutError:
            sent = body is None or body.complete
            return NetworkFailure(method, f"no whole answer within {timeout_s:g} s", ambiguous=sent)
        except MalformedAnswer as error:
            return error
        return interpret(method, response.status_code, response.headers, content, secret=self._token)

    def _request(self, method: str, params: Mapping[str, str], body: MultipartBody | None) -> httpx.Request:
        url = f"{self._base}/bot{self._token}/{method}"
        timeout = {"timeout": self._phases(self._timeouts.of_call(method, 0))}
        if body is None:
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            return httpx.Request("POST", url, headers=form, content=urlencode(params).encode(), extensions=timeout)
        headers = {"Content-Type": body.content_type, "Content-Length": str(body.content_length)}
        return httpx.Request("POST", url, headers=headers, content=body, extensions=timeout)

    def _phases(self, read_s: float) -> dict[str, float]:
        limits = self._timeouts
        return {"connect": limits.connect_s, "pool": limits.connect_s, "write": limits.stall_s, "read": read_s}

    @asynccontextmanager
    async def open_file(self, file_path: str, headers: Mapping[str, str]) -> AsyncIterator[httpx.Response]:
        """GET a file link. The response is open (status and headers are there) and is closed at the end of the context.

        Raises what `download_failure` says for any status but 200 and 206, `NetworkFailure` where no answer came.
        """
        if not _FILE_PATH.fullmatch(file_path):
            raise MalformedAnswer("getFile", "a file_path that cannot be part of a file link")
        response = await self._open(quote(file_path), headers)
        if isinstance(response, BotApiError):
            raise response
        try:
            yield response
        finally:
            await response.aclose()

    async def _open(self, quoted_path: str, headers: Mapping[str, str]) -> httpx.Response | BotApiError:
        request = httpx.Request(
            "GET",
            f"{self._base}/file/bot{self._token}/{quoted_path}",
            headers={"Accept-Encoding": "identity", **headers},
            extensions={"timeout": self._phases(self._timeouts.stall_s)},
        )
        try:
            response = await self._transport.handle_async_request(request)
        except httpx.TransportError as error:
            return NetworkFailure("download", _kind(error), ambiguous=False)
        if response.status_code in (200, 206):
            return response
        await response.aclose()
        return download_failure(response.status_code, response.headers)


async def _whole(response: httpx.Response, method: str) -> bytes:
    content = bytearray()
    async for piece in response.aiter_raw():
        content += piece
        if len(content) > ANSWER_BYTES_MAX:
            raise MalformedAnswer(method, f"an answer of more than {ANSWER_BYTES_MAX} bytes")
    return bytes(content)


def _text(value: str | int | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _kind(error: httpx.TransportError) -> str:
    """The failure without the library's text: it may quote what it was given."""
    return f"the connection failed ({type(error).__name__})"


def interpret(
    method: str, status: int, headers: httpx.Headers, content: bytes, *, secret: str = ""
) -> Answer | BotApiError:
    """What an answer means (https://core.telegram.org/bots/api#making-requests). `secret` is cut out of any description."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        return _without_json(method, status, headers)
    if answer.get("ok") is True and status < 300:
        result = answer.get("result")
        if result is None:
            return MalformedAnswer(method, "an ok answer without a result")
        return Answer(result, headers.get("date", ""))
    return _refusal(method, status, headers, answer, secret)


def _refusal(method: str, status: int, headers: httpx.Headers, answer: dict[str, Any], secret: str) -> BotApiError:
    code = answer["error_code"] if _is_int(answer.get("error_code")) else status
    description = answer.get("description")
    text = description if isinstance(description, str) else ""
    text = (text.replace(secret, "<token>") if secret else text)[:DESCRIPTION_LENGTH_MAX]
    given = answer.get("parameters")
    parameters = given if isinstance(given, dict) else {}
    if code == 429 or _is_int(parameters.get("retry_after")) or _RETRY_TEXT.search(text):
        return RateLimited(method, _retry_after_s(parameters, text, headers))
    if _is_int(parameters.get("migrate_to_chat_id")):
        return ChatMigrated(method, parameters["migrate_to_chat_id"])
    if code == 413:
        return TooLarge(method, code, text)
    if code >= 500:
        return ServerFailure(method, code)
    # The cloud answers a malformed token with a bare 404, and a bot of another server range with 421.
    if code in (401, 421) or (code == 404 and text == "Not Found"):
        return Unauthorized(method, text)
    if code == 403:
        return Forbidden(method, text)
    if 400 <= code < 500:
        return BadRequest(method, code, text)
    return MalformedAnswer(method, f"an answer with status {status} that is neither a result nor an error")


def _without_json(method: str, status: int, headers: httpx.Headers) -> BotApiError:
    if status == 429:
        return RateLimited(method, _retry_after_s({}, "", headers))
    if status == 413:
        return TooLarge(method, status, "Request Entity Too Large")
    if status >= 500:
        return ServerFailure(method, status)
    return MalformedAnswer(method, f"an answer with status {status} that is not JSON")


def download_failure(status: int, headers: httpx.Headers) -> BotApiError:
    """What a status other than 200 and 206 means on a file link; the body is not looked at."""
    if status == 429:
        return RateLimited("download", _retry_after_s({}, "", headers))
    if status in (401, 403):
        return Unauthorized("download", f"status {status} on a file link")
    if status in (404, 410):
        return NotFound("download", "the file link has expired or is unknown")
    if status >= 500:
        return ServerFailure("download", status)
    return MalformedAnswer("download", f"status {status} on a file link")


def _retry_after_s(parameters: Mapping[str, Any], text: str, headers: httpx.Headers) -> float:
    told = parameters.get("retry_after")
    match = _RETRY_TEXT.search(text)
    header = headers.get("retry-after", "")
    seconds = RETRY_AFTER_S_DEFAULT
    if isinstance(told, int):
        seconds = float(min(told, RETRY_AFTER_S_MAX))
    elif match:
        seconds = float(match[1])
    elif header.isascii() and header.isdigit():
        seconds = float(header)
    return min(max(seconds, 0.0), RETRY_AFTER_S_MAX)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
