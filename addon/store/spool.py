"""Sending what waits in the spool folder, oldest first, and clearing what is not needed there any more.

Order: Telegram has acknowledged a document; the index leads to it; then the file goes. What is interrupted between is sent again,
or cleared at the next start. A document that nothing needs any more, because its object was deleted or replaced, is not sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import os
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from addon.store import layout
from addon.store.pack_format import ItemAbout, ItemKind, PackItem
from addon.store.packer import Packer, Placement, Urgency
from addon.store.ports import Documents, DocumentToSend, IndexUnavailable, StoreError, TelegramUnavailable
from addon.store.records import Document, Move
from addon.store.spool_folder import SpoolFolder
from addon.store.spool_index import Backlog, SpooledDocument, SpooledPiece, SpoolIndex

logger = logging.getLogger(__name__)

# So many rows are read from the index at a time, and so many files cleared.
PAGE_ROWS = 500
# So many documents that were sent are told to the index in one transaction: other writes shall have their turn.
MOVED_TOGETHER = 128
# So many documents are passed over, because they rest or are under way, before it is left at what was found.
PASSED_OVER_MAX = 1500
# So many lost documents are named in the log.
NAMED_MAX = 20


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """How what waits is sent: so many documents at once, in packs and by themselves, looked for so often, and pauses after
    failures, which double, in seconds."""

    packed_at_once: int = 1024
    sends_at_once: int = 4
    look_period_s: float = 1.0
    round_pause_s: float = 0.25
    retry_delay_s_min: float = 1.0
    retry_delay_s_max: float = 60.0


class SpoolingIndex(SpoolIndex, Protocol):
    """The index, as sending needs it; see `Index` and `SpoolIndex`."""

    async def relocate(self, moves: Sequence[Move]) -> int:
        """See `Index`."""


class Spool:
    """Sends from `folder`. `start` and `stop` it on one event loop; `recover` comes first.

    `clock` is monotonic, in seconds; `randbelow` pads documents.
    """

    def __init__(
        self,
        folder: SpoolFolder,
        index: SpoolingIndex,
        documents: Documents,
        packer: Packer,
        *,
        randbelow: Callable[[int], int],
        limits: SpoolLimits = SpoolLimits(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._index, self._documents, self._packer = folder, index, documents, packer
        self._randbelow, self._limits, self._clock = randbelow, limits, clock
        self._under_way: dict[str, tuple[Document, asyncio.Task[None]]] = {}
        self._arrived: dict[str, Move] = {}
        self._moving = asyncio.Lock()
        self._lost: set[str] = set()
        self._failures: Counter[str] = Counter()
        self._resting_until_s: dict[str, float] = {}
        self._failures_in_a_row = 0
        self._all_rest_until_s = 0.0
        self._task: asyncio.Task[None] | None = None

    async def recover(self, *, clears: bool) -> None:
        """See what an earlier process left. With `clears` this process fills the folder from now on, and what the index does not
        name goes. Documents that the index names and that are not there are reported. Raises OSError and `IndexUnavailable`."""
        found = await asyncio.to_thread(self._folder.open)
        is_alone = clears and await asyncio.to_thread(self._folder.claim)
        named: set[str] = set()
        async for waiting in _all(self._index):
            document = waiting.document
            named.add(document.document_id)
            if found.get(document.document_id, -1) < document.size:
                await self._report_if_lost(document)
        if is_alone:
            await self._clear_unnamed(sorted(found.keys() - named))
            self._folder.share()
        if self._lost:
            logger.error("%d documents that were acknowledged are not in the spool folder", len(self._lost))
        if waiting_count := len(named) - len(self._lost):
            logger.info("%d documents wait in the spool folder to be sent", waiting_count)

    def start(self) -> None:
        """Send what waits and what comes."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Break off, when nobody reads here any more; the next process goes on."""
        tasks = [task for task in (self._task, *(task for _, task in self._under_way.values())) if task is not None]
        self._task = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._discard(self._folder.leavable(now_s=math.inf))
        self._folder.close()

    async def _run(self) -> None:
        while True:
            await self._round()
            await self._wait()

    async def _round(self) -> None:
        """Clear and begin to send what can be; a failure of the index is told, and the next round tries again."""
        self._folder.changed.clear()
        if self._folder.is_empty:
            return
        try:
            await self._clear()
            if self._clock() >= self._all_rest_until_s:
                for document in await self._next_waiting():
                    self._begin(document)
        except IndexUnavailable as failure:
            logger.error("what waits in the spool folder is not sent now: %s", failure)
        except Exception:  # the task must outlive a defect
            logger.exception("what waits in the spool folder is not sent now")

    async def _wait(self) -> None:
        await asyncio.sleep(self._limits.round_pause_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.look_period_s):
                await self._folder.changed.wait()

    async def _next_waiting(self) -> list[Document]:
        """The oldest that may be sent now, as far as there is room for more under way."""
        packed = sum(self._is_packed(document) for document, _ in self._under_way.values())
        room = {True: self._limits.packed_at_once - packed}
        room[False] = self._limits.sends_at_once - (len(self._under_way) - packed)
        found: list[Document] = []
        passed_over = 0
        async with contextlib.aclosing(_all(self._index)) as waiting:
            async for one in waiting:
                document, is_packed = one.document, self._is_packed(one.document)
                if not any(room.values()) or passed_over >= PASSED_OVER_MAX:
                    break
                if document.document_id in self._lost:
                    continue
                if self._rests(document.document_id) or not room[is_packed]:
                    passed_over += 1
                    continue
                room[is_packed] -= 1
                found.append(document)
        return found

    def _is_packed(self, document: Document) -> bool:
        return document.size <= self._packer.item_bytes_max

    def _rests(self, document_id: str) -> bool:
        return document_id in self._under_way or self._resting_until_s.get(document_id, 0.0) > self._clock()

    def _begin(self, document: Document) -> None:
        task = asyncio.create_task(self._send(document))
        self._under_way[document.document_id] = document, task

        def ended(_: asyncio.Task[None]) -> None:
            del self._under_way[document.document_id]
            self._folder.changed.set()

        task.add_done_callback(ended)

    async def _send(self, document: Document) -> None:
        """One document to Telegram; whatever comes in the way is told, and it is tried again later."""
        document_id = document.document_id
        try:
            size = await asyncio.to_thread(_size_of, self._folder, document_id)
            piece = await self._index.spooled_piece(document_id)
            if piece is None:
                return
            if size is None or size < document.size:
                await self._report_if_lost(document)
                return
            move, placement = await self._sent(document, piece)
        except StoreError as failure:
            self._rest(document_id, failure)
            return
        except Exception as failure:  # told with its traceback, and the others are sent
            logger.exception("document %s in the spool folder cannot be sent", document_id)
            self._rest(document_id, failure)
            return
        self._failures_in_a_row = 0
        del self._failures[document_id]
        self._resting_until_s.pop(document_id, None)
        try:
            await self._moved(move)
        finally:
            if placement is not None:
                placement.settle()

    async def _sent(self, document: Document, piece: SpooledPiece) -> tuple[Move, Placement | None]:
        """Into a pack with others where it is small, else as a document of its own."""
        path = self._folder.path(document.document_id)
        # Those of an extent that is a part of it only are of other blocks.
        sha256s = piece.block_sha256s if piece.length == document.size else b""
        if self._is_packed(document):
            about = ItemAbout(bucket=piece.bucket, key=piece.key, kind=ItemKind.MOVED, size=document.size)
            placement = await self._packer.place(PackItem(about, path, document.size, sha256s), Urgency.COPY)
            extent = placement.extent
            return Move(document.document_id, 0, document.size, extent.document, extent.offset), placement
        padding = layout.padding_bytes(document.size, self._randbelow)
        # What lies behind the bytes is never read, so the file may have it already while others read.
        await asyncio.to_thread(os.truncate, path, document.size + padding)
        document_id = uuid.uuid4().hex
        caption = layout.caption(
            document_id=document_id,
            bucket=piece.bucket,
            key=piece.key,
            offset=piece.offset,
            length=document.size,
            block_sha256s=sha256s,
        )
        await self._packer.way_for(Urgency.COPY)
        sent = await self._documents.send(DocumentToSend(document_id, path, document.size + padding, caption))
        return Move(document.document_id, 0, document.size, sent, 0), None

    async def _moved(self, move: Move) -> None:
        """Lead the index to the new place, together with what else has just been sent."""
        self._arrived[move.from_document_id] = move
        async with self._moving:
            while move.from_document_id in self._arrived:
                moves = list(itertools.islice(self._arrived.values(), MOVED_TOGETHER))
                await self._relocate(moves)
                for moved in moves:
                    del self._arrived[moved.from_document_id]

    async def _relocate(self, moves: Sequence[Move]) -> None:
        """They are in Telegram, so an index that does not answer is asked until it does."""
        for attempt in itertools.count(1):
            try:
                await self._index.relocate(moves)
                await self._let_go([move.from_document_id for move in moves])
                return
            except IndexUnavailable as failure:
                logger.error("%d documents have been sent, and the index cannot be told: %s", len(moves), failure)
                await asyncio.sleep(self._delay_s(attempt))

    async def _clear(self) -> None:
        """Remove files that nothing needs: of uploads that came to nothing, of objects that are gone, of documents that were
        sent."""
        if abandoned := self._folder.abandoned():
            await self._let_go(abandoned)
            self._folder.keep(abandoned)
        garbage = await self._index.spooled_garbage(limit=PAGE_ROWS)
        if unneeded := [document_id for document_id in garbage if document_id not in self._under_way]:
            await self._let_go(unneeded)
        await self._discard(self._folder.leavable(now_s=self._clock()))

    async def _discard(self, document_ids: Sequence[str]) -> None:
        for document_id in document_ids:
            self._folder.left(document_id)
            try:
                await asyncio.to_thread(self._folder.discard, document_id)
            except OSError as failure:
                logger.error("document %s stays in the spool folder for now: %s", document_id, failure)
                self._folder.leave([document_id], now_s=self._clock())

    async def _let_go(self, document_ids: Sequence[str]) -> None:
        """Have files go that the index does not name (any more)."""
        unnamed = await self._index.drop_spooled(document_ids)
        self._folder.leave(unnamed, now_s=self._clock())

    async def _clear_unnamed(self, document_ids: Sequence[str]) -> None:
        for start in range(0, len(document_ids), PAGE_ROWS):
            for document_id in await self._index.drop_spooled(document_ids[start : start + PAGE_ROWS]):
                await asyncio.to_thread(self._folder.discard, document_id)

    async def _report_if_lost(self, document: Document) -> None:
        """It is not there, or not whole. Another process may have sent it meanwhile: then the index does not name it any more."""
        piece = await self._index.spooled_piece(document.document_id)
        if piece is None:
            return
        self._lost.add(document.document_id)
        if len(self._lost) <= NAMED_MAX:
            key = piece.key.encode("unicode_escape").decode()
            logger.error(
                "document %s of %s/%s was acknowledged and is not (whole) in the spool folder: its %d bytes are lost",
                document.document_id,
                piece.bucket,
                key,
                document.size,
            )

    def _rest(self, document_id: str, failure: Exception) -> None:
        """After a failure everything rests, and this document longer, so that others come first. A pack fails for all in it at
        once: that is one failure, and said once."""
        now_s = self._clock()
        self._failures[document_id] += 1
        self._resting_until_s[document_id] = now_s + self._delay_s(self._failures[document_id])
        if now_s < self._all_rest_until_s:
            return
        self._failures_in_a_row += 1
        delay_s = self._delay_s(self._failures_in_a_row)
        if isinstance(failure, TelegramUnavailable):
            delay_s = max(delay_s, min(failure.retry_after_s, self._limits.retry_delay_s_max))
        self._all_rest_until_s = now_s + delay_s
        logger.warning("what waits in the spool folder is sent on in %.0f s: %s", delay_s, failure)

    def _delay_s(self, failures: int) -> float:
        return min(self._limits.retry_delay_s_min * 2.0 ** min(failures - 1, 30), self._limits.retry_delay_s_max)


