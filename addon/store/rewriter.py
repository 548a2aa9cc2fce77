"""Documents that are dead in part are made anew without it: what lives in them moves, and then they are garbage as a whole.

The live bytes are read once, checked against their hashes, and given to the packer, which puts them beside others; what is too
large for a pack becomes a document of its own. The index leads all extents to the new place in one transaction, whatever was
committed meanwhile. Nothing is lost by a stop in between: the old document is in use until then.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from addon.store import layout
from addon.store.byte_ranges import Range, merged
from addon.store.erasing import ErasureIndex, LiveExtent, PartlyDeadDocument
from addon.store.pack_format import ItemAbout, ItemKind, PackItem
from addon.store.pack_queue import Placement, Urgency
from addon.store.ports import DocumentCorrupt, DocumentLost, Documents, DocumentToSend, TelegramUnavailable
from addon.store.records import BLOCK_BYTES, Document, Extent, Move

# So many documents are looked at together, and of so many at once the live bytes are read and moved.
PAGE = 100
AT_ONCE_MAX = 2
# What is moved together of one document, in bytes: as much is held in memory for each of them. One range may be larger; it goes
# through a file.
GROUP_BYTES_MAX = 24 << 20


class Places(Protocol):
    """What puts items into packs: the packer."""

    @property
    def item_bytes_max(self) -> int:
        """An item of more bytes is to be a document of its own."""

    async def place(self, item: PackItem, urgency: Urgency) -> Placement:
        """See `Packer.place`."""

    async def way_for(self, urgency: Urgency) -> None:
        """See `Packer.way_for`."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What became of a partly dead document: `moved_bytes` live ones lie elsewhere now; a `reason` where it stays as it was."""

    document: Document
    moved_bytes: int = 0
    reason: str = ""


