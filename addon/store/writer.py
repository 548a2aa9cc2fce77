"""From a stream of bytes to documents in Telegram.

An upload collects its bytes in blocks, writes them into a spool file, and hands a full file over to be sent while the next one
fills. The last document is sent only by `finish`, which the caller invokes once everything about the body has been verified: so an
object that fits into one document leaves nothing in Telegram when its verification fails.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from addon.store import layout
from addon.store.ports import Documents, DocumentToSend, Index
from addon.store.records import BLOCK_BYTES, Document, Extent

# While this many documents of one upload are being sent, its next bytes wait: it bounds the spool at (n + 1) documents an upload.
SENDS_UNDER_WAY_MAX = 2


class _Filling:
    """The document that is being filled."""

    def __init__(self, folder: Path) -> None:
        self.document_id = uuid.uuid4().hex
        self.path = folder / f"{self.document_id}.part"
        self.file: BinaryIO = self.path.open("xb", buffering=0)
        self.length = 0
        self.block_sha256s = bytearray()

    def append(self, block: bytes) -> None:
        self.file.write(block)
        self.block_sha256s += hashlib.sha256(block).digest()
        self.length += len(block)

    def discard(self) -> None:
        self.file.close()
        self.path.unlink(missing_ok=True)


class Upload:
    """One object on its way into Telegram. Use as an async context manager: whatever is not finished is undone when it ends.

    `observe(block)` is called in a worker thread with every block, before it is kept: it is where the caller hashes.
    """

    def __init__(
        self,
        *,
        bucket: str,
        key: str,
        documents: Documents,
        index: Index,
        spool_dir: Path,
        observe: Callable[[bytes], None],
        now_s: Callable[[], float],
        randbelow: Callable[[int], int],
    ) -> None:
        self._bucket, self._key = bucket, key
        self._documents, self._index = documents, index
        self._spool_dir, self._observe = spool_dir, observe
        self._now_s, self._randbelow = now_s, randbelow
        self._extent_bytes_max = layout.extent_bytes_max(documents.document_bytes_max)
        self._pending = bytearray()
        self._filling: _Filling | None = None
        self._sends: list[asyncio.Task[Extent]] = []
        self._slots = asyncio.Semaphore(SENDS_UNDER_WAY_MAX)
        self._finished = False
        self._offset = 0
        self._blocks = 0
        self.size = 0
        self.only_block: bytes | None = None
        """The object's bytes where they are one block: what is worth keeping at hand."""

    async def __aenter__(self) -> Upload:
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self._finished:
            await self._undo()

    async def write(self, data: bytes) -> None:
        """Take the next bytes of the object. Raises what sending raised, as soon as it is known."""
        self.size += len(data)
        self._pending += data
        while len(self._pending) >= BLOCK_BYTES:
            block = bytes(memoryview(self._pending)[:BLOCK_BYTES])
            del self._pending[:BLOCK_BYTES]
            await self._keep(block)

    async def seal(self) -> None:
        """No more bytes come: the last block has been observed when this returns, so digests are complete."""
        if self._pending:
            block, self._pending = bytes(self._pending), bytearray()
            await self._keep(block)

    async def finish(self) -> tuple[Extent, ...]:
        """Send what is left; returns the object's extents once Telegram has acknowledged all of them."""
        if self._filling is not None:
            self._hand_over(last=True)
        extents = tuple(await asyncio.gather(*self._sends))
        self._finished = True
        return extents

    async def abandon(self, extents: tuple[Extent, ...]) -> None:
        """The extents will not be used: their documents are recorded as garbage."""
        await self._index.add_documents([extent.document for extent in extents], now_s=self._now_s())

    async def _keep(self, block: bytes) -> None:
        for send in self._sends:
            if send.done():
                send.result()
        if self._filling is not None and self._filling.length + len(block) > self._extent_bytes_max:
            await self._slots.acquire()
            self._hand_over(last=False)
        await asyncio.to_thread(self._keep_in_thread, block)

    def _keep_in_thread(self, block: bytes) -> None:
        self._blocks += 1
        self.only_block = block if self._blocks == 1 else None
        self._observe(block)
        if self._filling is None:
            self._filling = _Filling(self._spool_dir)
        self._filling.append(block)

    def _hand_over(self, *, last: bool) -> None:
        filling, self._filling = self._filling, None
        assert filling is not None  # noqa: S101 -- both callers have looked
        offset, self._offset = self._offset, self._offset + filling.length
        self._sends.append(asyncio.create_task(self._send(filling, offset, last=last)))

    async def _send(self, filling: _Filling, offset: int, *, last: bool) -> Extent:
        try:
            padding = layout.padding_bytes(filling.length, self._randbelow)
            os.truncate(filling.path, filling.length + padding)
            sha256s = bytes(filling.block_sha256s)
            document = await self._documents.send(
                DocumentToSend(
                    document_id=filling.document_id,
                    path=filling.path,
                    size=filling.length + padding,
                    caption=layout.caption(
                        document_id=filling.document_id,
                        bucket=self._bucket,
                        key=self._key,
                        offset=offset,
                        length=filling.length,
                        block_sha256s=sha256s,
                    ),
                )
            )
            if not last:
                # The index row that uses it may be minutes away; until then it is a known orphan. The last one is followed at
                # once by that row, in one transaction.
                await self._index.add_documents([document], now_s=self._now_s())
            return Extent(document, 0, filling.length, sha256s)
        finally:
            filling.discard()
            if not last:
                self._slots.release()

    async def _undo(self) -> None:
        if self._filling is not None:
            self._filling.discard()
            self._filling = None
        for send in self._sends:
            send.cancel()
        results = await asyncio.gather(*self._sends, return_exceptions=True)
        sent: list[Document] = [result.document for result in results if isinstance(result, Extent)]
        if sent:
            await self._index.add_documents(sent, now_s=self._now_s())
