"""Transactions on objects, tombstones, documents and writes to the origin. Each function runs within one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, bindparam, delete, exists, insert, select, update

from addon.index.rows import (
    document_row,
    extent_rows,
    key_bytes,
    object_row,
    record_of,
    tombstone_row,
)
from addon.index.tables import COUNTER_NAME, copy_jobs, counters, documents, extents, keys, origin_writes
from addon.store.ports import WriteOutcome
from addon.store.records import Document, NewObject, ObjectRecord, Provenance, Tombstone

_KEYS_HERE = (keys.c.bucket == bindparam("here_bucket")) & (keys.c.key == bindparam("here_key"))
_EXTENTS_HERE = (extents.c.bucket == bindparam("here_bucket")) & (extents.c.key == bindparam("here_key"))
_JOBS_HERE = (copy_jobs.c.bucket == bindparam("here_bucket")) & (copy_jobs.c.key == bindparam("here_key"))
_WRITES_HERE = (origin_writes.c.bucket == bindparam("here_bucket")) & (origin_writes.c.key == bindparam("here_key"))

_NEXT_NUMBERS = (
    update(counters).where(counters.c.name == COUNTER_NAME).values(value=counters.c.value + bindparam("how_many"))
)
_NUMBER = select(counters.c.value).where(counters.c.name == COUNTER_NAME)
_SELECT_KIND = select(keys.c.kind, keys.c.provenance).where(_KEYS_HERE)
_SELECT_DOCUMENT_IDS = select(extents.c.document_id).where(_EXTENTS_HERE).distinct()
_DELETE_EXTENTS = delete(extents).where(_EXTENTS_HERE)
_DELETE_KEY = delete(keys).where(_KEYS_HERE)
_DELETE_JOB = delete(copy_jobs).where(_JOBS_HERE)
_OVERRULE_WRITES = update(origin_writes).where(_WRITES_HERE).values(overruled=True)
_TAKE_INTO_USE = (
    update(documents).where(documents.c.document_id == bindparam("here_document_id")).values(garbage_since_s=None)
)
_LET_GO = (
    update(documents)
    .where(
        documents.c.document_id == bindparam("here_document_id"),
        ~exists().where(extents.c.document_id == documents.c.document_id),
    )
    .values(garbage_since_s=bindparam("now_s"))
)
_IS_KNOWN = select(documents.c.document_id).where(documents.c.document_id == bindparam("here_document_id"))


def here(bucket: str, key: str) -> dict[str, object]:
    """The parameters of a statement about one key."""
    return {"here_bucket": bucket, "here_key": key_bytes(key)}


def next_number(connection: Connection) -> int:
    """A number that was never given before."""
    return next_numbers(connection, 1)


def next_numbers(connection: Connection, how_many: int) -> int:
    """The first of so many numbers in a row. Two statements, as not every SQLite in use knows RETURNING."""
    connection.execute(_NEXT_NUMBERS, {"how_many": how_many})
    return int(connection.execute(_NUMBER).scalar_one()) - how_many + 1


def put_object(connection: Connection, new: NewObject, now_s: float) -> ObjectRecord:
    """See `Index.put_object`."""
    former = _clear_key(connection, new.bucket, new.key)
    _overrule(connection, new.bucket, new.key)
    record = insert_object(connection, new, now_s)
    _let_go(connection, former, now_s)
    return record


def insert_object(connection: Connection, new: NewObject, now_s: float) -> ObjectRecord:
    """Make `new` the object of a key that has neither object nor tombstone, and take its documents into use."""
    generation = next_number(connection)
    connection.execute(insert(keys), object_row(new, generation))
    for document in _distinct(extent.document for extent in new.extents):
        if not connection.execute(_TAKE_INTO_USE, {"here_document_id": document.document_id}).rowcount:
            connection.execute(insert(documents), document_row(document, created_at_s=now_s, garbage_since_s=None))
    if new.extents:
        connection.execute(insert(extents), extent_rows(new))
    return record_of(new, generation)


def delete_object(connection: Connection, bucket: str, key: str, now_s: float) -> Tombstone:
    """See `Index.delete_object`."""
    former = _clear_key(connection, bucket, key)
    _overrule(connection, bucket, key)
    tombstone = Tombstone(bucket, key, next_number(connection), int(now_s))
    connection.execute(insert(keys), tombstone_row(tombstone))
    _let_go(connection, former, now_s)
    return tombstone


def supersede(connection: Connection, bucket: str, key: str, now_s: float) -> None:
    """See `Index.supersede`."""
    former = _clear_key(connection, bucket, key)
    _overrule(connection, bucket, key)
    _let_go(connection, former, now_s)


def begin_origin_write(connection: Connection, bucket: str, key: str, now_s: float) -> int:
    """See `Index.begin_origin_write`."""
    write_id = next_number(connection)
    connection.execute(
        insert(origin_writes),
        {"write_id": write_id, "bucket": bucket, "key": key_bytes(key), "began_at_s": now_s, "overruled": False},
    )
    return write_id


def end_origin_write(connection: Connection, write_id: int, outcome: WriteOutcome, now_s: float) -> None:
    """See `Index.end_origin_write`.

    Only its own mark goes: another write to the same key may still be under way. One that a later write here has overruled changes
    nothing more: what that write left is newer, and no copy was leased while the mark stood.
    """
    mine = origin_writes.c.write_id == write_id
    row = connection.execute(select(origin_writes).where(mine)).one_or_none()
    if row is None:
        return
    connection.execute(delete(origin_writes).where(mine))
    if row.overruled or outcome is WriteOutcome.REFUSED:
        return
    bucket, key = row.bucket, row.key.decode()
    if outcome is WriteOutcome.ACCEPTED:
        _let_go(connection, _clear_key(connection, bucket, key), now_s)
    else:
        _forget_copy(connection, bucket, key, now_s)


def resolve_cut_off_origin_writes(connection: Connection, now_s: float) -> int:
    """See `Index.resolve_cut_off_origin_writes`."""
    rows = connection.execute(select(origin_writes).where(origin_writes.c.overruled.is_(False))).all()
    for bucket, key in {(row.bucket, row.key.decode()) for row in rows}:
        _forget_copy(connection, bucket, key, now_s)
    connection.execute(delete(origin_writes))
    return len(rows)


def add_documents(connection: Connection, added: Sequence[Document], now_s: float) -> None:
    """See `Index.add_documents`. A document that is known already stays as it is."""
    for document in _distinct(added):
        if connection.execute(_IS_KNOWN, {"here_document_id": document.document_id}).one_or_none() is None:
            connection.execute(insert(documents), document_row(document, created_at_s=now_s, garbage_since_s=now_s))


def update_file_id(connection: Connection, document_id: str, bot_id: int, file_id: str) -> None:
    """See `Index.update_file_id`."""
    connection.execute(
        update(documents).where(documents.c.document_id == document_id).values(bot_id=bot_id, file_id=file_id)
    )


def grant_anonymous_read(connection: Connection, bucket: str, key: str, etag: str) -> None:
    """See `Index.grant_anonymous_read`."""
    is_this_copy = (keys.c.provenance == Provenance.COPIED_FROM_ORIGIN.value) & (keys.c.etag == etag)
    connection.execute(
        update(keys).where(_KEYS_HERE, is_this_copy, keys.c.anonymous_read.is_(False)).values(anonymous_read=True),
        here(bucket, key),
    )
    grant_to_job(connection, bucket, key)


def grant_to_job(connection: Connection, bucket: str, key: str) -> None:
    """The copy that the key's job will make, or is making, may be read by anyone."""
    connection.execute(
        update(copy_jobs).where(_JOBS_HERE, copy_jobs.c.anonymous_read.is_(False)).values(anonymous_read=True),
        here(bucket, key),
    )


