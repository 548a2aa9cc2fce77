"""Uploads that Telegram or the index does not take: the former object stays, and what was sent is known (case 19)."""

from __future__ import annotations

import asyncio
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from addon.standin.switches import Switches
from addon.store.layout import extent_bytes_max
from addon.store.ports import IndexUnavailable
from addon.store.records import BLOCK_BYTES
from addon.telegram.documents import DOCUMENT_BYTES_MAX
from tests.service.fixtures import OriginServer
from tests.service.product import IMAGES, Answer, Product, eventually, running_product
from tests.standin_fixture import CHANNEL

EXTENT = extent_bytes_max(DOCUMENT_BYTES_MAX)
OLD = b"the object that was there before"
SMALL = random.Random(2).randbytes(50_000)
LARGE = random.Random(3).randbytes(2 * EXTENT + 5)

FAULTS: dict[str, dict[str, Any]] = {
    "429 for longer than a send waits": {"kind": "rate", "retry_after": 30},
    "500": {"kind": "http", "code": 500, "form": "json"},
    "502 with HTML": {"kind": "http", "code": 502, "form": "html"},
    "413": {"kind": "http413"},
    "reset before the answer": {"kind": "reset", "at": "before_answer"},
    "reset after it was taken": {"kind": "reset", "at": "before_answer", "phase": "after"},
    "answer that is no JSON": {"kind": "wrong_json", "form": "invalid"},
    "answer without a result": {"kind": "wrong_json", "form": "null"},
    "answer without the document": {"kind": "drop_field", "path": "document"},
    "wrong size": {"kind": "drop_field", "path": "document.file_size", "value": 7},
    "transcoded": {"kind": "as_type", "type": "animation", "replace_bytes": True},
    "kicked out": {"kind": "kick"},
}


@pytest.fixture
async def written(product: Product) -> Product:
    """The product with an object under `k`."""
    assert (await product.send("PUT", "k", body=OLD)).status_code == 200
    return product


async def assert_the_former_object_is_there(product: Product) -> None:
    got = await product.send("GET", "k")
    assert (got.status_code, got.content) == (200, OLD)
    assert (await product.index.counts(IMAGES))["objects"] == 1
    assert product.spooled() == []


def assert_unavailable(answer: Answer) -> None:
    assert (answer.status_code, answer.code in {"SlowDown", "ServiceUnavailable"}) == (503, True), answer.text
    assert int(answer.headers["retry-after"]) >= 1


async def fails_for_good(product: Product, fault: str, body: bytes, nth: int) -> None:
    """An overwrite whose `nth` send and all that follow meet the fault."""
    product.standin.control.clear_faults()
    rules = [{"match": {"method": "sendDocument", "nth": count}, "times": 1} for count in range(nth, nth + 40)]
    product.standin.control.faults(*({**rule, "action": FAULTS[fault]} for rule in rules))
    assert_unavailable(await product.send("PUT", "k", body=body))
    assert any(rule["fired"] for rule in product.standin.control.state()["faults"]), fault
    product.standin.control.clear_faults()


# After these a bot, or the way to a chat, is left alone for a while; so each has a product of its own.
LASTING = ("429 for longer than a send waits", "413", "kicked out")


async def test_telegram_fails_for_good(written: Product) -> None:
    for fault in FAULTS:
        if fault not in LASTING:
            await fails_for_good(written, fault, SMALL, 1)
            await assert_the_former_object_is_there(written)


@pytest.mark.parametrize("fault", LASTING)
async def test_telegram_refuses_for_a_while(written: Product, fault: str) -> None:
    await fails_for_good(written, fault, SMALL, 1)
    if fault == "kicked out":
        written.standin.control.chat("unkick", CHANNEL)
    await assert_the_former_object_is_there(written)


@pytest.mark.parametrize("fault", ["500", "429 for longer than a send waits"])
async def test_telegram_fails_in_the_middle_of_a_large_object(written: Product, fault: str) -> None:
    """At the first, the second and the last of three documents."""
    for nth in (1, 2, 3) if fault == "500" else (2,):
        await fails_for_good(written, fault, LARGE, nth)
        await assert_the_former_object_is_there(written)


