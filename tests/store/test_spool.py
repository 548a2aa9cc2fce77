"""Writes that the local disk acknowledges: there at once, in Telegram later, and never lost between the two."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from addon.store import spool_folder, writer
from addon.store.layout import extent_bytes_max
from addon.store.ports import IndexUnavailable
from addon.store.records import BLOCK_BYTES, Move, NewObject, ObjectRecord
from addon.store.spool import Spool, SpoolLimits
from addon.store.spool_index import Backlog
from addon.telegram.documents import DOCUMENT_BYTES_MAX
from tests.service.fixtures import OriginServer
from tests.service.product import IMAGES, LIMIT_S, Answer, Product, eventually, product_again, running_product
from tests.service.uploads import by_boto
from tests.service.written import use
from tests.store.command_store import command_store

EXTENT = extent_bytes_max(DOCUMENT_BYTES_MAX)
SPOOL = 'ack = "spool"\nput_wait_s_max = 0.2'
# Two whole documents, the least that the settings take.
TIGHT = f"{SPOOL}\nspool_bytes_max = {2 * DOCUMENT_BYTES_MAX}"
# Telegram's pace is that of other tests.
UNHURRIED = "channel_messages_per_min_max = 60000"
SMALL = random.Random(12).randbytes(50_000)
LARGE = random.Random(13).randbytes(EXTENT + 70_000)
DOWN: dict[str, Any] = {
    "match": {"method": "sendDocument"},
    "times": None,
    "action": {"kind": "http", "code": 500, "form": "json"},
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses; and no grace, which is for who has only looked an object up: who reads holds what he reads."""
    monkeypatch.setattr(spool_folder, "GRACE_S", 0.0)
    limits = SpoolLimits(look_period_s=0.02, round_pause_s=0.0, retry_delay_s_min=0.02, retry_delay_s_max=0.1)
    monkeypatch.setitem(Spool.__init__.__kwdefaults__, "limits", limits)


@pytest.fixture
async def spooling(tmp_path: Path, origin_server: OriginServer) -> AsyncIterator[Product]:
    """The product, whose Telegram takes nothing yet."""
    async with running_product(tmp_path, origin_server.port, store=SPOOL, telegram=UNHURRIED) as product:
        product.standin.control.faults(DOWN)
        yield product


async def backlog(product: Product) -> Backlog:
    return await product.index.backlog()  # type: ignore[attr-defined, no-any-return]


async def waits(product: Product, documents: int) -> bool:
    return (await backlog(product)).documents == documents


async def drained(product: Product) -> None:
    """Telegram is back, and takes what waited; the files go."""
    product.standin.control.clear_faults()
    await eventually(lambda: waits(product, 0))
    await eventually(lambda: product.spooled() == [])


async def record_of(product: Product, key: str) -> ObjectRecord:
    state = await product.state(key)
    assert isinstance(state, ObjectRecord)
    return state


async def are_spooled(product: Product, key: str) -> list[bool]:
    """Of each extent of the object, whether it waits here."""
    return [extent.document.is_spooled for extent in (await record_of(product, key)).extents]


async def assert_reads(product: Product, key: str, body: bytes, **more: Any) -> None:
    got = await product.send("GET", key, **more)
    assert (got.status_code, got.content == body) == (200, True), got.text[:300]


def assert_told_to_slow_down(answer: Answer) -> None:
    assert (answer.status_code, answer.code) == (503, "SlowDown"), answer.text
    assert int(answer.headers["retry-after"]) >= 1


