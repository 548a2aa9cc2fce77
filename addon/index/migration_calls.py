"""The port `MigrationIndex`, as the part of `SqlIndex` that it is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from addon.index import copies, migration, migration_queries
from addon.index.reader import Reader
from addon.index.writer import Writer
from addon.store.migration import Amount, BucketFacts, Sweep, SweepOrder, Totals, Verification
from addon.store.records import CopyJob, CopyState, ObjectRecord, Provenance, Tombstone

T = TypeVar("T")


def _tell_nobody(bucket: str, key: str) -> None:
    """Until somebody is registered."""


class MigrationCalls:
    """Implements `addon.store.migration.MigrationIndex`; see there for what each method promises."""

    def __init__(self, *, reader: Reader, writer: Writer, now_s: Callable[[], float]) -> None:
        self._reader, self._writer, self._now_s = reader, writer, now_s
        self._tell: Callable[[str, str], None] = _tell_nobody

    async def bucket_facts(self, bucket: str) -> BucketFacts:
        return await self._read(migration_queries.facts, bucket)

    async def retired_buckets(self) -> frozenset[str]:
        return await self._read(migration_queries.retired_buckets)

    async def totals(self, bucket: str) -> Totals:
        return await self._read(migration_queries.totals, bucket)

    async def orphans(self) -> Amount:
        return await self._read(migration_queries.orphans)

    async def amounts_by_key(self) -> Mapping[str, Amount]:
        """See `addon.store.key_check.SealedIndex`."""
        return await self._read(migration_queries.amounts_by_key)

    async def begin_sweep(self, bucket: str, *, now_s: float) -> None:
        await self._write(migration.begin_sweep, bucket, now_s)

    async def order_swept(
        self, bucket: str, orders: Sequence[SweepOrder], *, now_s: float, walk: Sweep | None = None
    ) -> Amount:
        return await self._write(migration.order_swept, bucket, tuple(orders), now_s, walk)

    async def forget_unlisted(self, bucket: str, listed: Sequence[str], *, after: str, until: str | None) -> int:
        return await self._write(migration.forget_unlisted, bucket, tuple(listed), after, until)

    async def unknown_among(self, bucket: str, keys: Sequence[str]) -> frozenset[str]:
        return await self._read(migration_queries.unknown_among, bucket, tuple(keys))

    async def skipped_among(self, bucket: str, keys: Sequence[str]) -> frozenset[str]:
        return await self._read(migration_queries.skipped_among, bucket, tuple(keys))

    async def lease_swept(self, bucket: str, prefix: str, *, now_s: float, lease_s: float) -> CopyJob | None:
        return await self._write(copies.lease_swept, bucket, prefix, now_s, lease_s)

    async def next_due_s(self, bucket: str, prefix: str) -> float | None:
        return await self._read(migration_queries.next_due_s, bucket, prefix)

    async def waiting(self, bucket: str, prefix: str) -> Amount:
        return await self._read(migration_queries.waiting, bucket, prefix)

    async def take_back_leases(self, bucket: str, *, now_s: float) -> int:
        return await self._write(migration.take_back_leases, bucket, now_s)

    async def retry_copies(self, bucket: str, *, states: Sequence[CopyState], now_s: float) -> int:
        return await self._write(migration.retry_copies, bucket, tuple(states), now_s)

    async def objects_after(
        self, bucket: str, *, prefix: str, after: str, limit: int, provenance: Provenance | None = None
    ) -> Sequence[ObjectRecord]:
        return await self._read(migration_queries.objects_after, bucket, prefix, after, limit, provenance)

    async def objects_amount(self, bucket: str, *, prefix: str, provenance: Provenance | None = None) -> Amount:
        return await self._read(migration_queries.objects_amount, bucket, prefix, provenance)

    async def tombstones_after(self, bucket: str, *, prefix: str, after: str, limit: int) -> Sequence[Tombstone]:
        return await self._read(migration_queries.tombstones_after, bucket, prefix, after, limit)

    async def mark_verified(self, records: Sequence[ObjectRecord], *, now_s: float) -> None:
        await self._write(migration.mark_verified, tuple(records), now_s)

    async def remember_verification(self, bucket: str, verification: Verification) -> None:
        await self._write(migration.remember_verification, bucket, verification)

    async def forget_copy(self, record: ObjectRecord) -> bool:
        with self._telling(record.bucket, record.key):
            return await self._write(migration.forget_copy, record, self._now_s())

    async def mark_checked(self, record: ObjectRecord, *, now_s: float) -> None:
        await self._write(migration.mark_checked, record, now_s)

    async def retire(self, bucket: str, *, now_s: float, leave_skipped: bool) -> bool:
        return await self._writer.run(
            lambda connection: migration.retire(connection, bucket, now_s, leave_skipped=leave_skipped)
        )

    async def unretire(self, bucket: str) -> bool:
        return await self._write(migration.unretire, bucket)

    async def proxy_seen(self, proxy_id: str, *, now_s: float) -> None:
        await self._write(migration.proxy_seen, proxy_id, now_s)

    async def proxies_seen_since(self, since_s: float) -> int:
        return await self._read(migration_queries.proxies_seen_since, since_s)

    async def proxy_gone(self, proxy_id: str) -> None:
        await self._write(migration.proxy_gone, proxy_id)

    @contextlib.contextmanager
    def _telling(self, bucket: str, *keys: str) -> Iterator[None]:
        """See `Index.on_change`."""
        try:
            yield
        finally:
            for key in keys:
                self._tell(bucket, key)

    async def _read(self, work: Callable[..., T], *arguments: Any) -> T:
        return await self._reader.run(lambda connection: work(connection, *arguments))

    async def _write(self, work: Callable[..., T], *arguments: Any) -> T:
        return await self._writer.run(lambda connection: work(connection, *arguments))
