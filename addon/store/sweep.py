"""Moving a whole bucket: the origin's listing is walked, what has not moved is ordered, and the orders are carried out.

The walk writes each page's orders and its own place in one transaction, so it goes on where a killed process was; the orders are
copy jobs like those of reads, behind them in turn, with the same fence against writes and deletes. Where a proxy runs on the same
index it carries the orders out, because Telegram's limits are one for all and only the proxy knows what its clients need.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from addon.store.copier import Copier, Outcome
from addon.store.leases import LEASE_S
from addon.store.migration import NOTHING, Amount, MigrationIndex, Sweep, SweepOrder
from addon.store.object_store import ObjectStore
from addon.store.origin_walk import Sleep, WalkedKey, WalkedPage, walk
from addon.store.ports import Origin
from addon.store.records import CopyJob, CopyState
from addon.store.retirement import PROXY_GONE_AFTER_S

# How often is looked whether something is due, and whether a proxy runs.
LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class SweepLimits:
    """What is swept: keys below `prefix`, in this run no more than `bytes_max` bytes (None: all); `concurrency` copies at once."""

    prefix: str = ""
    bytes_max: int | None = None
    concurrency: int = 2


@dataclass(slots=True)
class SweepProgress:
    """How far a run has come.

    `found` waited at its beginning, `ordered` is what it ordered anew, `left` what waited when last looked, and `done` what did no
    more then, whoever did it; `copied`, `failed` and `skipped` are attempts of this process that ended so. `proxies` run on the
    same index, and copy in its place.
    """

    listed: Amount = NOTHING
    found: Amount = NOTHING
    ordered: Amount = NOTHING
    copied: Amount = NOTHING
    left: Amount = NOTHING
    done: Amount = NOTHING
    failed: int = 0
    skipped: int = 0
    retried: int = 0
    walked: bool = False
    proxies: int = 0

    @property
    def total(self) -> Amount:
        """All that this run has to do, as far as it is known."""
        return _plus(self.found, self.ordered)


class Sweeper:
    """One run over one bucket. `progress` is kept up to date; `changed` is called when it changes."""

    def __init__(
        self,
        *,
        bucket: str,
        index: MigrationIndex,
        store: ObjectStore,
        origin: Origin,
        copier: Copier,
        limits: SweepLimits,
        changed: Callable[[SweepProgress], None] = lambda _: None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._bucket, self._index, self._store = bucket, index, store
        self._origin, self._copier, self._limits = origin, copier, limits
        self._changed, self._sleep = changed, sleep
        self._attempts: set[asyncio.Task[Outcome]] = set()
        self._size_under_way = 0
        self._failure: BaseException | None = None
        self.progress = SweepProgress()

    async def prepare(self, retry: Sequence[CopyState] = ()) -> None:
        """Order what failed or was skipped before anew, as far as it is asked for; and where no proxy runs, take back what a
        process that was killed had begun: no other sweep of the bucket may run."""
        now_s = self._store.now_s()
        if retry:
            self.progress.retried = await self._index.retry_copies(self._bucket, states=retry, now_s=now_s)
        await self._count()
        if not self.progress.proxies:
            await self._index.take_back_leases(self._bucket, now_s=now_s)
        self.progress.found = self.progress.left

    async def run(self) -> SweepProgress:
        """Walk and copy until nothing is left that can be copied now. Raises the ports' errors of the walk and the index."""
        try:
            async with asyncio.TaskGroup() as tasks:
                looking = tasks.create_task(self._look())
                walking = tasks.create_task(self._walk())
                workers = [tasks.create_task(self._work(walking)) for _ in range(self._limits.concurrency)]
                await asyncio.wait([walking, *workers])
                while self._attempts:
                    await asyncio.wait(self._attempts)
                self._check()
                looking.cancel()
        except ExceptionGroup as failures:
            # The first one ended the others.
            raise failures.exceptions[0] from None
        finally:
            await self._copier.drop(list(self._attempts))
        await self._count()
        return self.progress

    async def count(self) -> SweepProgress:
        """Only walk, and count what would be ordered."""
        async with contextlib.aclosing(walk(self._origin, prefix=self._limits.prefix, sleep=self._sleep)) as pages:
            async for page in pages:
                self._listed(page.keys)
                unknown = await self._index.unknown_among(self._bucket, [walked.key for walked in page.keys])
                new = [walked.size for walked in page.keys if walked.key in unknown]
                self.progress.ordered = _plus(self.progress.ordered, Amount(len(new), sum(new)))
                self.progress.done = self.progress.listed
                self._changed(self.progress)
        self.progress.walked = True
        return self.progress

    async def _walk(self) -> None:
        """A walk through everything is remembered, and goes on where an earlier one was broken off."""
        sweep = await self._remembered() if not self._limits.prefix else None
        after = sweep.after if sweep is not None else ""
        async with contextlib.aclosing(
            walk(self._origin, prefix=self._limits.prefix, after=after, sleep=self._sleep)
        ) as pages:
            async for page in pages:
                sweep = await self._order(page, sweep)
                if self._is_enough(self.progress.ordered):
                    break
        self.progress.walked = True

    async def _remembered(self) -> Sweep:
        facts = await self._index.bucket_facts(self._bucket)
        if facts.sweep is not None and facts.sweep.ended_at_s is None:
            self.progress.listed = Amount(facts.sweep.listed_objects, facts.sweep.listed_bytes)
            return facts.sweep
        now_s = self._store.now_s()
        await self._index.begin_sweep(self._bucket, now_s=now_s)
        return Sweep(now_s, None, "", 0, 0)

    async def _order(self, page: WalkedPage, sweep: Sweep | None) -> Sweep | None:
        page = await self._no_more_than_enough(page)
        self._listed(page.keys)
        now_s = self._store.now_s()
        if sweep is not None:
            keys = [walked.key for walked in page.keys]
            await self._index.forget_unlisted(self._bucket, keys, after=page.after, until=page.until)
            sweep = Sweep(
                began_at_s=sweep.began_at_s,
                ended_at_s=now_s if page.until is None else None,
                after=keys[-1] if keys else sweep.after,
                listed_objects=self.progress.listed.objects,
                listed_bytes=self.progress.listed.size,
            )
        orders = [SweepOrder(walked.key, walked.size) for walked in page.keys]
        new = await self._index.order_swept(self._bucket, orders, now_s=now_s, walk=sweep)
        self.progress.ordered = _plus(self.progress.ordered, new)
        self._changed(self.progress)
        return sweep

    async def _no_more_than_enough(self, page: WalkedPage) -> WalkedPage:
        """The page up to the key with which as many bytes are ordered as this run may order."""
        if self._limits.bytes_max is None:
            return page
        unknown = await self._index.unknown_among(self._bucket, [walked.key for walked in page.keys])
        size = self.progress.ordered.size
        for place, walked in enumerate(page.keys[:-1]):
            size += walked.size if walked.key in unknown else 0
            if size >= self._limits.bytes_max:
                return WalkedPage(page.keys[: place + 1], page.after, walked.key)
        return page

    async def _work(self, walking: asyncio.Task[None]) -> None:
        while not self._is_enough(_plus(self.progress.copied, Amount(0, self._size_under_way))):
            self._check()
            if self.progress.proxies == 0 and await self._copy_next():
                continue
            is_last_look = walking.done()
            if is_last_look and await self._index.next_due_s(self._bucket, self._limits.prefix) is None:
                return
            await self._sleep(LOOK_S)

    async def _copy_next(self) -> bool:
        """Begin to carry out an order that is due; False where there is none."""
        await self._copier.room()
        job = await self._copier.take(
            self._index.lease_swept(self._bucket, self._limits.prefix, now_s=self._store.now_s(), lease_s=LEASE_S)
        )
        if job is None:
            return False
        self._size_under_way += job.size
        attempt = await self._copier.begin(job)
        self._attempts.add(attempt)
        attempt.add_done_callback(lambda attempt: self._ended(job, attempt))
        return True

    def _ended(self, job: CopyJob, attempt: asyncio.Task[Outcome]) -> None:
        self._attempts.discard(attempt)
        self._size_under_way -= job.size
        if attempt.cancelled():
            return
        if (failure := attempt.exception()) is not None:
            self._failure = failure
            return
        outcome = attempt.result()
        if outcome is Outcome.COPIED:
            self.progress.copied = _plus(self.progress.copied, Amount(1, job.size))
        self.progress.failed += outcome is Outcome.FAILED
        self.progress.skipped += outcome is Outcome.SKIPPED
        self._changed(self.progress)

    def _check(self) -> None:
        """Raises what an attempt raised."""
        if self._failure is not None:
            raise self._failure

    async def _look(self) -> None:
        while True:
            await self._count()
            await self._sleep(LOOK_S)

    async def _count(self) -> None:
        self.progress.proxies = await self._index.proxies_seen_since(self._store.now_s() - PROXY_GONE_AFTER_S)
        total = self.progress.total
        left = self.progress.left = await self._index.waiting(self._bucket, self._limits.prefix)
        self.progress.done = Amount(max(0, total.objects - left.objects), max(0, total.size - left.size))
        self._changed(self.progress)

    def _listed(self, keys: Sequence[WalkedKey]) -> None:
        self.progress.listed = _plus(self.progress.listed, Amount(len(keys), sum(walked.size for walked in keys)))

    def _is_enough(self, amount: Amount) -> bool:
        return self._limits.bytes_max is not None and amount.size >= self._limits.bytes_max


def _plus(one: Amount, other: Amount) -> Amount:
    return Amount(one.objects + other.objects, one.size + other.size)
