"""Which documents may be erased, and the fence around those that are being erased."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from addon.index.sql_index import SqlIndex, open_index
from addon.store.erasing import DoomedDocument, ErasureTerms
from addon.store.migration import Amount
from addon.store.multipart import MultipartUpload, NewPart
from addon.store.ports import SourceChanged
from addon.store.records import Extent, Move, ObjectRecord
from tests.index.samples import BUCKET, document, new_object

NOW_S = 1_700_000_000.0
AT_ONCE = ErasureTerms(grace_s=0.0, kept_since_s=None)
LEASE_S = 100.0


class Clock:
    now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def index(tmp_path: Path, clock: Clock) -> AsyncIterator[SqlIndex]:
    opened = await open_index(f"sqlite:///{tmp_path}/index.db", now_s=clock)
    yield opened
    await opened.close()


def execute(tmp_path: Path, statement: str, *values: Any) -> list[Any]:
    with closing(sqlite3.connect(tmp_path / "index.db")) as connection, connection:
        return connection.execute(statement, values).fetchall()


def dead_bytes(tmp_path: Path, document_id: str) -> int:
    ((found,),) = execute(tmp_path, "SELECT dead_bytes FROM documents WHERE document_id = ?", document_id)
    return int(found)


async def begun(index: SqlIndex, clock: Clock, terms: ErasureTerms = AT_ONCE, limit: int = 10) -> list[str]:
    doomed = await index.begin_erasures(terms, now_s=clock(), lease_s=LEASE_S, limit=limit)
    return [one.document.document_id for one in doomed]


async def make_garbage(index: SqlIndex, *names: str) -> None:
    for name in names:
        await index.put_object(new_object(name, name))
        await index.delete_object(BUCKET, name, now_s=NOW_S)


async def test_garbage_is_given_once_until_its_lease_ends(index: SqlIndex, clock: Clock) -> None:
    await make_garbage(index, "d1", "d2", "d3")
    await index.put_object(new_object("a", "d4"))
    assert await begun(index, clock, limit=2) == ["d1", "d2"]
    assert await begun(index, clock) == ["d3"]
    assert await begun(index, clock) == []
    clock.now_s += LEASE_S
    assert await begun(index, clock) == ["d1", "d2", "d3"]


async def test_what_is_erased_is_forgotten_and_counted(index: SqlIndex, clock: Clock, tmp_path: Path) -> None:
    await make_garbage(index, "d1", "d2")
    execute(tmp_path, "INSERT INTO document_copies VALUES ('d1', -5, 7, 77, 'copy')")
    (doomed, _) = await index.begin_erasures(AT_ONCE, now_s=clock(), lease_s=LEASE_S, limit=10)
    copy = replace(document("d1"), chat_id=-5, message_id=7, bot_id=77, file_id="copy")
    assert doomed == DoomedDocument(document("d1"), (copy,))
    await index.end_erasure("d1", now_s=clock())
    assert await index.garbage(limit=10) == [document("d2")]
    assert execute(tmp_path, "SELECT count(*) FROM document_copies") == [(0,)]
    assert await index.erased_amount() == Amount(1, 1000)
    assert await index.erased_after(0.0, "", limit=10) == [(NOW_S, "d1")]
    assert await index.erased_after(NOW_S, "d1", limit=10) == []
    clock.now_s += 1
    await index.end_erasure("d2", now_s=clock())
    assert await index.erased_after(NOW_S, "d1", limit=10) == [(NOW_S + 1, "d2")]
    assert await index.forget_erasures(before_s=NOW_S + 1) == 1
    assert await index.erased_amount() == Amount(1, 1000)


async def test_what_could_not_be_erased_rests(index: SqlIndex, clock: Clock) -> None:
    await make_garbage(index, "d1")
    await begun(index, clock)
    await index.put_off_erasure("d1", until_s=clock() + 1000, reason="no bot may")
    assert await begun(index, clock) == []
    assert (await index.erasure_plan(AT_ONCE, now_s=clock())).failed == Amount(1, 1000)
    await index.end_rests(now_s=clock())
    assert await begun(index, clock) == ["d1"]
    await index.put_off_erasure("d1", until_s=clock(), reason="")
    assert await begun(index, clock) == ["d1"], "who was interrupted leaves it to the next one"


@pytest.mark.parametrize("is_gone", [False, True])
async def test_nobody_takes_into_use_what_is_being_erased_or_was(index: SqlIndex, clock: Clock, is_gone: bool) -> None:
    """The source keeps its generation while its bytes move: a part that is made of it has the former document."""
    source = await index.put_object(new_object("a", "d1"))
    await index.create_upload(
        MultipartUpload(
            upload_id="u",
            bucket=BUCKET,
            key="b",
            initiated_at_s=1,
            headers={},
            anonymous_read=False,
            tags={},
            checksum_algorithm="crc32",
            checksum_type="FULL_OBJECT",
        )
    )
    await index.relocate([Move("d1", 0, 100, document("d2"), 0)])
    assert await begun(index, clock) == ["d1"]
    if is_gone:
        await index.end_erasure("d1", now_s=clock())
    part = NewPart(1, 10, "m", {}, 1, source.extents)
    with pytest.raises(SourceChanged):
        await index.put_part("u", part, source=source)
    with pytest.raises(SourceChanged):
        await index.put_object(new_object("c", "d1"))
    with pytest.raises(SourceChanged):
        await index.replace_object(source, new_object("a", "d1"))
    assert await index.parts("u", after=0, limit=9) == []
    assert await index.key_state(BUCKET, "c") is None


async def test_readers_and_uploads_that_began_have_their_time(index: SqlIndex, clock: Clock) -> None:
    await make_garbage(index, "d1")
    await index.add_documents([document("d2")], now_s=clock(), used_within_s=500)
    with_grace = ErasureTerms(grace_s=60, kept_since_s=None)
    assert await begun(index, clock, with_grace) == []
    plan = await index.erasure_plan(AT_ONCE, now_s=clock())
    assert (plan.erasable, plan.too_young) == (Amount(1, 1000), Amount(1, 1000))
    clock.now_s += 60
    assert await begun(index, clock, with_grace) == ["d1"]
    await index.add_documents([document("d2")], now_s=clock())
    assert await begun(index, clock) == ["d2"], "whoever gives it up needs it no more"


async def test_nothing_younger_than_a_pack_under_way_goes(index: SqlIndex, clock: Clock, tmp_path: Path) -> None:
    """All that is committed of it may have been deleted, and the rest comes yet."""
    await make_garbage(index, "d1")
    clock.now_s += 1
    execute(tmp_path, "INSERT INTO packs_under_way VALUES (7, 'p', ?)", clock())
    await make_garbage(index, "d2")
    assert (await index.erasure_plan(AT_ONCE, now_s=clock())).in_packs == Amount(1, 1000)
    assert await begun(index, clock) == ["d1"]
    execute(tmp_path, "DELETE FROM packs_under_way")
    assert await begun(index, clock) == ["d2"]


@pytest.mark.parametrize(
    ("began_s", "taken_s", "is_kept"),
    [
        (-10.0, -5.0, False),  # before it was sent
        (5.0, 6.0, True),
        (5.0, None, True),  # being taken
        (15.0, 16.0, False),  # it was garbage by then
    ],
)
async def test_snapshots_keep_what_they_need(
    index: SqlIndex, clock: Clock, tmp_path: Path, began_s: float, taken_s: float | None, is_kept: bool
) -> None:
    """The document was in use from 0 to 10."""
    await index.put_object(new_object("a", "d1"))
    clock.now_s += 10
    await index.delete_object(BUCKET, "a", now_s=clock())
    clock.now_s += 20
    ended_s = None if taken_s is None else NOW_S + taken_s
    execute(tmp_path, "INSERT INTO snapshots VALUES ('s', ?, ?, 0, 0, '[]')", NOW_S + began_s, ended_s)
    kept = ErasureTerms(grace_s=0, kept_since_s=NOW_S - 100)
    assert (await index.erasure_plan(kept, now_s=clock())).for_snapshots.objects == int(is_kept)
    assert await begun(index, clock, kept) == ([] if is_kept else ["d1"])
    assert await begun(index, clock) == (["d1"] if is_kept else [])


async def test_a_snapshot_whose_time_is_over_keeps_nothing(index: SqlIndex, clock: Clock, tmp_path: Path) -> None:
    await make_garbage(index, "d1")
    execute(tmp_path, "INSERT INTO snapshots VALUES ('s', ?, ?, 0, 0, '[]')", NOW_S - 1, NOW_S)
    assert await begun(index, clock, ErasureTerms(0, kept_since_s=NOW_S + 1)) == ["d1"]


async def test_dead_bytes_are_those_that_nothing_covers(index: SqlIndex, clock: Clock, tmp_path: Path) -> None:
    """The pack holds three objects, one of them with a copy."""
    pack = document("pack")
    for number, key in enumerate(("a", "b", "c")):
        new = replace(new_object(key), size=10, extents=[Extent(pack, 100 * number, 10, b"")])
        record = await index.put_object(new)
    await index.copy_object(record, replace(new_object("copy"), extents=[]))
    await index.delete_object(BUCKET, "c", now_s=NOW_S)
    assert dead_bytes(tmp_path, "pack") == 0, "its copy has the same bytes"
    await index.delete_object(BUCKET, "copy", now_s=NOW_S)
    await index.put_object(new_object("a", "d1"))
    assert dead_bytes(tmp_path, "pack") == 20
    (found,) = await index.partly_dead(share_min=0.0, after="", limit=10)
    assert (found.document, found.dead_bytes) == (pack, 20)
    assert await index.partly_dead(share_min=0.5, after="", limit=10) == []
    plan = await index.erasure_plan(AT_ONCE, now_s=clock())
    assert (plan.partly_dead, plan.dead_bytes, plan.live_bytes) == (Amount(1, 1000), 20, 10)
    await index.delete_object(BUCKET, "b", now_s=NOW_S)
    assert await index.partly_dead(share_min=0.0, after="", limit=10) == []
    assert await begun(index, clock) == ["pack"]


async def test_bytes_that_died_while_all_was_garbage_are_counted(index: SqlIndex, tmp_path: Path) -> None:
    """The first object of a pack is deleted before the second one is committed."""
    pack = document("pack")
    await index.put_object(replace(new_object("a"), extents=[Extent(pack, 0, 10, b"")]))
    await index.delete_object(BUCKET, "a", now_s=NOW_S)
    await index.put_object(replace(new_object("b"), extents=[Extent(pack, 50, 10, b"")]))
    assert dead_bytes(tmp_path, "pack") == 10


async def test_what_moved_in_vain_is_dead_at_its_new_place(index: SqlIndex, tmp_path: Path) -> None:
    pack = document("pack")
    await index.put_object(replace(new_object("a"), extents=[Extent(pack, 0, 10, b"")]))
    await index.put_object(new_object("gone", "d1"))
    await index.delete_object(BUCKET, "gone", now_s=NOW_S)
    assert await index.relocate([Move("d1", 5, 10, pack, 200)]) == 0
    assert dead_bytes(tmp_path, "pack") == 10
    state = await index.key_state(BUCKET, "a")
    assert isinstance(state, ObjectRecord)
