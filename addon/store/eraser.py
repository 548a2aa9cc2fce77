"""Erasing: documents that nothing needs any more lose their bytes in Telegram, then their row in the index.

First Telegram is told whatever only they tell (`retelling.py`). Then the message is deleted where it is young enough; else a
placeholder takes the document's place. At last the row goes: a stop in between leaves a fenced document, which the next run tries
again, and doing it twice does no harm. A placeholder is a message to Telegram's limits, so it is only put while more than half of a
burst is left for clients; deletions are not counted there, and come at a pace that nobody feels.

Who reads an object that was replaced or deleted may be broken off by it: `grace_s` of the terms says how long he had.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from addon.store.erasing import DoomedDocument, ErasureIndex, ErasureTerms
from addon.store.message_eraser import Ending, MessageEraser
from addon.store.ports import TelegramUnavailable
from addon.store.records import Document
from addon.store.retelling import Retelling

# So many documents are fenced together; before them the present states are told once, which may cost a message.
BATCH = 100
# Of them so many are erased at once, each of them this many seconds at least.
AT_ONCE_MAX = 4
PACE_S = 0.05
# Nobody else begins with a document that was begun, for this long; a stopped process leaves it for as long.
LEASE_S = 600.0
# What could not be erased rests for so long.
REST_S = 600.0


@dataclass(frozen=True, slots=True)
class Erased:
    """What became of a document; `reason` where it failed."""

    document: Document
    ending: Ending
    reason: str = ""


class Eraser:
    """Erases garbage. `forget` drops documents' blocks from the caches of this process; `now_s` is UNIX time in seconds."""

    def __init__(
        self,
        index: ErasureIndex,
        messages: MessageEraser,
        *,
        retelling: Retelling,
        forget: Callable[[Collection[str]], Awaitable[None]],
        now_s: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._index, self._messages = index, messages
        self._retelling, self._forget = retelling, forget
        self._now_s, self._sleep = now_s, sleep

    async def erase(self, terms: ErasureTerms, tell: Callable[[Erased], None]) -> None:
        """Erase all that the terms give, telling of each document. Cancelled, it leaves what it had begun for the next run.
        Raises `IndexUnavailable`, and `TelegramUnavailable` where the present states cannot be told first."""
        while doomed := await self._index.begin_erasures(terms, now_s=self._now_s(), lease_s=LEASE_S, limit=BATCH):
            begun = {one.document.document_id for one in doomed}

            def tell_of(erased: Erased, begun: set[str] = begun) -> None:
                begun.discard(erased.document.document_id)
                tell(erased)

            try:
                unreadable = await self._retelling.before_erasing(doomed)
                for one in doomed:
                    if reason := unreadable.get(one.document.document_id):
                        await self._fail(one.document, reason, self._now_s() + REST_S, tell_of)
                await self._erase_batch([one for one in doomed if one.document.document_id in begun], tell_of)
            finally:
                for document_id in sorted(begun):
                    await self._index.put_off_erasure(document_id, until_s=self._now_s(), reason="")

    async def _erase_batch(self, doomed: Sequence[DoomedDocument], tell: Callable[[Erased], None]) -> None:
        slots = asyncio.Semaphore(AT_ONCE_MAX)
        tasks = [asyncio.create_task(self._erase_in_turn(one, slots, tell)) for one in doomed]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _erase_in_turn(
        self, doomed: DoomedDocument, slots: asyncio.Semaphore, tell: Callable[[Erased], None]
    ) -> None:
        document = doomed.document
        async with slots:
            try:
                endings = [await self._messages.erase(one) for one in (document, *doomed.copies)]
            except TelegramUnavailable as failure:
                until_s = self._now_s() + max(REST_S, failure.retry_after_s)
                await self._fail(document, str(failure), until_s, tell)
                return
            await self._forget({document.document_id})
            await self._index.end_erasure(document.document_id, now_s=self._now_s())
            tell(Erased(document, endings[0]))
            await self._sleep(PACE_S)

    async def _fail(self, document: Document, reason: str, until_s: float, tell: Callable[[Erased], None]) -> None:
        await self._index.put_off_erasure(document.document_id, until_s=until_s, reason=reason)
        tell(Erased(document, Ending.FAILED, reason))
