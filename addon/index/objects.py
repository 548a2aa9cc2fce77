"""Transactions on objects. Each function runs within one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy import BindParameter, Connection, bindparam, delete, insert, select, update

from addon.index import conditions, documents, queries
from addon.index.documents import Freed
from addon.index.numbers import next_number
from addon.index.rows import extent_rows, json_text, key_bytes, object_row, record_of
from addon.index.tables import copy_jobs, extents, keys, object_parts, origin_writes
from addon.store.conditions import WriteCondition
from addon.store.ports import SourceChanged
from addon.store.records import Extent, NewObject, ObjectRecord, Provenance

_KEYS_HERE = (keys.c.bucket == bindparam("here_bucket")) & (keys.c.key == bindparam("here_key"))
_JOBS_HERE = (copy_jobs.c.bucket == bindparam("here_bucket")) & (copy_jobs.c.key == bindparam("here_key"))

_SELECT_CURRENT = select(keys.c.generation, keys.c.provenance).where(_KEYS_HERE)
_UPDATE_KEY = update(keys).where(_KEYS_HERE)

_AMONG: BindParameter[list[bytes]] = bindparam("here_keys", expanding=True)
_KEYS_AMONG = (keys.c.bucket == bindparam("here_bucket")) & keys.c.key.in_(_AMONG)
_EXTENTS_AMONG = (extents.c.bucket == bindparam("here_bucket")) & extents.c.key.in_(_AMONG)
_PARTS_AMONG = (object_parts.c.bucket == bindparam("here_bucket")) & object_parts.c.key.in_(_AMONG)
_JOBS_AMONG = (copy_jobs.c.bucket == bindparam("here_bucket")) & copy_jobs.c.key.in_(_AMONG)
_WRITES_AMONG = (origin_writes.c.bucket == bindparam("here_bucket")) & origin_writes.c.key.in_(_AMONG)

_SELECT_SIZES = select(keys.c.size, keys.c.parts_count).where(_KEYS_AMONG)
_SELECT_RANGES = select(extents.c.document_id, extents.c.offset, extents.c.length).where(_EXTENTS_AMONG)
_DELETE_EXTENTS = delete(extents).where(_EXTENTS_AMONG)
_DELETE_PARTS = delete(object_parts).where(_PARTS_AMONG)
_DELETE_KEYS = delete(keys).where(_KEYS_AMONG)
_DELETE_JOBS = delete(copy_jobs).where(_JOBS_AMONG)
_OVERRULE_WRITES = update(origin_writes).where(_WRITES_AMONG).values(overruled=True)

_TO_BUCKET = bindparam("to_bucket", type_=keys.c.bucket.type)
_TO_KEY = bindparam("to_key", type_=keys.c.key.type)
_COPY_EXTENTS = insert(extents).from_select(
    ["bucket", "key", "position", "document_id", "offset", "length", "block_sha256s"],
    select(
        _TO_BUCKET,
        _TO_KEY,
        extents.c.position,
        extents.c.document_id,
        extents.c.offset,
        extents.c.length,
        extents.c.block_sha256s,
    ).where(extents.c.bucket == bindparam("here_bucket"), extents.c.key == bindparam("here_key")),
)
_COPY_PARTS = insert(object_parts).from_select(
    ["bucket", "key", "number", "size", "checksums"],
    select(_TO_BUCKET, _TO_KEY, object_parts.c.number, object_parts.c.size, object_parts.c.checksums).where(
        object_parts.c.bucket == bindparam("here_bucket"), object_parts.c.key == bindparam("here_key")
    ),
)


def here(bucket: str, key: str) -> dict[str, object]:
    """The parameters of a statement about one key."""
    return {"here_bucket": bucket, "here_key": key_bytes(key)}


def put_object(
    connection: Connection, new: NewObject, now_s: float, condition: WriteCondition | None = None
) -> ObjectRecord:
    """See `Index.put_object`."""
    conditions.refuse_unless(connection, new.bucket, new.key, condition)
    former = decide_key(connection, new.bucket, new.key)
    record = insert_object(connection, new, now_s)
    documents.let_go(connection, former, now_s)
    return record


def insert_object(connection: Connection, new: NewObject, now_s: float) -> ObjectRecord:
    """Make `new` the object of a key that has neither object nor tombstone, and take its documents into use."""
    generation = next_number(connection)
    checked_at_s = int(now_s) if new.provenance is Provenance.COPIED_FROM_ORIGIN else 0
    connection.execute(insert(keys), object_row(new, generation, checked_at_s=checked_at_s))
    documents.take_into_use(connection, new.extents, now_s)
    if new.extents:
        owner = {"bucket": new.bucket, "key": key_bytes(new.key)}
        connection.execute(insert(extents), extent_rows(owner, new.extents))
    return record_of(new, generation, checked_at_s)


def copy_object(
    connection: Connection,
    source: ObjectRecord,
    new: NewObject,
    now_s: float,
    condition: WriteCondition | None = None,
) -> ObjectRecord:
    """See `Index.copy_object`."""
    if new.extents:
        raise ValueError("a copy takes the extents of its source")
    refuse_unless_current(connection, source)
    conditions.refuse_unless(connection, new.bucket, new.key, condition)
    row = object_row(replace(new, size=source.size), next_number(connection), parts_count=source.parts_count)
    if (new.bucket, new.key) == (source.bucket, source.key):
        overrule_writes(connection, new.bucket, [key_bytes(new.key)])
        changes = {name: value for name, value in row.items() if name not in {"bucket", "key"}}
        connection.execute(_UPDATE_KEY, changes | here(new.bucket, new.key))
    else:
        former = decide_key(connection, new.bucket, new.key)
        connection.execute(insert(keys), row)
        places = here(source.bucket, source.key) | {"to_bucket": new.bucket, "to_key": key_bytes(new.key)}
        connection.execute(_COPY_EXTENTS, places)
        connection.execute(_COPY_PARTS, places)
        documents.let_go(connection, former, now_s)
    return current_object(connection, new.bucket, new.key)


def change_object(
    connection: Connection, record: ObjectRecord, tags: Mapping[str, str] | None, anonymous_read: bool | None
) -> ObjectRecord:
    """See `Index.change_object`. A write to the origin under way is not overruled: it replaces the object with its description."""
    refuse_unless_current(connection, record)
    connection.execute(_DELETE_JOBS, {"here_bucket": record.bucket, "here_keys": [key_bytes(record.key)]})
    changes: dict[str, object] = {
        "generation": next_number(connection),
        "provenance": Provenance.WRITTEN_HERE.value,
    }
    if tags is not None:
        changes["tags"] = json_text(tags)
    if anonymous_read is not None:
        changes["anonymous_read"] = anonymous_read
    connection.execute(_UPDATE_KEY, changes | here(record.bucket, record.key))
    return current_object(connection, record.bucket, record.key)


def supersede(connection: Connection, bucket: str, key: str, now_s: float) -> None:
    """See `Index.supersede`."""
    documents.let_go(connection, decide_key(connection, bucket, key), now_s)


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
    return connection.execute(_SELECT_CURRENT, here(bucket, key)).one_or_none() is not None


def current_object(connection: Connection, bucket: str, key: str) -> ObjectRecord:
    """The object of a key that has one."""
    record = queries.key_state(connection, bucket, key)
    if not isinstance(record, ObjectRecord):
        raise LookupError("the key has no object")
    return record


def decide_key(connection: Connection, bucket: str, key: str) -> list[Freed]:
    """Remove object, tombstone and copy job of a key and overrule the writes to the origin that are under way; returns what the
    object's extents covered, to be let go in the end."""
    overrule_writes(connection, bucket, [key_bytes(key)])
    return clear_keys(connection, bucket, [key_bytes(key)])


