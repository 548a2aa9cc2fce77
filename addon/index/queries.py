"""Everything that only reads."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence

from sqlalchemy import Column, ColumnElement, Connection, bindparam, case, func, literal, select

from addon.index.rows import copy_job_of, document_of, key_bytes, key_state_of
from addon.index.tables import (
    IS_SPOOLED,
    KIND_OBJECT,
    UPLOAD_OPEN,
    copy_jobs,
    documents,
    extents,
    keys,
    object_parts,
    origin_writes,
    uploads,
)
from addon.store.ports import SourceChanged
from addon.store.records import CopyJob, CopyState, Document, ObjectPart, ObjectRecord, Tombstone

# What is read of an object on an event loop: a hundred microseconds' worth. One with more extents is read in a thread.
POINT_EXTENTS_MAX = 32


def _once(column: Column[str]) -> ColumnElement[str]:
    """The column in the first row of an object only: ten thousand extents need not repeat some kilobytes of headers."""
    return case((func.coalesce(extents.c.position, 0) == 0, column), else_="")


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
        _once(keys.c.headers),
        _once(keys.c.checksums),
        _once(keys.c.tags),
        keys.c.parts_count,
        keys.c.checked_at_s,
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
        documents.c.key_id,
        documents.c.segment_bytes,
    )
    .select_from(
        keys.outerjoin(extents, (extents.c.bucket == keys.c.bucket) & (extents.c.key == keys.c.key)).outerjoin(
            documents, documents.c.document_id == extents.c.document_id
        )
    )
    .where(keys.c.bucket == bindparam("bucket"), keys.c.key == bindparam("key"))
    .order_by(extents.c.position)
)
_SHORT_KEY_STATE = KEY_STATE.limit(POINT_EXTENTS_MAX + 1)

_OBJECT_PARTS = (
    select(object_parts.c.number, object_parts.c.size, object_parts.c.checksums)
    .select_from(
        keys.outerjoin(object_parts, (object_parts.c.bucket == keys.c.bucket) & (object_parts.c.key == keys.c.key))
    )
    .where(
        keys.c.bucket == bindparam("bucket"),
        keys.c.key == bindparam("key"),
        keys.c.generation == bindparam("generation"),
    )
    .order_by(object_parts.c.number)
)

_HAS_ORIGIN_WRITE = select(literal(1)).where(
    origin_writes.c.bucket == bindparam("bucket"),
    origin_writes.c.key == bindparam("key"),
    origin_writes.c.overruled.is_(False),
)


class _TooLong(enum.Enum):
    TOO_LONG = "too long"


TOO_LONG = _TooLong.TOO_LONG


def key_state(connection: Connection, bucket: str, key: str) -> ObjectRecord | Tombstone | None:
    """See `Index.key_state`."""
    rows = connection.execute(KEY_STATE, {"bucket": bucket, "key": key_bytes(key)}).all()
    return key_state_of(bucket, key, rows)


def short_key_state(connection: Connection, bucket: str, key: str) -> ObjectRecord | Tombstone | _TooLong | None:
    """`key_state`, but `TOO_LONG` for an object with more than `POINT_EXTENTS_MAX` extents."""
    rows = connection.execute(_SHORT_KEY_STATE, {"bucket": bucket, "key": key_bytes(key)}).all()
    return TOO_LONG if len(rows) > POINT_EXTENTS_MAX else key_state_of(bucket, key, rows)


def object_parts_of(connection: Connection, record: ObjectRecord) -> list[ObjectPart]:
    """See `Index.object_parts`."""
    here = {"bucket": record.bucket, "key": key_bytes(record.key), "generation": record.generation}
    rows = connection.execute(_OBJECT_PARTS, here).all()
    if not rows:
        raise SourceChanged("the object was replaced or deleted in the meantime")
    return [ObjectPart(number, size, json.loads(checksums)) for number, size, checksums in rows if number is not None]


def has_origin_write(connection: Connection, bucket: str, key: str) -> bool:
    """See `Index.has_origin_write`."""
    return bool(connection.execute(_HAS_ORIGIN_WRITE, {"bucket": bucket, "key": key_bytes(key)}).all())


def garbage(connection: Connection, limit: int) -> list[Document]:
    """See `Index.garbage`: in the order in which they became garbage."""
    rows = connection.execute(
        select(documents)
        .where(documents.c.garbage_since_s.is_not(None), documents.c.only_tells.is_(False), ~IS_SPOOLED)
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
    totals = {"objects": 0, "bytes": 0, "tombstones": 0, "uploads": 0} | {state.value: 0 for state in CopyState}
    kinds = select(keys.c.kind, func.count(), func.sum(keys.c.size)).where(keys.c.bucket == bucket)
    for kind, number, size in connection.execute(kinds.group_by(keys.c.kind)):
        totals["objects" if kind == KIND_OBJECT else "tombstones"] = number
        totals["bytes"] += int(size)
    jobs = select(copy_jobs.c.state, func.count()).where(copy_jobs.c.bucket == bucket)
    for state, number in connection.execute(jobs.group_by(copy_jobs.c.state)):
        totals[state] = number
    is_open = (uploads.c.state == UPLOAD_OPEN) & (uploads.c.bucket == bucket)
    totals["uploads"] = connection.execute(select(func.count()).select_from(uploads).where(is_open)).scalar_one()
    return totals
