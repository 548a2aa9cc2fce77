"""Multipart uploads that nobody completes or aborts: after a while they are aborted, and their documents become garbage."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from addon.store.object_store import ObjectStore
from addon.store.ports import IndexUnavailable

logger = logging.getLogger(__name__)

# How often abandoned uploads are looked for.
EXPIRY_PERIOD_S = 600.0
# So many are aborted in one transaction; writers wait no longer than for that.
EXPIRY_BATCH = 20


class UploadExpiry:
    """A task that aborts uploads of which nothing came for `expire_after_s` seconds. `start` and `stop` it on one event loop."""

    def __init__(
        self,
        store: ObjectStore,
        *,
        expire_after_s: float,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._store, self._expire_after_s, self._sleep = store, expire_after_s, sleep
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look at once, and then every `EXPIRY_PERIOD_S`."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Break off; the next process goes on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def expire(self) -> int:
        """Abort all that is due, in batches; returns how many there were. Raises `IndexUnavailable`."""
        untouched_since_s = self._store.now_s() - self._expire_after_s
        expired = 0
        while found := await self._store.index.expire_uploads(untouched_since_s=untouched_since_s, limit=EXPIRY_BATCH):
            expired += found
        return expired

    async def _run(self) -> None:
        while True:
            try:
                if expired := await self.expire():
                    logger.info("%d multipart uploads, abandoned or long completed, were forgotten", expired)
            except IndexUnavailable as failure:
                logger.error("abandoned multipart uploads are not expired now: %s", failure)
            except Exception:  # the task must outlive a defect
                logger.exception("abandoned multipart uploads are not expired now")
            await self._sleep(EXPIRY_PERIOD_S)
