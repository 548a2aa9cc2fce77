"""The port `ErasureIndex`, as the part of `SqlIndex` that it is."""

from __future__ import annotations

from collections.abc import Sequence

from addon.index import erasures, retelling
from addon.index.migration_calls import MigrationCalls
from addon.store.erasing import (
    DoomedDocument,
    ErasurePlan,
    ErasureTerms,
    LiveExtent,
    PartlyDeadDocument,
    ToldKey,
)
from addon.store.migration import Amount
from addon.store.records import Document


class ErasureCalls(MigrationCalls):
    """Implements `addon.store.erasing.ErasureIndex`; see there for what each method promises."""

    async def erasure_plan(self, terms: ErasureTerms, *, now_s: float) -> ErasurePlan:
        return await self._read(erasures.plan, terms, now_s)

    async def begin_erasures(
        self, terms: ErasureTerms, *, now_s: float, lease_s: float, limit: int
    ) -> Sequence[DoomedDocument]:
        return await self._write(erasures.begin, terms, now_s, lease_s, limit)

    async def end_erasure(self, document_id: str, *, now_s: float) -> None:
        await self._write(erasures.end, document_id, now_s)

    async def put_off_erasure(self, document_id: str, *, until_s: float, reason: str) -> None:
        await self._write(erasures.put_off, document_id, until_s, reason)

    async def end_rests(self, *, now_s: float) -> None:
        await self._write(erasures.end_rests, now_s)

    async def erased_after(self, at_s: float, document_id: str, *, limit: int) -> Sequence[tuple[float, str]]:
        return await self._read(erasures.erased_after, at_s, document_id, limit)

    async def erased_amount(self) -> Amount:
        return await self._read(erasures.erased_amount)

    async def forget_erasures(self, *, before_s: float) -> int:
        return await self._write(erasures.forget, before_s)

    async def partly_dead(self, *, share_min: float, after: str, limit: int) -> Sequence[PartlyDeadDocument]:
        return await self._read(erasures.partly_dead, share_min, after, limit)

    async def live_extents(self, document_id: str) -> Sequence[LiveExtent]:
        return await self._read(erasures.live_extents, document_id)

    async def in_force(self, told: Sequence[ToldKey]) -> int:
        return await self._read(retelling.in_force, tuple(told))

    async def untell(self, told: Sequence[ToldKey]) -> int:
        return await self._write(retelling.untell, tuple(told))

    async def told_elsewhere(self, document_ids: Sequence[str]) -> None:
        await self._write(erasures.told_elsewhere, tuple(document_ids))

    async def states_documents(self) -> Sequence[Document]:
        return await self._read(erasures.states_documents)

    async def doom(self, document_ids: Sequence[str]) -> None:
        await self._write(erasures.doom, tuple(document_ids))
