"""From extents back to a stream of bytes, each block checked before a byte of it is passed on.

A block comes from memory, else from disk, else from Telegram (`arrivals.py`). A reader asks for a few blocks ahead of his client,
also beyond the end of a document, so that the next one's first bytes are there when they are needed; its link is asked for as
soon as the document in front of it is begun. Where one download gives less than the client takes, he asks further ahead, so
that two or three documents come at a time. What all readers hold beyond the first few blocks is bounded together.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass

from addon.store import layout
from addon.store.arrivals import Arrivals
from addon.store.cache import DiskCache, MemoryCache
from addon.store.ports import Documents
from addon.store.records import NewObject, ObjectRecord
from addon.store.streams import PARK_S, Arrival, Run

READ_AHEAD_BLOCKS = 4
READ_AHEAD_BLOCKS_MAX = 40
# Of all readers together, beyond their first few.
READ_AHEAD_BLOCKS_TOTAL_MAX = 160
# A client who waits this long for a block takes more than the downloads give: at 200 MB/s a block takes 5 ms. (The first one is no
# measure: its link is asked for first.)
WAITED_S = 0.005
# Documents whose links are asked for ahead.
LINKS_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Admission:
    """Which objects' blocks are worth keeping, by object size in bytes: one large read must not push out everything else."""

    memory_object_bytes_max: int
    disk_object_bytes_max: int

    @classmethod
    def for_caches(cls, *, memory_bytes_max: int, disk_bytes_max: int) -> Admission:
        """A sixty-fourth of memory, a sixteenth of the disk cache."""
        return cls(memory_bytes_max // 64, disk_bytes_max // 16)


class Reader:
    """Reads objects' bytes."""

    def __init__(self, documents: Documents, memory: MemoryCache, disk: DiskCache, admission: Admission) -> None:
        self._documents, self._memory, self._disk, self._admission = documents, memory, disk, admission
        self._arrivals = Arrivals(documents, memory, disk)
        self._spare = _Spare(READ_AHEAD_BLOCKS_TOTAL_MAX)

    def in_memory(self, record: ObjectRecord) -> bytes | None:
        """The whole object where it is empty, or one block that is held in memory."""
        if record.size == 0:
            return b""
        if len(record.extents) != 1:
            return None
        extent = record.extents[0]
        block = self._memory.get((extent.document.document_id, extent.offset, extent.length))
        return block if block is not None and len(block) == record.size else None

    def keep(self, record: ObjectRecord | NewObject, block: bytes) -> None:
        """Hold the bytes of a one-block object that was just written."""
        if record.size <= self._admission.memory_object_bytes_max:
            extent = record.extents[0]
            self._memory.put((extent.document.document_id, extent.offset, extent.length), block)

    async def forget(self, document_ids: Collection[str]) -> None:
        """These documents are erased: nothing of them stays at hand."""
        self._memory.forget_documents(document_ids)
        for document_id in document_ids:
            await asyncio.to_thread(self._disk.forget_document, document_id)

    async def read(self, record: ObjectRecord, start: int, length: int) -> AsyncGenerator[bytes, None]:
        """`length` verified bytes from `start`, in pieces of at most a block.

        Raises what the port `Documents` raises, and `DocumentCorrupt`; never passes on a byte of a block that is wrong.
        """
        runs = self._runs(record, layout.blocks_of(list(record.extents), start, length))
        window = _Window(self._documents, self._arrivals, self._spare, runs)
        try:
            while (piece := await window.next()) is not None:
                yield piece
        finally:
            window.close()

    async def close(self) -> None:
        """Stop what is under way."""
        await self._arrivals.close()

    def _runs(self, record: ObjectRecord, blocks: list[layout.Block]) -> list[Run]:
        """Blocks grouped by extent, in order."""
        grouped: list[list[layout.Block]] = []
        for block in blocks:
            last = grouped[-1][-1] if grouped else None
            if last is not None and last.extent is block.extent and last.number + 1 == block.number:
                grouped[-1].append(block)
            else:
                grouped.append([block])
        admission = self._admission
        in_memory = record.size <= admission.memory_object_bytes_max
        on_disk = record.size <= admission.disk_object_bytes_max
        # What waits to be sent is on the disk already, and has another place when it was sent.
        return [
            Run(
                group,
                in_memory,
                on_disk and not group[0].extent.document.is_spooled,
                admission.disk_object_bytes_max,
            )
            for group in grouped
        ]


@dataclass(slots=True)
class _Spare:
    """Blocks that readers may still hold beyond their first few."""

    blocks: int

    def take(self, blocks: int) -> int:
        taken = min(blocks, self.blocks)
        self.blocks -= taken
        return taken


class _Window:
    """The next blocks of one reader, asked for and not taken yet."""

    def __init__(self, documents: Documents, arrivals: Arrivals, spare: _Spare, runs: list[Run]) -> None:
        self._documents, self._arrivals, self._spare = documents, arrivals, spare
        self._runs = runs
        self._run, self._number = 0, 0  # of the next block to ask for
        self._asked: deque[tuple[Run, int, Arrival]] = deque()
        self._size = READ_AHEAD_BLOCKS
        self._given_at_s, self._has_begun = time.monotonic(), False

    async def next(self) -> bytes | None:
        """The wanted bytes of the next block; None after the last one."""
        if time.monotonic() - self._given_at_s > PARK_S:
            self._narrow()
        self._ask()
        if not self._asked:
            return None
        run, number, arrival = self._asked[0]
        if arrival.data.done() and arrival.data.exception() is not None:
            # It failed while nobody needed it; by now it may be there.
            self._arrivals.release(arrival)
            arrival = self._arrivals.want(run, number, self)
            self._asked[0] = run, number, arrival
        if not arrival.data.done():
            began_s = time.monotonic()
            # Shielded, because others may wait for the same block.
            await asyncio.shield(arrival.data)
            if time.monotonic() - began_s > WAITED_S and self._has_begun:
                self._widen()
        data = arrival.data.result()
        self._asked.popleft()
        self._arrivals.release(arrival)
        self._ask()
        self._given_at_s, self._has_begun = time.monotonic(), True
        block = run.blocks[number]
        return data[block.skip : block.skip + block.take]

    def close(self) -> None:
        """The reader takes no more."""
        while self._asked:
            self._arrivals.release(self._asked.pop()[2])
        self._arrivals.leave(self)
        self._narrow()

    def _ask(self) -> None:
        while self._run < len(self._runs) and len(self._asked) < self._size:
            run = self._runs[self._run]
            if self._number == 0:
                if self._asked and not self._arrivals.may_fetch_before_need(run, 0):
                    return
                for later in self._runs[self._run + 1 : self._run + 1 + LINKS_AHEAD]:
                    self._documents.prepare(later.document)
            self._asked.append((run, self._number, self._arrivals.want(run, self._number, self)))
            self._number += 1
            if self._number == len(run.blocks):
                self._run, self._number = self._run + 1, 0

    def _widen(self) -> None:
        self._size += self._spare.take(min(self._size, READ_AHEAD_BLOCKS_MAX - self._size))

    def _narrow(self) -> None:
        self._spare.blocks += self._size - READ_AHEAD_BLOCKS
        self._size = READ_AHEAD_BLOCKS
