"""What waits for a pack, and whose turn it is.

A pack takes live items first, then copies that somebody waits for, then those of a sweep, each in the order in which they came. But
nobody starves: what has waited for `OLD_S` goes first, up to a share of the pack, oldest first, and one such item always.
"""

from __future__ import annotations

import asyncio
import enum
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from addon.store.pack_format import PackItem, item_bytes_max
from addon.store.records import Extent

OLD_S = 30.0
OLD_SHARE = 0.25
# So many items that do not fit into what is left of a pack are passed over in search of smaller ones.
PASSED_OVER_MAX = 32


class Urgency(enum.IntEnum):
    """Whose turn it is first: a client who waits, a copy of what somebody read, a copy that a sweep ordered."""

    LIVE = 0
    COPY = 1
    SWEEP = 2


class Placement:
    """An item that Telegram has. Until it is settled, nobody may say what became of its pack."""

    def __init__(self, extent: Extent, settle: Callable[[], None]) -> None:
        self.extent = extent
        self._settle: Callable[[], None] | None = settle

    def settle(self) -> None:
        """The item is committed or given up."""
        settle, self._settle = self._settle, None
        if settle is not None:
            settle()


@dataclass(eq=False, slots=True)
class Waiting:
    """An item that waits since `since_s`, and takes up to `bytes_max` bytes of a pack. `placed` gets where it is."""

    item: PackItem
    urgency: Urgency
    since_s: float
    bytes_max: int
    placed: asyncio.Future[Placement]


class PackQueue:
    """Everything that waits, in three queues."""

    def __init__(self) -> None:
        # Dictionaries as ordered sets: whoever does not want to wait any more leaves from the middle.
        self._queues: dict[Urgency, dict[Waiting, None]] = {urgency: {} for urgency in Urgency}
        self._bytes = dict.fromkeys(Urgency, 0)

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def length(self, *urgencies: Urgency) -> int:
        """How many items of these urgencies wait."""
        return sum(len(self._queues[urgency]) for urgency in urgencies)

    def bytes(self, *urgencies: Urgency) -> int:
        """How many bytes of packs they take."""
        return sum(self._bytes[urgency] for urgency in urgencies)

    def add(self, item: PackItem, urgency: Urgency, now_s: float) -> Waiting:
        """Put an item at the end of its queue."""
        placed: asyncio.Future[Placement] = asyncio.get_running_loop().create_future()
        waiting = Waiting(item, urgency, now_s, item_bytes_max(item), placed)
        self._queues[urgency][waiting] = None
        self._bytes[urgency] += waiting.bytes_max
        return waiting

    def remove(self, waiting: Waiting) -> bool:
        """Take an item out; False where it waits no more."""
        if waiting not in self._queues[waiting.urgency]:
            return False
        del self._queues[waiting.urgency][waiting]
        self._bytes[waiting.urgency] -= waiting.bytes_max
        return True

    def oldest(self, urgency: Urgency) -> Waiting | None:
        """Who has waited longest."""
        return next(iter(self._queues[urgency]), None)

    def take(self, *, bytes_max: int, items_max: int, now_s: float) -> list[Waiting]:
        """Take out what the next pack has, in at most so many bytes and items. What does not fit keeps its place."""
        pack = _Room(bytes_max, items_max)
        old = self._old(now_s)
        if old and pack.takes(old[0]):
            share = _Room(int(bytes_max * OLD_SHARE) - old[0].bytes_max, int(items_max * OLD_SHARE) - 1)
            for waiting in _fitting(old[1:], share):
                pack.takes(waiting)
        for urgency in Urgency:
            _fitting([waiting for waiting in self._queues[urgency] if waiting not in pack.taken], pack)
        for waiting in pack.taken:
            self.remove(waiting)
        return list(pack.taken)

    def take_all(self) -> list[Waiting]:
        """Take out everything."""
        everything = list(itertools.chain.from_iterable(self._queues.values()))
        for waiting in everything:
            self.remove(waiting)
        return everything

    def _old(self, now_s: float) -> list[Waiting]:
        old = (
            itertools.takewhile(lambda waiting: waiting.since_s + OLD_S <= now_s, queue)
            for queue in self._queues.values()
        )
        return sorted(itertools.chain.from_iterable(old), key=lambda waiting: waiting.since_s)


class _Room:
    """What is left of a pack, and what has been put into it."""

    def __init__(self, bytes_max: int, items_max: int) -> None:
        self._bytes, self._items = bytes_max, items_max
        self.taken: dict[Waiting, None] = {}

    def takes(self, waiting: Waiting) -> bool:
        if waiting.bytes_max > self._bytes or self._items < 1:
            return False
        self._bytes -= waiting.bytes_max
        self._items -= 1
        self.taken[waiting] = None
        return True


def _fitting(queue: Sequence[Waiting], room: _Room) -> list[Waiting]:
    """Put in what fits, from the front; a few that do not fit are passed over."""
    fitting, passed_over = [], 0
    for waiting in queue:
        if room.takes(waiting):
            fitting.append(waiting)
        elif (passed_over := passed_over + 1) > PASSED_OVER_MAX:
            break
    return fitting
