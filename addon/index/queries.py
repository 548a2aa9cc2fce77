"""Everything that only reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, bindparam, func, literal, select

from addon.index.rows import copy_job_of, document_of, key_bytes, key_state_of
from addon.index.tables import KIND_OBJECT, copy_jobs, documents, extents, keys, origin_writes
from addon.store.records import CopyJob, CopyState, Document, ObjectRecord, Tombstone

# One statement, so that it sees one commit: an object never comes with the extents of another generation of it.
KEY_STATE = (
    select(
        keys.c.kind,
        keys.c.generation,
        keys.c.modified_at_s,
        keys.c.size,
        keys.c.etag,
        keys.c.provenance,
        keys.c.anonymous_read,
        keys.c.headers,
        keys.c.checksums,
        extents.c.offset,
        extents.c.length,
        extents.c.block_sha256s,
        documents.c.document_id,
        documents.c.chat_id,
        documents.c.message_id,
        documents.c.bot_id,
        documents.c.file_id,
        documents.c.file_unique_id,
        documents.c.size,
    )
    .select_from(
        keys.outerjoin(extents, (extents.c.bucket == keys.c.bucket) & (extents.c.key == keys.c.key)).outerjoin(
            documents, documents.c.document_id == extents.c.document_id
        )
    )
    .where(keys.c.bucket == bindparam("bucket"), keys.c.key == bindparam("key"))
    .order_by(extents.c.position)
)

_HAS_ORIGIN_WRITE = select(literal(1)).where(
    origin_writes.c.bucket == bindparam("bucket"),
    origin_writes.c.key == bindparam("key"),
    origin_writes.c.overruled.is_(False),
)


def key_state(connection: Connection, bucket: str, key: str) -> ObjectRecord | Tombstone | None:
    """See `Index.key_state`."""
    rows = connection.execute(KEY_STATE, {"bucket": bucket, "key": key_bytes(key)}).all()
    return key_state_of(bucket, key, rows)


def has_origin_write(connection: Connection, bucket: str, key: str) -> bool:
    """See `Index.has_origin_write`."""
    return bool(connection.execute(_HAS_ORIGIN_WRITE, {"bucket": bucket, "key": key_bytes(key)}).all())


def garbage(connection: Connection, limit: int) -> list[Document]:
    """See `Index.garbage`: in the order in which they became garbage."""
    rows = connection.execute(
        select(documents)
        .where(documents.c.garbage_since_s.is_not(None))
        .order_by(documents.c.garbage_since_s, documents.c.created_at_s, documents.c.document_id)
        .limit(limit)
    )
    return [document_of(row) for row in rows]


def copy_jobs_in(connection: Connection, bucket: str, states: Sequence[CopyState], limit: int) -> list[CopyJob]:
    """See `Index.copy_jobs`."""
    rows = connection.execute(
        select(copy_jobs)
        .where(copy_jobs.c.bucket == bucket, copy_jobs.c.state.in_([state.value for state in states]))
        .order_by(copy_jobs.c.job_id)
        .limit(limit)
    )
    return [copy_job_of(row) for row in rows]


def counts(connection: Connection, bucket: str) -> Mapping[str, int]:
    """See `Index.counts`."""
    totals = {"objects": 0, "bytes": 0, "tombstones": 0} | {state.value: 0 for state in CopyState}
    kinds = select(keys.c.kind, func.count(), func.sum(keys.c.size)).where(keys.c.bucket == bucket)
    for kind, number, size in connection.execute(kinds.group_by(keys.c.kind)):
        totals["objects" if kind == KIND_OBJECT else "tombstones"] = number
        totals["bytes"] += int(size)
    jobs = select(copy_jobs.c.state, func.count()).where(copy_jobs.c.bucket == bucket)
    for state, number in connection.execute(jobs.group_by(copy_jobs.c.state)):
        totals[state] = number
    return totals
