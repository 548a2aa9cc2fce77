"""The contract of the port `MigrationIndex`: sweeps, verification, retirement, running proxies."""

from __future__ import annotations

from typing import Any

import pytest

from addon.store.migration import Amount, BucketFacts, Sweep, SweepOrder, Totals, Verification
from addon.store.records import CopyOrder, CopyState, ObjectRecord, Provenance
from tests.index.samples import BUCKET, new_copy, new_object

AT_S = 100.0


async def order(index: Any, *keys: str, size: int = 10) -> int:
    new = await index.order_swept(BUCKET, [SweepOrder(key, size) for key in keys], now_s=AT_S)
    assert new.size == size * new.objects
    return int(new.objects)


async def moved(index: Any, key: str, document: str = "") -> ObjectRecord:
    await index.enqueue_copies([CopyOrder(BUCKET, key, False)], now_s=0)
    job = await index.lease_swept(BUCKET, key, now_s=AT_S, lease_s=60)
    record = await index.commit_copy(job, new_copy(key, document or f"document of {key}"))
    assert record is not None
    return record


async def test_a_sweep_orders_what_is_undecided_once(index: Any) -> None:
    await index.put_object(new_object("here", "d1"))
    await index.delete_object(BUCKET, "deleted", now_s=5)
    await index.enqueue_copies([CopyOrder(BUCKET, "read", False)], now_s=AT_S)
    assert await order(index, "a", "here", "deleted", "read", "z") == 2
    assert await order(index, "a", "z") == 0
    assert (await index.totals(BUCKET)).waiting == Amount(3, 20)
    assert await index.unknown_among(BUCKET, ["a", "here", "deleted", "new"]) == {"a", "new"}


async def test_what_somebody_read_is_copied_before_what_was_swept(index: Any) -> None:
    await order(index, "a", "b", "c")
    await index.enqueue_copies([CopyOrder(BUCKET, "read", False)], now_s=AT_S + 1)
    await index.enqueue_copies([CopyOrder(BUCKET, "c", True)], now_s=AT_S + 1)
    late_s = AT_S + 10
    leased = [await index.lease_copy(now_s=late_s, lease_s=60) for _ in range(4)]
    assert [(job.key, job.swept) for job in leased] == [("c", False), ("read", False), ("a", True), ("b", True)]
    assert leased[0].anonymous_read


async def test_a_sweep_leases_within_its_bucket_and_prefix(index: Any) -> None:
    await order(index, "a/1", "b/1", "b/2", "c")
    await index.enqueue_copies([CopyOrder("other", "b/0", False)], now_s=0)
    for expected in ("b/1", "b/2"):
        job = await index.lease_swept(BUCKET, "b/", now_s=AT_S, lease_s=60)
        assert (job.bucket, job.key, job.attempts) == (BUCKET, expected, 1)
    assert await index.lease_swept(BUCKET, "b/", now_s=AT_S, lease_s=60) is None
    assert await index.next_due_s(BUCKET, "b/") == AT_S + 60
    assert await index.next_due_s(BUCKET, "a/") == AT_S
    assert await index.next_due_s(BUCKET, "nothing") is None
    assert [await index.waiting(BUCKET, prefix) for prefix in ("", "b/", "n")] == [
        Amount(4, 40),
        Amount(2, 20),
        Amount(),
    ]
    assert await index.take_back_leases(BUCKET, now_s=AT_S) == 2
    assert (await index.lease_swept(BUCKET, "b/", now_s=AT_S, lease_s=60)).attempts == 2


async def test_a_walk_is_remembered_with_what_it_ordered(index: Any) -> None:
    assert await index.bucket_facts(BUCKET) == BucketFacts()
    await index.begin_sweep(BUCKET, now_s=1)
    assert await index.bucket_facts(BUCKET) == BucketFacts(sweep=Sweep(1, None, "", 0, 0))
    walk = Sweep(1, None, "é", 2, 20)
    await index.order_swept(BUCKET, [SweepOrder("a", 10), SweepOrder("é", 10)], now_s=2, walk=walk)
    assert (await index.bucket_facts(BUCKET)).sweep == walk
    ended = Sweep(1, 3, "é", 2, 20)
    await index.order_swept(BUCKET, [], now_s=3, walk=ended)
    assert (await index.bucket_facts(BUCKET)).sweep == ended
    await index.begin_sweep(BUCKET, now_s=9)
    assert (await index.bucket_facts(BUCKET)).sweep == Sweep(9, None, "", 0, 0)


