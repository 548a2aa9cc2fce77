"""Who may do what: no wrong signature gets anywhere, whatever the method, the route and the form of the body (attacks 1 to 12)."""

from __future__ import annotations

import hashlib
import itertools
from datetime import UTC, datetime, timedelta

import pytest

from addon.store.records import ObjectRecord
from tests.service.fixtures import OriginServer
from tests.service.product import (
    ALONE,
    HOST,
    IMAGES,
    OPEN,
    OTHER,
    OTHER_USER,
    USER,
    Answer,
    Product,
    target_of,
)
from tests.service.signing import SIGNED_CHUNKS, UNSIGNED, UNSIGNED_CHUNKS_TRAILER, Headers, Key, presign, sign

OLD = b"the object that was there before"
TARGET = target_of(IMAGES, "k")
NOW = datetime.now(UTC)

ROUTES = (
    ("PUT", "k", ""),
    ("GET", "k", ""),
    ("HEAD", "k", ""),
    ("DELETE", "k", ""),
    ("POST", "k", ""),
    ("PATCH", "k", ""),
    ("PUT", "k", "partNumber=1&uploadId=u"),
    ("POST", "k", "uploads"),
    ("POST", "k", "uploadId=u"),
    ("DELETE", "k", "uploadId=u"),
    ("DELETE", "k", "versionId=v"),
    ("GET", "k", "versionId=v"),
    ("GET", "k", "partNumber=1"),
    ("PUT", "k", "acl"),
    ("PUT", "k", "tagging"),
    ("PUT", "k", "retention"),
    ("GET", "k", "acl"),
    ("POST", "k", "select&select-type=2"),
    ("POST", "k", "restore"),
    ("POST", "", "delete"),
    ("POST", "", ""),
    ("GET", "", ""),
    ("GET", "", "list-type=2"),
    ("GET", "", "policy"),
    ("PUT", "", "policy"),
    ("PUT", "", ""),
    ("DELETE", "", ""),
)
PAYLOADS = (
    hashlib.sha256(b"").hexdigest(),
    "UNSIGNED-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "STREAMING-UNSIGNED-PAYLOAD",
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
    "SOMETHING-NEW",
    "",
    "unsigned-payload",
)
FRAMES = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"
WRONG = Key(USER.access_key_id, "not the secret of this key")


@pytest.fixture
async def written(product: Product, origin_server: OriginServer) -> Product:
    assert (await product.send("PUT", "k", body=OLD)).status_code == 200
    return product


async def assert_nothing_happened(product: Product) -> None:
    """Neither here nor at Telegram nor at the origin."""
    assert product.origin.requests == []
    assert (await product.send("GET", "k")).content == OLD
    assert (await product.index.counts(IMAGES))["objects"] == 1
    assert await product.jobs() == []
    assert product.sends() == 1
    assert product.spooled() == []


async def test_no_route_takes_a_wrong_signature(written: Product) -> None:
    """Attacks 1 to 3: each method and route with each form of body, with no default that lets one through."""
    for (method, key, query), payload in itertools.product(ROUTES, PAYLOADS):
        target = target_of(IMAGES, key, query)
        more = [("x-amz-decoded-content-length", "5"), ("x-amz-trailer", "x-amz-checksum-crc32")]
        body = FRAMES if method in ("PUT", "POST") else b""
        signed = sign(WRONG, method, target, HOST, more, payload=payload)
        await assert_refused(written, method, target, signed.headers, body)
        if method == "GET" and not key and query in ("", "list-type=2"):
            continue  # without a signature the origin is asked as anybody, and this one lets anybody list
        stripped = [(name, value) for name, value in signed.headers if name != "authorization"]
        await assert_refused(written, method, target, stripped, body)
    await assert_nothing_happened(written)


async def test_no_route_takes_credentials_in_the_query_without_a_signature(written: Product) -> None:
    """Attack 2 (CVE-2026-41145)."""
    scope = f"{USER.access_key_id}/{NOW:%Y%m%d}/us-east-1/s3/aws4_request".replace("/", "%2F")
    credential = f"X-Amz-Credential={scope}&X-Amz-SignedHeaders=host"
    whole = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&{credential}&X-Amz-Date={NOW:%Y%m%dT%H%M%SZ}&X-Amz-Expires=600"
    for (method, key, query), claim in itertools.product(
        ROUTES,
        (
            credential,
            f"{credential}&X-Amz-Signature=",
            f"{whole}&X-Amz-Signature={'0' * 64}",
            whole,
            "X-Amz-Signature=0",
        ),
    ):
        for payload in (UNSIGNED_CHUNKS_TRAILER, UNSIGNED, ""):
            target = target_of(IMAGES, key, "&".join(filter(None, (query, claim))))
            headers = [("host", HOST), *([("x-amz-content-sha256", payload)] if payload else [])]
            await assert_refused(written, method, target, headers, FRAMES if method in ("PUT", "POST") else b"")
    await assert_nothing_happened(written)


