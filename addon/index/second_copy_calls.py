"""The port `WaysIndex`, as the part of `SqlIndex` that it is."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from addon.index import second_copies
from addon.index.migration_calls import MigrationCalls
from addon.store.migration import Amount
from addon.store.records import Document, DocumentCopy
from addon.store.second_copies import Kept, Ways


class SecondCopyCalls(MigrationCalls):
    """Implements `addon.store.second_copies.WaysIndex`; see there for what each method promises."""

    async def ways_to(self, document_id: str) -> Ways:
        return await self._reader.point(lambda connection: second_copies.ways_to(connection, document_id))

    async def lacking(self, chats: Collection[int], wanted: int, *, after: str, limit: int) -> Sequence[Kept]:
        return await self._read(second_copies.lacking, chats, wanted, after, limit)

    async def lacking_amount(self, chats: Collection[int], wanted: int) -> Amount:
        return await self._read(second_copies.lacking_amount, chats, wanted)

    async def add_copy(self, document_id: str, copy: DocumentCopy) -> bool:
        return await self._write(second_copies.add_copy, document_id, copy)

    async def move_address(self, document: Document, to: DocumentCopy, *, keep_former: bool) -> bool:
        return await self._writer.run(
            lambda connection: second_copies.move_address(connection, document, to, keep_former=keep_former)
        )

    async def forget_copy_in(self, document_id: str, copy: DocumentCopy) -> None:
        await self._write(second_copies.forget_copy_in, document_id, copy)

    async def moved_chats(self) -> dict[int, int]:
        return await self._read(second_copies.moved_chats)
