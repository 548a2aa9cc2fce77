"""Every client against a real mitmdump with the addon, over HTTP and HTTPS, with a Ceph RGW as origin.

What is stored is always compared through what comes back, byte for byte; that it is in Telegram and not in the
origin is seen at the origin.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.end_to_end.lab.certificates import Certificates
from tests.end_to_end.lab.clients import Client, PicGo, s3_client, signing_clients
from tests.end_to_end.lab.origin import Origin
from tests.end_to_end.lab.pictures import png
from tests.end_to_end.lab.standin import Standin
from tests.end_to_end.lab.target import Refused, object_headers, request, trust
from tests.end_to_end.lab.tgstore import Bucket, Tgstore

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


@pytest.fixture(scope="module", params=["http", "https"])
def tgstore(
    request: pytest.FixtureRequest,
    launch: Callable[..., Any],
    standin: Standin,
    rgw: Origin,
    new_bucket: Callable[[Origin], str],
    certificates: Certificates,
) -> Tgstore:
    bucket = Bucket(new_bucket(rgw), rgw)
    started: Tgstore = launch(
        Tgstore, standin, [bucket], certificates=certificates if request.param == "https" else None
    )
    return started


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


def test_upload_reads_back_is_overwritten_and_deleted(client: Client, tgstore: Tgstore, scratch: Path) -> None:
    target, key = tgstore.target(), f"{client.name}/{KEY}"
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


def test_old_object_reads_alike_before_and_after_its_copy(client: Client, tgstore: Tgstore, scratch: Path) -> None:
    target, key, picture = tgstore.target(), f"old/{client.name}/{KEY}", png(1)
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


def test_picgo_upload_is_read_by_strangers(tgstore: Tgstore, scratch: Path) -> None:
    if reason := PicGo().why_not_here():
        pytest.skip(reason)
    picture = scratch / "holiday.png"
    picture.write_bytes(png(2))
    url = PicGo().upload(tgstore.target(), picture, scratch)
    answer = httpx.get(url, verify=trust(tgstore.authority))
    assert (answer.status_code, answer.content) == (200, picture.read_bytes())
    assert answer.headers["content-type"] == "image/png"
    assert not in_origin(tgstore, url.split(f"/{tgstore.buckets[0].name}/")[1])


@pytest.mark.both_generations
def test_zero_bytes_and_large_objects_read_back_equal(tgstore: Tgstore) -> None:
    target = tgstore.target()
    s3 = s3_client(target)
    for key, body in [("empty", b""), ("large", random.Random(3).randbytes(LARGE_BYTES))]:
        s3.put_object(Bucket=target.bucket, Key=key, Body=body)
        assert s3.get_object(Bucket=target.bucket, Key=key)["Body"].read() == body
    first_byte = 19_999_990
    piece = request(target, "GET", "large", headers={"Range": f"bytes={first_byte}-{first_byte + 99}"})
    assert piece.status_code == 206
    assert piece.content == random.Random(3).randbytes(LARGE_BYTES)[first_byte : first_byte + 100]
    assert piece.headers["content-range"] == f"bytes {first_byte}-{first_byte + 99}/{LARGE_BYTES}"


def test_multipart_upload_and_listing_are_the_origins(tgstore: Tgstore, scratch: Path) -> None:
    """What is not built yet is done by the origin, re-signed: it must work, and be the truth afterwards."""
    target = tgstore.target()
    s3 = s3_client(target)
    file, back = scratch / "video", scratch / "back"
    file.write_bytes(random.Random(4).randbytes(20_000_000))
    s3.put_object(Bucket=target.bucket, Key="video", Body=b"the former object, held by us")
    s3.upload_file(str(file), target.bucket, "video")
    s3.download_file(target.bucket, "video", str(back))
    assert back.read_bytes() == file.read_bytes()
    assert in_origin(tgstore, "video")
    listed = s3.list_objects_v2(Bucket=target.bucket, Prefix="video")
    assert [entry["Key"] for entry in listed["Contents"]] == ["video"]


@pytest.mark.both_generations
def test_wrong_signature_is_refused_and_changes_nothing(tgstore: Tgstore) -> None:
    target = tgstore.target()
    assert request(target, "PUT", "guarded", body=b"right").status_code == 200
    forger = tgstore.target(secret_access_key="a guess")
    for method, body in [("PUT", b"forged"), ("DELETE", b""), ("GET", b""), ("HEAD", b"")]:
        answer = request(forger, method, "guarded", body=body)
        assert answer.status_code == 403, method
        if method != "HEAD":
            assert "<Code>SignatureDoesNotMatch</Code>" in answer.text
    assert request(target, "PUT", "guarded", body=b"unsigned", signed=False).status_code == 403
    assert request(target, "GET", "guarded").content == b"right"
    assert not in_origin(tgstore, "guarded")


def test_key_that_only_the_origin_knows_works_as_before(tgstore: Tgstore, rgw: Origin) -> None:
    """Signed with a key that is not ours: verified by the origin itself, so path, Host and headers arrived as sent."""
    theirs = tgstore.target(access_key_id=rgw.access_key_id, secret_access_key=rgw.secret_access_key)
    key = f"theirs/{KEY}"
    assert request(theirs, "PUT", key, body=b"v1", headers={"Content-Type": "text/x-theirs"}).status_code == 200
    assert in_origin(tgstore, key)
    assert request(theirs, "GET", key).content == b"v1"
    assert request(tgstore.target(), "GET", key).content == b"v1"
    # A write that the origin accepted past us is the truth, whatever we held.
    assert request(tgstore.target(), "PUT", key, body=b"v2 by us").status_code == 200
    assert request(theirs, "PUT", key, body=b"v3 by them").status_code == 200
    assert request(tgstore.target(), "GET", key).content == b"v3 by them"
