"""Large bodies that reach mitmproxy without being copied through the loopback connection.

The object service runs in mitmdump's process, and mitmproxy takes an answer either whole or from a connection, in pieces of 64 KiB.
So the gateway offers, with a request, a place where the body may wait. Over the connection then goes one byte for each piece, a
token; the piece itself is laid down there, and the gateway has mitmproxy put it in the place of its token. Headers, the end, and
a transfer that breaks off go over the connection as ever. A request names the place by an unguessable ticket, so only the gateway
can offer one. No token is sent before the gateway has said that it takes pieces: who does not know of them must not see them.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from http import HTTPStatus
from typing import Any
from weakref import WeakValueDictionary

from addon.service.request import Receive, Send

Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

TICKET_HEADER = "x-tgstore-hand-over"
# Below this a body is cheaper to send than to hand over.
HANDED_BYTES_MIN = 64 * 1024
# Pieces that wait for mitmproxy; a piece is at most a block (1 MiB).
PIECES_WAITING_MAX = 1
TOKEN = b"."

_TICKET_FIELD = TICKET_HEADER.encode("ascii")
# RFC 9110, section 6.4.1.
_WITHOUT_BODY = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


class HandedBody:
    """Where one body may wait. `length`, in bytes, is known once the answer's headers are out and the body does come this way; then
    `begin` must follow, or `close`."""

    def __init__(self) -> None:
        self.length: int | None = None
        self._pieces: deque[bytes] = deque()
        self._has_room = asyncio.Event()
        self._is_closed = False

    def begin(self) -> None:
        """Somebody takes pieces from now on."""
        self._has_room.set()

    async def put(self, piece: bytes) -> None:
        """Lay a piece down once there is room for it; its token is to follow. When nobody takes pieces any more it is dropped."""
        await self._has_room.wait()
        if self._is_closed:
            return
        self._pieces.append(piece)
        if len(self._pieces) >= PIECES_WAITING_MAX:
            self._has_room.clear()

    def take(self, tokens: bytes) -> Sequence[bytes]:
        """The pieces that these tokens stand for."""
        taken = [self._pieces.popleft() for _ in tokens]
        self._has_room.set()
        return taken

    def close(self) -> None:
        """Nobody takes pieces any more."""
        self._is_closed = True
        self._pieces.clear()
        self._has_room.set()


class Handover:
    """The object service (an ASGI application), its large bodies handed over where somebody offers a place for them."""

    def __init__(self, application: Application) -> None:
        self._application = application
        # mitmproxy tells of no end where a client leaves before its request has found a connection: the place goes with the flow.
        self._offered: WeakValueDictionary[str, HandedBody] = WeakValueDictionary()
        self._mark = secrets.token_hex(16)

    def offer(self) -> tuple[str, HandedBody]:
        """A place for the body of one answer, kept as long as the caller holds it, and the ticket that the request has to name in
        `TICKET_HEADER`."""
        ticket, body = f"{self._mark}{secrets.token_hex(8)}", HandedBody()
        self._offered[ticket] = body
        return ticket, body

    def withdraw(self, ticket: str) -> None:
        """The exchange is over."""
        body = self._offered.pop(ticket, None)
        if body is not None:
            body.close()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request (ASGI 3.0, HTTP)."""
        tickets, body = [], None
        for field in scope.get("headers", ()):
            if field[0] == _TICKET_FIELD and field[1].startswith(self._mark.encode("ascii")):
                tickets.append(field)
                body = self._offered.get(field[1].decode("latin-1"), body)
        if tickets:
            # Ours, also where its place is gone: nobody behind us is to see it.
            scope = {**scope, "headers": [field for field in scope["headers"] if field not in tickets]}
        if body is not None:
            receive, send = _receiving(receive, body), _sending(send, body)
        await self._application(scope, receive, send)


def _receiving(receive: Receive, body: HandedBody) -> Receive:
    """ASGI's receive; a client that went away takes nothing any more."""

    async def received() -> MutableMapping[str, Any]:
        event = await receive()
        if event["type"] == "http.disconnect":
            body.close()
        return event

    return received


class BodyOfAnotherLength(Exception):
    """A body is shorter or longer than its headers said."""


def _sending(send: Send, body: HandedBody) -> Send:
    """ASGI's send, tokens in place of the pieces of a large body.

    Raises `BodyOfAnotherLength` before the end goes out, as uvicorn would: it closes the connection then, and what comes next on
    the client's connection cannot pass for the rest of this body.
    """
    left = 0

    async def sent(event: MutableMapping[str, Any]) -> None:
        nonlocal left
        if event["type"] == "http.response.start":
            event = _begun(event, body)
            left = body.length or 0
        elif body.length is not None:
            piece = event.get("body", b"")
            left -= len(piece)
            if left < 0 or (left and not event.get("more_body", False)):
                raise BodyOfAnotherLength(f"{body.length - left} bytes, and the headers said {body.length}")
            if piece:
                await body.put(piece)
                event = {**event, "body": TOKEN}
        await send(event)

    return sent


def _begun(event: MutableMapping[str, Any], body: HandedBody) -> MutableMapping[str, Any]:
    length = next((int(value) for name, value in event["headers"] if name == b"content-length"), 0)
    if length < HANDED_BYTES_MIN or event["status"] in _WITHOUT_BODY:
        return event
    body.length = length
    # Without a length uvicorn marks the end by chunked framing, so what is cut short shows here as well.
    return {**event, "headers": [(name, value) for name, value in event["headers"] if name != b"content-length"]}
