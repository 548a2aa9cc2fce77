"""From extents back to a stream of bytes: every block is checked against its SHA-256 before a byte of it is passed on.

A block comes from memory, else from disk, else from Telegram; neighbouring blocks that have to come from Telegram come in one
download. A few blocks are fetched ahead of the client, never more, so a reader holds at most `READ_AHEAD_BLOCKS` + 2 blocks.

Of a file that was imported unread nobody knows the hashes. Its length is checked all the same (`Documents.read` gives exactly what
was asked of a document of that size, or raises), and it is never kept on disk: what lies there could not be checked.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from addon.store import layout
from addon.store.cache import DiskCache, MemoryCache
from addon.store.ports import DocumentCorrupt, Documents
from addon.store.records import NewObject, ObjectRecord

logger = logging.getLogger(__name__)

READ_AHEAD_BLOCKS = 4
# A client that takes no block for this long gives its download back, so that slow clients cannot hold all of them; the download
# is taken up again at the next block when the client is ready for it.
PARK_S = 5.0
# A block whose bytes are wrong is fetched once more: a damaged transfer heals, a damaged document does not.
TRIES_PER_BLOCK = 2

_QueueItem = bytes | BaseException | None


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
        self._documents, self._memory, self._disk = documents, memory, disk
        self._admission = admission

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

    async def read(self, record: ObjectRecord, start: int, length: int) -> AsyncGenerator[bytes, None]:
        """`length` verified bytes from `start`, in pieces of at most a block.

        Raises what the port `Documents` raises, and `DocumentCorrupt`; never passes on a byte of a block that is wrong.
        """
        blocks = layout.blocks_of(list(record.extents), start, length)
        queue: asyncio.Queue[_QueueItem] = asyncio.Queue(maxsize=READ_AHEAD_BLOCKS)
        filling = asyncio.create_task(self._fill(record, blocks, queue))
        try:
            while (item := await queue.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            filling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await filling

    async def _fill(self, record: ObjectRecord, blocks: list[layout.Block], queue: asyncio.Queue[_QueueItem]) -> None:
        """Put the asked-for bytes of each block into the queue, then None; or the exception that ended it."""
        try:
            for run in _runs(blocks):
                await self._fill_run(record, run, queue)
            await queue.put(None)
        except Exception as error:  # noqa: BLE001 -- it is carried to the reader, who raises it
            await queue.put(error)

    async def _fill_run(self, record: ObjectRecord, run: list[layout.Block], queue: asyncio.Queue[_QueueItem]) -> None:
        """Blocks that lie side by side in one document: from the caches as far as they reach, the rest in one download."""
        waiting = list(run)
        tries = 0
        while waiting:
            held = await self._held(waiting[0])
            if held is not None:
                block = waiting.pop(0)
                await queue.put(held[block.skip : block.skip + block.take])
                continue
            before = len(waiting)
            with contextlib.suppress(_WrongBlock):
                parked = await self._download(record, waiting, queue)
                if parked is not None:
                    await queue.put(parked)
            tries = tries + 1 if len(waiting) == before else 1
            if waiting and tries >= TRIES_PER_BLOCK:
                document = waiting[0].extent.document
                raise DocumentCorrupt(
                    f"document {document.document_id} (message {document.message_id}) has wrong bytes"
                )

    async def _download(
        self, record: ObjectRecord, waiting: list[layout.Block], queue: asyncio.Queue[_QueueItem]
    ) -> bytes | None:
        """Download `waiting` (side by side in one document), taking each block off the list as it is passed on.

        Returns early, with the bytes that are next, where the client is too slow for a download to be kept for it.
        """
        first, last = waiting[0], waiting[-1]
        length = last.document_offset + last.length - first.document_offset
        stream = self._documents.read(first.extent.document, offset=first.document_offset, length=length)
        pending = bytearray()
        async with contextlib.aclosing(stream) as pieces:
            async for piece in pieces:
                pending += piece
                while waiting and len(pending) >= waiting[0].length:
                    block = waiting[0]
                    data = bytes(memoryview(pending)[: block.length])
                    del pending[: block.length]
                    if not await asyncio.to_thread(_is_right, data, block.sha256):
                        logger.warning("wrong bytes from Telegram in document %s", block.extent.document.document_id)
                        raise _WrongBlock
                    waiting.pop(0)
                    await self._admit(record, block, data)
                    asked_for = data[block.skip : block.skip + block.take]
                    try:
                        # Not wait_for: that of Python 3.11 can swallow the cancellation that ends this task.
                        async with asyncio.timeout(PARK_S):
                            await queue.put(asked_for)
                    except TimeoutError:
                        return asked_for
        return None

    async def _held(self, block: layout.Block) -> bytes | None:
        """The block from memory or disk, checked."""
        key = (block.extent.document.document_id, block.document_offset, block.length)
        if (held := self._memory.get(key)) is not None:
            return held
        data = await asyncio.to_thread(self._disk.get, key) if block.sha256 is not None else None
        if data is None:
            return None
        if not await asyncio.to_thread(_is_right, data, block.sha256):
            logger.warning("wrong bytes in the disk cache for document %s: dropped", key[0])
            await asyncio.to_thread(self._disk.forget, key)
            return None
        return data

    async def _admit(self, record: ObjectRecord, block: layout.Block, data: bytes) -> None:
        key = (block.extent.document.document_id, block.document_offset, block.length)
        if record.size <= self._admission.memory_object_bytes_max:
            self._memory.put(key, data)
        # What waits to be sent is on the disk already, and has another place when it was sent.
        is_for_disk = block.sha256 is not None and not block.extent.document.is_spooled
        if record.size <= self._admission.disk_object_bytes_max and is_for_disk:
            await asyncio.to_thread(self._disk.put, key, data)


class _WrongBlock(Exception):
    """A block's bytes do not have its hash."""


def _is_right(data: bytes, sha256: bytes | None) -> bool:
    return sha256 is None or hashlib.sha256(data).digest() == sha256


def _runs(blocks: list[layout.Block]) -> list[list[layout.Block]]:
    """Blocks grouped by document, in order."""
    runs: list[list[layout.Block]] = []
    for block in blocks:
        if runs and runs[-1][-1].extent == block.extent:
            runs[-1].append(block)
        else:
            runs.append([block])
    return runs
