"""What may change of a bucket while the proxy runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from addon.index.sql_index import open_index
from addon.store.migration import MigrationIndex
from addon.store.policies import USUAL, BucketPolicies, LiveOrigins, Mode, Policy, Writes
from addon.store.ports import IndexUnavailable
from addon.store.retirement import Retirements
from tests.service.product import eventually

BOTH = Policy(writes=Writes.BOTH)
PASSTHROUGH = Policy(Mode.PASSTHROUGH)


def test_settings_reach_buckets_that_exist_and_leave_retirement_alone() -> None:
    policies = BucketPolicies({"a": USUAL, "b": Policy(retired=True)})
    assert policies.follow_settings({"a": BOTH, "b": PASSTHROUGH, "new": BOTH}) == ["a", "b"]
    assert policies.of("a") == BOTH
    assert policies.of("b") == Policy(Mode.PASSTHROUGH, retired=True)
    assert policies.of("new") == USUAL
    assert policies.follow_settings({"a": BOTH}) == []


def test_a_snapshot_never_changes() -> None:
    policies = BucketPolicies({"a": USUAL})
    before = policies.current
    policies.follow_retirements(frozenset({"a"}))
    assert before["a"] == USUAL
    assert policies.of("a").retired


def test_a_retired_bucket_is_a_store_that_takes_writes_itself() -> None:
    for policy in (Policy(Mode.PASSTHROUGH, Writes.ORIGIN, retired=True), Policy(writes=Writes.BOTH, retired=True)):
        assert not policy.passes_through
        assert policy.writes_now is Writes.TELEGRAM
    assert PASSTHROUGH.passes_through
    assert PASSTHROUGH.writes_now is Writes.ORIGIN


def test_nothing_is_copied_of_what_is_retired_or_passes_through() -> None:
    policies = BucketPolicies({"a": USUAL, "b": PASSTHROUGH, "c": Policy(retired=True), "d": BOTH})
    assert policies.at_rest() == {"b", "c"}


def test_a_retired_bucket_has_no_origin_until_it_is_not_retired_any_more() -> None:
    policies, origin = BucketPolicies({"a": USUAL, "b": USUAL}), object()
    origins: LiveOrigins[Any] = LiveOrigins({"a": origin, "b": None}, policies)
    policies.follow_retirements(frozenset({"a"}))
    assert dict(origins) == {"a": None, "b": None}
    policies.follow_retirements(frozenset())
    assert origins["a"] is origin


async def test_a_running_proxy_learns_of_retirement_and_says_that_it_is_there(tmp_path: Path) -> None:
    index = await open_index(f"sqlite:///{tmp_path}/index.db")
    policies = BucketPolicies({"a": USUAL})
    retirements = Retirements(index, policies, now_s=lambda: 1000.0, poll_s=0.002)
    retirements.start()
    try:

        async def is_seen() -> bool:
            return await index.proxies_seen_since(1000.0) == 1

        await eventually(is_seen)
        assert await index.retire("a", now_s=1.0, leave_skipped=False)

        async def is_retired() -> bool:
            return policies.of("a").retired

        await eventually(is_retired)
        await index.unretire("a")

        async def is_back() -> bool:
            return not policies.of("a").retired

        await eventually(is_back)
        await retirements.stop()
        assert await index.proxies_seen_since(0.0) == 0
    finally:
        await retirements.stop()
        await index.close()


async def test_an_index_that_does_not_answer_keeps_the_last_knowledge(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index = await open_index(f"sqlite:///{tmp_path}/index.db")
    await index.retire("a", now_s=1.0, leave_skipped=False)
    policies = BucketPolicies({"a": USUAL})
    retirements = Retirements(index, policies, poll_s=0.002)
    await retirements.learn()
    await index.close()
    with pytest.raises(IndexUnavailable):
        await _asked(index)
    retirements.start()

    async def is_said() -> bool:
        return "cannot be read" in caplog.text

    await eventually(is_said)
    assert policies.of("a").retired
    await retirements.stop()
    assert caplog.text.count("cannot be read") == 1


async def _asked(index: MigrationIndex) -> frozenset[str]:
    return await index.retired_buckets()
