"""An object goes from Telegram to the origin and is the same there: bytes, headers, tags, checksums and ETag."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import random
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from addon.s3.checksums import BodyDigests
from addon.s3.multipart import PART_BYTES_MIN
from addon.store.origin_upload import upload_to_origin
from addon.store.ports import DocumentCorrupt, Origin, OriginChanged, OriginRefused, OriginUnavailable
from addon.store.records import ObjectPart, ObjectRecord
from addon.store.retrying import Retries
from tests.origin.raw_server import Received, answer, origin_at, raw_server
from tests.service.fixtures import OriginServer
from tests.service.product import IMAGES, WRONG_BYTES, Product
from tests.service.uploads import by_boto
from tests.store.command_store import command_store

BODY = random.Random(3).randbytes(300_000)
PARTS = (random.Random(4).randbytes(PART_BYTES_MIN), random.Random(5).randbytes(PART_BYTES_MIN + 7), b"the end")


async def no_pause(_: float) -> None:
    await asyncio.sleep(0)


QUICK = Retries(attempts_max=3, sleep=no_pause)


def origin_of(product: Product) -> Origin:
    origin = product.store._origins[IMAGES]
    assert origin is not None
    return origin


async def record_of(product: Product, key: str) -> ObjectRecord:
    state = await product.state(key)
    assert isinstance(state, ObjectRecord)
    return state


async def parts_of(product: Product, record: ObjectRecord) -> Sequence[ObjectPart]:
    return await product.index.object_parts(record) if record.parts_count else ()


async def exported(product: Product, key: str, **more: Any) -> Sequence[str]:
    record = await record_of(product, key)
    parts = await parts_of(product, record)
    return await upload_to_origin(command_store(product), origin_of(product), record, parts, part_retries=QUICK, **more)


async def in_parts(product: Product, key: str, parts: Sequence[bytes] = PARTS, **more: Any) -> str:
    """Upload these parts through the product; the ETag without quotes."""

    def upload(s3: Any) -> str:
        where = {"Bucket": IMAGES, "Key": key}
        upload_id = s3.create_multipart_upload(**where, **more)["UploadId"]
        done = []
        for number, body in enumerate(parts, start=1):
            part = s3.upload_part(**where, UploadId=upload_id, PartNumber=number, Body=body)
            checksums = {name: value for name, value in part.items() if name == "ChecksumCRC32"}
            done.append({"PartNumber": number, "ETag": part["ETag"], **checksums})
        listed = {"Parts": done}
        return str(s3.complete_multipart_upload(**where, UploadId=upload_id, MultipartUpload=listed)["ETag"]).strip('"')

    return await by_boto(product, upload)


async def test_everything_of_an_object_is_the_same_there(product: Product, origin_server: OriginServer) -> None:
    written = await product.send(
        "PUT",
        "a b/ü+1",
        headers=[
            ("content-type", "image/png"),
            ("cache-control", "max-age=5"),
            ("content-disposition", 'inline; filename="a.png"'),
            ("content-encoding", "gzip"),
            ("content-language", "de"),
            ("expires", "Thu, 01 Dec 2033 16:00:00 GMT"),
            ("x-amz-meta-colour", "blue, green"),
            ("x-amz-meta-name", "caf\u00c3\u00a9"),
            ("x-amz-website-redirect-location", "/elsewhere"),
            ("x-amz-storage-class", "STANDARD_IA"),
            ("x-amz-tagging", "a=1%2B2&b=%C3%BC"),
            ("x-amz-acl", "public-read"),
        ],
        body=BODY,
    )
    assert written.status_code == 200, written.text
    assert await exported(product, "a b/ü+1") == ()
    here = await product.send("HEAD", "a b/ü+1", headers=[("x-amz-checksum-mode", "ENABLED")])
    here.headers.encoding = "latin-1"  # as boto3 has it
    there = origin_server.s3.get_object(Bucket="images-there", Key="a b/ü+1", ChecksumMode="ENABLED")
    told = there["ResponseMetadata"]["HTTPHeaders"]
    assert there["Body"].read() == BODY
    for name in (
        "etag", "content-length", "content-type", "cache-control", "content-disposition", "content-encoding",
        "content-language", "expires", "x-amz-meta-colour", "x-amz-meta-name", "x-amz-website-redirect-location",
        "x-amz-storage-class", "x-amz-checksum-crc64nvme",
    ):  # fmt: skip
        assert told[name] == here.headers[name], name
    tags = origin_server.s3.get_object_tagging(Bucket="images-there", Key="a b/ü+1")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"a": "1+2", "b": "ü"}
    grants = origin_server.s3.get_object_acl(Bucket="images-there", Key="a b/ü+1")["Grants"]
    assert ("AllUsers", "READ") in {
        (grant["Grantee"].get("URI", "").rpartition("/")[2], grant["Permission"]) for grant in grants
    }


async def test_an_object_in_parts_gets_the_same_etag(product: Product, origin_server: OriginServer) -> None:
    etag = await in_parts(product, "parts", ContentType="video/mp4", Metadata={"a": "1"})
    assert etag.endswith("-3")
    assert await exported(product, "parts") == ()
    there = origin_server.s3.get_object(Bucket="images-there", Key="parts")
    assert there["ETag"] == f'"{etag}"'
    assert (there["ContentType"], there["Metadata"]) == ("video/mp4", {"a": "1"})
    assert there["Body"].read() == b"".join(PARTS)
    assert not origin_server.s3.list_multipart_uploads(Bucket="images-there").get("Uploads")


async def test_an_empty_object_goes_too(product: Product, origin_server: OriginServer) -> None:
    await product.send("PUT", "folder/", body=b"")
    await exported(product, "folder/")
    assert origin_server.get("folder/") == b""


async def test_what_telegram_gives_wrong_does_not_reach_the_origin(
    product: Product, origin_server: OriginServer
) -> None:
    """Nor are the origin's own bytes sent back to it."""
    await product.send("PUT", "k", body=random.Random(9).randbytes(3 << 20))
    await in_parts(product, "parts", Tagging="a=1")
    origin_server.put("k", b"old")
    product.standin.control.faults(
        {"match": {"method": "download"}, "times": None, "action": {"kind": "corrupt", "offset": 2_500_000}}
    )
    for key in ("k", "parts"):
        with pytest.raises((DocumentCorrupt, OriginUnavailable)):
            await exported(product, key)
    assert origin_server.get("k") == b"old"
    assert origin_server.keys() == {"k"}
    assert not origin_server.s3.list_multipart_uploads(Bucket="images-there").get("Uploads"), "it was aborted"