def has_object_or_tombstone(connection: Connection, bucket: str, key: str) -> bool:
    """Whether the key is decided here."""
    return connection.execute(_SELECT_KIND, here(bucket, key)).one_or_none() is not None


def is_being_written(connection: Connection, bucket: str, key: str) -> bool:
    """Whether any write to the origin is under way, also one that does not decide the key any more."""
    return bool(connection.execute(select(origin_writes.c.write_id).where(_WRITES_HERE), here(bucket, key)).all())


def _clear_key(connection: Connection, bucket: str, key: str) -> list[str]:
    """Remove object, tombstone and copy job of a key; returns the documents that the object had."""
    where = here(bucket, key)
    connection.execute(_DELETE_JOB, where)
    if connection.execute(_SELECT_KIND, where).one_or_none() is None:
        return []
    document_ids = list(connection.execute(_SELECT_DOCUMENT_IDS, where).scalars())
    if document_ids:
        connection.execute(_DELETE_EXTENTS, where)
    connection.execute(_DELETE_KEY, where)
    return document_ids


def _forget_copy(connection: Connection, bucket: str, key: str, now_s: float) -> None:
    """The origin may hold something else than was copied, or is being copied; an object written here and a tombstone stand."""
    current = connection.execute(_SELECT_KIND, here(bucket, key)).one_or_none()
    if current is None or current.provenance == Provenance.COPIED_FROM_ORIGIN.value:
        _let_go(connection, _clear_key(connection, bucket, key), now_s)


def _overrule(connection: Connection, bucket: str, key: str) -> None:
    connection.execute(_OVERRULE_WRITES, here(bucket, key))


def _let_go(connection: Connection, document_ids: Sequence[str], now_s: float) -> None:
    """Those that no extent refers to any more become garbage."""
    for document_id in document_ids:
        connection.execute(_LET_GO, {"here_document_id": document_id, "now_s": now_s})


def _distinct(given: Iterable[Document]) -> Iterable[Document]:
    return {document.document_id: document for document in given}.values()
