"""Who may copy what: a source is read with the right of the caller, and a refusal tells nothing about it (attacks 4, 10, 23)."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from addon.store.records import ObjectRecord
from tests.origin.raw_server import Received, answer, raw_server
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
    running_product,
    target_of,
)
from tests.service.signing import EMPTY_SHA256, Headers, presign, sign

SECRET = random.Random(51).randbytes(5000)


async def copy(product: Product, source: str, headers: Headers = (), to: str = "k", **more: Any) -> Answer:
    return await product.send("PUT", to, headers=[("x-amz-copy-source", source), *headers], **more)


async def put_of_other(product: Product, key: str, headers: Headers = ()) -> None:
    answered = await product.send("PUT", key, bucket=OTHER, headers=headers, body=SECRET, by=OTHER_USER)
    assert answered.status_code == 200


def told(refused: Answer) -> tuple[int, str]:
    """All of a refusal but its request id."""
    return refused.status_code, refused.text.partition("<Resource>")[0]


async def test_a_strangers_source_is_refused_before_anything_is_told(
    product: Product, origin_server: OriginServer
) -> None:
    """Present, absent, deleted, in a bucket that there is not: the same answer, whatever else is asked."""
    origin_server.put("at-origin", SECRET, bucket="other-there")
    await put_of_other(product, "written")
    await put_of_other(product, "deleted")
    assert (await product.send("DELETE", "deleted", bucket=OTHER, by=OTHER_USER)).status_code == 204
    await product.send("GET", "at-origin", bucket=OTHER, by=OTHER_USER)
    await product.copied("at-origin", OTHER)
    origin_server.s3.put_bucket_policy(Bucket="other-there", Policy=_denying("other-there"))
    sources = [
        f"/{OTHER}/{key}{version}"
        for key in ("written", "deleted", "at-origin", "nothing")
        for version in ("", "?versionId=null", "?versionId=v1")
    ]
    probes: list[Headers] = [
        [],
        [("x-amz-copy-source-if-match", '"x"')],
        [("x-amz-copy-source-if-none-match", "*")],
        [("x-amz-checksum-algorithm", "SHA256")],
    ]
    denied = told(await copy(product, "/nowhere/k"))
    assert denied[0] == 403
    for source in [
        *sources,
        "/other-there/at-origin",
        "/images-there/k",
        f"{OTHER}%2Fwritten",
        f"//{OTHER}/written"[1:],
    ]:
        for headers in probes:
            assert told(await copy(product, source, headers)) == denied, (source, headers)
    assert await product.state("k") is None


def _denying(bucket: str) -> str:
    """moto lets everybody read; this makes it answer 403 to strangers."""
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
            ],
        }
    )


async def test_what_anyone_may_read_anyone_may_copy(product: Product) -> None:
    await put_of_other(product, "public", [("x-amz-acl", "public-read")])
    await put_of_other(product, "private")
    assert (await copy(product, f"/{OTHER}/public")).status_code == 200
    assert (await product.send("GET", "k")).content == SECRET
    assert (await product.send("GET", "k", by=None)).status_code == 403, "the copy is private"
    assert (await copy(product, f"/{OTHER}/private", to="k2")).status_code == 403
    # A bucket that anyone may read.
    assert (await product.send("PUT", "open", bucket=OPEN, body=SECRET)).status_code == 200
    assert (await copy(product, f"/{OPEN}/open", bucket=OTHER, by=OTHER_USER)).status_code == 200
    gone = await copy(product, f"/{OPEN}/nothing", bucket=OTHER, by=OTHER_USER)
    assert gone.status_code in (403, 404)


async def test_who_may_read_an_object_as_anyone_may_gets_none_of_its_tags(product: Product) -> None:
    await put_of_other(product, "public", [("x-amz-acl", "public-read"), ("x-amz-tagging", "secret=1")])
    refused = await copy(product, f"/{OTHER}/public")
    assert (refused.status_code, refused.code) == (403, "AccessDenied")
    assert await product.state("k") is None
    replaced = [("x-amz-tagging-directive", "REPLACE"), ("x-amz-tagging", "a=b")]
    assert (await copy(product, f"/{OTHER}/public", replaced)).status_code == 200
    told = (await product.send("GET", "k", query="tagging")).text
    assert "<Key>a</Key>" in told
    assert "secret" not in told
    own = await copy(product, f"/{OTHER}/public", bucket=OTHER, by=OTHER_USER)
    assert own.status_code == 200
    assert "secret" in (await product.send("GET", "k", bucket=OTHER, by=OTHER_USER, query="tagging")).text


async def test_a_strangers_read_at_the_origin_bears_no_signature(tmp_path: Path, quick_retries: None) -> None:
    """The origin decides what anyone may read; our rights are not lent out."""
    public, asked = b"public at the origin", []

    async def at_origin(received: Received, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        signed = any(name == "authorization" for name, _ in received.headers)
        asked.append((received.target.decode(), signed))
        if received.target.endswith(b"/private") and not signed:
            writer.write(answer(404, "", b"<Error><Code>NoSuchKey</Code></Error>"))
            return
        more = 'ETag: "x-1"\r\nLast-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\n'
        writer.write(answer(200, more, public))

    async with raw_server(at_origin) as origin, running_product(tmp_path, origin.port) as product:
        asked.clear()
        assert (await copy(product, f"/{OTHER}/public")).status_code == 200
        assert (await product.send("GET", "k")).content == public
        refused = await copy(product, f"/{OTHER}/private", to="k2")
        assert (refused.status_code, refused.code) == (403, "AccessDenied"), "not even a 404 is passed on"
        assert [one for one in asked if "/other-there/" in one[0]] == [
            ("/other-there/public", False),
            ("/other-there/private", False),
        ]
        asked.clear()
        assert (await copy(product, f"/{IMAGES}/private", to="k3")).status_code == 200
        assert asked == [("/images-there/private", True)]


async def test_the_same_access_key_id_with_another_secret_is_somebody_else(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await product.send("PUT", "k", bucket=ALONE, body=SECRET)).status_code == 200
    buckets = product.gateway._service._directory.buckets
    other = replace(buckets[ALONE], credentials={USER.access_key_id: "another secret"})
    monkeypatch.setitem(buckets, ALONE, other)  # type: ignore[arg-type]  # a dict, told as a Mapping
    assert (await copy(product, f"/{ALONE}/k")).status_code == 403


REFUSALS = ("AccessDenied", "SignatureDoesNotMatch", "InvalidArgument")
ADDED: list[tuple[str, str]] = [
    ("x-amz-copy-source", f"/{IMAGES}/secret"),
    ("x-amz-copy-source-range", "bytes=0-1"),
    ("x-amz-metadata-directive", "REPLACE"),
    ("x-amz-acl", "public-read"),
    ("x-amz-tagging", "a=1"),
    ("x-amz-meta-x", "1"),
]


@pytest.mark.parametrize("added", ADDED, ids=lambda pair: pair[0])
async def test_a_captured_request_with_an_added_header_is_refused(product: Product, added: tuple[str, str]) -> None:
    """Attack 4: signed in a header and presigned, as a PUT and as a copy."""
    assert (await product.send("PUT", "secret", body=SECRET)).status_code == 200
    for headers in ([], [("x-amz-copy-source", f"/{IMAGES}/secret")]):
        target = target_of(IMAGES, "k")
        signed = sign(USER, "PUT", target, HOST, headers, payload=EMPTY_SHA256, unsigned=[added])
        refused = await product.send_as_is("PUT", target, signed.headers)
        assert refused.code in REFUSALS
        presigned = presign(USER, "PUT", target, HOST, headers)
        refused = await product.send_as_is("PUT", presigned, [*headers, added, ("host", HOST)])
        assert refused.code in REFUSALS
        # Moved into the query, behind the signature's back.
        hoisted = f"{presign(USER, 'PUT', target, HOST)}&{added[0]}={added[1].replace('/', '%2F')}"
        refused = await product.send_as_is("PUT", hoisted, [("host", HOST)])
        assert (refused.status_code, refused.code) == (403, "SignatureDoesNotMatch")
    assert await product.state("k") is None


async def test_a_presigned_copy_may_carry_its_headers_in_the_query(product: Product) -> None:
    """As the presigners of several SDKs write it."""
    assert (await product.send("PUT", "source", body=SECRET, headers=[("x-amz-meta-a", "1")])).status_code == 200
    query = (
        f"x-amz-copy-source=%2F{IMAGES}%2Fsource&x-amz-metadata-directive=REPLACE&x-amz-meta-b=2"
        "&x-amz-copy-source-if-none-match=%22x%22"
    )
    target = presign(USER, "PUT", target_of(IMAGES, "k", query), HOST)
    made = await product.send_as_is("PUT", target, [("host", HOST)])
    assert (made.status_code, "CopyObjectResult" in made.text) == (200, True)
    got = await product.send("GET", "k")
    assert (got.content, got.headers.get("x-amz-meta-a"), got.headers["x-amz-meta-b"]) == (SECRET, None, "2")
    query = query.replace("%22x%22", "%2A")
    target = presign(USER, "PUT", target_of(IMAGES, "k2", query), HOST)
    assert (await product.send_as_is("PUT", target, [("host", HOST)])).status_code == 412
    twice = presign(USER, "PUT", target_of(IMAGES, "k2", query), HOST, [("x-amz-copy-source", f"/{IMAGES}/k")])
    refused = await product.send_as_is("PUT", twice, [("x-amz-copy-source", f"/{IMAGES}/k"), ("host", HOST)])
    assert (refused.status_code, refused.code) == (400, "InvalidArgument")


@pytest.mark.parametrize(
    "source",
    [
        f"/{IMAGES}/../{OTHER}/secret",
        f"/{IMAGES}/%2e%2e%2f{OTHER}/secret",
        f"/{IMAGES}/..%2f..%2f{OTHER}%2fsecret",
        f"/{IMAGES}/..%5c{OTHER}%5csecret",
        f"/{IMAGES}%252F..%252F{OTHER}/secret",
        f"/{IMAGES}//{OTHER}/secret",
    ],
)
async def test_no_spelling_of_a_key_leads_into_another_bucket(
    product: Product, origin_server: OriginServer, source: str
) -> None:
    """Attack 23."""
    origin_server.put("secret", SECRET, bucket="other-there")
    await put_of_other(product, "secret")
    assert (await copy(product, source)).status_code in (403, 404)
    assert await product.state("k") is None


@pytest.mark.parametrize(
    "source",
    [
        *("", "/", "//", "%", "%zz", f"/{IMAGES}", f"/{IMAGES}/"),
        *(f"/{IMAGES}/{key}" for key in ("a%00b", "%ff", "a+b", "k" * 1025, "%" * 3000, "k?versionId=", "k?acl")),
        "arn:aws:s3:us-east-1:123456789012:accesspoint/ap/object/k",
    ],
)
async def test_sources_that_are_none(product: Product, source: str) -> None:
    refused = await copy(product, source)
    assert refused.status_code in (400, 501)
    assert refused.code in ("InvalidArgument", "KeyTooLongError", "NotImplemented")


async def test_what_the_origin_says_of_a_source(tmp_path: Path, quick_retries: None) -> None:
    """Refusals keep their meaning; what is about us, or passes, is to be tried again. Nothing is stored."""
    described = 'ETag: "x-1"\r\nLast-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\n'
    cases = {
        "absent": (answer(404, "", b"<Error><Code>NoSuchKey</Code></Error>"), 404, "NoSuchKey"),
        "archived": (answer(403, "", b"<Error><Code>InvalidObjectState</Code></Error>"), 403, "AccessDenied"),
        "customers-key": (answer(400, "", b"<Error><Code>InvalidRequest</Code></Error>"), 400, "InvalidRequest"),
        "throttled": (answer(503, "", b"<Error><Code>SlowDown</Code></Error>"), 503, "ServiceUnavailable"),
        "moved": (answer(301, "Location: http://elsewhere/\r\n"), 503, "ServiceUnavailable"),
        "transformed": (answer(200, described.replace('"x-1"', 'W/"x"'), b"x"), 400, "InvalidRequest"),
        "undescribed": (answer(200, "", b"<html>log in</html>"), 400, "InvalidRequest"),
        "wrong-md5": (answer(200, described.replace("x-1", "0" * 32), b"x"), 503, "ServiceUnavailable"),
        "short": (answer(200, described, b"12345")[:-2], 503, "ServiceUnavailable"),
    }

    async def at_origin(received: Received, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = received.target.decode().rpartition("/")[2].partition("?")[0]
        if name not in cases:
            writer.write(answer(200))
            return
        writer.write(cases[name][0])
        if name == "short":
            await writer.drain()
            writer.close()

    async with raw_server(at_origin) as origin, running_product(tmp_path, origin.port) as product:
        for name, (_, status, code) in cases.items():
            refused = await copy(product, f"/{IMAGES}/{name}")
            assert (name, refused.status_code, refused.code) == (name, status, code)
        assert await product.state("k") is None
        assert await product.garbage() == set(product.documents_in_telegram())


async def test_tags_of_the_origin_that_may_not_be_read_stop_the_copy(tmp_path: Path, quick_retries: None) -> None:
    described = 'ETag: "x-1"\r\nLast-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\nx-amz-tagging-count: 1\r\n'

    async def at_origin(received: Received, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if received.target.endswith(b"?tagging"):
            writer.write(answer(403, "", b"<Error><Code>AccessDenied</Code></Error>"))
        else:
            writer.write(answer(200, described, b"x"))

    async with raw_server(at_origin) as origin, running_product(tmp_path, origin.port) as product:
        refused = await copy(product, f"/{IMAGES}/source")
        assert (refused.status_code, refused.code) == (403, "AccessDenied")
        assert await product.state("k") is None
        replaced = await copy(product, f"/{IMAGES}/source", [("x-amz-tagging-directive", "REPLACE")])
        assert replaced.status_code == 200
        assert isinstance(await product.state("k"), ObjectRecord)
