"""Erasing in the background of a running proxy, as `store.erase` says, and what it costs the caches.

What another process erased (`tgstore gc`) is followed in the index, so that nothing of it stays in this one's caches either.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection

from addon.store.eraser import Erased
from addon.store.erasing import ERASED_KEPT_S, ErasureIndex, ErasureTerms
from addon.store.garbage import DEAD_SHARE, GarbageCollection, GarbageTerms
from addon.store.message_eraser import Ending
from addon.store.ports import StoreError
from addon.store.rewriter import Rewritten

logger = logging.getLogger(__name__)


class When(enum.Enum):
    """`store.erase`: as soon as possible, when nothing else suffers from it, or only by `tgstore gc`."""

    PROMPT = "prompt"
    LAZY = "lazy"
    NEVER = "never"


# How long whoever reads an object that was replaced or deleted may go on, and how often garbage is looked for. Together less than a
# minute where it is to be prompt.
PROMPT_GRACE_S, PROMPT_PERIOD_S = 20.0, 10.0
LAZY_GRACE_S, LAZY_PERIOD_S = 600.0, 300.0
# How often it is looked what others erased, and how many of it at a time; each document twice, the second time when nobody who
# had begun to read it can put something of it into a cache any more.
FOLLOW_PERIOD_S = 10.0
FOLLOWED_MAX = 1000
LAST_READERS_S = 600.0


def terms_of(when: When, *, now_s: float, snapshot_keep_s: float) -> GarbageTerms:
    """What may be erased at this moment. `PROMPT` does not wait for snapshots: what was erased is not needed to recover the newest
    state, which Telegram is told first."""
    if when is When.PROMPT:
        return GarbageTerms(ErasureTerms(grace_s=PROMPT_GRACE_S, kept_since_s=None), dead_share=0.0)
    kept_since_s = now_s - snapshot_keep_s
    return GarbageTerms(ErasureTerms(grace_s=LAZY_GRACE_S, kept_since_s=kept_since_s), dead_share=DEAD_SHARE)


class ErasingTask:
    """Two tasks: one that erases, one that follows. `start` and `stop` them on one event loop."""

    def __init__(
        self,
        index: ErasureIndex,
        garbage: GarbageCollection,
        when: When,
        *,
        snapshot_keep_s: float,
        forget: Callable[[Collection[str]], Awaitable[None]],
        now_s: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._index, self._garbage, self._when = index, garbage, when
        self._snapshot_keep_s, self._forget = snapshot_keep_s, forget
        self._now_s, self._sleep = now_s, sleep
        self._tasks: list[asyncio.Task[None]] = []
        # How far the documents were followed that were erased so many seconds ago.
        self._followed = {0.0: (0.0, ""), LAST_READERS_S: (0.0, "")}

    def start(self) -> None:
        """Look at once, and then again and again."""
        self._tasks.append(asyncio.create_task(self._again_and_again(self.follow, FOLLOW_PERIOD_S)))
        if self._when is not When.NEVER:
            period_s = PROMPT_PERIOD_S if self._when is When.PROMPT else LAZY_PERIOD_S
            self._tasks.append(asyncio.create_task(self._again_and_again(self.erase, period_s)))

    async def stop(self) -> None:
        """Break off; what was begun is left for the next process."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def erase(self) -> None:
        """Erase what may be erased now. Raises `StoreError`."""
        endings: Counter[Ending] = Counter()

        def tell(erased: Erased) -> None:
            endings[erased.ending] += 1
            if erased.ending is Ending.FAILED:
                logger.warning("document %s is not erased yet: %s", erased.document.document_id, erased.reason)

        def tell_rewritten(rewritten: Rewritten) -> None:
            document_id = rewritten.document.document_id
            if rewritten.reason:
                logger.warning("document %s keeps its dead bytes: %s", document_id, rewritten.reason)
            else:
                logger.info("%d live bytes of document %s were moved", rewritten.moved_bytes, document_id)

        terms = terms_of(self._when, now_s=self._now_s(), snapshot_keep_s=self._snapshot_keep_s)
        await self._garbage.run(terms, tell_rewritten, tell)
        if endings:
            told = ", ".join(f"{count} {ending.value}" for ending, count in endings.items())
            logger.info("garbage documents were erased: %s", told)

    async def follow(self) -> None:
        """Drop from the caches what was erased since the last look, by whomever. Raises `IndexUnavailable`."""
        await self._index.forget_erasures(before_s=self._now_s() - ERASED_KEPT_S)
        for age_s in self._followed:
            await self._follow(age_s)

    async def _follow(self, age_s: float) -> None:
        until_s = self._now_s() - age_s
        while found := await self._index.erased_after(*self._followed[age_s], limit=FOLLOWED_MAX):
            erased = [place for place in found if place[0] <= until_s]
            if not erased:
                return
            await self._forget({document_id for _, document_id in erased})
            self._followed[age_s] = erased[-1]

    async def _again_and_again(self, work: Callable[[], Awaitable[None]], period_s: float) -> None:
        while True:
            try:
                await work()
            except StoreError as failure:
                logger.warning("erasing goes on later: %s", failure)
            except Exception:  # the task must outlive a defect
                logger.exception("erasing goes on later")
            await self._sleep(period_s)
