"""Erasing within the whole product: in the background, under readers, over damage, and what a recovery makes of it afterwards."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from addon.store.object_store import Description
from addon.store.ports import SourceChanged
from addon.store.records import ObjectRecord
from addon.store.writer import UPLOAD_S_MAX
from tests.service.collecting import collect
from tests.service.fixtures import OriginServer
from tests.service.lost_folder import SMALL_PACKS, put, save, told, world
from tests.service.product import ALONE, ENCRYPTION, RELAXED, Product, eventually, running_product
from tests.standin_fixture import CHANNEL, OTHER_CHANNEL
from tests.store.reachable import reachable

pytestmark = pytest.mark.usefixtures("quick_retries")

RANDOM = random.Random(3)
PLAIN: dict[str, str] = {}
CHATS = {"chats": f"{CHANNEL}, {OTHER_CHANNEL}", "store": f'{SMALL_PACKS}\ncopies = 2\nerase = "never"'}
SEALED = {"encryption": ENCRYPTION}


async def burst(product: Product, count: int, size: int = 2000) -> dict[str, bytes]:
    """Objects that share packs."""
    contents = {f"k{number}": RANDOM.randbytes(size + number) for number in range(count)}
    await asyncio.gather(*(put(product, key, content, bucket=ALONE) for key, content in contents.items()))
    return contents


async def record(product: Product, key: str) -> ObjectRecord:
    state = await product.state(key, ALONE)
    assert isinstance(state, ObjectRecord)
    return state


async def is_there(product: Product, content: bytes) -> bool:
    return any(content in found for found in await reachable(product))


@pytest.fixture
async def never(tmp_path: Path, origin_server: OriginServer) -> AsyncIterator[Product]:
    """Nothing is erased but when a test says so."""
    switches = replace(RELAXED, delete_kills_file=True)
    settings = 'put_wait_s_max = 2.0\nerase = "never"'
    async with running_product(tmp_path, origin_server.port, switches=switches, store=settings) as product:
        yield product


@pytest.mark.parametrize("settings", [PLAIN, CHATS, SEALED], ids=["plain", "two copies", "sealed"])
@pytest.mark.parametrize("with_snapshot", [True, False], ids=["an older snapshot", "no snapshot"])
async def test_a_recovery_does_not_need_what_was_erased(
    tmp_path: Path, origin_server: OriginServer, settings: dict[str, str], with_snapshot: bool
) -> None:
    async with world(tmp_path, origin_server, **settings) as lost:
        async with lost.product() as product:
            await put(product, "replaced", b"former")
            contents = await burst(product, 20)
            if with_snapshot:
                await save(product)
            for number in range(0, 20, 2):
                await product.send("DELETE", f"k{number}", bucket=ALONE)
            await put(product, "replaced", b"present")
            rewritten, erased = await collect(product)
            assert rewritten
            assert erased
            before = await told(product)
        await lost.lose()
        done = await lost.recover()
        assert done.status == 0, done.err
        assert done.summary["lost"] == []
        async with lost.product() as product:
            assert await told(product) == before
            for number in range(1, 20, 2):
                answer = await product.send("GET", f"k{number}", bucket=ALONE)
                assert answer.content == contents[f"k{number}"]


async def test_a_read_goes_on_where_its_bytes_are_now(never: Product) -> None:
    contents = await burst(never, 12)
    stale = await record(never, "k11")
    for number in range(0, 12, 2):
        await never.send("DELETE", f"k{number}", bucket=ALONE)
    await collect(never)
    assert (await record(never, "k11")).extents != stale.extents
    pieces = [piece async for piece in never.store.read_here(stale, 0, stale.size)]
    assert b"".join(pieces) == contents["k11"]


async def test_damaged_bytes_are_not_moved(never: Product) -> None:
    contents = await burst(never, 12)
    for number in range(0, 12, 2):
        await never.send("DELETE", f"k{number}", bucket=ALONE)
    corrupt: dict[str, Any] = {"kind": "corrupt", "offset": 0, "count": 1_000_000}
    never.standin.control.faults({"match": {"method": "download"}, "times": None, "action": corrupt})
    before = await record(never, "k11")
    rewritten, _ = await collect(never)
    assert "wrong bytes" in rewritten[-1].reason
    assert await record(never, "k11") == before
    never.standin.control.clear_faults()
    rewritten, _ = await collect(never)
    assert [one.reason for one in rewritten] == [""] * len(rewritten)
    assert (await never.send("GET", "k11", bucket=ALONE)).content == contents["k11"]


async def test_documents_with_states_only_do_not_pile_up(never: Product) -> None:
    """Each run tells what the documents that it erases told; run again and again, it comes to rest."""
    await burst(never, 6)
    for number in range(6):
        await never.send("DELETE", f"k{number}", bucket=ALONE)
        await never.store.packer.flush_states()
    await collect(never)
    left = never.documents_in_telegram()
    assert len(left) <= 2
    _, erased = await collect(never)
    assert not erased
    assert never.documents_in_telegram() == left


async def test_what_is_prompt_goes_by_itself_out_of_packs_too(
    tmp_path: Path, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("addon.store.erasing_task.PROMPT_GRACE_S", 0.0)
    monkeypatch.setattr("addon.store.erasing_task.PROMPT_PERIOD_S", 0.05)
    settings = 'put_wait_s_max = 2.0\nerase = "prompt"'
    async with running_product(tmp_path, origin_server.port, store=settings) as product:
        contents = await burst(product, 8)
        await product.send("DELETE", "k5", bucket=ALONE)

        async def is_gone() -> bool:
            return not await is_there(product, contents["k5"])

        await eventually(is_gone)
        for key in set(contents) - {"k5"}:
            assert (await product.send("GET", key, bucket=ALONE)).content == contents[key]


async def test_what_is_lazy_waits_until_half_of_a_document_is_dead(
    tmp_path: Path, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("addon.store.erasing_task.LAZY_GRACE_S", 0.0)
    monkeypatch.setattr("addon.store.erasing_task.LAZY_PERIOD_S", 0.05)
    async with running_product(tmp_path, origin_server.port, store='put_wait_s_max = 2.0\nerase = "lazy"') as product:
        contents = await burst(product, 9, size=40_000)
        packs = [(await record(product, f"k{number}")).extents[0].document.document_id for number in range(9)]
        shared = [f"k{number}" for number in range(9) if packs.count(packs[number]) >= 4]
        assert shared
        await product.send("DELETE", shared[0], bucket=ALONE)
        await put(product, "alone", b"z" * 30_000, bucket=ALONE)
        await product.send("DELETE", "alone", bucket=ALONE)

        async def the_younger_one_is_gone() -> bool:
            return not await is_there(product, b"z" * 30_000)

        await eventually(the_younger_one_is_gone)
        assert await is_there(product, contents[shared[0]])
        for key in shared[1:-1]:
            await product.send("DELETE", key, bucket=ALONE)

        async def is_gone() -> bool:
            return not await is_there(product, contents[shared[0]])

        await eventually(is_gone)
        assert (await product.send("GET", shared[-1], bucket=ALONE)).content == contents[shared[-1]]


async def test_an_upload_that_took_too_long_fails(never: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it sent first may be erased by then."""
    about = Description(etag="e", last_modified_s=1, anonymous_read=False, headers={}, checksums={})
    async with never.store.upload(ALONE, "slow", lambda _: None) as upload:
        await upload.write(b"x")
        await upload.seal()
        now_s = never.store.now_s()
        monkeypatch.setattr(upload, "_now_s", lambda: now_s + UPLOAD_S_MAX + 10)
        with pytest.raises(SourceChanged, match="took so long"):
            await never.store.commit(upload, ALONE, "slow", about)
    assert await never.state("slow", ALONE) is None
