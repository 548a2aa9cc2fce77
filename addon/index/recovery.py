"""Transactions on an index that is being recovered: remembering what messages had, and making objects of it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, Table, delete, func, insert, select, union_all, update

from addon.index.recovery_tables import chats, counts, found_documents, items, notes, packs, plans, states
from addon.index.rows import document_row, key_bytes
from addon.index.snapshots import adopt_identity, known_snapshots, save_snapshot
from addon.index.tables import COUNTER_NAME, counters, document_copies, documents, packs_under_way
from addon.store.pack_format import ItemKind, Pack
from addon.store.records import Document
from addon.store.recovered_keys import Baseline
from addon.store.recovery_index import ChatProgress, Chunk, FoundDocument, RecoveryPlan
from addon.store.snapshot_format import Snapshot, SnapshotPart, read_snapshot, snapshot_text
from addon.store.told_states import ToldState, state_text

_THE_PLAN = 1
# Of what cannot be read so much is named.
NOTES_MAX = 1000
# Numbers that were given, and that nothing tells of: that many at most.
NUMBERS_AHEAD = 100_000
# What was sent so long before the first unsettled pack was numbered is not read again.
REREAD_S = 600.0


def begin(connection: Connection, plan: RecoveryPlan) -> None:
    """See `RecoveryIndex.begin`."""
    text = None
    if plan.snapshot is not None:
        one = plan.snapshot
        text = json.dumps([one.snapshot_id, one.began_at_s, one.taken_at_s, one.objects, one.size, snapshot_text(one)])
        save_snapshot(connection, one)
    if plan.identity is not None:
        adopt_identity(connection, plan.identity)
    row = {
        "plan_id": _THE_PLAN,
        "snapshot": text,
        "number": plan.baseline.number,
        "under_way": json.dumps(sorted(plan.baseline.under_way)),
        "number_floor": max(plan.number_floor, plan.baseline.number),
        "identity": plan.identity,
    }
    connection.execute(insert(plans), row)
    for chat in plan.chats:
        chat_row = {"chat_id": chat.chat_id, "first": chat.first, "next": chat.next, "last": chat.last}
        connection.execute(insert(chats), chat_row)


def plan_of(connection: Connection) -> RecoveryPlan | None:
    """See `RecoveryIndex.plan`."""
    row = connection.execute(select(plans)).one_or_none()
    if row is None:
        return None
    snapshot = None if row.snapshot is None else read_snapshot(*json.loads(row.snapshot))
    progress = [
        ChatProgress(chat.chat_id, chat.first, chat.next, chat.last)
        for chat in connection.execute(select(chats).order_by(chats.c.chat_id))
    ]
    return RecoveryPlan(snapshot, baseline(connection), row.identity, progress, row.number_floor)


def baseline(connection: Connection) -> Baseline:
    """What the snapshot knows of packs."""
    row = connection.execute(select(plans.c.number, plans.c.under_way)).one_or_none()
    return Baseline() if row is None else Baseline(row.number, frozenset(json.loads(row.under_way)))


def unsettled_at_snapshot(connection: Connection) -> frozenset[int]:
    """The packs that were not settled when the snapshot was taken; asked of a snapshot as it came."""
    return frozenset(connection.execute(select(packs_under_way.c.number)).scalars())


def known_messages(connection: Connection, chat_id: int, first: int, last: int) -> frozenset[int]:
    """See `RecoveryIndex.known_messages`."""
    since_s = connection.execute(select(func.min(packs_under_way.c.began_at_s))).scalar_one()
    since_s = math.inf if since_s is None else since_s - REREAD_S
    ours = documents.c.created_at_s < since_s
    known = union_all(
        select(documents.c.message_id).where(
            documents.c.chat_id == chat_id, documents.c.message_id.between(first, last), ours
        ),
        select(document_copies.c.message_id)
        .join(documents, documents.c.document_id == document_copies.c.document_id)
        .where(document_copies.c.chat_id == chat_id, document_copies.c.message_id.between(first, last), ours),
    )
    found = set(connection.execute(known).scalars())
    for snapshot in known_snapshots(connection):
        found |= {one.message_id for one in snapshot.documents if one.chat_id == chat_id}
    return frozenset(number for number in found if first <= number <= last)


def has_pack(connection: Connection, document_id: str) -> bool:
    """See `RecoveryIndex.has_pack`."""
    return connection.execute(select(packs.c.number).where(packs.c.document_id == document_id)).first() is not None


def add(connection: Connection, chunk: Chunk) -> None:
    """See `RecoveryIndex.add`."""
    for found in chunk.documents:
        if found.mark is None:
            _add_document(connection, found)
        else:
            _add_to_snapshot(connection, found)
    for pack in chunk.packs:
        _add_pack(connection, pack)
    count(connection, "foreign", chunk.foreign)
    count(connection, "holes", chunk.holes)
    for note in chunk.unreadable:
        if connection.execute(select(func.count()).select_from(notes)).scalar_one() < NOTES_MAX:
            connection.execute(insert(notes).prefix_with("OR IGNORE"), {"note": note})
    connection.execute(update(chats).where(chats.c.chat_id == chunk.chat_id).values(next=chunk.next))


def _add_document(connection: Connection, found: FoundDocument) -> None:
    document = found.document
    known = connection.execute(
        select(documents.c.chat_id, documents.c.message_id).where(documents.c.document_id == document.document_id)
    ).one_or_none()
    if known is None:
        connection.execute(
            insert(documents), document_row(document, created_at_s=float(found.sent_at_s), garbage_since_s=None)
        )
        connection.execute(insert(found_documents), {"document_id": document.document_id})
    elif (known.chat_id, known.message_id) == (document.chat_id, document.message_id):
        return
    elif not known.message_id:
        row = document_row(document, created_at_s=float(found.sent_at_s), garbage_since_s=None)
        place = {name: row[name] for name in ("chat_id", "message_id", "bot_id", "file_id", "file_unique_id", "size")}
        connection.execute(update(documents).where(documents.c.document_id == document.document_id).values(place))
    elif known.chat_id == document.chat_id:
        count(connection, "repeated", 1)
    else:
        _add_copy(connection, document)


def _add_copy(connection: Connection, document: Document) -> None:
    row = {
        "document_id": document.document_id,
        "chat_id": document.chat_id,
        "message_id": document.message_id,
        "bot_id": document.bot_id,
        "file_id": document.file_id,
    }
    added = connection.execute(insert(document_copies).prefix_with("OR IGNORE"), row).rowcount
    count(connection, "copies", added)


def _add_to_snapshot(connection: Connection, found: FoundDocument) -> None:
    """A part of a snapshot that is not the one in use: remembered, so that it is cleared away one day."""
    assert found.mark is not None  # noqa: S101 -- the caller looked
    snapshot_id = found.mark.snapshot_id
    known = next((one for one in known_snapshots(connection) if one.snapshot_id == snapshot_id), None)
    known = known or Snapshot(snapshot_id, float(found.sent_at_s), None, 0, 0)
    if (found.document.chat_id, found.document.message_id) in {
        (one.chat_id, one.message_id) for one in known.documents
    }:
        return
    part = SnapshotPart(found.document, found.document.size, "")
    save_snapshot(connection, replace(known, parts=[*known.parts, part]))


def _add_pack(connection: Connection, pack: Pack) -> None:
    head = pack.head
    row = {
        "number": head.number,
        "document_id": head.document_id,
        "settled_up_to": head.settled_up_to,
        "as_of": head.as_of,
        "under_way": json.dumps(sorted(head.under_way)),
    }
    if not connection.execute(insert(packs).prefix_with("OR IGNORE"), row).rowcount:
        return
    for told in pack.states:
        _add_state(connection, told, head.number)
    rows = [
        {
            "number": head.number,
            "position": position,
            "kind": item.about.kind.value,
            "bucket": item.about.bucket,
            "key": key_bytes(item.about.key),
            "offset": item.offset,
        }
        for position, item in enumerate(pack.items)
        if item.about.kind is not ItemKind.MOVED
    ]
    if rows:
        connection.execute(insert(items), rows)
    if pack.states:
        tells = update(documents).where(documents.c.document_id == head.document_id).values(tells_states=True)
        connection.execute(tells)


def _add_state(connection: Connection, told: ToldState, pack_number: int) -> None:
    row = {
        "bucket": told.bucket,
        "key": key_bytes(told.key),
        "telling": told.telling,
        "piece": told.piece,
        "pack_number": pack_number,
        "generation": told.generation,
        "gone": int(told.state is None),
        "text": state_text(told),
    }
    connection.execute(insert(states).prefix_with("OR IGNORE"), row)
    if told.piece == 0 and told.last:
        # A whole state: what is older is of no use any more.
        here = (states.c.bucket == row["bucket"]) & (states.c.key == row["key"])
        older = (states.c.generation < told.generation) | (
            (states.c.generation == told.generation)
            & ((states.c.gone < row["gone"]) | ((states.c.gone == row["gone"]) & (states.c.telling < told.telling)))
        )
        connection.execute(delete(states).where(here, older))


def count(connection: Connection, name: str, by: int) -> None:
    """There were so many more."""
    if by:
        connection.execute(insert(counts).prefix_with("OR IGNORE"), {"name": name, "value": 0})
        connection.execute(update(counts).where(counts.c.name == name).values(value=counts.c.value + by))


def count_of(connection: Connection, name: str) -> int:
    """How many there were."""
    return int(connection.execute(select(counts.c.value).where(counts.c.name == name)).scalar_one_or_none() or 0)


def continue_numbers(connection: Connection) -> None:
    """See `RecoveryIndex.continue_numbers`."""
    highest = max(
        connection.execute(select(func.coalesce(func.max(column), 0))).scalar_one()
        for column in (packs.c.number, packs.c.as_of, states.c.generation, states.c.telling, plans.c.number_floor)
    )
    ahead = highest + NUMBERS_AHEAD
    lower = (counters.c.name == COUNTER_NAME) & (counters.c.value < ahead)
    connection.execute(update(counters).where(lower).values(value=ahead))


def settled_up_to(connection: Connection) -> int:
    """Up to which number all packs are settled and told, as far as any pack says."""
    return int(connection.execute(select(func.coalesce(func.max(packs.c.settled_up_to), 0))).scalar_one())


def unreadable(connection: Connection) -> Sequence[str]:
    """What could not be read."""
    return tuple(connection.execute(select(notes.c.note).order_by(notes.c.note)).scalars())


def how_many(connection: Connection, table: Table) -> int:
    """The rows of a table."""
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())
