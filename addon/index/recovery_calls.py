"""The port `RecoveryIndex`: an index beside the real one, which takes its place when it is done.

It is a SQLite file of its own, named like the index with `.recovering` behind. While it is there the index does not open: half an
index would be taken for the whole one.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, func, select

from addon.index import recovery, recovery_placing
from addon.index.errors import mapped
from addon.index.recovery_tables import recovery_metadata
from addon.index.sql_index import SqlIndex, open_index
from addon.index.sqlite import (
    FILES_BESIDE,
    create_folder,
    create_sqlite_engine,
    path_of,
    recovering_path,
)
from addon.index.tables import documents, keys, proxies, uploads
from addon.store.ports import IndexUnavailable
from addon.store.recovered_keys import UntoldItem
from addon.store.recovery_index import Chunk, LostObject, Recovered, RecoveryPlan, StatesPlaced, UnsettledPack

T = TypeVar("T")

# A proxy that said so lately runs (store/retirement.py says how often they do).
PROXY_SILENT_S = 10.0


class SqlRecovery:
    """Implements `addon.store.recovery_index.RecoveryIndex`; made by `SqlRecoveryPlace`."""

    def __init__(self, index: SqlIndex, target: Path) -> None:
        self._index, self._target = index, target

    async def plan(self) -> RecoveryPlan | None:
        return await self._read(recovery.plan_of)

    async def begin(self, plan: RecoveryPlan) -> None:
        await self._write(recovery.begin, plan)

    async def known_messages(self, chat_id: int, first: int, last: int) -> frozenset[int]:
        return await self._read(recovery.known_messages, chat_id, first, last)

    async def has_pack(self, document_id: str) -> bool:
        return await self._read(recovery.has_pack, document_id)

    async def add(self, chunk: Chunk) -> None:
        await self._write(recovery.add, chunk)

    async def continue_numbers(self) -> None:
        await self._write(recovery.continue_numbers)

    async def place_states(self, after: tuple[str, bytes] | None, *, limit: int, now_s: float) -> StatesPlaced:
        return await self._write(recovery_placing.place_states, after, limit, now_s)

    async def unsettled_packs(self, *, take_untold: bool) -> Sequence[UnsettledPack]:
        return await self._read(recovery_placing.unsettled_packs, take_untold)

    async def place_items(self, items: Sequence[UntoldItem], *, take_untold: bool, now_s: float) -> int:
        return await self._write(recovery_placing.place_items, tuple(items), take_untold, now_s)

    async def summary(self, lost: Sequence[LostObject]) -> Recovered:
        return await self._read(recovery_placing.summary, tuple(lost))

    async def finish(self, *, now_s: float, complete: bool) -> None:
        await self._write(recovery_placing.settle, now_s, complete)
        await self._write(recovery_metadata.drop_all)
        await self._index.close()
        await asyncio.to_thread(_take_place, recovering_path(self._target), self._target)

    async def close(self) -> None:
        await self._index.close()

    async def _read(self, work: Callable[..., T], *arguments: Any) -> T:
        return await self._index._reader.run(lambda connection: work(connection, *arguments))

    async def _write(self, work: Callable[..., T], *arguments: Any) -> T:
        return await self._index._writer.run(lambda connection: work(connection, *arguments))


class SqlRecoveryPlace:
    """Implements `addon.store.recovery_index.RecoveryPlace` for an index at `sqlite:///…`. Raises ValueError for another URL."""

    def __init__(self, url: str) -> None:
        self._target = path_of(url)

    @property
    def folder(self) -> Path:
        return self._target.parent

    async def resume(self) -> SqlRecovery | None:
        await asyncio.to_thread(check_empty, self._target)
        if not recovering_path(self._target).exists():
            return None
        found = await self._open()
        if await found.plan() is not None:
            return found
        # It was stopped before anything was decided.
        await found.close()
        await asyncio.to_thread(_discard, recovering_path(self._target))
        return None

    async def begin(self, made_of: Path | None) -> SqlRecovery:
        await asyncio.to_thread(_begin, recovering_path(self._target), made_of)
        return await self._open()

    async def _open(self) -> SqlRecovery:
        index = await open_index(f"sqlite:///{recovering_path(self._target)}")
        try:
            await index._writer.run(recovery_metadata.create_all)
        except BaseException:
            await index.close()
            raise
        return SqlRecovery(index, self._target)

    async def unsettled_packs(self, snapshot: Path) -> frozenset[int]:
        return await asyncio.to_thread(_unsettled_packs, snapshot)


def _unsettled_packs(snapshot: Path) -> frozenset[int]:
    with mapped("read"):
        engine = create_sqlite_engine(snapshot, busy_timeout_s=0.0)
        with engine.connect() as connection:
            return recovery.unsettled_at_snapshot(connection)


def _discard(work: Path) -> None:
    with mapped("put aside"):
        for ending in ("", *FILES_BESIDE):
            work.with_name(work.name + ending).unlink(missing_ok=True)


def check_empty(target: Path) -> None:
    """Raises `IndexUnavailable` where the index holds anything, or a proxy uses it. Blocks."""
    if not target.exists() or not target.stat().st_size:
        return
    with mapped("read"):
        engine = create_sqlite_engine(target, busy_timeout_s=5.0)
        with engine.connect() as connection:
            held = sum(_rows(connection, table.name) for table in (keys, documents, uploads))
            seen = proxies.c.seen_at_s > time.time() - PROXY_SILENT_S
            has_proxy = not held and connection.execute(select(func.count()).where(seen)).scalar_one()
    if held:
        raise IndexUnavailable(
            f"{target} holds something, and nothing is recovered over it: to make it anew, put it aside (with its -wal and -shm)"
        )
    if has_proxy:
        raise IndexUnavailable(f"a proxy runs on {target}: stop it first")


def _rows(connection: Connection, name: str) -> int:
    there = connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).first()
    if there is None:
        return 0
    return int(connection.exec_driver_sql(f'SELECT count(*) FROM "{name}"').scalar_one())  # noqa: S608 -- our own name


def _begin(work: Path, made_of: Path | None) -> None:
    with mapped("written"):
        create_folder(work)
        if made_of is not None:
            descriptor = os.open(made_of, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            made_of.replace(work)


def _take_place(work: Path, target: Path) -> None:
    """Put the finished file in its place, whole and durable."""
    with mapped("put in its place"):
        engine = create_sqlite_engine(work, busy_timeout_s=5.0)
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        check_empty(target)
        for ending in FILES_BESIDE:
            target.with_name(target.name + ending).unlink(missing_ok=True)
        work.replace(target)
        for ending in FILES_BESIDE:
            work.with_name(work.name + ending).unlink(missing_ok=True)
        descriptor = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
