"""Freshness: whether the origin still holds what was copied, asked in the background while the copy is served.

The rules (RFC 5861, stale-while-revalidate; migration contract, "stale origin"):

- only copies are asked about: what was written or deleted here is ours to know;
- nobody waits for the answer, and a key is asked about once, however many read it;
- what has changed is forgotten, fenced by the copy's generation, and ordered anew; until the new copy is here the origin answers;
- a deletion counts only where the origin says `NoSuchKey`: a bucket that is gone, or a page of some other server, says nothing of
  the key, and the copy stays;
- anyone may read the new copy where the origin shows the new version to anyone, and a copy that the origin does not show to anyone
  any more is made anew without that right.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from addon.store.copier import Copier
from addon.store.migration import MigrationIndex
from addon.store.object_store import ObjectStore
from addon.store.origin_look import Finding, look
from addon.store.ports import Origin, OriginRefused, OriginUnavailable, StoreError
from addon.store.records import ObjectRecord, Provenance

logger = logging.getLogger(__name__)

# Questions under way at once, and keys that wait for theirs. Beyond it nothing is asked, and the next read of the key will.
QUESTIONS_MAX = 4
WAITING_MAX = 1000
# A question that is not answered within this many seconds has failed.
QUESTION_S_MAX = 30.0
# After a failure a key, and a bucket whose origin did not answer at all, is left in peace for so many seconds; doubled each time.
REST_S_MIN = 5.0
REST_S_MAX = 3600.0
# Keys whose rest is remembered; the one that failed longest ago is forgotten first.
RESTING_MAX = 10_000
# A bucket's refusals are logged once in so many seconds.
REFUSAL_LOGGED_S = 600.0


@dataclass(slots=True)
class _Rest:
    """Not asked until then; `failures` one after the other."""

    until_s: float
    failures: int


class Freshness:
    """Asks about copies that are served. `after_s` gives each bucket's `revalidate_after_s` (0: its copies are never asked about).

    `start` and `stop` on one event loop; what waits when it stops is asked about at a later read.
    """

    def __init__(
        self,
        store: ObjectStore,
        migration: MigrationIndex,
        origins: Mapping[str, Origin | None],
        copier: Copier,
        after_s: Callable[[str], float],
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._migration, self._origins, self._copier = store, migration, origins, copier
        self._after_s, self._monotonic_s = after_s, monotonic_s
        self._waiting: asyncio.Queue[ObjectRecord] = asyncio.Queue(maxsize=WAITING_MAX)
        self._asked: set[tuple[str, str]] = set()
        self._rests: OrderedDict[tuple[str, str], _Rest] = OrderedDict()
        self._bucket_rests: dict[str, _Rest] = {}
        self._refusal_logged_s: dict[str, float] = {}
        self._workers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to ask."""
        self._workers = [asyncio.create_task(self._work()) for _ in range(QUESTIONS_MAX)]

    async def stop(self) -> None:
        """Break off; a question has no consequence before its last step, which is one transaction."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._workers = []

    def served(self, record: ObjectRecord) -> None:
        """An object was given to a client, or told about: have the origin asked where it is time. Waits for nothing."""
        if record.provenance is not Provenance.COPIED_FROM_ORIGIN:
            return
        after_s = self._after_s(record.bucket)
        # A comparison that lies in the future was made by a clock that was wrong.
        if not after_s or 0 <= self._store.now_s() - record.checked_at_s < after_s:
            return
        place = record.bucket, record.key
        if place in self._asked or self._waiting.full() or self._is_resting(place):
            return
        if self._origins.get(record.bucket) is None:
            return
        self._asked.add(place)
        self._waiting.put_nowait(record)

    async def _work(self) -> None:
        while True:
            record = await self._waiting.get()
            place = record.bucket, record.key
            try:
                # Others may have found since it was put here that its origin is away.
                if not self._is_resting(place):
                    await self._ask(record)
            finally:
                self._asked.discard(place)

    async def _ask(self, record: ObjectRecord) -> None:
        place = record.bucket, record.key
        try:
            async with asyncio.timeout(QUESTION_S_MAX):
                await self.compare(record)
        except OriginRefused as refusal:
            self._rest(place)
            self._bucket_rests.pop(record.bucket, None)
            self._log_refusal(record, refusal)
        except (StoreError, TimeoutError) as failure:
            self._rest(place, failure)
            if isinstance(failure, OriginUnavailable | TimeoutError):
                self._rest_bucket(record.bucket, failure)
            logger.info("%s could not be compared with the origin: %s", _named(record), failure or "no answer in time")
        except Exception:  # the worker must outlive a defect
            self._rest(place)
            logger.exception("%s could not be compared with the origin", _named(record))
        else:
            self._rests.pop(place, None)
            self._bucket_rests.pop(record.bucket, None)

    async def compare(self, record: ObjectRecord) -> None:
        """Ask the origin about a copy, and do what follows. Raises `OriginRefused`, `OriginUnavailable` and `IndexUnavailable`."""
        origin = self._origins.get(record.bucket)
        if origin is None:
            return
        finding, etag = await look(origin, record.key, record.etag)
        if finding is Finding.MISSING:
            await _confirm_missing(origin, record.key)
            if await self._migration.forget_copy(record):
                logger.info("%s was deleted at the origin: the copy is forgotten", _named(record))
            return
        # What strangers were refused so far is theirs as soon as the origin gives it to one of them.
        to_anyone = record.anonymous_read and await _is_shown_to_anyone(origin, record, etag)
        if finding is Finding.SAME and to_anyone == record.anonymous_read:
            await self._migration.mark_checked(record, now_s=self._store.now_s())
            return
        if await self._migration.forget_copy(record):
            self._copier.order(record.bucket, record.key, anonymous_read=to_anyone)
            what = "has another version" if finding is Finding.CHANGED else "does not show it to anyone any more"
            logger.info("%s is copied anew: the origin %s", _named(record), what)

    def _is_resting(self, place: tuple[str, str]) -> bool:
        now_s = self._monotonic_s()
        rests = self._rests.get(place), self._bucket_rests.get(place[0])
        return any(rest is not None and now_s < rest.until_s for rest in rests)

    def _rest(self, place: tuple[str, str], failure: Exception | None = None) -> None:
        self._rests[place] = self._longer(self._rests.pop(place, None), failure)
        if len(self._rests) > RESTING_MAX:
            self._rests.popitem(last=False)

    def _rest_bucket(self, bucket: str, failure: Exception) -> None:
        rest = self._bucket_rests.get(bucket)
        if rest is None or self._monotonic_s() >= rest.until_s:
            # Several questions were under way when the origin went away; that is one failure.
            self._bucket_rests[bucket] = self._longer(rest, failure)

    def _longer(self, former: _Rest | None, failure: Exception | None) -> _Rest:
        failures = 1 if former is None else former.failures + 1
        rest_s = min(REST_S_MIN * 2 ** min(failures - 1, 30), REST_S_MAX)
        asked_for_s = failure.retry_after_s if isinstance(failure, OriginUnavailable) else None
        return _Rest(self._monotonic_s() + max(rest_s, min(asked_for_s or 0.0, REST_S_MAX)), failures)

    def _log_refusal(self, record: ObjectRecord, refusal: OriginRefused) -> None:
        now_s = self._monotonic_s()
        if now_s - self._refusal_logged_s.get(record.bucket, float("-inf")) >= REFUSAL_LOGGED_S:
            self._refusal_logged_s[record.bucket] = now_s
            logger.warning(
                "%s stays as it is held, like others of its bucket of which this log is silent: %s",
                _named(record),
                refusal,
            )


async def _confirm_missing(origin: Origin, key: str) -> None:
    """Returns where the origin says that there is no such key. The answer to a HEAD has no body that could say of what nothing was
    found. Raises `OriginRefused`, `OriginUnavailable`."""
    try:
        async with origin.get_object(key):
            raise OriginUnavailable("the origin answered 404 and then 200: the key is being written there")
    except OriginRefused as refusal:
        if refusal.status != HTTPStatus.NOT_FOUND or refusal.code != "NoSuchKey":
            raise


async def _is_shown_to_anyone(origin: Origin, record: ObjectRecord, etag: str) -> bool:
    """Whether a stranger is given the version that has this ETag. Raises `OriginUnavailable`."""
    finding, shown = await look(origin, record.key, record.etag, anonymous=True)
    return finding in (Finding.SAME, Finding.CHANGED) and shown == etag


def _named(record: ObjectRecord) -> str:
    return f"{record.bucket}/{record.key}".encode("unicode_escape").decode()
