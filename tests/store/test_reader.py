"""Reads while Telegram, the disk or the origin misbehave: right bytes, an honest error, or a broken transfer (attack 30)."""

from __future__ import annotations

import asyncio
import hashlib
import random
from pathlib import Path
from typing import Any

import httpx
import pytest

from addon.standin.switches import Switches
from addon.store.records import BLOCK_BYTES, ObjectRecord
from tests.origin.raw_server import Received, answer, raw_server
from tests.service.fixtures import OriginServer
from tests.service.origin_relay import origin_relay
from tests.service.product import (
    HOST,
    IMAGES,
    RELAXED,
    USER,
    Product,
    eventually,
    product_again,
    running_product,
    target_of,
)
from tests.service.signing import sign
from tests.service.wire import wire_to
from tests.standin_fixture import running_standin

SIZE = 3 * BLOCK_BYTES + 4567
BODY = random.Random(11).randbytes(SIZE)
FOR_EVER: dict[str, Any] = {"match": {"method": "download"}, "times": None}
ONCE: dict[str, Any] = {"match": {"method": "download"}, "times": 1}

FAULTS: dict[str, dict[str, Any]] = {
    "corrupt in the first block": {"kind": "corrupt", "offset": 100, "count": 1},
    "corrupt in the last block": {"kind": "corrupt", "offset": SIZE - 5, "count": 2},
    "truncated": {"kind": "truncate", "bytes": BLOCK_BYTES + 77},
    "truncated, with a length that agrees": {"kind": "truncate", "bytes": BLOCK_BYTES + 77, "honest_length": True},
    "empty 200": {"kind": "empty200"},
    "500": {"kind": "http", "code": 500},
    "404": {"kind": "http", "code": 404, "form": "json"},
    "reset in mid-body": {"kind": "reset", "at": "answer_body", "bytes": BLOCK_BYTES + 5},
}


@pytest.fixture
async def cold(product: Product) -> Product:
    """The product with an object under `k` that is in Telegram, and nowhere else."""
    assert (await product.send("PUT", "k", body=BODY)).status_code == 200
    forget_caches(product)
    return product


def forget_caches(product: Product) -> None:
    forget_memory(product)
    for path in (product.folder / "cache").glob("*/*"):
        path.unlink(missing_ok=True)


def forget_memory(product: Product) -> None:
    reader = product.store._reader
    for key in list(reader._memory._blocks):
        reader._memory.forget(key)
    reader._arrivals._recent.clear()
    reader._arrivals._recent_bytes = 0


async def try_to_get(product: Product, **more: Any) -> bytes | int:
    """The body, or the status of a refusal, or -1 for a transfer that broke; and no download is under way any more."""
    try:
        got = await product.send("GET", "k", **more)
    except httpx.RemoteProtocolError:
        return -1
    finally:
        await eventually(lambda: not product.store._reader._arrivals._tasks)
    return got.content if got.status_code in (200, 206) else got.status_code


async def test_a_fault_that_passes_is_not_seen(cold: Product) -> None:
    for fault, action in FAULTS.items():
        cold.standin.control.faults({**ONCE, "action": action})
        assert await try_to_get(cold) == BODY, fault
        forget_caches(cold)
        cold.standin.control.faults({**ONCE, "action": action})
        ranged = await try_to_get(cold, headers=[("range", f"bytes=50-{SIZE - 2}")])
        assert ranged == BODY[50 : SIZE - 1], fault
        forget_caches(cold)
        assert all(rule["fired"] for rule in cold.standin.control.state()["faults"]), fault


async def test_a_fault_that_stays_is_an_error_and_never_wrong_bytes(cold: Product) -> None:
    for fault, action in FAULTS.items():
        cold.standin.control.clear_faults()
        cold.standin.control.faults({**FOR_EVER, "action": action})
        outcome = await try_to_get(cold)
        assert outcome in (503, -1), (fault, outcome)
        forget_caches(cold)
    assert cold.origin.requests == [], "what was written here is not read from the origin"
    cold.standin.control.clear_faults()
    assert await try_to_get(cold) == BODY


async def test_paths_and_messages_that_are_gone(cold: Product) -> None:
    cold.standin.control.chat("expire_paths")
    assert await try_to_get(cold) == BODY
    forget_caches(cold)
    cold.standin.control.clock_advance(2 * 3600)
    assert await try_to_get(cold) == BODY
    forget_caches(cold)
    await cold.standin.stop()
    assert await try_to_get(cold) == 503


async def test_a_document_that_telegram_does_not_have_any_more(
    tmp_path: Path, origin_server: OriginServer, quick_retries: None
) -> None:
    """Deleted for good: an error for what was written here, the origin's bytes for what is an unchanged copy."""
    switches = Switches(rate_limits="off", equal_size_throttle=False, delete_kills_file=True)
    origin_server.put("copy", BODY)
    async with (
        running_standin(tmp_path / "telegram", switches=switches) as standin,
        origin_relay(origin_server.port) as relay,
        product_again(tmp_path, standin, relay) as product,
    ):
        assert (await product.send("PUT", "k", body=BODY)).status_code == 200
        assert (await product.send("GET", "copy")).content == BODY
        for state in (await product.state("k"), await product.copied("copy")):
            assert isinstance(state, ObjectRecord)
            assert await product.store._documents.delete(state.extents[0].document)
        forget_caches(product)
        assert await try_to_get(product) == 503
        got = await product.send("GET", "copy", headers=[("range", "bytes=10-2000000")])
        assert (got.status_code, got.content) == (206, BODY[10:2_000_001])


async def copied_and_cold(product: Product, origin_server: OriginServer) -> None:
    origin_server.put("k", BODY)
    assert (await product.send("GET", "k")).content == BODY
    await product.copied("k")
    forget_caches(product)


