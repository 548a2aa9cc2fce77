"""A request as the object service received it, and the answer that it gives: plain values between ASGI and the handlers.

Header values are text by Latin-1, one character a byte, in both directions: so bytes leave as they came, whatever they are.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from addon.s3.errors import S3Error

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# A client that sends nothing of its body for this long is given up, so that slow senders cannot hold everything.
BODY_IDLE_S_MAX = 60.0


class ClientGone(Exception):
    """The client went away; there is nobody to answer."""


@dataclass(frozen=True, slots=True)
class S3Request:
    """What was asked. `raw_path` and `raw_query` are the request target's bytes, never normalised; header names are lower case."""

    request_id: str
    method: str
    raw_path: str
    raw_query: str
    headers: Sequence[tuple[str, str]]
    receive: Receive

    def header(self, name: str) -> str | None:
        """The value of header `name` (lower case), or None. Raises InvalidArgument where it stands more than once."""
        return only_value(self.headers, name)

    @property
    def host(self) -> str:
        """The Host header, empty where there is none."""
        return self.header("host") or ""

    @property
    def has_body(self) -> bool:
        """Whether a body follows the headers (RFC 9112, section 6)."""
        return self.header("transfer-encoding") is not None or (self.header("content-length") or "0") != "0"

    async def body(self) -> AsyncGenerator[bytes, None]:
        """The body's pieces as they arrive. Raises `ClientGone`, and RequestTimeout where nothing comes."""
        more = True
        while more:
            try:
                async with asyncio.timeout(BODY_IDLE_S_MAX):
                    event = await self.receive()
            except TimeoutError:
                raise S3Error(
                    "RequestTimeout",
                    "Your socket connection to the server was not read from or written to within the timeout period.",
                ) from None
            if event["type"] == "http.disconnect":
                raise ClientGone
            more = event.get("more_body", False)
            if piece := event.get("body", b""):
                yield piece


def new_request_id() -> str:
    """An `x-amz-request-id`, of the form that AWS gives."""
    return secrets.token_hex(8).upper()


def only_value(headers: Sequence[tuple[str, str]], name: str) -> str | None:
    """The value of header `name` (lower case), or None. Raises InvalidArgument where it stands more than once."""
    values = [value for header, value in headers if header == name]
    if len(values) > 1:
        raise S3Error("InvalidArgument", f"The header {name} was given more than once.")
    return values[0] if values else None


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. `body` is whole, or a stream whose failure breaks the transfer off; `headers` hold Content-Length where known."""

    status: int
    headers: Sequence[tuple[str, str]] = ()
    body: bytes | AsyncGenerator[bytes, None] = b""
