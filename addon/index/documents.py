"""Transactions on documents. Each function runs within one transaction.

A document is garbage while no extent, of an object or of a part, refers to it. Whoever adds extents takes their documents into use
first; whoever removes extents lets their documents go afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, bindparam, exists, insert, select, update

from addon.index.rows import document_row
from addon.index.tables import documents, extents, part_extents
from addon.store.records import Document, Extent

_TAKE_INTO_USE = (
    update(documents).where(documents.c.document_id == bindparam("here_document_id")).values(garbage_since_s=None)
)
_LET_GO = (
    update(documents)
    .where(
        documents.c.document_id == bindparam("here_document_id"),
        ~exists().where(extents.c.document_id == documents.c.document_id),
        ~exists().where(part_extents.c.document_id == documents.c.document_id),
    )
    .values(garbage_since_s=bindparam("now_s"))
)
_OTHER_PART_EXTENTS = part_extents.alias()
# While the upload's own extents are still there: what is left of its documents without them.
_LET_GO_OF_UPLOAD = (
    update(documents)
    .where(
        documents.c.document_id.in_(
            select(part_extents.c.document_id).where(part_extents.c.upload_id == bindparam("here_upload_id"))
        ),
        ~exists().where(extents.c.document_id == documents.c.document_id),
        ~exists().where(
            _OTHER_PART_EXTENTS.c.document_id == documents.c.document_id,
            _OTHER_PART_EXTENTS.c.upload_id != bindparam("here_upload_id"),
        ),
    )
    .values(garbage_since_s=bindparam("now_s"))
)
_IS_KNOWN = select(documents.c.document_id).where(documents.c.document_id == bindparam("here_document_id"))


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


def take_into_use(connection: Connection, used: Iterable[Extent], now_s: float) -> None:
    """Record the documents of these extents where they are not known, and see that they are not garbage."""
    for document in _distinct(extent.document for extent in used):
        if not connection.execute(_TAKE_INTO_USE, {"here_document_id": document.document_id}).rowcount:
            connection.execute(insert(documents), document_row(document, created_at_s=now_s, garbage_since_s=None))


def let_go(connection: Connection, document_ids: Sequence[str], now_s: float) -> None:
    """Those that no extent refers to any more become garbage."""
    if document_ids:
        connection.execute(_LET_GO, [{"here_document_id": document_id, "now_s": now_s} for document_id in document_ids])


def let_go_of_upload(connection: Connection, upload_id: str, now_s: float) -> None:
    """Documents of an upload to which nothing else refers become garbage; to be followed by the removal of its extents."""
    connection.execute(_LET_GO_OF_UPLOAD, {"here_upload_id": upload_id, "now_s": now_s})


def _distinct(given: Iterable[Document]) -> Iterable[Document]:
    return {document.document_id: document for document in given}.values()