@dataclass(frozen=True, slots=True)
class SpoolStatus:
    """What waits to be sent, and which of it is lost: the index names it, and it is not there."""

    backlog: Backlog
    lost: Collection[str]

    def as_json(self) -> Mapping[str, Any]:
        """For machines: plain values, times in UNIX seconds, sizes in bytes."""
        return {**asdict(self.backlog), "lost": len(self.lost)}


async def spool_status(index: SpoolIndex, folder: SpoolFolder) -> SpoolStatus:
    """What waits now. Raises `IndexUnavailable`."""
    lost = []
    async for waiting in _all(index):
        document = waiting.document
        size = await asyncio.to_thread(_size_of, folder, document.document_id)
        is_there = size is not None and size >= document.size
        if not is_there and await index.spooled_piece(document.document_id) is not None:
            lost.append(document.document_id)
    return SpoolStatus(await index.backlog(), lost)


async def _all(index: SpoolIndex) -> AsyncGenerator[SpooledDocument, None]:
    """All that waits, oldest first, page by page."""
    after = (0.0, "")
    while page := await index.spooled(after=after, limit=PAGE_ROWS):
        for waiting in page:
            yield waiting
        after = page[-1].since_s, page[-1].document.document_id


def _size_of(folder: SpoolFolder, document_id: str) -> int | None:
    try:
        return folder.path(document_id).stat().st_size
    except FileNotFoundError:
        return None
