"""Places of documents restored: after a chat was lost, or where a second chat did not work when a document was sent.

A document lacks a place while it has fewer than are wanted in the chats that work, or while its address is not in one of them.
Where a copy is left in a chat that works it becomes the address; then what is missing is copied from it, message to message,
without any upload. Each document is done by itself, so that it can be stopped and run again at any time.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from addon.store.migration import Amount
from addon.store.ports import DocumentLost, TelegramUnavailable
from addon.store.records import Document, DocumentCopy
from addon.store.retrying import Retries
from addon.store.second_copies import Copying, Kept, PlaceGone, Ways, WaysIndex

PAGE = 100
# Of a page so many documents are restored at once.
AT_ONCE_MAX = 4
# Steps for one document: each of its places may turn out to be gone, and each may have to be made.
STEPS_MAX = 8


class Ending(enum.Enum):
    """The document has all its places (`RESTORED`), nothing uses it any more (`UNUSED`), or it `FAILED`."""

    RESTORED = "restored"
    UNUSED = "unused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Repaired:
    """What became of a document: how many places it got, whether it has another address now; `reason` where it failed."""

    document: Document
    ending: Ending
    added: int = 0
    moved: bool = False
    reason: str = ""


@dataclass(slots=True)
class _Work:
    """A document under repair, as it is by now. `gone`: its address is no place any more."""

    kept: Kept
    gone: bool = False
    added: int = 0
    moved: bool = False


class Repairer:
    """Restores what lacks a place. `wanted` places each; `room` is awaited before each message; `retries` is the patience with
    Telegram."""

    def __init__(
        self,
        index: WaysIndex,
        copying: Copying,
        *,
        wanted: int,
        room: Callable[[], Awaitable[None]],
        retries: Retries,
    ) -> None:
        self._index, self._copying, self._wanted = index, copying, wanted
        self._room, self._retries = room, retries

    async def expected(self) -> Amount:
        """How much lacks a place now."""
        return await self._index.lacking_amount(self._copying.working_chats(), self._wanted)

    async def run(self, tell: Callable[[Repaired], None]) -> None:
        """Go through all documents once, and tell of each that lacked something. Raises `IndexUnavailable`."""
        after = ""
        while page := await self._index.lacking(self._copying.working_chats(), self._wanted, after=after, limit=PAGE):
            slots = asyncio.Semaphore(AT_ONCE_MAX)
            tasks = [asyncio.create_task(self._in_turn(kept, slots, tell)) for kept in page]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            after = page[-1].document.document_id

    async def _in_turn(self, kept: Kept, slots: asyncio.Semaphore, tell: Callable[[Repaired], None]) -> None:
        async with slots:
            tell(await self.restore(kept))

    async def restore(self, kept: Kept) -> Repaired:
        """Restore one document. Raises `IndexUnavailable`."""
        work = _Work(kept)
        reason = f"its places were not complete after {STEPS_MAX} steps"
        for _ in range(STEPS_MAX):
            try:
                ending = await self._step(work)
            except PlaceGone as gone:
                await self._note_gone(work, gone.place)
                continue
            except (TelegramUnavailable, DocumentLost) as failure:
                reason = str(failure)
                break
            if ending is not None:
                return Repaired(kept.document, ending, work.added, work.moved)
        return Repaired(kept.document, Ending.FAILED, work.added, work.moved, reason)

    async def _step(self, work: _Work) -> Ending | None:
        """One change that brings it nearer to its end, or how it ended."""
        chats = self._copying.working_chats()
        document = work.kept.document
        has_address = document.has_message and not work.gone and document.chat_id in chats
        copies = [copy for copy in work.kept.ways.copies if copy.chat_id in chats]
        if not has_address and copies:
            return await self._move_address(work, copies[0])
        if has_address and 1 + len(copies) >= self._wanted:
            return Ending.RESTORED
        taken = {copy.chat_id for copy in copies} | ({document.chat_id} if has_address or work.gone else set())
        if not chats - taken:
            raise TelegramUnavailable("no other chat works")
        return await self._add(work, chats - taken)

    async def _move_address(self, work: _Work, to: DocumentCopy) -> Ending | None:
        document = work.kept.document
        if not await self._index.move_address(document, to, keep_former=not work.gone):
            return Ending.UNUSED
        further = [copy for copy in work.kept.ways.copies if copy != to]
        if document.has_message and not work.gone:
            further.append(_place_of(document))
        file_ids = [*work.kept.ways.file_ids, (document.bot_id, document.file_id)]
        moved = replace(document, chat_id=to.chat_id, message_id=to.message_id)
        if to.file_id:
            moved = replace(moved, bot_id=to.bot_id, file_id=to.file_id)
        work.kept, work.gone, work.moved = Kept(moved, Ways(further, file_ids)), False, True
        return None

    async def _add(self, work: _Work, chats: frozenset[int]) -> Ending | None:
        async def copy() -> DocumentCopy:
            await self._room()
            return await self._copying.copy(work.kept, chats=chats, but_address=work.gone)

        new = await self._retries.run(copy)
        adding = asyncio.ensure_future(self._index.add_copy(work.kept.document.document_id, new))
        # The message is there: who is stopped now has it noted down all the same.
        if not await asyncio.shield(adding):
            await self._copying.discard(new)
            return Ending.UNUSED
        ways = work.kept.ways
        work.kept, work.added = replace(work.kept, ways=replace(ways, copies=[*ways.copies, new])), work.added + 1
        return None

    async def _note_gone(self, work: _Work, place: DocumentCopy) -> None:
        document, ways = work.kept.document, work.kept.ways
        if place == _place_of(document):
            work.gone = True
            return
        await self._index.forget_copy_in(document.document_id, place)
        work.kept = replace(work.kept, ways=replace(ways, copies=[copy for copy in ways.copies if copy != place]))


def _place_of(document: Document) -> DocumentCopy:
    return DocumentCopy(document.chat_id, document.message_id, document.bot_id, document.file_id)
