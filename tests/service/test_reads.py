"""GET and HEAD of parts and versions, through the whole product."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from addon.store.ports import SourceChanged
from addon.store.records import ObjectRecord, Provenance, Tombstone
from tests.origin.raw_server import Received, answer, raw_server
from tests.service.fixtures import OriginServer
from tests.service.product import ALONE, IMAGES, OPEN, Product, running_product
from tests.service.uploads import Uploading, begin, by_boto, checksum, product_with_small_parts

BODIES = {2: b"two" * 40_000, 5: b"five", 9: b""}


@pytest.fixture
async def small(
    tmp_path: Path, origin_server: OriginServer, quick_retries: None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Product]:
    """The product without a least size of parts."""
    async with product_with_small_parts(tmp_path, origin_server.port, monkeypatch) as running:
        yield running


async def in_parts(product: Product, key: str = "k", **more: Any) -> Uploading:
    """An object of parts 2, 5 and 9."""
    uploading = await begin(product, key, **more)
    for number, body in BODIES.items():
        assert (await uploading.put(number, body)).status_code == 200
    assert (await uploading.complete()).status_code == 200
    return uploading


async def test_parts_of_an_object(small: Product) -> None:
    await in_parts(small)
    size, start = sum(map(len, BODIES.values())), 0
    for number, body in BODIES.items():
        for method in ("GET", "HEAD"):
            headers = [("x-amz-checksum-mode", "ENABLED")]
            got = await small.send(method, "k", query=f"partNumber={number}", headers=headers)
            assert got.content == (body if method == "GET" else b"")
            assert (got.headers["content-length"], got.headers["x-amz-mp-parts-count"]) == (str(len(body)), "3")
            assert got.headers["etag"].endswith('-3"'), "the ETag is the object's"
            assert got.headers["x-amz-checksum-crc64nvme"] == checksum("crc64nvme", body)
            if body:
                assert got.status_code == 206
                assert got.headers["content-range"] == f"bytes {start}-{start + len(body) - 1}/{size}"
        start += len(body)
    for number in (1, 3, 10_000):
        refused = await small.send("GET", "k", query=f"partNumber={number}")
        assert (refused.status_code, refused.code) == (416, "InvalidPartNumber")
        assert (await small.send("HEAD", "k", query=f"partNumber={number}")).status_code == 416
    for number in ("0", "10001", "x", ""):
        assert (await small.send("GET", "k", query=f"partNumber={number}")).code == "InvalidArgument"
    refused = await small.send("GET", "k", query="partNumber=2", headers=[("range", "bytes=0-1")])
    assert (refused.status_code, refused.code) == (400, "InvalidRequest")
    assert (await small.send("GET", "k", query="partNumber=2", headers=[("if-match", '"x"')])).status_code == 412
    assert "x-amz-mp-parts-count" not in (await small.send("HEAD", "k")).headers


async def test_boto3_reads_a_part_and_checks_it(small: Product) -> None:
    await in_parts(small, headers=[("x-amz-checksum-algorithm", "CRC32"), ("x-amz-checksum-type", "FULL_OBJECT")])

    def read(s3: Any) -> tuple[bytes, dict[str, Any]]:
        got = s3.get_object(Bucket=IMAGES, Key="k", PartNumber=5, ChecksumMode="ENABLED")
        return got["Body"].read(), got

    content, got = await by_boto(small, read)
    assert (content, got["PartsCount"], got["ChecksumCRC32"]) == (b"five", 3, checksum("crc32", b"five"))


async def test_an_object_in_one_piece_is_its_own_first_part(product: Product) -> None:
    await product.send("PUT", "k", body=b"whole")
    got = await product.send("GET", "k", query="partNumber=1")
    assert (got.status_code, got.content, got.headers["content-range"]) == (206, b"whole", "bytes 0-4/5")
    assert "x-amz-mp-parts-count" not in got.headers
    assert (await product.send("GET", "k", query="partNumber=2")).code == "InvalidPartNumber"
    await product.send("PUT", "empty")
    got = await product.send("GET", "empty", query="partNumber=1")
    assert (got.status_code, got.content) == (200, b"")


async def test_of_a_copy_the_origin_knows_the_parts(product: Product, origin_server: OriginServer) -> None:
    s3 = origin_server.s3
    upload_id = s3.create_multipart_upload(Bucket="images-there", Key="k")["UploadId"]
    etags = [
        s3.upload_part(Bucket="images-there", Key="k", UploadId=upload_id, PartNumber=number, Body=body)["ETag"]
        for number, body in ((1, b"1" * (5 << 20)), (2, b"2"))
    ]
    parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, start=1)]
    s3.complete_multipart_upload(Bucket="images-there", Key="k", UploadId=upload_id, MultipartUpload={"Parts": parts})
    await product.send("GET", "k")
    assert (await product.copied("k")).parts_count == 0
    product.origin.requests.clear()
    assert (await product.send("HEAD", "k", query="partNumber=2")).headers["x-amz-mp-parts-count"] == "2"
    assert product.origin.requests == [("HEAD", "/images-there/k?partNumber=2")]


async def test_strangers_may_read_parts_of_what_anyone_may_read(small: Product) -> None:
    await in_parts(small, headers=[("x-amz-acl", "public-read")])
    assert (await small.send("GET", "k", query="partNumber=5", by=None)).content == b"five"
    await in_parts(small, "private")
    assert (await small.send("GET", "private", query="partNumber=5", by=None)).status_code == 403
    assert (await small.send("GET", "k", query="versionId=null", by=None)).status_code == 403
    assert (await small.send("GET", "missing", query="partNumber=1", by=None, bucket=OPEN)).status_code != 200


async def test_an_object_that_is_replaced_while_its_parts_are_looked_up(
    small: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    await in_parts(small)
    object_parts = type(small.index).object_parts
    times = 0

    async def after_a_change(self: Any, record: ObjectRecord) -> Any:
        nonlocal times
        times += 1
        if times == 1:
            await in_parts(small)
        return await object_parts(self, record)

    monkeypatch.setattr(type(small.index), "object_parts", after_a_change)
    got = await small.send("GET", "k", query="partNumber=5")
    assert (got.status_code, got.content, times) == (206, b"five", 2)

    async def changed(*_: Any) -> None:
        raise SourceChanged("again and again")

    monkeypatch.setattr(type(small.index), "object_parts", changed)
    assert (await small.send("GET", "k", query="partNumber=5")).status_code == 409


async def test_the_version_null_is_what_was_written_here(product: Product, origin_server: OriginServer) -> None:
    origin_server.put("k", b"theirs")
    origin_server.put("deleted", b"theirs")
    await product.send("PUT", "k", body=b"ours")
    await product.send("DELETE", "deleted")
    product.origin.requests.clear()
    for method, content in (("GET", b"ours"), ("HEAD", b"")):
        got = await product.send(method, "k", query="versionId=null")
        assert (got.status_code, got.content) == (200, content)
    refused = await product.send("GET", "deleted", query="versionId=null")
    assert (refused.status_code, refused.code) == (404, "NoSuchVersion")
    assert (await product.send("DELETE", "deleted", query="versionId=null")).status_code == 204
    assert (await product.send("DELETE", "k", query="versionId=null")).status_code == 204
    assert isinstance(await product.state("k"), Tombstone)
    assert product.origin.requests == []
    assert origin_server.get("k") == b"theirs"


async def test_without_an_origin_there_is_one_version(product: Product) -> None:
    await product.send("PUT", "k", bucket=ALONE, body=b"ours")
    assert (await product.send("GET", "k", bucket=ALONE, query="versionId=null")).content == b"ours"
    for method in ("GET", "DELETE"):
        refused = await product.send(method, "k", bucket=ALONE, query="versionId=other")
        assert (refused.status_code, refused.code) == (404, "NoSuchVersion")
    assert (await product.send("GET", "nowhere", bucket=ALONE, query="versionId=null")).code == "NoSuchVersion"
    assert (await product.send("DELETE", "nowhere", bucket=ALONE, query="versionId=null")).status_code == 204
    assert (await product.send("GET", "k", bucket=ALONE)).content == b"ours"


async def test_other_versions_are_the_origins_and_leave_what_is_here(tmp_path: Path, quick_retries: None) -> None:
    """Also of keys that were written or deleted here: a version never changes. Deleting one means nothing for what is here, but
    a copy may be out of date after it."""
    body = b"an old version"

    async def at_origin(received: Received, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if received.method == "DELETE":
            writer.write(answer(204))
        elif b"list-type" in received.target:
            writer.write(answer(200))
        else:
            about = 'ETag: "0123"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n'
            whole = answer(200, about, body)
            writer.write(whole.removesuffix(body) if received.method == "HEAD" else whole)

    async with raw_server(at_origin) as origin, running_product(tmp_path, origin.port) as product:
        await product.send("PUT", "written", body=b"ours")
        await product.send("DELETE", "deleted")
        await product.send("GET", "copy")
        assert (await product.copied("copy")).provenance is Provenance.COPIED_FROM_ORIGIN
        for key in ("written", "deleted", "copy", "unmoved"):
            assert (await product.send("GET", key, query="versionId=v1")).content == body
            assert (await product.send("DELETE", key, query="versionId=v1")).status_code == 204
            assert not await product.index.has_origin_write(IMAGES, key)
        assert (await product.send("GET", "written")).content == b"ours"
        assert isinstance(await product.state("written"), ObjectRecord)
        assert isinstance(await product.state("deleted"), Tombstone)
        assert await product.state("copy") is None, "the origin has the truth"
        for key in ("written", "deleted"):
            with_tags = await product.send("GET", key, query="tagging&versionId=v1")
            assert (key, with_tags.status_code) == (key, 200)