async def test_a_put_is_acknowledged_and_served_while_telegram_is_down(spooling: Product) -> None:
    bodies = {"small": SMALL, "large": LARGE, "empty": b""}
    for key, body in bodies.items():
        assert (await spooling.send("PUT", key, body=body)).status_code == 200
        await assert_reads(spooling, key, body)
    ranged = await spooling.send("GET", "large", headers=[("range", f"bytes={EXTENT - 7}-{EXTENT + 6}")])
    assert (ranged.status_code, ranged.content) == (206, LARGE[EXTENT - 7 : EXTENT + 7])
    etag = (await spooling.send("HEAD", "large")).headers["etag"]
    assert (await spooling.send("GET", "large", headers=[("if-none-match", etag)])).status_code == 304
    listed = await spooling.send("GET", "", query="list-type=2")
    assert all(f"<Key>{key}</Key>" in listed.text for key in bodies)
    assert await are_spooled(spooling, "large") == [True, True]
    waiting = await backlog(spooling)
    assert (waiting.documents, waiting.size) == (3, len(SMALL) + len(LARGE))
    assert spooling.documents_in_telegram() == {}

    await drained(spooling)
    assert await are_spooled(spooling, "large") == [False, False]
    # The full one, and a pack with the rest of it and the small one; or two, where the first of them found the way free.
    assert len(spooling.documents_in_telegram()) in (2, 3)
    for key, body in bodies.items():
        await assert_reads(spooling, key, body)
    assert spooling.downloads() >= 3


async def test_parts_wait_here_too_and_are_sent_before_and_after_the_completion(spooling: Product) -> None:
    parts = [LARGE[:6_000_000], LARGE[6_000_000:12_000_000], SMALL]

    def begun(s3: Any) -> tuple[str, list[dict[str, Any]]]:
        upload_id = s3.create_multipart_upload(Bucket=IMAGES, Key="m")["UploadId"]
        return upload_id, [
            {
                "PartNumber": number,
                "ETag": s3.upload_part(Bucket=IMAGES, Key="m", UploadId=upload_id, PartNumber=number, Body=part)[
                    "ETag"
                ],
            }
            for number, part in enumerate(parts, 1)
        ]

    def complete(s3: Any, upload: tuple[str, list[dict[str, Any]]]) -> None:
        s3.complete_multipart_upload(Bucket=IMAGES, Key="m", UploadId=upload[0], MultipartUpload={"Parts": upload[1]})

    early = await by_boto(spooling, begun)
    await drained(spooling)
    sent = spooling.documents_in_telegram()
    spooling.standin.control.faults(DOWN)
    await by_boto(spooling, lambda s3: complete(s3, early))
    await assert_reads(spooling, "m", b"".join(parts))
    assert spooling.documents_in_telegram() == sent

    late = await by_boto(spooling, begun)
    await by_boto(spooling, lambda s3: complete(s3, late))
    assert await are_spooled(spooling, "m") == [True] * 3
    second = await spooling.send("GET", "m", query="partNumber=2")
    assert (second.status_code, second.content) == (206, parts[1])
    await drained(spooling)
    await assert_reads(spooling, "m", b"".join(parts))


async def test_copies_of_what_waits_wait_with_it(spooling: Product) -> None:
    """A CopyObject shares its documents, and an UploadPartCopy of a range; both outlive their source."""
    assert (await spooling.send("PUT", "source", body=LARGE)).status_code == 200

    def copies(s3: Any) -> None:
        source = {"Bucket": IMAGES, "Key": "source"}
        s3.copy_object(Bucket=IMAGES, Key="copy", CopySource=source)
        upload_id = s3.create_multipart_upload(Bucket=IMAGES, Key="part")["UploadId"]
        part = s3.upload_part_copy(
            Bucket=IMAGES, Key="part", UploadId=upload_id, PartNumber=1, CopySource=source,
            CopySourceRange=f"bytes=1000-{EXTENT + 999}",
        )["CopyPartResult"]  # fmt: skip
        parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
        s3.complete_multipart_upload(Bucket=IMAGES, Key="part", UploadId=upload_id, MultipartUpload={"Parts": parts})
        s3.delete_object(**source)

    await by_boto(spooling, copies)
    assert (await backlog(spooling)).documents == 2
    for _ in range(2):
        await assert_reads(spooling, "copy", LARGE)
        await assert_reads(spooling, "part", LARGE[1000 : EXTENT + 1000])
        await drained(spooling)
    assert len(spooling.documents_in_telegram()) == 2


