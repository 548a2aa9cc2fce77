"""The port `PackIndex`, as the part of `SqlIndex` that it is."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from addon.index import packs
from addon.index.reader import Reader
from addon.index.sqlite import snapshot
from addon.index.writer import Writer
from addon.store.records import Document
from addon.store.telling import Cursor, Untold, UntoldKey


class PackCalls:
    """Implements `addon.store.telling.PackIndex`; see there for what each method promises."""

    _reader: Reader
    _writer: Writer

    async def begin_pack(self, process_id: str, *, settled: Sequence[int], now_s: float) -> int:
        return await self._writer.run(lambda connection: packs.begin_pack(connection, process_id, settled, now_s))

    async def settle_packs(self, numbers: Sequence[int]) -> None:
        await self._writer.run(lambda connection: packs.settle_packs(connection, numbers))

    async def forget_packs(self, *, processes: str, began_before_s: float) -> int:
        return await self._writer.run(lambda connection: packs.forget_packs(connection, processes, began_before_s))

    async def untold(self, number: int, cursor: Cursor, *, bytes_max: int, but: frozenset[UntoldKey]) -> Untold:
        def read(connection: Connection) -> Untold:
            with snapshot(connection):
                return packs.untold(connection, number, cursor, bytes_max, but)

        return await self._reader.run(read)

    async def has_untold(self) -> bool:
        return await self._reader.point(packs.has_untold)

    async def acknowledge_pack(
        self, document: Document, told: Sequence[UntoldKey], *, tells_states: bool, only_tells: bool, now_s: float
    ) -> None:
        await self._writer.run(
            lambda connection: packs.acknowledge_pack(connection, document, told, tells_states, only_tells, now_s)
        )
