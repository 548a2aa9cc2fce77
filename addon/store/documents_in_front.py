"""What stands in front of the port `Documents` and changes some of it, passes the rest on: that rest."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from addon.store.ports import Deleted, Documents, DocumentToSend
from addon.store.records import Document


class DocumentsInFront:
    """Implements `addon.store.ports.Documents` by `documents`, without any change."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    @property
    def document_bytes_max(self) -> int:
        return self._documents.document_bytes_max

    async def send(self, document: DocumentToSend) -> Document:
        return await self._documents.send(document)

    def read(self, document: Document, *, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        return self._documents.read(document, offset=offset, length=length)

    def prepare(self, document: Document) -> None:
        self._documents.prepare(document)

    def reads_from_start(self) -> bool:
        return self._documents.reads_from_start()

    def send_delay_s(self) -> float:
        return self._documents.send_delay_s()

    def burst_share_left(self) -> float:
        return self._documents.burst_share_left()

    def ways(self) -> int:
        return self._documents.ways()

    def slot_s(self) -> float:
        return self._documents.slot_s()

    def on_new_file_id(self, remember: Callable[[str, int, str], None]) -> None:
        self._documents.on_new_file_id(remember)

    async def delete(self, document: Document) -> Deleted:
        return await self._documents.delete(document)

    async def blank(self, document: Document) -> bool:
        return await self._documents.blank(document)

    async def close(self) -> None:
        await self._documents.close()