async def assert_refused(product: Product, method: str, target: str, headers: Headers, body: bytes) -> Answer:
    answer = await product.send_as_is(method, target, headers, body)
    assert 400 <= answer.status_code <= 501, (method, target, answer.status_code)
    assert answer.status_code != 500, (method, target, answer.text)
    assert method == "HEAD" or answer.code, (method, target, answer.text)
    return answer


async def test_headers_that_were_not_signed_are_not_honoured(written: Product) -> None:
    """Attack 4."""
    for name, value in (
        ("x-amz-copy-source", "/images/k"),
        ("x-amz-tagging", "a=b"),
        ("x-amz-acl", "public-read"),
        ("x-amz-meta-x", "y"),
        ("x-amz-website-redirect-location", "/evil"),
        ("x-amz-storage-class", "STANDARD_IA"),
    ):
        signed = sign(USER, "PUT", TARGET, HOST, unsigned=[(name, value)])
        refused = await written.send_as_is("PUT", TARGET, signed.headers, b"new")
        assert (refused.status_code, refused.code) == (403, "AccessDenied")
        presigned = presign(USER, "PUT", TARGET, HOST)
        refused = await written.send_as_is("PUT", presigned, [("host", HOST), (name, value)], b"new")
        assert (refused.status_code, refused.code) == (403, "AccessDenied")
    await assert_nothing_happened(written)


async def test_two_claims_at_once_are_refused(written: Product) -> None:
    """Attack 6."""
    presigned = presign(USER, "GET", TARGET, HOST)
    good = sign(USER, "GET", presigned, HOST)
    for target, headers in (
        (presigned, [("host", HOST), ("authorization", "AWS4-HMAC-SHA256 garbage")]),
        (presigned, good.headers),
        (presigned, [("host", HOST), ("authorization", "Bearer token")]),
        (f"{TARGET}?X-Amz-Signature=0", sign(USER, "GET", f"{TARGET}?X-Amz-Signature=0", HOST).headers),
        (TARGET, [*sign(USER, "GET", TARGET, HOST).headers, ("authorization", "AWS4-HMAC-SHA256 garbage")]),
    ):
        await assert_refused(written, "GET", target, headers, b"")
    await assert_nothing_happened(written)


async def test_older_and_other_signatures_are_refused(written: Product) -> None:
    """Attack 8."""
    for value in (
        f"AWS {USER.access_key_id}:c2lnbmF0dXJl",
        "AWS4-ECDSA-P256-SHA256 Credential=a/b, SignedHeaders=host, Signature=00",
        "aws4-hmac-sha256 " + sign(USER, "PUT", TARGET, HOST).headers[-1][1].partition(" ")[2],
        "Basic dXNlcjpwYXNz",
        "",
    ):
        await assert_refused(written, "PUT", TARGET, [("host", HOST), ("authorization", value)], b"new")
    v2 = f"{TARGET}?AWSAccessKeyId={USER.access_key_id}&Signature=c2ln&Expires=99999999999"
    await assert_refused(written, "PUT", v2, [("host", HOST)], b"new")
    await assert_nothing_happened(written)


async def test_a_presigned_url_is_good_for_what_it_says(written: Product) -> None:
    """Attacks 10 and 11."""
    presigned = presign(USER, "GET", TARGET, HOST)
    host = [("host", HOST)]
    assert (await written.send_as_is("GET", presigned, host)).content == OLD
    for method in ("PUT", "DELETE", "HEAD", "POST"):
        await assert_refused(written, method, presigned, host, b"new" if method in ("PUT", "POST") else b"")
    for changed in (
        presigned.replace("/k?", "/other?"),
        f"{presigned}&versionId=v",
        f"{presigned}&response-content-type=text%2Fhtml",
        f"{presigned}&X-Amz-Expires=604800",
        presigned.replace("X-Amz-Expires=600", "X-Amz-Expires=6000"),
        presigned.replace(f"/{IMAGES}/", f"/{OPEN}/"),
    ):
        await assert_refused(written, "GET", changed, host, b"")
    for expires_s in ("-1", "0", "604801", "1e9", "%2060", str(2**63), "%D9%A1"):
        target = presigned.replace("X-Amz-Expires=600", f"X-Amz-Expires={expires_s}")
        await assert_refused(written, "GET", target, host, b"")
    now = datetime.now(UTC)
    for at, expires_s in ((now - timedelta(hours=1), 3599), (now + timedelta(minutes=17), 600)):
        await assert_refused(written, "GET", presign(USER, "GET", TARGET, HOST, at=at, expires_s=expires_s), host, b"")
    await assert_nothing_happened(written)


