"""Single objects with every client, over HTTP and HTTPS: a real mitmdump with the addon, a Ceph RGW as origin.

Whole prefixes are in test_client_matrix.py. What is stored is always compared through what comes back, byte for byte; that
it is in Telegram and not in the
origin is seen at the origin.
"""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.lab.clients import Client, PicGo, s3_client, signing_clients
from tests.end_to_end.lab.half_moved import HalfMoved
from tests.end_to_end.lab.origin import Origin
from tests.end_to_end.lab.pictures import png
from tests.end_to_end.lab.target import Refused, Target, object_headers, request, trust
from tests.end_to_end.lab.tgstore import Tgstore

pytestmark = pytest.mark.end_to_end

KEY = "2026/11/some dir/a+b ü (1).bin"
OLD_HEADERS = {
    "CacheControl": "public, max-age=86400",
    "ContentDisposition": 'inline; filename="old.png"',
    "ContentLanguage": "de",
    "ContentType": "image/png",
    "Metadata": {"camera": "Leica M6", "roll": "36"},
}
LARGE_BYTES = 45_000_001  # three documents at least


@pytest.fixture(params=["http", "https"])
def target(request: pytest.FixtureRequest, half_moved: HalfMoved) -> Target:
    return half_moved.target(request.param)


@pytest.fixture
def tgstore(half_moved: HalfMoved) -> Tgstore:
    return half_moved.tgstore


@pytest.fixture
def prefix(target: Target, request: pytest.FixtureRequest) -> str:
    """Keys of this test alone, as all share one bucket."""
    return f"{request.node.originalname}/{target.endpoint.split(':')[0]}/"


@pytest.fixture(params=signing_clients(), ids=lambda client: client.name)
def client(request: pytest.FixtureRequest) -> Client:
    chosen: Client = request.param
    if reason := chosen.why_not_here():
        pytest.skip(reason)
    return chosen


def in_origin(tgstore: Tgstore, key: str) -> bool:
    bucket = tgstore.buckets[0]
    listed = bucket.origin.s3().list_objects_v2(Bucket=bucket.name, Prefix=key)
    return key in [entry["Key"] for entry in listed.get("Contents", [])]


def test_upload_reads_back_is_overwritten_and_deleted(
    client: Client, target: Target, tgstore: Tgstore, prefix: str, scratch: Path
) -> None:
    key = f"{prefix}{client.name}/{KEY}"
    first, second = scratch / "first", scratch / "second"
    first.write_bytes(random.Random(1).randbytes(300_007))
    second.write_bytes(random.Random(2).randbytes(123_457))

    client.put(target, key, first, "image/x-first")
    got = client.get(target, key, scratch)
    assert got.body == first.read_bytes()
    assert got.headers.get("content-type", "image/x-first") == "image/x-first"
    assert not in_origin(tgstore, key)
    assert tgstore.holds(key)

    client.put(target, key, second, "image/x-second")
    assert client.get(target, key, scratch).body == second.read_bytes()
    assert client.head(target, key).get("content-length", "123457") == "123457"

    client.delete(target, key)
    with pytest.raises(Refused) as refused:
        client.head(target, key)
    assert refused.value.status == 404


def test_old_object_reads_alike_before_and_after_its_copy(
    client: Client, target: Target, tgstore: Tgstore, prefix: str, scratch: Path
) -> None:
    key, picture = f"{prefix}{client.name}/{KEY}", png(1)
    bucket = tgstore.buckets[0]
    bucket.origin.s3().put_object(Bucket=bucket.name, Key=key, Body=picture, **OLD_HEADERS)

    head_before, got_before = client.head(target, key), client.get(target, key, scratch)
    raw_before = request(target, "GET", key)
    tgstore.wait_until_copied(key)
    head_after, got_after = client.head(target, key), client.get(target, key, scratch)
    raw_after = request(target, "GET", key)

    assert got_before.body == got_after.body == raw_before.content == raw_after.content == picture
    assert got_after.headers == got_before.headers
    assert head_after == head_before
    assert object_headers(raw_after.headers) == object_headers(raw_before.headers)
    assert raw_after.headers["x-amz-meta-camera"] == "Leica M6"


