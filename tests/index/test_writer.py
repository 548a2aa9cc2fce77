"""Group commit: one fsync for what waits together, each failure on its own, bounded, in order, closed properly."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine

from addon.index import objects
from addon.index.sql_index import SqlIndex, open_index
from addon.store.ports import IndexUnavailable
from tests.index.samples import BUCKET, document, new_object

WAIT_S_MAX = 20


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[SqlIndex]:
    opened = await open_index(
        f"sqlite:///{tmp_path}/index.db", write_queue_length_max=8, write_group_length_max=6, now_s=lambda: 5.0
    )
    yield opened
    await opened.close()


class Gate:
    """Work that holds the writer until it is let through."""

    def __init__(self, index: SqlIndex) -> None:
        self._inside, self._open = threading.Event(), threading.Event()
        self._task = asyncio.create_task(index._writer.run(self._hold))

    def _hold(self, _: Connection) -> None:
        self._inside.set()
        assert self._open.wait(WAIT_S_MAX)

    async def reached(self) -> None:
        assert await asyncio.to_thread(self._inside.wait, WAIT_S_MAX)

    async def let_through(self) -> None:
        self._open.set()
        await self._task


async def start(*work: object) -> list[asyncio.Task[object]]:
    tasks = [asyncio.create_task(one) for one in work]  # type: ignore[arg-type]
    for _ in range(3):  # each task has put its work into the queue
        await asyncio.sleep(0)
    return tasks


async def test_what_waits_together_is_committed_together_and_in_order(index: SqlIndex) -> None:
    commits = 0

    def count(_: Connection) -> None:
        nonlocal commits
        commits += 1

    gate = Gate(index)
    await gate.reached()
    event.listen(Engine, "commit", count)
    try:
        tasks = await start(*(index.put_object(new_object("a", f"d{n}")) for n in range(5)))
        await gate.let_through()
        records = await asyncio.gather(*tasks)
    finally:
        event.remove(Engine, "commit", count)
    assert commits == 2  # the gate's own, and one for all the others
    assert [record.generation for record in records] == sorted(record.generation for record in records)  # type: ignore[attr-defined]
    assert await index.key_state(BUCKET, "a") == records[-1]


async def test_one_that_fails_is_undone_alone(index: SqlIndex) -> None:
    def fail_half_way(connection: Connection) -> None:
        objects.put_object(connection, new_object("b", "d2"), 5.0)
        raise LookupError("a defect")

    def fail_in_the_database(connection: Connection) -> None:
        objects.put_object(connection, new_object("c", "d3"), 5.0)
        objects.insert_object(connection, new_object("c", "d3"), 5.0)

    gate = Gate(index)
    await gate.reached()
    tasks = await start(
        index.put_object(new_object("a", "d1")),
        index._writer.run(fail_half_way),
        index._writer.run(fail_in_the_database),
        index.put_object(new_object("d", "d4")),
    )
    await gate.let_through()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[1], LookupError)
    assert isinstance(outcomes[2], IndexUnavailable)
    assert "UNIQUE" in str(outcomes[2])
    assert [await index.key_state(BUCKET, key) for key in "abcd"] == [outcomes[0], None, None, outcomes[3]]
    assert list(await index.garbage(limit=9)) == []


async def test_a_commit_that_fails_fails_all_and_nothing_was_changed(index: SqlIndex) -> None:
    def refuse(_: Connection) -> None:
        raise OSError("no commit today")

    gate = Gate(index)
    await gate.reached()
    event.listen(Engine, "commit", refuse)
    try:
        tasks = await start(*(index.put_object(new_object(key)) for key in "abc"))
        with pytest.raises(IndexUnavailable, match="no commit today"):
            await gate.let_through()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        event.remove(Engine, "commit", refuse)
    assert [type(outcome) for outcome in outcomes] == [IndexUnavailable] * 3
    assert [await index.key_state(BUCKET, key) for key in "abc"] == [None] * 3
    await index.put_object(new_object("a"))


async def test_no_more_than_the_limit_wait(index: SqlIndex) -> None:
    gate = Gate(index)
    await gate.reached()
    tasks = await start(*(index.put_object(new_object(str(n))) for n in range(10)))
    assert sum(task.done() for task in tasks) == 2
    await gate.let_through()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes if isinstance(outcome, Exception)] == [
        "8 writes wait for the index already"
    ] * 2
    assert (await index.counts(BUCKET))["objects"] == 8


async def test_one_who_is_cancelled_in_the_queue_takes_the_write_back(index: SqlIndex) -> None:
    gate = Gate(index)
    await gate.reached()
    (cancelled, other) = await start(index.put_object(new_object("a")), index.put_object(new_object("b")))
    cancelled.cancel()
    await asyncio.wait([cancelled], timeout=WAIT_S_MAX)
    await gate.let_through()
    await other
    assert await index.key_state(BUCKET, "a") is None
    assert await index.key_state(BUCKET, "b") is not None


async def test_one_who_is_cancelled_later_finds_it_written(index: SqlIndex) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def put(connection: Connection) -> None:
        inside.set()
        assert go_on.wait(WAIT_S_MAX)
        objects.put_object(connection, new_object("a"), 5.0)

    task = asyncio.create_task(index._writer.run(put))
    assert await asyncio.to_thread(inside.wait, WAIT_S_MAX)
    task.cancel()
    await asyncio.wait([task], timeout=WAIT_S_MAX)
    go_on.set()
    await index.check_writable()  # behind it in the queue
    assert await index.key_state(BUCKET, "a") is not None


async def test_close_carries_out_what_waits_and_refuses_what_comes_later(tmp_path: Path) -> None:
    index = await open_index(f"sqlite:///{tmp_path}/other.db")
    gate = Gate(index)
    await gate.reached()
    (waiting,) = await start(index.put_object(new_object("a")))
    closing = asyncio.create_task(index.close())
    await gate.let_through()
    await asyncio.wait_for(closing, WAIT_S_MAX)
    await waiting
    for work in (
        index.put_object(new_object("b")),
        index.add_documents([document("d")], now_s=0),
        index.key_state(BUCKET, "a"),
        index.counts(BUCKET),
    ):
        with pytest.raises(IndexUnavailable, match="closed"):
            await work
    await index.close()
    index = await open_index(f"sqlite:///{tmp_path}/other.db")
    assert await index.key_state(BUCKET, "a") is not None
    assert await index.key_state(BUCKET, "b") is None
    await index.close()