async def test_what_was_deleted_or_replaced_is_not_sent(spooling: Product) -> None:
    assert (await spooling.send("PUT", "gone", body=LARGE)).status_code == 200
    assert (await spooling.send("PUT", "replaced", body=SMALL)).status_code == 200
    assert (await spooling.send("DELETE", "gone")).status_code == 204
    assert (await spooling.send("PUT", "replaced", body=SMALL[::-1])).status_code == 200
    await eventually(lambda: len(spooling.spooled()) == 1)
    await drained(spooling)
    assert len(spooling.documents_in_telegram()) == 1
    await assert_reads(spooling, "replaced", SMALL[::-1])
    assert (await spooling.garbage()) == set()


async def test_many_small_objects_share_documents(spooling: Product) -> None:
    bodies = {f"k{number}": random.Random(number).randbytes(10_000 + number) for number in range(60)}
    answers = await asyncio.gather(*(spooling.send("PUT", key, body=body) for key, body in bodies.items()))
    assert {answer.status_code for answer in answers} == {200}
    await drained(spooling)
    assert len(spooling.documents_in_telegram()) <= 3
    for key, body in bodies.items():
        await assert_reads(spooling, key, body)


async def test_a_restart_goes_on_with_what_waits(tmp_path: Path, origin_server: OriginServer) -> None:
    async with running_product(tmp_path, origin_server.port, store=SPOOL, telegram=UNHURRIED) as product:
        product.standin.control.faults(DOWN)
        for key, body in (("small", SMALL), ("large", LARGE)):
            assert (await product.send("PUT", key, body=body)).status_code == 200
        await product.gateway.stop()
        kept = tmp_path / "spool" / "kept"
        (kept / "0123").write_bytes(b"of an upload that was cut off")
        async with product_again(tmp_path, product.standin, product.origin, store=SPOOL, telegram=UNHURRIED) as again:
            records = [await record_of(again, key) for key in ("small", "large")]
            named = {extent.document.document_id for record in records for extent in record.extents}
            assert {path.name for path in kept.iterdir()} == named
            await assert_reads(again, "large", LARGE)
            await drained(again)
            await assert_reads(again, "small", SMALL)
            await assert_reads(again, "large", LARGE)


async def test_what_waits_is_sent_and_read_also_where_telegram_acknowledges_now(
    tmp_path: Path, origin_server: OriginServer
) -> None:
    async with running_product(tmp_path, origin_server.port, store=SPOOL, telegram=UNHURRIED) as product:
        product.standin.control.faults(DOWN)
        assert (await product.send("PUT", "k", body=SMALL)).status_code == 200
        await product.gateway.stop()
        async with product_again(tmp_path, product.standin, product.origin, telegram=UNHURRIED) as again:
            await assert_reads(again, "k", SMALL)
            await drained(again)
            assert (await again.send("PUT", "other", body=SMALL)).status_code == 200
            assert await are_spooled(again, "other") == [False]


async def test_what_was_acknowledged_and_is_not_there_is_told_and_never_replaced(
    tmp_path: Path, origin_server: OriginServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_product(tmp_path, origin_server.port, store=SPOOL, telegram=UNHURRIED) as product:
        product.standin.control.faults(DOWN)
        for key in ("lost", "cut off", "whole"):
            assert (await product.send("PUT", key, body=LARGE[: 3 * BLOCK_BYTES])).status_code == 200
        files = {
            key: tmp_path / "spool" / "kept" / (await record_of(product, key)).extents[0].document.document_id
            for key in ("lost", "cut off")
        }
        await product.gateway.stop()
        files["lost"].unlink()
        os.truncate(files["cut off"], BLOCK_BYTES + 5)
        caplog.clear()
        async with product_again(tmp_path, product.standin, product.origin, store=SPOOL, telegram=UNHURRIED) as again:
            told = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.ERROR]
            assert all(any(f"{IMAGES}/{key}" in line and "lost" in line for line in told) for key in files), told
            assert (await again.send("GET", "lost")).status_code == 503
            with pytest.raises(httpx.RemoteProtocolError):
                await again.send("GET", "cut off")
            again.standin.control.clear_faults()
            await eventually(lambda: len(again.documents_in_telegram()) == 1)
            await eventually(lambda: waits(again, 2))
            await assert_reads(again, "whole", LARGE[: 3 * BLOCK_BYTES])


