"""Where a bucket stands on its way from the origin: pure, from what the index says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from addon.store.migration import Amount, BucketFacts, MigrationIndex, Totals
from addon.store.ports import Index
from addon.store.records import CopyJob, CopyState

# So many failed and so many skipped keys are named.
NAMED_MAX = 20


@dataclass(frozen=True, slots=True)
class BucketStatus:
    """One bucket; `unfinished` are its failed and skipped copies, the oldest of each first, at most so many as were asked for."""

    bucket: str
    has_origin: bool
    facts: BucketFacts
    totals: Totals
    unfinished: Sequence[CopyJob]

    def as_json(self) -> Mapping[str, Any]:
        """For machines: plain values, times in UNIX seconds, sizes in bytes."""
        return {
            "bucket": self.bucket,
            "has_origin": self.has_origin,
            **asdict(self.facts),
            **asdict(self.totals),
            "unfinished": [
                {"key": job.key, "state": job.state.value, "attempts": job.attempts, "reason": job.reason}
                for job in self.unfinished
            ],
        }


async def bucket_status(
    index: Index, migration: MigrationIndex, bucket: str, *, has_origin: bool, named_max: int = NAMED_MAX
) -> BucketStatus:
    """What the index knows of the bucket now."""
    unfinished: list[CopyJob] = []
    for state in (CopyState.FAILED, CopyState.SKIPPED):
        unfinished += await index.copy_jobs(bucket, states=[state], limit=named_max)
    facts, totals = await migration.bucket_facts(bucket), await migration.totals(bucket)
    return BucketStatus(bucket, has_origin, facts, totals, unfinished)


def obstacles(totals: Totals, facts: BucketFacts, *, leave_skipped: bool = False) -> list[str]:
    """What stands between a bucket and the end of its origin, each with what to do about it; empty where nothing does."""
    found = []
    if facts.sweep is None or facts.sweep.ended_at_s is None:
        found.append("the origin was never listed to its end: run tgstore migrate")
    if totals.waiting.objects:
        found.append(f"{_keys(totals.waiting)} wait to be copied: run tgstore migrate")
    if totals.failed.objects:
        found.append(
            f"{_keys(totals.failed)} could not be copied: see tgstore status, then tgstore migrate --retry-failed"
        )
    if totals.skipped.objects and not leave_skipped:
        found.append(
            f"{_keys(totals.skipped)} cannot be copied: see tgstore status; --leave-skipped gives them up with the origin"
        )
    if totals.unverified.objects:
        found.append(f"{_keys(totals.unverified)} were never compared with the origin: run tgstore verify")
    if totals.origin_writes:
        found.append(f"{totals.origin_writes} writes to the origin are under way: try again when they have ended")
    return found


def _keys(amount: Amount) -> str:
    return f"{amount.objects} keys"
