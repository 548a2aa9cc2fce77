"""Abandoned uploads: the task that forgets them, with a clock and a sleep of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from addon.index.sql_index import SqlIndex, open_index
from addon.store.expiry import EXPIRY_BATCH, EXPIRY_PERIOD_S, UploadExpiry
from addon.store.multipart import MultipartUpload, NewPart
from addon.store.ports import Index, IndexUnavailable

BEGUN_S = 1_800_000_000
WEEK_S = 7 * 86_400.0


class Store:
    """What the task sees of the object store: its index and its clock."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.time_s = float(BEGUN_S)

    def now_s(self) -> float:
        return self.time_s


class Pauses:
    """A sleep that ends when the test says so."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[float] = asyncio.Queue()
        self.go_on = asyncio.Semaphore(0)

    async def __call__(self, wait_s: float) -> None:
        self.asked.put_nowait(wait_s)
        await self.go_on.acquire()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    index = await open_index(f"sqlite:///{tmp_path / 'index.db'}")
    yield Store(index)
    await index.close()


async def begin(store: Store, upload_id: str) -> None:
    await store.index.create_upload(
        MultipartUpload(upload_id, "images", upload_id, int(store.now_s()), headers={}, anonymous_read=False)
    )


async def put_part(store: Store, upload_id: str, number: int) -> None:
    await store.index.put_part(upload_id, NewPart(number, 0, "0" * 32, {}, int(store.now_s()), ()))


def expiry_of(store: Any, **more: Any) -> UploadExpiry:
    return UploadExpiry(store, expire_after_s=WEEK_S, **more)


async def test_only_what_is_older_than_the_setting_goes(store: Store) -> None:
    await begin(store, "old")
    store.time_s += 1
    await begin(store, "young")
    store.time_s = BEGUN_S + WEEK_S
    assert await expiry_of(store).expire() == 0
    store.time_s += 0.5
    assert await expiry_of(store).expire() == 1
    assert await store.index.upload("old") is None
    assert await store.index.upload("young") is not None


async def test_an_upload_is_not_abandoned_while_parts_come(store: Store) -> None:
    for upload_id in ("busy", "idle"):
        await begin(store, upload_id)
    store.time_s += WEEK_S - 1
    await put_part(store, "busy", 1)
    store.time_s += 2
    assert await expiry_of(store).expire() == 1
    assert await store.index.upload("idle") is None
    assert len(await store.index.parts("busy", after=0, limit=9)) == 1
    store.time_s += WEEK_S
    assert await expiry_of(store).expire() == 1


async def test_a_part_that_comes_when_its_upload_was_found_to_be_old_saves_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begin(store, "saved")
    store.time_s += WEEK_S + 1
    find = SqlIndex._expired_uploads

    async def found_before_the_part(self: SqlIndex, state: str, before_s: float, limit: int) -> Sequence[str]:
        found = await find(self, state, before_s, limit)
        if found:
            await put_part(store, "saved", 1)
        return found

    monkeypatch.setattr(SqlIndex, "_expired_uploads", found_before_the_part)
    assert await expiry_of(store).expire() == 0
    assert len(await store.index.parts("saved", after=0, limit=9)) == 1


async def test_many_go_in_batches(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for at in range(2 * EXPIRY_BATCH + 1):
        await begin(store, f"u{at}")
    limits: list[int] = []
    expire = type(store.index).expire_uploads

    async def seen(self: Any, *, untouched_since_s: float, limit: int) -> int:
        limits.append(limit)
        return await expire(self, untouched_since_s=untouched_since_s, limit=limit)

    monkeypatch.setattr(type(store.index), "expire_uploads", seen)
    store.time_s += WEEK_S + 1
    assert await expiry_of(store).expire() == 2 * EXPIRY_BATCH + 1
    assert len(limits) >= 3
    assert set(limits) == {EXPIRY_BATCH}


async def test_it_looks_at_once_and_then_again_and_outlives_failures(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pauses = Pauses()
    failures: list[Exception] = [IndexUnavailable("the disk is full"), RuntimeError("a defect")]
    expire = type(store.index).expire_uploads

    async def failing(self: Any, *, untouched_since_s: float, limit: int) -> int:
        if failures:
            raise failures.pop(0)
        return await expire(self, untouched_since_s=untouched_since_s, limit=limit)

    monkeypatch.setattr(type(store.index), "expire_uploads", failing)
    await begin(store, "old")
    store.time_s += WEEK_S + 1
    expiry = expiry_of(store, sleep=pauses)
    expiry.start()
    try:
        async with asyncio.timeout(10):
            for _ in range(2):
                assert await pauses.asked.get() == EXPIRY_PERIOD_S
                assert await store.index.upload("old") is not None
                pauses.go_on.release()
            await pauses.asked.get()
        assert await store.index.upload("old") is None
    finally:
        await expiry.stop()
    assert "the disk is full" in caplog.text
    assert "a defect" in caplog.text


async def test_it_stops_in_the_middle_of_a_pause_and_may_never_have_been_started(store: Store) -> None:
    pauses = Pauses()
    expiry = expiry_of(store, sleep=pauses)
    await expiry.stop()
    expiry.start()
    async with asyncio.timeout(10):
        await pauses.asked.get()
        await expiry.stop()
