"""Transactions on multipart uploads. Each function runs within one transaction.

Completing an upload moves its extents and parts to the object by a few statements, however many there are: nothing is read row by
row but the numbers and generations of the parts, to see that they still are what the completion was computed from.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, exists, func, insert, select, update

from addon.index import conditions, documents, objects
from addon.index.documents import Freed
from addon.index.numbers import next_number
from addon.index.rows import (
    extent_rows,
    json_text,
    key_bytes,
    object_row,
    part_row,
    upload_of,
    upload_row,
)
from addon.index.tables import (
    UPLOAD_COMPLETED,
    UPLOAD_OPEN,
    extents,
    keys,
    object_parts,
    part_extents,
    parts,
    uploads,
)
from addon.store.conditions import WriteCondition
from addon.store.multipart import Completion, MultipartUpload, NewPart
from addon.store.ports import PartsChanged, UploadGone
from addon.store.records import NewObject, ObjectRecord, Provenance

_UPLOAD_HERE = uploads.c.upload_id == bindparam("here_upload_id")
_PARTS_HERE = parts.c.upload_id == bindparam("here_upload_id")
_PART_EXTENTS_HERE = part_extents.c.upload_id == bindparam("here_upload_id")
_PART_HERE = _PARTS_HERE & (parts.c.number == bindparam("here_number"))
_EXTENTS_OF_PART_HERE = _PART_EXTENTS_HERE & (part_extents.c.number == bindparam("here_number"))

_OPEN_UPLOAD = select(uploads).where(_UPLOAD_HERE, uploads.c.state == UPLOAD_OPEN)
_EXISTS = select(uploads.c.upload_id).where(_UPLOAD_HERE, uploads.c.state == UPLOAD_OPEN)
_STORED_PARTS = select(parts.c.number, parts.c.generation, parts.c.size).where(_PARTS_HERE)
_SELECT_RANGES = select(part_extents.c.document_id, part_extents.c.offset, part_extents.c.length)
_RANGES_OF_PART = _SELECT_RANGES.where(_EXTENTS_OF_PART_HERE)
_RANGES_OF_UPLOAD = _SELECT_RANGES.where(_PART_EXTENTS_HERE)

_TO_BUCKET = bindparam("to_bucket", type_=keys.c.bucket.type)
_TO_KEY = bindparam("to_key", type_=keys.c.key.type)
_MOVE_PARTS = insert(object_parts).from_select(
    ["bucket", "key", "number", "size", "checksums"],
    select(_TO_BUCKET, _TO_KEY, parts.c.number, parts.c.size, parts.c.checksums).where(_PARTS_HERE),
)
_DROP_PART = delete(object_parts).where(
    object_parts.c.bucket == bindparam("here_bucket"),
    object_parts.c.key == bindparam("here_key"),
    object_parts.c.number == bindparam("here_number"),
)
# Only the extents of parts that the object has: the others stay behind, and are let go with the upload.
_MOVE_EXTENTS = insert(extents).from_select(
    ["bucket", "key", "position", "document_id", "offset", "length", "block_sha256s"],
    select(
        _TO_BUCKET,
        _TO_KEY,
        func.row_number().over(order_by=[part_extents.c.number, part_extents.c.position]) - 1,
        part_extents.c.document_id,
        part_extents.c.offset,
        part_extents.c.length,
        part_extents.c.block_sha256s,
    )
    .select_from(part_extents.join(object_parts, object_parts.c.number == part_extents.c.number))
    .where(_PART_EXTENTS_HERE, object_parts.c.bucket == _TO_BUCKET, object_parts.c.key == _TO_KEY),
)

_IS_EXPIRED = (
    uploads.c.state == bindparam("state"),
    uploads.c.state_since_s < bindparam("before_s"),
    # A large upload may take longer than that: as long as parts come it is not abandoned. A completed one has none.
    ~exists().where(parts.c.upload_id == uploads.c.upload_id, parts.c.modified_at_s >= bindparam("before_s")),
)
_EXPIRED = (
    select(uploads.c.upload_id)
    .where(*_IS_EXPIRED)
    .order_by(uploads.c.state_since_s, uploads.c.upload_id)
    .limit(bindparam("limit"))
)
_EXPIRED_HERE = select(uploads.c.upload_id).where(_UPLOAD_HERE, *_IS_EXPIRED)


def create_upload(connection: Connection, upload: MultipartUpload) -> None:
    """See `Index.create_upload`."""
    connection.execute(insert(uploads), upload_row(upload))


def put_part(
    connection: Connection, upload_id: str, part: NewPart, now_s: float, source: ObjectRecord | None = None
) -> None:
    """See `Index.put_part`."""
    _refuse_unless_open(connection, upload_id)
    if source is not None:
        objects.refuse_unless_current(connection, source)
        objects.refuse_unless_there(connection, source, part.extents)
    place = {"here_upload_id": upload_id, "here_number": part.number}
    former = [Freed(*row) for row in connection.execute(_RANGES_OF_PART, place)]
    connection.execute(delete(part_extents).where(_EXTENTS_OF_PART_HERE), place)
    connection.execute(delete(parts).where(_PART_HERE), place)
    connection.execute(insert(parts), part_row(upload_id, part, next_number(connection)))
    documents.take_into_use(connection, part.extents, now_s)
    if part.extents:
        owner = {"upload_id": upload_id, "number": part.number}
        connection.execute(insert(part_extents), extent_rows(owner, part.extents))
    documents.let_go(connection, former, now_s)


def complete_upload(
    connection: Connection, completion: Completion, now_s: float, condition: WriteCondition | None = None
) -> ObjectRecord:
    """See `Index.complete_upload`."""
    row = connection.execute(_OPEN_UPLOAD, {"here_upload_id": completion.upload_id}).one_or_none()
    if row is None:
        raise UploadGone("there is no such upload")
    upload = upload_of(row)
    left_out, size = _look_at_parts(connection, completion)
    conditions.refuse_unless(connection, upload.bucket, upload.key, condition)
    former = objects.decide_key(connection, upload.bucket, upload.key)
    new = _object_of(upload, completion, size)
    connection.execute(insert(keys), object_row(new, next_number(connection), parts_count=len(completion.parts)))
    _move(connection, upload, left_out)
    for number in left_out:
        place = {"here_upload_id": upload.upload_id, "here_number": number}
        former += [Freed(*row) for row in connection.execute(_RANGES_OF_PART, place)]
    _remove_parts(connection, upload.upload_id)
    documents.let_go(connection, former, now_s)
    connection.execute(update(uploads).where(_UPLOAD_HERE), _as_completed(completion))
    return objects.current_object(connection, upload.bucket, upload.key)


def abort_upload(connection: Connection, upload_id: str, now_s: float) -> None:
    """See `Index.abort_upload`."""
    _refuse_unless_open(connection, upload_id)
    freed = [Freed(*row) for row in connection.execute(_RANGES_OF_UPLOAD, {"here_upload_id": upload_id})]
    _remove_parts(connection, upload_id)
    documents.let_go(connection, freed, now_s)
    connection.execute(delete(uploads).where(_UPLOAD_HERE), {"here_upload_id": upload_id})


def expired(connection: Connection, state: str, before_s: float, limit: int) -> list[str]:
    """Ids of the open uploads of which nothing came since that time, or of those completed before it; the oldest ones first."""
    place = {"state": state, "before_s": before_s, "limit": limit}
    return list(connection.execute(_EXPIRED, place).scalars())


def expire_upload(connection: Connection, upload_id: str, before_s: float, now_s: float) -> bool:
    """Abort an upload if it is still open and nothing came of it since that time; returns whether it was."""
    place = {"here_upload_id": upload_id, "state": UPLOAD_OPEN, "before_s": before_s}
    if connection.execute(_EXPIRED_HERE, place).one_or_none() is None:
        return False
    abort_upload(connection, upload_id, now_s)
    return True


def forget_completed(connection: Connection, upload_ids: Sequence[str]) -> int:
    """Forget what these uploads became; returns how many of them were there."""
    return sum(
        connection.execute(
            delete(uploads).where(_UPLOAD_HERE, uploads.c.state == UPLOAD_COMPLETED), {"here_upload_id": upload_id}
        ).rowcount
        for upload_id in upload_ids
    )


def _refuse_unless_open(connection: Connection, upload_id: str) -> None:
    if connection.execute(_EXISTS, {"here_upload_id": upload_id}).one_or_none() is None:
        raise UploadGone("there is no such upload")


def _look_at_parts(connection: Connection, completion: Completion) -> tuple[list[int], int]:
    """The numbers of the parts that were not chosen, and the size of those that were. Raises PartsChanged."""
    stored = {
        number: (generation, size)
        for number, generation, size in connection.execute(_STORED_PARTS, {"here_upload_id": completion.upload_id})
    }
    size = 0
    for part in completion.parts:
        generation, part_size = stored.pop(part.number, (None, 0))
        if generation != part.generation:
            raise PartsChanged("a part was uploaded anew since the completion was computed")
        size += part_size
    return sorted(stored), size


def _move(connection: Connection, upload: MultipartUpload, left_out: Sequence[int]) -> None:
    """Give the object its parts and extents, without those of the numbers `left_out`."""
    key = key_bytes(upload.key)
    place = {"here_upload_id": upload.upload_id, "to_bucket": upload.bucket, "to_key": key}
    connection.execute(_MOVE_PARTS, place)
    if left_out:
        connection.execute(
            _DROP_PART,
            [{"here_bucket": upload.bucket, "here_key": key, "here_number": number} for number in left_out],
        )
    connection.execute(_MOVE_EXTENTS, place)


def _remove_parts(connection: Connection, upload_id: str) -> None:
    connection.execute(delete(part_extents).where(_PART_EXTENTS_HERE), {"here_upload_id": upload_id})
    connection.execute(delete(parts).where(_PARTS_HERE), {"here_upload_id": upload_id})


def _object_of(upload: MultipartUpload, completion: Completion, size: int) -> NewObject:
    return NewObject(
        bucket=upload.bucket,
        key=upload.key,
        size=size,
        etag=completion.etag,
        last_modified_s=completion.last_modified_s,
        provenance=Provenance.WRITTEN_HERE,
        anonymous_read=upload.anonymous_read,
        headers=upload.headers,
        checksums=completion.checksums,
        extents=(),
        tags=upload.tags,
    )


def _as_completed(completion: Completion) -> dict[str, object]:
    """The row of an upload that was completed: what the object took over is not kept twice."""
    return {
        "here_upload_id": completion.upload_id,
        "state": UPLOAD_COMPLETED,
        "state_since_s": completion.last_modified_s,
        "headers": "{}",
        "tags": "{}",
        "etag": completion.etag,
        "checksums": json_text(completion.checksums),
        "request_sha256": completion.request_sha256,
    }
