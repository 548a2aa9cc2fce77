"""The migrator: copies from the origin what was read there, in the background, as durable jobs of the index.

The rules (design, promise 3; migration contract, cases 3, 5, 6, 10, 11, 12):

- a copy is made with our own credentials, never with a client's request;
- it is one whole version of the object or nothing: length and ETag are checked, and a changed or truncated transfer is discarded;
- it never overwrites a newer write and never undoes a delete: the job is its fence, see `Index.commit_copy`;
- failures are tried again with growing pauses, and in the end are recorded with their reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from addon.s3.checksums import BodyDigests
from addon.s3.metadata import NotAnObject, OriginCopyHeaders, headers_from_origin
from addon.store.leases import LEASE_S, Leases
from addon.store.object_store import Description, ObjectStore
from addon.store.origin_look import Finding, look
from addon.store.origin_tags import tags_at_origin
from addon.store.packer import Urgency
from addon.store.ports import (
    IndexUnavailable,
    Origin,
    OriginChanged,
    OriginRefused,
    OriginResponse,
    OriginUnavailable,
    StoreError,
    TelegramUnavailable,
)
from addon.store.records import CopyJob, CopyOrder, CopyState
from addon.store.whole_object import check_whole, is_proven, told_checksums
from addon.store.writer import Upload

logger = logging.getLogger(__name__)

# So many copies are under way at most: being read, waiting for their pack, or being committed.
UNDER_WAY_MAX = 4096
# So many are given up, or put back, with the index at once.
RELEASES_MAX = 64
# How often the jobs that wait for their time are looked at; a new job wakes a worker at once.
POLL_S = 2.0
# Orders are collected for this long and go into the index together: a miss costs no transaction of its own. What a killed process
# had not written yet is ordered by the next read.
COLLECT_S = 0.1
# More orders are not collected; the next read of the key orders it again.
ORDERS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class CopyLimits:
    """How much is copied at once, how large an object may be, and how failures are tried again (delays double)."""

    concurrency: int
    object_bytes_max: int
    attempts_max: int
    retry_delay_s_min: float
    retry_delay_s_max: float


class Outcome(enum.Enum):
    """What became of one attempt. `NOT_NEEDED`: a write or a delete decided the key meanwhile."""

    COPIED = "copied"
    NOT_NEEDED = "not needed"
    WAITING = "waiting"
    FAILED = "failed"
    SKIPPED = "skipped"


class CannotCopy(Exception):
    """Trying again will not help; the text is the reason that is recorded."""


class Copier:
    """Workers that take copy jobs from the index. `start` and `stop` them on one event loop. Of buckets `at_rest` nothing is
    copied and nothing ordered; their jobs wait."""

    def __init__(
        self,
        store: ObjectStore,
        origins: Mapping[str, Origin | None],
        limits: CopyLimits,
        *,
        jitter: Callable[[], float] = random.random,
        at_rest: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        self._store, self._origins, self._limits = store, origins, limits
        self._jitter, self._at_rest = jitter, at_rest
        self._leases = Leases(store.index, store.now_s)
        self._attempts: set[asyncio.Task[Outcome]] = set()
        self._releases = asyncio.Semaphore(RELEASES_MAX)
        self._wake = asyncio.Event()
        self._orders: dict[tuple[str, str], CopyOrder] = {}
        self._ordered = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to work on whatever is due."""
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._limits.concurrency)]
        self._workers.append(asyncio.create_task(self._write_orders()))

    async def stop(self) -> None:
        """Break off; jobs under way stay in the index and are taken up by the next process."""
        await self.drop([*self._workers, *self._attempts])
        self._workers = []
        await self._try_to_write_collected()

    def order(self, bucket: str, key: str, *, anonymous_read: bool) -> None:
        """Somebody read this key at the origin: have it copied, once. Durable within `COLLECT_S` seconds."""
        if self._origins.get(bucket) is None or bucket in self._at_rest() or len(self._orders) >= ORDERS_MAX:
            return
        former = self._orders.get((bucket, key))
        anonymous_read = anonymous_read or (former is not None and former.anonymous_read)
        self._orders[bucket, key] = CopyOrder(bucket, key, anonymous_read)
        self._ordered.set()

    async def _write_orders(self) -> None:
        while True:
            await self._ordered.wait()
            await asyncio.sleep(COLLECT_S)
            self._ordered.clear()
            await self._try_to_write_collected()

    async def _try_to_write_collected(self) -> None:
        try:
            await self._write_collected()
        except IndexUnavailable as failure:
            logger.error("copies could not be ordered; the next reads of their keys will: %s", failure)
        except Exception:  # the task must outlive a defect
            logger.exception("copies could not be ordered; the next reads of their keys will")

    async def _write_collected(self) -> None:
        at_rest = self._at_rest()
        orders, self._orders = [order for order in self._orders.values() if order.bucket not in at_rest], {}
        if orders and await self._store.index.enqueue_copies(orders, now_s=self._store.now_s()):
            self._wake.set()

    async def _work(self) -> None:
        while True:
            try:
                if await self._run_next():
                    continue
            except IndexUnavailable as failure:
                logger.error("background copies wait for the index: %s", failure)
            except Exception:  # the worker must outlive a defect; the job's lease brings it back
                logger.exception("a background copy failed in an unforeseen way")
                await asyncio.sleep(POLL_S)
            self._wake.clear()
            # Not wait_for: that of Python 3.11 can swallow the cancellation by `stop`, which would then wait for ever.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._wake.wait()

    @staticmethod
    async def drop(tasks: Sequence[asyncio.Task[Any]]) -> None:
        """Break tasks off, and wait until they have ended."""
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run_next(self) -> bool:
        """Begin the next job that is due; False where there is none."""
        await self.room()
        job = await self.take(
            self._store.index.lease_copy(
                now_s=self._store.now_s(),
                lease_s=LEASE_S,
                but_of=self._at_rest(),
            )
        )
        if job is None:
            return False
        attempt = await self.begin(job)
        attempt.add_done_callback(_say_what_is_wrong)
        return True

    async def room(self) -> None:
        """Wait until another copy may begin. Before a job is leased: nobody else could take it meanwhile."""
        while len(self._attempts) >= UNDER_WAY_MAX:
            await asyncio.wait(self._attempts, return_when=asyncio.FIRST_COMPLETED)

    async def begin(self, job: CopyJob) -> asyncio.Task[Outcome]:
        """Begin with a leased job. Returns when its bytes were read at the origin and wait for their pack, or it has ended: so
        reading goes on while packs are under way, and one who is read ahead waits for room."""
        read = asyncio.Event()
        attempt = asyncio.create_task(self.attempt(job, queued=read.set))
        self._attempts.add(attempt)
        attempt.add_done_callback(self._attempts.discard)
        attempt.add_done_callback(lambda _: read.set())
        try:
            await read.wait()
        except asyncio.CancelledError:
            await self.drop([attempt])
            raise
        return attempt

    async def take(self, lease: Coroutine[Any, Any, CopyJob | None]) -> CopyJob | None:
        """The job that `lease` takes; one who is stopped meanwhile puts it back, instead of leaving it leased to nobody."""
        leasing = asyncio.ensure_future(lease)
        try:
            return await asyncio.shield(leasing)
        except asyncio.CancelledError:
            with contextlib.suppress(IndexUnavailable):
                if (job := await leasing) is not None:
                    await self._put_back(job)
            raise

    async def attempt(self, job: CopyJob, *, queued: Callable[[], None] = lambda: None) -> Outcome:
        """Try a leased job once, and put it where it belongs then. `queued` is called when nothing is left but what waits for its
        pack. Raises `IndexUnavailable`."""
        if job.attempts > self._limits.attempts_max:
            # Nobody put it back after its last attempt: each time the process ended in the middle of it.
            return await self._release(
                job, CopyState.FAILED, 0.0, f"the process ended during the last of {job.attempts - 1} attempts"
            )
        try:
            record = await self._copy_while_held(job, queued)
        except CannotCopy as reason:
            return await self._release(job, CopyState.SKIPPED, 0.0, str(reason))
        except IndexUnavailable:
            raise
        except OriginRefused as refusal:
            # Final for this attempt. The next client who reads the key at the origin orders the copy anew.
            return await self._release(job, CopyState.FAILED, 0.0, str(refusal))
        except StoreError as failure:
            return await self._try_again(job, failure)
        except asyncio.CancelledError:
            with contextlib.suppress(IndexUnavailable):
                await self._put_back(job)
            raise
        except Exception as defect:
            # Counted like any failure, so that a key which always fails comes to rest with its reason.
            logger.exception("a background copy failed in an unforeseen way")
            return await self._try_again(job, defect)
        said = "copied" if record is not None else "not copied: the key was written or deleted meanwhile"
        logger.info("%s/%s: %s", job.bucket, job.key.encode("unicode_escape").decode(), said)
        return Outcome.COPIED if record is not None else Outcome.NOT_NEEDED

    async def _copy_while_held(self, job: CopyJob, queued: Callable[[], None]) -> object | None:
        """Copy, and hold on to the job meanwhile; break off as soon as it is gone, because the copy could not commit."""
        copying = asyncio.create_task(self._copy(job, queued))
        with self._leases.held(job, copying.cancel):
            try:
                await asyncio.wait({copying})
                return None if copying.cancelled() else copying.result()
            finally:
                await self.drop([copying])

    async def _copy(self, job: CopyJob, queued: Callable[[], None]) -> object | None:
        """Copy one key now. None where a newer write or delete won. Raises `CannotCopy` and the ports' errors."""
        origin = self._origins.get(job.bucket)
        if origin is None:
            raise CannotCopy("the bucket has no origin")
        async with contextlib.AsyncExitStack() as undo:
            try:
                # Its connection goes back when the bytes are here: what waits for its pack needs none.
                async with origin.get_object(job.key) as answer:
                    about, upload = await self._take(job, answer, undo)
            except OriginRefused as refusal:
                if "InvalidObjectState" in str(refusal):
                    raise CannotCopy(f"it is in an archive tier: {refusal}") from None
                raise
            if not is_proven(about) and (await look(origin, job.key, about.etag))[0] is not Finding.SAME:
                raise OriginChanged("the object was changed while its bytes came")
            # Last, so that what was changed while the bytes came is noticed.
            tags = await tags_at_origin(origin, job.key, count=about.tags_count)
            description = Description(
                etag=about.etag,
                last_modified_s=about.last_modified_s,
                anonymous_read=job.anonymous_read,
                headers=about.headers,
                checksums=about.checksums,
                tags=tags,
            )
            return await self._store.commit_copy(upload, job, description, queued=queued)

    async def _take(
        self, job: CopyJob, answer: OriginResponse, undo: contextlib.AsyncExitStack
    ) -> tuple[OriginCopyHeaders, Upload]:
        """The object's bytes, whole; the upload ends with `undo`."""
        try:
            about = headers_from_origin(answer.headers)
        except NotAnObject as reason:
            raise CannotCopy(f"the origin's answer cannot be kept: {reason}") from None
        if about.size is None:
            raise CannotCopy("the origin gave no Content-Length")
        if about.size > self._limits.object_bytes_max:
            raise CannotCopy(f"{about.size} bytes are more than service.object_bytes_max")
        digests = BodyDigests(want=told_checksums(about))
        urgency = Urgency.SWEEP if job.swept else Urgency.COPY
        upload = await undo.enter_async_context(
            self._store.upload(job.bucket, job.key, digests.update, urgency=urgency)
        )
        async for piece in answer.body:
            await upload.write(piece)
        await upload.seal()
        check_whole(about, upload, digests)
        return about, upload

    async def _try_again(self, job: CopyJob, failure: Exception) -> Outcome:
        if job.attempts >= self._limits.attempts_max:
            return await self._release(job, CopyState.FAILED, 0.0, f"after {job.attempts} attempts: {_reason(failure)}")
        delay_s = min(self._limits.retry_delay_s_min * 2 ** (job.attempts - 1), self._limits.retry_delay_s_max)
        delay_s *= 0.5 + self._jitter() / 2
        if isinstance(failure, OriginUnavailable | TelegramUnavailable) and failure.retry_after_s is not None:
            delay_s = max(delay_s, min(failure.retry_after_s, self._limits.retry_delay_s_max))
        return await self._release(job, CopyState.WAITING, self._store.now_s() + delay_s, _reason(failure))

    async def _put_back(self, job: CopyJob) -> None:
        """We stop; that is nothing against the job."""
        async with self._releases:
            await self._store.index.release_copy(
                job, state=CopyState.WAITING, not_before_s=self._store.now_s(), reason="stopped", counts=False
            )

    async def _release(self, job: CopyJob, state: CopyState, not_before_s: float, reason: str) -> Outcome:
        if state is not CopyState.WAITING:
            logger.warning(
                "%s/%s will not be copied: %s", job.bucket, job.key.encode("unicode_escape").decode(), reason
            )
        async with self._releases:
            await self._store.index.release_copy(job, state=state, not_before_s=not_before_s, reason=reason)
        return _OUTCOMES[state]


_OUTCOMES = {
    CopyState.WAITING: Outcome.WAITING,
    CopyState.FAILED: Outcome.FAILED,
    CopyState.SKIPPED: Outcome.SKIPPED,
}


def _say_what_is_wrong(attempt: asyncio.Task[Outcome]) -> None:
    if not attempt.cancelled() and (failure := attempt.exception()) is not None:
        logger.error("a background copy waits for its lease to end: %s", _reason(failure))


def _reason(failure: BaseException) -> str:
    """The ports' errors say what is to be known; of another exception only the kind, as nobody knows what its text holds."""
    return str(failure) if isinstance(failure, StoreError) else f"unforeseen: {type(failure).__name__}"
