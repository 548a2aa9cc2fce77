"""Rows of the tables to the records that the store knows, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Row

from addon.index.tables import KIND_OBJECT, KIND_TOMBSTONE, UPLOAD_OPEN
from addon.store.multipart import MultipartUpload, NewPart
from addon.store.records import (
    CopyJob,
    CopyState,
    Document,
    DocumentCopy,
    Extent,
    NewObject,
    ObjectRecord,
    Provenance,
    Tombstone,
)

# A statement of SQLite before 3.32 takes 999 parameters.
KEYS_PER_STATEMENT_MAX = 500

# What is leased first: keys that somebody read, then those that a sweep listed.
RANK_OF_READS, RANK_OF_SWEEP = 0, 1

PROVENANCES = {provenance.value: provenance for provenance in Provenance}


def key_bytes(key: str) -> bytes:
    """A key as it is stored. Raises ValueError where the key is not Unicode text (a lone surrogate)."""
    return key.encode()


def key_batches(stored_keys: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Keys in parts that one statement takes."""
    for start in range(0, len(stored_keys), KEYS_PER_STATEMENT_MAX):
        yield list(stored_keys[start : start + KEYS_PER_STATEMENT_MAX])


def object_row(new: NewObject, generation: int, *, parts_count: int = 0, checked_at_s: int = 0) -> dict[str, Any]:
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
        "headers": json_text(new.headers),
        "checksums": json_text(new.checksums),
        "tags": json_text(new.tags),
        "parts_count": parts_count,
        "checked_at_s": checked_at_s,
        "verified_at_s": 0,
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
        "tags": "{}",
        "parts_count": 0,
        "checked_at_s": 0,
        "verified_at_s": 0,
    }


def extent_rows(owner: Mapping[str, Any], extents: Sequence[Extent]) -> list[dict[str, Any]]:
    """The rows of `extents` or `part_extents`; `owner` has the columns that tell whose they are."""
    return [
        {
            **owner,
            "position": position,
            "document_id": extent.document.document_id,
            "offset": extent.offset,
            "length": extent.length,
            "block_sha256s": extent.block_sha256s,
        }
        for position, extent in enumerate(extents)
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
        "key_id": document.key_id,
        "segment_bytes": document.segment_bytes,
        "created_at_s": created_at_s,
        "garbage_since_s": garbage_since_s,
    }


def copy_row(document_id: str, copy: DocumentCopy) -> dict[str, Any]:
    """The row of `document_copies` for a further place of a document."""
    return {
        "document_id": document_id,
        "chat_id": copy.chat_id,
        "message_id": copy.message_id,
        "bot_id": copy.bot_id,
        "file_id": copy.file_id,
    }


def upload_row(upload: MultipartUpload) -> dict[str, Any]:
    """The row of `uploads` for an upload that begins."""
    return {
        "upload_id": upload.upload_id,
        "bucket": upload.bucket,
        "key": key_bytes(upload.key),
        "state": UPLOAD_OPEN,
        "state_since_s": upload.initiated_at_s,
        "anonymous_read": upload.anonymous_read,
        "headers": json_text(upload.headers),
        "tags": json_text(upload.tags),
        "checksum_algorithm": upload.checksum_algorithm,
        "checksum_type": upload.checksum_type,
        "etag": "",
        "checksums": "{}",
        "request_sha256": "",
    }


def part_row(upload_id: str, part: NewPart, generation: int) -> dict[str, Any]:
    """The row of `parts` for a part."""
    return {
        "upload_id": upload_id,
        "number": part.number,
        "generation": generation,
        "size": part.size,
        "md5_hex": part.md5_hex,
        "checksums": json_text(part.checksums),
        "modified_at_s": part.modified_at_s,
    }


def record_of(new: NewObject, generation: int, checked_at_s: int) -> ObjectRecord:
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
        tags=dict(new.tags),
        checked_at_s=checked_at_s,
    )


def key_state_of(bucket: str, key: str, rows: Sequence[Sequence[Any]]) -> ObjectRecord | Tombstone | None:
    """What the rows of `queries.KEY_STATE` say about a key: one row an extent, at least one for an object or tombstone."""
    if not rows:
        return None
    kind, generation, modified_at_s, size, etag, provenance, anonymous_read, headers, checksums = rows[0][:9]
    tags, parts_count, checked_at_s = rows[0][9:12]
    if kind == KIND_TOMBSTONE:
        return Tombstone(bucket, key, generation, modified_at_s)
    return ObjectRecord(
        bucket=bucket,
        key=key,
        generation=generation,
        size=size,
        etag=etag,
        last_modified_s=modified_at_s,
        provenance=PROVENANCES[provenance],
        anonymous_read=bool(anonymous_read),
        headers=json.loads(headers),
        checksums=json.loads(checksums),
        extents=tuple(
            Extent(Document(*row[15:]), row[12], row[13], bytes(row[14])) for row in rows if row[12] is not None
        ),
        tags=json.loads(tags),
        parts_count=parts_count,
        checked_at_s=checked_at_s,
    )


def object_without_extents_of(row: Row[Any]) -> ObjectRecord:
    """A row of `keys` that is an object; its extents are rows of their own."""
    return ObjectRecord(
        bucket=row.bucket,
        key=row.key.decode(),
        generation=row.generation,
        size=row.size,
        etag=row.etag,
        last_modified_s=row.modified_at_s,
        provenance=PROVENANCES[row.provenance],
        anonymous_read=bool(row.anonymous_read),
        headers=json.loads(row.headers),
        checksums=json.loads(row.checksums),
        tags=json.loads(row.tags),
        parts_count=row.parts_count,
        checked_at_s=row.checked_at_s,
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
        key_id=row.key_id,
        segment_bytes=row.segment_bytes,
    )


def upload_of(row: Row[Any]) -> MultipartUpload:
    """A row of `uploads` that is open."""
    return MultipartUpload(
        upload_id=row.upload_id,
        bucket=row.bucket,
        key=row.key.decode(),
        initiated_at_s=row.state_since_s,
        headers=json.loads(row.headers),
        anonymous_read=row.anonymous_read,
        tags=json.loads(row.tags),
        checksum_algorithm=row.checksum_algorithm,
        checksum_type=row.checksum_type,
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
        size=row.size,
        swept=row.rank != RANK_OF_READS,
    )


def json_text(values: Mapping[str, str]) -> str:
    """Headers, checksums or tags as they are stored.

    Escaped to ASCII: so a NUL or a lone surrogate in a header survives every database's idea of text.
    """
    return json.dumps(dict(values), separators=(",", ":"))
