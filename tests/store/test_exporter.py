"""The way back: what was written here is at the origin afterwards, equal and proved, once, and nothing newer is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from addon.origin.client import S3Origin
from addon.store.exporter import Ending, Exported, Exporter, ExportOrder
from addon.store.ports import Origin, OriginRequest
from addon.store.records import ObjectRecord, Provenance
from addon.store.retrying import Retries
from tests.origin.raw_server import Received, answer, origin_at, raw_server
from tests.service.fixtures import OriginServer
from tests.service.product import IMAGES, Product
from tests.store.command_store import command_store
from tests.store.test_origin_upload import PARTS, in_parts
from tests.store.test_verifier import damage, moved, no_pause, verified

BODY = random.Random(2).randbytes(60_000)
QUICK = Retries(attempts_max=3, sleep=no_pause)


@dataclass
class Run:
    """One export and what it told."""

    exporter: Exporter
    told: list[Exported] = field(default_factory=list)

    @property
    def endings(self) -> dict[str, Ending]:
        return {one.key: one.ending for one in self.told}

    def of(self, key: str) -> Exported:
        (found,) = [one for one in self.told if one.key == key]
        return found


async def exported(product: Product, *, origin: Origin | None = None, **order: Any) -> Run:
    store = command_store(product)
    chosen = origin or store._origins[IMAGES]
    assert chosen is not None
    exporter = Exporter(store, store.index, chosen, ExportOrder(IMAGES, **order), QUICK)  # type: ignore[arg-type]
    run = Run(exporter)
    await exporter.run(run.told.append)
    return run


async def put(product: Product, key: str, body: bytes = BODY, **headers: str) -> None:
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    written = await product.send("PUT", key, headers=named, body=body)
    assert written.status_code == 200, written.text


def writes_at_origin(product: Product) -> list[tuple[str, str]]:
    return [(method, target) for method, target in product.origin.requests if method not in ("GET", "HEAD")]


async def test_all_that_was_written_here_is_there_and_a_second_run_writes_nothing(
    product: Product, origin_server: OriginServer
) -> None:
    await put(
        product, "plain", content_type="image/png", x_amz_meta_a="1", x_amz_tagging="a=1", x_amz_acl="public-read"
    )
    await put(product, "a b/ü", b"")
    etag = await in_parts(product, "parts")
    await moved(product, origin_server, "moved")
    origin_server.s3.delete_object(Bucket="images-there", Key="moved")
    origin_server.put("plain", b"an older object")
    run = await exported(product)
    assert run.endings == dict.fromkeys(("plain", "a b/ü", "parts"), Ending.WRITTEN)
    assert run.exporter.bytes_written == len(BODY) + len(b"".join(PARTS))
    assert origin_server.keys() == {"plain", "a b/ü", "parts"}
    assert origin_server.get("plain") == BODY
    there = origin_server.s3.head_object(Bucket="images-there", Key="parts")
    assert there["ETag"] == f'"{etag}"'
    assert origin_server.get("parts") == b"".join(PARTS)
    product.origin.requests.clear()
    again = await exported(product)
    assert again.endings == dict.fromkeys(("plain", "a b/ü", "parts"), Ending.ALREADY_THERE)
    assert writes_at_origin(product) == []


CHANGES: dict[str, dict[str, Any]] = {
    "bytes": {"Body": b"other bytes"},
    "content type": {"ContentType": "image/jpeg"},
    "metadata": {"Metadata": {"a": "2"}},
    "tags": {"Tagging": "a=2"},
    "one header more": {"CacheControl": "no-cache"},
}


async def test_whatever_differs_is_written_again_or_kept(product: Product, origin_server: OriginServer) -> None:
    same = {"Body": BODY, "ContentType": "image/png", "Metadata": {"a": "1"}, "Tagging": "a=1"}
    for key, change in {**CHANGES, "same": {}}.items():
        await put(product, key, content_type="image/png", x_amz_meta_a="1", x_amz_tagging="a=1")
        origin_server.s3.put_object(Bucket="images-there", Key=key, **{**same, **change})
    kept = await exported(product, keep_theirs=True)
    assert kept.endings == {**dict.fromkeys(CHANGES, Ending.KEPT_THEIRS), "same": Ending.ALREADY_THERE}
    assert all(kept.of(key).differences for key in CHANGES)
    assert writes_at_origin(product) == []
    assert (await exported(product)).endings == {**dict.fromkeys(CHANGES, Ending.WRITTEN), "same": Ending.ALREADY_THERE}
    assert set((await exported(product)).endings.values()) == {Ending.ALREADY_THERE}


async def test_a_dry_run_only_asks(product: Product, origin_server: OriginServer) -> None:
    await put(product, "k")
    await product.send("PUT", "gone", body=b"x")
    await product.send("DELETE", "gone")
    origin_server.put("gone", b"old")
    run = await exported(product, dry_run=True, delete=True)
    assert run.endings == {"k": Ending.WRITTEN, "gone": Ending.DELETED}
    assert (writes_at_origin(product), run.exporter.bytes_written) == ([], 0)
    assert origin_server.keys() == {"gone"}


async def test_what_was_deleted_here_is_deleted_there_when_asked(product: Product, origin_server: OriginServer) -> None:
    for key in ("there", "nowhere"):
        await product.send("DELETE", key)
    origin_server.put("there", b"old")
    origin_server.put("unknown", b"never seen here")
    assert (await exported(product)).endings == {"there": Ending.STILL_THERE, "nowhere": Ending.GONE}
    assert origin_server.keys() == {"there", "unknown"}
    assert (await exported(product, delete=True)).endings == {"there": Ending.DELETED, "nowhere": Ending.GONE}
    assert origin_server.keys() == {"unknown"}
    assert set((await exported(product, delete=True)).endings.values()) == {Ending.GONE}


async def test_copies_fill_an_empty_bucket_and_replace_nothing(product: Product, origin_server: OriginServer) -> None:
    """After the switch-off: another bucket gets everything. ETags of multipart copies mostly come out the same."""
    where = {"Bucket": "images-there", "Key": "big"}
    upload_id = origin_server.s3.create_multipart_upload(**where, ContentType="video/mp4")["UploadId"]
    bodies = [random.Random(7).randbytes(8 << 20), b"the rest"]
    done = [
        {
            "PartNumber": number,
            "ETag": origin_server.s3.upload_part(**where, UploadId=upload_id, PartNumber=number, Body=body)["ETag"],
        }
        for number, body in enumerate(bodies, start=1)
    ]
    listed = {"Parts": done}
    etag = origin_server.s3.complete_multipart_upload(**where, UploadId=upload_id, MultipartUpload=listed)["ETag"]
    assert (await product.send("GET", "big")).status_code == 200
    await product.copied("big")
    await moved(product, origin_server, "a", "newer", ContentType="image/png", Tagging="a=1")
    for key in ("a", "big"):
        origin_server.s3.delete_object(Bucket="images-there", Key=key)
    origin_server.put("newer", b"newer there")
    await put(product, "written")
    run = await exported(product, copies=True)
    assert run.endings == {
        "a": Ending.WRITTEN, "big": Ending.WRITTEN, "newer": Ending.KEPT_THEIRS, "written": Ending.WRITTEN,
    }  # fmt: skip
    assert origin_server.get("newer") == b"newer there"
    assert origin_server.get("big") == b"".join(bodies)
    assert origin_server.s3.head_object(**where)["ETag"] == etag
    again = await exported(product, copies=True)
    assert set(again.endings.values()) == {Ending.ALREADY_THERE, Ending.KEPT_THEIRS}


async def test_bytes_never_come_from_the_origin(product: Product, origin_server: OriginServer) -> None:
    await moved(product, origin_server, "a")
    await put(product, "k")
    damage(product)
    run = await exported(product, copies=True)
    assert run.endings == {"a": Ending.ALREADY_THERE, "k": Ending.FAILED}
    assert "wrong bytes" in run.of("k").reason
    assert origin_server.keys() == {"a"}
    assert not run.exporter.clean


async def test_a_moved_object_with_new_tags_goes_back(product: Product, origin_server: OriginServer) -> None:
    """It counts as written here; what only the origin can say of an object is not sent back to it."""
    await moved(product, origin_server, "k", ContentType="image/png", Metadata={"a": "1"})
    tagging = b"<Tagging><TagSet><Tag><Key>a</Key><Value>2</Value></Tag></TagSet></Tagging>"
    assert (await product.send("PUT", "k", query="tagging", body=tagging)).status_code == 200
    state = await product.state("k")
    assert isinstance(state, ObjectRecord)
    assert state.provenance is Provenance.WRITTEN_HERE
    assert (await exported(product)).endings == {"k": Ending.WRITTEN}
    tags = origin_server.s3.get_object_tagging(Bucket="images-there", Key="k")["TagSet"]
    assert tags == [{"Key": "a", "Value": "2"}]
    assert (await exported(product)).endings == {"k": Ending.ALREADY_THERE}


# Something happens between the look at the origin and the write, or between the write and its proof.

Change = Callable[[Product, OriginServer], Awaitable[object]]


async def write_here(product: Product, _: OriginServer) -> None:
    await put(product, "k", b"newer here")


async def delete_here(product: Product, _: OriginServer) -> None:
    await product.send("DELETE", "k")


async def write_there(product: Product, origin_server: OriginServer) -> None:
    """A client whose key we do not have writes past us."""
    origin_server.put("k", b"newer there")
    await product.index.supersede(IMAGES, "k")


@pytest.mark.parametrize("before_the_write", [True, False])
@pytest.mark.parametrize(
    ("older", "change", "there", "ending"),
    [
        (False, write_here, b"newer here", Ending.WRITTEN),
        (True, delete_here, None, Ending.CHANGED),
        (False, write_there, b"newer there", Ending.CHANGED),
        (True, write_there, b"newer there", Ending.CHANGED),
    ],
)
async def test_the_newest_is_at_the_origin_in_the_end(
    product: Product,
    origin_server: OriginServer,
    monkeypatch: pytest.MonkeyPatch,
    before_the_write: bool,
    older: bool,
    change: Change,
    there: bytes | None,
    ending: Ending,
) -> None:
    await put(product, "k")
    if older:
        origin_server.put("k", b"older there")
    changed = asyncio.Event()
    send = S3Origin.send

    @asynccontextmanager
    async def send_and_change(self: S3Origin, request: OriginRequest) -> AsyncIterator[Any]:
        is_write = request.method == "PUT" and not changed.is_set()
        if is_write and before_the_write:
            changed.set()
            await change(product, origin_server)
        async with send(self, request) as got:
            yield got
        if is_write and not before_the_write:
            changed.set()
            await change(product, origin_server)

    monkeypatch.setattr(S3Origin, "send", send_and_change)
    run = await exported(product, delete=True)
    assert run.told[0].ending is ending
    if there is None:
        assert run.told[-1].ending is Ending.DELETED, "the deletion is followed after the objects"
        assert origin_server.keys() == set()
    else:
        assert origin_server.get("k") == there


async def test_a_write_past_us_that_is_under_way_is_waited_for(product: Product, origin_server: OriginServer) -> None:
    await put(product, "k")
    await product.index.begin_origin_write(IMAGES, "k", now_s=1)
    run = await exported(product)
    assert run.endings == {"k": Ending.FAILED}
    assert "under way" in run.of("k").reason
    assert writes_at_origin(product) == []


async def test_an_origin_that_takes_another_object_fails_the_proof(product: Product) -> None:
    await put(product, "k", x_amz_meta_a="1")
    is_there = asyncio.Event()

    async def handle(received: Received, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if received.method == "PUT":
            is_there.set()
            writer.write(answer(200))
        elif not is_there.is_set():
            writer.write(answer(404))
        else:
            told = 'ETag: "0cc175b9c0f1b6a831c399e269772661"\r\nLast-Modified: Thu, 01 Jan 2015 00:00:00 GMT\r\n'
            writer.write(f"HTTP/1.1 200 X\r\n{told}Content-Length: {len(BODY)}\r\n\r\n".encode())

    async with raw_server(handle) as server, origin_at(server.port) as origin:
        run = await exported(product, origin=origin)
    assert run.endings == {"k": Ending.FAILED}
    assert [difference.what for difference in run.of("k").differences] == [
        "ETag",
        "header content-type",
        "header x-amz-meta-a",
    ]


async def test_an_origin_that_is_away_is_asked_again_and_then_said(product: Product) -> None:
    await put(product, "k")
    await product.send("DELETE", "gone")
    async with raw_server(answer(503)) as server, origin_at(server.port) as origin:
        run = await exported(product, origin=origin)
        assert run.endings == {"k": Ending.FAILED, "gone": Ending.FAILED}
        assert run.of("k").reason == "the origin answered 503"
        assert len(server.received) == 2 * QUICK.attempts_max


async def test_after_the_export_a_comparison_is_clean(product: Product, origin_server: OriginServer) -> None:
    """The other way round as well: the copies that are read back from the exported objects equal them."""
    await put(product, "k", content_type="image/png", x_amz_meta_a="1")
    await exported(product)
    await product.index.supersede(IMAGES, "k")
    assert (await product.send("GET", "k")).content == BODY
    await product.copied("k")
    assert (await verified(product, deep=True)).tally.clean
