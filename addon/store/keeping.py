"""What is worth keeping where not everything fits: bookkeeping of sizes, without the bytes.

The rule is S3-FIFO (Yang and others, "FIFO queues are all you need for cache eviction", SOSP 2023). What is new comes into a small
queue; what is asked for again while it waits there moves on into the main one, and the rest goes, so that a scan of many things
that nobody wants twice passes through a tenth of the room and pushes nothing else out. What was dropped is remembered by name for
a while, and goes into the main queue at once when it comes back. In the main queue everything that was asked for since it was last
looked at gets another round.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

# The share of the room that is for what was asked for once.
NEW_SHARE = 0.1
# Rounds that something wins by being asked for often.
HITS_COUNTED_MAX = 3
# Names of dropped things that are remembered; with few large things their sizes bound it first.
DROPPED_NAMES_MAX = 100_000

Name = TypeVar("Name", bound=Hashable)


@dataclass(slots=True)
class _Kept:
    size: int
    hits: int = 0


class Keeping(Generic[Name]):
    """Which names to keep within `bytes_max` bytes. Not safe to be used from several threads at once."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.bytes_held = 0
        self._new: OrderedDict[Name, _Kept] = OrderedDict()
        self._main: OrderedDict[Name, _Kept] = OrderedDict()
        self._new_bytes = 0
        self._dropped: OrderedDict[Name, int] = OrderedDict()
        self._dropped_bytes = 0

    def __contains__(self, name: Name) -> bool:
        return name in self._main or name in self._new

    def __len__(self) -> int:
        return len(self._main) + len(self._new)

    def __iter__(self) -> Iterator[Name]:
        yield from self._main
        yield from self._new

    def hit(self, name: Name) -> bool:
        """It was asked for; whether it is kept."""
        kept = self._main.get(name) or self._new.get(name)
        if kept is None:
            return False
        kept.hits = min(kept.hits + 1, HITS_COUNTED_MAX)
        return True

    def add(self, name: Name, size: int, *, proven: bool = False) -> list[Name]:
        """Keep something of `size` bytes that is not kept yet; returns what has to go for it, which may be itself. `proven`: it
        was worth keeping before (a restart)."""
        if size > self.bytes_max:
            return [name]
        known = self._dropped.pop(name, None)
        if known is not None:
            self._dropped_bytes -= known
        if proven or known is not None:
            self._main[name] = _Kept(size)
        else:
            self._new[name] = _Kept(size)
            self._new_bytes += size
        self.bytes_held += size
        return self._make_room()

    def remove(self, name: Name) -> None:
        """It is not there any more."""
        kept = self._main.pop(name, None)
        if kept is None:
            kept = self._new.pop(name, None)
            if kept is None:
                return
            self._new_bytes -= kept.size
        self.bytes_held -= kept.size

    def _make_room(self) -> list[Name]:
        gone: list[Name] = []
        while self.bytes_held > self.bytes_max:
            if self._new and (self._new_bytes > self.bytes_max * NEW_SHARE or not self._main):
                self._look_at_new(gone)
            else:
                self._look_at_main(gone)
        return gone

    def _look_at_new(self, gone: list[Name]) -> None:
        name, kept = self._new.popitem(last=False)
        self._new_bytes -= kept.size
        if kept.hits:
            self._main[name] = _Kept(kept.size)
            return
        self.bytes_held -= kept.size
        gone.append(name)
        self._dropped[name] = kept.size
        self._dropped_bytes += kept.size
        while self._dropped_bytes > self.bytes_max or len(self._dropped) > DROPPED_NAMES_MAX:
            _, size = self._dropped.popitem(last=False)
            self._dropped_bytes -= size

    def _look_at_main(self, gone: list[Name]) -> None:
        name, kept = self._main.popitem(last=False)
        if kept.hits:
            kept.hits -= 1
            self._main[name] = kept
            return
        self.bytes_held -= kept.size
        gone.append(name)
