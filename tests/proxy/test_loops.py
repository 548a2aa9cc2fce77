"""The guard against loops: when an origin is asked, what follows, and that no honest one is taken for ourselves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import pytest

from addon.proxy.loops import LOOP_S, NO_LOOP_S, UNSUSPICIOUS_MAX, LoopGuard, Looping
from addon.service.buckets import Directory
from addon.store.own_connections import OwnConnections
from addon.store.ports import OriginIsOurselves, OriginRequest
from tests.origin.raw_server import Received, answer, origin_at, raw_server

MANY = 10 * UNSUSPICIOUS_MAX


@dataclass
class There:
    """A server that is `ours`, an honest origin, or one that does not answer while `go` is not set."""

    ours: bool = False
    asked: list[bytes] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    guard: LoopGuard | None = None

    async def __call__(self, received: Received, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(received.target)
        assert {name for name, _ in received.headers} == {"host", "accept-encoding"}, "nothing marks it"
        if self.ours:
            assert self.guard is not None
            assert self.guard.came_from_us(None, None, received.target.decode())
            writer.write(answer(508))
            return
        await self.go.wait()
        writer.write(answer(404))


@dataclass
class Scene:
    guard: LoopGuard
    there: There
    now_s: float = 1000.0

    async def begin(self) -> bool:
        """Whether a request may go on."""
        try:
            await self.guard.begin("b", to_origin=True)
        except Looping:
            return False
        return True


@contextlib.asynccontextmanager
async def scene(there: There) -> AsyncGenerator[Scene, None]:
    there.go.set()
    async with raw_server(there) as server, origin_at(server.port) as origin:
        guard = LoopGuard(Directory([]), {"b": origin, "alone": None}, OwnConnections(), monotonic_s=lambda: made.now_s)
        there.guard = guard
        made = Scene(guard, there)
        yield made


async def test_a_loop_is_found_when_requests_pile_up_and_ends_with_its_cause() -> None:
    async with scene(There(ours=True)) as made:
        went_on = [await made.begin() for _ in range(MANY)]
        assert went_on == [True] * UNSUSPICIOUS_MAX + [False] * (MANY - UNSUSPICIOUS_MAX)
        assert len(made.there.asked) == 1
        origin = made.guard._origins["b"]
        assert origin is not None
        with pytest.raises(OriginIsOurselves):
            async with origin.send(OriginRequest("GET", "k", "", [])):  # type: ignore[attr-defined]
                pass
        for _ in range(UNSUSPICIOUS_MAX):
            made.guard.end("b")
        assert not await made.begin(), "still the same"
        made.now_s += LOOP_S
        assert not await made.begin(), "asked again, and it is a loop still"
        assert len(made.there.asked) == 2
        made.there.ours = False
        made.now_s += LOOP_S
        assert await made.begin()
        assert not origin.leads_back


async def test_an_honest_origin_is_asked_seldom_however_many_wait() -> None:
    async with scene(There()) as made:
        assert all([await made.begin() for _ in range(MANY)])
        doublings = MANY.bit_length() - UNSUSPICIOUS_MAX.bit_length() + 1
        assert 1 <= len(made.there.asked) <= doublings
        asked = len(made.there.asked)
        made.now_s += NO_LOOP_S
        assert all([await made.begin() for _ in range(5)])
        assert len(made.there.asked) == asked + 1
        assert len(set(made.there.asked)) == len(made.there.asked), "another key each time"


async def test_few_requests_ask_for_nothing() -> None:
    async with scene(There()) as made:
        for _ in range(MANY):
            assert await made.begin()
            made.guard.end("b")
        assert made.there.asked == []
        assert not made.guard._standings, "and nothing is left of them"


async def test_an_origin_that_does_not_answer_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("addon.proxy.loops.PROBE_WAIT_S", 0.01)
    monkeypatch.setattr("addon.proxy.loops.PROBE_S_MAX", 0.05)
    async with scene(There()) as made:
        made.there.go.clear()
        async with asyncio.timeout(10):
            assert all([await made.begin() for _ in range(2 * UNSUSPICIOUS_MAX)])
            assert await made.guard.check_all() == [], "not reachable is not ourselves"
        made.there.go.set()


async def test_uploads_and_reads_of_what_is_held_wait_for_nothing() -> None:
    async with scene(There(ours=True)) as made:
        for _ in range(MANY):
            await made.guard.begin("b", to_origin=False)
        await made.guard.begin("alone", to_origin=False)


async def test_a_key_that_nobody_has_asked_for_is_a_key_like_any_other() -> None:
    async with scene(There()) as made:
        for path in ("/b/" + "0" * 32, "/", "", "/b/k?x=" + "0" * 32):
            assert not made.guard.came_from_us(("10.0.0.1", 1), ("10.0.0.2", 2), path)


async def test_a_request_over_our_own_connection_came_from_us() -> None:
    async with scene(There()) as made:
        ends = made.guard.own.opened(("10.0.0.1", 1), ("10.0.0.2", 2))
        assert made.guard.came_from_us(("10.0.0.1", 1), ("10.0.0.2", 2), "/k")
        assert not made.guard.came_from_us(("10.0.0.1", 1), ("10.0.0.2", 3), "/k"), "somebody else's, of the same port"
        made.guard.own.closed(ends)
        assert not made.guard.came_from_us(("10.0.0.1", 1), ("10.0.0.2", 2), "/k")
