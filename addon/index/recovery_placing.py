"""Making objects of what was read: the second half of the transactions on an index that is being recovered."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, exists, func, insert, or_, select, update

from addon.index import documents as document_rows
from addon.index import objects, recovery
from addon.index.recovery_tables import found_documents, items, packs, states
from addon.index.rows import document_of, extent_rows, json_text, key_bytes, object_row, tombstone_row
from addon.index.snapshots import facts
from addon.index.tables import (
    documents,
    extents,
    keys,
    object_parts,
    packs_under_way,
    part_extents,
    untold_keys,
)
from addon.store.pack_format import ItemAbout, ItemKind
from addon.store.records import Document, Extent, NewObject, ObjectRecord, Tombstone
from addon.store.recovered_keys import Piece, Telling, UntoldItem, last_item, last_telling, tellings
from addon.store.recovery_index import LostObject, Recovered, StatesPlaced, UnsettledPack
from addon.store.seal_format import content_bytes
from addon.store.told_states import ToldExtent, ToldObject, state_from


def place_states(connection: Connection, after: tuple[str, bytes] | None, limit: int, now_s: float) -> StatesPlaced:
    """See `RecoveryIndex.place_states`."""
    behind = select(states.c.bucket, states.c.key).distinct().order_by(states.c.bucket, states.c.key).limit(limit)
    if after is not None:
        bucket, key = after
        behind = behind.where(or_(states.c.bucket > bucket, and_(states.c.bucket == bucket, states.c.key > key)))
    found = connection.execute(behind).all()
    applied, lost = 0, []
    for bucket, stored_key in found:
        telling = last_telling(_tellings_of(connection, bucket, stored_key), recovery.baseline(connection))
        if telling is None:
            continue
        outcome = _place(connection, telling, now_s)
        if isinstance(outcome, LostObject):
            lost.append(outcome)
        applied += outcome is True
    recovery.count(connection, "states", applied)
    return StatesPlaced((found[-1].bucket, found[-1].key) if found else None, applied, lost)


def _tellings_of(connection: Connection, bucket: str, stored_key: bytes) -> list[Telling]:
    rows = connection.execute(
        select(states.c.text, packs.c.as_of, packs.c.under_way)
        .join(packs, packs.c.number == states.c.pack_number)
        .where(states.c.bucket == bucket, states.c.key == stored_key)
    )
    pieces = [Piece(state_from(json.loads(row.text)), row.as_of, frozenset(json.loads(row.under_way))) for row in rows]
    return tellings(pieces)


def _place(connection: Connection, telling: Telling, now_s: float) -> bool | LostObject:
    """Give a key the state that was told last of it; False where it has it, or a later one, already."""
    told, key = telling.told, key_bytes(telling.told.key)
    here = (keys.c.bucket == told.bucket) & (keys.c.key == key)
    current = connection.execute(select(keys.c.generation).where(here)).scalar_one_or_none()
    if current is not None and current > told.generation:
        return False
    extents_here: list[Extent] = []
    outcome: bool | LostObject = True
    if isinstance(told.state, ToldObject):
        found = resolved(connection, told.state.extents)
        if isinstance(found, list):
            extents_here = found
        else:
            outcome = LostObject(told.bucket, told.key, told.state.record.size, tuple(sorted(found)))
            if current == told.generation:
                # The same object, which the snapshot has in other documents: it is better than none.
                return outcome
    document_rows.let_go(connection, objects.clear_keys(connection, told.bucket, [key]), now_s)
    if outcome is True and isinstance(told.state, Tombstone):
        connection.execute(insert(keys), tombstone_row(told.state))
    elif outcome is True and isinstance(told.state, ToldObject):
        _insert(connection, told.state, extents_here, now_s)
    # It is told: that is where it comes from.
    untold_here = (untold_keys.c.bucket == told.bucket) & (untold_keys.c.key == key)
    connection.execute(delete(untold_keys).where(untold_here))
    return outcome


def _insert(connection: Connection, told: ToldObject, found: Sequence[Extent], now_s: float) -> None:
    record = told.record
    new = _new_of(record, found)
    row = object_row(new, record.generation, parts_count=record.parts_count, checked_at_s=record.checked_at_s)
    connection.execute(insert(keys), row)
    document_rows.take_into_use(connection, found, now_s)
    owner = {"bucket": record.bucket, "key": key_bytes(record.key)}
    if found:
        connection.execute(insert(extents), extent_rows(owner, found))
    if told.parts:
        parts = [
            {**owner, "number": part.number, "size": part.size, "checksums": json_text(part.checksums)}
            for part in told.parts
        ]
        connection.execute(insert(object_parts), parts)


def _new_of(about: ObjectRecord | ItemAbout, found: Sequence[Extent]) -> NewObject:
    return NewObject(
        about.bucket,
        about.key,
        about.size,
        about.etag,
        about.last_modified_s,
        about.provenance,
        about.anonymous_read,
        about.headers,
        about.checksums,
        found,
        about.tags,
    )


def resolved(connection: Connection, told: Sequence[ToldExtent]) -> list[Extent] | set[str]:
    """The extents with their documents; else the ids of those that are not there, or too short."""
    missing: set[str] = set()
    found: list[Extent] = []
    known: dict[str, Document] = {}
    for extent in told:
        document = known.get(extent.document_id)
        if document is None:
            here = documents.c.document_id == extent.document_id
            row = connection.execute(select(documents).where(here)).one_or_none()
            if row is None:
                missing.add(extent.document_id)
                continue
            document = known[extent.document_id] = document_of(row)
        if document.has_message and extent.offset + extent.length > content_bytes(document):
            missing.add(extent.document_id)
        found.append(Extent(document, extent.offset, extent.length, extent.block_sha256s))
    return missing or found


def unsettled_packs(connection: Connection, take_untold: bool) -> Sequence[UnsettledPack]:
    """See `RecoveryIndex.unsettled_packs`."""
    baseline, settled = recovery.baseline(connection), recovery.settled_up_to(connection)
    counts = packs.c.number > settled
    if take_untold:
        counts |= exists().where(items.c.number == packs.c.number, *_is_untold())
    rows = connection.execute(
        select(packs.c.number, documents)
        .join(documents, documents.c.document_id == packs.c.document_id)
        .where(counts)
        .order_by(packs.c.number)
    )
    return [UnsettledPack(row.number, document_of(row)) for row in rows if not baseline.knows_of(row.number)]


def _is_untold() -> tuple[ColumnElement[bool], ...]:
    """Of an item: it is an object, and nothing is known of its key."""
    has_key = exists().where(keys.c.bucket == items.c.bucket, keys.c.key == items.c.key)
    has_state = exists().where(states.c.bucket == items.c.bucket, states.c.key == items.c.key)
    return items.c.kind == ItemKind.OBJECT.value, ~has_key, ~has_state


def place_items(connection: Connection, untold: Sequence[UntoldItem], take_untold: bool, now_s: float) -> int:
    """See `RecoveryIndex.place_items`."""
    baseline, settled = recovery.baseline(connection), recovery.settled_up_to(connection)
    by_key: dict[tuple[str, str], list[UntoldItem]] = {}
    for one in untold:
        by_key.setdefault((one.item.about.bucket, one.item.about.key), []).append(one)
    placed = 0
    for (bucket, key), found in sorted(by_key.items()):
        here = (keys.c.bucket == bucket) & (keys.c.key == key_bytes(key))
        held = connection.execute(select(keys.c.generation).where(here)).scalar_one_or_none() or 0
        tellings_here = _tellings_of(connection, bucket, key_bytes(key))
        is_unknown = take_untold and not held and not tellings_here
        counts_from = 0 if is_unknown else settled
        item = last_item(found, tellings_here, held=held, settled_up_to=counts_from, baseline=baseline)
        if item is not None:
            placed += _place_item(connection, item, now_s)
    recovery.count(connection, "items", placed)
    return placed


def _place_item(connection: Connection, untold: UntoldItem, now_s: float) -> bool:
    item = untold.item
    own = ToldExtent(untold.document_id, item.offset, item.length, item.block_sha256s)
    found = resolved(connection, [*item.about.before, own])
    if not isinstance(found, list):
        return False
    objects.put_object(connection, _new_of(item.about, found), now_s)
    return True


def summary(connection: Connection, lost: Sequence[LostObject]) -> Recovered:
    """See `RecoveryIndex.summary`."""
    held = facts(connection)
    unused = ~exists().where(extents.c.document_id == found_documents.c.document_id)
    unused &= ~exists().where(part_extents.c.document_id == found_documents.c.document_id)
    packed = exists().where(packs.c.document_id == found_documents.c.document_id)
    unplaced = select(func.count()).select_from(found_documents).where(unused, ~packed)
    untold = select(func.count()).select_from(items).where(*_is_untold())
    spooled = select(func.count(extents.c.key.distinct())).join(
        documents, documents.c.document_id == extents.c.document_id
    )
    return Recovered(
        objects=held.objects,
        tombstones=held.tombstones,
        size=held.size,
        documents=recovery.how_many(connection, found_documents),
        copies=recovery.count_of(connection, "copies"),
        repeated=recovery.count_of(connection, "repeated"),
        packs=recovery.how_many(connection, packs),
        states=recovery.count_of(connection, "states"),
        items=recovery.count_of(connection, "items"),
        foreign=recovery.count_of(connection, "foreign"),
        holes=recovery.count_of(connection, "holes"),
        unplaced_documents=connection.execute(unplaced).scalar_one(),
        open_parts=connection.execute(_open_parts()).scalar_one(),
        untold=connection.execute(untold).scalar_one(),
        spooled_only=connection.execute(spooled.where(documents.c.file_id == "")).scalar_one(),
        lost=tuple(lost),
        unreadable=recovery.unreadable(connection),
    )


def _open_parts() -> Select[int]:
    """Parts in packs to which no object, and no upload that is open in the snapshot, refers."""
    holders = [
        ~exists().where(
            table.c.document_id == packs.c.document_id,
            table.c.offset <= items.c.offset,
            table.c.offset + table.c.length > items.c.offset,
        )
        for table in (extents, part_extents)
    ]
    joined = select(func.count()).select_from(items).join(packs, packs.c.number == items.c.number)
    return joined.where(items.c.kind == ItemKind.PART.value, *holders)


def settle(connection: Connection, now_s: float, complete: bool) -> None:
    """The last transaction: nothing is under way any more, and what nothing refers to is garbage where all is known."""
    connection.execute(delete(packs_under_way))
    if complete:
        unused = ~exists().where(extents.c.document_id == documents.c.document_id)
        unused &= ~exists().where(part_extents.c.document_id == documents.c.document_id)
        found = documents.c.document_id.in_(select(found_documents.c.document_id))
        connection.execute(update(documents).where(found, unused).values(garbage_since_s=now_s))
