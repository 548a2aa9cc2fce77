"""Transactions of an import. Each function runs within one transaction."""

from __future__ import annotations

from sqlalchemy import Connection

from addon.index import conditions, documents, objects
from addon.index.rows import key_bytes
from addon.store.records import NewObject, ObjectRecord


def add_object(connection: Connection, new: NewObject, now_s: float) -> ObjectRecord | None:
    """See `ImportIndex.add_object`."""
    here = [key_bytes(new.key)]
    if objects.has_object_or_tombstone(connection, new.bucket, new.key):
        return None
    if conditions.written_past_us(connection, new.bucket, here):
        return None
    objects.decide_key(connection, new.bucket, new.key)
    return objects.insert_object(connection, new, now_s)


def replace_object(connection: Connection, record: ObjectRecord, new: NewObject, now_s: float) -> ObjectRecord:
    """See `ImportIndex.replace_object`. A write to the origin under way is not overruled: it replaces the object however it is
    described."""
    objects.refuse_unless_current(connection, record)
    former = objects.clear_keys(connection, record.bucket, [key_bytes(record.key)])
    replaced = objects.insert_object(connection, new, now_s)
    documents.let_go(connection, former, now_s)
    return replaced
