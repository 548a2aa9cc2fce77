"""Many readers at once: what is fetched is fetched once, and nobody waits for anybody."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from addon.store import arrivals, reader, streams
from addon.store.reader import READ_AHEAD_BLOCKS, READ_AHEAD_BLOCKS_MAX, Admission
from addon.store.records import BLOCK_BYTES, ObjectRecord
from tests.service.product import eventually
from tests.store.reading_world import Library, extent_of, library, record_of

READERS = 16
BLOCKS, DOCUMENTS = 4, 3
KEEPS_ALL = Admission(1 << 20, 64 << 20)
NEIGHBOURS, NEIGHBOUR_BYTES = 30, 40_000
SLOW = {"kind": "slow", "bytes_per_s": 20_000_000}


async def pack(kept: Library) -> tuple[list[ObjectRecord], bytes]:
    """Many small objects in one document, and its bytes."""
    content = random.Random(1).randbytes(NEIGHBOURS * NEIGHBOUR_BYTES)
    document = await kept.document("pack", content)
    offsets = range(0, len(content), NEIGHBOUR_BYTES)
    return [record_of(f"n{at}", [extent_of(document, content, at, NEIGHBOUR_BYTES)]) for at in offsets], content


async def test_many_readers_of_a_small_object_make_one_download(tmp_path: Path) -> None:
    async with library(tmp_path) as kept:
        record, content = await kept.large("k", 1, 1)
        assert await asyncio.gather(*(kept.read(record) for _ in range(READERS))) == [content] * READERS
        assert len(kept.downloads()) == 1


async def test_many_readers_of_a_large_object_download_each_document_once(tmp_path: Path) -> None:
    async with library(tmp_path) as kept:
        record, content = await kept.large("k", BLOCKS, DOCUMENTS)
        assert await asyncio.gather(*(kept.read(record) for _ in range(READERS))) == [content] * READERS
        assert [download["sent_bytes"] for download in kept.downloads()] == [BLOCKS * BLOCK_BYTES] * DOCUMENTS
        assert len(kept.world.calls("getfile")) == DOCUMENTS


async def test_a_slow_reader_holds_up_nobody_and_gets_his_bytes(tmp_path: Path) -> None:
    async with library(tmp_path) as kept:
        record, content = await kept.large("k", BLOCKS, DOCUMENTS)
        async with aclosing(kept.reader.read(record, 0, record.size)) as slow:
            first = await anext(slow)
            assert await asyncio.gather(*(kept.read(record) for _ in range(3))) == [content] * 3
            assert first + b"".join([piece async for piece in slow]) == content


async def test_a_reader_who_vanishes_takes_nothing_from_the_others(tmp_path: Path) -> None:
    async with library(tmp_path) as kept:
        record, content = await kept.large("k", BLOCKS, DOCUMENTS)
        first, second = kept.reader.read(record, 0, record.size), kept.reader.read(record, 0, record.size)
        taken = (await asyncio.gather(anext(first), anext(second)))[1]
        await first.aclose()
        assert taken + b"".join([piece async for piece in second]) == content
        waiting = [asyncio.create_task(kept.read(record, BLOCK_BYTES, 2 * BLOCK_BYTES)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        assert await waiting[1] == await waiting[2] == content[BLOCK_BYTES : 3 * BLOCK_BYTES]
        assert all(download["outcome"] == "answered" for download in kept.downloads())


async def test_who_is_a_little_behind_downloads_nothing(tmp_path: Path) -> None:
    async with library(tmp_path) as kept:
        record, content = await kept.large("k", 2 * BLOCKS, 1)
        first = kept.reader.read(record, 0, record.size)
        got = b"".join([await anext(first) for _ in range(BLOCKS)])
        assert await kept.read(record) == content
        assert got + b"".join([piece async for piece in first]) == content
        assert len(kept.downloads()) == 1


async def test_a_download_that_nobody_follows_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "PARK_S", 3600.0)
    async with library(tmp_path) as kept:
        record, _ = await kept.large("k", 16, 1)
        leaving = kept.reader.read(record, 0, record.size)
        await anext(leaving)
        await leaving.aclose()
        await eventually(lambda: not kept.reader._arrivals._tasks)
        await eventually(lambda: kept.downloads()[0]["outcome"] != "open")
        assert kept.downloads()[0]["sent_bytes"] < record.size


async def test_a_reader_who_takes_nothing_is_given_little_and_lets_go_of_his_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "PARK_S", 0.05)
    monkeypatch.setattr(reader, "WAITED_S", 3600.0)
    async with library(tmp_path, downloads_in_flight_max=1) as kept:
        record, content = await kept.large("k", 16, 1)
        other, others_content = await kept.large("other", 1, 1)
        async with aclosing(kept.reader.read(record, 0, record.size)) as idle:
            first = await anext(idle)
            assert await kept.read(other) == others_content, "the only connection was given back"
            assert len(kept.reader._arrivals._recent) <= 2 + READ_AHEAD_BLOCKS
            assert first + b"".join([piece async for piece in idle]) == content


async def test_what_is_held_for_those_behind_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "RECENT_BYTES_MAX", 3 * BLOCK_BYTES)
    async with library(tmp_path) as kept:
        record, content = await kept.large("k", BLOCKS, DOCUMENTS)
        async with aclosing(kept.reader.read(record, 0, record.size)) as pieces:
            got = b""
            async for piece in pieces:
                got += piece
                held = kept.reader._arrivals
                assert held._recent_bytes == sum(map(len, held._recent.values())) <= 3 * BLOCK_BYTES
                assert len(held._on_the_way) <= READ_AHEAD_BLOCKS_MAX
        assert got == content


async def test_a_failure_reaches_all_who_wait_and_is_forgotten(tmp_path: Path) -> None:
    async with library(tmp_path) as kept:
        record, content = await kept.large("k", 1, 1)
        kept.world.faults({"kind": "empty200"}, method="download", times=None)
        outcomes = await asyncio.gather(*(kept.read(record) for _ in range(3)), return_exceptions=True)
        assert [type(outcome).__name__ for outcome in outcomes] == ["TelegramUnavailable"] * 3
        kept.world.standin.control.clear_faults()
        assert await kept.read(record) == content


async def test_a_range_costs_its_blocks_and_no_more_where_ranges_are_honoured(tmp_path: Path) -> None:
    async with library(tmp_path) as kept:
        record, content = await kept.large("k", BLOCKS, DOCUMENTS)
        start = BLOCKS * BLOCK_BYTES + 2 * BLOCK_BYTES + 5
        assert await kept.read(record, start, 1) == content[start : start + 1]
        assert [download["sent_bytes"] for download in kept.downloads()] == [BLOCK_BYTES]
        start = BLOCKS * BLOCK_BYTES - 3
        assert await kept.read(record, start, 6) == content[start : start + 6]
        assert [download["sent_bytes"] for download in kept.downloads()[1:]] == [BLOCK_BYTES] * 2
        records, content = await pack(kept)
        assert await kept.read(records[20]) == content[20 * NEIGHBOUR_BYTES : 21 * NEIGHBOUR_BYTES]
        assert kept.downloads()[-1]["sent_bytes"] == NEIGHBOUR_BYTES


async def test_where_ranges_are_ignored_neighbours_come_with_the_first(tmp_path: Path) -> None:
    async with library(tmp_path, ranges=False, admission=KEEPS_ALL) as kept:
        records, content = await pack(kept)
        await kept.read(records[0])
        await kept.read(records[1])
        assert kept.world.documents.reads_from_start()
        await kept.read(records[20])
        await kept.settle()
        before = len(kept.downloads())
        for _ in range(2):
            for number in range(21):
                expected = content[number * NEIGHBOUR_BYTES : (number + 1) * NEIGHBOUR_BYTES]
                assert await kept.read(records[number]) == expected
            kept.restart()
        assert len(kept.downloads()) == before
        assert kept.pieces_on_disk() == [f"pack-0-{21 * NEIGHBOUR_BYTES}"]
        await kept.read(records[25])
        await kept.settle()
        assert kept.pieces_on_disk() == [f"pack-0-{26 * NEIGHBOUR_BYTES}"]


async def test_what_came_with_others_is_checked_like_anything_on_disk(tmp_path: Path) -> None:
    async with library(tmp_path, ranges=False, admission=KEEPS_ALL) as kept:
        records, content = await pack(kept)
        await kept.read(records[1])
        await kept.read(records[20])
        await kept.settle()
        (path,) = (tmp_path / "cache").glob("*/*-0-*")
        data = bytearray(path.read_bytes())
        data[5 * NEIGHBOUR_BYTES + 7] ^= 1
        path.write_bytes(data)
        kept.restart()
        before = len(kept.downloads())
        assert await kept.read(records[4]) == content[4 * NEIGHBOUR_BYTES : 5 * NEIGHBOUR_BYTES]
        assert len(kept.downloads()) == before
        assert await kept.read(records[5]) == content[5 * NEIGHBOUR_BYTES : 6 * NEIGHBOUR_BYTES]
        assert len(kept.downloads()) == before + 1


async def test_what_nobody_can_check_is_never_on_disk(tmp_path: Path) -> None:
    async with library(tmp_path, ranges=False, admission=KEEPS_ALL) as kept:
        records, content = await pack(kept)
        for number in (3, 20):
            unread = replace(records[number].extents[0], block_sha256s=b"")
            expected = content[number * NEIGHBOUR_BYTES : (number + 1) * NEIGHBOUR_BYTES]
            assert await kept.read(record_of("imported", [unread])) == expected
            await kept.settle()
        assert kept.pieces_on_disk() == []


async def test_what_is_too_large_for_the_disk_cache_is_not_kept_for_its_neighbours(tmp_path: Path) -> None:
    small = Admission(0, 2 * NEIGHBOUR_BYTES)
    async with library(tmp_path, ranges=False, admission=small) as kept:
        records, _ = await pack(kept)
        await kept.read(records[1])
        await kept.read(records[20])
        assert kept.pieces_on_disk() == [f"pack-{number * NEIGHBOUR_BYTES}-{NEIGHBOUR_BYTES}" for number in (1, 20)]


async def test_the_next_links_are_asked_for_while_the_first_document_comes(tmp_path: Path) -> None:
    async with library(tmp_path) as kept:
        record, _ = await kept.large("k", 8, 4)
        async with aclosing(kept.reader.read(record, 0, record.size)) as pieces:
            await anext(pieces)
            await eventually(lambda: len(kept.world.calls("getfile")) == 3)
            assert len(kept.downloads()) == 1


async def test_documents_come_side_by_side_where_one_is_too_slow(tmp_path: Path) -> None:
    async with library(tmp_path) as kept:
        record, content = await kept.large("k", BLOCKS, 4)
        kept.world.faults(SLOW, method="download", times=None)
        side_by_side = 0
        got = b""
        async with aclosing(kept.reader.read(record, 0, record.size)) as pieces:
            async for piece in pieces:
                got += piece
                side_by_side = max(side_by_side, sum(one["outcome"] == "open" for one in kept.downloads()))
        assert got == content
        assert side_by_side >= 3
        assert kept.reader._spare.blocks == 160, "what was taken beyond the first few blocks is given back"


async def test_nothing_is_begun_ahead_beyond_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "STREAMS_BEFORE_NEED_MAX", 1)
    async with library(tmp_path, downloads_in_flight_max=1) as kept:
        record, content = await kept.large("k", 2, 4)
        assert await kept.read(record) == content
        assert len(kept.downloads()) == 4


async def test_an_object_that_has_one_extent_twice(tmp_path: Path) -> None:
    async with library(tmp_path) as kept:
        record, content = await kept.large("k", 2, 1)
        twice = record_of("twice", [*record.extents, *record.extents])
        assert await kept.read(twice) == content * 2
        assert await kept.read(twice, len(content) - 1, 2) == content[-1:] + content[:1]