async def test_a_copy_is_not_read_at_the_origin_either(product: Product, origin_server: OriginServer) -> None:
    origin_server.put("k", BODY)
    await product.send("GET", "k")
    await product.copied("k")
    product.standin.control.faults({"match": {"method": "download"}, "times": None, "action": WRONG_BYTES})
    with pytest.raises(DocumentCorrupt):
        await exported(product, "k")


async def test_a_condition_holds_or_nothing_is_written(product: Product) -> None:
    await product.send("PUT", "k", body=BODY)
    async with scripted(lambda _: answer(412, "", b"<Error><Code>PreconditionFailed</Code></Error>")) as (origin, seen):
        record = await record_of(product, "k")
        with pytest.raises(OriginChanged):
            await upload_to_origin(product.store, origin, record, (), condition=("if-match", '"abc"'))
        assert [received.header("if-match") for received in seen] == [b'"abc"']


@asynccontextmanager
async def scripted(answer_to: Callable[[Received], bytes]) -> Any:
    """An origin that answers so, and what it received."""

    async def handle(received: Received, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer_to(received))

    async with raw_server(handle) as server, origin_at(server.port) as origin:
        yield origin, server.received


def refusing(**codes: str) -> Callable[[Received], bytes]:
    """Refuses what has one of these headers, and says so with the code."""

    def answer_to(received: Received) -> bytes:
        given = {name.replace("-", "_") for name, _ in received.headers}
        for header, code in codes.items():
            if header in given:
                status = 501 if code == "NotImplemented" else 400
                return answer(status, "", f"<Error><Code>{code}</Code></Error>".encode())
        return answer(200, f'ETag: "{hashlib.md5(received.body).hexdigest()}"\r\n')

    return answer_to


async def test_what_an_origin_does_not_take_is_left_out_and_said(product: Product) -> None:
    headers = [("x-amz-acl", "public-read"), ("x-amz-storage-class", "STANDARD_IA")]
    headers.append(("x-amz-server-side-encryption", "AES256"))
    await product.send("PUT", "k", headers=headers, body=BODY)
    picky = refusing(
        x_amz_acl="AccessControlListNotSupported",
        x_amz_storage_class="InvalidStorageClass",
        x_amz_server_side_encryption="NotImplemented",
        if_none_match="NotImplemented",
        x_amz_checksum_crc64nvme="InvalidRequest",
    )
    async with scripted(picky) as (origin, seen):
        record = await record_of(product, "k")
        left_out = await upload_to_origin(product.store, origin, record, (), condition=("if-none-match", "*"))
    assert [said.partition(":")[0] for said in left_out] == [
        "the ACL public-read",
        "the storage class",
        "the encryption AES256",
        "the checksum",
    ]
    assert seen[-1].body == BODY
    assert base64.b64decode(seen[-1].header("content-md5")) == hashlib.md5(BODY).digest()


