"""UploadPartCopy: parts made of objects, held here or at the origin, without sending what Telegram has already."""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig

from addon.index.sql_index import SqlIndex
from addon.store.layout import extent_bytes_max
from addon.store.records import BLOCK_BYTES, ObjectRecord
from addon.telegram.documents import DOCUMENT_BYTES_MAX
from tests.origin.raw_server import raw_server
from tests.service.fixtures import OriginServer
from tests.service.product import ALONE, ENCRYPTION, IMAGES, OTHER, OTHER_USER, Answer, Product, eventually
from tests.service.signing import Headers
from tests.service.uploads import Uploading, begin, by_boto, checksum, etag_of, part_list_xml, product_with_small_parts

EXTENT = extent_bytes_max(DOCUMENT_BYTES_MAX)
V1, V2 = random.Random(41).randbytes(3 * BLOCK_BYTES + 777), random.Random(42).randbytes(70_000)
STATES = ("only at the origin", "moved", "written here", "without origin")


@pytest.fixture(params=["", ENCRYPTION], ids=["plain", "encrypted"])
async def product(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    origin_server: OriginServer,
    quick_retries: None,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Product]:
    settings = {"encryption": request.param}
    async with product_with_small_parts(tmp_path, origin_server.port, monkeypatch, **settings) as running:
        yield running


async def bring_about(product: Product, origin_server: OriginServer, state: str) -> str:
    """A source in this state with `V1`; returns its bucket."""
    if state in ("only at the origin", "moved"):
        origin_server.put("source", V1)
        if state == "moved":
            await product.send("GET", "source")
            await product.copied("source")
        return IMAGES
    bucket = ALONE if state == "without origin" else IMAGES
    assert (await product.send("PUT", "source", bucket=bucket, body=V1)).status_code == 200
    return bucket


async def copy_part(
    upload: Uploading, number: int, source: str, byte_range: str | None = None, headers: Headers = (), **more: Any
) -> Answer:
    """One UploadPartCopy; its ETag is remembered where it succeeded."""
    ranged = [("x-amz-copy-source-range", byte_range)] if byte_range is not None else []
    answer = await upload.product.send(
        "PUT",
        upload.key,
        bucket=upload.bucket,
        query=f"partNumber={number}&uploadId={upload.upload_id}",
        headers=[("x-amz-copy-source", source), *ranged, *headers],
        **more,
    )
    etag = re.search('<ETag>"(.+)"</ETag>', answer.text)
    if answer.status_code == 200 and etag is not None:
        upload.etags[number] = etag[1]
    return answer


async def documents_of(product: Product, key: str, bucket: str = IMAGES) -> set[str]:
    state = await product.state(key, bucket)
    assert isinstance(state, ObjectRecord)
    return {extent.document.document_id for extent in state.extents}


@pytest.mark.parametrize("state", STATES)
async def test_parts_are_made_of_ranges(product: Product, origin_server: OriginServer, state: str) -> None:
    bucket = await bring_about(product, origin_server, state)
    sends = product.sends()
    upload = await begin(product, "k")
    ranges = [(0, BLOCK_BYTES - 1), (100, 100), (5, 2 * BLOCK_BYTES + 9), (len(V1) - 10, len(V1) - 1), None]
    wanted = [V1 if one is None else V1[one[0] : one[1] + 1] for one in ranges]
    for number, one in enumerate(ranges, 1):
        asked = None if one is None else f"bytes={one[0]}-{one[1]}"
        made = await copy_part(upload, number, f"/{bucket}/source", asked)
        assert made.status_code == 200, made.text
        assert f'<ETag>"{hashlib.md5(wanted[number - 1]).hexdigest()}"</ETag>' in made.text
        assert re.search(r"<CopyPartResult .*<LastModified>\d{4}-.*\.000Z</LastModified>", made.text)
    assert product.sends() == sends + (len(ranges) if state == "only at the origin" else 0)
    assert (await upload.put(6, V2)).status_code == 200
    wanted.append(V2)
    # The parts keep their documents when the source goes.
    assert (await product.send("DELETE", "source", bucket=bucket)).status_code == 204
    origin_server.s3.delete_object(Bucket="images-there", Key="source")
    assert (await upload.complete()).status_code == 200
    got = await product.send("GET", "k")
    assert got.content == b"".join(wanted)
    assert got.headers["etag"] == f'"{etag_of(wanted)}"'
    middle = len(got.content) // 2
    ranged = await product.send("GET", "k", headers=[("range", f"bytes={middle}-{middle + BLOCK_BYTES}")])
    assert ranged.content == got.content[middle : middle + BLOCK_BYTES + 1]
    assert await product.garbage() == set(product.documents_in_telegram()) - await documents_of(product, "k")
    await product.send("DELETE", "k")
    assert await product.garbage() == set(product.documents_in_telegram())
    assert product.spooled() == []


