"""What an import asks of the index: it takes only what nobody else has, in one transaction."""

from __future__ import annotations

from dataclasses import replace

import pytest

from addon.index.sql_index import SqlIndex
from addon.store.ports import SourceChanged, WriteOutcome
from addon.store.records import CopyOrder, CopyState, Provenance
from tests.index.samples import BUCKET, document, new_object
from tests.index.test_objects import garbage_ids, put_copy


async def test_an_unknown_key_is_taken_and_its_copy_job_goes(index: SqlIndex) -> None:
    await index.enqueue_copies([CopyOrder(BUCKET, "a", False)], now_s=0)
    job = await index.lease_copy(now_s=0, lease_s=60)
    record = await index.add_object(new_object("a", "d1"))
    assert record is not None
    assert record == await index.key_state(BUCKET, "a")
    assert await index.copy_jobs(BUCKET, states=list(CopyState), limit=9) == []
    assert job is not None
    assert await index.commit_copy(job, new_object("a", "d2", provenance=Provenance.COPIED_FROM_ORIGIN)) is None
    assert record == await index.key_state(BUCKET, "a")


async def test_a_key_with_an_object_a_tombstone_or_a_write_under_way_is_not(index: SqlIndex) -> None:
    await index.put_object(new_object("written", "d1"))
    await put_copy(index, "copied", "d2")
    await index.delete_object(BUCKET, "deleted", now_s=0)
    write_id = await index.begin_origin_write(BUCKET, "under-way", now_s=0)
    for key in ("written", "copied", "deleted", "under-way"):
        before = await index.key_state(BUCKET, key)
        assert await index.add_object(new_object(key, "d3")) is None
        assert await index.key_state(BUCKET, key) == before
    await index.end_origin_write(write_id, WriteOutcome.REFUSED)
    assert await index.add_object(new_object("under-way", "d3")) is not None


async def test_an_object_is_replaced_while_it_is_current(index: SqlIndex) -> None:
    first = await index.add_object(new_object("a", "d1"))
    assert first is not None
    second = await index.replace_object(first, new_object("a", "d1", etag="another"))
    assert second.etag == "another"
    assert second.generation > first.generation
    assert await garbage_ids(index) == []
    third = await index.replace_object(second, new_object("a", "d2"))
    assert await garbage_ids(index) == ["d1"]
    assert await index.key_state(BUCKET, "a") == third
    for outdated in (first, second):
        with pytest.raises(SourceChanged):
            await index.replace_object(outdated, new_object("a", "d3"))
    await index.delete_object(BUCKET, "a", now_s=0)
    with pytest.raises(SourceChanged):
        await index.replace_object(third, new_object("a", "d3"))
    assert set(await garbage_ids(index)) == {"d1", "d2"}


async def test_a_write_past_us_still_decides_a_key_whose_object_is_described_anew(index: SqlIndex) -> None:
    record = await index.add_object(new_object("a", "d1"))
    assert record is not None
    write_id = await index.begin_origin_write(BUCKET, "a", now_s=0)
    await index.replace_object(record, new_object("a", "d1", etag="another"))
    await index.end_origin_write(write_id, WriteOutcome.ACCEPTED)
    assert await index.key_state(BUCKET, "a") is None


async def test_a_document_without_a_message_and_without_hashes_reads_back_so(index: SqlIndex) -> None:
    loose = replace(document("d1"), chat_id=0, message_id=0)
    (extent,) = new_object("a", "d1").extents
    record = await index.add_object(
        replace(new_object("a", "d1"), extents=[replace(extent, document=loose, block_sha256s=b"")])
    )
    assert record is not None
    assert record == await index.key_state(BUCKET, "a")
    (read_back,) = record.extents
    assert not read_back.has_hashes
    assert not read_back.document.has_message
