"""The port `Documents` with everything sealed that goes through it; offsets and lengths are those of the content.

What was sent before there was a key is read as it lies there, and what is sealed under a former key is opened with that. Without a
key for what is new, new documents go out as they are. Of a sealed document only the segments are read that a range touches, and a
byte leaves once the whole of its segment is verified.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from pathlib import Path

from addon.store.captions import seal_caption
from addon.store.documents_in_front import DocumentsInFront
from addon.store.known_files import FoundFile, KnownFiles
from addon.store.ports import DocumentCorrupt, Documents, DocumentToSend
from addon.store.records import BLOCK_BYTES, PACK_SEGMENT_BYTES, Document
from addon.store.seal_format import TAG_BYTES, Header, content_bytes_max
from addon.store.sealed_files import seal_file
from addon.store.sealing import MasterKeys, SealedDocument, WrongSeal

logger = logging.getLogger(__name__)

# Content in memory is sealed in memory up to this size; more of it, and what lies in a file, into a file of the spool folder.
SEALED_IN_MEMORY_BYTES_MAX = 4 << 20
# A segment that is wrong is fetched once more: a damaged transfer heals, a damaged document does not.
TRIES_PER_SEGMENT = 2


class SealedDocuments(DocumentsInFront):
    """Stands in front of `documents`. Files of sealed documents on their way are in `spool_dir`, one for each send under way. A
    placeholder (`blank`) is not sealed: it says nothing."""

    def __init__(self, documents: Documents, keys: MasterKeys, spool_dir: Path) -> None:
        super().__init__(documents)
        self._keys, self._spool_dir = keys, spool_dir

    @property
    def document_bytes_max(self) -> int:
        """The most content that a document takes, in bytes."""
        most = self._documents.document_bytes_max
        return most if self._keys.key_id is None else content_bytes_max(most, PACK_SEGMENT_BYTES)

    async def send(self, document: DocumentToSend) -> Document:
        """See the port. Each call seals anew, under a key of its own; attempts within a call send the same bytes."""
        if self._keys.key_id is None:
            return await self._documents.send(document)
        seal = self._keys.new_seal()
        header = Header(document.document_id, seal, document.segment_bytes, document.size)
        caption = seal_caption(self._keys, seal, document.caption, segment_bytes=document.segment_bytes)
        async with self._sealed(self._keys.document(header), document.content) as content:
            sealed = replace(document, content=content, size=header.document_bytes, caption=caption)
            sent = await self._documents.send(sealed)
        return replace(sent, key_id=seal.name, segment_bytes=document.segment_bytes)

    @contextlib.asynccontextmanager
    async def _sealed(self, document: SealedDocument, content: bytes | Path) -> AsyncIterator[bytes | Path]:
        if isinstance(content, bytes) and len(content) <= SEALED_IN_MEMORY_BYTES_MAX:
            yield await asyncio.to_thread(document.sealed, content)
            return
        target = self._spool_dir / f"{uuid.uuid4().hex}.part"
        sealing = asyncio.ensure_future(asyncio.to_thread(seal_file, document, content, target))
        try:
            await asyncio.shield(sealing)
            yield target
        finally:
            # Nothing is removed under a thread that still writes.
            await asyncio.gather(sealing, return_exceptions=True)
            target.unlink(missing_ok=True)

    def read(self, document: Document, *, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """See the port. Raises `KeyMissing` where it is sealed under a key that is not there."""
        if not document.key_id:
            return self._documents.read(document, offset=offset, length=length)
        return self._read_sealed(document, offset, length)

    async def _read_sealed(self, document: Document, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        opener = self._opener(document)
        if offset < 0 or length < 0 or offset + length > opener.header.content_bytes:
            raise ValueError(f"bytes {offset}+{length} do not lie in the {opener.header.content_bytes} of a document")
        position, end, tries = offset, offset + length, 0
        while position < end:
            began = position
            try:
                async with contextlib.aclosing(self._opened(document, opener, position, end)) as pieces:
                    async for piece in pieces:
                        position += len(piece)
                        yield piece
            except WrongSeal as error:
                logger.warning("wrong bytes from Telegram: %s", error)
                tries = tries + 1 if position == began else 1
                if tries >= TRIES_PER_SEGMENT:
                    raise DocumentCorrupt(f"{error} (message {document.message_id})") from None

    def _opener(self, document: Document) -> SealedDocument:
        try:
            return self._keys.document(Header.of(document))
        except ValueError as error:
            raise DocumentCorrupt(f"document {document.document_id}: {error}") from None

    async def _opened(
        self, document: Document, opener: SealedDocument, position: int, end: int
    ) -> AsyncGenerator[bytes, None]:
        """The content from `position` to `end`, which is behind it, in one download. Raises `WrongSeal`."""
        header, step = opener.header, opener.header.segment_bytes
        number, last = position // step, (end - 1) // step
        start = header.place(number)
        stream = self._documents.read(document, offset=start, length=header.place(last + 1) - start)
        pending = bytearray()
        async with contextlib.aclosing(stream) as pieces:
            async for piece in pieces:
                pending += piece
                while count := _arrived(header, number, last, len(pending)):
                    sealed_bytes = header.place(number + count) - header.place(number)
                    sealed = bytes(memoryview(pending)[:sealed_bytes])
                    del pending[:sealed_bytes]
                    content = await asyncio.to_thread(_open, opener, number, count, sealed)
                    asked_for = memoryview(content)[max(0, position - number * step) : end - number * step]
                    for at in range(0, len(asked_for), BLOCK_BYTES):
                        yield bytes(asked_for[at : at + BLOCK_BYTES])
                    number += count
        if number <= last:
            raise WrongSeal(f"document {document.document_id} ends within segment {number}")


class SealedKnownFiles:
    """The port `KnownFiles`, whose messages get a sealed caption. The files themselves are in Telegram already, as they are."""

    def __init__(self, known_files: KnownFiles, keys: MasterKeys) -> None:
        self._known_files, self._keys = known_files, keys

    async def find(self, file_id: str) -> FoundFile:
        """See the port."""
        return await self._known_files.find(file_id)

    async def send_again(self, found: FoundFile, *, document_id: str, caption: str) -> Document:
        """See the port."""
        if self._keys.key_id is not None:
            caption = seal_caption(self._keys, self._keys.new_seal(), caption, segment_bytes=0)
        return await self._known_files.send_again(found, document_id=document_id, caption=caption)


def _arrived(header: Header, number: int, last: int, received: int) -> int:
    """How many of the segments `number` … `last` are whole in so many bytes; counts a block's worth, or one, at most."""
    most = min(last + 1 - number, max(1, BLOCK_BYTES // header.segment_bytes))
    count = min(received // (header.segment_bytes + TAG_BYTES), most)
    if count < most and header.place(number + count + 1) - header.place(number) <= received:
        count += 1  # the document's last segment may be shorter
    return count


def _open(opener: SealedDocument, number: int, count: int, sealed: bytes) -> bytes:
    """The content of some segments side by side. Raises `WrongSeal`."""
    view, place = memoryview(sealed), opener.header.place
    start = place(number)
    return b"".join(
        opener.open(one, view[place(one) - start : place(one + 1) - start]) for one in range(number, number + count)
    )