async def test_another_refusal_is_raised_with_its_code(product: Product) -> None:
    await product.send("PUT", "k", body=BODY)
    async with scripted(lambda _: answer(403, "", b"<Error><Code>AccessDenied</Code></Error>")) as (origin, seen):
        with pytest.raises(OriginRefused, match="403 AccessDenied"):
            await upload_to_origin(product.store, origin, await record_of(product, "k"), ())
        assert len(seen) == 1


def multipart_origin(complete: bytes, *, failing_parts: int = 0) -> Callable[[Received], bytes]:
    """Takes an upload in parts; the first `failing_parts` requests for parts fail, and the end is `complete`."""
    left = [failing_parts]

    def answer_to(received: Received) -> bytes:
        target = received.target.decode()
        if received.method == "POST" and target.partition("?")[2].startswith("uploads"):
            body = b"<InitiateMultipartUploadResult><UploadId>an id</UploadId></InitiateMultipartUploadResult>"
            return answer(200, "", body)
        if received.method == "PUT":
            left[0] -= 1
            if left[0] >= 0:
                return answer(503, "Retry-After: 0\r\n", b"<Error><Code>SlowDown</Code></Error>")
            return answer(200, f'ETag: "{hashlib.md5(received.body).hexdigest()}"\r\n')
        return complete if received.method == "POST" else answer(204)

    return answer_to


COMPLETED = answer(200, "", b'  <CompleteMultipartUploadResult><ETag>"x-3"</ETag></CompleteMultipartUploadResult>')
TAKEN_BACK = answer(200, "", b"<?xml version='1.0'?>\n<Error><Code>InternalError</Code></Error>")


async def test_parts_bring_their_checksums_and_are_tried_again(product: Product) -> None:
    await in_parts(product, "parts", ChecksumAlgorithm="CRC32")
    record = await record_of(product, "parts")
    async with scripted(multipart_origin(COMPLETED, failing_parts=2)) as (origin, seen):
        await upload_to_origin(product.store, origin, record, await parts_of(product, record), part_retries=QUICK)
    create, *puts, complete = seen
    assert create.header("x-amz-checksum-algorithm") == b"CRC32"
    assert create.header("x-amz-checksum-type") == b"COMPOSITE"
    assert [put.body for put in puts] == [PARTS[0], PARTS[0], *PARTS]
    for put in puts:
        digests = BodyDigests({"crc32"})
        digests.update(put.body)
        assert put.header("x-amz-checksum-crc32").decode() == digests.checksum("crc32")
        assert digests.checksum("crc32") in complete.body.decode()


async def test_an_upload_in_parts_that_fails_is_aborted(product: Product) -> None:
    await in_parts(product, "parts")
    record = await record_of(product, "parts")
    parts = await parts_of(product, record)
    for fails in (multipart_origin(TAKEN_BACK), multipart_origin(COMPLETED, failing_parts=99)):
        async with scripted(fails) as (origin, seen):
            with pytest.raises(OriginUnavailable):
                await upload_to_origin(product.store, origin, record, parts, part_retries=QUICK)
            assert (seen[-1].method, seen[-1].target) == ("DELETE", b"/bucket/parts?uploadId=an%20id")


async def test_an_upload_in_parts_that_is_stopped_is_aborted(product: Product) -> None:
    await in_parts(product, "parts")
    record = await record_of(product, "parts")
    parts = await parts_of(product, record)
    reached = asyncio.Event()

    async def handle(received: Received, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if received.method == "PUT":
            reached.set()
            return
        writer.write(multipart_origin(COMPLETED)(received))

    async with raw_server(handle) as server, origin_at(server.port) as origin:
        uploading = asyncio.create_task(upload_to_origin(product.store, origin, record, parts))
        await asyncio.wait_for(reached.wait(), 10)
        uploading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await uploading
        assert server.received[-1].method == "DELETE"


async def test_other_bytes_at_the_origin_are_noticed(product: Product) -> None:
    await in_parts(product, "parts")
    record = await record_of(product, "parts")

    def deaf(received: Received) -> bytes:
        if received.method == "PUT":
            return answer(200, f'ETag: "{hashlib.md5(b"other").hexdigest()}"\r\n')
        return multipart_origin(COMPLETED)(received)

    async with scripted(deaf) as (origin, seen):
        with pytest.raises(OriginChanged, match="other bytes"):
            await upload_to_origin(product.store, origin, record, await parts_of(product, record), part_retries=QUICK)
        assert seen[-1].method == "DELETE"