class Rewriter:
    """Moves what lives out of documents of which enough is dead."""

    def __init__(
        self,
        index: ErasureIndex,
        documents: Documents,
        places: Places,
        *,
        spool_dir: Path,
        randbelow: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        self._index, self._documents, self._places = index, documents, places
        self._spool_dir, self._randbelow = spool_dir, randbelow

    async def rewrite(self, share_min: float, tell: Callable[[Rewritten], None]) -> None:
        """Make anew every document of which at least this share is dead, telling of each. Raises `IndexUnavailable`."""
        after = ""
        slots = asyncio.Semaphore(AT_ONCE_MAX)
        while page := await self._index.partly_dead(share_min=share_min, after=after, limit=PAGE):
            await _all(self._in_turn(one, slots, tell) for one in page)
            after = page[-1].document.document_id

    async def _in_turn(
        self, one: PartlyDeadDocument, slots: asyncio.Semaphore, tell: Callable[[Rewritten], None]
    ) -> None:
        async with slots:
            try:
                moved_bytes = await self._move_all(one.document)
            except (TelegramUnavailable, DocumentLost, DocumentCorrupt, OSError) as failure:
                tell(Rewritten(one.document, reason=str(failure)))
            else:
                tell(Rewritten(one.document, moved_bytes))

    async def _move_all(self, document: Document) -> int:
        live = await self._index.live_extents(document.document_id)
        moved_bytes = 0
        for group in _groups(merged((extent.offset, extent.length) for extent in live)):
            await self._move(document, group, live)
            moved_bytes += sum(length for _, length in group)
        return moved_bytes

    async def _move(self, document: Document, group: Sequence[Range], live: Sequence[LiveExtent]) -> None:
        """Ranges that are read in one go."""
        start, end = group[0][0], sum(group[-1])
        with contextlib.ExitStack() as stack:
            path = None
            if end - start > GROUP_BYTES_MAX:
                path = self._spool_dir / f"{uuid.uuid4().hex}.part"
                stack.callback(path.unlink, missing_ok=True)
            span = await self._fetch(document, start, end - start, path)
            stack.callback(span.close)
            within = [extent for extent in live if start <= extent.offset and extent.offset + extent.length <= end]
            if not await asyncio.to_thread(_are_right, span, within):
                raise DocumentCorrupt(
                    f"document {document.document_id} (message {document.message_id}) has wrong bytes"
                )
            await self._put(document, group, within, span)

    async def _fetch(self, document: Document, offset: int, length: int, path: Path | None) -> _Span:
        async with contextlib.aclosing(self._documents.read(document, offset=offset, length=length)) as pieces:
            if path is None:
                return _Span(offset, b"".join([piece async for piece in pieces]))
            with path.open("xb") as file:
                async for piece in pieces:
                    await asyncio.to_thread(file.write, piece)
        return _Span(offset, path)

    async def _put(self, document: Document, group: Sequence[Range], live: Sequence[LiveExtent], span: _Span) -> None:
        placed: list[tuple[Range, Placement]] = []

        async def put(one: Range) -> None:
            placed.append((one, await self._put_range(one, live, span)))

        try:
            await _all(put(one) for one in group)
        finally:
            # Whatever kept the others from being moved.
            try:
                await self._index.relocate(
                    [
                        Move(document.document_id, offset, length, placement.extent.document, placement.extent.offset)
                        for (offset, length), placement in placed
                    ]
                )
            finally:
                for _, placement in placed:
                    placement.settle()

    async def _put_range(self, one: Range, live: Sequence[LiveExtent], span: _Span) -> Placement:
        """Where a range of the document is now, besides."""
        offset, length = one
        extent = next(extent for extent in live if offset <= extent.offset < offset + length)
        if length <= self._places.item_bytes_max:
            content = await asyncio.to_thread(span.at, offset, length)
            about = ItemAbout(extent.bucket, extent.key, ItemKind.MOVED, size=length)
            sha256s = await asyncio.to_thread(_sha256s, span, offset, length)
            return await self._places.place(PackItem(about, content, length, sha256s), Urgency.SWEEP)
        return await self._send_alone(extent, offset, length, span)

    async def _send_alone(self, extent: LiveExtent, offset: int, length: int, span: _Span) -> Placement:
        document_id = uuid.uuid4().hex
        padding = layout.padding_bytes(length, self._randbelow)
        path = self._spool_dir / f"{document_id}.part"
        try:
            sha256s = await asyncio.to_thread(_copy, span, offset, length, padding, path)
            await self._places.way_for(Urgency.SWEEP)
            sent = await self._documents.send(
                DocumentToSend(
                    document_id=document_id,
                    content=path,
                    size=length + padding,
                    caption=layout.caption(
                        document_id=document_id,
                        bucket=extent.bucket,
                        key=extent.key,
                        offset=0,
                        length=length,
                        block_sha256s=sha256s,
                    ),
                )
            )
        finally:
            path.unlink(missing_ok=True)
        return Placement(Extent(sent, 0, length, sha256s), lambda: None)


async def _all(works: Iterator[Awaitable[None]]) -> None:
    """Do all of them at once; where one fails, the others are broken off first."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _groups(ranges: Sequence[Range]) -> Iterator[list[Range]]:
    """Neighbours that lie within `GROUP_BYTES_MAX`, or one that is larger by itself."""
    group: list[Range] = []
    for one in ranges:
        if group and sum(one) - group[0][0] > GROUP_BYTES_MAX:
            yield group
            group = []
        group.append(one)
    if group:
        yield group


class _Span:
    """The bytes of a document from `start` on, in memory or in a file. Many threads may ask for them."""

    def __init__(self, start: int, content: bytes | Path) -> None:
        self._start = start
        self._content = content if isinstance(content, bytes) else b""
        self._file = None if isinstance(content, bytes) else os.open(content, os.O_RDONLY)

    def at(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` of the document. Raises OSError where they are not there."""
        at = offset - self._start
        found = self._content[at : at + length] if self._file is None else os.pread(self._file, length, at)
        if len(found) != length:
            raise OSError(f"{length - len(found)} bytes that were written are not there")
        return found

    def blocks(self, offset: int, length: int) -> Iterator[bytes]:
        """The same, block by block."""
        for done in range(0, length, BLOCK_BYTES):
            yield self.at(offset + done, min(BLOCK_BYTES, length - done))

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)


def _are_right(span: _Span, live: Sequence[LiveExtent]) -> bool:
    """Whether what was read of a document has the hashes of its extents, where those are known."""
    return all(
        not extent.block_sha256s or _sha256s(span, extent.offset, extent.length) == extent.block_sha256s
        for extent in live
    )


def _sha256s(span: _Span, offset: int, length: int) -> bytes:
    """Of each block."""
    return b"".join(hashlib.sha256(block).digest() for block in span.blocks(offset, length))


def _copy(span: _Span, offset: int, length: int, padding: int, path: Path) -> bytes:
    """Write so many bytes and zeros behind them into a new file; returns the SHA-256 of each block."""
    sha256s = bytearray()
    with path.open("xb") as target:
        for block in span.blocks(offset, length):
            sha256s += hashlib.sha256(block).digest()
            target.write(block)
        target.write(bytes(padding))
    return bytes(sha256s)
