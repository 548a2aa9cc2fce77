"""A reader on real caches and the stand-in, and objects that lie in its chat, without an index."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from addon.standin.switches import Switches
from addon.store.cache import DiskCache, MemoryCache
from addon.store.reader import Admission, Reader
from addon.store.records import BLOCK_BYTES, Document, Extent, ObjectRecord, Provenance
from tests.service.product import eventually
from tests.telegram.telegram_world import World, telegram_world

DISK_BYTES = 256 << 20


@dataclass
class Library:
    """What is kept: `reader` reads it."""

    world: World
    reader: Reader
    folder: Path
    admission: Admission

    def restart(self) -> None:
        """A new process over the same disk: memory is empty."""
        disk = DiskCache(self.folder / "cache", DISK_BYTES)
        disk.open()
        self.reader = Reader(self.world.documents, MemoryCache(64 << 20), disk, self.admission)

    async def document(self, name: str, content: bytes) -> Document:
        return await self.world.send(content, name)

    async def large(self, name: str, blocks: int, documents: int) -> tuple[ObjectRecord, bytes]:
        """An object of so many documents, each of so many blocks."""
        contents = [random.Random(f"{name}{number}").randbytes(blocks * BLOCK_BYTES) for number in range(documents)]
        sent = [await self.document(f"{name}-{number}", content) for number, content in enumerate(contents)]
        extents = [
            extent_of(document, content, 0, len(content)) for document, content in zip(sent, contents, strict=True)
        ]
        return record_of(name, extents), b"".join(contents)

    async def settle(self) -> None:
        """Wait until what came with the last download has been put away."""
        await eventually(lambda: not self.reader._arrivals._tasks)

    async def read(self, record: ObjectRecord, start: int = 0, length: int | None = None) -> bytes:
        wanted = record.size - start if length is None else length
        async with aclosing(self.reader.read(record, start, wanted)) as pieces:
            return b"".join([piece async for piece in pieces])

    def downloads(self) -> list[dict[str, Any]]:
        return self.world.calls("download")

    def pieces_on_disk(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "cache").glob("*/*"))


def extent_of(document: Document, content: bytes, offset: int, length: int) -> Extent:
    blocks = [
        content[at : min(at + BLOCK_BYTES, offset + length)] for at in range(offset, offset + length, BLOCK_BYTES)
    ]
    return Extent(document, offset, length, b"".join(hashlib.sha256(block).digest() for block in blocks))


def record_of(key: str, extents: Sequence[Extent]) -> ObjectRecord:
    size = sum(extent.length for extent in extents)
    return ObjectRecord("b", key, 1, size, "etag", 0, Provenance.WRITTEN_HERE, False, extents=extents)


@asynccontextmanager
async def library(
    folder: Path, *, ranges: bool = True, admission: Admission | None = None, **settings: Any
) -> AsyncIterator[Library]:
    """`ranges`: whether the file host honours Range. By default the caches keep nothing."""
    switches = Switches(range_support=ranges, rate_limits="off", equal_size_throttle=False)
    async with telegram_world(folder, switches=switches, **settings) as world:
        kept = Library(world, None, folder, admission or Admission(0, 0))  # type: ignore[arg-type]  # at once
        kept.restart()
        try:
            yield kept
        finally:
            await kept.reader.close()
            left = [task for task in asyncio.all_tasks() if "Stream._carry" in repr(task.get_coro())]
            assert not left
