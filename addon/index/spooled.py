"""Queries and transactions on documents that wait on the local disk, which have no file_id. Each function runs within one
transaction."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, func, select, tuple_

from addon.index.rows import document_of
from addon.index.tables import IS_SPOOLED, documents, extents, part_extents, uploads
from addon.store.spool_index import Backlog, SpooledDocument, SpooledPiece

# A statement of SQLite before 3.32 takes 999 parameters.
IDS_PER_STATEMENT_MAX = 500

# One piece that needs the document, of an object before that of a part; the longest.
_PIECE_OF_OBJECT = select(
    extents.c.bucket, extents.c.key, extents.c.position, extents.c.length, extents.c.block_sha256s
).where(extents.c.document_id == bindparam("here_document_id"))
_PIECE_OF_PART = (
    select(
        uploads.c.bucket,
        uploads.c.key,
        part_extents.c.upload_id,
        part_extents.c.number,
        part_extents.c.position,
        part_extents.c.length,
        part_extents.c.block_sha256s,
    )
    .join(uploads, uploads.c.upload_id == part_extents.c.upload_id)
    .where(part_extents.c.document_id == bindparam("here_document_id"))
)
_FIRST_OF_OBJECT = _PIECE_OF_OBJECT.order_by(extents.c.length.desc(), extents.c.bucket, extents.c.key).limit(1)
_FIRST_OF_PART = _PIECE_OF_PART.order_by(part_extents.c.length.desc(), part_extents.c.upload_id).limit(1)

_BEFORE_IN_OBJECT = select(func.coalesce(func.sum(extents.c.length), 0)).where(
    extents.c.bucket == bindparam("bucket"),
    extents.c.key == bindparam("key"),
    extents.c.position < bindparam("position"),
)
_BEFORE_IN_PART = select(func.coalesce(func.sum(part_extents.c.length), 0)).where(
    part_extents.c.upload_id == bindparam("upload_id"),
    part_extents.c.number == bindparam("number"),
    part_extents.c.position < bindparam("position"),
)


def spooled(connection: Connection, after: tuple[float, str], limit: int) -> list[SpooledDocument]:
    """See `SpoolIndex.spooled`."""
    rows = connection.execute(
        select(documents)
        .where(
            IS_SPOOLED,
            documents.c.garbage_since_s.is_(None),
            tuple_(documents.c.created_at_s, documents.c.document_id) > tuple_(*after),
        )
        .order_by(documents.c.created_at_s, documents.c.document_id)
        .limit(limit)
    )
    return [SpooledDocument(document_of(row), row.created_at_s) for row in rows]


def spooled_piece(connection: Connection, document_id: str) -> SpooledPiece | None:
    """See `SpoolIndex.spooled_piece`."""
    for first, before in ((_FIRST_OF_OBJECT, _BEFORE_IN_OBJECT), (_FIRST_OF_PART, _BEFORE_IN_PART)):
        piece = connection.execute(first, {"here_document_id": document_id}).one_or_none()
        if piece is not None:
            offset = connection.execute(before, dict(piece._mapping)).scalar_one()
            key, sha256s = bytes(piece.key).decode(), bytes(piece.block_sha256s)
            return SpooledPiece(piece.bucket, key, int(offset), piece.length, sha256s)
    return None


def spooled_garbage(connection: Connection, limit: int) -> list[str]:
    """See `SpoolIndex.spooled_garbage`."""
    statement = select(documents.c.document_id).where(IS_SPOOLED, documents.c.garbage_since_s.is_not(None))
    return list(connection.execute(statement.limit(limit)).scalars())


def drop_spooled(connection: Connection, document_ids: Sequence[str]) -> frozenset[str]:
    """See `SpoolIndex.drop_spooled`."""
    named: set[str] = set()
    ids = iter(document_ids)
    while batch := list(itertools.islice(ids, IDS_PER_STATEMENT_MAX)):
        among = IS_SPOOLED & documents.c.document_id.in_(batch)
        connection.execute(delete(documents).where(among, documents.c.garbage_since_s.is_not(None)))
        named.update(connection.execute(select(documents.c.document_id).where(among)).scalars())
    return frozenset(document_ids) - named


def backlog(connection: Connection) -> Backlog:
    """See `SpoolIndex.backlog`."""
    columns = func.count(), func.sum(documents.c.size), func.min(documents.c.created_at_s)
    count, size, oldest_at_s = connection.execute(
        select(*columns).where(IS_SPOOLED, documents.c.garbage_since_s.is_(None))
    ).one()
    return Backlog(count, int(size or 0), oldest_at_s)
