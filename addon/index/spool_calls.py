"""The port `SpoolIndex`, as the part of `SqlIndex` that it is."""

from __future__ import annotations

from collections.abc import Sequence

from addon.index import spooled
from addon.index.migration_calls import MigrationCalls
from addon.store.spool_index import Backlog, SpooledDocument, SpooledPiece


class SpoolCalls(MigrationCalls):
    """Implements `addon.store.spool_index.SpoolIndex`; see there for what each method promises."""

    async def spooled(self, *, after: tuple[float, str] = (0.0, ""), limit: int) -> Sequence[SpooledDocument]:
        return await self._read(spooled.spooled, after, limit)

    async def spooled_piece(self, document_id: str) -> SpooledPiece | None:
        return await self._read(spooled.spooled_piece, document_id)

    async def spooled_garbage(self, *, limit: int) -> Sequence[str]:
        return await self._read(spooled.spooled_garbage, limit)

    async def drop_spooled(self, document_ids: Sequence[str]) -> frozenset[str]:
        # Also where nothing is left to be dropped a write: it comes after all that were begun before it.
        return await self._write(spooled.drop_spooled, tuple(document_ids))

    async def backlog(self) -> Backlog:
        return await self._read(spooled.backlog)
