"""When snapshots of the index are taken: a task of the proxy."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from addon.store.ports import StoreError
from addon.store.snapshots import Snapshots

logger = logging.getLogger(__name__)

# How often it looks whether one is due, and the pause after one that failed.
POLL_S = 10.0
FAILED_PAUSE_S = 300.0
# The first snapshot of an index waits so long only.
FIRST_AFTER_S = 60.0


class SnapshotKeeper:
    """A task that takes snapshots when they are due: `interval_s` after the last one when something changed since (0: never), or
    `changes_max` changes after it. `start` and `stop` it on one event loop."""

    def __init__(
        self,
        snapshots: Snapshots,
        *,
        interval_s: float,
        changes_max: int,
        now_s: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._snapshots, self._interval_s, self._changes_max = snapshots, interval_s, changes_max
        self._now_s, self._sleep = now_s, sleep
        self._began_at_s = now_s()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look; does nothing where snapshots are turned off."""
        if self._interval_s:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Break off; what was sent of a snapshot is cleared away later."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def is_due(self) -> bool:
        """Whether a snapshot should be taken now."""
        index = self._snapshots.index
        number = await index.number()
        last = next((one for one in await index.snapshots() if one.taken_at_s is not None), None)
        if last is None or last.taken_at_s is None:
            return number > 0 and self._now_s() - self._began_at_s >= min(FIRST_AFTER_S, self._interval_s)
        if number - last.number >= self._changes_max and number > last.number_after:
            return True
        # What changed while it was sent counts; its own messages do not.
        changed = number > last.number_after or last.number_after - last.number > 2 * len(last.documents)
        return changed and self._now_s() - last.taken_at_s >= self._interval_s

    async def _run(self) -> None:
        await self._warn_of_a_lost_index()
        while True:
            pause_s = POLL_S
            try:
                if await self.is_due():
                    snapshot = await self._snapshots.take()
                    logger.info(
                        "the index is saved in Telegram: %d objects, %d documents",
                        snapshot.objects,
                        len(snapshot.parts),
                    )
                    await self._snapshots.clear_away()
            except (StoreError, OSError) as failure:
                logger.error("the index could not be saved in Telegram: %s", failure)
                pause_s = FAILED_PAUSE_S
            except Exception:  # the task must outlive a defect
                logger.exception("the index could not be saved in Telegram")
                pause_s = FAILED_PAUSE_S
            await self._sleep(pause_s)

    async def _warn_of_a_lost_index(self) -> None:
        """An index that begins anew where a chat holds a root of another one was lost: say so before anything is written."""
        try:
            identity, number = await self._snapshots.index.identity(), await self._snapshots.index.number()
            for chat_id, mark in (await self._snapshots.look()).items():
                if mark.identity != identity or mark.number > number:
                    logger.error(
                        "chat %d holds a saved index with %d objects, which is not this one: to get it back, stop, put this index "
                        "aside and run `tgstore recover`. Until then no root is pinned",
                        chat_id,
                        mark.objects,
                    )
        except StoreError as failure:
            logger.warning("whether the chats hold a saved index is not known: %s", failure)
