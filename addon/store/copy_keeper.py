"""In the background of a running proxy: second copies of documents for which no second chat worked when they were sent.

Looked for soon after such a document was sent, and now and then in any case. A message goes out only while more than half of a
burst is left for clients.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

from addon.store.ports import StoreError
from addon.store.repairer import Ending, Repaired, Repairer
from addon.store.retrying import Retries
from addon.store.second_copies import Copying, WaysIndex

# After a document was sent that lacks a copy, its row has come by then; after failures, the second chat may be back.
SOON_S = 10.0
RETRY_S = 60.0
PERIOD_S = 600.0
LEAVES_OF_BURST = 0.5
LOOK_S = 1.0

logger = logging.getLogger(__name__)


def room_beside(
    burst_share_left: Callable[[], float], sleep: Callable[[float], Awaitable[object]]
) -> Callable[[], Awaitable[None]]:
    """Waits until live uploads have more than half of a burst left to themselves."""

    async def room() -> None:
        while burst_share_left() <= LEAVES_OF_BURST:
            await sleep(LOOK_S)

    return room


class CopyKeeper:
    """`lacks_copies` is set when a document was sent with fewer copies than are `wanted`. `start` and `stop` it on one event
    loop."""

    def __init__(
        self,
        index: WaysIndex,
        copying: Copying,
        lacks_copies: asyncio.Event,
        *,
        wanted: int,
        burst_share_left: Callable[[], float],
    ) -> None:
        self._copying, self._lacks_copies, self._wanted = copying, lacks_copies, wanted
        room = room_beside(burst_share_left, asyncio.sleep)
        self._repairer = Repairer(index, copying, wanted=wanted, room=room, retries=Retries(attempts_max=1))
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._again_and_again())

    async def stop(self) -> None:
        """Break off; what is missing is found again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _again_and_again(self) -> None:
        pause_s = SOON_S
        while True:
            try:
                async with asyncio.timeout(pause_s):
                    await self._lacks_copies.wait()
                await asyncio.sleep(SOON_S)
            except TimeoutError:
                pass
            self._lacks_copies.clear()
            try:
                pause_s = PERIOD_S if await self.make_up() else RETRY_S
            except StoreError as failure:
                logger.warning("second copies are made later: %s", failure)
                pause_s = RETRY_S
            except Exception:  # the task must outlive a defect
                logger.exception("second copies are made later")
                pause_s = RETRY_S

    async def make_up(self) -> bool:
        """Restore what can be; whether nothing is missing any more. Raises `IndexUnavailable`."""
        if len(self._copying.working_chats()) < self._wanted:
            return False
        endings: Counter[Ending] = Counter()

        def tell(repaired: Repaired) -> None:
            endings[repaired.ending] += 1
            if repaired.ending is Ending.FAILED:
                logger.info("document %s lacks a copy: %s", repaired.document.document_id, repaired.reason)

        await self._repairer.run(tell)
        if endings:
            logger.warning(
                "%d documents have their second copy now, %d still lack it",
                endings[Ending.RESTORED],
                endings[Ending.FAILED],
            )
        return not endings[Ending.FAILED]
