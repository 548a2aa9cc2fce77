"""Going through a whole bucket: its objects and tombstones in order, page by page, and so many of them at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

from addon.store.migration import MigrationIndex
from addon.store.records import ObjectRecord, Provenance, Tombstone

# So many rows are read from the index at a time.
PAGE_ROWS = 500

T = TypeVar("T")


async def objects_of(
    migration: MigrationIndex, bucket: str, *, prefix: str = "", provenance: Provenance | None = None
) -> AsyncGenerator[ObjectRecord, None]:
    """All objects below the prefix, of one provenance or of any, in UTF-8 byte order, without their extents. What is written on the
    way may be among them or not."""
    after = ""
    while page := await migration.objects_after(
        bucket, prefix=prefix, after=after, limit=PAGE_ROWS, provenance=provenance
    ):
        for record in page:
            yield record
        after = page[-1].key


async def tombstones_of(migration: MigrationIndex, bucket: str, *, prefix: str = "") -> AsyncGenerator[Tombstone, None]:
    """All tombstones below the prefix, likewise."""
    after = ""
    while page := await migration.tombstones_after(bucket, prefix=prefix, after=after, limit=PAGE_ROWS):
        for tombstone in page:
            yield tombstone
        after = page[-1].key


async def for_each(items: AsyncGenerator[T, None], work: Callable[[T], Awaitable[None]], *, concurrency: int) -> None:
    """`work` for each item, so many at once; items are taken when there is room for them. The first failure ends it."""
    taking = asyncio.Lock()

    async def worker() -> None:
        while True:
            async with taking:
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    return
            await work(item)

    workers = [asyncio.create_task(worker()) for _ in range(concurrency)]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        await items.aclose()
