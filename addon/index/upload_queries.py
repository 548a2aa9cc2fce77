"""Everything that only reads multipart uploads."""

from __future__ import annotations

import json

from sqlalchemy import Connection, and_, bindparam, select, tuple_

from addon.index.listings import end_of
from addon.index.rows import document_of, key_bytes, upload_of
from addon.index.tables import UPLOAD_COMPLETED, UPLOAD_OPEN, documents, part_extents, parts, uploads
from addon.store.multipart import CompletedUpload, MultipartUpload, PartFacts
from addon.store.ports import UploadGone
from addon.store.records import Extent

_UPLOAD = select(uploads).where(uploads.c.upload_id == bindparam("upload_id"), uploads.c.state == bindparam("state"))

# One statement, so that it sees one commit: an upload that is completed just now is not shown as one without parts.
_PARTS = (
    select(parts.c.number, parts.c.size, parts.c.md5_hex, parts.c.checksums, parts.c.modified_at_s, parts.c.generation)
    .select_from(
        uploads.outerjoin(parts, and_(parts.c.upload_id == uploads.c.upload_id, parts.c.number > bindparam("after")))
    )
    .where(uploads.c.upload_id == bindparam("upload_id"), uploads.c.state == UPLOAD_OPEN)
    .order_by(parts.c.number)
    .limit(bindparam("rows"))
)

_PART_EXTENTS = (
    select(part_extents.c.offset, part_extents.c.length, part_extents.c.block_sha256s, documents)
    .select_from(part_extents.join(documents, documents.c.document_id == part_extents.c.document_id))
    .where(part_extents.c.upload_id == bindparam("upload_id"), part_extents.c.number == bindparam("number"))
    .order_by(part_extents.c.position)
)

_UPLOADS = (
    select(uploads)
    .where(
        uploads.c.state == UPLOAD_OPEN,
        uploads.c.bucket == bindparam("bucket"),
        uploads.c.key >= bindparam("start"),
        uploads.c.key < bindparam("end"),
    )
    .order_by(uploads.c.key, uploads.c.upload_id)
    .limit(bindparam("limit"))
)
_UPLOADS_BEHIND = _UPLOADS.where(
    tuple_(uploads.c.key, uploads.c.upload_id) > tuple_(bindparam("after_key"), bindparam("after_upload_id"))
)


def upload(connection: Connection, upload_id: str) -> MultipartUpload | None:
    """See `Index.upload`."""
    row = connection.execute(_UPLOAD, {"upload_id": upload_id, "state": UPLOAD_OPEN}).one_or_none()
    return None if row is None else upload_of(row)


def completed_upload(connection: Connection, upload_id: str) -> CompletedUpload | None:
    """See `Index.completed_upload`."""
    row = connection.execute(_UPLOAD, {"upload_id": upload_id, "state": UPLOAD_COMPLETED}).one_or_none()
    if row is None:
        return None
    return CompletedUpload(row.bucket, row.key.decode(), row.etag, json.loads(row.checksums), row.request_sha256)


def parts_of(connection: Connection, upload_id: str, after: int, limit: int) -> list[PartFacts]:
    """See `Index.parts`. An upload without such parts gives one row that holds no part."""
    place = {"upload_id": upload_id, "after": after, "rows": max(limit, 1)}
    rows = connection.execute(_PARTS, place).all()
    if not rows:
        raise UploadGone("there is no such upload")
    return [
        PartFacts(number, size, md5_hex, json.loads(checksums), modified_at_s, generation)
        for number, size, md5_hex, checksums, modified_at_s, generation in rows[:limit]
        if number is not None
    ]


def extents_of_part(connection: Connection, upload_id: str, number: int) -> list[Extent]:
    """See `Index.part_extents`."""
    rows = connection.execute(_PART_EXTENTS, {"upload_id": upload_id, "number": number})
    return [Extent(document_of(row), row[0], row[1], bytes(row[2])) for row in rows]


def open_uploads(
    connection: Connection, bucket: str, prefix: str, after_key: str, after_upload_id: str, limit: int
) -> list[MultipartUpload]:
    """See `Index.uploads`."""
    within, passed = key_bytes(prefix), key_bytes(after_key)
    place = {"bucket": bucket, "end": end_of(within), "limit": limit}
    if after_upload_id:
        behind = {"start": max(within, passed), "after_key": passed, "after_upload_id": after_upload_id}
        rows = connection.execute(_UPLOADS_BEHIND, place | behind)
    else:
        rows = connection.execute(_UPLOADS, place | {"start": max(within, passed + b"\0")})
    return [upload_of(row) for row in rows]
