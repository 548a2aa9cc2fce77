"""Large bodies handed over in memory: the same bytes in the same order, never many at a time, and nobody left waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, MutableMapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.service.handover import (
    HANDED_BYTES_MIN,
    PIECES_WAITING_MAX,
    TICKET_HEADER,
    BodyOfAnotherLength,
    HandedBody,
    Handover,
)

Event = MutableMapping[str, Any]
LONG_S = 10.0


class Peer:
    """What uvicorn is to the application; `take`, where given, is what the gateway does with each token at once."""

    def __init__(self, headers: Sequence[tuple[bytes, bytes]] = (), method: str = "GET") -> None:
        self.scope: Event = {"type": "http", "method": method, "headers": list(headers)}
        self.sent: list[Event] = []
        self.gone = asyncio.Event()

    async def receive(self) -> Event:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, event: Event) -> None:
        self.sent.append(event)

    @property
    def body(self) -> bytes:
        return b"".join(event.get("body", b"") for event in self.sent)

    @property
    def lengths(self) -> list[bytes]:
        return [value for name, value in self.sent[0]["headers"] if name == b"content-length"]


class Answering:
    """An application that sends these pieces, and remembers what it was asked."""

    def __init__(self, pieces: Sequence[bytes], *, off_by: int = 0) -> None:
        self.pieces, self.off_by = pieces, off_by
        self.headers: list[tuple[bytes, bytes]] = []

    async def __call__(self, scope: Event, receive: Any, send: Any) -> None:
        self.headers = scope["headers"]
        gone = asyncio.create_task(receive())
        length = str(sum(map(len, self.pieces)) + self.off_by).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        for piece in self.pieces:
            if gone.done():
                return
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        gone.cancel()
        await send({"type": "http.response.body", "body": b""})


def offered(handover: Handover) -> tuple[HandedBody, tuple[bytes, bytes], str]:
    ticket, body = handover.offer()
    body.begin()
    return body, (TICKET_HEADER.encode(), ticket.encode()), ticket


async def settled() -> None:
    """Every task has come as far as it can without anything from outside."""
    for _ in range(100):
        await asyncio.sleep(0)


async def taken(peer: Peer, body: HandedBody, serving: asyncio.Task[None]) -> AsyncGenerator[bytes, None]:
    """What the gateway makes of the tokens that have come so far, again and again."""
    seen = 0
    async with asyncio.timeout(LONG_S):
        while not (serving.done() and seen == len(peer.body)):
            tokens, seen = peer.body[seen:], len(peer.body)
            pieces = body.take(tokens)
            assert len(pieces) <= PIECES_WAITING_MAX
            for piece in pieces:
                yield piece
            await asyncio.sleep(0)


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=12), st.integers(1, 4000))
def test_pieces_come_whole_and_in_order(pieces: list[bytes], times: int) -> None:
    async def exchange() -> None:
        large = [piece * (HANDED_BYTES_MIN // len(piece) + times) for piece in pieces]
        handover, peer = Handover(Answering(large)), Peer()
        body, field, _ = offered(handover)
        peer.scope["headers"] = [field]
        serving = asyncio.create_task(handover(peer.scope, peer.receive, peer.send))
        got = b"".join([piece async for piece in taken(peer, body, serving)])
        await serving
        assert got == b"".join(large)
        assert body.length == len(got)
        assert peer.lengths == []
        assert len(peer.body) == len(pieces)

    asyncio.run(exchange())


async def test_application_does_not_see_the_ticket_and_sees_every_other_field() -> None:
    application = Answering([b"x"])
    handover = Handover(application)
    _, field, _ = offered(handover)
    forged = (TICKET_HEADER.encode(), b"0" * 32)
    peer = Peer([(b"host", b"h"), forged, field, (b"a", b"b")])
    await handover(peer.scope, peer.receive, peer.send)
    assert application.headers == [(b"host", b"h"), forged, (b"a", b"b")]


@pytest.mark.parametrize("ticket", [None, b"", b"0" * 32, b"\xff\xfe"])
async def test_without_a_place_that_was_offered_the_body_goes_as_it_is(ticket: bytes | None) -> None:
    large = bytes(HANDED_BYTES_MIN)
    handover = Handover(Answering([large]))
    handover.offer()
    peer = Peer([] if ticket is None else [(TICKET_HEADER.encode(), ticket)])
    await handover(peer.scope, peer.receive, peer.send)
    assert peer.body == large
    assert peer.lengths == [str(len(large)).encode()]


async def test_small_body_goes_as_it_is() -> None:
    small = bytes(HANDED_BYTES_MIN - 1)
    handover = Handover(Answering([small]))
    body, field, _ = offered(handover)
    peer = Peer([field])
    await handover(peer.scope, peer.receive, peer.send)
    assert peer.body == small
    assert peer.lengths == [str(len(small)).encode()]
    assert body.length is None


async def test_no_more_pieces_wait_than_there_is_room_for() -> None:
    handover = Handover(Answering([bytes(HANDED_BYTES_MIN)] * 10))
    body, field, _ = offered(handover)
    peer = Peer([field])
    serving = asyncio.create_task(handover(peer.scope, peer.receive, peer.send))
    await settled()
    assert len(peer.body) == PIECES_WAITING_MAX
    body.take(peer.body[:1])
    await settled()
    assert len(peer.body) == PIECES_WAITING_MAX + 1
    serving.cancel()


@pytest.mark.parametrize("end", ["the client goes", "the exchange is over"])
async def test_application_is_not_left_waiting(end: str) -> None:
    handover = Handover(Answering([bytes(HANDED_BYTES_MIN)] * 10))
    _, field, ticket = offered(handover)
    peer = Peer([field])
    serving = asyncio.create_task(handover(peer.scope, peer.receive, peer.send))
    await settled()
    assert len(peer.body) == PIECES_WAITING_MAX
    if end == "the client goes":
        peer.gone.set()
    else:
        handover.withdraw(ticket)
    async with asyncio.timeout(LONG_S):
        await serving


async def test_place_that_is_gone_is_no_place_and_its_ticket_is_not_seen() -> None:
    large = bytes(HANDED_BYTES_MIN)
    application = Answering([large])
    handover = Handover(application)
    withdrawn, withdrawn_field, ticket = offered(handover)
    handover.withdraw(ticket)
    handover.withdraw(ticket)
    forgotten_field = offered(handover)[1]
    for field in (withdrawn_field, forgotten_field):
        peer = Peer([field])
        await handover(peer.scope, peer.receive, peer.send)
        assert peer.body == large
        assert application.headers == []
    assert withdrawn.length is None


async def test_no_token_is_sent_before_somebody_takes_pieces() -> None:
    handover = Handover(Answering([bytes(HANDED_BYTES_MIN)]))
    ticket, body = handover.offer()
    peer = Peer([(TICKET_HEADER.encode(), ticket.encode())])
    serving = asyncio.create_task(handover(peer.scope, peer.receive, peer.send))
    await settled()
    assert [event["type"] for event in peer.sent] == ["http.response.start"]
    body.begin()
    await settled()
    assert body.take(peer.body) == [bytes(HANDED_BYTES_MIN)]
    await serving


@pytest.mark.parametrize("off_by", [-1, 1, HANDED_BYTES_MIN])
async def test_body_of_another_length_does_not_end(off_by: int) -> None:
    """The end would leave the client's connection with bytes too few or too many on it."""
    handover = Handover(Answering([bytes(HANDED_BYTES_MIN), bytes(HANDED_BYTES_MIN)], off_by=off_by))
    body, field, _ = offered(handover)
    peer = Peer([field])
    serving = asyncio.create_task(handover(peer.scope, peer.receive, peer.send))
    got = b""
    while not serving.done():
        got += b"".join(body.take(peer.body[len(got) // HANDED_BYTES_MIN :]))
        await settled()
    with pytest.raises(BodyOfAnotherLength):
        await serving
    assert all(event["type"] == "http.response.start" or event["more_body"] for event in peer.sent)
    assert len(got) <= 2 * HANDED_BYTES_MIN + off_by
