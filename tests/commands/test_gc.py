"""`tgstore gc` as its users run it, beside a running proxy."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from addon.index.sql_index import SqlIndex
from addon.store.records import Extent, ObjectRecord
from tests.commands.program import ended, started, tgstore
from tests.service.fixtures import OriginServer
from tests.service.product import ALONE, RELAXED, Product, eventually, running_product
from tests.store.reachable import reachable

RANDOM = random.Random(5)
OLD_S = 49 * 3600.0


def body(size: int = 60_000) -> bytes:
    return RANDOM.randbytes(size)


async def put(product: Product, key: str, content: bytes) -> bytes:
    answer = await product.send("PUT", key, bucket=ALONE, body=content)
    assert answer.status_code == 200, answer.text
    return content


async def read(product: Product, key: str) -> bytes:
    answer = await product.send("GET", key, bucket=ALONE)
    assert answer.status_code == 200, answer.text
    return answer.content


# The command shares the limits with the product, whose own the fixture `quick_retries` lifts.
FAST = "channel_messages_per_min_max = 60000"


async def extent_of(product: Product, key: str) -> Extent:
    state = await product.state(key, ALONE)
    assert isinstance(state, ObjectRecord)
    return state.extents[0]


async def snapshot_ids(product: Product) -> list[str]:
    index = product.index
    assert isinstance(index, SqlIndex)
    return [snapshot.snapshot_id for snapshot in await index.snapshots()]


async def is_reachable(product: Product, content: bytes) -> bool:
    """Whether the beginning of an object lies anywhere."""
    return any(content[:1000] in found for found in await reachable(product))


def cached_files(product: Product) -> list[Path]:
    return [path for path in (product.folder / "cache").glob("*/*") if path.is_file()]


@pytest.fixture
def kills_files() -> bool:
    """Whether a file dies with its message: Telegram promises neither."""
    return False


@pytest.fixture
async def kept(
    kills_files: bool, tmp_path: Path, origin_server: OriginServer, quick_retries: None
) -> AsyncIterator[Product]:
    """The product; nothing is erased but by `tgstore gc`."""
    switches = replace(RELAXED, delete_kills_file=kills_files)
    settings = 'put_wait_s_max = 2.0\nerase = "never"'
    async with running_product(
        tmp_path, origin_server.port, switches=switches, telegram=FAST, store=settings
    ) as product:
        yield product


@pytest.mark.parametrize("kills_files", [False, True], ids=["files outlive messages", "files die with messages"])
@pytest.mark.parametrize("age_s", [0.0, OLD_S], ids=["young", "old"])
async def test_no_byte_of_what_was_deleted_or_replaced_is_left(kept: Product, age_s: float) -> None:
    deleted, large, replaced = body(), body(20_000_000 + 5), body()
    await put(kept, "deleted", deleted)
    await put(kept, "large", large)
    await put(kept, "replaced", replaced)
    neighbour = await put(kept, "neighbour", body())
    for key in ("deleted", "large", "replaced"):
        await read(kept, key)
    kept.standin.control.clock_advance(age_s)
    now = await put(kept, "replaced", body())
    for key in ("deleted", "large"):
        await kept.send("DELETE", key, bucket=ALONE)
    assert await is_reachable(kept, deleted)
    assert await is_reachable(kept, large[-1000:])
    done = await tgstore("gc", "--json", cwd=kept.folder)
    assert (done.status, done.err) == (0, "")
    erased = done.summary["deleted"] + done.summary["blanked"]
    assert erased == (done.summary["blanked"] if age_s else done.summary["deleted"]) >= 2
    for gone in (deleted, large, large[-1000:], replaced):
        assert not await is_reachable(kept, gone)
    assert await kept.garbage() == set()
    assert (await read(kept, "neighbour"), await read(kept, "replaced")) == (neighbour, now)
    again = await tgstore("gc", "--json", cwd=kept.folder)
    assert (again.status, again.summary["rewritten"], again.summary["failed"]) == (0, 0, 0)


@pytest.mark.parametrize("kills_files", [False, True], ids=["files outlive messages", "files die with messages"])
@pytest.mark.parametrize("age_s", [0.0, OLD_S], ids=["young", "old"])
async def test_what_is_dead_within_a_pack_goes_and_its_neighbours_stay(kept: Product, age_s: float) -> None:
    contents = {f"k{number}": body(3000 + number) for number in range(40)}
    await asyncio.gather(*(put(kept, key, content) for key, content in contents.items()))
    packs = {(await extent_of(kept, key)).document.document_id for key in contents}
    assert len(packs) < 10
    copy = await kept.send("PUT", "copy", bucket=ALONE, headers=[("x-amz-copy-source", f"/{ALONE}/k1")])
    assert copy.status_code == 200
    kept.standin.control.clock_advance(age_s)
    for number in range(20):
        await kept.send("DELETE", f"k{number}", bucket=ALONE)
    plan = (await tgstore("gc", "--dry-run", "--json", cwd=kept.folder)).of("plan")[0]
    assert plan["partly_dead"]["documents"] >= 1
    assert 0 < plan["dead_bytes"] <= 19 * 3019
    done = await tgstore("gc", "--json", cwd=kept.folder)
    assert (done.status, done.err, done.summary["failed"]) == (0, "", 0)
    assert done.summary["rewritten"] == plan["partly_dead"]["documents"]
    left = await reachable(kept)
    for key, content in contents.items():
        is_live = int(key[1:]) >= 20 or key == "k1"
        assert any(content in found for found in left) == is_live, key
        if int(key[1:]) >= 20:
            assert await read(kept, key) == content
    assert await read(kept, "copy") == contents["k1"]
    assert await kept.garbage() == set()
    again = await tgstore("gc", "--json", cwd=kept.folder)
    assert (again.status, again.summary["rewritten"], again.summary["failed"]) == (0, 0, 0)


async def test_snapshots_that_know_of_it_end(kept: Product) -> None:
    """They hold the file_ids of what was deleted, and nobody would have use for them."""
    content = await put(kept, "a", body())
    neighbour = await put(kept, "b", body())
    assert (await tgstore("snapshot", cwd=kept.folder)).status == 0
    former = await snapshot_ids(kept)
    await kept.send("DELETE", "a", bucket=ALONE)
    plan = await tgstore("gc", "--dry-run", "--keep-snapshots", "--json", cwd=kept.folder)
    assert plan.of("plan")[0]["for_snapshots"]["documents"] == 1
    done = await tgstore("gc", "--keep-snapshots", "--json", cwd=kept.folder)
    assert (done.status, done.summary["bytes_erased"], done.summary["for_snapshots"]) == (0, 0, 1)
    assert await is_reachable(kept, content)
    assert (await tgstore("gc", cwd=kept.folder)).status == 0
    assert not await is_reachable(kept, content)
    (newest,) = await snapshot_ids(kept)
    assert newest not in former
    assert await read(kept, "b") == neighbour


async def test_nothing_of_it_stays_in_the_caches(kept: Product) -> None:
    content = await put(kept, "a", body())
    await put(kept, "b", body())
    await read(kept, "a")
    state = await kept.state("a", ALONE)
    assert isinstance(state, ObjectRecord)
    document_id = state.extents[0].document.document_id
    await kept.send("DELETE", "a", bucket=ALONE)
    assert kept.store.in_memory(state) == content
    await tgstore("gc", cwd=kept.folder)
    assert not [path for path in cached_files(kept) if path.name.startswith(document_id)]
    await eventually(lambda: kept.store.in_memory(state) is None)


async def test_a_dry_run_says_what_would_be_and_changes_nothing(kept: Product) -> None:
    await put(kept, "a", body())
    await put(kept, "b", body())
    await kept.send("DELETE", "a", bucket=ALONE)
    messages, garbage = kept.documents_in_telegram(), await kept.garbage()
    calls = len(kept.standin.control.log())
    plan = await tgstore("gc", "--dry-run", "--json", cwd=kept.folder)
    assert (plan.status, plan.err) == (0, "")
    (told,) = plan.of("plan")
    gone = told["erasable"]
    assert gone["documents"] == 1
    assert 60_000 < gone["size"] < 62_000
    assert kept.documents_in_telegram() == messages
    assert len(kept.standin.control.log()) == calls
    assert await kept.garbage() == garbage
    lines = (await tgstore("gc", "--dry-run", cwd=kept.folder)).lines
    assert lines[0].startswith("would be erased: 1 documents (5")


async def test_what_cannot_be_erased_is_named_and_tried_again(kept: Product) -> None:
    content = await put(kept, "a", body())
    await kept.send("DELETE", "a", bucket=ALONE)
    refusal: dict[str, Any] = {"kind": "http", "code": 403, "form": "json"}
    kept.standin.control.faults({"match": {"method": "deleteMessage"}, "times": None, "action": refusal})
    failed = await tgstore("gc", "--json", cwd=kept.folder)
    assert (failed.status, failed.summary["failed"]) == (1, 1)
    assert "no bot may delete" in failed.of("failed")[0]["reason"]
    kept.standin.control.clear_faults()
    assert await is_reachable(kept, content)
    plan = await tgstore("gc", "--dry-run", "--json", cwd=kept.folder)
    assert plan.of("plan")[0]["failed"]["documents"] == 1
    done = await tgstore("gc", "--json", cwd=kept.folder)
    assert (done.status, done.summary["deleted"]) == (0, 1)
    assert not await is_reachable(kept, content)


async def test_nothing_goes_while_telegram_cannot_be_told_what_holds_instead(kept: Product) -> None:
    content = await put(kept, "a", body())
    await kept.send("DELETE", "a", bucket=ALONE)
    refusal: dict[str, Any] = {"kind": "http", "code": 403, "form": "json"}
    kept.standin.control.faults({"match": {"method": "sendDocument"}, "times": None, "action": refusal})
    failed = await tgstore("gc", cwd=kept.folder)
    assert failed.status == 1
    assert failed.err
    kept.standin.control.clear_faults()
    assert await is_reachable(kept, content)
    assert len(await kept.garbage()) == 1


async def test_a_run_that_was_stopped_goes_on(kept: Product) -> None:
    contents = [await put(kept, f"k{number}", body(2000)) for number in range(12)]
    for number in range(12):
        await kept.send("DELETE", f"k{number}", bucket=ALONE)
    hang: dict[str, Any] = {"kind": "hang"}
    kept.standin.control.faults({"match": {"method": "deleteMessage", "every": 3}, "times": None, "action": hang})
    process = await started("gc", "--json", cwd=kept.folder)

    async def are_done_but_those_that_hang() -> bool:
        return len(await kept.garbage()) == 4

    await eventually(are_done_but_those_that_hang)
    process.terminate()
    stopped = await ended(process)
    kept.standin.control.clear_faults()
    assert (stopped.status, stopped.summary["stopped"]) == (130, True)
    assert len(await kept.garbage()) == 12 - stopped.summary["deleted"] > 0
    done = await tgstore("gc", "--json", cwd=kept.folder)
    assert (done.status, done.summary["stopped"]) == (0, False)
    assert stopped.summary["deleted"] + done.summary["deleted"] + done.summary["not_found"] == 12
    for content in contents:
        assert not await is_reachable(kept, content)
