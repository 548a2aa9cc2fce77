"""What the origin answers: signed anew, verified before, refused where the origin cannot know (migration cases 12 and 18)."""

from __future__ import annotations

import asyncio
import hashlib
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from addon.store.ports import IndexUnavailable
from addon.store.records import ObjectRecord
from tests.origin.raw_server import Received, answer, raw_server
from tests.service.fixtures import OriginServer
from tests.service.product import (
    ALONE,
    HOST,
    IMAGES,
    OPEN,
    ORIGIN_KEY,
    OTHER,
    OTHER_USER,
    USER,
    Answer,
    Product,
    eventually,
    running_product,
    target_of,
)
from tests.service.signing import SIGNED_CHUNKS, UNSIGNED_CHUNKS_TRAILER, aws_chunked, sign
from tests.service.uploads import Uploading, begun_at_origin

V1 = random.Random(21).randbytes(100_000)


async def copied(product: Product, origin_server: OriginServer, key: str = "k", body: bytes = V1) -> ObjectRecord:
    """The product with a copy of `key`."""
    origin_server.put(key, body)
    assert (await product.send("GET", key)).content == body
    return await product.copied(key)


async def write_past(product: Product, origin_server: OriginServer, body: bytes, key: str = "k") -> Answer:
    """A write that the origin does and tells us of: an upload that was begun there is completed."""
    return await begun_at_origin(product, origin_server, key, body).complete()


async def copy_part(product: Product, source: str, upload_id: str = "u", **more: Any) -> Answer:
    headers = [("x-amz-copy-source", source)]
    return await product.send("PUT", "k", query=f"partNumber=1&uploadId={upload_id}", headers=headers, **more)


async def test_sub_resources_are_the_origins(product: Product, origin_server: OriginServer) -> None:
    """Case 18: never answered with, or stored as, the object's bytes."""
    await copied(product, origin_server)
    for query in ("acl", "versionId=null", "partNumber=1", "torrent", "legal-hold"):
        await product.send("GET", "k", query=query)
        assert product.origin.requests[-1] == ("GET", f"/images-there/k?{query}"), "and its answer is given as it is"
    assert origin_server.get("k") == V1
    listed = await product.send("GET", "", query="list-type=2&prefix=k")
    assert (listed.status_code, b"<Key>k</Key>" in listed.content) == (200, True)
    assert (await product.send("HEAD", "")).status_code == 200


async def test_what_is_forwarded_is_signed_with_our_key(product: Product) -> None:
    await product.send_presigned("GET", "some%20key", query="tagging")
    sent = bytes(product.origin.received).decode("latin-1")
    assert f"Credential={ORIGIN_KEY.access_key_id}/" in sent
    for secret in (USER.access_key_id, "X-Amz-Signature", "X-Amz-Credential", HOST, "expect"):
        assert secret not in sent


async def test_keys_written_or_deleted_here_are_not_asked_about_at_the_origin(
    product: Product, origin_server: OriginServer
) -> None:
    for key in ("written", "deleted"):
        origin_server.put(key, V1)
        assert (await product.send("PUT", key, body=b"ours")).status_code == 200
    assert (await product.send("DELETE", "deleted")).status_code == 204
    for key in ("written", "deleted"):
        for method, query in (
            ("GET", "legal-hold"), ("PUT", "legal-hold"), ("GET", "retention"), ("GET", "torrent"),
            ("POST", "restore"), ("POST", "select&select-type=2"),
        ):  # fmt: skip
            refused = await product.send(method, key, query=query, body=b"<x/>" if method in ("PUT", "POST") else b"")
            assert (key, method, query, refused.status_code) == (key, method, query, 501)
    assert (await copy_part(product, f"/{IMAGES}/deleted")).code == "NoSuchKey"
    assert product.origin.requests == []
    assert (await product.send("GET", "written")).content == b"ours"
    assert (await product.send("GET", "deleted")).status_code == 404


async def test_a_source_that_only_we_hold_goes_to_an_upload_at_the_origin_as_bytes(
    product: Product, origin_server: OriginServer
) -> None:
    assert (await product.send("PUT", "source", body=V1)).status_code == 200
    upload = begun_at_origin(product, origin_server, "k", b"")
    for header, part in ((None, V1), ("bytes=10-99", V1[10:100])):
        ranged = [("x-amz-copy-source-range", header)] if header is not None else []
        query = f"partNumber=1&uploadId={upload.upload_id}"
        headers = [("x-amz-copy-source", f"/{IMAGES}/source"), *ranged]
        answer = await product.send("PUT", "k", query=query, headers=headers)
        md5 = hashlib.md5(part).hexdigest()
        assert (answer.status_code, f'"{md5}"' in answer.text) == (200, True), answer.text
    upload.etags[1] = hashlib.md5(V1[10:100]).hexdigest()
    assert (await upload.complete()).status_code == 200
    assert origin_server.get("k") == V1[10:100]
    assert (await copy_part(product, f"/{IMAGES}/source", "never-begun")).status_code >= 400