def overrule_writes(connection: Connection, bucket: str, decided: list[bytes]) -> None:
    """Writes to the origin under way do not decide these keys any more; few enough keys for one statement."""
    connection.execute(_OVERRULE_WRITES, {"here_bucket": bucket, "here_keys": decided})


def clear_keys(connection: Connection, bucket: str, cleared: list[bytes]) -> list[Freed]:
    """Remove objects, tombstones and copy jobs of some keys, few enough for one statement; returns what the objects' extents
    covered."""
    among = {"here_bucket": bucket, "here_keys": cleared}
    connection.execute(_DELETE_JOBS, among)
    rows = connection.execute(_SELECT_SIZES, among).all()
    if not rows:
        return []
    freed = [Freed(*row) for row in connection.execute(_SELECT_RANGES, among)]
    if freed:
        connection.execute(_DELETE_EXTENTS, among)
    if any(row.parts_count for row in rows):
        connection.execute(_DELETE_PARTS, among)
    connection.execute(_DELETE_KEYS, among)
    return freed


def refuse_unless_current(connection: Connection, record: ObjectRecord) -> None:
    """Raises SourceChanged where the key has another object than `record` by now, or none."""
    row = connection.execute(_SELECT_CURRENT, here(record.bucket, record.key)).one_or_none()
    if row is None or row.generation != record.generation:
        raise SourceChanged("the object was replaced or deleted in the meantime")


def refuse_unless_there(connection: Connection, record: ObjectRecord, made_of: Sequence[Extent]) -> None:
    """Raises SourceChanged where the object's bytes lie in other documents by now than those that `made_of` was made of: it keeps
    its generation when they move."""
    among = {"here_bucket": record.bucket, "here_keys": [key_bytes(record.key)]}
    document_ids = frozenset(row.document_id for row in connection.execute(_SELECT_RANGES, among))
    if not document_ids.issuperset(extent.document.document_id for extent in made_of):
        raise SourceChanged("the object's bytes were moved in the meantime")


def forget_copy(connection: Connection, bucket: str, key: str, now_s: float) -> None:
    """The origin may hold something else than was copied, or is being copied; an object written here and a tombstone stand."""
    current = connection.execute(_SELECT_CURRENT, here(bucket, key)).one_or_none()
    if current is None or current.provenance == Provenance.COPIED_FROM_ORIGIN.value:
        documents.let_go(connection, clear_keys(connection, bucket, [key_bytes(key)]), now_s)
