"""One download of blocks that lie side by side in a document, for everybody who wants one of them.

It goes on while anybody wants one of its next blocks. Where all have taken as much as they may hold it waits for `PARK_S`, and
gives its connection back then; who comes later begins another one.

No byte of a block is given out before its SHA-256 is right. What is wrong is fetched once more: a damaged transfer heals, a damaged
document does not. Of a file that was imported unread nobody knows the hashes: its length is right all the same (`Documents.read`
gives exactly what was asked of a document of that size, or raises), and it is never kept on disk, as what lies there could not be
checked.

Where the file host ignores ranges, what lies in front of the wanted blocks comes with each download. It is kept on disk together
with them, as one piece, for their neighbours in a shared document; who reads those checks their hashes.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from addon.store.cache import Aside, BlockKey, DiskCache
from addon.store.layout import Block
from addon.store.ports import DocumentCorrupt, Documents, TelegramUnavailable
from addon.store.records import BLOCK_BYTES, Document

logger = logging.getLogger(__name__)

PARK_S = 5.0
TRIES_PER_BLOCK = 2
# A reader joins a download that will reach his block within so many; else one of his own is there sooner.
JOIN_BLOCKS_MAX = 32
# What comes in front of the wanted blocks goes to disk in pieces of about this size.
PASSING_BYTES = 1 << 20


def key_of(block: Block) -> BlockKey:
    """Where the block lies."""
    return (block.extent.document.document_id, block.document_offset, block.length)


@dataclass(frozen=True, slots=True)
class Run:
    """The blocks of one extent that somebody reads, in order, and whether the caches are to keep them. `passing_bytes_max`: up to
    where, from the document's beginning, what comes with them is kept as well."""

    blocks: Sequence[Block]
    in_memory: bool
    on_disk: bool
    passing_bytes_max: int

    @property
    def document(self) -> Document:
        return self.blocks[0].extent.document


@dataclass(eq=False, slots=True)
class Arrival:
    """One block: here, or on its way. `wanted` counts who asked for it and has not released it."""

    key: BlockKey
    data: asyncio.Future[bytes]
    wanted: int = 0
    tries: int = 0
    stream: Stream | None = None