async def test_operations_whose_keys_are_in_the_body_are_refused(product: Product) -> None:
    for method, key, query, body in (
        ("PUT", "k", "renameObject", b""),
        ("PUT", "", "", b""),
        ("DELETE", "", "", b""),
        ("PUT", "", "policy", b"{}"),
        ("PUT", "", "acl", b""),
        ("POST", "k", "", b"x"),
        ("PUT", "k", "acL", b"x"),
        ("GET", "k", "UPLOADS", b""),
    ):
        refused = await product.send(method, key, query=query, body=body)
        assert (method, query, refused.status_code, refused.code) == (method, query, 501, "NotImplemented")
    assert product.origin.requests == []


async def test_the_steps_of_an_upload_leave_the_object_as_it_is(product: Product) -> None:
    assert (await product.send("PUT", "k", body=b"ours")).status_code == 200
    begun = await product.send("POST", "k", query="uploads")
    upload_id = begun.text.partition("<UploadId>")[2].partition("</UploadId>")[0]
    part = f"partNumber=1&uploadId={upload_id}"
    assert (await product.send("PUT", "k", query=part, body=b"part")).status_code == 200
    assert (await product.send("GET", "k", query=f"uploadId={upload_id}")).status_code == 200
    assert (await product.send("GET", "k")).content == b"ours"
    assert (await product.send("DELETE", "k", query=f"uploadId={upload_id}")).status_code == 204
    assert (await product.send("GET", "k")).content == b"ours"


async def test_a_part_reaches_the_origin_only_when_it_is_verified(product: Product) -> None:
    query = "partNumber=1&uploadId=u"
    target = target_of(IMAGES, "k", query)
    for payload, form, trailers in (
        (SIGNED_CHUNKS, "signed", []),
        (UNSIGNED_CHUNKS_TRAILER, "unsigned-trailer", [("x-amz-checksum-crc32", "AAAAAA==")]),
    ):
        headers = [("x-amz-decoded-content-length", "5"), *((("x-amz-trailer", name)) for name, _ in trailers)]
        signed = sign(USER, "PUT", target, HOST, headers, payload=payload)
        frames = aws_chunked(signed, [b"hello"], form=form, trailers=trailers)  # type: ignore[arg-type]
        frames[0] = frames[0].replace(b"hello", b"hullo")
        refused = await product.send_as_is("PUT", target, signed.headers, b"".join(frames))
        assert 400 <= refused.status_code < 500
    signed = sign(USER, "PUT", target, HOST, payload=hashlib.sha256(b"one").hexdigest())
    assert (await product.send_as_is("PUT", target, signed.headers, b"two")).code == "XAmzContentSHA256Mismatch"
    assert product.origin.requests == []
    assert product.spooled() == []


