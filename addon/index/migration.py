"""Transactions of the migration of whole buckets. Each function runs within one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, exists, insert, select, update

from addon.index import documents, migration_queries, objects
from addon.index.copies import waiting_row
from addon.index.numbers import next_numbers
from addon.index.rows import RANK_OF_SWEEP, key_bytes
from addon.index.tables import bucket_facts, copy_jobs, keys, proxies
from addon.store.migration import Amount, Sweep, SweepOrder, Verification
from addon.store.records import CopyState, ObjectRecord, Provenance

_OF_BUCKET = bucket_facts.c.bucket == bindparam("here_bucket")
_IS_THIS_COPY = (
    (keys.c.bucket == bindparam("here_bucket"))
    & (keys.c.key == bindparam("here_key"))
    & (keys.c.generation == bindparam("here_generation"))
    & (keys.c.provenance == Provenance.COPIED_FROM_ORIGIN.value)
)


def begin_sweep(connection: Connection, bucket: str, now_s: float) -> None:
    """See `MigrationIndex.begin_sweep`."""
    remember(
        connection,
        bucket,
        sweep_began_at_s=now_s,
        sweep_ended_at_s=None,
        sweep_after=b"",
        listed_objects=0,
        listed_bytes=0,
    )


def order_swept(
    connection: Connection, bucket: str, orders: Sequence[SweepOrder], now_s: float, walk: Sweep | None
) -> Amount:
    """See `MigrationIndex.order_swept`."""
    wanted = {key_bytes(order.key): order.size for order in orders}
    decided = migration_queries.decided_among(connection, bucket, list(wanted))
    ordered = migration_queries.ordered_among(connection, bucket, list(wanted))
    new = [key for key in wanted if key not in decided and key not in ordered]
    if new:
        number = next_numbers(connection, len(new))
        rows = [
            waiting_row(number + offset, bucket, key, now_s=now_s, rank=RANK_OF_SWEEP, size=wanted[key])
            for offset, key in enumerate(new)
        ]
        connection.execute(insert(copy_jobs), rows)
    if walk is not None:
        remember(
            connection,
            bucket,
            sweep_began_at_s=walk.began_at_s,
            sweep_ended_at_s=walk.ended_at_s,
            sweep_after=key_bytes(walk.after),
            listed_objects=walk.listed_objects,
            listed_bytes=walk.listed_bytes,
        )
    return Amount(len(new), sum(wanted[key] for key in new))


def take_back_leases(connection: Connection, bucket: str, now_s: float) -> int:
    """See `MigrationIndex.take_back_leases`."""
    is_running = (copy_jobs.c.bucket == bucket) & (copy_jobs.c.state == CopyState.RUNNING.value)
    return connection.execute(
        update(copy_jobs).where(is_running).values(state=CopyState.WAITING.value, not_before_s=now_s)
    ).rowcount


def forget_unlisted(connection: Connection, bucket: str, listed: Sequence[str], after: str, until: str | None) -> int:
    """See `MigrationIndex.forget_unlisted`."""
    between = [copy_jobs.c.key > key_bytes(after)]
    if until is not None:
        between.append(copy_jobs.c.key <= key_bytes(until))
    at_rest = [CopyState.FAILED.value, CopyState.SKIPPED.value]
    there = {key_bytes(key) for key in listed}
    rows = connection.execute(
        select(copy_jobs.c.job_id, copy_jobs.c.key).where(
            copy_jobs.c.bucket == bucket, copy_jobs.c.state.in_(at_rest), *between
        )
    )
    gone = [{"here_job_id": row.job_id} for row in rows if bytes(row.key) not in there]
    if gone:
        connection.execute(delete(copy_jobs).where(copy_jobs.c.job_id == bindparam("here_job_id")), gone)
    return len(gone)


def retry_copies(connection: Connection, bucket: str, states: Sequence[CopyState], now_s: float) -> int:
    """See `MigrationIndex.retry_copies`. Under the same number: nobody holds a lease of a job that has come to rest."""
    retried = connection.execute(
        update(copy_jobs)
        .where(copy_jobs.c.bucket == bucket, copy_jobs.c.state.in_([state.value for state in states]))
        .values(state=CopyState.WAITING.value, attempts=0, not_before_s=now_s, reason="", rank=RANK_OF_SWEEP)
    )
    return retried.rowcount


def mark_verified(connection: Connection, records: Sequence[ObjectRecord], now_s: float) -> None:
    """See `MigrationIndex.mark_verified`."""
    marked = update(keys).where(_IS_THIS_COPY).values(verified_at_s=int(now_s), checked_at_s=int(now_s))
    for record in records:
        connection.execute(marked, _here(record))


def mark_checked(connection: Connection, record: ObjectRecord, now_s: float) -> None:
    """See `MigrationIndex.mark_checked`."""
    connection.execute(update(keys).where(_IS_THIS_COPY).values(checked_at_s=int(now_s)), _here(record))


def remember_verification(connection: Connection, bucket: str, verification: Verification) -> None:
    """See `MigrationIndex.remember_verification`."""
    remember(
        connection,
        bucket,
        verified_at_s=verification.at_s,
        verified_deep=verification.deep,
        compared_objects=verification.compared,
        differed_objects=verification.differed,
    )


def forget_copy(connection: Connection, record: ObjectRecord, now_s: float) -> bool:
    """See `MigrationIndex.forget_copy`. A copy job of the key goes with it, as with every change of a key."""
    if not connection.execute(select(exists(select(keys.c.key).where(_IS_THIS_COPY))), _here(record)).scalar_one():
        return False
    documents.let_go(connection, objects.clear_keys(connection, record.bucket, [key_bytes(record.key)]), now_s)
    return True


def retire(connection: Connection, bucket: str, now_s: float, *, leave_skipped: bool) -> bool:
    """See `MigrationIndex.retire`."""
    totals = migration_queries.totals(connection, bucket)
    unfinished = totals.waiting.objects + totals.failed.objects + totals.unverified.objects + totals.origin_writes
    if unfinished or (totals.skipped.objects and not leave_skipped):
        return False
    remember(connection, bucket, retired_at_s=now_s)
    return True


def unretire(connection: Connection, bucket: str) -> bool:
    """See `MigrationIndex.unretire`."""
    undone = connection.execute(
        update(bucket_facts)
        .where(bucket_facts.c.bucket == bucket, bucket_facts.c.retired_at_s.is_not(None))
        .values(retired_at_s=None)
    )
    return undone.rowcount == 1


def proxy_seen(connection: Connection, proxy_id: str, now_s: float) -> None:
    """See `MigrationIndex.proxy_seen`."""
    seen = connection.execute(update(proxies).where(proxies.c.proxy_id == proxy_id).values(seen_at_s=now_s))
    if not seen.rowcount:
        connection.execute(insert(proxies), {"proxy_id": proxy_id, "seen_at_s": now_s})


def proxy_gone(connection: Connection, proxy_id: str) -> None:
    """See `MigrationIndex.proxy_gone`."""
    connection.execute(delete(proxies).where(proxies.c.proxy_id == proxy_id))


def remember(connection: Connection, bucket: str, **facts: object) -> None:
    """Change some of what is remembered of a bucket."""
    if connection.execute(update(bucket_facts).where(_OF_BUCKET).values(**facts), {"here_bucket": bucket}).rowcount:
        return
    nothing: dict[str, object] = {
        "bucket": bucket,
        "sweep_after": b"",
        "listed_objects": 0,
        "listed_bytes": 0,
        "verified_deep": False,
        "compared_objects": 0,
        "differed_objects": 0,
    }
    connection.execute(insert(bucket_facts), nothing | facts)


def _here(record: ObjectRecord) -> dict[str, object]:
    return {
        "here_bucket": record.bucket,
        "here_key": key_bytes(record.key),
        "here_generation": record.generation,
    }
