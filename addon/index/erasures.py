"""Transactions and questions of erasing. Each function runs within one transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import (
    ColumnElement,
    Connection,
    case,
    delete,
    exists,
    false,
    func,
    insert,
    or_,
    select,
    tuple_,
    union_all,
    update,
)

from addon.index.copies import REASON_CHARS_MAX
from addon.index.rows import document_of
from addon.index.tables import (
    document_copies,
    document_file_ids,
    documents,
    erasures,
    extents,
    packs_under_way,
    part_extents,
    snapshots,
    uploads,
)
from addon.store.erasing import DoomedDocument, ErasurePlan, ErasureTerms, LiveExtent, PartlyDeadDocument
from addon.store.migration import Amount
from addon.store.records import Document

_IS_GARBAGE = documents.c.garbage_since_s.is_not(None)
# What waits on the local disk is not in Telegram; who sends it clears it away.
_IS_IN_TELEGRAM = documents.c.file_id != ""


def plan(connection: Connection, terms: ErasureTerms, now_s: float) -> ErasurePlan:
    """See `ErasureIndex.erasure_plan`."""
    kind = case(
        (documents.c.only_tells.is_(True), "for states"),
        (_is_too_young(terms, now_s), "too young"),
        (_is_in_packs(connection), "in packs"),
        (_is_kept_by_snapshots(terms), "for snapshots"),
        (_rests(now_s), "failed"),
        else_="erasable",
    )
    rows = connection.execute(
        select(kind, func.count(), func.sum(documents.c.size)).where(_IS_GARBAGE, _IS_IN_TELEGRAM).group_by(kind)
    )
    garbage = {name: Amount(count, int(size)) for name, count, size in rows}
    count, size, dead_bytes = connection.execute(
        select(func.count(), func.sum(documents.c.size), func.sum(documents.c.dead_bytes)).where(*_is_partly_dead(0.0))
    ).one()
    return ErasurePlan(
        erasable=garbage.get("erasable", Amount()),
        too_young=garbage.get("too young", Amount()),
        in_packs=garbage.get("in packs", Amount()),
        for_snapshots=garbage.get("for snapshots", Amount()),
        failed=garbage.get("failed", Amount()),
        for_states=garbage.get("for states", Amount()),
        partly_dead=Amount(count, int(size or 0)),
        dead_bytes=int(dead_bytes or 0),
        live_bytes=_live_bytes(connection),
    )


def begin(
    connection: Connection, terms: ErasureTerms, now_s: float, lease_s: float, limit: int
) -> list[DoomedDocument]:
    """See `ErasureIndex.begin_erasures`."""
    rows = connection.execute(
        select(documents)
        .where(
            _IS_GARBAGE,
            _IS_IN_TELEGRAM,
            documents.c.only_tells.is_(False),
            ~_is_too_young(terms, now_s),
            ~_is_in_packs(connection),
            ~_is_kept_by_snapshots(terms),
            ~_rests(now_s),
            ~_is_leased(now_s),
        )
        .order_by(documents.c.garbage_since_s, documents.c.created_at_s, documents.c.document_id)
        .limit(limit)
    ).all()
    for row in rows:
        lease: dict[str, object] = {"leased_until_s": now_s + lease_s, "reason": "", "ended_at_s": None}
        here = erasures.c.document_id == row.document_id
        if not connection.execute(update(erasures).where(here).values(lease)).rowcount:
            connection.execute(insert(erasures).values(document_id=row.document_id, size=row.size, **lease))
    copies = _copies_of(connection, [document_of(row) for row in rows])
    return [DoomedDocument(document_of(row), tuple(copies[row.document_id]), bool(row.tells_states)) for row in rows]


def end(connection: Connection, document_id: str, now_s: float) -> None:
    """See `ErasureIndex.end_erasure`. Its foreign keys refuse what no fence may let happen: that an extent refers to it."""
    for table in (document_copies, document_file_ids):
        connection.execute(delete(table).where(table.c.document_id == document_id))
    connection.execute(delete(documents).where(documents.c.document_id == document_id, _IS_GARBAGE))
    connection.execute(
        update(erasures)
        .where(erasures.c.document_id == document_id)
        .values(leased_until_s=now_s, reason="", ended_at_s=now_s)
    )


def put_off(connection: Connection, document_id: str, until_s: float, reason: str) -> None:
    """See `ErasureIndex.put_off_erasure`."""
    connection.execute(
        update(erasures)
        .where(erasures.c.document_id == document_id, erasures.c.ended_at_s.is_(None))
        .values(leased_until_s=until_s, reason=reason[:REASON_CHARS_MAX])
    )


def end_rests(connection: Connection, now_s: float) -> None:
    """See `ErasureIndex.end_rests`."""
    connection.execute(
        update(erasures).where(erasures.c.reason != "", erasures.c.ended_at_s.is_(None)).values(leased_until_s=now_s)
    )


def erased_after(connection: Connection, at_s: float, document_id: str, limit: int) -> list[tuple[float, str]]:
    """See `ErasureIndex.erased_after`."""
    place = tuple_(erasures.c.ended_at_s, erasures.c.document_id)
    rows = connection.execute(
        select(erasures.c.ended_at_s, erasures.c.document_id)
        .where(erasures.c.ended_at_s.is_not(None), erasures.c.ended_at_s >= at_s, place > tuple_(at_s, document_id))
        .order_by(erasures.c.ended_at_s, erasures.c.document_id)
        .limit(limit)
    )
    return [(float(ended_at_s), erased_id) for ended_at_s, erased_id in rows]


def erased_amount(connection: Connection) -> Amount:
    """See `ErasureIndex.erased_amount`."""
    has_ended = erasures.c.ended_at_s.is_not(None)
    count, size = connection.execute(select(func.count(), func.sum(erasures.c.size)).where(has_ended)).one()
    return Amount(count, int(size or 0))


def forget(connection: Connection, before_s: float) -> int:
    """See `ErasureIndex.forget_erasures`."""
    return connection.execute(delete(erasures).where(erasures.c.ended_at_s < before_s)).rowcount


def partly_dead(connection: Connection, share_min: float, after: str, limit: int) -> list[PartlyDeadDocument]:
    """See `ErasureIndex.partly_dead`."""
    rows = connection.execute(
        select(documents)
        .where(*_is_partly_dead(share_min), documents.c.document_id > after)
        .order_by(documents.c.document_id)
        .limit(limit)
    )
    return [PartlyDeadDocument(document_of(row), row.dead_bytes) for row in rows]


def live_extents(connection: Connection, document_id: str) -> list[LiveExtent]:
    """See `ErasureIndex.live_extents`."""
    of_objects = select(
        extents.c.bucket, extents.c.key, extents.c.offset, extents.c.length, extents.c.block_sha256s
    ).where(extents.c.document_id == document_id)
    of_parts = (
        select(
            uploads.c.bucket, uploads.c.key, part_extents.c.offset, part_extents.c.length, part_extents.c.block_sha256s
        )
        .select_from(part_extents.join(uploads, uploads.c.upload_id == part_extents.c.upload_id))
        .where(part_extents.c.document_id == document_id)
    )
    rows = connection.execute(union_all(of_objects, of_parts))
    found = [LiveExtent(row.bucket, bytes(row.key).decode(), row.offset, row.length, bytes(row[4])) for row in rows]
    return sorted(found, key=lambda extent: (extent.offset, extent.length))


def states_documents(connection: Connection) -> list[Document]:
    """See `ErasureIndex.states_documents`."""
    rows = connection.execute(
        select(documents)
        .where(_IS_GARBAGE, _IS_IN_TELEGRAM, documents.c.only_tells.is_(True), ~_is_in_packs(connection))
        .order_by(documents.c.created_at_s, documents.c.document_id)
    )
    return [document_of(row) for row in rows]


def told_elsewhere(connection: Connection, document_ids: Sequence[str]) -> None:
    """See `ErasureIndex.told_elsewhere`."""
    for document_id in document_ids:
        connection.execute(update(documents).where(documents.c.document_id == document_id).values(tells_states=False))


def doom(connection: Connection, document_ids: Sequence[str]) -> None:
    """See `ErasureIndex.doom`: they are garbage like any other from now on."""
    for document_id in document_ids:
        connection.execute(
            update(documents)
            .where(documents.c.document_id == document_id, _IS_GARBAGE, documents.c.only_tells.is_(True))
            .values(only_tells=False)
        )


def _is_partly_dead(share_min: float) -> Sequence[ColumnElement[bool]]:
    return (
        documents.c.dead_bytes > 0,
        documents.c.dead_bytes >= documents.c.size * share_min,
        documents.c.garbage_since_s.is_(None),
        _IS_IN_TELEGRAM,
    )


def _live_bytes(connection: Connection) -> int:
    """Of partly dead documents: what extents cover; bytes that several share are counted for each."""
    among = select(documents.c.document_id).where(*_is_partly_dead(0.0))
    lengths = union_all(
        *(select(table.c.length).where(table.c.document_id.in_(among)) for table in (extents, part_extents))
    ).subquery()
    return int(connection.execute(select(func.sum(lengths.c.length))).scalar_one() or 0)


def _is_too_young(terms: ErasureTerms, now_s: float) -> ColumnElement[bool]:
    """Somebody may read it still, or an upload come to use it."""
    return documents.c.garbage_since_s > now_s - terms.grace_s


def _is_in_packs(connection: Connection) -> ColumnElement[bool]:
    """Of a pack that is under way everything may have been deleted that was committed so far, and the rest comes yet."""
    began_at_s = connection.execute(select(func.min(packs_under_way.c.began_at_s))).scalar_one()
    return false() if began_at_s is None else documents.c.created_at_s >= began_at_s


def _is_kept_by_snapshots(terms: ErasureTerms) -> ColumnElement[bool]:
    """It was in use at some time between a snapshot's beginning and its end, when the index was copied."""
    if terms.kept_since_s is None:
        return false()
    ended_at_s = snapshots.c.taken_at_s
    return exists().where(
        snapshots.c.began_at_s <= documents.c.garbage_since_s,
        or_(ended_at_s.is_(None), ended_at_s >= documents.c.created_at_s),
        func.coalesce(ended_at_s, snapshots.c.began_at_s) >= terms.kept_since_s,
    )


def _rests(now_s: float) -> ColumnElement[bool]:
    return exists().where(
        erasures.c.document_id == documents.c.document_id,
        erasures.c.leased_until_s > now_s,
        erasures.c.reason != "",
    )


def _is_leased(now_s: float) -> ColumnElement[bool]:
    return exists().where(
        erasures.c.document_id == documents.c.document_id,
        erasures.c.leased_until_s > now_s,
        erasures.c.reason == "",
    )


def _copies_of(connection: Connection, originals: Sequence[Document]) -> dict[str, list[Document]]:
    found: dict[str, list[Document]] = defaultdict(list)
    known = {document.document_id: document for document in originals}
    for row in connection.execute(select(document_copies).where(document_copies.c.document_id.in_(sorted(known)))):
        copy = replace(
            known[row.document_id],
            chat_id=row.chat_id,
            message_id=row.message_id,
            bot_id=row.bot_id,
            file_id=row.file_id,
        )
        found[row.document_id].append(copy)
    return found