async def test_failed_and_skipped_copies_are_retried(index: Any) -> None:
    await order(index, "failed", "skipped", "waiting")
    for state in (CopyState.FAILED, CopyState.SKIPPED):
        job = await index.lease_swept(BUCKET, state.value, now_s=AT_S, lease_s=60)
        await index.release_copy(job, state=state, not_before_s=0, reason="why")
    assert await order(index, "failed", "skipped") == 0, "a sweep leaves them to whoever looks at them"
    assert await index.retry_copies(BUCKET, states=[CopyState.FAILED], now_s=AT_S) == 1
    (job,) = [job for job in await index.copy_jobs(BUCKET, states=list(CopyState), limit=9) if job.key == "failed"]
    assert (job.state, job.attempts, job.reason) == (CopyState.WAITING, 0, "")
    assert await index.retry_copies(BUCKET, states=[CopyState.FAILED, CopyState.SKIPPED], now_s=AT_S) == 1


async def test_failures_of_keys_that_the_origin_lost_are_forgotten(index: Any) -> None:
    for key in ("a", "b", "c", "d", "e"):
        await order(index, key)
        job = await index.lease_swept(BUCKET, key, now_s=AT_S, lease_s=60)
        await index.release_copy(job, state=CopyState.FAILED, not_before_s=0, reason="404")
    await order(index, "b2")
    assert await index.forget_unlisted(BUCKET, ["c"], after="a", until="d") == 2
    jobs = await index.copy_jobs(BUCKET, states=list(CopyState), limit=9)
    assert {job.key for job in jobs} == {"a", "b2", "c", "e"}
    assert await index.forget_unlisted(BUCKET, [], after="d", until=None) == 1


async def test_totals_tell_a_bucket_in_numbers(index: Any) -> None:
    assert await index.totals(BUCKET) == Totals()
    first, _second = await moved(index, "a"), await moved(index, "b")
    await index.put_object(new_object("written", "d9"))
    await index.delete_object(BUCKET, "gone", now_s=5)
    await index.begin_origin_write(BUCKET, "past us", now_s=5)
    await index.mark_verified([first], now_s=7)
    await order(index, "waits", "runs", "fails", size=3)
    await index.lease_swept(BUCKET, "runs", now_s=AT_S, lease_s=60)
    job = await index.lease_swept(BUCKET, "fails", now_s=AT_S, lease_s=60)
    await index.release_copy(job, state=CopyState.FAILED, not_before_s=0, reason="why")
    assert await index.totals(BUCKET) == Totals(
        moved=Amount(2, first.size * 2),
        written=Amount(1, new_object("written", "d9").size),
        unverified=Amount(1, first.size),
        tombstones=1,
        waiting=Amount(2, 6),
        running=1,
        failed=Amount(1, 3),
        origin_writes=1,
    )
    assert await index.orphans() == Amount()
    await index.delete_object(BUCKET, "written", now_s=6)
    assert (await index.orphans()).objects == 1


async def test_objects_come_in_order_without_extents(index: Any) -> None:
    for key in ("a", "b/1", "b/2", "b0", "é"):
        await index.put_object(new_object(key, f"d{key}"))
    await index.delete_object(BUCKET, "b/3", now_s=5)
    first = await index.objects_after(BUCKET, prefix="", after="", limit=2)
    assert [record.key for record in first] == ["a", "b/1"]
    whole = await index.key_state(BUCKET, "a")
    assert (first[0].etag, first[0].generation, first[0].headers) == (whole.etag, whole.generation, whole.headers)
    rest = await index.objects_after(BUCKET, prefix="", after="b/1", limit=9)
    assert [record.key for record in rest] == ["b/2", "b0", "é"]
    assert [record.key for record in await index.objects_after(BUCKET, prefix="b/", after="", limit=9)] == [
        "b/1",
        "b/2",
    ]


