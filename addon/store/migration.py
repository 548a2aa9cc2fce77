"""What moving a whole bucket needs to know and remember, beyond single objects: values, and the port of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from addon.store.records import CopyJob, CopyState, ObjectRecord, Provenance, Tombstone


@dataclass(frozen=True, slots=True)
class SweepOrder:
    """A key that the origin lists and that has not moved; `size` in bytes, as listed."""

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """The last walk through the origin's whole listing: begun, got as far as the key `after`, ended (None: not yet)."""

    began_at_s: float
    ended_at_s: float | None
    after: str
    listed_objects: int
    listed_bytes: int


@dataclass(frozen=True, slots=True)
class Verification:
    """The last complete comparison with the origin: how many objects, how many of them differed; `deep`: bytes read back."""

    at_s: float
    compared: int
    differed: int
    deep: bool


@dataclass(frozen=True, slots=True)
class BucketFacts:
    """What is remembered of a bucket. `retired_at_s`: since when no connection to its origin is made, None while there are."""

    retired_at_s: float | None = None
    sweep: Sweep | None = None
    verification: Verification | None = None


@dataclass(frozen=True, slots=True)
class Amount:
    """So many keys, and the bytes of their objects where those are known."""

    objects: int = 0
    size: int = 0


NOTHING = Amount()


@dataclass(frozen=True, slots=True)
class Totals:
    """A bucket in numbers.

    `moved` objects are copies of the origin's, `written` ones were written here; `unverified` are those of the moved ones that
    were never compared with the origin. `waiting` (those that are being copied included), `failed` and `skipped` are copy jobs.
    """

    moved: Amount = NOTHING
    written: Amount = NOTHING
    unverified: Amount = NOTHING
    tombstones: int = 0
    uploads: int = 0
    waiting: Amount = NOTHING
    running: int = 0
    failed: Amount = NOTHING
    skipped: Amount = NOTHING
    origin_writes: int = 0


class MigrationIndex(Protocol):
    """The index, as far as the migration of whole buckets needs it; the terms are those of `ports.Index`."""

    async def bucket_facts(self, bucket: str) -> BucketFacts:
        """What is remembered of the bucket."""

    async def retired_buckets(self) -> frozenset[str]:
        """The buckets whose origin is not asked any more."""

    async def totals(self, bucket: str) -> Totals:
        """The bucket in numbers, as of one moment."""

    async def orphans(self) -> Amount:
        """Documents of all buckets that no object uses any more."""

    async def begin_sweep(self, bucket: str, *, now_s: float) -> None:
        """A walk through the whole listing begins at its first key."""

    async def order_swept(
        self, bucket: str, orders: Sequence[SweepOrder], *, now_s: float, walk: Sweep | None = None
    ) -> Amount:
        """Order copies of listed keys (1000 at most) that have no object, no tombstone and no job, behind those that somebody
        read. A job that failed or was skipped stays so. `walk` is remembered in the same transaction. Returns how many were
        newly ordered, and their bytes."""

    async def forget_unlisted(self, bucket: str, listed: Sequence[str], *, after: str, until: str | None) -> int:
        """The origin lists these keys and no others behind `after`, up to and with `until` (None: to its end). Failed and skipped
        copies of keys that it does not have any more are forgotten; returns how many."""

    async def unknown_among(self, bucket: str, keys: Sequence[str]) -> frozenset[str]:
        """Which of `keys` (1000 at most) have neither object nor tombstone."""

    async def skipped_among(self, bucket: str, keys: Sequence[str]) -> frozenset[str]:
        """Which of `keys` (1000 at most) have a copy job that was skipped."""

    async def lease_swept(self, bucket: str, prefix: str, *, now_s: float, lease_s: float) -> CopyJob | None:
        """`Index.lease_copy` for one bucket's keys below a prefix, whoever ordered them."""

    async def next_due_s(self, bucket: str, prefix: str) -> float | None:
        """When the first waiting or running job below the prefix is due; None where there is none."""

    async def waiting(self, bucket: str, prefix: str) -> Amount:
        """Waiting and running copies of keys below a prefix."""

    async def take_back_leases(self, bucket: str, *, now_s: float) -> int:
        """Running copies wait again, because the process that had leased them is known to have ended; returns how many."""

    async def retry_copies(self, bucket: str, *, states: Sequence[CopyState], now_s: float) -> int:
        """Order failed or skipped copies anew; returns how many."""

    async def objects_after(
        self, bucket: str, *, prefix: str, after: str, limit: int, provenance: Provenance | None = None
    ) -> Sequence[ObjectRecord]:
        """Up to `limit` objects in UTF-8 byte order, of one provenance or of any, without their extents."""

    async def objects_amount(self, bucket: str, *, prefix: str, provenance: Provenance | None = None) -> Amount:
        """How many objects `objects_after` leads through."""

    async def tombstones_after(self, bucket: str, *, prefix: str, after: str, limit: int) -> Sequence[Tombstone]:
        """Up to `limit` tombstones in UTF-8 byte order."""

    async def mark_verified(self, records: Sequence[ObjectRecord], *, now_s: float) -> None:
        """These objects equal the origin's; one that was replaced in the meantime stays as it is."""

    async def remember_verification(self, bucket: str, verification: Verification) -> None:
        """A comparison of the whole bucket has ended."""

    async def forget_copy(self, record: ObjectRecord) -> bool:
        """Remove a copy, unless it was replaced in the meantime or is not one: the origin is asked about its key again. False
        where nothing was removed."""

    async def mark_checked(self, record: ObjectRecord, *, now_s: float) -> None:
        """The origin still holds this very object."""

    async def retire(self, bucket: str, *, now_s: float, leave_skipped: bool) -> bool:
        """From now on the bucket's origin is not asked any more. False, and nothing changed, where a key waits, fails or was
        skipped (unless `leave_skipped`), a copy was never verified, or a write to the origin is under way."""

    async def unretire(self, bucket: str) -> bool:
        """Undo that; False where it was not retired."""

    async def proxy_seen(self, proxy_id: str, *, now_s: float) -> None:
        """A running proxy says that it is there."""

    async def proxies_seen_since(self, since_s: float) -> int:
        """How many proxies have said so since then."""

    async def proxy_gone(self, proxy_id: str) -> None:
        """It stops."""
