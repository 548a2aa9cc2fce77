"""The port `Documents`, with documents that are still in the spool folder: those are read there, and everything else as before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

from addon.store.documents_in_front import DocumentsInFront
from addon.store.ports import DocumentLost, Documents
from addon.store.records import BLOCK_BYTES, Document
from addon.store.spool_folder import SpoolFolder


class DocumentMoved(DocumentLost):
    """It is not in the spool folder any more. Who looks its object up again finds where it is now, unless it is lost."""


class SpooledDocuments(DocumentsInFront):
    """Implements `addon.store.ports.Documents`, in front of `documents`, which are in Telegram."""

    def __init__(self, documents: Documents, folder: SpoolFolder) -> None:
        super().__init__(documents)
        self._folder = folder

    def read(self, document: Document, *, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """See the port; raises `DocumentMoved` too. The bytes of a spooled document are on the disk as they are: unsealed."""
        if document.is_spooled:
            return self._read_spooled(document, offset, offset + length)
        return super().read(document, offset=offset, length=length)

    async def _read_spooled(self, document: Document, offset: int, end: int) -> AsyncGenerator[bytes, None]:
        path = self._folder.path(document.document_id)
        while offset < end:
            piece = await asyncio.to_thread(_read, path, offset, min(BLOCK_BYTES, end - offset))
            offset += len(piece)
            yield piece

    def prepare(self, document: Document) -> None:
        if not document.is_spooled:
            super().prepare(document)


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
