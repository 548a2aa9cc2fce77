"""Group commit: many small objects in one document, and one message that commits them all.

While the way to Telegram is free an item goes out at once. What comes while a pack is under way to each usable pair of bot and
chat, or while the limits make it wait, waits in `PackQueue` and goes out together. So that a burst does not spend the minute's
messages in its first second, the pause between two packs grows with what has been spent: from nothing to the pace that the limits
allow for ever. Packs without a live item keep a little below that pace always: they lose next to nothing by it, and leave live ones
what may be sent at once.

Each pack also tells states of keys that no document told yet (`teller.py`). Where nothing is sent for a while, a pack that has only
such states goes out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from addon.store.pack_format import PACK_ITEMS_MAX, PackItem
from addon.store.pack_queue import PackQueue, Placement, Urgency, Waiting
from addon.store.pack_sending import STOPPING, PackSender, room_bytes
from addon.store.ports import Documents, IndexUnavailable, TelegramUnavailable
from addon.store.teller import Telling
from addon.store.telling import PackIndex

__all__ = ["PackItem", "PackLimits", "Packer", "Placement", "Urgency"]

logger = logging.getLogger(__name__)

# The largest item that shares a document, in bytes, and as a part of a pack: so two of them fit in, beside states.
PACKED_BYTES_MAX = 8 << 20
PACKED_SHARE = 3 / 7
# A pack with states only goes out when nothing was sent for so long.
IDLE_S = 30.0
# The index is told which packs are settled by the next pack, or so much later: nothing as young as they are is erased before.
SETTLE_S = 1.0
# How long a pack may be under way before a live item in it that is late already is given up. Together with `put_wait_s_max` this is
# below the minute after which common clients give up.
SEND_S_MAX = 30.0
# What packs without a live item take of the pace that may be kept for ever. The rest is there for live ones, and for what Telegram
# counts otherwise: a window that is spent to its last message keeps everyone waiting for its end.
BACKGROUND_PACE = 0.97
# What waits at most. Beyond it clients are told to slow down, and whoever makes background copies waits.
LIVE_ITEMS_MAX, LIVE_BYTES_MAX = 4096, 512 << 20
BACKGROUND_ITEMS_MAX, BACKGROUND_PACKS_MAX = 4096, 2
# How often is looked whether the way is free, where nobody tells.
LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class PackLimits:
    """The size of a pack in bytes, and how long a live item waits for its turn in seconds. `tells_when_idle`: whether states are
    told also when nothing else is sent; one process of an index is enough for that."""

    pack_bytes_max: int
    put_wait_s_max: float
    tells_when_idle: bool = False


class Packer:
    """Takes items and sends packs. `start` and `stop` it on one event loop.

    `process_id` is one of a kind. `clock` is monotonic and `sleep` waits, both in seconds; `now_s` are UNIX seconds.
    """

    def __init__(
        self,
        documents: Documents,
        index: PackIndex,
        limits: PackLimits,
        *,
        spool_dir: Path,
        process_id: str = "",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now_s: Callable[[], float] = time.time,
        randbelow: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        self._documents, self._limits = documents, limits
        self._clock, self._sleep = clock, sleep
        self._pack_bytes_max = min(limits.pack_bytes_max, documents.document_bytes_max)
        self.item_bytes_max = min(PACKED_BYTES_MAX, int(room_bytes(self._pack_bytes_max) * PACKED_SHARE))
        """An item of more bytes is to be a document of its own; 0 or less where packs are too small for anything."""
        self._sender = PackSender(
            documents,
            index,
            process_id=process_id or f"process-{uuid.uuid4().hex}",
            pack_bytes_max=self._pack_bytes_max,
            spool_dir=spool_dir,
            now_s=now_s,
            randbelow=randbelow,
        )
        self._index = index
        self._queue = PackQueue()
        self._flushes: list[asyncio.Future[Telling]] = []
        self._changes: set[asyncio.Future[None]] = set()
        self._under_way: dict[asyncio.Task[None], Sequence[Waiting]] = {}
        self._forming = False
        self._last_start_s = self._last_look_s = self._last_settled_s = -math.inf
        self._runner: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send."""
        self._last_look_s = self._clock()
        self._runner = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Break off. Whoever waits gets `TelegramUnavailable`."""
        runner, self._runner = self._runner, None
        tasks = [task for task in (runner, *self._under_way) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for waiting in self._queue.take_all():
            _refuse(waiting, TelegramUnavailable(STOPPING))
        self._end_flushes(self._flushes, TelegramUnavailable(STOPPING))
        self._notify()
        with contextlib.suppress(IndexUnavailable):
            await self._sender.settle()

    async def place(self, item: PackItem, urgency: Urgency, *, queued: Callable[[], None] = lambda: None) -> Placement:
        """Returns when Telegram has the item; the caller settles the placement when the item is committed or given up. `queued` is
        called once it waits for its pack, which for background items may take a while.

        Raises `TelegramUnavailable` where Telegram does not take it, and for a live item also where it would wait, or has waited,
        longer than `put_wait_s_max`; `IndexUnavailable` where the index cannot number a pack. Who is cancelled gives the item up.
        """
        if not 1 <= item.length <= self.item_bytes_max:
            raise ValueError(f"an item has 1 … {self.item_bytes_max} bytes, not {item.length}")
        if urgency is Urgency.LIVE:
            self._refuse_what_would_wait(item)
        else:
            await self._room(item, urgency)
        if self._runner is None:
            raise TelegramUnavailable(STOPPING)
        waiting = self._queue.add(item, urgency, self._clock())
        queued()
        self._notify()
        try:
            return await waiting.placed
        except asyncio.CancelledError:
            self._withdraw(waiting)
            raise

    async def way_for(self, urgency: Urgency) -> None:
        """Before a document that shares nothing is sent: in the background, wait until no live item waits and the way is free."""
        while urgency is not Urgency.LIVE and (self._queue.length(Urgency.LIVE) or self._documents.send_delay_s() > 0):
            await self._wait(LOOK_S)

    async def flush_states(self) -> None:
        """Tell all states that no document tells now. Raises `TelegramUnavailable` and `IndexUnavailable`."""
        while True:
            if self._runner is None:
                raise TelegramUnavailable(STOPPING)
            told: asyncio.Future[Telling] = asyncio.get_running_loop().create_future()
            self._flushes.append(told)
            self._notify()
            telling = await told
            if telling.complete:
                return
            if not telling.states:
                # Packs under way tell the rest; if they fail, the next round does.
                await self._wait(LOOK_S)

    def _withdraw(self, waiting: Waiting) -> None:
        if self._queue.remove(waiting):
            self._notify()
        elif not waiting.placed.cancelled() and waiting.placed.exception() is None:
            self._sender.give_up(waiting.placed.result())

    def _refuse_what_would_wait(self, item: PackItem) -> None:
        live_bytes = self._queue.bytes(Urgency.LIVE)
        wait_s = self._wait_estimate_s()
        if self._queue.length(Urgency.LIVE) >= LIVE_ITEMS_MAX or live_bytes + item.length > LIVE_BYTES_MAX:
            raise TelegramUnavailable("too many uploads wait for Telegram already", retry_after_s=max(wait_s, 1.0))
        if wait_s > self._limits.put_wait_s_max:
            raise TelegramUnavailable(f"Telegram takes the next upload in {wait_s:.0f} s", retry_after_s=wait_s)

    def _wait_estimate_s(self) -> float:
        """How long a live item that came now would wait."""
        packs = self._queue.bytes(Urgency.LIVE) / room_bytes(self._pack_bytes_max)
        delay_s = self._documents.send_delay_s()
        return (0.0 if math.isinf(delay_s) else delay_s) + int(packs) * self._documents.slot_s()

    async def _room(self, item: PackItem, urgency: Urgency) -> None:
        """Wait until another background item may wait: so whoever makes them makes no more than is sent."""
        bytes_max = BACKGROUND_PACKS_MAX * self._pack_bytes_max
        while self._runner is not None and (
            self._queue.length(urgency) >= BACKGROUND_ITEMS_MAX
            or (self._queue.length(urgency) and self._queue.bytes(urgency) + item.length > bytes_max)
        ):
            await self._wait(LOOK_S)

    async def _run(self) -> None:
        while True:
            try:
                self._refuse_late()
                wait_s = self._next_in_s()
                if wait_s <= 0:
                    await self._begin()
                else:
                    await self._wait(min(wait_s, LOOK_S))
            except IndexUnavailable as failure:
                logger.warning("states of keys wait for the index: %s", failure)
            except Exception:  # the task must outlive a defect
                logger.exception("packs are not sent for an unforeseen reason")
                await self._sleep(LOOK_S)

    def _next_in_s(self) -> float:
        """When something is to be begun, as far as it is known now; `inf` where that has to be told."""
        now_s = self._clock()
        if self._forming:
            return math.inf
        if not len(self._queue) and not self._flushes:
            idle_s = self._last_look_s + IDLE_S - now_s if self._limits.tells_when_idle else math.inf
            return min(idle_s, self._last_settled_s + SETTLE_S - now_s) if self._sender.has_settled else idle_s
        if len(self._under_way) >= max(1, self._documents.ways()):
            return math.inf
        return max(self._last_start_s + self._gap_s() - now_s, self._documents.send_delay_s())

    def _gap_s(self) -> float:
        """The pause behind the last pack."""
        slot_s = self._documents.slot_s()
        if self._flushes or self._queue.length(Urgency.LIVE):
            is_full = self._queue.bytes(Urgency.LIVE) >= room_bytes(self._pack_bytes_max)
            return 0.0 if is_full else slot_s * (1 - self._documents.burst_share_left())
        return slot_s / BACKGROUND_PACE

    async def _begin(self) -> None:
        """Something is to be begun: a pack, or the question whether there are states to tell."""
        now_s = self._clock()
        if not len(self._queue) and not self._flushes:
            self._last_settled_s = now_s
            await self._sender.settle()
            if not self._limits.tells_when_idle or now_s < self._last_look_s + IDLE_S:
                return
            self._last_look_s = now_s
            if not await self._index.has_untold():
                return
        self._last_look_s = now_s
        self._forming, self._last_start_s = True, now_s
        task = asyncio.create_task(self._send())
        self._under_way[task] = ()
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        self._last_look_s = self._clock()
        self._notify()

    async def _send(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- it is one
        flushes: list[asyncio.Future[Telling]] = []

        def take(bytes_max: int) -> Sequence[Waiting]:
            self._under_way[task] = taken = self._queue.take(
                bytes_max=bytes_max, items_max=PACK_ITEMS_MAX, now_s=self._clock()
            )
            self._forming = False
            self._notify()
            return taken

        flushes, self._flushes = self._flushes, []
        try:
            telling = await self._sender.send(take, for_items=bool(len(self._queue)))
        except (TelegramUnavailable, IndexUnavailable) as failure:
            logger.warning("a pack was not sent: %s", failure)
            self._end_flushes(flushes, failure)
        except asyncio.CancelledError:
            self._end_flushes(flushes, TelegramUnavailable(STOPPING))
            raise
        except Exception as defect:  # who waits was told; the next pack may do better
            logger.exception("a pack was not sent for an unforeseen reason")
            self._end_flushes(flushes, defect)
        else:
            for told in flushes:
                if not told.done():
                    told.set_result(telling)

    def _end_flushes(self, flushes: list[asyncio.Future[Telling]], failure: Exception) -> None:
        for told in flushes:
            if not told.done():
                told.set_exception(failure)
        flushes.clear()

    def _refuse_late(self) -> None:
        """Live items that have waited too long."""
        now_s = self._clock()
        while (first := self._queue.oldest(Urgency.LIVE)) and first.since_s + self._limits.put_wait_s_max <= now_s:
            self._queue.remove(first)
            _refuse(first, self._late())
        for items in self._under_way.values():
            for waiting in items:
                given_up_s = waiting.since_s + self._limits.put_wait_s_max + SEND_S_MAX
                if waiting.urgency is Urgency.LIVE and given_up_s <= now_s:
                    _refuse(waiting, self._late())

    def _late(self) -> TelegramUnavailable:
        wait_s = max(1.0, self._wait_estimate_s(), self._documents.slot_s())
        return TelegramUnavailable("Telegram did not take the upload in time", retry_after_s=wait_s)

    async def _wait(self, duration_s: float) -> None:
        """For so long, or until something changes."""
        change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changes.add(change)
        sleeping = asyncio.ensure_future(self._sleep(duration_s))
        try:
            await asyncio.wait((change, sleeping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._changes.discard(change)
            sleeping.cancel()
            await asyncio.gather(sleeping, return_exceptions=True)

    def _notify(self) -> None:
        for change in self._changes:
            if not change.done():
                change.set_result(None)


def _refuse(waiting: Waiting, failure: TelegramUnavailable) -> None:
    if not waiting.placed.done():
        waiting.placed.set_exception(failure)