async def test_a_full_spool_tells_to_slow_down_and_recovers(tmp_path: Path, origin_server: OriginServer) -> None:
    async with running_product(tmp_path, origin_server.port, store=TIGHT, telegram=UNHURRIED) as product:
        product.standin.control.faults(DOWN)
        bodies = {f"k{number}": random.Random(number).randbytes(EXTENT) for number in range(2)}
        for key, body in bodies.items():
            assert (await product.send("PUT", key, body=body)).status_code == 200
        for body in (SMALL * 20, SMALL * 100):
            assert_told_to_slow_down(await product.send("PUT", "k0", body=body))
        await assert_reads(product, "k0", bodies["k0"])
        # Also over a restart, which counts what is there.
        await product.gateway.stop()
        async with product_again(tmp_path, product.standin, product.origin, store=TIGHT, telegram=UNHURRIED) as again:
            assert_told_to_slow_down(await again.send("PUT", "k0", body=SMALL * 20))
            await drained(again)
            assert (await again.send("PUT", "k0", body=SMALL * 20)).status_code == 200
            await assert_reads(again, "k1", bodies["k1"])


async def test_an_object_larger_than_its_share_goes_on_to_telegram(tmp_path: Path, origin_server: OriginServer) -> None:
    body = random.Random(5).randbytes(3 * EXTENT)
    async with running_product(tmp_path, origin_server.port, store=TIGHT, telegram=UNHURRIED) as product:
        assert (await product.send("PUT", "k", body=body)).status_code == 200
        await assert_reads(product, "k", body)
        await drained(product)
        await assert_reads(product, "k", body)
        assert len(product.documents_in_telegram()) == 3


@pytest.mark.parametrize("breaks", ["write", "fsync"])
@pytest.mark.parametrize("size", [len(SMALL), len(LARGE)])
async def test_a_disk_that_takes_no_more(
    spooling: Product, monkeypatch: pytest.MonkeyPatch, breaks: str, size: int
) -> None:
    assert (await spooling.send("PUT", "k", body=b"former")).status_code == 200

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        if breaks == "write":
            patched.setattr(writer, "_write_all", full)
        else:
            patched.setattr(writer.os, "fsync", full)
        assert_told_to_slow_down(await spooling.send("PUT", "k", body=LARGE[:size]))
        await eventually(lambda: len(spooling.spooled()) == 1)
    await assert_reads(spooling, "k", b"former")
    assert (await spooling.send("PUT", "k", body=LARGE[:size])).status_code == 200
    await drained(spooling)
    await assert_reads(spooling, "k", LARGE[:size])


async def test_a_body_that_does_not_verify_leaves_nothing(spooling: Product) -> None:
    wrong = "0" * 64
    for body in (SMALL, LARGE):
        assert (await spooling.send("PUT", "k", body=body, payload=wrong)).status_code == 400
    await eventually(lambda: spooling.spooled() == [] and spooling.store._spool.bytes_held == 0)


