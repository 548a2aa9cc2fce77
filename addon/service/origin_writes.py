"""Writes that go past us to the origin: while one is under way, what we hold of its key may be out of date at any moment.

The mark goes into the index before the write is forwarded, so that a copy cannot commit meanwhile and a crash is noticed; it is
also held here, so that reads in this process need not ask the index.
"""

from __future__ import annotations

from dataclasses import dataclass

from addon.service.absent import AbsentKeys
from addon.store.object_store import ObjectStore
from addon.store.ports import WriteOutcome


@dataclass(frozen=True, slots=True)
class OriginWrite:
    """One write under way."""

    write_id: int
    bucket: str
    key: str


class OriginWrites:
    """The writes under way. `absent` forgets what was said of their keys when they begin (the index tells it) and when they end."""

    def __init__(self, store: ObjectStore, absent: AbsentKeys) -> None:
        self._store, self._absent = store, absent
        self._under_way: dict[tuple[str, str], set[int]] = {}
        self._crossed: set[int] = set()

    def under_way(self, bucket: str, key: str) -> bool:
        """Whether the origin may be changing this key right now."""
        return (bucket, key) in self._under_way

    def was_crossed(self, write: OriginWrite) -> bool:
        """Whether another write of its key was under way at any time while this one, which has not ended, is."""
        return write.write_id in self._crossed

    async def begin(self, bucket: str, key: str) -> OriginWrite:
        """Call before the request is forwarded. Raises `IndexUnavailable`: then it must not be forwarded."""
        write_id = await self._store.index.begin_origin_write(bucket, key, now_s=self._store.now_s())
        others = self._under_way.setdefault((bucket, key), set())
        if others:
            self._crossed |= {write_id, *others}
        others.add(write_id)
        return OriginWrite(write_id, bucket, key)

    async def end(self, write: OriginWrite, outcome: WriteOutcome) -> None:
        """Call when the origin has answered, or never will.

        Raises `IndexUnavailable`: then the mark stands until the next start, and no copy of the key is served so long.
        """
        self._absent.changed(write.bucket, write.key)
        await self._store.index.end_origin_write(write.write_id, outcome)
        self._crossed.discard(write.write_id)
        others = self._under_way[write.bucket, write.key]
        others.discard(write.write_id)
        if not others:
            del self._under_way[write.bucket, write.key]