async def test_objects_of_one_provenance_and_tombstones_come_in_order_too(index: Any) -> None:
    copies = [await moved(index, key) for key in ("a/1", "b/1")]
    for key in ("a/2", "b/2"):
        await index.put_object(new_object(key, f"d{key}"))
    for key in ("a/0", "a/3", "b/3"):
        await index.delete_object(BUCKET, key, now_s=5)
    for provenance, expected in (
        (Provenance.COPIED_FROM_ORIGIN, ["a/1", "b/1"]),
        (Provenance.WRITTEN_HERE, ["a/2", "b/2"]),
        (None, ["a/1", "a/2", "b/1", "b/2"]),
    ):
        found = await index.objects_after(BUCKET, prefix="", after="", limit=9, provenance=provenance)
        assert [record.key for record in found] == expected
        whole = await index.objects_amount(BUCKET, prefix="", provenance=provenance)
        assert whole == Amount(len(expected), len(expected) * copies[0].size)
    assert await index.objects_amount(BUCKET, prefix="b/") == Amount(2, 2 * copies[0].size)
    assert await index.objects_amount(BUCKET, prefix="c/") == Amount()
    found = await index.tombstones_after(BUCKET, prefix="a/", after="a/0", limit=9)
    assert [(tombstone.key, tombstone.deleted_at_s) for tombstone in found] == [("a/3", 5)]
    found = await index.tombstones_after(BUCKET, prefix="", after="", limit=2)
    assert [tombstone.key for tombstone in found] == ["a/0", "a/3"]
    assert found[0] == await index.key_state(BUCKET, "a/0")


async def test_a_verification_counts_for_the_very_object(index: Any) -> None:
    copy = await moved(index, "a")
    await index.mark_verified([copy], now_s=7)
    assert (await index.totals(BUCKET)).unverified == Amount()
    assert (await index.key_state(BUCKET, "a")).checked_at_s == 7
    assert await index.forget_copy(copy)
    again = await moved(index, "a", "another")
    await index.mark_verified([copy], now_s=8)
    await index.mark_checked(copy, now_s=8)
    assert (await index.totals(BUCKET)).unverified.objects == 1
    assert await index.key_state(BUCKET, "a") == again
    verification = Verification(9, 5, 1, True)
    await index.remember_verification(BUCKET, verification)
    assert (await index.bucket_facts(BUCKET)).verification == verification


async def test_only_the_very_copy_is_forgotten(index: Any) -> None:
    copy = await moved(index, "a")
    written = await index.put_object(new_object("a", "d2"))
    assert not await index.forget_copy(copy)
    assert not await index.forget_copy(written)
    assert await index.key_state(BUCKET, "a") == written


@pytest.mark.parametrize("obstacle", ["waiting", "running", "failed", "skipped", "unverified", "origin write", None])
async def test_a_bucket_is_retired_only_when_nothing_stands_in_the_way(index: Any, obstacle: str | None) -> None:
    copy = await moved(index, "a")
    if obstacle != "unverified":
        await index.mark_verified([copy], now_s=7)
    if obstacle in {"waiting", "running", "failed", "skipped"}:
        await order(index, "b")
    if obstacle in {"running", "failed", "skipped"}:
        job = await index.lease_swept(BUCKET, "", now_s=AT_S, lease_s=60)
        if obstacle != "running":
            await index.release_copy(job, state=CopyState(obstacle), not_before_s=0, reason="why")
    if obstacle == "origin write":
        await index.begin_origin_write(BUCKET, "c", now_s=5)
    assert await index.retire(BUCKET, now_s=9, leave_skipped=False) == (obstacle is None)
    assert (await index.bucket_facts(BUCKET)).retired_at_s == (9 if obstacle is None else None)
    assert await index.retire(BUCKET, now_s=10, leave_skipped=True) == (obstacle in {None, "skipped"})


async def test_retirement_is_undone(index: Any) -> None:
    assert not await index.unretire(BUCKET)
    await index.retire(BUCKET, now_s=9, leave_skipped=False)
    await index.remember_verification("other", Verification(9, 5, 1, True))
    assert await index.retired_buckets() == {BUCKET}
    assert await index.unretire(BUCKET)
    assert await index.retired_buckets() == frozenset()


async def test_running_proxies_are_known(index: Any) -> None:
    await index.proxy_seen("one", now_s=10)
    await index.proxy_seen("two", now_s=10)
    await index.proxy_seen("one", now_s=20)
    assert [await index.proxies_seen_since(since_s) for since_s in (10, 11, 21)] == [2, 1, 0]
    await index.proxy_gone("one")
    assert await index.proxies_seen_since(0) == 1