def test_picgo_upload_is_read_by_strangers(target: Target, tgstore: Tgstore, scratch: Path) -> None:
    if reason := PicGo().why_not_here():
        pytest.skip(reason)
    picture = scratch / "holiday.png"
    picture.write_bytes(png(2 if target.authority else 3))
    url = PicGo().upload(target, picture, scratch)
    answer = httpx.get(url, verify=trust(target.authority))
    assert (answer.status_code, answer.content) == (200, picture.read_bytes())
    assert answer.headers["content-type"] == "image/png"
    assert not in_origin(tgstore, url.split(f"/{tgstore.buckets[0].name}/")[1])


@pytest.mark.both_generations
def test_zero_bytes_and_large_objects_read_back_equal(target: Target, prefix: str) -> None:
    s3 = s3_client(target)
    large = f"{prefix}large"
    for key, body in [(f"{prefix}empty", b""), (large, random.Random(3).randbytes(LARGE_BYTES))]:
        s3.put_object(Bucket=target.bucket, Key=key, Body=body)
        assert s3.get_object(Bucket=target.bucket, Key=key)["Body"].read() == body
    first_byte = 19_999_990
    piece = request(target, "GET", large, headers={"Range": f"bytes={first_byte}-{first_byte + 99}"})
    assert piece.status_code == 206
    assert piece.content == random.Random(3).randbytes(LARGE_BYTES)[first_byte : first_byte + 100]
    assert piece.headers["content-range"] == f"bytes {first_byte}-{first_byte + 99}/{LARGE_BYTES}"


def test_upload_in_parts_replaces_an_object_and_is_listed(
    target: Target, tgstore: Tgstore, prefix: str, scratch: Path
) -> None:
    s3, key = s3_client(target), f"{prefix}video"
    file, back = scratch / "video", scratch / "back"
    file.write_bytes(random.Random(4).randbytes(20_000_000))
    s3.put_object(Bucket=target.bucket, Key=key, Body=b"the former object")
    s3.upload_file(str(file), target.bucket, key)
    s3.download_file(target.bucket, key, str(back))
    assert back.read_bytes() == file.read_bytes()
    assert not in_origin(tgstore, key)
    listed = s3.list_objects_v2(Bucket=target.bucket, Prefix=key)
    assert [(entry["Key"], entry["Size"]) for entry in listed["Contents"]] == [(key, 20_000_000)]


@pytest.mark.both_generations
def test_wrong_signature_is_refused_and_changes_nothing(target: Target, tgstore: Tgstore, prefix: str) -> None:
    guarded = f"{prefix}guarded"
    assert request(target, "PUT", guarded, body=b"right").status_code == 200
    forger = dataclasses.replace(target, secret_access_key="a guess")
    for method, body in [("PUT", b"forged"), ("DELETE", b""), ("GET", b""), ("HEAD", b"")]:
        answer = request(forger, method, guarded, body=body)
        assert answer.status_code == 403, method
        if method != "HEAD":
            assert "<Code>SignatureDoesNotMatch</Code>" in answer.text
    assert request(target, "PUT", guarded, body=b"unsigned", signed=False).status_code == 403
    assert request(target, "GET", guarded).content == b"right"
    assert not in_origin(tgstore, guarded)


def test_key_that_only_the_origin_knows_works_as_before(
    target: Target, tgstore: Tgstore, prefix: str, rgw: Origin
) -> None:
    """Signed with a key that is not ours: verified by the origin itself, so path, Host and headers arrived as sent."""
    theirs = dataclasses.replace(target, access_key_id=rgw.access_key_id, secret_access_key=rgw.secret_access_key)
    key = f"{prefix}{KEY}"
    assert request(theirs, "PUT", key, body=b"v1", headers={"Content-Type": "text/x-theirs"}).status_code == 200
    assert in_origin(tgstore, key)
    assert request(theirs, "GET", key).content == b"v1"
    assert request(target, "GET", key).content == b"v1"
    # A write that the origin accepted past us is the truth, whatever we held.
    assert request(target, "PUT", key, body=b"v2 by us").status_code == 200
    assert request(theirs, "PUT", key, body=b"v3 by them").status_code == 200
    assert request(target, "GET", key).content == b"v3 by them"
