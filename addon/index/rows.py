"""Rows of the tables to the records that the store knows, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row

from addon.index.tables import KIND_OBJECT, KIND_TOMBSTONE
from addon.store.records import (
    CopyJob,
    CopyState,
    Document,
    Extent,
    NewObject,
    ObjectRecord,
    Provenance,
    Tombstone,
)

_PROVENANCES = {provenance.value: provenance for provenance in Provenance}


def key_bytes(key: str) -> bytes:
    """A key as it is stored. Raises ValueError where the key is not Unicode text (a lone surrogate)."""
    return key.encode()


def object_row(new: NewObject, generation: int) -> dict[str, Any]:
    """The row of `keys` for an object."""
    return {
        "bucket": new.bucket,
        "key": key_bytes(new.key),
        "kind": KIND_OBJECT,
        "generation": generation,
        "modified_at_s": new.last_modified_s,
        "size": new.size,
        "etag": new.etag,
        "provenance": new.provenance.value,
        "anonymous_read": new.anonymous_read,
        "headers": _json(new.headers),
        "checksums": _json(new.checksums),
    }


def tombstone_row(tombstone: Tombstone) -> dict[str, Any]:
    """The row of `keys` for a tombstone."""
    return {
        "bucket": tombstone.bucket,
        "key": key_bytes(tombstone.key),
        "kind": KIND_TOMBSTONE,
        "generation": tombstone.generation,
        "modified_at_s": tombstone.deleted_at_s,
        "size": 0,
        "etag": "",
        "provenance": Provenance.WRITTEN_HERE.value,
        "anonymous_read": False,
        "headers": "{}",
        "checksums": "{}",
    }


def extent_rows(new: NewObject) -> list[dict[str, Any]]:
    """The rows of `extents` for an object."""
    key = key_bytes(new.key)
    return [
        {
            "bucket": new.bucket,
            "key": key,
            "position": position,
            "document_id": extent.document.document_id,
            "offset": extent.offset,
            "length": extent.length,
            "block_sha256s": extent.block_sha256s,
        }
        for position, extent in enumerate(new.extents)
    ]


def document_row(document: Document, *, created_at_s: float, garbage_since_s: float | None) -> dict[str, Any]:
    """The row of `documents` for a document."""
    return {
        "document_id": document.document_id,
        "chat_id": document.chat_id,
        "message_id": document.message_id,
        "bot_id": document.bot_id,
        "file_id": document.file_id,
        "file_unique_id": document.file_unique_id,
        "size": document.size,
        "created_at_s": created_at_s,
        "garbage_since_s": garbage_since_s,
    }


def record_of(new: NewObject, generation: int) -> ObjectRecord:
    """The record that an object becomes once it has its generation."""
    return ObjectRecord(
        bucket=new.bucket,
        key=new.key,
        generation=generation,
        size=new.size,
        etag=new.etag,
        last_modified_s=new.last_modified_s,
        provenance=new.provenance,
        anonymous_read=new.anonymous_read,
        headers=dict(new.headers),
        checksums=dict(new.checksums),
        extents=tuple(new.extents),
    )


def key_state_of(bucket: str, key: str, rows: Sequence[Sequence[Any]]) -> ObjectRecord | Tombstone | None:
    """What the rows of `queries.KEY_STATE` say about a key: one row an extent, at least one for an object or tombstone."""
    if not rows:
        return None
    kind, generation, modified_at_s, size, etag, provenance, anonymous_read, headers, checksums = rows[0][:9]
    if kind == KIND_TOMBSTONE:
        return Tombstone(bucket, key, generation, modified_at_s)
    return ObjectRecord(
        bucket=bucket,
        key=key,
        generation=generation,
        size=size,
        etag=etag,
        last_modified_s=modified_at_s,
        provenance=_PROVENANCES[provenance],
        anonymous_read=bool(anonymous_read),
        headers=json.loads(headers),
        checksums=json.loads(checksums),
        extents=tuple(
            Extent(Document(*row[12:]), row[9], row[10], bytes(row[11])) for row in rows if row[9] is not None
        ),
    )


def document_of(row: Row[Any]) -> Document:
    """A row of `documents`."""
    return Document(
        document_id=row.document_id,
        chat_id=row.chat_id,
        message_id=row.message_id,
        bot_id=row.bot_id,
        file_id=row.file_id,
        file_unique_id=row.file_unique_id,
        size=row.size,
    )


def copy_job_of(row: Row[Any]) -> CopyJob:
    """A row of `copy_jobs`."""
    return CopyJob(
        job_id=row.job_id,
        bucket=row.bucket,
        key=row.key.decode(),
        state=CopyState(row.state),
        attempts=row.attempts,
        not_before_s=row.not_before_s,
        anonymous_read=row.anonymous_read,
        reason=row.reason,
    )


def _json(values: Mapping[str, str]) -> str:
    # Escaped to ASCII: so a NUL or a lone surrogate in a header survives every database's idea of text.
    return json.dumps(dict(values), separators=(",", ":"))
