"""One pack on its way: numbered, filled at the last moment, written, sent, and made known to the index."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from addon.store import layout
from addon.store.pack_format import PackHead, frame_bytes_max, write_pack
from addon.store.pack_queue import Placement, Waiting
from addon.store.ports import Documents, DocumentToSend, IndexUnavailable, TelegramUnavailable
from addon.store.records import BLOCK_BYTES, PACK_SEGMENT_BYTES, Document, Extent
from addon.store.teller import Teller, Telling, no_telling, texts_bytes
from addon.store.telling import PackIndex

logger = logging.getLogger(__name__)

# What states may take of a pack that items wait for.
STATES_SHARE = 1 / 8
STOPPING = "tgstore is stopping"
_FRAME_BYTES_MAX = frame_bytes_max(layout.PADDING_BYTES_MAX)


def room_bytes(pack_bytes_max: int) -> int:
    """How much of a pack is for items and states."""
    return pack_bytes_max - _FRAME_BYTES_MAX


@dataclass(frozen=True, slots=True)
class _Written:
    """A pack that can be sent; `content` as `DocumentToSend` takes it. `offsets` are those of the items."""

    content: bytes | Path
    size: int
    offsets: tuple[int, ...]


class PackSender:
    """Sends packs of one process; what they have comes from `take(bytes_max)` of each call."""

    def __init__(
        self,
        documents: Documents,
        index: PackIndex,
        *,
        process_id: str,
        pack_bytes_max: int,
        spool_dir: Path,
        now_s: Callable[[], float],
        randbelow: Callable[[int], int],
    ) -> None:
        self._documents, self._index, self._teller = documents, index, Teller(index)
        self._process_id, self._pack_bytes_max = process_id, pack_bytes_max
        self._spool_dir, self._now_s, self._randbelow = spool_dir, now_s, randbelow
        self._settled: list[int] = []
        self._given_up: list[Extent] = []

    async def send(self, take: Callable[[int], Sequence[Waiting]], *, for_items: bool) -> Telling:
        """Send one pack, and tell everyone who waits for an item of it; returns what it told once the index knows it. Where there
        is nothing to send, nothing is sent. Whatever is raised was told to everyone who waits, too."""
        items: Sequence[Waiting] = ()
        telling: Telling | None = None
        number = 0
        try:
            try:
                number = await self._begin()
                telling = await self._gather(number, for_items=for_items)
            finally:
                # Taken in any case: who waits for a pack that cannot begin has to be told.
                items = take(room_bytes(self._pack_bytes_max) - texts_bytes(telling.texts if telling else ()))
            if items or telling.states:
                await self._send(number, items, telling)
            else:
                self._settled.append(number)
            return telling
        except BaseException as failure:
            if number:
                self._settled.append(number)
            if telling is not None:
                self._teller.failed(telling)
            for waiting in items:
                if not waiting.placed.done():
                    waiting.placed.set_exception(_for_others(failure))
            raise
        finally:
            if telling is not None:
                self._teller.forget(telling)

    @property
    def has_settled(self) -> bool:
        """Whether there are settled packs, or items given up, of which the index does not know it."""
        return bool(self._settled or self._given_up)

    def give_up(self, placement: Placement) -> None:
        """Nobody wants an item that Telegram has."""
        self._given_up.append(placement.extent)
        placement.settle()

    async def settle(self) -> None:
        """Tell the index which packs are settled, where no further pack will. Raises `IndexUnavailable`."""
        await self._tell_given_up()
        if settled := tuple(self._settled):
            await self._index.settle_packs(settled)
            del self._settled[: len(settled)]

    async def _tell_given_up(self) -> None:
        if given_up := tuple(self._given_up):
            await self._index.give_up(given_up, now_s=self._now_s())
            del self._given_up[: len(given_up)]

    async def _begin(self) -> int:
        await self._tell_given_up()
        settled = tuple(self._settled)
        number = await self._index.begin_pack(self._process_id, settled=settled, now_s=self._now_s())
        del self._settled[: len(settled)]
        return number

    async def _gather(self, number: int, *, for_items: bool) -> Telling:
        bytes_max = room_bytes(self._pack_bytes_max)
        try:
            return await self._teller.gather(number, int(bytes_max * STATES_SHARE) if for_items else bytes_max)
        except IndexUnavailable as failure:
            if not for_items:
                raise
            logger.warning("a pack goes without states of keys, which later ones will tell: %s", failure)
            return no_telling(number)

    async def _send(self, number: int, items: Sequence[Waiting], telling: Telling) -> None:
        document_id = uuid.uuid4().hex
        path = self._spool_dir / f"{document_id}.part"
        try:
            writing = asyncio.get_running_loop().run_in_executor(
                None, self._write, path, document_id, number, items, telling
            )
            # Shielded: nobody may take the file away under a thread that still writes.
            try:
                written = await asyncio.shield(writing)
            except asyncio.CancelledError:
                await asyncio.wait([writing])
                raise
            document = await self._documents.send(
                DocumentToSend(
                    document_id,
                    written.content,
                    written.size,
                    _caption(document_id, number, len(items)),
                    segment_bytes=PACK_SEGMENT_BYTES,
                )
            )
        finally:
            path.unlink(missing_ok=True)
        given_up = self._place(number, items, document, written.offsets)
        await self._acknowledge(document, telling, only_tells=not items, is_orphan=given_up)

    def _write(self, path: Path, document_id: str, number: int, items: Sequence[Waiting], telling: Telling) -> _Written:
        """In a worker thread: a small pack in memory, a larger one in a file."""
        packed = [waiting.item for waiting in items]
        content_bytes = sum(item.length for item in packed)
        head = PackHead(number, document_id, telling.settled_up_to, telling.as_of, telling.under_way)
        texts = telling.texts
        padding = layout.padding_bytes(content_bytes + texts_bytes(texts) + len(packed) * 1000, self._randbelow)
        with ExitStack() as stack:
            in_memory = content_bytes <= BLOCK_BYTES
            out = io.BytesIO() if in_memory else stack.enter_context(path.open("x+b"))
            offsets = write_pack(out, head, packed, texts, padding=padding)
            size = out.tell()
            return _Written(out.getvalue() if isinstance(out, io.BytesIO) else path, size, offsets)

    def _place(self, number: int, items: Sequence[Waiting], document: Document, offsets: Sequence[int]) -> bool:
        """Tell who waits; True where nobody does any more."""
        unsettled = _Unsettled(number, self._settled)
        for waiting, offset in zip(items, offsets, strict=True):
            extent = Extent(document, offset, waiting.item.length, waiting.item.block_sha256s)
            if waiting.placed.done():
                self._given_up.append(extent)
            else:
                waiting.placed.set_result(Placement(extent, unsettled.one_more()))
        return unsettled.close()

    async def _acknowledge(self, document: Document, telling: Telling, *, only_tells: bool, is_orphan: bool) -> None:
        told = self._teller.acknowledged(telling)
        try:
            await self._index.acknowledge_pack(
                document, told, tells_states=bool(telling.states), only_tells=only_tells, now_s=self._now_s()
            )
        except IndexUnavailable as failure:
            logger.warning("what was told in document %s will be told again: %s", document.document_id, failure)
            if is_orphan:
                report_orphan(document)


class _Unsettled:
    """Counts the items of a pack of which nobody knows yet what becomes of them."""

    def __init__(self, number: int, settled: list[int]) -> None:
        self._number, self._settled = number, settled
        self._left, self._closed = 0, False

    def one_more(self) -> Callable[[], None]:
        self._left += 1
        return self._one_less

    def close(self) -> bool:
        """No more items come; True where there is none left."""
        self._closed = True
        self._look()
        return not self._left

    def _one_less(self) -> None:
        self._left -= 1
        self._look()

    def _look(self) -> None:
        if self._closed and not self._left:
            self._settled.append(self._number)


def report_orphan(document: Document) -> None:
    """The index could not even record it as garbage: the log is the only place left that names it."""
    logger.error(
        "orphan: chat %d message %d (document %s)", document.chat_id, document.message_id, document.document_id
    )


def _caption(document_id: str, number: int, items: int) -> str:
    """What a pack's message says of itself, beside what stands in the pack: enough to know one without a download."""
    return json.dumps({"tgstore": 1, "d": document_id, "p": number, "n": items}, separators=(",", ":"))


def _for_others(failure: BaseException) -> BaseException:
    """What each of those who wait gets: an error of its own where many raise it, and no cancellation, which was not theirs."""
    if isinstance(failure, TelegramUnavailable):
        return TelegramUnavailable(str(failure), retry_after_s=failure.retry_after_s)
    if isinstance(failure, asyncio.CancelledError):
        return TelegramUnavailable(STOPPING)
    return failure
