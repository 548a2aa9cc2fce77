"""Transactions that tell of bytes that lie in another document now. Each function runs within one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Table, bindparam, update

from addon.index import documents
from addon.index.tables import extents, part_extents
from addon.store.records import Extent, Move


def relocate(connection: Connection, moves: Sequence[Move], now_s: float) -> int:
    """See `Relocations.relocate`."""
    # Known as garbage until an extent refers to them, because nothing may be left that does.
    documents.add_documents(connection, [move.to for move in moves], now_s)
    moved = 0
    for move in moves:
        count = sum(_relocate_in(connection, table, move) for table in (extents, part_extents))
        if count:
            documents.take_into_use(connection, [Extent(move.to, move.to_offset, move.length, b"")], now_s)
        moved += count
    left = [documents.Freed(move.from_document_id, move.offset, move.length) for move in moves]
    # What died while it was being moved is dead at its new place.
    taken = [documents.Freed(move.to.document_id, move.to_offset, move.length) for move in moves]
    documents.let_go(connection, [*left, *taken], now_s)
    return moved


def _relocate_in(connection: Connection, table: Table, move: Move) -> int:
    """Extents that are a part of what was moved keep their place in it."""
    columns = table.c
    statement = (
        update(table)
        .where(
            columns.document_id == bindparam("from_document_id"),
            columns.offset >= bindparam("first"),
            columns.offset + columns.length <= bindparam("end"),
        )
        .values(document_id=bindparam("to_document_id"), offset=columns.offset + bindparam("by"))
    )
    return connection.execute(
        statement,
        {
            "from_document_id": move.from_document_id,
            "first": move.offset,
            "end": move.offset + move.length,
            "to_document_id": move.to.document_id,
            "by": move.to_offset - move.offset,
        },
    ).rowcount
