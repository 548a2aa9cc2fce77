"""From a stream of bytes to documents in Telegram.

An upload collects its bytes in blocks, writes them into a spool file, and hands a full file over to be sent while the next one
fills. The last document is sent only by `finish`, which the caller invokes once everything about the body has been verified: so an
object that fits into one document leaves nothing in Telegram when its verification fails. A small last document, of many objects
the only one, goes into a pack with others (`packer.py`).

Where writes are acknowledged by the local disk, a full file stays there instead (`spool_folder.py` has the rules) and is sent later
by `spool.py`. An upload that has had its share of the room goes on to Telegram with the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from addon.store import layout
from addon.store.pack_format import ItemAbout, ItemKind, PackItem
from addon.store.pack_sending import report_orphan
from addon.store.packer import Packer, Placement, Urgency
from addon.store.ports import Documents, DocumentToSend, Index, IndexUnavailable, SourceChanged
from addon.store.records import BLOCK_BYTES, Document, Extent
from addon.store.spool_folder import SpoolFolder, SpoolFull
from addon.store.told_states import ToldExtent

logger = logging.getLogger(__name__)

# Bytes are hashed and written in pieces of this size, in a worker thread, while the next piece arrives.
PIECE_BYTES = BLOCK_BYTES // 4
# While this many documents of one upload are being sent, its next bytes wait: it bounds the spool at (n + 1) documents an upload.
SENDS_UNDER_WAY_MAX = 2
# An upload that takes longer than this fails: the documents that it sent first may be erased soon, because nothing uses them.
# That is within the 48 hours in which a bot may delete a message.
UPLOAD_S_MAX = 36 * 3600.0
UNUSED_GRACE_S = UPLOAD_S_MAX + 4 * 3600.0


class _Filling:
    """The document that is being filled, in pieces that never cross a block's end: in memory up to a block, then in a file of the
    folder `within`, or of the spool folder where there is one."""

    def __init__(self, within: Path, spool: SpoolFolder | None) -> None:
        self.document_id = uuid.uuid4().hex
        self.length = 0
        self.spool = spool
        self._path = within / f"{self.document_id}.part" if spool is None else spool.path(self.document_id)
        self._file: BinaryIO | None = None
        self._pieces: list[bytes] = []
        self._sha256s: list[hashlib._Hash] = []

    def append(self, piece: bytes) -> None:
        if self.spool is not None:
            self.spool.reserve(self.document_id, len(piece))
        if self.length % BLOCK_BYTES == 0:
            self._sha256s.append(hashlib.sha256())
        self._sha256s[-1].update(piece)
        self.length += len(piece)
        if self.length <= BLOCK_BYTES:
            self._pieces.append(piece)
            return
        self._write(piece)

    def _write(self, piece: bytes = b"") -> None:
        """What was in memory so far, and the piece."""
        file = self._opened()
        for one in (*self._pieces, piece):
            _write_all(file, one)
        self._pieces.clear()

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._file = self._path.open("xb", buffering=0)
        return self._file

    def keep(self, spool: SpoolFolder) -> None:
        """All of it is on the disk when this returns, with its name. Raises OSError."""
        with self._opened() as file:
            self._write()
            os.fsync(file.fileno())
        spool.sync()

    @property
    def block_sha256s(self) -> bytes:
        return b"".join(sha256.digest() for sha256 in self._sha256s)

    @property
    def in_memory(self) -> bytes | None:
        """All of it, while it is no more than a block."""
        if self._file is not None:
            return None
        self._pieces = [b"".join(self._pieces)]
        return self._pieces[0]

    @property
    def content(self) -> bytes | Path:
        """All of it, or the file that has it."""
        in_memory = self.in_memory
        return self._path if in_memory is None else in_memory

    def padded(self, padding: int) -> bytes | Path:
        """What is to be sent: the content, and `padding` zero bytes behind it."""
        if self._file is None:
            return b"".join((*self._pieces, bytes(padding)))
        self._file.truncate(self.length + padding)
        return self._path

    def discard(self) -> None:
        self._pieces.clear()
        if self._file is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)
        if self.spool is not None:
            self.spool.discard(self.document_id)


def _write_all(file: BinaryIO, data: bytes) -> None:
    """A file without a buffer may take less than it is given."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


