"""Transactions on documents. Each function runs within one transaction.

A document is garbage while no extent, of an object or of a part, refers to it. Whoever adds extents takes their documents into use
first; whoever removes extents lets their documents go afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import BindParameter, Connection, bindparam, exists, insert, select, union_all, update

from addon.index.rows import KEYS_PER_STATEMENT_MAX as IDS_PER_STATEMENT_MAX
from addon.index.rows import copy_row, document_row
from addon.index.tables import document_copies, document_file_ids, documents, erasures, extents, part_extents
from addon.store.byte_ranges import Range, covered_bytes, uncovered_bytes
from addon.store.ports import SourceChanged
from addon.store.records import Document, Extent

_TAKE_INTO_USE = (
    update(documents)
    .where(
        documents.c.document_id == bindparam("here_document_id"),
        ~exists().where(erasures.c.document_id == documents.c.document_id),
    )
    .values(garbage_since_s=None)
)
_LET_GO = (
    update(documents)
    .where(
        documents.c.document_id == bindparam("here_document_id"),
        ~exists().where(extents.c.document_id == documents.c.document_id),
        ~exists().where(part_extents.c.document_id == documents.c.document_id),
    )
    .values(garbage_since_s=bindparam("now_s"), dead_bytes=documents.c.dead_bytes + bindparam("freed_bytes"))
)
_AMONG: BindParameter[list[str]] = bindparam("here_document_ids", expanding=True)
_IN_USE_AMONG = select(documents.c.document_id).where(
    documents.c.document_id.in_(_AMONG), documents.c.garbage_since_s.is_(None)
)
_RANGES = union_all(
    *(
        select(table.c.offset, table.c.length).where(table.c.document_id == bindparam("here_document_id"))
        for table in (extents, part_extents)
    )
)
_COUNT_DEAD = (
    update(documents)
    .where(documents.c.document_id == bindparam("here_document_id"))
    .values(dead_bytes=documents.c.dead_bytes + bindparam("freed_bytes"))
)
_IS_ERASED = select(erasures.c.document_id).where(erasures.c.document_id == bindparam("here_document_id"))
_BRING_FORWARD = (
    update(documents)
    .where(documents.c.document_id == bindparam("here_document_id"), documents.c.garbage_since_s > bindparam("from_s"))
    .values(garbage_since_s=bindparam("from_s"))
)
_IS_KNOWN = select(documents.c.document_id).where(documents.c.document_id == bindparam("here_document_id"))


class Freed(NamedTuple):
    """Bytes of a document that an extent covered until now."""

    document_id: str
    offset: int
    length: int


def add_documents(connection: Connection, added: Sequence[Document], now_s: float, used_within_s: float = 0.0) -> None:
    """See `Index.add_documents`. A document that is known already stays as it is, but that it may be garbage earlier."""
    from_s = now_s + used_within_s
    for document in _distinct(added):
        here = {"here_document_id": document.document_id}
        if connection.execute(_IS_KNOWN, here).one_or_none() is None:
            _insert(connection, document, now_s, garbage_since_s=from_s)
        else:
            connection.execute(_BRING_FORWARD, here | {"from_s": from_s})


def give_up(connection: Connection, unused: Sequence[Extent], now_s: float) -> None:
    """See `Index.give_up`."""
    add_documents(connection, [extent.document for extent in unused], now_s)
    let_go(connection, [Freed(extent.document.document_id, extent.offset, extent.length) for extent in unused], now_s)


def _insert(connection: Connection, document: Document, now_s: float, *, garbage_since_s: float | None) -> None:
    connection.execute(insert(documents), document_row(document, created_at_s=now_s, garbage_since_s=garbage_since_s))
    for copy in document.copies:
        connection.execute(insert(document_copies), copy_row(document.document_id, copy))


def update_file_id(connection: Connection, document_id: str, bot_id: int, file_id: str) -> None:
    """See `Index.update_file_id`."""
    here = documents.c.document_id == document_id
    owner = connection.execute(select(documents.c.bot_id).where(here)).scalar()
    if owner == bot_id:
        connection.execute(update(documents).where(here).values(file_id=file_id))
    elif owner is not None:
        known = (document_file_ids.c.document_id == document_id) & (document_file_ids.c.bot_id == bot_id)
        if not connection.execute(update(document_file_ids).where(known).values(file_id=file_id)).rowcount:
            row = {"document_id": document_id, "bot_id": bot_id, "file_id": file_id}
            connection.execute(insert(document_file_ids), row)


def take_into_use(connection: Connection, used: Iterable[Extent], now_s: float) -> None:
    """Record the documents of these extents where they are not known, and see that they are not garbage. Raises SourceChanged
    where one is being erased, or was: whoever still has it read of it too long ago."""
    for document in _distinct(extent.document for extent in used):
        here = {"here_document_id": document.document_id}
        if connection.execute(_TAKE_INTO_USE, here).rowcount:
            continue
        if connection.execute(_IS_ERASED, here).one_or_none() is not None:
            raise SourceChanged("a document of the object was erased in the meantime")
        _insert(connection, document, now_s, garbage_since_s=None)


def let_go(connection: Connection, freed: Iterable[Freed], now_s: float) -> None:
    """Documents that no extent refers to any more become garbage; in the others it is counted what none covers any more."""
    ranges: dict[str, list[Range]] = {}
    for document_id, offset, length in freed:
        ranges.setdefault(document_id, []).append((offset, length))
    if not ranges:
        return
    connection.execute(
        _LET_GO,
        [
            {"here_document_id": document_id, "now_s": now_s, "freed_bytes": covered_bytes(ranges[document_id])}
            for document_id in sorted(ranges)
        ],
    )
    for document_id in _in_use_among(connection, sorted(ranges)):
        here = {"here_document_id": document_id}
        covered = [(row.offset, row.length) for row in connection.execute(_RANGES, here)]
        dead_bytes = uncovered_bytes(ranges[document_id], covered)
        if dead_bytes:
            connection.execute(_COUNT_DEAD, here | {"freed_bytes": dead_bytes})


def _in_use_among(connection: Connection, document_ids: Sequence[str]) -> list[str]:
    found: list[str] = []
    for start in range(0, len(document_ids), IDS_PER_STATEMENT_MAX):
        among = {"here_document_ids": document_ids[start : start + IDS_PER_STATEMENT_MAX]}
        found += connection.execute(_IN_USE_AMONG, among).scalars()
    return found


def _distinct(given: Iterable[Document]) -> Iterable[Document]:
    return {document.document_id: document for document in given}.values()
