"""What the migration of whole buckets reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, case, func, select

from addon.index.listings import end_of
from addon.index.rows import key_batches, key_bytes, object_without_extents_of
from addon.index.tables import (
    IS_SPOOLED,
    KIND_OBJECT,
    KIND_TOMBSTONE,
    UPLOAD_OPEN,
    bucket_facts,
    copy_jobs,
    documents,
    keys,
    origin_writes,
    proxies,
    uploads,
)
from addon.store.migration import Amount, BucketFacts, Sweep, Totals, Verification
from addon.store.records import CopyState, ObjectRecord, Provenance, Tombstone
from addon.store.seal_format import KEY_ID_BYTES


def facts(connection: Connection, bucket: str) -> BucketFacts:
    """See `MigrationIndex.bucket_facts`."""
    row = connection.execute(select(bucket_facts).where(bucket_facts.c.bucket == bucket)).one_or_none()
    if row is None:
        return BucketFacts()
    sweep = verification = None
    if row.sweep_began_at_s is not None:
        sweep = Sweep(
            row.sweep_began_at_s,
            row.sweep_ended_at_s,
            row.sweep_after.decode(),
            row.listed_objects,
            row.listed_bytes,
        )
    if row.verified_at_s is not None:
        verification = Verification(
            row.verified_at_s, row.compared_objects, row.differed_objects, bool(row.verified_deep)
        )
    return BucketFacts(row.retired_at_s, sweep, verification)


def retired_buckets(connection: Connection) -> frozenset[str]:
    """See `MigrationIndex.retired_buckets`."""
    is_retired = bucket_facts.c.retired_at_s.is_not(None)
    return frozenset(connection.execute(select(bucket_facts.c.bucket).where(is_retired)).scalars())


def totals(connection: Connection, bucket: str) -> Totals:
    """See `MigrationIndex.totals`."""
    jobs = _job_amounts(connection, bucket)
    waiting, running = (jobs.get(state, Amount()) for state in (CopyState.WAITING, CopyState.RUNNING))
    moved, written, unverified, tombstones = _key_amounts(connection, bucket)
    writes = select(func.count()).select_from(origin_writes).where(origin_writes.c.bucket == bucket)
    is_open = and_(uploads.c.state == UPLOAD_OPEN, uploads.c.bucket == bucket)
    return Totals(
        moved=moved,
        written=written,
        unverified=unverified,
        tombstones=tombstones,
        uploads=connection.execute(select(func.count()).select_from(uploads).where(is_open)).scalar_one(),
        waiting=Amount(waiting.objects + running.objects, waiting.size + running.size),
        running=running.objects,
        failed=jobs.get(CopyState.FAILED, Amount()),
        skipped=jobs.get(CopyState.SKIPPED, Amount()),
        origin_writes=connection.execute(writes).scalar_one(),
    )


def _key_amounts(connection: Connection, bucket: str) -> tuple[Amount, Amount, Amount, int]:
    """Moved, written here, moved and unverified, and how many tombstones."""
    is_unverified = case((keys.c.verified_at_s == 0, 1), else_=0)
    rows = connection.execute(
        select(keys.c.kind, keys.c.provenance, is_unverified, func.count(), func.sum(keys.c.size))
        .where(keys.c.bucket == bucket)
        .group_by(keys.c.kind, keys.c.provenance, is_unverified)
    )
    moved, written, unverified, tombstones = Amount(), Amount(), Amount(), 0
    for kind, provenance, never_verified, objects, size in rows:
        amount = Amount(objects, int(size))
        if kind == KIND_TOMBSTONE:
            tombstones += objects
        elif provenance == Provenance.WRITTEN_HERE.value:
            written = _sum(written, amount)
        else:
            moved = _sum(moved, amount)
            unverified = _sum(unverified, amount) if never_verified else unverified
    return moved, written, unverified, tombstones


def _job_amounts(connection: Connection, bucket: str) -> dict[CopyState, Amount]:
    rows = connection.execute(
        select(copy_jobs.c.state, func.count(), func.sum(copy_jobs.c.size))
        .where(copy_jobs.c.bucket == bucket)
        .group_by(copy_jobs.c.state)
    )
    return {CopyState(state): Amount(objects, int(size)) for state, objects, size in rows}


def _sum(one: Amount, other: Amount) -> Amount:
    return Amount(one.objects + other.objects, one.size + other.size)


def orphans(connection: Connection) -> Amount:
    """See `MigrationIndex.orphans`."""
    is_garbage = documents.c.garbage_since_s.is_not(None) & documents.c.only_tells.is_(False) & ~IS_SPOOLED
    count, size = connection.execute(select(func.count(), func.sum(documents.c.size)).where(is_garbage)).one()
    return Amount(count, int(size or 0))


def amounts_by_key(connection: Connection) -> dict[str, Amount]:
    """See `SealedIndex.amounts_by_key`."""
    key_id = func.substr(documents.c.key_id, 1, 2 * KEY_ID_BYTES)
    statement = select(key_id, func.count(), func.sum(documents.c.size))
    rows = connection.execute(statement.where(documents.c.garbage_since_s.is_(None)).group_by(key_id))
    return {found: Amount(count, int(size or 0)) for found, count, size in rows}


def decided_among(connection: Connection, bucket: str, wanted: Sequence[bytes]) -> set[bytes]:
    """Which keys have an object or a tombstone."""
    found: set[bytes] = set()
    for batch in key_batches(wanted):
        rows = connection.execute(select(keys.c.key).where(keys.c.bucket == bucket, keys.c.key.in_(batch)))
        found.update(map(bytes, rows.scalars()))
    return found


def ordered_among(
    connection: Connection, bucket: str, wanted: Sequence[bytes], states: Sequence[CopyState] = tuple(CopyState)
) -> set[bytes]:
    """Which keys have a copy job in one of these states."""
    found: set[bytes] = set()
    is_in = copy_jobs.c.state.in_([state.value for state in states])
    for batch in key_batches(wanted):
        rows = connection.execute(
            select(copy_jobs.c.key).where(copy_jobs.c.bucket == bucket, copy_jobs.c.key.in_(batch), is_in)
        )
        found.update(map(bytes, rows.scalars()))
    return found


def skipped_among(connection: Connection, bucket: str, wanted: Sequence[str]) -> frozenset[str]:
    """See `MigrationIndex.skipped_among`."""
    found = ordered_among(connection, bucket, [key_bytes(key) for key in wanted], [CopyState.SKIPPED])
    return frozenset(key.decode() for key in found)


def unknown_among(connection: Connection, bucket: str, wanted: Sequence[str]) -> frozenset[str]:
    """See `MigrationIndex.unknown_among`."""
    decided = decided_among(connection, bucket, [key_bytes(key) for key in wanted])
    return frozenset(key for key in wanted if key_bytes(key) not in decided)


def waiting(connection: Connection, bucket: str, prefix: str) -> Amount:
    """See `MigrationIndex.waiting`."""
    count, size = connection.execute(
        select(func.count(), func.sum(copy_jobs.c.size)).where(*_unfinished(bucket, prefix))
    ).one()
    return Amount(count, int(size or 0))


def _unfinished(bucket: str, prefix: str) -> list[Any]:
    states = [CopyState.WAITING.value, CopyState.RUNNING.value]
    return [copy_jobs.c.bucket == bucket, copy_jobs.c.state.in_(states), *below(copy_jobs.c.key, prefix)]


def next_due_s(connection: Connection, bucket: str, prefix: str) -> float | None:
    """See `MigrationIndex.next_due_s`."""
    due_s = connection.execute(
        select(func.min(copy_jobs.c.not_before_s)).where(*_unfinished(bucket, prefix))
    ).scalar_one()
    return None if due_s is None else float(due_s)


def objects_after(
    connection: Connection, bucket: str, prefix: str, after: str, limit: int, provenance: Provenance | None
) -> list[ObjectRecord]:
    """See `MigrationIndex.objects_after`."""
    rows = connection.execute(
        select(keys)
        .where(*_objects(bucket, prefix, provenance), keys.c.key > key_bytes(after))
        .order_by(keys.c.key)
        .limit(limit)
    )
    return [object_without_extents_of(row) for row in rows]


def objects_amount(connection: Connection, bucket: str, prefix: str, provenance: Provenance | None) -> Amount:
    """See `MigrationIndex.objects_amount`."""
    count, size = connection.execute(
        select(func.count(), func.sum(keys.c.size)).where(*_objects(bucket, prefix, provenance))
    ).one()
    return Amount(count, int(size or 0))


def _objects(bucket: str, prefix: str, provenance: Provenance | None) -> list[Any]:
    """The conditions that a row is an object below a prefix, and of that provenance where one is given."""
    found = [keys.c.bucket == bucket, keys.c.kind == KIND_OBJECT, *below(keys.c.key, prefix)]
    return found if provenance is None else [*found, keys.c.provenance == provenance.value]


def tombstones_after(connection: Connection, bucket: str, prefix: str, after: str, limit: int) -> list[Tombstone]:
    """See `MigrationIndex.tombstones_after`."""
    rows = connection.execute(
        select(keys.c.key, keys.c.generation, keys.c.modified_at_s)
        .where(
            keys.c.bucket == bucket,
            keys.c.kind == KIND_TOMBSTONE,
            keys.c.key > key_bytes(after),
            *below(keys.c.key, prefix),
        )
        .order_by(keys.c.key)
        .limit(limit)
    )
    return [Tombstone(bucket, row.key.decode(), row.generation, row.modified_at_s) for row in rows]


def proxies_seen_since(connection: Connection, since_s: float) -> int:
    """See `MigrationIndex.proxies_seen_since`."""
    return connection.execute(
        select(func.count()).select_from(proxies).where(proxies.c.seen_at_s >= since_s)
    ).scalar_one()


def below(column: Any, prefix: str) -> list[Any]:
    """The conditions that a key begins with a prefix."""
    if not prefix:
        return []
    start = key_bytes(prefix)
    return [column >= start, column < end_of(start)]