class Stream:
    """The download of a run from block `first` on. `arrived(run, number, data)` is told of each right block, `settled(arrival)`
    when one that somebody wanted has come or failed, `over(stream)` at the end."""

    def __init__(
        self,
        documents: Documents,
        disk: DiskCache,
        run: Run,
        first: int,
        *,
        arrived: Callable[[Run, int, bytes], None],
        settled: Callable[[Arrival], None],
        over: Callable[[Stream], None],
    ) -> None:
        self._documents, self._disk = documents, disk
        self.run, self._at = run, first
        self._arrived, self._settled, self._over = arrived, settled, over
        self._wants: dict[int, Arrival] = {}
        self._more = asyncio.Event()
        self._readers: set[object] = set()
        self._task: asyncio.Task[None] | None = None
        self._is_ending = False

    def start(self) -> asyncio.Task[None]:
        """Begin; the task is the caller's to keep."""
        self._task = asyncio.create_task(self._carry())
        return self._task

    def number_of(self, key: BlockKey) -> int | None:
        """Which of its next blocks this is; None where it is none of them."""
        blocks = self.run.blocks
        number, between = divmod(key[1] - blocks[0].document_offset, BLOCK_BYTES)
        is_next = self._at <= number < min(self._at + JOIN_BLOCKS_MAX, len(blocks))
        if between or not is_next or self._is_ending or key_of(blocks[number]) != key:
            return None
        return number

    def add(self, number: int, arrival: Arrival, reader: object) -> None:
        """Somebody wants this block."""
        arrival.stream = self
        self._wants[number] = arrival
        self.follow(reader)
        self._more.set()

    def follow(self, reader: object) -> None:
        """One more reader takes blocks of it."""
        self._readers.add(reader)

    def forget(self, arrival: Arrival) -> None:
        """Nobody wants this block any more."""
        for number, other in self._wants.items():
            if other is arrival:
                del self._wants[number]
                return

    def leave(self, reader: object) -> None:
        """The reader takes no more of it; with the last one it ends, unless all blocks are here: then it only tidies up."""
        if reader in self._readers:
            self._readers.discard(reader)
            if not self._readers and self._task is not None and self._at < len(self.run.blocks):
                self._is_ending = True
                self._task.cancel()

    async def _carry(self) -> None:
        try:
            while self._wants:
                await self._pass()
        except Exception as error:  # noqa: BLE001 -- it is carried to the readers, who raise it
            self._fail_all(error)
        finally:
            self._is_ending = True
            self._fail_all(TelegramUnavailable("the download was ended"))
            self._over(self)

    def _fail_all(self, error: Exception) -> None:
        while self._wants:
            _, arrival = self._wants.popitem()
            self._fail(arrival, error)

    def _fail(self, arrival: Arrival, error: Exception) -> None:
        arrival.data.set_exception(error)
        self._settled(arrival)

    async def _pass(self) -> None:
        """One download, from the first wanted block to the end of the run, or until nobody wants more."""
        self._at = min(self._wants)
        first, last = self.run.blocks[self._at], self.run.blocks[-1]
        is_whole = self._documents.reads_from_start() and not self.run.document.is_spooled
        begin = 0 if is_whole else first.document_offset
        passing = _Passing(self._disk, self.run, begin, first)
        length = last.document_offset + last.length - begin
        pieces, held = list[bytes](), 0
        download = self._documents.read(self.run.document, offset=begin, length=length)
        try:
            async with contextlib.aclosing(download):
                async for received in download:
                    piece = await passing.take(received)
                    while piece:
                        # Beyond the last block nothing comes; a download that is read to its end leaves its connection for others.
                        missing = self.run.blocks[self._at].length - held
                        pieces.append(piece[:missing])
                        held += len(pieces[-1])
                        piece = piece[missing:]
                        if len(pieces[-1]) < missing:
                            break
                        block, pieces, held = pieces, [], 0
                        if not (await self._take_in(block) and await self._is_wanted_on()):
                            return
        finally:
            await passing.end()

    async def _take_in(self, pieces: list[bytes]) -> bool:
        """The next block is here; whether it is right, or nobody minds."""
        number = self._at
        block = self.run.blocks[number]
        data = await asyncio.to_thread(_joined_if_right, pieces, block, self._disk if self.run.on_disk else None)
        arrival = self._wants.pop(number, None)
        self._at += 1
        if data is not None:
            self._arrived(self.run, number, data)
            if arrival is not None:
                arrival.data.set_result(data)
                self._settled(arrival)
            return True
        document = self.run.document
        logger.warning("wrong bytes from Telegram in document %s", document.document_id)
        if arrival is None:
            return True
        arrival.tries += 1
        if arrival.tries < TRIES_PER_BLOCK:
            self._wants[number] = arrival
        else:
            lost = f"document {document.document_id} (message {document.message_id}) has wrong bytes"
            self._fail(arrival, DocumentCorrupt(lost))
        return False

    async def _is_wanted_on(self) -> bool:
        """Whether anybody wants one of the next blocks; waits a while for it, unless there are none."""
        if not self._wants and self._at < len(self.run.blocks):
            self._more.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PARK_S):
                    await self._more.wait()
        return bool(self._wants) or self._at == len(self.run.blocks)


class _Passing:
    """What a download brings in front of the first wanted block: kept on disk, with the blocks behind it, or dropped."""

    def __init__(self, disk: DiskCache, run: Run, begin: int, first: Block) -> None:
        self._left = first.document_offset - begin
        self._pieces: list[bytes] = []
        self._bytes = 0
        kept = self._left and run.on_disk and first.sha256 is not None
        fits = first.document_offset + first.length <= run.passing_bytes_max
        self._aside = disk.aside(run.document.document_id) if kept and fits else None

    async def take(self, piece: bytes) -> bytes:
        """The next bytes of the download; returns those of them that are wanted."""
        if self._aside is not None:
            self._pieces.append(piece)
            self._bytes += len(piece)
            if self._bytes >= PASSING_BYTES:
                await self._write()
        if not self._left:
            return piece
        passing = min(self._left, len(piece))
        self._left -= passing
        return piece[passing:]

    async def end(self) -> None:
        """The download is over. What came is kept if any of what was wanted is among it."""
        if self._aside is not None:
            # Shielded: a task that is cancelled again meanwhile must not leave the file open.
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, self._end, self._aside))

    def _end(self, aside: Aside) -> None:
        if self._left:
            aside.drop()
            return
        aside.write(b"".join(self._pieces))
        aside.keep(0)

    async def _write(self) -> None:
        pieces, self._pieces, self._bytes = self._pieces, [], 0
        aside = self._aside
        if pieces and aside is not None:
            await asyncio.to_thread(lambda: aside.write(b"".join(pieces)))


def _joined_if_right(pieces: list[bytes], block: Block, disk: DiskCache | None) -> bytes | None:
    """A block's bytes, if they have its hash; kept on disk, where there is one for them."""
    data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    if not is_right(data, block.sha256):
        return None
    if disk is not None and block.sha256 is not None and not disk.holds(key_of(block)):
        disk.put(key_of(block), data)
    return data


def is_right(data: bytes, sha256: bytes | None) -> bool:
    """Whether a block's bytes have its hash; they do where nobody knows it."""
    return sha256 is None or hashlib.sha256(data).digest() == sha256
