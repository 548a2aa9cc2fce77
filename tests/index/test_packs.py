"""Packs and the states that they tell: numbered once, read as of one moment, told in pieces where they are large."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from addon.index.sql_index import SqlIndex, open_index
from addon.store.records import Extent, Move, ObjectRecord
from addon.store.telling import Cursor, StateToTell, Untold, UntoldKey
from addon.store.told_states import ToldObject, ToldState, state_from, whole_state
from tests.index.samples import BUCKET, document, new_object

PLENTY = 10_000_000


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[SqlIndex]:
    opened = await open_index(f"sqlite:///{tmp_path}/index.db")
    yield opened
    await opened.close()


def told(states: Sequence[StateToTell]) -> list[ToldState]:
    return [state_from(json.loads(state.text)) for state in states]


async def untold(
    index: SqlIndex, bytes_max: int = PLENTY, cursor: Cursor | None = None, **more: frozenset[UntoldKey]
) -> Untold:
    return await index.untold(7, cursor or Cursor(), bytes_max=bytes_max, but=more.get("but", frozenset()))


async def acknowledge(index: SqlIndex, name: str, states: Sequence[StateToTell]) -> None:
    keys = [state.of for state in states]
    await index.acknowledge_pack(document(name), keys, tells_states=True, only_tells=True, now_s=1.0)


async def test_packs_are_numbered_with_generations_and_under_way_until_they_are_settled(index: SqlIndex) -> None:
    first = await index.begin_pack("proxy-1", settled=(), now_s=1.0)
    record = await index.put_object(new_object("a", "d1"))
    second = await index.begin_pack("proxy-1", settled=(), now_s=2.0)
    assert first < record.generation < second
    found = await untold(index)
    assert (found.under_way, found.as_of) == ((first, second), second)
    third = await index.begin_pack("proxy-1", settled=(first,), now_s=3.0)
    assert (await untold(index)).under_way == (second, third)
    await index.settle_packs([second, third])
    assert (await untold(index)).under_way == ()


async def test_packs_of_processes_that_ended_are_forgotten(index: SqlIndex) -> None:
    await index.begin_pack("proxy-1", settled=(), now_s=1.0)
    young = await index.begin_pack("proxy-2", settled=(), now_s=9.0)
    command = await index.begin_pack("command-1", settled=(), now_s=1.0)
    assert await index.forget_packs(processes="proxy-", began_before_s=5.0) == 1
    assert (await untold(index)).under_way == (young, command)
    assert await index.forget_packs(processes="prox_-", began_before_s=99.0) == 0


async def test_every_kind_of_state_is_told_whole(index: SqlIndex) -> None:
    record = await index.put_object(new_object("a", "d1", "d2"))
    tombstone = await index.delete_object(BUCKET, "b", now_s=5)
    gone = await index.put_object(new_object("c", "d3"))
    await index.supersede(BUCKET, "c")
    found = await untold(index)
    assert found.complete
    first, second, third = told(found.states)
    assert isinstance(first.state, ToldObject)
    extents = first.state.extents
    assert first.state.record == replace(record, extents=())
    assert [(extent.document_id, extent.offset, extent.length) for extent in extents] == [("d1", 5, 10), ("d2", 5, 10)]
    assert second.state == tombstone
    assert (third.key, third.generation, third.state) == ("c", gone.generation, None)


async def test_what_telegram_has_is_told_and_what_changed_meanwhile_is_not(index: SqlIndex) -> None:
    for key in ("a", "b", "c"):
        await index.put_object(new_object(key, f"d-{key}"))
    found = await untold(index)
    await index.relocate([Move("d-a", 0, 100, document("d9"), 0)])
    await index.delete_object(BUCKET, "b", now_s=5)
    await acknowledge(index, "pack", found.states)
    assert [state.of.key for state in (await untold(index)).states] == ["a", "b"]
    assert await index.has_untold()
    await acknowledge(index, "pack", (await untold(index)).states)
    assert not await index.has_untold()


async def test_what_another_pack_tells_is_left_out_and_said_to_be(index: SqlIndex) -> None:
    for key in ("a", "b"):
        await index.put_object(new_object(key, f"d-{key}"))
    first = (await untold(index)).states[0]
    rest = await untold(index, but=frozenset({first.of}))
    assert ([state.of.key for state in rest.states], rest.complete) == (["b"], False)


async def test_states_that_do_not_fit_wait_and_the_turn_goes_round(index: SqlIndex) -> None:
    keys = [f"k{number}" for number in range(10)]
    for key in keys:
        await index.put_object(new_object(key, f"d-{key}"))
    cursor, seen = Cursor(), []
    for _ in range(8):
        found = await untold(index, 3000, cursor)
        assert found.states
        assert not found.complete
        assert sum(len(state.text) + 2 for state in found.states) <= 3000
        seen += [state.of.key for state in found.states]
        cursor = found.cursor
    assert seen[: len(keys)] == keys
    assert seen[len(keys) : 2 * len(keys)] == keys[: len(seen) - len(keys)]


async def large_object(index: SqlIndex, folder: Path, parts: int) -> ObjectRecord:
    """An object of so many parts, each with one extent of five blocks."""
    extents = [
        Extent(document(f"d{number:05}"), number, 5 << 20, bytes([number % 256]) * 160)
        for number in range(1, parts + 1)
    ]
    record = await index.put_object(replace(new_object("large"), size=parts * (5 << 20), extents=extents))
    with closing(sqlite3.connect(folder / "index.db")) as connection, connection:
        connection.executemany(
            "INSERT INTO object_parts VALUES (?, ?, ?, ?, ?)",
            [(BUCKET, b"large", number, 5 << 20, '{"crc32":"AAAAAA=="}') for number in range(1, parts + 1)],
        )
        connection.execute('UPDATE keys SET parts_count = ? WHERE "key" = ?', (parts, b"large"))
    return record


async def test_ten_thousand_parts_are_told_in_pieces_that_make_one_state(index: SqlIndex, tmp_path: Path) -> None:
    await index.put_object(new_object("before", "d1"))
    record = await large_object(index, tmp_path, 10_000)
    await index.put_object(new_object("zbehind", "d2"))
    cursor, states, rounds = Cursor(), [], 0
    being_told: set[UntoldKey] = set()
    while not states or cursor.partly is not None or rounds < 2:
        found = await untold(index, 1_000_000, cursor, but=frozenset(being_told))
        assert sum(len(state.text) + 2 for state in found.states) <= 1_000_000
        cursor, rounds = found.cursor, rounds + 1
        states += found.states
        being_told |= {state.of for state in found.states}
        assert rounds < 20
    large = [state for state in told(states) if state.key == "large"]
    assert len(large) > 3
    assert [state.piece for state in large] == list(range(len(large)))
    whole = whole_state(large)
    assert isinstance(whole.state, ToldObject)
    expected = [(extent.document.document_id, extent.offset, extent.length) for extent in record.extents]
    assert [(one.document_id, one.offset, one.length) for one in whole.state.extents] == expected
    assert [one.block_sha256s for one in whole.state.extents] == [one.block_sha256s for one in record.extents]
    assert [part.number for part in whole.state.parts] == list(range(1, 10_001))
    assert {state.of.key for state in states} == {"before", "large", "zbehind"}


async def test_a_large_state_that_changes_between_its_pieces_begins_anew(index: SqlIndex, tmp_path: Path) -> None:
    await large_object(index, tmp_path, 500)
    first = await untold(index, 50_000)
    assert first.cursor.partly is not None
    await index.relocate([Move("d00001", 0, 100 << 20, document("elsewhere"), 7)])
    second = await untold(index, 50_000, first.cursor, but=frozenset({first.states[0].of}))
    (anew,) = told(second.states)
    assert (anew.piece, anew.last) == (0, False)
    assert isinstance(anew.state, ToldObject)
    assert anew.state.extents[0].document_id == "elsewhere"