async def test_a_range_across_documents(product: Product) -> None:
    body = random.Random(43).randbytes(EXTENT + 2 * BLOCK_BYTES)
    assert (await product.send("PUT", "source", body=body)).status_code == 200
    upload = await begin(product, "k")
    first = EXTENT - BLOCK_BYTES - 3
    assert (await copy_part(upload, 1, f"/{IMAGES}/source", f"bytes={first}-{EXTENT + 99}")).status_code == 200
    assert (await upload.complete()).status_code == 200
    assert (await product.send("GET", "k")).content == body[first : EXTENT + 100]
    assert product.sends() == 2
    # And once more, from the object that was made of it.
    again = await begin(product, "k2")
    assert (await copy_part(again, 1, f"/{IMAGES}/k", "bytes=10-1000000")).status_code == 200
    assert (await again.complete()).status_code == 200
    assert (await product.send("GET", "k2")).content == body[first + 10 : first + 1_000_001]


@pytest.mark.parametrize("algorithm", ["crc32", "sha256", "crc64nvme"])
@pytest.mark.parametrize("state", STATES)
async def test_checksums(product: Product, origin_server: OriginServer, state: str, algorithm: str) -> None:
    bucket = await bring_about(product, origin_server, state)
    upload = await begin(product, "k", headers=[("x-amz-checksum-algorithm", algorithm.upper())])
    made = await copy_part(upload, 1, f"/{bucket}/source", "bytes=0-9999")
    value = checksum(algorithm, V1[:10_000])
    assert f"<Checksum{algorithm.upper()}>{value}</Checksum{algorithm.upper()}>" in made.text
    listed = await upload.listed()
    assert value in listed.text


@pytest.mark.parametrize("state", STATES)
async def test_a_refused_part_changes_nothing(product: Product, origin_server: OriginServer, state: str) -> None:
    bucket = await bring_about(product, origin_server, state)
    assert (await product.send("PUT", "private", bucket=OTHER, body=b"x", by=OTHER_USER)).status_code == 200
    upload = await begin(product, "k")
    assert (await upload.put(1, V2)).status_code == 200
    before, sends = (await upload.listed()).content, product.sends()
    size = len(V1)
    refusals: list[tuple[str, str | None, Headers, int, str]] = [
        *(
            (f"/{bucket}/source", byte_range, [], 400, "InvalidArgument")
            for byte_range in (f"bytes=0-{size}", f"bytes={size}-{size}", "bytes=9-5", "bytes=-5", "bytes=0-", "0-1")
        ),
        (f"/{bucket}/source", None, [("x-amz-copy-source-if-match", '"0"')], 412, "PreconditionFailed"),
        (
            f"/{bucket}/source",
            "bytes=0-9",
            [("x-amz-copy-source-if-none-match", f'"{hashlib.md5(V1).hexdigest()}"')],
            412,
            "PreconditionFailed",
        ),
        (f"/{bucket}/nothing", None, [], 404, "NoSuchKey"),
        (f"/{OTHER}/private", None, [], 403, "AccessDenied"),
        ("/nowhere/k", None, [], 403, "AccessDenied"),
    ]
    for source, byte_range, headers, status, code in refusals:
        refused = await copy_part(upload, 1, source, byte_range, headers)
        assert (source, byte_range, refused.status_code, refused.code) == (source, byte_range, status, code)
    assert (await copy_part(upload, 1, f"/{bucket}/source", body=b"body")).code == "InvalidRequest"
    assert (await upload.listed()).content == before
    assert product.sends() == sends


async def test_an_upload_that_is_not_there(product: Product) -> None:
    assert (await product.send("PUT", "source", bucket=ALONE, body=V2)).status_code == 200
    upload = await begin(product, "k", bucket=ALONE)
    other = Uploading(product, "another-key", ALONE, upload.upload_id)
    unknown = Uploading(product, "k", ALONE, "nothing")
    for wrong in (other, unknown):
        assert (await copy_part(wrong, 1, f"/{ALONE}/source")).code == "NoSuchUpload"
    assert (await copy_part(upload, 1, f"/{ALONE}/source")).status_code == 200
    assert (await upload.complete()).status_code == 200
    assert (await copy_part(upload, 1, f"/{ALONE}/source")).code == "NoSuchUpload"


async def test_an_upload_of_the_origin_goes_on_there(product: Product, origin_server: OriginServer) -> None:
    origin_server.put("source", V2)
    where = {"Bucket": "images-there", "Key": "k"}
    upload = Uploading(product, "k", IMAGES, origin_server.s3.create_multipart_upload(**where)["UploadId"])
    assert (await copy_part(upload, 1, f"/{IMAGES}/source")).status_code == 200
    parts = origin_server.s3.list_parts(**where, UploadId=upload.upload_id)["Parts"]
    assert [part["Size"] for part in parts] == [len(V2)]
    assert product.sends() == 0


async def test_a_range_of_which_the_origin_sends_less_than_it_announces_is_no_part(
    tmp_path: Path, quick_retries: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = 'ETag: "x-1"\r\nLast-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\nContent-Range: bytes 0-9/100\r\n'
    framed = "Content-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    async with (
        raw_server(f"HTTP/1.1 206 X\r\n{described}{framed}".encode()) as origin,
        product_with_small_parts(tmp_path, origin.port, monkeypatch) as product,
    ):
        upload = await begin(product, "k")
        refused = await copy_part(upload, 1, f"/{IMAGES}/source", "bytes=0-9")
        assert (refused.status_code, refused.code) == (503, "ServiceUnavailable")
        assert "<Part>" not in (await upload.listed()).text


