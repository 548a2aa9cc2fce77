"""Documents that wait on the local disk, as the index knows them."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from addon.index.sql_index import SqlIndex, open_index
from addon.store.migration import Amount
from addon.store.multipart import MultipartUpload, NewPart
from addon.store.ports import SourceChanged
from addon.store.records import Document, Extent, Move, NewObject
from addon.store.spool_index import Backlog, SpooledPiece
from addon.store.telling import Cursor
from tests.index.samples import BUCKET, document, new_object


@pytest.fixture
def clock() -> list[float]:
    """UNIX seconds of the next commit."""
    return [1_700_000_000.0]


@pytest.fixture
async def index(tmp_path: Path, clock: list[float]) -> AsyncIterator[SqlIndex]:
    opened = await open_index(f"sqlite:///{tmp_path / 'index.db'}", now_s=lambda: clock[0])
    yield opened
    await opened.close()


def waiting(name: str, size: int = 15) -> Document:
    return Document(name, 0, 0, 0, "", "", size)


def spooled_object(key: str, *names: str) -> NewObject:
    """The sample, whose documents wait."""
    new = new_object(key, *names)
    extents = [replace(extent, document=waiting(extent.document.document_id)) for extent in new.extents]
    return replace(new, extents=extents)


def upload(upload_id: str, key: str) -> MultipartUpload:
    return MultipartUpload(upload_id, BUCKET, key, 1_700_000_000, {}, False, {}, "", "")


def part(number: int, *extents: Extent) -> NewPart:
    return NewPart(number, sum(extent.length for extent in extents), "0" * 32, {}, 1_700_000_000, extents)


def extent(name: str, *, offset: int = 0, length: int = 10) -> Extent:
    return Extent(waiting(name), offset, length, name.encode().ljust(32, b"."))


async def ids(index: SqlIndex) -> list[str]:
    return [one.document.document_id for one in await index.spooled(limit=10)]


async def test_what_waits_comes_oldest_first_and_page_by_page(index: SqlIndex, clock: list[float]) -> None:
    assert await index.backlog() == Backlog(0, 0, None)
    for name in ("b", "a", "c"):
        clock[0] += 1
        await index.put_object(spooled_object(f"key {name}", name))
    await index.put_object(new_object("sent", "d1"))
    assert await ids(index) == ["b", "a", "c"]
    (first,) = await index.spooled(limit=1)
    assert (first.document, first.since_s) == (waiting("b"), 1_700_000_001.0)
    rest = await index.spooled(after=(first.since_s, first.document.document_id), limit=5)
    assert [one.document.document_id for one in rest] == ["a", "c"]
    assert await index.backlog() == Backlog(3, 45, 1_700_000_001.0)


async def test_the_index_that_finds_what_waits_is_used(index: SqlIndex, tmp_path: Path) -> None:
    from addon.index.tables import IS_SPOOLED, documents

    where = str(IS_SPOOLED.compile(compile_kwargs={"literal_binds": True}))
    with closing(sqlite3.connect(tmp_path / "index.db")) as connection:
        plan = connection.execute(
            f"EXPLAIN QUERY PLAN SELECT * FROM {documents.name} WHERE {where} "
            "AND (created_at_s, document_id) > (1.0, 'x') ORDER BY created_at_s, document_id LIMIT 5"
        ).fetchall()
    assert "documents_spooled" in str(plan)
    assert "TEMP B-TREE" not in str(plan)


async def test_what_a_document_holds(index: SqlIndex) -> None:
    await index.put_object(spooled_object("k", "one", "two"))
    hashes = b"two".ljust(32, b".")
    assert await index.spooled_piece("two") == SpooledPiece(BUCKET, "k", 10, 10, hashes)
    await index.create_upload(upload("u", "of parts"))
    await index.put_part("u", part(3, extent("three"), extent("four", length=7), extent("four", offset=7, length=8)))
    assert await index.spooled_piece("four") == SpooledPiece(BUCKET, "of parts", 17, 8, b"four".ljust(32, b"."))
    assert await index.spooled_piece("nothing") is None
    assert (await index.backlog()).documents == 4


async def test_what_nothing_needs_does_not_wait_and_can_be_dropped(index: SqlIndex) -> None:
    await index.put_object(spooled_object("gone", "d1"))
    await index.put_object(spooled_object("stays", "d2"))
    await index.delete_object(BUCKET, "gone", now_s=1_700_000_000)
    assert (await ids(index), await index.spooled_garbage(limit=5)) == (["d2"], ["d1"])
    assert await index.spooled_piece("d1") is None
    # Not what gc is to erase in Telegram, nor what status counts as useless there.
    assert (list(await index.garbage(limit=5)), await index.orphans()) == ([], Amount())
    assert await index.drop_spooled(["d1", "d2", "never heard of"]) == {"d1", "never heard of"}
    assert await index.spooled_garbage(limit=5) == []
    assert (await index.backlog()).documents == 1


async def test_what_was_sent_is_not_spooled_any_more(index: SqlIndex) -> None:
    await index.put_object(spooled_object("k", "d1"))
    assert await index.relocate([Move("d1", 0, 15, document("new"), 0)]) == 1
    assert (await ids(index), await index.spooled_garbage(limit=5)) == ([], ["d1"])
    assert await index.drop_spooled(["d1"]) == {"d1"}
    assert await index.relocate([Move("d1", 0, 15, document("again"), 0)]) == 0
    assert [one.document_id for one in await index.garbage(limit=5)] == ["again"]


async def test_more_documents_than_a_statement_takes_are_dropped(index: SqlIndex) -> None:
    names = [f"d{number}" for number in range(1200)]
    await index.put_object(spooled_object("k", "d7", "d1100"))
    assert await index.drop_spooled(names) == frozenset(names) - {"d7", "d1100"}


async def test_a_part_is_not_made_of_documents_that_its_source_has_left(index: SqlIndex) -> None:
    """Moved bytes leave the generation as it is; a part over their former place would have none."""
    source = await index.put_object(spooled_object("source", "d1", "d2"))
    await index.create_upload(upload("u", "k"))
    made = part(1, *source.extents)
    await index.put_part("u", made, source=source)
    await index.relocate([Move("d1", 0, 15, document("new"), 0)])
    assert [one.document.document_id for one in await index.part_extents("u", 1)] == ["new", "d2"]
    with pytest.raises(SourceChanged):
        await index.put_part("u", made, source=source)


def untold(tmp_path: Path) -> set[bytes]:
    with closing(sqlite3.connect(tmp_path / "index.db")) as connection:
        return {key for (key,) in connection.execute('SELECT "key" FROM untold_keys')}


async def test_an_object_is_told_only_when_all_its_bytes_are_in_telegram(index: SqlIndex, tmp_path: Path) -> None:
    record = await index.put_object(spooled_object("k", "d1", "d2"))
    await index.put_object(new_object("sent", "d3"))
    assert untold(tmp_path) == {b"sent"}
    assert (await index.untold(1, Cursor(), bytes_max=1 << 20, but=frozenset())).spooled
    await index.change_object(record, anonymous_read=True)
    assert untold(tmp_path) == {b"sent"}
    await index.relocate([Move("d1", 0, 15, document("t1"), 0)])
    assert untold(tmp_path) == {b"sent"}
    await index.relocate([Move("d2", 0, 15, document("t2"), 0)])
    assert untold(tmp_path) == {b"sent", b"k"}
    assert not (await index.untold(1, Cursor(), bytes_max=1 << 20, but=frozenset())).spooled


async def test_that_it_is_gone_is_told_at_once(index: SqlIndex, tmp_path: Path) -> None:
    await index.put_object(spooled_object("k", "d1"))
    await index.delete_object(BUCKET, "k", now_s=1_700_000_000)
    assert untold(tmp_path) == {b"k"}
    source = await index.put_object(spooled_object("k", "d2"))
    await index.copy_object(source, new_object("copy"))
    assert untold(tmp_path) == set()
    await index.supersede(BUCKET, "k")
    assert untold(tmp_path) == {b"k"}
    assert await index.spooled_piece("d2") is not None
