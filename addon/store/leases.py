"""Holding on to the copy jobs of one process: all of them with one write each time, however many there are."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator

from addon.store.ports import Index, IndexUnavailable
from addon.store.records import CopyJob

logger = logging.getLogger(__name__)

# A job whose worker has not held on to it for this long is taken up again: its process was killed.
LEASE_S = 60.0


class Leases:
    """Extends leases while there are any. `now_s` are UNIX seconds."""

    def __init__(self, index: Index, now_s: Callable[[], float]) -> None:
        self._index, self._now_s = index, now_s
        self._held: dict[CopyJob, Callable[[], object]] = {}
        self._extending: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def held(self, job: CopyJob, lost: Callable[[], object]) -> Iterator[None]:
        """Hold on to a leased job; `lost` is called when it is not ours any more."""
        self._held[job] = lost
        if self._extending is None:
            self._extending = asyncio.create_task(self._extend())
        try:
            yield
        finally:
            del self._held[job]
            if not self._held:
                self._extending.cancel()
                self._extending = None

    async def _extend(self) -> None:
        while True:
            await asyncio.sleep(LEASE_S / 3)
            jobs = list(self._held)
            try:
                ours = await self._index.extend_leases(jobs, now_s=self._now_s(), lease_s=LEASE_S)
            except IndexUnavailable as failure:
                logger.warning("copies go on without their leases: %s", failure)
                continue
            for job in jobs:
                if job.job_id not in ours and (lost := self._held.get(job)) is not None:
                    lost()
