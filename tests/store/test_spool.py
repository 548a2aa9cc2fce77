"""Writes that the local disk acknowledges: there at once, in Telegram later, and never lost between the two."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from addon.store.layout import extent_bytes_max
from addon.store.records import ObjectRecord
from addon.store.spool_index import Backlog
from addon.telegram.documents import DOCUMENT_BYTES_MAX
from tests.service.fixtures import OriginServer
from tests.service.product import Product, eventually, running_product

EXTENT = extent_bytes_max(DOCUMENT_BYTES_MAX)
SPOOL = 'ack = "spool"\nput_wait_s_max = 0.2'
SMALL = random.Random(12).randbytes(50_000)
LARGE = random.Random(13).randbytes(EXTENT + 70_000)
DOWN: dict[str, Any] = {
    "match": {"method": "sendDocument"},
    "times": None,
    "action": {"kind": "http", "code": 500, "form": "json"},
}


@pytest.fixture
async def spooling(tmp_path: Path, origin_server: OriginServer) -> AsyncIterator[Product]:
    """The product, whose Telegram takes nothing yet."""
    async with running_product(tmp_path, origin_server.port, store=SPOOL) as product:
        product.standin.control.faults(DOWN)
        yield product


async def backlog(product: Product) -> Backlog:
    return await product.index.backlog()  # type: ignore[attr-defined, no-any-return]


async def drained(product: Product) -> None:
    """Telegram is back, and takes what waited; the files go."""
    product.standin.control.clear_faults()

    async def nothing_waits() -> bool:
        return (await backlog(product)).documents == 0

    await eventually(nothing_waits)


async def extents_are_spooled(product: Product, key: str) -> list[bool]:
    state = await product.state(key)
    assert isinstance(state, ObjectRecord)
    return [extent.document.is_spooled for extent in state.extents]


async def test_a_put_is_acknowledged_and_served_while_telegram_is_down(spooling: Product) -> None:
    for key, body in (("small", SMALL), ("large", LARGE), ("empty", b"")):
        assert (await spooling.send("PUT", key, body=body)).status_code == 200
        got = await spooling.send("GET", key)
        assert (got.status_code, got.content) == (200, body)
    ranged = await spooling.send("GET", "large", headers=[("range", f"bytes={EXTENT - 7}-{EXTENT + 6}")])
    assert (ranged.status_code, ranged.content) == (206, LARGE[EXTENT - 7 : EXTENT + 7])
    listed = await spooling.send("GET", "", query="list-type=2")
    assert [f"<Key>{key}</Key>" in listed.text for key in ("small", "large", "empty")] == [True] * 3
    assert await extents_are_spooled(spooling, "large") == [True, True]
    waiting = await backlog(spooling)
    assert (waiting.documents, waiting.size) == (3, len(SMALL) + len(LARGE))
    assert spooling.documents_in_telegram() == {}

    await drained(spooling)
    assert await extents_are_spooled(spooling, "large") == [False, False]
    assert len(spooling.documents_in_telegram()) == 3
    for key, body in (("small", SMALL), ("large", LARGE), ("empty", b"")):
        assert (await spooling.send("GET", key)).content == body
    assert spooling.downloads() >= 3