class Upload:
    """One object on its way into Telegram. Use as an async context manager: whatever is not committed is undone when it ends.

    `observe(block)` is called in a worker thread with every block, before it is kept: it is where the caller hashes. With `spool`
    the bytes are acknowledged by the local disk.
    """

    def __init__(
        self,
        *,
        bucket: str,
        key: str,
        documents: Documents,
        packer: Packer,
        index: Index,
        spool_dir: Path,
        urgency: Urgency,
        observe: Callable[[bytes], None],
        now_s: Callable[[], float],
        randbelow: Callable[[int], int],
        spool: SpoolFolder | None = None,
    ) -> None:
        self.bucket, self.key = bucket, key
        self._documents, self._packer, self._index = documents, packer, index
        self._urgency = urgency
        self._spool_dir, self._observe = spool_dir, observe
        self._spool = spool
        self._spooled: list[str] = []
        self._now_s, self._randbelow, self._began_at_s = now_s, randbelow, now_s()
        self._extent_bytes_max = layout.extent_bytes_max(documents.document_bytes_max)
        self._pending = bytearray()
        self._filling: _Filling | None = None
        self._sends: list[asyncio.Task[Extent]] = []
        self._slots = asyncio.Semaphore(SENDS_UNDER_WAY_MAX)
        self._placement: Placement | None = None
        self._committed = False
        self._offset = 0
        self._keeping: asyncio.Future[None] | None = None
        self.size = 0
        self.only_block: bytes | None = None
        """The object's bytes where they are one block, known once `finish` was called: what is worth keeping at hand."""

    async def __aenter__(self) -> Upload:
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            if not self._committed:
                await self._undo()
        finally:
            if self._placement is not None:
                self._placement.settle()

    async def write(self, data: bytes) -> None:
        """Take the next bytes of the object. Raises what sending raised, as soon as it is known."""
        self.size += len(data)
        self._pending += data
        while len(self._pending) >= PIECE_BYTES:
            piece = bytes(memoryview(self._pending)[:PIECE_BYTES])
            del self._pending[:PIECE_BYTES]
            await self._keep(piece)

    async def seal(self) -> None:
        """No more bytes come: the last one has been observed when this returns, so digests are complete."""
        if self._pending:
            piece, self._pending = bytes(self._pending), bytearray()
            await self._keep(piece)
        await self._kept()

    async def finish(self, about: ItemAbout, *, queued: Callable[[], None] = lambda: None) -> tuple[Extent, ...]:
        """Send what is left; returns the object's extents once Telegram has acknowledged all of them. `about` describes what is
        made of them. `queued` is called when nothing is left but what waits for its pack. Raises `SourceChanged` where it all took
        longer than `UPLOAD_S_MAX`."""
        filling = self._filling
        if filling is not None and self._offset == 0:
            self.only_block = filling.in_memory
        if filling is not None and filling.spool is None and filling.length <= self._packer.item_bytes_max:
            self._pack(about, queued)
        elif filling is not None:
            self._hand_over(last=True)
        extents = tuple(await asyncio.gather(*self._sends))
        queued()
        if self._now_s() - self._began_at_s > UPLOAD_S_MAX:
            raise SourceChanged("the upload took so long that what came first may not be in Telegram any more")
        return extents

    def committed(self) -> None:
        """The index has the extents now: nothing is left to be undone."""
        self._committed = True
        if self._spool is not None and self._spooled:
            self._spool.changed.set()

    async def _keep(self, piece: bytes) -> None:
        await self._kept()
        for send in self._sends:
            if send.done():
                send.result()
        if self._filling is not None and self._filling.length + len(piece) > self._extent_bytes_max:
            await self._slots.acquire()
            self._hand_over(last=False)
        self._keeping = asyncio.get_running_loop().run_in_executor(None, self._keep_in_thread, piece)

    async def _kept(self) -> None:
        """Wait for the piece in the worker thread. Shielded: nobody may close the file under a thread that still writes."""
        if self._keeping is not None:
            await asyncio.shield(self._keeping)

    def _keep_in_thread(self, piece: bytes) -> None:
        self._observe(piece)
        if self._filling is None:
            self._filling = _Filling(self._spool_dir, self._spool_with_room())
        if self._filling.spool is None:
            self._filling.append(piece)
            return
        with _full_disks_told():
            self._filling.append(piece)

    def _spool_with_room(self) -> SpoolFolder | None:
        """The spool folder, while this upload has not had its share of it."""
        if self._spool is None or self._offset >= self._spool.upload_bytes_max:
            return None
        return self._spool

    def _pack(self, about: ItemAbout, queued: Callable[[], None]) -> None:
        filling, self._filling = self._filling, None
        assert filling is not None  # noqa: S101 -- the caller has looked
        self._sends.append(asyncio.create_task(self._place(filling, about, tuple(self._sends), queued)))

    async def _place(
        self,
        filling: _Filling,
        about: ItemAbout,
        before: Sequence[asyncio.Task[Extent]],
        queued: Callable[[], None],
    ) -> Extent:
        try:
            if self._spooled:
                # Its other documents are not in Telegram yet: only when they are can be told what the object is.
                about = replace(about, kind=ItemKind.MOVED)
            elif before:
                # What is packed tells of the object's other documents, so they come first.
                extents = await asyncio.gather(*before)
                about = replace(about, before=tuple(map(ToldExtent.of, extents)))
            item = PackItem(about, filling.content, filling.length, filling.block_sha256s)
            self._placement = await self._packer.place(item, self._urgency, queued=queued)
            return self._placement.extent
        finally:
            filling.discard()

    def _hand_over(self, *, last: bool) -> None:
        filling, self._filling = self._filling, None
        assert filling is not None  # noqa: S101 -- both callers have looked
        offset, self._offset = self._offset, self._offset + filling.length
        if filling.spool is not None:
            self._spooled.append(filling.document_id)
        work = self._send(filling, offset, last=last) if filling.spool is None else self._keep_here(filling, last=last)
        self._sends.append(asyncio.create_task(work))

    async def _keep_here(self, filling: _Filling, *, last: bool) -> Extent:
        """Its index row comes with the object's: until then nobody needs the file, and a start would clear it away."""
        assert filling.spool is not None  # noqa: S101 -- the caller has looked
        try:
            with _full_disks_told():
                await _to_the_end(filling.keep, filling.spool)
            document = Document(filling.document_id, 0, 0, 0, "", "", filling.length)
            return Extent(document, 0, filling.length, filling.block_sha256s)
        finally:
            if not last:
                self._slots.release()

    async def _send(self, filling: _Filling, offset: int, *, last: bool) -> Extent:
        try:
            padding = layout.padding_bytes(filling.length, self._randbelow)
            sha256s = filling.block_sha256s
            await self._packer.way_for(self._urgency)
            document = await self._documents.send(
                DocumentToSend(
                    document_id=filling.document_id,
                    content=filling.padded(padding),
                    size=filling.length + padding,
                    caption=layout.caption(
                        document_id=filling.document_id,
                        bucket=self.bucket,
                        key=self.key,
                        offset=offset,
                        length=filling.length,
                        block_sha256s=sha256s,
                    ),
                )
            )
            if not last:
                # The index row that uses it may be minutes away; until then it is a known orphan. The last one is followed at
                # once by that row, in one transaction.
                await self._index.add_documents([document], now_s=self._now_s(), used_within_s=UNUSED_GRACE_S)
            return Extent(document, 0, filling.length, sha256s)
        finally:
            filling.discard()
            if not last:
                self._slots.release()

    async def _undo(self) -> None:
        if self._keeping is not None:
            await asyncio.wait([self._keeping])
        if self._filling is not None:
            self._filling.discard()
            self._filling = None
        for send in self._sends:
            send.cancel()
        results = await asyncio.gather(*self._sends, return_exceptions=True)
        if self._spool is not None and self._spooled:
            # Not removed at once: who was cut off while the index worked for it does not know what became of it.
            self._spool.abandon(self._spooled)
        extents = [result for result in results if isinstance(result, Extent)]
        sent = [extent for extent in extents if not extent.document.is_spooled]
        if sent:
            try:
                await self._index.give_up(sent, now_s=self._now_s())
            except IndexUnavailable:
                for extent in sent:
                    report_orphan(extent.document)


async def _to_the_end(work: Callable[[SpoolFolder], None], spool: SpoolFolder) -> None:
    """`work` in a worker thread. Nobody who is cancelled leaves before the thread has done with the file."""
    working = asyncio.get_running_loop().run_in_executor(None, work, spool)
    try:
        await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        if not working.cancelled():
            working.exception()  # what it would have raised interests nobody any more
        raise


@contextlib.contextmanager
def _full_disks_told() -> Iterator[None]:
    """A disk that takes no more is told as the port's failure: Telegram would have taken it, and trying again can help."""
    try:
        yield
    except OSError as failure:
        logger.error("the spool folder does not take an upload: %s", failure)
        raise SpoolFull(f"the spool folder takes no more: {failure.strerror}") from failure