async def test_what_is_a_copy_is_continued_from_the_origin(product: Product, origin_server: OriginServer) -> None:
    await copied_and_cold(product, origin_server)
    for fault, action in FAULTS.items():
        product.standin.control.clear_faults()
        product.standin.control.faults({**FOR_EVER, "action": action})
        assert await try_to_get(product) == BODY, fault
        forget_caches(product)
        start, end = BLOCK_BYTES + 9, SIZE - 9
        ranged = await try_to_get(product, headers=[("range", f"bytes={start}-{end}")])
        assert ranged == BODY[start : end + 1], fault
        forget_caches(product)


async def test_a_copy_is_not_continued_from_an_origin_that_changed(
    product: Product, origin_server: OriginServer
) -> None:
    await copied_and_cold(product, origin_server)
    origin_server.put("k", BODY[::-1])
    for fault in ("empty 200", "corrupt in the last block", "corrupt in the first block"):
        forget_caches(product)
        product.standin.control.clear_faults()
        product.standin.control.faults({**FOR_EVER, "action": FAULTS[fault]})
        assert await try_to_get(product) in (503, -1)
    origin_server.s3.delete_object(Bucket="images-there", Key="k")
    assert await try_to_get(product) in (503, -1)
    product.origin.down = True
    assert await try_to_get(product) in (503, -1)
    product.standin.control.clear_faults()
    assert await try_to_get(product) == BODY, "Telegram has it, whatever became of the origin"


HEADERS = f'ETag: "{hashlib.md5(BODY).hexdigest()}"\r\nLast-Modified: Thu, 01 Jan 2015 00:00:00 GMT\r\n'


async def whole_as_any_range(received: Received, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An origin whose ranges are always all of the object."""
    if "range" in dict(received.headers):
        writer.write(answer(206, f"{HEADERS}Content-Range: bytes 0-{SIZE - 1}/{SIZE}\r\n", BODY))
    else:
        writer.write(answer(200, HEADERS, BODY))


async def test_a_copy_is_not_continued_from_another_place_of_the_object(tmp_path: Path, quick_retries: None) -> None:
    async with raw_server(whole_as_any_range) as origin, running_product(tmp_path, origin.port) as product:
        assert (await product.send("GET", "k")).content == BODY
        await product.copied("k")
        forget_caches(product)
        product.standin.control.faults({**FOR_EVER, "action": FAULTS["empty 200"]})
        assert await try_to_get(product, headers=[("range", "bytes=100-199")]) == 503
        assert await try_to_get(product, headers=[("range", f"bytes=100-{SIZE}")]) == 503
        assert await try_to_get(product) == BODY


async def test_the_log_of_a_read_at_the_origin_stays_one_line(
    tmp_path: Path, quick_retries: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Attack 23: a key cannot write lines of its own."""
    key, spelt = "a\nERROR forged", "a%0AERROR%20forged"
    async with raw_server(whole_as_any_range) as origin, running_product(tmp_path, origin.port) as product:
        assert (await product.send("GET", spelt, raw=True)).content == BODY
        await product.copied(key)
        forget_caches(product)
        product.standin.control.faults({**FOR_EVER, "action": FAULTS["empty 200"]})
        assert (await product.send("GET", spelt, raw=True)).content == BODY
    messages = [record.getMessage() for record in caplog.records if record.name.startswith("addon.")]
    assert any("serving images/a\\nERROR forged" in message for message in messages)
    assert not any(key in message for message in messages)


async def test_a_block_that_was_damaged_on_disk_is_fetched_anew(cold: Product) -> None:
    assert await try_to_get(cold) == BODY
    for damage in (lambda data: data[:50] + b"x" + data[51:], lambda data: data[:-1], lambda _: b""):
        forget_memory(cold)
        files = list((cold.folder / "cache").glob("*/*"))
        # Where ranges are ignored, what lies in front of it in its pack is kept too.
        assert sum(path.stat().st_size for path in files) >= SIZE
        for path in files:
            path.write_bytes(damage(path.read_bytes()))
        before = cold.downloads()
        assert await try_to_get(cold) == BODY
        assert cold.downloads() > before


async def test_a_client_that_leaves_stops_the_download(
    tmp_path: Path, origin_server: OriginServer, quick_retries: None
) -> None:
    body = random.Random(12).randbytes(18 * BLOCK_BYTES)
    async with (
        running_standin(tmp_path / "telegram", switches=RELAXED) as standin,
        origin_relay(origin_server.port) as relay,
        product_again(tmp_path, standin, relay) as product,
    ):
        assert (await product.send("PUT", "k", body=body)).status_code == 200
        forget_caches(product)
        target = target_of(IMAGES, "k")
        async with wire_to(product.address) as wire:
            await wire.head("GET", target, sign(USER, "GET", target, HOST).headers)
            await wire.reader.readuntil(b"\r\n\r\n")
            await wire.reader.readexactly(BLOCK_BYTES)
            wire.reset()
        await eventually(lambda: not reading(product))
        (download,) = [entry for entry in standin.control.log() if entry["method"] == "download"]
        await eventually(lambda: standin.control.log()[-1]["outcome"] != "open")
        assert download["sent_bytes"] < len(body)


def reading(product: Product) -> bool:
    """Whether a download is under way."""
    return any("Stream._carry" in repr(task.get_coro()) for task in asyncio.all_tasks())


async def test_many_readers_of_a_cold_object_get_the_same_bytes(cold: Product) -> None:
    answers = await asyncio.gather(*(cold.send("GET", "k") for _ in range(20)))
    assert all(answer.content == BODY for answer in answers)