async def test_the_clock_of_the_client_may_differ_by_a_quarter_of_an_hour(written: Product) -> None:
    """Attack 12."""
    for minutes, status in ((-14.5, 200), (14.5, 200), (-15.5, 403), (15.5, 403)):
        signed = sign(USER, "GET", TARGET, HOST, at=datetime.now(UTC) + timedelta(minutes=minutes))
        answer = await written.send_as_is("GET", TARGET, signed.headers)
        assert (minutes, answer.status_code) == (minutes, status)
        assert status == 200 or answer.code == "RequestTimeTooSkewed"
    await assert_nothing_happened(written)


async def test_a_key_opens_its_own_buckets_only(written: Product, origin_server: OriginServer) -> None:
    """Attacks 23 and 27."""
    for bucket, key in ((IMAGES, OTHER_USER), (OTHER, USER), (OPEN, OTHER_USER), (ALONE, OTHER_USER)):
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            answer = await written.send(method, "k", bucket=bucket, by=key, body=b"new" if method == "PUT" else b"")
            assert answer.status_code == 403
            assert method == "HEAD" or answer.code == "InvalidAccessKeyId"
    await assert_nothing_happened(written)
    origin_server.put("k", b"other's", bucket="other-there")
    for raw in (f"../{OTHER}/k", f"%2e%2e/{OTHER}/k", f"..%2f{OTHER}%2fk", f"..%5c{OTHER}/k"):
        answer = await written.send("GET", raw, raw=True)
        assert b"other's" not in answer.content
        assert (await written.send("PUT", raw, raw=True, body=b"mine")).status_code == 200
    assert (await written.index.counts(OTHER))["objects"] == 0
    assert origin_server.get("k", bucket="other-there") == b"other's"


async def test_a_stranger_learns_nothing_of_private_keys(written: Product) -> None:
    """Attack 26: what is here, what was deleted and what never was look the same, where no origin tells strangers more."""
    for key in ("k", "gone"):
        await written.send("PUT", key, bucket=ALONE, body=OLD)
    await written.send("DELETE", "gone", bucket=ALONE)
    state = await written.state("k", ALONE)
    assert isinstance(state, ObjectRecord)
    for headers in (
        [],
        [("if-none-match", f'"{state.etag}"')],
        [("if-modified-since", "Thu, 01 Jan 2037 00:00:00 GMT")],
        [("if-match", '"x"')],
        [("range", "bytes=0-0")],
        [("range", "bytes=9999999-")],
        [("x-amz-checksum-mode", "ENABLED")],
    ):
        for method in ("GET", "HEAD"):
            answers = [
                await written.send(method, key, bucket=ALONE, headers=headers, by=None)
                for key in ("k", "gone", "never")
            ]
            assert {answer.status_code for answer in answers} == {403}
            looks = {
                (
                    tuple(name for name in answer.headers if name not in ("date", "x-amz-request-id")),
                    answer.text.partition("<Resource>")[0],
                )
                for answer in answers
            }
            assert len(looks) == 1
    for method, body in (("PUT", b"new"), ("DELETE", b""), ("POST", b"x")):
        assert (await written.send(method, "k", by=None, body=body)).status_code in (403, 501)
    assert written.origin.requests == []
    assert (await written.send("GET", "k")).content == OLD


async def test_headers_of_the_product_itself_cannot_be_given_from_outside(written: Product) -> None:
    """Attack 20: nothing that a client names changes what it may see."""
    for name in ("x-tgstore-verified", "x-forwarded-host", "x-original-url", "x-forwarded-for", "x-amz-security-token"):
        answer = await written.send("GET", "k", headers=[(name, "1")], by=None)
        assert answer.status_code in (400, 403)


async def test_a_replay_within_the_quarter_of_an_hour_is_what_s3_allows(written: Product) -> None:
    """Attack 13: stated, not prevented."""
    signed = sign(USER, "PUT", TARGET, HOST)
    assert (await written.send_as_is("PUT", TARGET, signed.headers, b"one")).status_code == 200
    assert (await written.send("PUT", "k", body=b"two")).status_code == 200
    assert (await written.send_as_is("PUT", TARGET, signed.headers, b"one")).status_code == 200
    assert (await written.send("GET", "k")).content == b"one"
    chunked = sign(USER, "PUT", TARGET, HOST, [("x-amz-decoded-content-length", "3")], payload=SIGNED_CHUNKS)
    assert (await written.send_as_is("PUT", TARGET, chunked.headers, b"one")).status_code == 400