async def test_no_part_is_made_of_documents_that_are_lost(product: Product, origin_server: OriginServer) -> None:
    """A read of the source goes on at the origin. A part would have nothing there to go on with."""
    await bring_about(product, origin_server, "moved")
    product.standin.control.faults({"match": {"method": "getFile"}, "times": None, "action": {"kind": "unavailable"}})
    assert (await product.send("GET", "source")).content == V1
    upload = await begin(product, "k")
    for byte_range in (None, "bytes=5-9"):
        refused = await copy_part(upload, 1, f"/{IMAGES}/source", byte_range)
        assert refused.status_code == 503
    assert "<Part>" not in (await upload.listed()).text


async def test_an_empty_source(product: Product, origin_server: OriginServer) -> None:
    origin_server.put("at-origin", b"")
    assert (await product.send("PUT", "here", body=b"")).status_code == 200
    upload = await begin(product, "k")
    for number, source in ((1, "at-origin"), (2, "here")):
        assert (await copy_part(upload, number, f"/{IMAGES}/{source}")).status_code == 200
        assert (await copy_part(upload, number, f"/{IMAGES}/{source}", "bytes=0-0")).code == "InvalidArgument"
    assert (await upload.complete()).status_code == 200
    assert (await product.send("GET", "k")).content == b""


async def test_a_part_copied_anew_lets_the_former_go(product: Product) -> None:
    for key, body in (("a", V1), ("b", V2)):
        assert (await product.send("PUT", key, body=body)).status_code == 200
    upload = await begin(product, "k")
    assert (await copy_part(upload, 1, f"/{IMAGES}/a")).status_code == 200
    assert (await copy_part(upload, 1, f"/{IMAGES}/b")).status_code == 200
    first = await documents_of(product, "a")
    await product.send("DELETE", "a")
    await product.send("DELETE", "b")
    assert await product.garbage() == first
    assert (await upload.abort()).status_code == 204
    assert await product.garbage() == set(product.documents_in_telegram())


@pytest.mark.parametrize("then", ["written", "deleted"])
async def test_a_source_that_changes_under_the_copy_is_looked_at_anew(
    product: Product, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    """Its document may have been cleared away before the part took it into use. The former part stands until there is a new one."""
    assert (await product.send("PUT", "source", body=V1)).status_code == 200
    upload = await begin(product, "k")
    assert (await upload.put(1, b"former")).status_code == 200
    original, there, go = SqlIndex.put_part, asyncio.Event(), asyncio.Event()

    async def waiting(self: SqlIndex, *arguments: Any, **more: Any) -> None:
        there.set()
        await go.wait()
        await original(self, *arguments, **more)

    monkeypatch.setattr(SqlIndex, "put_part", waiting)
    copying = asyncio.create_task(copy_part(upload, 1, f"/{IMAGES}/source"))
    await there.wait()
    changed = await product.send("PUT" if then == "written" else "DELETE", "source", body=V2 * (then == "written"))
    assert changed.status_code in (200, 204)
    go.set()
    made = await copying
    if then == "deleted":
        assert (made.status_code, made.code) == (404, "NoSuchKey")
        assert (await upload.complete()).status_code == 200
        assert (await product.send("GET", "k")).content == b"former"
        return
    etag = hashlib.md5(V2).hexdigest()
    assert f'<ETag>"{etag}"</ETag>' in made.text
    assert (await upload.complete(part_list_xml([(1, etag)]))).status_code == 200
    assert (await product.send("GET", "k")).content == V2


async def test_parts_in_parallel(product: Product) -> None:
    assert (await product.send("PUT", "source", body=V1)).status_code == 200
    upload = await begin(product, "k")
    step = len(V1) // 10
    ranges = [(at, min(at + step, len(V1)) - 1) for at in range(0, len(V1), step)]
    answers = await asyncio.gather(
        *(copy_part(upload, n, f"/{IMAGES}/source", f"bytes={a}-{b}") for n, (a, b) in enumerate(ranges, 1))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert (await upload.complete()).status_code == 200
    assert (await product.send("GET", "k")).content == V1


async def test_the_transfer_manager_of_boto3(product: Product, origin_server: OriginServer) -> None:
    body = random.Random(44).randbytes(17 << 20)
    origin_server.put("at-origin", body)
    assert (await product.send("PUT", "here", body=body)).status_code == 200
    config = TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=5 << 20, max_concurrency=4)
    for source in ("at-origin", "here"):
        await by_boto(
            product,
            lambda s3, source=source: s3.copy({"Bucket": IMAGES, "Key": source}, IMAGES, f"of-{source}", Config=config),
        )
        assert (await product.send("GET", f"of-{source}")).content == body
    await eventually(lambda: product.spooled() == [])
