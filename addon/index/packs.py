"""Packs and the states that they tell. Each function runs within one transaction, or one snapshot where it only reads."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, exists, insert, literal, select, tuple_, update

from addon.index import documents
from addon.index.numbers import current_number, next_number
from addon.index.rows import key_bytes, object_without_extents_of
from addon.index.tables import IS_SPOOLED, KIND_TOMBSTONE, extents, keys, object_parts, packs_under_way, untold_keys
from addon.index.tables import documents as documents_table
from addon.store.records import Document, ObjectPart, Tombstone
from addon.store.telling import Cursor, Partly, StateToTell, Untold, UntoldKey
from addon.store.told_states import ToldExtent, ToldObject, ToldState, state_text

# So many rows are read at a time: a state may have millions of extents.
ROWS_AT_ONCE = 500
# What an extent and a part take of a pack beside their hashes, document's id and checksums, and a state beside its object's head.
_EXTENT_BYTES, _PART_BYTES, _STATE_BYTES = 130, 30, 600

_UNTOLD_PLACE = tuple_(untold_keys.c.bucket, untold_keys.c.key)
_UNTOLD_AFTER = (
    select(untold_keys)
    .where(tuple_(bindparam("after_bucket"), bindparam("after_key", type_=untold_keys.c.key.type)) < _UNTOLD_PLACE)
    .order_by(untold_keys.c.bucket, untold_keys.c.key)
    .limit(ROWS_AT_ONCE)
)
_IS_UNTOLD = (
    (untold_keys.c.bucket == bindparam("here_bucket"))
    & (untold_keys.c.key == bindparam("here_key"))
    & (untold_keys.c.change == bindparam("here_change"))
)
_UNTOLD = select(untold_keys).where(_IS_UNTOLD)
_TOLD = delete(untold_keys).where(_IS_UNTOLD)
_WAITS = select(exists().where(IS_SPOOLED, documents_table.c.garbage_since_s.is_(None)))
_KEY = select(keys).where(keys.c.bucket == bindparam("here_bucket"), keys.c.key == bindparam("here_key"))
_EXTENTS = (
    select(extents.c.position, extents.c.document_id, extents.c.offset, extents.c.length, extents.c.block_sha256s)
    .where(
        extents.c.bucket == bindparam("here_bucket"),
        extents.c.key == bindparam("here_key"),
        extents.c.position >= bindparam("first"),
    )
    .order_by(extents.c.position)
    .limit(ROWS_AT_ONCE)
)
_PARTS = (
    select(object_parts.c.number, object_parts.c.size, object_parts.c.checksums)
    .where(
        object_parts.c.bucket == bindparam("here_bucket"),
        object_parts.c.key == bindparam("here_key"),
        object_parts.c.number >= bindparam("first"),
    )
    .order_by(object_parts.c.number)
    .limit(ROWS_AT_ONCE)
)


def begin_pack(connection: Connection, process_id: str, settled: Sequence[int], now_s: float) -> int:
    """See `PackIndex.begin_pack`."""
    settle_packs(connection, settled)
    number = next_number(connection)
    connection.execute(insert(packs_under_way), {"number": number, "process_id": process_id, "began_at_s": now_s})
    return number


def settle_packs(connection: Connection, numbers: Sequence[int]) -> None:
    """See `PackIndex.settle_packs`."""
    if numbers:
        statement = delete(packs_under_way).where(packs_under_way.c.number == bindparam("here_number"))
        connection.execute(statement, [{"here_number": number} for number in numbers])


def forget_packs(connection: Connection, processes: str, began_before_s: float) -> int:
    """See `PackIndex.forget_packs`."""
    is_theirs = packs_under_way.c.process_id.startswith(processes, autoescape=True)
    return connection.execute(
        delete(packs_under_way).where(is_theirs, packs_under_way.c.began_at_s < began_before_s)
    ).rowcount


def acknowledge_pack(
    connection: Connection,
    document: Document,
    told: Sequence[UntoldKey],
    tells_states: bool,
    only_tells: bool,
    now_s: float,
) -> None:
    """See `PackIndex.acknowledge_pack`."""
    documents.add_documents(connection, [document], now_s)
    if tells_states:
        is_this = documents_table.c.document_id == document.document_id
        connection.execute(update(documents_table).where(is_this).values(tells_states=True, only_tells=only_tells))
    if told:
        connection.execute(_TOLD, [_here(of) for of in told])


def has_untold(connection: Connection) -> bool:
    """See `PackIndex.has_untold`."""
    return bool(connection.execute(select(exists(select(literal(1)).select_from(untold_keys)))).scalar_one())


def untold(connection: Connection, number: int, cursor: Cursor, bytes_max: int, but: frozenset[UntoldKey]) -> Untold:
    """See `PackIndex.untold`."""
    as_of = current_number(connection)
    under_way = tuple(connection.execute(select(packs_under_way.c.number).order_by(packs_under_way.c.number)).scalars())
    told = _Gathering(connection, number, bytes_max)
    complete = True
    at, partly = cursor, None
    if cursor.partly is not None:
        row = connection.execute(_UNTOLD, _here(cursor.partly.of)).one_or_none()
        if row is not None:
            partly = told.next_piece(row, cursor.partly)
    for row in _ring(connection, cursor):
        of = _untold_key(row)
        if of in but:
            complete = False
            continue
        if partly is not None or not told.takes(row):
            complete = False
            break
        at = Cursor(of.bucket, of.key)
        partly = told.begun
    waits = bool(connection.execute(_WAITS).scalar_one())
    at = replace(at, partly=partly)
    return Untold(as_of, under_way, tuple(told.states), at, complete and partly is None, spooled=waits)


def _ring(connection: Connection, cursor: Cursor) -> Iterator[Row[Any]]:
    """All untold keys, from behind the cursor to the end, then from the beginning up to it."""
    turn = cursor.bucket, key_bytes(cursor.key)
    yield from _rows_after(connection, turn)
    yield from itertools.takewhile(lambda row: (row.bucket, row.key) <= turn, _rows_after(connection, ("", b"")))


def _rows_after(connection: Connection, after: tuple[str, bytes]) -> Iterator[Row[Any]]:
    while rows := connection.execute(_UNTOLD_AFTER, {"after_bucket": after[0], "after_key": after[1]}).all():
        yield from rows
        after = rows[-1].bucket, rows[-1].key


class _Gathering:
    """Collects states in so many bytes of text. `begun` is what the last one lacks, where it was cut."""

    def __init__(self, connection: Connection, number: int, bytes_max: int) -> None:
        self._connection, self._number, self._left = connection, number, bytes_max
        self.states: list[StateToTell] = []
        self.begun: Partly | None = None

    def takes(self, row: Row[Any]) -> bool:
        """The whole state of an untold key; only its first piece where it is the first and does not fit. False where it waits."""
        piece = self._piece(row, Partly(_untold_key(row), self._number, 0, 0, 0), may_cut=not self.states)
        if piece is None:
            return False
        self.begun = self._add(piece)
        return True

    def next_piece(self, row: Row[Any], partly: Partly) -> Partly | None:
        """The next piece of a state; returns what it lacks then."""
        piece = self._piece(row, partly, may_cut=True)
        assert piece is not None  # noqa: S101 -- it may be cut, so there is one
        return self._add(piece)

    def _add(self, piece: tuple[ToldState, Partly]) -> Partly | None:
        state, rest = piece
        text = state_text(state)
        self._left -= len(text) + 2
        self.states.append(StateToTell(rest.of, text, state.telling, state.piece, state.last))
        return None if state.last else rest

    def _piece(self, untold_row: Row[Any], partly: Partly, *, may_cut: bool) -> tuple[ToldState, Partly] | None:
        """A state, or as much of it as fits, and how the next piece would begin."""
        of, generation = partly.of, untold_row.generation
        row = self._connection.execute(_KEY, {"here_bucket": of.bucket, "here_key": key_bytes(of.key)}).one_or_none()
        state: ToldObject | Tombstone | None = None
        left, rest, last = self._left - _STATE_BYTES - 6 * len(of.key), partly, True
        if row is not None:
            generation = row.generation
            if row.kind == KIND_TOMBSTONE:
                state = Tombstone(of.bucket, of.key, generation, row.modified_at_s)
            else:
                left -= len(row.headers) + len(row.checksums) + len(row.tags)
                state, rest, last = self._object(row, partly, left)
        elif left < 0 and not may_cut:
            last = False
        if (left < 0 or not last) and not may_cut:
            return None
        told = ToldState(of.bucket, of.key, generation, state, partly.telling, partly.piece, last)
        return told, replace(rest, piece=partly.piece + 1)

    def _object(self, row: Row[Any], partly: Partly, bytes_max: int) -> tuple[ToldObject, Partly, bool]:
        """An object's extents and parts as far as they fit, one of them at least."""
        here = {"here_bucket": row.bucket, "here_key": row.key}
        found: list[ToldExtent] = []
        parts: list[ObjectPart] = []
        position, number = partly.extents_from, partly.parts_after
        for extent in _all_rows(self._connection, _EXTENTS, here, position):
            bytes_max -= _EXTENT_BYTES + len(extent.document_id) + 4 * len(extent.block_sha256s) // 3
            if bytes_max < 0 and found:
                return (
                    _told(row, found, parts),
                    replace(partly, extents_from=extent.position, parts_after=number),
                    False,
                )
            found.append(ToldExtent(extent.document_id, extent.offset, extent.length, bytes(extent.block_sha256s)))
            position = extent.position + 1
        for part in _all_rows(self._connection, _PARTS, here, number + 1) if row.parts_count else ():
            bytes_max -= _PART_BYTES + len(part.checksums)
            if bytes_max < 0 and (found or parts):
                return _told(row, found, parts), replace(partly, extents_from=position, parts_after=number), False
            parts.append(ObjectPart(part.number, part.size, json.loads(part.checksums)))
            number = part.number
        return _told(row, found, parts), partly, True


def _all_rows(connection: Connection, statement: Any, here: dict[str, Any], first: int) -> Iterator[Row[Any]]:
    """Rows of a statement whose first column numbers them, a few at a time."""
    while rows := connection.execute(statement, {**here, "first": first}).all():
        yield from rows
        first = rows[-1][0] + 1
        if len(rows) < ROWS_AT_ONCE:
            return


def _told(row: Row[Any], found: list[ToldExtent], parts: list[ObjectPart]) -> ToldObject:
    return ToldObject(object_without_extents_of(row), tuple(found), tuple(parts))


def _untold_key(row: Row[Any]) -> UntoldKey:
    return UntoldKey(row.bucket, row.key.decode(), row.change)


def _here(of: UntoldKey) -> dict[str, Any]:
    return {"here_bucket": of.bucket, "here_key": key_bytes(of.key), "here_change": of.change}
