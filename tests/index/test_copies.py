"""The contract of the port `Index`: copy jobs and their fence."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from addon.store.ports import Index, WriteOutcome
from addon.store.records import CopyJob, CopyOrder, CopyState, ObjectRecord
from tests.index.samples import BUCKET, new_copy, new_object
from tests.index.test_objects import garbage_ids, is_anonymous


async def order(index: Index, key: str, *, anonymous_read: bool = False, now_s: float = 100) -> bool:
    return await index.enqueue_copies([CopyOrder(BUCKET, key, anonymous_read)], now_s=now_s) == 1


async def lease(index: Index, *, now_s: float = 100, lease_s: float = 60) -> CopyJob:
    job = await index.lease_copy(now_s=now_s, lease_s=lease_s)
    assert job is not None
    return job


async def jobs_of(index: Index, *states: CopyState) -> list[CopyJob]:
    return list(await index.copy_jobs(BUCKET, states=states or list(CopyState), limit=100))


async def test_a_copy_is_ordered_leased_and_committed(index: Index) -> None:
    assert await order(index, "a", anonymous_read=True)
    job = await lease(index)
    assert (job.bucket, job.key, job.state, job.attempts) == (BUCKET, "a", CopyState.RUNNING, 1)
    assert job.anonymous_read
    assert await jobs_of(index) == [job]
    record = await index.commit_copy(job, new_copy("a", "d1", anonymous_read=True))
    assert record is not None
    assert record == await index.key_state(BUCKET, "a")
    assert await jobs_of(index) == []
    assert await garbage_ids(index) == []


async def test_a_key_is_ordered_once(index: Index) -> None:
    assert [await order(index, "a") for _ in range(3)] == [True, False, False]
    job = await lease(index)
    assert not await order(index, "a")
    await index.release_copy(job, state=CopyState.SKIPPED, not_before_s=0, reason="archived")
    assert not await order(index, "a")
    assert len(await jobs_of(index)) == 1


async def test_many_keys_are_ordered_at_once_each_once_and_only_where_undecided(index: Index) -> None:
    await index.put_object(new_object("key 7"))
    await index.delete_object(BUCKET, "key 300", now_s=5)
    await order(index, "key 9")
    wanted = [CopyOrder(BUCKET, f"key {number}", number == 9) for number in (*range(500), 8, 9, 10)]
    assert await index.enqueue_copies(wanted, now_s=100) == 497
    jobs = await index.copy_jobs(BUCKET, states=list(CopyState), limit=1000)
    assert {job.key for job in jobs} == {f"key {number}" for number in range(500)} - {"key 7", "key 300"}
    assert len({job.job_id for job in jobs}) == len(jobs) == 498
    assert [job.key for job in jobs if job.anonymous_read] == ["key 9"]
    assert await index.enqueue_copies([], now_s=100) == 0


async def test_what_is_decided_here_is_not_ordered(index: Index) -> None:
    await index.put_object(new_object("a"))
    await index.delete_object(BUCKET, "b", now_s=5)
    assert not await order(index, "a")
    assert not await order(index, "b")
    assert await jobs_of(index) == []


async def test_a_failed_job_is_ordered_again_from_the_start(index: Index) -> None:
    await order(index, "a", anonymous_read=True)
    failed = await lease(index)
    await index.release_copy(failed, state=CopyState.FAILED, not_before_s=0, reason="500")
    assert await index.lease_copy(now_s=1e9, lease_s=60) is None
    assert await order(index, "a", now_s=200)
    again = await lease(index, now_s=200)
    assert (again.attempts, again.reason, again.anonymous_read) == (1, "", True)
    assert again.job_id > failed.job_id
    await index.release_copy(failed, state=CopyState.SKIPPED, not_before_s=0, reason="late")
    assert await jobs_of(index) == [again]


async def test_a_waiting_job_gains_the_anonymous_read_and_never_loses_it(index: Index) -> None:
    await order(index, "a")
    await order(index, "a", anonymous_read=True)
    await order(index, "a", anonymous_read=False)
    assert (await lease(index)).anonymous_read


@pytest.mark.parametrize("by_grant", [False, True])
async def test_an_anonymous_read_granted_while_the_copy_is_under_way_counts(index: Index, by_grant: bool) -> None:
    await order(index, "a")
    job = await lease(index)
    if by_grant:
        await index.grant_anonymous_read(BUCKET, "a", etag="copied")
    else:
        await order(index, "a", anonymous_read=True)
    record = await index.commit_copy(job, new_copy("a", "d1"))
    assert record is not None
    assert record.anonymous_read
    assert await is_anonymous(index, "a")


async def test_jobs_are_leased_when_their_time_has_come_in_its_order(index: Index) -> None:
    for key, now_s in (("late", 300.0), ("early", 100.0), ("later", 301.0)):
        await order(index, key, now_s=now_s)
    assert await index.lease_copy(now_s=99, lease_s=60) is None
    assert (await lease(index, now_s=300)).key == "early"
    assert (await lease(index, now_s=300)).key == "late"
    assert await index.lease_copy(now_s=300.9, lease_s=60) is None


async def test_a_released_job_waits_for_its_time_and_keeps_its_reason_and_attempts(index: Index) -> None:
    await order(index, "a")
    job = await lease(index)
    await index.release_copy(job, state=CopyState.WAITING, not_before_s=500, reason="origin answered 503 \0 \udcff")
    (waiting,) = await jobs_of(index, CopyState.WAITING)
    assert (waiting.attempts, waiting.not_before_s) == (1, 500)
    assert waiting.reason.startswith("origin answered 503 ")
    assert await index.lease_copy(now_s=499, lease_s=60) is None
    assert (await lease(index, now_s=500)).attempts == 2


async def test_a_reason_is_cut_off_where_it_is_endless(index: Index) -> None:
    await order(index, "a")
    await index.release_copy(await lease(index), state=CopyState.FAILED, not_before_s=0, reason="x" * 100_000)
    (job,) = await jobs_of(index, CopyState.FAILED)
    assert job.reason == "x" * 1000


async def test_a_lease_that_runs_out_is_given_to_another(index: Index) -> None:
    await order(index, "a")
    first = await lease(index, now_s=100, lease_s=60)
    assert await index.lease_copy(now_s=159, lease_s=60) is None
    second = await lease(index, now_s=160, lease_s=60)
    assert (second.job_id, second.attempts) == (first.job_id, 2)
    await index.release_copy(first, state=CopyState.FAILED, not_before_s=0, reason="too late to say so")
    assert await jobs_of(index) == [second]


async def test_a_lease_that_is_extended_is_not_given_to_another(index: Index) -> None:
    await order(index, "a")
    job = await lease(index, now_s=100, lease_s=60)
    assert await index.extend_leases([job], now_s=150, lease_s=60) == {job.job_id}
    assert await index.lease_copy(now_s=200, lease_s=60) is None
    assert (await lease(index, now_s=211)).attempts == 2


async def test_a_lease_that_was_lost_is_not_extended(index: Index) -> None:
    await order(index, "a")
    job = await lease(index, now_s=100, lease_s=60)
    await lease(index, now_s=161)
    assert not await index.extend_leases([job], now_s=162, lease_s=60)
    await order(index, "b")
    other = await lease(index, now_s=100)
    await index.put_object(new_object("b"))
    assert not await index.extend_leases([other], now_s=110, lease_s=60)


@pytest.mark.parametrize("winner", [0, 1])
async def test_of_two_who_copy_the_same_job_the_first_to_finish_wins(index: Index, winner: int) -> None:
    await order(index, "a")
    jobs = [await lease(index, now_s=100), await lease(index, now_s=200)]
    record = await index.commit_copy(jobs[winner], new_copy("a", "won"))
    assert await index.commit_copy(jobs[1 - winner], new_copy("a", "lost")) is None
    assert await index.key_state(BUCKET, "a") == record
    assert await garbage_ids(index) == ["lost"]


Change = Callable[[Index], Awaitable[object]]


async def _accepted_write(index: Index) -> None:
    await index.end_origin_write(await index.begin_origin_write(BUCKET, "a", now_s=0), WriteOutcome.ACCEPTED)


async def _unknown_write(index: Index) -> None:
    await index.end_origin_write(await index.begin_origin_write(BUCKET, "a", now_s=0), WriteOutcome.UNKNOWN)


async def _cut_off_write(index: Index) -> None:
    await index.begin_origin_write(BUCKET, "a", now_s=0)
    await index.resolve_cut_off_origin_writes()


async def _put_and_supersede(index: Index) -> None:
    await index.put_object(new_object("a"))
    await index.supersede(BUCKET, "a")


CHANGES: dict[str, Change] = {
    "put": lambda index: index.put_object(new_object("a", "newer")),
    "delete": lambda index: index.delete_object(BUCKET, "a", now_s=5),
    "supersede": lambda index: index.supersede(BUCKET, "a"),
    "put_then_supersede": _put_and_supersede,
    "write_under_way": lambda index: index.begin_origin_write(BUCKET, "a", now_s=5),
    "write_accepted": _accepted_write,
    "write_unknown": _unknown_write,
    "write_cut_off": _cut_off_write,
}


@pytest.mark.parametrize("ordered_again", [False, True])
@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_between_lease_and_commit_beats_the_copy(index: Index, change: str, ordered_again: bool) -> None:
    await order(index, "a")
    job = await lease(index)
    await CHANGES[change](index)
    if ordered_again:
        await order(index, "a")
    before = await index.key_state(BUCKET, "a")
    assert await index.commit_copy(job, new_copy("a", "stale1", "stale2")) is None
    assert await index.key_state(BUCKET, "a") == before
    assert sorted(await garbage_ids(index)) == ["stale1", "stale2"]


@pytest.mark.parametrize("change", [name for name in CHANGES if name != "write_under_way"])
async def test_a_job_that_a_change_removed_stays_removed(index: Index, change: str) -> None:
    await order(index, "a")
    job = await lease(index)
    await CHANGES[change](index)
    await index.release_copy(job, state=CopyState.WAITING, not_before_s=0, reason="503")
    assert await jobs_of(index) == []


async def test_a_refused_write_lets_the_copy_go_on(index: Index) -> None:
    await order(index, "a")
    job = await lease(index)
    write_id = await index.begin_origin_write(BUCKET, "a", now_s=5)
    await index.end_origin_write(write_id, WriteOutcome.REFUSED)
    assert isinstance(await index.commit_copy(job, new_copy("a", "d1")), ObjectRecord)


async def test_a_copy_that_met_a_write_under_way_is_made_anew_when_that_was_refused(index: Index) -> None:
    await order(index, "a")
    job = await lease(index)
    write_id = await index.begin_origin_write(BUCKET, "a", now_s=5)
    assert await index.commit_copy(job, new_copy("a", "d1")) is None
    far_s = 1e10
    assert await index.lease_copy(now_s=far_s, lease_s=60) is None
    await index.end_origin_write(write_id, WriteOutcome.REFUSED)
    assert (await lease(index, now_s=far_s)).key == "a"


@pytest.mark.parametrize("outcome", WriteOutcome)
async def test_no_copy_begins_before_an_overruled_write_has_ended(index: Index, outcome: WriteOutcome) -> None:
    # The write is still on its way to the origin when a write here, itself superseded, takes its say away: what the origin
    # holds is not certain before it has arrived.
    write_id = await index.begin_origin_write(BUCKET, "a", now_s=0)
    await _put_and_supersede(index)
    assert await order(index, "a")
    assert await index.lease_copy(now_s=100, lease_s=60) is None
    await index.end_origin_write(write_id, outcome)
    assert (await lease(index)).key == "a"


async def test_a_copy_is_committed_under_its_own_key_only(index: Index) -> None:
    await order(index, "a")
    with pytest.raises(ValueError, match="the key of its job"):
        await index.commit_copy(await lease(index), new_copy("b", "d1"))


async def test_counts_and_jobs_are_those_of_one_bucket(index: Index) -> None:
    for state in (CopyState.FAILED, CopyState.SKIPPED, CopyState.WAITING, CopyState.RUNNING):
        await order(index, state.value)
        job = await lease(index)
        if state is not CopyState.RUNNING:
            await index.release_copy(job, state=state, not_before_s=1e9, reason="why")
    await index.enqueue_copies([CopyOrder("other", "x", False)], now_s=100)
    await index.put_object(new_object("p", "d1", "d2"))
    await index.put_object(new_object("q", "d1"))
    await index.delete_object(BUCKET, "r", now_s=5)
    assert await index.counts(BUCKET) == {
        "objects": 2,
        "bytes": 30,
        "tombstones": 1,
        "uploads": 0,
        "waiting": 1,
        "running": 1,
        "failed": 1,
        "skipped": 1,
    }
    assert [job.key for job in await jobs_of(index)] == ["failed", "skipped", "waiting", "running"]
    assert [job.key for job in await jobs_of(index, CopyState.FAILED, CopyState.SKIPPED)] == ["failed", "skipped"]
    assert len(await index.copy_jobs(BUCKET, states=list(CopyState), limit=3)) == 3
    assert set((await index.counts("empty")).values()) == {0}
