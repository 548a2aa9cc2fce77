"""Every method in any order, against a model in plain Python.

The model is the contract of the port once more, as simple as it can be said: it keeps nothing but dictionaries.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from addon.store.ports import WriteOutcome
from addon.store.records import CopyJob, CopyOrder, CopyState, Document, ObjectRecord, Provenance, Tombstone
from tests.index.conftest import IMPLEMENTATIONS
from tests.index.samples import BUCKET, document, new_copy, new_object

T = TypeVar("T")

KEYS = st.sampled_from(["a", "b/\0", "é😀"])
LEASE_S = 60.0


@dataclass
class Write:
    """A write to the origin under way."""

    key: str
    overruled: bool = False


class IndexMachine(RuleBasedStateMachine):
    """Drives an index and the model."""

    implementation = "sqlite"

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.index = self.run(IMPLEMENTATIONS[self.implementation](Path(self.folder.name)))
        self.now_s = 1000.0
        self.documents: dict[str, Document] = {}
        self.states: dict[str, ObjectRecord | Tombstone] = {}
        self.jobs: dict[str, CopyJob] = {}
        self.writes: dict[int, Write] = {}
        self.leased: list[CopyJob] = []
        self.last_generation = 0
        self.names = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.run(self.index.close())
        self.runner.close()
        self.folder.cleanup()

    def new_names(self, number: int, old: list[str]) -> list[str]:
        self.names += number
        return [f"d{self.names - n}" for n in range(number)] + [name for name in old if name in self.documents]

    def keep(self, record: ObjectRecord) -> None:
        assert record.generation > self.last_generation
        self.last_generation = record.generation
        self.states[record.key] = record
        self.documents |= {extent.document.document_id: extent.document for extent in record.extents}

    def decided_here(self, key: str) -> None:
        self.jobs.pop(key, None)
        for write in self.writes.values():
            if write.key == key:
                write.overruled = True

    def forget_copy(self, key: str) -> None:
        state = self.states.get(key)
        if state is None or (isinstance(state, ObjectRecord) and state.provenance is Provenance.COPIED_FROM_ORIGIN):
            self.states.pop(key, None)
            self.jobs.pop(key, None)

    @rule(key=KEYS, number=st.integers(0, 3), old=st.lists(st.sampled_from(["d1", "d2", "d3"]), max_size=2))
    def put(self, key: str, number: int, old: list[str]) -> None:
        new = new_object(key, *self.new_names(number, old))
        self.keep(self.run(self.index.put_object(new)))
        self.decided_here(key)

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        tombstone = self.run(self.index.delete_object(BUCKET, key, now_s=self.now_s))
        assert tombstone.generation > self.last_generation
        self.last_generation = tombstone.generation
        self.states[key] = tombstone
        self.decided_here(key)

    @rule(key=KEYS)
    def supersede(self, key: str) -> None:
        self.run(self.index.supersede(BUCKET, key))
        self.states.pop(key, None)
        self.decided_here(key)

    @rule(number=st.integers(1, 2))
    def add_documents(self, number: int) -> None:
        added = [document(name) for name in self.new_names(number, [])]
        self.run(self.index.add_documents(added, now_s=self.now_s))
        self.documents |= {one.document_id: one for one in added}

    @rule(key=KEYS, etag=st.sampled_from(["e1", "e2"]))
    def grant_anonymous_read(self, key: str, etag: str) -> None:
        self.run(self.index.grant_anonymous_read(BUCKET, key, etag=etag))
        state = self.states.get(key)
        if isinstance(state, ObjectRecord) and state.etag == etag:  # objects written here have another
            self.states[key] = replace(state, anonymous_read=True)
        if key in self.jobs:
            self.jobs[key] = replace(self.jobs[key], anonymous_read=True)

    @rule(seconds=st.sampled_from([1.0, LEASE_S / 2, LEASE_S]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(key=KEYS, anonymous_read=st.booleans())
    def enqueue(self, key: str, anonymous_read: bool) -> None:
        order = CopyOrder(BUCKET, key, anonymous_read)
        ordered = self.run(self.index.enqueue_copies([order], now_s=self.now_s)) == 1
        job = self.jobs.get(key)
        assert ordered == (key not in self.states and (job is None or job.state is CopyState.FAILED))
        anonymous_read = anonymous_read or (job is not None and job.anonymous_read)
        if ordered:
            (stored,) = [job for job in self.all_jobs() if job.key == key]
            assert job is None or stored.job_id > job.job_id
            self.jobs[key] = CopyJob(stored.job_id, BUCKET, key, CopyState.WAITING, 0, self.now_s, anonymous_read, "")
        elif job is not None:
            self.jobs[key] = replace(job, anonymous_read=anonymous_read)

    @rule()
    def lease(self) -> None:
        job = self.run(self.index.lease_copy(now_s=self.now_s, lease_s=LEASE_S))
        written = {write.key for write in self.writes.values()}
        due = {
            key
            for key, one in self.jobs.items()
            if one.state in {CopyState.WAITING, CopyState.RUNNING}
            and one.not_before_s <= self.now_s
            and key not in written
        }
        if job is None:
            assert not due
            return
        assert job.key in due
        before = self.jobs[job.key]
        assert job == replace(
            before, state=CopyState.RUNNING, attempts=before.attempts + 1, not_before_s=self.now_s + LEASE_S
        )
        self.jobs[job.key] = job
        self.leased.append(job)

    @precondition(lambda self: self.leased)
    @rule(data=st.data(), etag=st.sampled_from(["e1", "e2"]))
    def commit(self, data: st.DataObject, etag: str) -> None:
        job = data.draw(st.sampled_from(self.leased))
        new = new_copy(job.key, *self.new_names(1, []), etag=etag, anonymous_read=job.anonymous_read)
        record = self.run(self.index.commit_copy(job, new))
        current = self.jobs.get(job.key)
        stands = current is not None and current.job_id == job.job_id
        blocked = job.key in {write.key for write in self.writes.values()}
        assert (record is not None) == (stands and not blocked and job.key not in self.states)
        self.documents |= {extent.document.document_id: extent.document for extent in new.extents}
        if record is not None:
            assert record.anonymous_read == (self.jobs.pop(job.key).anonymous_read or job.anonymous_read)
            self.keep(record)
        elif stands:
            # Whether and when it may be leased again is left to the implementation: take its word.
            (self.jobs[job.key],) = [one for one in self.all_jobs() if one.key == job.key]

    @precondition(lambda self: self.leased)
    @rule(data=st.data(), state=st.sampled_from([CopyState.WAITING, CopyState.FAILED, CopyState.SKIPPED]))
    def release(self, data: st.DataObject, state: CopyState) -> None:
        job = data.draw(st.sampled_from(self.leased))
        not_before_s = self.now_s + 10
        self.run(self.index.release_copy(job, state=state, not_before_s=not_before_s, reason="why"))
        current = self.jobs.get(job.key)
        if current is not None and current.state is CopyState.RUNNING:
            same = (current.job_id, current.attempts) == (job.job_id, job.attempts)
            if same:
                self.jobs[job.key] = replace(current, state=state, not_before_s=not_before_s, reason="why")

    @rule(key=KEYS)
    def begin_origin_write(self, key: str) -> None:
        write_id = self.run(self.index.begin_origin_write(BUCKET, key, now_s=self.now_s))
        assert write_id not in self.writes
        self.writes[write_id] = Write(key)

    @precondition(lambda self: self.writes)
    @rule(data=st.data(), outcome=st.sampled_from(WriteOutcome))
    def end_origin_write(self, data: st.DataObject, outcome: WriteOutcome) -> None:
        write_id = data.draw(st.sampled_from(sorted(self.writes)))
        self.run(self.index.end_origin_write(write_id, outcome))
        write = self.writes.pop(write_id)
        if write.overruled or outcome is WriteOutcome.REFUSED:
            return
        if outcome is WriteOutcome.ACCEPTED:
            self.states.pop(write.key, None)
            self.jobs.pop(write.key, None)
        else:
            self.forget_copy(write.key)

    @rule()
    def restart(self) -> None:
        self.run(self.index.close())
        self.index = self.run(IMPLEMENTATIONS[self.implementation](Path(self.folder.name)))
        pending = [write for write in self.writes.values() if not write.overruled]
        assert self.run(self.index.resolve_cut_off_origin_writes()) == len(pending)
        self.writes.clear()
        for write in pending:
            self.forget_copy(write.key)

    def all_jobs(self) -> list[CopyJob]:
        return list(self.run(self.index.copy_jobs(BUCKET, states=list(CopyState), limit=100)))

    @invariant()
    def every_key_is_as_the_model_says(self) -> None:
        for key in ("a", "b/\0", "é😀"):
            assert self.run(self.index.key_state(BUCKET, key)) == self.states.get(key)
            pending = any(write.key == key and not write.overruled for write in self.writes.values())
            assert self.run(self.index.has_origin_write(BUCKET, key)) == pending

    @invariant()
    def jobs_are_as_the_model_says(self) -> None:
        assert self.all_jobs() == sorted(self.jobs.values(), key=lambda job: job.job_id)

    @invariant()
    def garbage_is_what_no_object_holds(self) -> None:
        held = {
            extent.document.document_id
            for state in self.states.values()
            if isinstance(state, ObjectRecord)
            for extent in state.extents
        }
        garbage = self.run(self.index.garbage(limit=1000))
        assert sorted(one.document_id for one in garbage) == sorted(set(self.documents) - held)
        assert all(one == self.documents[one.document_id] for one in garbage)

    @invariant()
    def counts_are_those_of_the_model(self) -> None:
        objects = [state for state in self.states.values() if isinstance(state, ObjectRecord)]
        states = [job.state for job in self.jobs.values()]
        assert self.run(self.index.counts(BUCKET)) == {
            "objects": len(objects),
            "bytes": sum(record.size for record in objects),
            "tombstones": len(self.states) - len(objects),
            "uploads": 0,
        } | {state.value: states.count(state) for state in CopyState}


@pytest.mark.parametrize("implementation", sorted(IMPLEMENTATIONS))
def test_any_order_of_calls_agrees_with_the_model(implementation: str) -> None:
    machine = type("Machine", (IndexMachine,), {"implementation": implementation})
    machine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
    machine.TestCase("runTest").debug()
