"""PUT, GET, HEAD and DELETE: what is given comes back, and nothing else (migration cases 4, 7, 15, 16)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import random
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote

import boto3
import pytest
from awscrt import checksums as crt
from botocore.config import Config as BotoConfig
from botocore.exceptions import ClientError

from addon.store.layout import extent_bytes_max
from addon.store.records import BLOCK_BYTES, ObjectRecord, Tombstone
from addon.telegram.documents import DOCUMENT_BYTES_MAX
from tests.service.fixtures import OriginServer
from tests.service.product import (
    ALONE,
    ENCRYPTION,
    HOST,
    IMAGES,
    OPEN,
    OTHER,
    USER,
    Answer,
    Product,
    eventually,
    running_product,
    target_of,
)
from tests.service.signing import (
    SIGNED_CHUNKS,
    SIGNED_CHUNKS_TRAILER,
    UNSIGNED,
    UNSIGNED_CHUNKS_TRAILER,
    Headers,
    aws_chunked,
    sign,
)

EXTENT = extent_bytes_max(DOCUMENT_BYTES_MAX)
SIZES = (0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, EXTENT, EXTENT + 1, 45 * (1 << 20) + 12345)


@pytest.fixture(params=["", ENCRYPTION], ids=["plain", "encrypted"])
async def product(
    request: pytest.FixtureRequest, tmp_path: Path, origin_server: OriginServer, quick_retries: None
) -> AsyncIterator[Product]:
    async with running_product(tmp_path, origin_server.port, encryption=request.param) as running:
        yield running


def sample(size: int, seed: int = 0) -> bytes:
    return random.Random(seed or size).randbytes(size)


def md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


def checksum(algorithm: str, body: bytes) -> str:
    match algorithm:
        case "crc32":
            digest = zlib.crc32(body).to_bytes(4, "big")
        case "crc32c":
            digest = crt.crc32c(body).to_bytes(4, "big")
        case "crc64nvme":
            digest = crt.crc64nvme(body).to_bytes(8, "big")
        case _:
            digest = hashlib.new(algorithm, body).digest()
    return base64.b64encode(digest).decode()


async def test_every_size_comes_back_as_it_was_sent(product: Product) -> None:
    for size in SIZES:
        body = sample(size)
        put = await product.send("PUT", f"size-{size}", body=body)
        assert (put.status_code, put.headers["etag"]) == (200, f'"{md5(body)}"')
        state = await product.state(f"size-{size}")
        assert isinstance(state, ObjectRecord)
        assert [extent.length for extent in state.extents] == [
            min(EXTENT, size - offset) for offset in range(0, size, EXTENT)
        ]
        assert all(extent.document.size <= DOCUMENT_BYTES_MAX for extent in state.extents)
        got = await product.send("GET", f"size-{size}")
        assert (got.status_code, got.headers["content-length"], got.headers["etag"]) == (
            200,
            str(size),
            f'"{md5(body)}"',
        )
        assert got.content == body
        head = await product.send("HEAD", f"size-{size}")
        assert (head.status_code, head.content) == (200, b"")
        same = {"content-length", "etag", "last-modified", "content-type", "accept-ranges"}
        assert {name: head.headers[name] for name in same} == {name: got.headers[name] for name in same}
    assert product.spooled() == []
    assert await product.garbage() == set()
    assert product.origin.requests == []


async def test_a_large_object_is_read_again_from_telegram_after_a_restart_without_caches(
    tmp_path_factory: pytest.TempPathFactory, origin_server: OriginServer, quick_retries: None
) -> None:
    folder = tmp_path_factory.mktemp("product")
    body = sample(EXTENT + 3 * BLOCK_BYTES + 17)
    async with running_product(folder, origin_server.port) as product:
        assert (await product.send("PUT", "large", body=body)).status_code == 200
        documents = product.documents_in_telegram()
        assert len(documents) == 2
        assert sum(documents.values()) > len(body), "sizes are varied by padding"
    async with running_product(folder, origin_server.port) as product:
        before = product.downloads()
        assert (await product.send("GET", "large")).content == body
        assert product.downloads() > before


async def test_every_payload_form_is_taken(product: Product) -> None:
    forms = ("hash", UNSIGNED, SIGNED_CHUNKS, SIGNED_CHUNKS_TRAILER, UNSIGNED_CHUNKS_TRAILER)
    for payload, size in itertools.product(forms, (0, 5, 200_000, 2 * BLOCK_BYTES + 7)):
        body = sample(size)
        put = await put_as(product, f"{payload}-{size}", body, payload)
        assert put.status_code == 200, put.text
        got = await product.send("GET", f"{payload}-{size}", headers=[("x-amz-checksum-mode", "ENABLED")])
        assert got.content == body
        assert got.headers["etag"] == f'"{md5(body)}"'
        assert got.headers.get("content-encoding") is None
        if payload.endswith("TRAILER"):
            assert got.headers["x-amz-checksum-crc32"] == checksum("crc32", body)


async def put_as(product: Product, key: str, body: bytes, payload: str, headers: Headers = ()) -> Answer:
    """PUT by one of the forms of a body."""
    target = target_of(IMAGES, key)
    if payload in ("hash", UNSIGNED):
        declared = hashlib.sha256(body).hexdigest() if payload == "hash" else UNSIGNED
        signed = sign(USER, "PUT", target, HOST, headers, payload=declared)
        return await product.send_as_is("PUT", target, signed.headers, body)
    trailers = [("x-amz-checksum-crc32", checksum("crc32", body))] if payload.endswith("TRAILER") else []
    declared_headers = [
        *headers,
        ("content-encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", str(len(body))),
        *([("x-amz-trailer", "x-amz-checksum-crc32")] if trailers else []),
    ]
    signed = sign(USER, "PUT", target, HOST, declared_headers, payload=payload)
    form = {
        SIGNED_CHUNKS: "signed",
        SIGNED_CHUNKS_TRAILER: "signed-trailer",
        UNSIGNED_CHUNKS_TRAILER: "unsigned-trailer",
    }[payload]
    pieces = [body[start : start + 65536] for start in range(0, len(body), 65536)]
    frames = aws_chunked(signed, pieces, form=form, trailers=trailers)  # type: ignore[arg-type]
    return await product.send_as_is("PUT", target, signed.headers, b"".join(frames))


async def test_an_upload_as_picgo_makes_it_may_be_read_by_anyone(product: Product) -> None:
    body = sample(3000)
    headers = [
        ("amz-sdk-invocation-id", "2a3b9c1e-0000-4000-8000-000000000000"),
        ("amz-sdk-request", "attempt=1; max=3"),
        ("content-length", str(len(body))),
        ("content-type", "image/png"),
        ("x-amz-acl", "public-read"),
        ("x-amz-user-agent", "aws-sdk-js/3.421.0"),
    ]
    target = target_of(IMAGES, "img/2024/picture.png", "x-id=PutObject")
    signed = sign(USER, "PUT", target, HOST, headers, payload=hashlib.sha256(body).hexdigest(), region="auto")
    assert (await product.send_as_is("PUT", target, signed.headers, body)).status_code == 200
    got = await product.send("GET", "img/2024/picture.png", by=None)
    assert (got.status_code, got.content, got.headers["content-type"]) == (200, body, "image/png")
    private = await product.send("PUT", "img/private.png", body=body)
    assert private.status_code == 200
    assert (await product.send("GET", "img/private.png", by=None)).status_code == 403


async def test_headers_and_metadata_come_back(product: Product) -> None:
    given = {
        "content-type": "text/html; charset=utf-8",
        "cache-control": "max-age=60, public",
        "content-disposition": 'attachment; filename="a b.html"',
        "content-encoding": "gzip",
        "content-language": "de, en",
        "expires": "Thu, 01 Dec 2033 16:00:00 GMT",
        "x-amz-meta-colour": "grün".encode().decode("latin-1"),
        "x-amz-meta-empty": "",
        "x-amz-website-redirect-location": "/elsewhere",
        "x-amz-storage-class": "STANDARD_IA",
    }
    assert (await product.send("PUT", "k", headers=list(given.items()), body=b"abc")).status_code == 200
    for method in ("GET", "HEAD"):
        got = await product.send(method, "k")
        raw = {name.decode().lower(): value.decode("latin-1") for name, value in got.headers.raw}
        assert {name: raw.get(name) for name in given} == given


async def test_aws_chunked_is_not_stored_as_an_encoding(product: Product) -> None:
    headers = [("content-encoding", "aws-chunked,gzip")]
    target = target_of(IMAGES, "k")
    declared = [*headers, ("x-amz-decoded-content-length", "3")]
    signed = sign(USER, "PUT", target, HOST, declared, payload=SIGNED_CHUNKS)
    body = b"".join(aws_chunked(signed, [b"abc"], form="signed"))
    assert (await product.send_as_is("PUT", target, signed.headers, body)).status_code == 200
    head = await product.send("HEAD", "k")
    assert (head.headers["content-encoding"], head.headers["content-length"]) == ("gzip", "3")


async def test_checksums_are_verified_given_back_and_refused(product: Product) -> None:
    body = sample(70_000)
    for algorithm in ("crc32", "crc32c", "crc64nvme", "sha1", "sha256"):
        name, value = f"x-amz-checksum-{algorithm}", checksum(algorithm, body)
        put = await product.send("PUT", "k", headers=[(name, value)], body=body)
        assert (put.status_code, put.headers[name]) == (200, value)
        asked = await product.send("HEAD", "k", headers=[("x-amz-checksum-mode", "ENABLED")])
        assert (asked.headers[name], asked.headers["x-amz-checksum-type"]) == (value, "FULL_OBJECT")
        assert name not in (await product.send("HEAD", "k")).headers
        for wrong, code in (
            (checksum(algorithm, b"other"), "BadDigest"),
            (value[:-4], "InvalidRequest"),
            ("****", "InvalidRequest"),
        ):
            refused = await product.send("PUT", "k", headers=[(name, wrong)], body=body)
            assert (algorithm, refused.status_code, refused.code) == (algorithm, 400, code)
        assert (await product.send("GET", "k")).content == body


async def test_content_md5_is_verified(product: Product) -> None:
    right = base64.b64encode(hashlib.md5(b"abc").digest()).decode()
    assert (await product.send("PUT", "k", headers=[("content-md5", right)], body=b"abc")).status_code == 200
    for value, code in ((right, "BadDigest"), ("nonsense", "InvalidDigest"), (right[:-4], "InvalidDigest")):
        refused = await product.send("PUT", "k", headers=[("content-md5", value)], body=b"abd")
        assert (refused.status_code, refused.code) == (400, code)
    assert (await product.send("GET", "k")).content == b"abc"


async def test_ranges(product: Product) -> None:
    body = sample(2 * BLOCK_BYTES + 100)
    assert (await product.send("PUT", "k", body=body)).status_code == 200
    for asked, status, expected in (
        ("bytes=0-0", 206, (0, 1)),
        ("bytes=5-9", 206, (5, 10)),
        ("bytes=-1", 206, (-1, None)),
        ("bytes=0-99999999", 206, (0, None)),
        (f"bytes={BLOCK_BYTES - 3}-{BLOCK_BYTES + 2}", 206, (BLOCK_BYTES - 3, BLOCK_BYTES + 3)),
        (f"bytes={2 * BLOCK_BYTES}-", 206, (2 * BLOCK_BYTES, None)),
        ("bytes=9-5", 200, (0, None)),
        ("bytes=0-0,2-3", 200, (0, None)),
        ("lines=1-2", 200, (0, None)),
        (f"bytes={2 * BLOCK_BYTES + 100}-", 416, (0, 0)),
        ("bytes=-0", 416, (0, 0)),
    ):
        got = await product.send("GET", "k", headers=[("range", asked)])
        assert (asked, got.status_code) == (asked, status)
        if status == 416:
            assert (got.code, got.headers["content-range"]) == ("InvalidRange", f"bytes */{len(body)}")
            continue
        assert got.content == body[slice(*expected)]
        head = await product.send("HEAD", "k", headers=[("range", asked)])
        assert (head.status_code, head.headers["content-length"]) == (status, str(len(got.content)))
        assert head.headers.get("content-range") == got.headers.get("content-range")


async def test_conditions_are_answered_without_telegram(product: Product) -> None:
    put = await product.send("PUT", "k", body=b"abc")
    etag = put.headers["etag"]
    modified = (await product.send("HEAD", "k")).headers["last-modified"]
    requests = len(product.standin.control.log())
    for headers, status in (
        ([("if-none-match", etag)], 304),
        ([("if-none-match", f'"x", W/{etag}')], 304),
        ([("if-none-match", "*")], 304),
        ([("if-none-match", '"x"')], 200),
        ([("if-match", etag)], 200),
        ([("if-match", '"x"')], 412),
        ([("if-modified-since", modified)], 304),
        ([("if-unmodified-since", "Thu, 01 Jan 2015 00:00:00 GMT")], 412),
        ([("if-none-match", '"x"'), ("if-modified-since", modified)], 200),
        ([("if-match", etag), ("if-unmodified-since", "Thu, 01 Jan 2015 00:00:00 GMT")], 200),
    ):
        for method in ("GET", "HEAD"):
            got = await product.send(method, "k", headers=headers)
            assert (got.status_code, headers) == (status, headers)
            assert got.content == (b"abc" if (status, method) == (200, "GET") else got.content)
            if status == 304:
                assert (got.content, got.headers["etag"]) == (b"", etag)
    assert len(product.standin.control.log()) == requests
    for headers in ([("if-none-match", etag)], [("if-match", '"x"')], [("range", "bytes=99-")]):
        assert (await product.send("GET", "k", headers=headers, by=None)).status_code == 403


async def test_overrides_are_for_signed_requests_only(product: Product) -> None:
    await product.send("PUT", "k", bucket=OPEN, body=b"abc")
    asked = "response-content-type=text%2Fhtml&response-content-disposition=attachment"
    for got in (
        await product.send("GET", "k", bucket=OPEN, query=asked),
        await product.send_presigned("GET", "k", bucket=OPEN, query=asked),
    ):
        assert (got.status_code, got.headers["content-type"]) == (200, "text/html")
        assert got.headers["content-disposition"] == "attachment"
    refused = await product.send("GET", "k", bucket=OPEN, query=asked, by=None)
    assert (refused.status_code, refused.code) == (400, "InvalidRequest")
    assert "text/html" not in refused.headers.get("content-type", "")
    plain = await product.send("GET", "k", bucket=OPEN, by=None)
    assert (plain.content, plain.headers["content-type"]) == (b"abc", "binary/octet-stream")
    split = await product.send("GET", "k", bucket=OPEN, query="response-content-type=a%0D%0ASet-Cookie%3Ab")
    assert (split.status_code, "set-cookie" in split.headers) == (400, False)


async def test_a_deleted_key_stays_away_until_it_is_written_again(
    product: Product, origin_server: OriginServer
) -> None:
    origin_server.put("k", b"the origin's")
    assert (await product.send("DELETE", "k")).status_code == 204
    assert isinstance(await product.state("k"), Tombstone)
    for method in ("GET", "HEAD"):
        assert (await product.send(method, "k")).status_code == 404
    assert (await product.send("GET", "k", by=None)).status_code == 404, "as this origin says it to strangers"
    assert (await product.send("DELETE", "k")).status_code == 204
    assert (await product.send("PUT", "k", body=b"new")).status_code == 200
    assert (await product.send("GET", "k")).content == b"new"
    assert (await product.send("DELETE", "k")).status_code == 204
    assert len(await product.garbage()) == 1
    assert not any(target.endswith("/k") for _, target in product.origin.requests)
    assert origin_server.get("k") == b"the origin's"


ODD_KEYS = (
    "a//b", "a/./b", "a/../b", "../up", "/lead", "a%2Fb", "a+b", "a%2Bb", "a%20b", "%C3%A9", "e%CC%81", "q%3Fmark", "h%23ash",
    "folder/", "a%0Ab", "a%0D%0Ab", "%25", "%252e", "..%5c", "%F0%9F%93%B7", "x" * 1024, "~tilde", "%7Etilde", "index", "spool",
    "tombstone", ".part", "a;b", "a'b%22c", "a%3Cb%3E%26",
)  # fmt: skip
"""Spellings of keys; some are of one key: ~tilde is %7Etilde, a+b is a%2Bb."""


async def test_odd_keys_are_kept_apart_and_found_again(product: Product) -> None:
    stored: dict[str, bytes] = {}
    for number, raw in enumerate(ODD_KEYS):
        body = f"body of {number}".encode()
        put = await product.send("PUT", raw, raw=True, body=body)
        assert (raw, put.status_code) == (raw, 200)
        stored[unquote(raw)] = body
    assert len(stored) == len(ODD_KEYS) - 2, "only a+b and ~tilde are there twice"
    for raw in ODD_KEYS:
        got = await product.send("GET", raw, raw=True)
        assert (raw, got.status_code, got.content) == (raw, 200, stored[unquote(raw)])
    assert (await product.send("GET", "a%2fb", raw=True)).content == stored["a/b"]
    assert (await product.index.counts(IMAGES))["objects"] == len(stored)
    for raw in ODD_KEYS:
        assert (await product.send("DELETE", raw, raw=True)).status_code == 204
        assert (await product.send("GET", raw, raw=True)).status_code == 404


async def test_keys_that_cannot_be(product: Product) -> None:
    for raw, code in (
        ("a%00b", "InvalidURI"),
        ("a%zz", "InvalidURI"),
        ("a%", "InvalidURI"),
        ("%ff", "InvalidURI"),
        ("x" * 1025, "KeyTooLongError"),
        ("%41" * 1025, "KeyTooLongError"),
        ("x" * 9000, "KeyTooLongError"),
    ):
        for method in ("PUT", "GET", "DELETE"):
            refused = await product.send(method, raw, raw=True, body=b"x" if method == "PUT" else b"")
            assert (raw, refused.status_code, refused.code) == (raw, 400, code)


async def test_a_presigned_upload_carries_headers_in_its_query(product: Product) -> None:
    put = await product.send_presigned("PUT", "k", query="x-amz-acl=public-read&x-amz-meta-a=b", body=b"abc")
    assert put.status_code == 200, put.text
    got = await product.send("GET", "k", by=None)
    assert (got.content, got.headers["x-amz-meta-a"]) == (b"abc", "b")


async def test_boto3_round_trip(product: Product) -> None:
    """The SDK as it is: its own framing, checksums and error parsing."""

    def journey() -> None:
        s3 = boto3.client(
            "s3",
            endpoint_url="http://{}:{}".format(*product.address),
            region_name="eu-central-1",
            aws_access_key_id=USER.access_key_id,
            aws_secret_access_key=USER.secret,
            config=BotoConfig(s3={"addressing_style": "path"}, retries={"max_attempts": 0}),
        )
        s3.meta.events.register("before-sign.s3", lambda request, **_: request.headers.add_header("Host", HOST))
        try:
            body = sample(300_000)
            s3.put_object(Bucket=IMAGES, Key="ünicode/key", Body=body, Metadata={"a": "b"}, ChecksumAlgorithm="SHA256")
            got = s3.get_object(Bucket=IMAGES, Key="ünicode/key", ChecksumMode="ENABLED")
            with got["Body"] as stream:
                assert stream.read() == body
            assert (got["Metadata"], got["ChecksumSHA256"]) == ({"a": "b"}, checksum("sha256", body))
            s3.delete_object(Bucket=IMAGES, Key="ünicode/key")
            with pytest.raises(ClientError) as refused:
                s3.get_object(Bucket=IMAGES, Key="ünicode/key")
            assert refused.value.response["Error"]["Code"] == "NoSuchKey"
        finally:
            s3.close()

    await asyncio.to_thread(journey)


async def test_many_uploads_and_reads_at_once(product: Product) -> None:
    bodies = {f"k{number}": sample(40_000 + number) for number in range(40)}
    puts = await asyncio.gather(*(product.send("PUT", key, body=body) for key, body in bodies.items()))
    assert [put.status_code for put in puts] == [200] * len(bodies)
    gets = await asyncio.gather(*(product.send("GET", key) for key in bodies))
    assert [got.content for got in gets] == list(bodies.values())


async def test_writes_of_one_key_at_once_leave_one_of_them_whole(product: Product) -> None:
    bodies = [sample(BLOCK_BYTES + number, seed=number + 1) for number in range(8)]
    puts = await asyncio.gather(*(product.send("PUT", "k", body=body) for body in bodies))
    assert [put.status_code for put in puts] == [200] * len(bodies)
    got = await product.send("GET", "k")
    assert got.content in bodies
    assert got.headers["etag"] == f'"{md5(got.content)}"'
    current = await product.state("k")
    assert isinstance(current, ObjectRecord)
    kept = {extent.document.document_id for extent in current.extents}
    assert await product.garbage() == set(product.documents_in_telegram()) - kept


async def test_more_uploads_than_there_is_room_for_are_told_to_slow_down(product: Product) -> None:
    held = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"a"
        await held.wait()
        yield b"b"

    async def upload(number: int) -> int:
        target = target_of(IMAGES, f"k{number}")
        signed = sign(USER, "PUT", target, HOST, [("content-length", "2")])
        return (await product.send_as_is("PUT", target, signed.headers, slowly())).status_code

    uploads = [asyncio.create_task(upload(number)) for number in range(64)]
    await eventually(lambda: product.upload_slots.taken == 64)
    refused = await product.send("PUT", "one-more", body=b"x")
    assert (refused.status_code, refused.code, refused.headers["retry-after"]) == (503, "SlowDown", "1")
    held.set()
    assert await asyncio.gather(*uploads) == [200] * 64
    assert (await product.send("PUT", "one-more", body=b"x")).status_code == 200


async def test_a_bucket_without_origin_answers_for_itself(product: Product) -> None:
    for method in ("GET", "HEAD"):
        assert (await product.send(method, "nothing", bucket=ALONE)).status_code == 404
    assert (await product.send("PUT", "k", bucket=ALONE, body=b"abc")).status_code == 200
    assert (await product.send("GET", "k", bucket=ALONE)).content == b"abc"
    assert (await product.send("GET", "k", bucket=ALONE, by=None)).status_code == 403
    assert (await product.send("GET", "k", bucket=OTHER)).status_code == 403
