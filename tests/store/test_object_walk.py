"""Going through a bucket page by page, so many objects at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from addon.store import object_walk
from addon.store.object_walk import for_each, objects_of, tombstones_of
from tests.service.product import IMAGES, Product


async def numbers(count: int) -> AsyncGenerator[int, None]:
    for number in range(count):
        yield number


async def test_pages_join(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_walk, "PAGE_ROWS", 2)
    for key in ("a/1", "a/2", "a/3", "a/4", "b"):
        await product.send("PUT", key, body=b"x")
    await product.send("DELETE", "a/2")
    await product.send("DELETE", "c")
    index = product.index
    assert [record.key async for record in objects_of(index, IMAGES)] == ["a/1", "a/3", "a/4", "b"]  # type: ignore[arg-type]
    assert [record.key async for record in objects_of(index, IMAGES, prefix="a/")] == ["a/1", "a/3", "a/4"]  # type: ignore[arg-type]
    assert [found.key async for found in tombstones_of(index, IMAGES)] == ["a/2", "c"]  # type: ignore[arg-type]


async def test_so_many_at_once_and_each_once() -> None:
    at_work, most, done = 0, 0, list[int]()

    async def work(number: int) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0)
        at_work -= 1
        done.append(number)

    await for_each(numbers(50), work, concurrency=4)
    assert (sorted(done), most) == (list(range(50)), 4)


async def test_the_first_failure_ends_it() -> None:
    begun, stopped = list[int](), list[int]()

    async def work(number: int) -> None:
        begun.append(number)
        if number == 3:
            raise ValueError("three")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.append(number)
            raise

    with pytest.raises(ValueError, match="three"):
        await for_each(numbers(50), work, concurrency=4)
    assert (begun, sorted(stopped)) == ([0, 1, 2, 3], [0, 1, 2])
