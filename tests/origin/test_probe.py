"""The client and the probe against moto's S3 server."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from addon.origin.client import S3Origin
from addon.origin.probe import probe
from addon.s3.metadata import headers_from_origin
from addon.store.ports import OriginChanged, OriginRefused, OriginRequest
from tests.end_to_end.lab.moto import Moto
from tests.origin.raw_server import answer, origin_at, raw_server

BUCKET = "bucket"


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    folder: Path = tmp_path_factory.mktemp("moto")
    server = Moto(folder)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def s3(moto: Moto) -> Iterator[Any]:
    client = boto3.client(
        "s3",
        endpoint_url=moto.origin.endpoint,
        aws_access_key_id="a",
        aws_secret_access_key="s",
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )
    client.create_bucket(Bucket=BUCKET)
    yield client
    for entry in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=entry["Key"])
    client.delete_bucket(Bucket=BUCKET)
    client.close()


@pytest.fixture
async def origin(moto: Moto) -> AsyncGenerator[S3Origin, None]:
    client = S3Origin(
        endpoint=moto.origin.endpoint,
        bucket=BUCKET,
        region="us-east-1",
        addressing="path",
        access_key_id=moto.origin.access_key_id,
        secret_access_key=moto.origin.secret_access_key,
    )
    yield client
    await client.close()


async def whole(body: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in body])


KEYS = [
    "plain.png",
    "a b+c~(d)/caf\u00e9.txt",
    "cafe\u0301",
    "percent%2Fin%20key",
    "deep/er/and/deeper/",
    "emoji\U0001f40e",
]


@pytest.mark.parametrize("key", KEYS)
async def test_a_copy_brings_bytes_and_metadata(s3: Any, origin: S3Origin, key: str) -> None:
    body = key.encode() * 100_000
    s3.put_object(
        Bucket=BUCKET,
        Key=key,
        Body=body,
        ContentType="image/png",
        CacheControl="max-age=1",
        ContentEncoding="gzip",
        Metadata={"a": "1"},
        ChecksumAlgorithm="SHA256",
    )
    async with origin.get_object(key) as answered:
        about = headers_from_origin(answered.headers)
        got = await whole(answered.body)
    assert got == body
    assert (about.size, about.etag, about.etag_is_md5) == (len(body), hashlib.md5(body).hexdigest(), True)
    kept = {"content-type": "image/png", "cache-control": "max-age=1", "content-encoding": "gzip", "x-amz-meta-a": "1"}
    assert kept.items() <= about.headers.items()
    head = s3.head_object(Bucket=BUCKET, Key=key)
    assert int(head["LastModified"].timestamp()) == about.last_modified_s


async def test_another_version_is_changed_and_a_missing_key_refused(s3: Any, origin: S3Origin) -> None:
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"x")
    with pytest.raises(OriginChanged):
        async with origin.get_object("k", if_match="0" * 32):
            pass
    with pytest.raises(OriginRefused, match="404 NoSuchKey"):
        async with origin.get_object("missing"):
            pass


async def test_a_streamed_write_arrives_whole(s3: Any, origin: S3Origin) -> None:
    body = bytes(range(256)) * 8192

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    headers = [("content-type", "a/b"), ("x-amz-meta-b", "2")]
    put = OriginRequest("PUT", "up%20load", "", headers, body=pieces(), content_length=len(body))
    async with origin.send(put) as answered:
        assert answered.status == 200
    got = s3.get_object(Bucket=BUCKET, Key="up load")
    assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (body, "a/b", {"b": "2"})


async def test_the_probe_lists_and_reads(s3: Any, origin: S3Origin) -> None:
    empty = await probe(origin, subject="origin")
    assert [result.ok for result in empty] == [True, True]
    assert "empty" in empty[1].detail
    s3.put_object(Bucket=BUCKET, Key=KEYS[1], Body=b"four")
    results = await probe(origin, subject="origin")
    assert [(result.subject, result.ok) for result in results] == [("origin: list", True), ("origin: read", True)]
    assert "4 bytes" in results[1].detail


async def test_the_probe_says_what_to_do_about_a_missing_bucket(moto: Moto) -> None:
    missing = S3Origin(endpoint=moto.origin.endpoint, bucket="missing", region="us-east-1", addressing="path")
    (result,) = await probe(missing, subject="origin")
    await missing.close()
    assert (result.ok, "NoSuchBucket" in result.detail, "origin.bucket" in result.advice) == (False, True, True)


LISTING = (
    b"<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>a%2Bb+c</Key></Contents></ListBucketResult>"
)


async def test_the_probe_reads_the_key_that_the_listing_means() -> None:
    async with raw_server(answer(200, body=LISTING)) as server, origin_at(server.port) as origin:
        listed, read = await probe(origin, subject="origin")
    assert (listed.ok, read.ok) == (True, False)
    assert server.received[1].target == b"/bucket/a%2Bb%20c"


BOMB = b'<!DOCTYPE a [<!ENTITY b "c">]><ListBucketResult><Key>&b;</Key></ListBucketResult>'


@pytest.mark.parametrize(
    ("status", "body", "advice"),
    [
        (200, b"<html>", "origin.endpoint"),
        (200, b"<other/>", "origin.endpoint"),
        (200, b"x" * 70_000, "origin.endpoint"),
        (200, BOMB, "origin.endpoint"),
        (301, b"", "origin.region"),
        (403, b"<Error><Code>AccessDenied</Code></Error>", "s3:ListBucket"),
        (403, b"<Error><Code>InvalidAccessKeyId</Code></Error>", "origin.access_key_id"),
        (500, b"", "origin.endpoint"),
    ],
)
async def test_the_probe_gives_advice_for_what_fails(status: int, body: bytes, advice: str) -> None:
    async with raw_server(answer(status, body=body)) as server, origin_at(server.port) as origin:
        (result,) = await probe(origin, subject="origin")
    assert not result.ok
    assert advice in result.advice


async def test_the_probe_survives_a_server_that_is_not_there() -> None:
    async with raw_server() as server:
        port = server.port
    async with origin_at(port) as origin:
        (result,) = await probe(origin, subject="origin")
    assert (result.ok, "ConnectError" in result.detail) == (False, True)