async def test_bodies_for_the_origin_share_the_limit_of_uploads(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each lies on the disk until it is verified, whatever becomes of it at the origin."""
    slots = product.gateway._service._forwarder._slots
    monkeypatch.setattr(slots, "_uploads_max", 0)
    refused = await product.send("PUT", "k", query="partNumber=1&uploadId=u", body=V1)
    assert (refused.status_code, refused.code, refused.headers["retry-after"]) == (503, "SlowDown", "1")
    assert product.origin.requests == []
    assert (await product.send("GET", "k", query="uploadId=u")).code == "NoSuchUpload", "without a body nothing waits"
    monkeypatch.setattr(slots, "_uploads_max", 1)
    for _ in range(2):
        assert (await product.send("PUT", "k", query="partNumber=1&uploadId=u", body=V1)).code != "SlowDown"


async def test_writes_by_the_origin_supersede_what_is_here(product: Product, origin_server: OriginServer) -> None:
    assert (await product.send("PUT", "k", body=b"ours")).status_code == 200
    made = await write_past(product, origin_server, V1)
    assert (made.status_code, b"CompleteMultipartUploadResult" in made.content) == (200, True)
    assert (await product.send("GET", "k")).content == V1
    assert origin_server.get("k") == V1


async def test_who_may_not_read_the_source_may_not_make_a_part_of_it(
    product: Product, origin_server: OriginServer
) -> None:
    """The origin would do it with our rights."""
    origin_server.put("secret", b"other's", bucket="other-there")
    assert (await product.send("PUT", "written", bucket=OTHER, body=b"x", by=OTHER_USER)).status_code == 200
    for source in (
        f"/{OTHER}/secret",
        f"{OTHER}/secret",
        f"/{OTHER}%2Fsecret",
        "/other-there/secret",
        "/images-there/k",
        "/nowhere/secret",
        f"/{OTHER}/written",
        f"/{OTHER}/nothing",
    ):
        part = await copy_part(product, source)
        assert (source, part.status_code, part.code) == (source, 403, "AccessDenied")
    dotted = await copy_part(product, f"/{IMAGES}/../other-there/secret")
    assert b"other's" not in (await product.send("GET", "k")).content
    assert dotted.status_code >= 400
    assert origin_server.keys() == set()


async def test_a_copy_between_buckets_of_different_origins_is_refused(
    product: Product, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other bucket's name means something else, or nothing, at the server that would copy."""
    origin_server.put("k", V1, bucket="open-there")
    upload = begun_at_origin(product, origin_server, "k", b"x")
    assert (await copy_part(product, f"/{OPEN}/k", upload.upload_id)).status_code == 200
    buckets = product.gateway._service._directory.buckets
    there = buckets[OPEN].origin
    assert there is not None
    elsewhere = replace(buckets[OPEN], origin=replace(there, port=there.port + 1))
    monkeypatch.setitem(buckets, OPEN, elsewhere)  # type: ignore[arg-type]  # a dict, told as a Mapping
    refused = await copy_part(product, f"/{OPEN}/k", upload.upload_id)
    assert (refused.status_code, refused.code) == (501, "NotImplemented")


async def test_an_error_after_the_status_supersedes_nothing(tmp_path: Path, quick_retries: None) -> None:
    """A 200 whose body is an error, one without end, and none at all."""
    script: list[bytes | None] = [
        answer(200, "", b"\n\n<Error><Code>InternalError</Code></Error>"),
        answer(200, "", b"<CompleteMultipartUploadResult>")[:-3],
        None,
        answer(503, "", b"<Error><Code>SlowDown</Code></Error>"),
    ]

    async def at_origin(received: Received, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if received.method != "POST":
            writer.write(answer(200))
            return
        given = script.pop(0)
        if given is not None:
            writer.write(given)
            await writer.drain()
        if given is None or not script or len(script) == 2:
            writer.close()

    async with raw_server(at_origin) as origin, running_product(tmp_path, origin.port) as product:
        assert (await product.send("PUT", "k", body=b"ours")).status_code == 200
        for status in (200, 503, 503, 503):
            made = await Uploading(product, "k", IMAGES, "u", {1: "0" * 32}).complete()
            assert made.status_code == status
            assert (await product.send("GET", "k")).content == b"ours"
            assert not await product.index.has_origin_write(IMAGES, "k")


async def test_while_a_write_is_under_way_a_copy_is_not_served(product: Product, origin_server: OriginServer) -> None:
    await copied(product, origin_server)
    upload = begun_at_origin(product, origin_server, "k", b"newer")
    product.origin.answer_bytes, _ = 0, product.origin.answers.clear()
    writing = asyncio.create_task(upload.complete())
    try:
        await eventually(lambda: "POST" in dict(product.origin.requests))
        await eventually(lambda: origin_server.get("k") == b"newer")
        reading = asyncio.create_task(product.send("GET", "k"))
        done, _ = await asyncio.wait({reading}, timeout=0.3)
        assert not done, "it is asked of the origin, which does not answer yet"
    finally:
        product.origin.answers.set()
    assert (await writing).status_code == 200
    assert (await reading).content == b"newer"
    assert (await product.send("GET", "k")).content == b"newer"


async def test_a_write_whose_end_could_not_be_recorded_keeps_the_copy_from_being_served(
    product: Product, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await copied(product, origin_server)
    upload = begun_at_origin(product, origin_server, "k", b"newer")

    async def fail(*_: object) -> None:
        raise IndexUnavailable("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(type(product.index), "end_origin_write", fail)
        assert (await upload.complete()).status_code == 503
    assert origin_server.get("k") == b"newer"
    assert (await product.send("GET", "k")).content == b"newer"


async def test_a_bucket_without_origin_does_not_forward(product: Product) -> None:
    for method, key, query in (("GET", "", "versions"), ("GET", "k", "legal-hold"), ("PUT", "k", "retention")):
        refused = await product.send(method, key, bucket=ALONE, query=query)
        assert (refused.status_code, refused.code) == (501, "NotImplemented")


async def test_an_origin_that_is_down_is_said_to_be(product: Product) -> None:
    product.origin.down = True
    for method, query in (("GET", ""), ("HEAD", ""), ("GET", "acl"), ("PUT", "tagging")):
        refused = await product.send(method, "k", query=query, body=b"<x/>" if method == "PUT" else b"")
        assert refused.status_code == 503
    assert not await product.index.has_origin_write(IMAGES, "k")
    assert (await product.send("PUT", "k", body=b"ours")).status_code == 200
    assert (await product.send("GET", "k")).content == b"ours"
