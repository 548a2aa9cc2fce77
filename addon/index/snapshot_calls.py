"""The port `SnapshotIndex`, as the part of `SqlIndex` that it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from addon.index import snapshots
from addon.index.reader import Reader
from addon.index.writer import Writer
from addon.store.snapshot_format import Snapshot
from addon.store.snapshots import CopiedIndex


class SnapshotCalls:
    """Implements `addon.store.snapshots.SnapshotIndex`; see there for what each method promises."""

    _reader: Reader
    _writer: Writer
    _copy_to: Callable[[Path], CopiedIndex]

    async def identity(self) -> int:
        return await self._writer.run(snapshots.identity)

    async def number(self) -> int:
        return await self._reader.point(snapshots.number)

    async def copy_to(self, path: Path) -> CopiedIndex:
        # A connection and a thread of its own: it may take a while, and nobody shall wait for it.
        return await asyncio.to_thread(self._copy_to, path)

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        await self._writer.run(lambda connection: snapshots.save_snapshot(connection, snapshot))

    async def snapshots(self) -> Sequence[Snapshot]:
        return await self._reader.run(snapshots.known_snapshots)

    async def forget_snapshot(self, snapshot_id: str) -> None:
        await self._writer.run(lambda connection: snapshots.forget_snapshot(connection, snapshot_id))
