"""Bytes that lie in another document now, and the keys whose state is to be told in Telegram."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from addon.index.sql_index import SqlIndex, open_index
from addon.store.records import Extent, Move, ObjectRecord
from tests.index.samples import BUCKET, document, new_object

NOW_S = 1_700_000_000.0


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    return tmp_path / "index.db"


@pytest.fixture
async def index(path: Path) -> AsyncIterator[SqlIndex]:
    opened = await open_index(f"sqlite:///{path}")
    yield opened
    await opened.close()


async def extents_of(index: SqlIndex, key: str) -> list[tuple[str, int, int]]:
    record = await index.key_state(BUCKET, key)
    assert isinstance(record, ObjectRecord)
    return [(extent.document.document_id, extent.offset, extent.length) for extent in record.extents]


def untold(path: Path) -> dict[bytes, int]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute('SELECT "key", generation FROM untold_keys').fetchall())


def tell_all(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM untold_keys")


async def test_moved_bytes_are_found_at_their_new_place(index: SqlIndex) -> None:
    """The sample's extents are ten bytes at offset 5."""
    before = await index.put_object(new_object("a", "d1", "d2"))
    assert await index.relocate([Move("d1", 0, 15, document("d3"), 100)]) == 1
    assert await extents_of(index, "a") == [("d3", 105, 10), ("d2", 5, 10)]
    after = await index.key_state(BUCKET, "a")
    assert isinstance(after, ObjectRecord)
    assert after.generation == before.generation
    assert [one.document_id for one in await index.garbage(limit=10)] == ["d1"]


async def test_what_nothing_refers_to_is_garbage_at_its_new_place_too(index: SqlIndex) -> None:
    await index.put_object(new_object("a", "d1"))
    await index.delete_object(BUCKET, "a", now_s=NOW_S)
    assert await index.relocate([Move("d1", 0, 15, document("d3"), 0)]) == 0
    assert {one.document_id for one in await index.garbage(limit=10)} == {"d1", "d3"}


@pytest.mark.parametrize(("offset", "length"), [(6, 100), (0, 14), (15, 10)])
async def test_an_extent_that_was_not_moved_whole_stays(index: SqlIndex, offset: int, length: int) -> None:
    await index.put_object(new_object("a", "d1"))
    assert await index.relocate([Move("d1", offset, length, document("d3"), 0)]) == 0
    assert await extents_of(index, "a") == [("d1", 5, 10)]


async def test_a_copy_that_shares_the_document_moves_with_it(index: SqlIndex) -> None:
    source = await index.put_object(new_object("a", "d1"))
    await index.copy_object(source, new_object("b"))
    assert await index.relocate([Move("d1", 5, 10, document("d3"), 0)]) == 2
    assert await extents_of(index, "b") == await extents_of(index, "a") == [("d3", 0, 10)]


async def test_every_change_of_a_key_is_to_be_told(index: SqlIndex, path: Path) -> None:
    record = await index.put_object(new_object("a", "d1"))
    assert untold(path) == {b"a": record.generation}
    tell_all(path)
    await index.grant_anonymous_read(BUCKET, "a", etag="none")
    assert untold(path) == {}
    changed = await index.change_object(record, tags={"t": "1"})
    assert untold(path) == {b"a": changed.generation}
    tell_all(path)
    await index.relocate([Move("d1", 0, 20, document("d9"), 0)])
    assert untold(path) == {b"a": changed.generation}
    tell_all(path)
    tombstone = await index.delete_object(BUCKET, "a", now_s=NOW_S)
    assert untold(path) == {b"a": tombstone.generation}
    tell_all(path)
    await index.supersede(BUCKET, "a")
    assert untold(path) == {b"a": tombstone.generation}


async def test_a_document_keeps_how_it_is_sealed(index: SqlIndex) -> None:
    new = new_object("a", "d1")
    sealed = replace(document("d1"), key_id="k1", segment_bytes=65536)
    await index.put_object(replace(new, extents=[Extent(sealed, 5, 10, b"")]))
    record = await index.key_state(BUCKET, "a")
    assert isinstance(record, ObjectRecord)
    assert record.extents[0].document == sealed
