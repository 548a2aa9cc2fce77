"""Transactions and questions on the places of documents. Each function runs within one transaction."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, exists, func, insert, or_, select, update

from addon.index.documents import update_file_id
from addon.index.rows import copy_row, document_of
from addon.index.tables import document_copies, document_file_ids, documents, erasures, telegram_chats
from addon.store.migration import Amount
from addon.store.records import Document, DocumentCopy
from addon.store.second_copies import Kept, Ways

_COPIES = document_copies.c
_COPIES_OF = (
    select(_COPIES.chat_id, _COPIES.message_id, _COPIES.bot_id, _COPIES.file_id)
    .where(_COPIES.document_id == bindparam("here_document_id"))
    .order_by(_COPIES.chat_id)
)
_FILE_IDS_OF = select(document_file_ids.c.bot_id, document_file_ids.c.file_id).where(
    document_file_ids.c.document_id == bindparam("here_document_id")
)
_IS_IN_USE = and_(
    documents.c.garbage_since_s.is_(None),
    # What waits on the local disk is not in Telegram.
    documents.c.file_id != "",
    ~exists().where(erasures.c.document_id == documents.c.document_id),
)


def ways_to(connection: Connection, document_id: str) -> Ways:
    """See `WaysIndex.ways_to`."""
    here = {"here_document_id": document_id}
    copies = [DocumentCopy(*row) for row in connection.execute(_COPIES_OF, here)]
    return Ways(copies, [(bot_id, file_id) for bot_id, file_id in connection.execute(_FILE_IDS_OF, here)])


def lacking(connection: Connection, chats: Collection[int], wanted: int, after: str, limit: int) -> list[Kept]:
    """See `WaysIndex.lacking`."""
    rows = connection.execute(
        select(documents)
        .where(_IS_IN_USE, documents.c.document_id > after, _lacks(chats, wanted))
        .order_by(documents.c.document_id)
        .limit(limit)
    ).all()
    return [Kept(document_of(row), ways_to(connection, row.document_id)) for row in rows]


def lacking_amount(connection: Connection, chats: Collection[int], wanted: int) -> Amount:
    """See `WaysIndex.lacking_amount`."""
    counted = select(func.count(), func.sum(documents.c.size)).where(_IS_IN_USE, _lacks(chats, wanted))
    count, size = connection.execute(counted).one()
    return Amount(count, int(size or 0))


def add_copy(connection: Connection, document_id: str, copy: DocumentCopy) -> bool:
    """See `WaysIndex.add_copy`."""
    in_use = select(documents.c.chat_id).where(documents.c.document_id == document_id, _IS_IN_USE)
    address_chat_id = connection.execute(in_use).scalar()
    known = select(_COPIES.chat_id).where(_COPIES.document_id == document_id, _COPIES.chat_id == copy.chat_id)
    if address_chat_id in (None, copy.chat_id) or connection.execute(known).one_or_none() is not None:
        return False
    connection.execute(insert(document_copies), copy_row(document_id, copy))
    return True


def move_address(connection: Connection, document: Document, to: DocumentCopy, *, keep_former: bool) -> bool:
    """See `WaysIndex.move_address`. The file_id stays with the bot that it belongs to, where the new address has none."""
    here = and_(
        documents.c.document_id == document.document_id,
        documents.c.chat_id == document.chat_id,
        documents.c.message_id == document.message_id,
    )
    values: dict[str, object] = {"chat_id": to.chat_id, "message_id": to.message_id}
    if to.file_id:
        values |= {"bot_id": to.bot_id, "file_id": to.file_id}
    if to not in ways_to(connection, document.document_id).copies:
        return False
    if not connection.execute(update(documents).where(here).values(values)).rowcount:
        return False
    forget_copy_in(connection, document.document_id, to)
    if to.file_id:
        update_file_id(connection, document.document_id, document.bot_id, document.file_id)
    if keep_former and document.has_message:
        former = DocumentCopy(document.chat_id, document.message_id, document.bot_id, document.file_id)
        connection.execute(insert(document_copies), copy_row(document.document_id, former))
    return True


def forget_copy_in(connection: Connection, document_id: str, copy: DocumentCopy) -> None:
    """See `WaysIndex.forget_copy_in`."""
    connection.execute(
        delete(document_copies).where(
            _COPIES.document_id == document_id,
            _COPIES.chat_id == copy.chat_id,
            _COPIES.message_id == copy.message_id,
        )
    )


def moved_chats(connection: Connection) -> dict[int, int]:
    """See `WaysIndex.moved_chats`."""
    return {row.chat_id: row.moved_to for row in connection.execute(select(telegram_chats))}


def _lacks(chats: Collection[int], wanted: int) -> ColumnElement[bool]:
    counting = sorted(chats)
    copies = (
        select(func.count())
        .select_from(document_copies)
        .where(
            _COPIES.document_id == documents.c.document_id,
            _COPIES.chat_id.in_(counting),
            _COPIES.chat_id != documents.c.chat_id,
        )
        .scalar_subquery()
    )
    has_no_address = or_(documents.c.chat_id.not_in(counting), documents.c.message_id == 0)
    return or_(has_no_address, copies < wanted - 1)