async def test_telegram_fails_once(written: Product) -> None:
    """The send is tried again, and the client never learns of it."""
    for number, (fault, action) in enumerate(FAULTS.items()):
        if fault in ("413", "kicked out"):
            continue
        action = {**action, **({"retry_after": 1} if action["kind"] == "rate" else {})}
        written.standin.control.faults({"match": {"method": "sendDocument"}, "times": 1, "action": action})
        body = SMALL + bytes([number])
        assert (await written.send("PUT", "k", body=body)).status_code == 200, fault
        assert (await written.send("GET", "k")).content == body
        assert written.spooled() == []
    assert all(rule["fired"] for rule in written.standin.control.state()["faults"])


async def test_what_was_sent_of_a_failed_upload_is_known_as_garbage(written: Product) -> None:
    rule = {"match": {"method": "sendDocument", "min_bytes": 1}, "times": None, "action": FAULTS["500"]}
    sends = asyncio.Event()

    async def pieces() -> Any:
        for start in range(0, len(LARGE), 1 << 20):
            if start > EXTENT + 2 * BLOCK_BYTES and not sends.is_set():
                await eventually(lambda: garbage_is(written, 1))
                written.standin.control.faults(rule)
                sends.set()
            yield LARGE[start : start + (1 << 20)]

    answer = await written.send("PUT", "k", headers=[("content-length", str(len(LARGE)))], body=pieces())
    assert_unavailable(answer)
    written.standin.control.clear_faults()
    await assert_the_former_object_is_there(written)
    garbage = await written.garbage()
    assert len(garbage) == 1
    # The former object's, the garbage, and perhaps one whose sending was broken off too late to keep it from being stored.
    assert garbage < set(written.documents_in_telegram())


async def garbage_is(product: Product, count: int) -> bool:
    return len(await product.garbage()) == count


async def test_the_index_does_not_commit(
    written: Product, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for error in (IndexUnavailable("the index's disk is full"), RuntimeError("a defect")):
        with monkeypatch.context() as broken:

            async def fail(*_: object, error: Exception = error, **__: object) -> None:
                raise error

            broken.setattr(type(written.index), "put_object", fail)
            answer = await written.send("PUT", "k", body=SMALL)
        assert answer.status_code == (503 if isinstance(error, IndexUnavailable) else 500)
        await assert_the_former_object_is_there(written)
    documents = written.documents_in_telegram()
    assert len(documents) == 3
    assert len(await written.garbage()) == 2, "what was sent for nothing is known"
    with monkeypatch.context() as broken:

        async def fail_all(*_: object, **__: object) -> None:
            raise IndexUnavailable("the index's disk is full")

        broken.setattr(type(written.index), "put_object", fail_all)
        broken.setattr(type(written.index), "add_documents", fail_all)
        broken.setattr(type(written.index), "give_up", fail_all)
        assert_unavailable(await written.send("PUT", "k", body=SMALL))
    (orphan,) = set(written.documents_in_telegram()) - set(documents)
    assert f"document {orphan}" in caplog.text, "the log is the only place left that names it"
    await assert_the_former_object_is_there(written)


async def test_a_spool_folder_that_takes_nothing(written: Product) -> None:
    spool = written.folder / "spool"
    shutil.rmtree(spool)
    answer = await written.send("PUT", "k", body=LARGE[: 3 * BLOCK_BYTES])
    assert answer.status_code == 500
    spool.mkdir()
    await assert_the_former_object_is_there(written)


async def test_what_a_killed_process_left_in_the_spool_is_cleared(
    tmp_path: Path, origin_server: OriginServer, quick_retries: None
) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "0123.part").write_bytes(b"half")
    async with running_product(tmp_path, origin_server.port) as product:
        assert product.spooled() == []


async def test_a_burst_under_telegrams_exact_limits(tmp_path: Path, origin_server: OriginServer) -> None:
    """Flood control and the equal-size throttle as Telegram has them: every upload is acknowledged and stored, and the
    client's own pacing never runs into a 429."""
    async with running_product(tmp_path, origin_server.port, switches=Switches()) as product:
        bodies = {f"k{number}": random.Random(number).randbytes(150_000) for number in range(30)}
        answers = await asyncio.gather(*(product.send("PUT", key, body=body) for key, body in bodies.items()))
        for (key, body), answer in zip(bodies.items(), answers, strict=True):
            assert answer.status_code == 200
            assert (await product.send("GET", key)).content == body
        statuses = [
            entry["status"] for entry in product.standin.control.log() if entry["method"].lower() == "senddocument"
        ]
        assert set(statuses) == {200}
        assert len(statuses) <= 5, "they share documents, so that the minute's messages are not spent"
        sizes = list(product.documents_in_telegram().values())
        assert len(set(sizes)) == len(sizes), "sizes differ, so that the throttle on equal ones does not grip"
