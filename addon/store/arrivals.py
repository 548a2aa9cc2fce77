"""Blocks on their way from the disk or from Telegram, shared by all who want them.

A block is fetched once, however many want it at a time (`streams.Arrival`), and one download serves all who read a document side by
side (`streams.Stream`). The blocks that arrived last are held for those who are a little behind. Who is slower than that begins a
download of his own, so nobody waits for anybody.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from addon.store.cache import BlockKey, DiskCache, MemoryCache
from addon.store.layout import Block
from addon.store.ports import Documents
from addon.store.streams import Arrival, Run, Stream, is_right, key_of, logger

# Blocks that arrived last.
RECENT_BYTES_MAX = 32 << 20
# Downloads are begun before somebody waits for their first block while there are fewer than so many.
STREAMS_BEFORE_NEED_MAX = 24


class Arrivals:
    """All blocks that are on their way."""

    def __init__(self, documents: Documents, memory: MemoryCache, disk: DiskCache) -> None:
        self._documents, self._memory, self._disk = documents, memory, disk
        self._recent: OrderedDict[BlockKey, bytes] = OrderedDict()
        self._recent_bytes = 0
        self._on_the_way: dict[BlockKey, Arrival] = {}
        self._streams: dict[str, list[Stream]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def want(self, run: Run, number: int, reader: object) -> Arrival:
        """Ask for a block; `release` must follow, and `leave` when the reader wants no more. Its future may fail with what the
        port `Documents` raises, and `DocumentCorrupt`; it must be shielded from a reader's cancellation."""
        key = key_of(run.blocks[number])
        arrival = self._on_the_way.get(key)
        if arrival is None:
            arrival = Arrival(key, asyncio.get_running_loop().create_future())
            self._fetch(arrival, run, number, reader)
        elif arrival.stream is not None:
            arrival.stream.follow(reader)
        arrival.wanted += 1
        return arrival

    def release(self, arrival: Arrival) -> None:
        """The reader has the block, or does not want it any more."""
        arrival.wanted -= 1
        if arrival.wanted:
            return
        if arrival.data.done():
            arrival.data.exception()  # Marks it as seen: its readers may have left.
            return
        if arrival.stream is not None:
            arrival.stream.forget(arrival)
        del self._on_the_way[arrival.key]

    def leave(self, reader: object) -> None:
        """The reader wants nothing more; downloads that nobody else follows end."""
        for streams in self._streams.values():
            for stream in streams:
                stream.leave(reader)

    def may_fetch_before_need(self, run: Run, number: int) -> bool:
        """Whether asking for this block now begins no download too many."""
        key = key_of(run.blocks[number])
        if key in self._on_the_way or sum(map(len, self._streams.values())) < STREAMS_BEFORE_NEED_MAX:
            return True
        return any(stream.number_of(key) is not None for stream in self._streams.get(key[0], ()))

    async def close(self) -> None:
        """Stop what is under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _fetch(self, arrival: Arrival, run: Run, number: int, reader: object) -> None:
        key = arrival.key
        held = self._memory.get(key) or self._recent.get(key)
        if held is not None:
            arrival.data.set_result(held)
            return
        self._on_the_way[key] = arrival
        if run.blocks[number].sha256 is not None and self._disk.holds(key):
            self._hold(asyncio.create_task(self._from_disk(arrival, run, number, reader)))
        else:
            self._from_telegram(arrival, run, number, reader)

    async def _from_disk(self, arrival: Arrival, run: Run, number: int, reader: object) -> None:
        data = await asyncio.to_thread(_right_from_disk, self._disk, run.blocks[number])
        if self._on_the_way.get(arrival.key) is not arrival:
            return
        if data is None:
            self._from_telegram(arrival, run, number, reader)
            return
        if run.in_memory:
            self._memory.put(arrival.key, data)
        arrival.data.set_result(data)
        self._settled(arrival)

    def _from_telegram(self, arrival: Arrival, run: Run, number: int, reader: object) -> None:
        """Let the block come by a download that is under way, or a new one."""
        streams = self._streams.setdefault(arrival.key[0], [])
        for stream in streams:
            at = stream.number_of(arrival.key)
            if at is not None:
                stream.add(at, arrival, reader)
                return
        stream = Stream(
            self._documents,
            self._disk,
            run,
            number,
            arrived=self._arrived,
            settled=self._settled,
            over=self._over,
        )
        streams.append(stream)
        stream.add(number, arrival, reader)
        self._hold(stream.start())

    def _hold(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _arrived(self, run: Run, number: int, data: bytes) -> None:
        key = key_of(run.blocks[number])
        if run.in_memory:
            self._memory.put(key, data)
        elif key not in self._recent:
            self._recent[key] = data
            self._recent_bytes += len(data)
            while self._recent_bytes > RECENT_BYTES_MAX:
                self._recent_bytes -= len(self._recent.popitem(last=False)[1])

    def _settled(self, arrival: Arrival) -> None:
        if self._on_the_way.get(arrival.key) is arrival:
            del self._on_the_way[arrival.key]

    def _over(self, stream: Stream) -> None:
        document_id = stream.run.document.document_id
        self._streams[document_id].remove(stream)
        if not self._streams[document_id]:
            del self._streams[document_id]


def _right_from_disk(disk: DiskCache, block: Block) -> bytes | None:
    """The block from disk, checked; what proves wrong is dropped."""
    key = key_of(block)
    data = disk.get(key)
    if data is None or is_right(data, block.sha256):
        return data
    logger.warning("wrong bytes in the disk cache for document %s: dropped", key[0])
    disk.forget(key)
    return None
