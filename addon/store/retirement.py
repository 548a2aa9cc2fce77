"""How a running proxy learns that a bucket's origin was retired, and how the commands know that proxies run.

The index is the only thing that a proxy and a command share, so the proxy looks into it again and again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable

from addon.store.migration import MigrationIndex
from addon.store.policies import BucketPolicies
from addon.store.ports import IndexUnavailable

logger = logging.getLogger(__name__)

# How often a proxy looks which buckets are retired, in seconds.
POLL_S = 0.5
# How often it says that it is there.
SEEN_EVERY_S = 2.0
# So long after `retire` or `unretire` every running proxy has looked, a slow index included. A request that was under way before
# may still end after that.
RETIREMENT_LEARNT_S = 3.0
# A proxy that has not been seen for so long does not run any more: it was killed.
PROXY_GONE_AFTER_S = 10.0
# The last word at a stop waits no longer than this for the index.
GOODBYE_S_MAX = 2.0


class Retirements:
    """Keeps `policies` told about retired buckets, and the index about this proxy. Start and stop it on one event loop."""

    def __init__(
        self,
        index: MigrationIndex,
        policies: BucketPolicies,
        *,
        now_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] = time.monotonic,
        poll_s: float | None = None,
    ) -> None:
        self._index, self._policies = index, policies
        self._now_s, self._monotonic_s = now_s, monotonic_s
        self._poll_s = POLL_S if poll_s is None else poll_s
        self._proxy_id = secrets.token_hex(8)
        self._seen_at_s = float("-inf")
        self._silent = False
        self._task: asyncio.Task[None] | None = None

    async def learn(self) -> None:
        """Look once. Raises `IndexUnavailable`."""
        for bucket in self._policies.follow_retirements(await self._index.retired_buckets()):
            if self._policies.of(bucket).retired:
                logger.warning("%s is retired: no connection to its origin is made from now on", bucket)
            else:
                logger.warning("%s is not retired any more: its origin is asked again", bucket)

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Look no more, and say that this proxy is gone. Where the index does not answer, its silence tells."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        with contextlib.suppress(IndexUnavailable, TimeoutError):
            async with asyncio.timeout(GOODBYE_S_MAX):
                await self._index.proxy_gone(self._proxy_id)

    async def _follow(self) -> None:
        while True:
            try:
                await self.learn()
                await self._say_that_we_are_there()
                self._silent = False
            except IndexUnavailable as failure:
                if not self._silent:
                    logger.error("which buckets are retired cannot be read; what was known last holds: %s", failure)
                self._silent = True
            except Exception:  # the task must outlive a defect
                logger.exception("which buckets are retired could not be looked up")
            await asyncio.sleep(self._poll_s)

    async def _say_that_we_are_there(self) -> None:
        if self._monotonic_s() - self._seen_at_s < SEEN_EVERY_S:
            return
        await self._index.proxy_seen(self._proxy_id, now_s=self._now_s())
        self._seen_at_s = self._monotonic_s()
