"""The port `Documents`, with documents that are still in the spool folder: those are read there, and everything else as before."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from addon.store.ports import Deleted, DocumentLost, Documents, DocumentToSend
from addon.store.records import BLOCK_BYTES, Document
from addon.store.spool_folder import SpoolFolder


class DocumentMoved(DocumentLost):
    """It is not in the spool folder any more. Who looks its object up again finds where it is now, unless it is lost."""


class SpooledDocuments:
    """Implements `addon.store.ports.Documents`, in front of `documents`, which are in Telegram."""

    def __init__(self, documents: Documents, folder: SpoolFolder) -> None:
        self._documents, self._folder = documents, folder

    @property
    def document_bytes_max(self) -> int:
        return self._documents.document_bytes_max

    async def send(self, document: DocumentToSend) -> Document:
        return await self._documents.send(document)

    async def read(self, document: Document, *, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """See the port; raises `DocumentMoved` too. The bytes of a spooled document are on the disk as they are: unsealed."""
        if not document.is_spooled:
            async with contextlib.aclosing(self._documents.read(document, offset=offset, length=length)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        path, end = self._folder.path(document.document_id), offset + length
        while offset < end:
            piece = await asyncio.to_thread(_read, path, offset, min(BLOCK_BYTES, end - offset))
            offset += len(piece)
            yield piece

    def prepare(self, document: Document) -> None:
        if not document.is_spooled:
            self._documents.prepare(document)

    def reads_from_start(self) -> bool:
        return self._documents.reads_from_start()

    def send_delay_s(self) -> float:
        return self._documents.send_delay_s()

    def burst_share_left(self) -> float:
        return self._documents.burst_share_left()

    def slot_s(self) -> float:
        return self._documents.slot_s()

    def ways(self) -> int:
        return self._documents.ways()

    def on_new_file_id(self, remember: Callable[[str, int, str], None]) -> None:
        self._documents.on_new_file_id(remember)

    async def delete(self, document: Document) -> Deleted:
        return await self._documents.delete(document)

    async def blank(self, document: Document) -> bool:
        return await self._documents.blank(document)

    async def close(self) -> None:
        await self._documents.close()


def _read(path: Path, offset: int, length: int) -> bytes:
    # Opened anew for each piece: a reader may go while a thread reads, and then nobody is left to close a file.
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            piece = file.read(length)
    except FileNotFoundError:
        raise DocumentMoved(f"document {path.name} is not in the spool folder") from None
    except OSError as failure:
        raise DocumentLost(f"document {path.name} in the spool folder cannot be read: {failure.strerror}") from failure
    if not piece:
        raise DocumentLost(f"document {path.name} in the spool folder is shorter than it was")
    return piece
