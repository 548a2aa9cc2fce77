"""A bucket whose origin is retired while the proxy runs: as one that never had an origin."""

from __future__ import annotations

import random

import pytest

from addon.store.records import ObjectRecord
from tests.service.fixtures import OriginServer
from tests.service.product import IMAGES, WRONG_BYTES, Product, eventually
from tests.service.uploads import begun_at_origin

OBJECT = random.Random(3).randbytes(50_000)


@pytest.fixture
async def retired(product: Product, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch) -> Product:
    """`moved` was copied and verified, `public` may be read by anyone, `written` was written here; the origin is not asked now."""
    monkeypatch.setattr("addon.service.missing.MISSING_RETRY_S", 0.0)
    origin_server.put("moved", OBJECT)
    await product.send("GET", "moved")
    await product.copied("moved")
    assert (await product.send("PUT", "written", body=b"ours")).status_code == 200
    public = await product.send("PUT", "public", headers=[("x-amz-acl", "public-read")], body=b"anyone's")
    assert public.status_code == 200
    state = await product.state("moved")
    assert isinstance(state, ObjectRecord)
    await product.index.mark_verified([state], now_s=1.0)  # type: ignore[attr-defined]
    assert await product.index.retire(IMAGES, now_s=1.0, leave_skipped=False)  # type: ignore[attr-defined]
    await eventually(lambda: product.gateway._switch._directory.buckets[IMAGES].origin is None)
    product.origin.requests.clear()
    return product


async def test_no_request_to_the_origin_is_made_by_anything(retired: Product, origin_server: OriginServer) -> None:
    upload = begun_at_origin(retired, origin_server, "k", b"part")
    origin_server.put("left", b"never copied")
    page = [("origin", "https://page.test")]
    asked = [
        (await retired.send("GET", "moved", headers=page), 200),
        (await retired.send("GET", "left"), 404),
        (await retired.send("HEAD", "left"), 404),
        (await retired.send("GET", "left", by=None), 403),
        (await retired.send("GET", "moved", by=None), 403),
        (await retired.send("GET", "public", by=None, headers=page), 200),
        (await retired.send("OPTIONS", "moved", headers=[*page, ("access-control-request-method", "GET")]), 403),
        (await retired.send("GET", "moved", query="partNumber=1"), 206),
        (await retired.send("GET", "moved", query="versionId=other"), 404),
        (await retired.send("GET", "moved", query="legal-hold"), 501),
        (await retired.send("GET", "", query="list-type=2"), 200),
        (await retired.send("GET", "", query="uploads"), 200),
        (await retired.send("GET", "", query="versioning"), 200),
        (await retired.send("GET", "", query="list-type=2", by=None), 403),
        (await retired.send("PUT", "left", headers=[("if-none-match", "*")], body=b"new"), 200),
        (await retired.send("PUT", "copy", headers=[("x-amz-copy-source", f"/{IMAGES}/moved")]), 200),
        (await retired.send("PUT", "k", headers=[("x-amz-copy-source", f"/{IMAGES}/missing")]), 404),
        (await retired.send("DELETE", "moved"), 204),
        (await upload.complete(), 404),
    ]
    assert [answer.status_code for answer, _ in asked] == [status for _, status in asked]
    assert retired.origin.requests == []
    assert await retired.jobs() == []


async def test_listings_are_complete_from_the_index(retired: Product) -> None:
    listed = (await retired.send("GET", "", query="list-type=2")).text
    assert "<KeyCount>3</KeyCount>" in listed
    for key in ("moved", "written", "public"):
        assert f"<Key>{key}</Key>" in listed


async def test_bytes_that_telegram_does_not_give_are_not_asked_for_at_the_origin(retired: Product) -> None:
    at_hand = retired.store._reader._memory
    for place in list(at_hand._blocks):
        at_hand.forget(place)
    for block in (retired.folder / "cache").rglob("*"):
        if block.is_file():
            block.unlink()
    retired.standin.control.faults({"match": {"method": "download"}, "times": None, "action": WRONG_BYTES})
    assert (await retired.send("GET", "moved")).status_code == 503
    assert retired.origin.requests == []


async def test_it_can_be_undone(retired: Product, origin_server: OriginServer) -> None:
    origin_server.put("left", b"never copied")
    assert await retired.index.unretire(IMAGES)  # type: ignore[attr-defined]
    await eventually(lambda: retired.gateway._switch._directory.buckets[IMAGES].origin is not None)
    assert (await retired.send("GET", "left")).content == b"never copied"
    await retired.copied("left")