async def test_a_commit_whose_answer_was_lost_keeps_its_bytes(
    spooling: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is told to try again, and the object is there all the same: it must not lack its bytes."""
    put_object = spooling.index.put_object

    async def committed_and_broken_off(new: NewObject, **more: Any) -> ObjectRecord:
        await put_object(new, **more)
        raise IndexUnavailable("the answer was lost")

    with monkeypatch.context() as patched:
        patched.setattr(spooling.index, "put_object", committed_and_broken_off)
        assert (await spooling.send("PUT", "k", body=LARGE)).status_code == 503
    await eventually(lambda: not spooling.store._spool.abandoned())
    await assert_reads(spooling, "k", LARGE)
    await drained(spooling)
    await assert_reads(spooling, "k", LARGE)


async def test_what_was_sent_is_not_sent_again_while_the_index_does_not_answer(
    spooling: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await spooling.send("PUT", "k", body=SMALL)).status_code == 200
    relocate, tries = spooling.index.relocate, 0

    async def silent_twice(moves: Sequence[Move]) -> int:
        nonlocal tries
        tries += 1
        if tries <= 2:
            raise IndexUnavailable("it does not answer")
        return await relocate(moves)

    monkeypatch.setattr(spooling.index, "relocate", silent_twice)
    await drained(spooling)
    assert (len(spooling.documents_in_telegram()), tries) == (1, 3)
    await assert_reads(spooling, "k", SMALL)


async def test_a_get_goes_on_while_its_object_moves_or_goes(spooling: Product) -> None:
    """A client that takes the first block only, until everything has moved; and one of an object that is replaced meanwhile."""
    for key in ("moves", "goes"):
        assert (await spooling.send("PUT", key, body=LARGE)).status_code == 200
    records = [await record_of(spooling, key) for key in ("moves", "goes")]
    reads = [spooling.store.read(record, 0, record.size) for record in records]
    firsts = [await anext(read) for read in reads]
    assert (await spooling.send("PUT", "goes", body=SMALL)).status_code == 200
    spooling.standin.control.clear_faults()
    await eventually(lambda: waits(spooling, 0))
    async with asyncio.timeout(LIMIT_S):
        for first, read in zip(firsts, reads, strict=True):
            assert first + b"".join([piece async for piece in read]) == LARGE
    assert spooling.downloads() == 0
    await drained(spooling)
    await assert_reads(spooling, "moves", LARGE)


async def test_a_reader_of_another_process_finds_what_moved_under_its_hand(spooling: Product) -> None:
    assert (await spooling.send("PUT", "k", body=LARGE)).status_code == 200
    record, store = await record_of(spooling, "k"), command_store(spooling)
    store._spool = spool_folder.SpoolFolder(spooling.folder / "spool" / "kept", 0)
    read = store.read_here(record, 0, record.size)
    first = await anext(read)
    await drained(spooling)
    assert first + b"".join([piece async for piece in read]) == LARGE
    assert spooling.downloads() > 0


async def test_what_the_origin_has_to_have_goes_there_from_here(spooling: Product, origin_server: OriginServer) -> None:
    use(spooling, writes="both")
    assert (await spooling.send("PUT", "k", body=LARGE)).status_code == 200
    assert origin_server.get("k") == LARGE
    assert await are_spooled(spooling, "k") == [True, True]
    await drained(spooling)
    await assert_reads(spooling, "k", LARGE)


async def test_background_copies_are_not_spooled(spooling: Product, origin_server: OriginServer) -> None:
    origin_server.put("k", SMALL)
    spooling.standin.control.clear_faults()
    await assert_reads(spooling, "k", SMALL)
    await spooling.copied("k")
    assert await are_spooled(spooling, "k") == [False]
    assert spooling.spooled() == []


async def test_a_pack_that_fails_is_one_failure(spooling: Product, caplog: pytest.LogCaptureFixture) -> None:
    """Not one for each object in it: the log stays readable, and the pauses grow as they should."""
    await asyncio.gather(*(spooling.send("PUT", f"k{number}", body=SMALL[number:]) for number in range(20)))
    caplog.clear()
    sends = spooling.sends()
    await eventually(lambda: spooling.sends() >= sends + 3)
    told = [entry for entry in caplog.records if "is sent on in" in entry.getMessage()]
    assert 1 <= len(told) <= spooling.sends() - sends + 1
    await drained(spooling)
