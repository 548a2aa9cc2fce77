"""Transactions on copy jobs. Each function runs within one transaction.

The job is the fence of its copy (see `CopyJob`): each write, delete or supersession of the key removes the job, and what has no
job any more does not commit. A lease that ran out does not break the fence: the job stands, so whoever finishes first commits and
removes it, and the other finds it gone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, exists, insert, select, tuple_, update

from addon.index import documents, objects
from addon.index.migration_queries import below
from addon.index.numbers import next_numbers
from addon.index.origin_writes import is_being_written
from addon.index.rows import RANK_OF_READS, copy_job_of, key_bytes
from addon.index.tables import copy_jobs, keys, origin_writes
from addon.store.records import CopyJob, CopyOrder, CopyState, NewObject, ObjectRecord

# Each place is two parameters, and a statement of SQLite before 3.32 takes 999.
PLACES_PER_STATEMENT_MAX = 200
# A reason is for people; the end of a longer one is cut off.
REASON_CHARS_MAX = 1000

_IS_BEING_WRITTEN = exists().where(origin_writes.c.bucket == copy_jobs.c.bucket, origin_writes.c.key == copy_jobs.c.key)


def enqueue_copies(connection: Connection, orders: Sequence[CopyOrder], now_s: float) -> int:
    """See `Index.enqueue_copies`."""
    wanted: dict[tuple[str, bytes], bool] = {}
    for order in orders:
        place = order.bucket, key_bytes(order.key)
        wanted[place] = wanted.get(place, False) or order.anonymous_read
    return sum(_enqueue(connection, part, now_s) for part in _parts(wanted))


def _enqueue(connection: Connection, wanted: dict[tuple[str, bytes], bool], now_s: float) -> int:
    """Orders by place (bucket and key) with their anonymous read, few enough for one statement."""
    places = list(wanted)
    decided = connection.execute(select(keys.c.bucket, keys.c.key).where(tuple_(keys.c.bucket, keys.c.key).in_(places)))
    for row in decided:
        del wanted[row.bucket, row.key]
    jobs = connection.execute(select(copy_jobs).where(tuple_(copy_jobs.c.bucket, copy_jobs.c.key).in_(places))).all()
    for job in jobs:
        place = job.bucket, job.key
        if place not in wanted:
            continue
        if job.state != CopyState.FAILED.value:
            if wanted.pop(place):
                objects.grant_to_job(connection, job.bucket, job.key.decode())
            if job.rank != RANK_OF_READS:
                # A sweep had listed it; now somebody waits for it.
                connection.execute(update(copy_jobs).where(copy_jobs.c.job_id == job.job_id).values(rank=RANK_OF_READS))
            continue
        # Ordered anew under a new number: whoever still holds a lease of the old order has lost it.
        connection.execute(delete(copy_jobs).where(copy_jobs.c.job_id == job.job_id))
        wanted[place] = wanted[place] or job.anonymous_read
    if not wanted:
        return 0
    number = next_numbers(connection, len(wanted))
    rows = [
        waiting_row(number + offset, bucket, key, now_s=now_s, rank=RANK_OF_READS, anonymous_read=anonymous_read)
        for offset, ((bucket, key), anonymous_read) in enumerate(wanted.items())
    ]
    connection.execute(insert(copy_jobs), rows)
    return len(rows)


def waiting_row(
    job_id: int, bucket: str, key: bytes, *, now_s: float, rank: int, anonymous_read: bool = False, size: int = 0
) -> dict[str, object]:
    """The row of a job that is ordered now."""
    return {
        "job_id": job_id,
        "bucket": bucket,
        "key": key,
        "state": CopyState.WAITING.value,
        "attempts": 0,
        "not_before_s": now_s,
        "anonymous_read": anonymous_read,
        "reason": "",
        "rank": rank,
        "size": size,
    }


def _parts(wanted: dict[tuple[str, bytes], bool]) -> Iterator[dict[tuple[str, bytes], bool]]:
    entries = iter(wanted.items())
    while part := dict(itertools.islice(entries, PLACES_PER_STATEMENT_MAX)):
        yield part


def lease_copy(
    connection: Connection, now_s: float, lease_s: float, but_of: frozenset[str] = frozenset()
) -> CopyJob | None:
    """See `Index.lease_copy`. A job whose key is being written at the origin waits until that has ended: it could not commit."""
    others = [copy_jobs.c.bucket.not_in(sorted(but_of))] if but_of else []
    return _lease(connection, now_s, lease_s, others)


def lease_swept(connection: Connection, bucket: str, prefix: str, now_s: float, lease_s: float) -> CopyJob | None:
    """See `MigrationIndex.lease_swept`."""
    return _lease(connection, now_s, lease_s, [copy_jobs.c.bucket == bucket, *below(copy_jobs.c.key, prefix)])


def _lease(
    connection: Connection, now_s: float, lease_s: float, among: Sequence[ColumnElement[bool]]
) -> CopyJob | None:
    row = _first_due(connection, CopyState.RUNNING, now_s, among) or _first_due(
        connection, CopyState.WAITING, now_s, among
    )
    if row is None:
        return None
    job = replace(copy_job_of(row), state=CopyState.RUNNING, attempts=row.attempts + 1, not_before_s=now_s + lease_s)
    connection.execute(
        update(copy_jobs)
        .where(copy_jobs.c.job_id == job.job_id)
        .values(state=job.state.value, attempts=job.attempts, not_before_s=job.not_before_s)
    )
    return job


def extend_leases(connection: Connection, jobs: Sequence[CopyJob], now_s: float, lease_s: float) -> frozenset[int]:
    """See `Index.extend_leases`."""
    ours: set[int] = set()
    attempts = {job.job_id: job.attempts for job in jobs}
    for start in range(0, len(jobs), PLACES_PER_STATEMENT_MAX):
        numbers = [job.job_id for job in jobs[start : start + PLACES_PER_STATEMENT_MAX]]
        running = select(copy_jobs.c.job_id, copy_jobs.c.attempts).where(
            copy_jobs.c.job_id.in_(numbers), copy_jobs.c.state == CopyState.RUNNING.value
        )
        still = [row.job_id for row in connection.execute(running) if row.attempts == attempts[row.job_id]]
        connection.execute(update(copy_jobs).where(copy_jobs.c.job_id.in_(still)).values(not_before_s=now_s + lease_s))
        ours.update(still)
    return frozenset(ours)


def commit_copy(connection: Connection, job: CopyJob, new: NewObject, now_s: float) -> ObjectRecord | None:
    """See `Index.commit_copy`. Where a write to the origin is under way the job waits again: if that write fails, the copy is
    still wanted. An anonymous read that was granted since the job was leased counts."""
    is_mine = copy_jobs.c.job_id == job.job_id
    row = connection.execute(select(copy_jobs).where(is_mine)).one_or_none()
    if row is None or objects.has_object_or_tombstone(connection, job.bucket, job.key):
        documents.give_up(connection, new.extents, now_s)
        return None
    if is_being_written(connection, job.bucket, job.key):
        documents.give_up(connection, new.extents, now_s)
        connection.execute(
            update(copy_jobs)
            .where(is_mine, copy_jobs.c.state == CopyState.RUNNING.value)
            .values(state=CopyState.WAITING.value, not_before_s=now_s, reason="the key was being written at the origin")
        )
        return None
    connection.execute(delete(copy_jobs).where(is_mine))
    granted = new.anonymous_read or row.anonymous_read
    return objects.insert_object(connection, replace(new, anonymous_read=granted), now_s)


def release_copy(
    connection: Connection, job: CopyJob, state: CopyState, not_before_s: float, reason: str, counts: bool = True
) -> None:
    """See `Index.release_copy`. Whose lease ran out and was given to another has nothing to put back."""
    connection.execute(
        update(copy_jobs)
        .where(_is_leased_as(job))
        .values(
            state=state.value,
            not_before_s=not_before_s,
            reason=_printable(reason),
            attempts=job.attempts if counts else job.attempts - 1,
        )
    )


def _is_leased_as(job: CopyJob) -> ColumnElement[bool]:
    """The job is running, and by this lease: each lease counts an attempt."""
    return and_(
        copy_jobs.c.job_id == job.job_id,
        copy_jobs.c.state == CopyState.RUNNING.value,
        copy_jobs.c.attempts == job.attempts,
    )


def _first_due(
    connection: Connection, state: CopyState, now_s: float, among: Sequence[ColumnElement[bool]]
) -> Row[tuple[object, ...]] | None:
    return connection.execute(
        select(copy_jobs)
        .where(copy_jobs.c.state == state.value, copy_jobs.c.not_before_s <= now_s, ~_IS_BEING_WRITTEN, *among)
        .order_by(copy_jobs.c.rank, copy_jobs.c.not_before_s, copy_jobs.c.job_id)
        .limit(1)
    ).one_or_none()


def _printable(reason: str) -> str:
    """A reason as any database takes it: without NUL and lone surrogates."""
    return reason.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")[:REASON_CHARS_MAX]
