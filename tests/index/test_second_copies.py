"""The places of documents: what leads to a document besides its row, which ones lack a place, and how an address moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from addon.index.sql_index import SqlIndex, open_index
from addon.store.erasing import ErasureTerms
from addon.store.records import Document, DocumentCopy, Extent, Move, NewObject, ObjectRecord
from addon.store.second_copies import Ways
from tests.index.samples import BUCKET, document, new_object

HERE, THERE, ELSEWHERE = -1001234567890, -1002, -1003
COPY = DocumentCopy(THERE, 7, 123456, "file-of-copy")
OTHER_COPY = DocumentCopy(ELSEWHERE, 8, 77, "")


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[SqlIndex]:
    opened = await open_index(f"sqlite:///{tmp_path}/index.db")
    yield opened
    await opened.close()


def with_copy(key: str, name: str, *copies: DocumentCopy) -> NewObject:
    new = new_object(key, name)
    return replace(new, extents=[replace(new.extents[0], document=replace(document(name), copies=copies))])


async def the_document(index: SqlIndex, key: str = "a") -> Document:
    record = await index.key_state(BUCKET, key)
    assert isinstance(record, ObjectRecord)
    return record.extents[0].document


async def lacking(index: SqlIndex, *chats: int, wanted: int = 2) -> list[str]:
    found = await index.lacking(chats, wanted, after="", limit=100)
    amount = await index.lacking_amount(chats, wanted)
    assert (amount.objects, amount.size) == (len(found), sum(kept.document.size for kept in found))
    return [kept.document.document_id for kept in found]


async def test_copies_are_remembered_with_the_document_whoever_adds_it(index: SqlIndex) -> None:
    await index.put_object(with_copy("a", "d1", COPY))
    await index.add_documents([replace(document("d2"), copies=(COPY,))], now_s=1)
    await index.put_object(with_copy("b", "d2"))
    await index.put_object(new_object("c", "d3"))
    await index.relocate([Move("d3", 0, 15, replace(document("d4"), copies=(COPY,)), 0)])
    for name in ("d1", "d2", "d4"):
        assert await index.ways_to(name) == Ways([COPY], [])
    assert await index.ways_to("d3") == await index.ways_to("unknown") == Ways([], [])
    assert (await the_document(index)).copies == (), "the hot path does not ask"


async def test_the_file_ids_of_other_bots_are_kept_beside_the_first_ones(index: SqlIndex) -> None:
    await index.put_object(new_object("a", "d1"))
    await index.update_file_id("d1", bot_id=77, file_id="of-77")
    await index.update_file_id("d1", bot_id=77, file_id="of-77-anew")
    await index.update_file_id("d1", bot_id=78, file_id="of-78")
    assert (await the_document(index)).file_id == "file-d1"
    assert sorted((await index.ways_to("d1")).file_ids) == [(77, "of-77-anew"), (78, "of-78")]


async def test_what_lacks_a_place_in_the_chats_that_count(index: SqlIndex) -> None:
    await index.put_object(with_copy("a", "d1", COPY))
    await index.put_object(new_object("b", "d2"))
    await index.put_object(with_copy("c", "d3", COPY, OTHER_COPY))
    imported = replace(document("d4"), chat_id=0, message_id=0)
    await index.put_object(replace(new_object("d"), size=10, extents=[Extent(imported, 0, 10, b"")]))
    assert await lacking(index, HERE, THERE) == ["d2", "d4"]
    assert await lacking(index, HERE) == ["d1", "d2", "d3", "d4"]
    assert await lacking(index, HERE, wanted=1) == ["d4"]
    assert await lacking(index, THERE, ELSEWHERE) == ["d1", "d2", "d3", "d4"], "their address is in none of them"
    assert await lacking(index) == ["d1", "d2", "d3", "d4"]
    assert [kept.document.document_id for kept in await index.lacking([HERE], 2, after="d2", limit=1)] == ["d3"]


async def test_garbage_and_what_is_erased_lacks_nothing_and_gets_nothing(index: SqlIndex) -> None:
    await index.put_object(new_object("a", "d1"))
    await index.delete_object(BUCKET, "a", now_s=1)
    assert await lacking(index, HERE, THERE) == []
    assert not await index.add_copy("d1", COPY)
    assert not await index.add_copy("unknown", COPY)


async def test_a_document_goes_with_all_that_leads_to_it(index: SqlIndex) -> None:
    await index.put_object(with_copy("a", "d1", COPY))
    await index.update_file_id("d1", bot_id=77, file_id="of-77")
    await index.delete_object(BUCKET, "a", now_s=1)
    terms = ErasureTerms(grace_s=0.0, kept_since_s=None)
    (doomed,) = await index.begin_erasures(terms, now_s=1e12, lease_s=1, limit=10)
    assert [one.chat_id for one in doomed.copies] == [THERE]
    await index.end_erasure("d1", now_s=2e12)
    assert await index.ways_to("d1") == Ways([], [])


async def test_one_place_in_each_chat(index: SqlIndex) -> None:
    await index.put_object(new_object("a", "d1"))
    assert await index.add_copy("d1", COPY)
    assert not await index.add_copy("d1", replace(COPY, message_id=99))
    assert not await index.add_copy("d1", replace(COPY, chat_id=HERE))
    assert (await index.ways_to("d1")).copies == [COPY]


@pytest.mark.parametrize("keep_former", [True, False])
async def test_a_copy_becomes_the_address(index: SqlIndex, keep_former: bool) -> None:
    before = await index.put_object(with_copy("a", "d1", OTHER_COPY, replace(COPY, bot_id=77)))
    former = before.extents[0].document
    assert await index.move_address(former, replace(COPY, bot_id=77), keep_former=keep_former)
    now = await the_document(index)
    assert (now.chat_id, now.message_id, now.bot_id, now.file_id) == (THERE, 7, 77, "file-of-copy")
    assert now.file_unique_id == former.file_unique_id
    ways = await index.ways_to("d1")
    kept = DocumentCopy(HERE, former.message_id, former.bot_id, former.file_id)
    assert ways.copies == ([kept] if keep_former else []) + [OTHER_COPY]
    assert ways.file_ids == [(former.bot_id, former.file_id)], "the former bot's file_id is not lost"
    assert not await index.move_address(former, OTHER_COPY, keep_former=True), "it has another address by now"
    assert not await index.move_address(now, COPY, keep_former=True), "that is no copy of it"


async def test_an_address_without_a_known_file_id_keeps_the_former_one(index: SqlIndex) -> None:
    before = await index.put_object(with_copy("a", "d1", OTHER_COPY))
    assert await index.move_address(before.extents[0].document, OTHER_COPY, keep_former=False)
    now = await the_document(index)
    assert (now.chat_id, now.message_id, now.bot_id, now.file_id) == (ELSEWHERE, 8, 123456, "file-d1")
    assert await index.ways_to("d1") == Ways([], [])


async def test_a_place_that_is_gone_is_forgotten(index: SqlIndex) -> None:
    await index.put_object(with_copy("a", "d1", COPY))
    await index.forget_copy_in("d1", replace(COPY, message_id=99))
    assert (await index.ways_to("d1")).copies == [COPY]
    await index.forget_copy_in("d1", COPY)
    assert (await index.ways_to("d1")).copies == []
