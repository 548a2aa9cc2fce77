"""Multipart uploads through the whole product: parts are in Telegram as they arrive, Complete only writes the index."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig

from addon.s3.operations import Operation
from addon.service.request import S3Request
from addon.store.multipart import NewPart
from addon.store.ports import PartsChanged
from addon.store.records import ObjectRecord, Provenance
from tests.service.fixtures import OriginServer
from tests.service.product import (
    ALONE,
    HOST,
    IMAGES,
    OTHER,
    OTHER_USER,
    USER,
    Product,
    eventually,
    product_again,
    target_of,
)
from tests.service.signing import sign
from tests.service.uploads import (
    Uploading,
    begin,
    begun_at_origin,
    by_boto,
    checksum,
    composite,
    etag_of,
    part_list_xml,
    product_with_small_parts,
)
from tests.service.wire import wire_to

MIB = 1 << 20
RANDOM = random.Random(31)
BODIES = [RANDOM.randbytes(size) for size in (70_000, 3, 1_500_000, 20_000)]


@pytest.fixture
async def small(
    tmp_path: Path, origin_server: OriginServer, quick_retries: None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Product]:
    """The product without a least size of parts."""
    async with product_with_small_parts(tmp_path, origin_server.port, monkeypatch) as running:
        yield running


async def whole(product: Product, key: str = "k", **more: Any) -> bytes:
    return (await product.send("GET", key, **more)).content


@pytest.mark.parametrize("more", [{}, {"ChecksumAlgorithm": "SHA256"}, {"ChecksumAlgorithm": "CRC64NVME"}])
async def test_boto3_uploads_with_its_transfer_manager(product: Product, more: dict[str, str]) -> None:
    """More than one document a part, and a last part of one byte."""
    body = RANDOM.randbytes(20 * MIB + 1)
    path = product.folder / "upload"
    path.write_bytes(body)

    def upload(s3: Any) -> dict[str, Any]:
        config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
        s3.upload_file(str(path), IMAGES, "k", Config=config, ExtraArgs={"ContentType": "image/png", **more})
        got = s3.get_object(Bucket=IMAGES, Key="k", ChecksumMode="ENABLED")
        return {**got, "bytes": got["Body"].read()}

    got = await by_boto(product, upload)
    bodies = [body[start : start + 5 * MIB] for start in range(0, len(body), 5 * MIB)]
    assert got["bytes"] == body
    assert (got["ETag"], got["ContentType"]) == (f'"{etag_of(bodies)}"', "image/png")
    algorithm = more.get("ChecksumAlgorithm", "CRC32")
    full = algorithm == "CRC64NVME"
    expected = checksum("crc64nvme", body) if full else composite(algorithm.lower(), bodies)
    assert got[f"Checksum{algorithm}"] == expected
    assert got["ChecksumType"] == ("FULL_OBJECT" if full else "COMPOSITE")
    assert product.origin.requests == [], "the origin has nothing to do with it"
    assert product.spooled() == []


async def test_boto3_uploads_a_stream(product: Product) -> None:
    body = RANDOM.randbytes(11 * MIB)
    path = product.folder / "upload"
    path.write_bytes(body)

    def upload(s3: Any) -> None:
        config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=2)
        with path.open("rb") as file:
            s3.upload_fileobj(file, IMAGES, "k", Config=config)
        s3.download_file(IMAGES, "k", f"{path}.back", Config=config)

    await by_boto(product, upload)
    assert await asyncio.to_thread(Path(f"{path}.back").read_bytes) == body


async def test_parts_go_to_telegram_as_they_come_and_complete_sends_nothing(small: Product) -> None:
    uploading = await begin(small, "k", headers=[("content-type", "text/plain"), ("x-amz-meta-a", "1")])
    numbers = list(range(1, len(BODIES) + 1))
    RANDOM.shuffle(numbers)
    answers = await asyncio.gather(*(uploading.put(number, BODIES[number - 1]) for number in numbers))
    assert {answer.status_code for answer in answers} == {200}
    sends, documents = small.sends(), small.documents_in_telegram()
    assert sum(documents.values()) > sum(map(len, BODIES)), "all of them are there"
    assert await small.garbage() == set(), "parts of an open upload are in use"
    done = await uploading.complete()
    assert (done.status_code, done.headers["content-type"]) == (200, "application/xml")
    assert f"<Location>https://{HOST}/{IMAGES}/k</Location><Bucket>{IMAGES}</Bucket><Key>k</Key>" in done.text
    assert f'<ETag>"{etag_of(BODIES)}"</ETag>' in done.text
    assert small.sends() == sends
    assert await whole(small) == b"".join(BODIES)
    got = await small.send("HEAD", "k", headers=[("x-amz-checksum-mode", "ENABLED")])
    assert (got.headers["content-type"], got.headers["x-amz-meta-a"]) == ("text/plain", "1")
    assert got.headers["etag"] == f'"{etag_of(BODIES)}"'
    assert got.headers["x-amz-checksum-crc64nvme"] == checksum("crc64nvme", b"".join(BODIES))
    assert got.headers["x-amz-checksum-type"] == "FULL_OBJECT"
    assert await small.garbage() == set()
    state = await small.state("k")
    assert isinstance(state, ObjectRecord)
    assert (state.provenance, state.parts_count) == (Provenance.WRITTEN_HERE, len(BODIES))


async def test_the_former_object_stands_until_the_upload_is_complete(small: Product) -> None:
    assert (await small.send("PUT", "k", body=b"former")).status_code == 200
    uploading = await begin(small, "k")
    assert (await uploading.put(1, b"new")).status_code == 200
    assert await whole(small) == b"former"
    assert (await uploading.complete()).status_code == 200
    assert await whole(small) == b"new"


async def test_a_part_that_is_uploaded_again_replaces_the_former(small: Product) -> None:
    uploading = await begin(small, "k")
    await uploading.put(1, b"first")
    former = uploading.etags[1]
    assert (await uploading.put(1, b"second")).status_code == 200
    assert len(await small.garbage()) == 1
    refused = await uploading.complete(part_list_xml([(1, former)]))
    assert (refused.status_code, refused.code) == (400, "InvalidPart")
    assert (await uploading.complete()).status_code == 200
    assert await whole(small) == b"second"


async def test_parts_that_are_not_listed_become_garbage(small: Product) -> None:
    uploading = await begin(small, "k")
    for number in (2, 5, 9_999, 10_000):
        await uploading.put(number, b"%d," % number)
    listed = [(number, f'"{uploading.etags[number]}"') for number in (2, 9_999)]
    assert (await uploading.complete(part_list_xml(listed))).status_code == 200
    assert await whole(small) == b"2,9999,"
    assert len(await small.garbage()) == 2


@pytest.mark.parametrize("query", ["partNumber=0&uploadId=", "partNumber=10001&uploadId=", "partNumber=x&uploadId="])
async def test_part_numbers_that_cannot_be(small: Product, query: str) -> None:
    uploading = await begin(small, "k")
    refused = await small.send("PUT", "k", query=query + uploading.upload_id, body=b"x")
    assert (refused.status_code, refused.code) == (400, "InvalidArgument")
    assert small.sends() == 0


def steps(upload_id: str) -> list[tuple[str, str, bytes]]:
    """Every request that names an upload."""
    return [
        ("PUT", f"partNumber=1&uploadId={upload_id}", b"x"),
        ("POST", f"uploadId={upload_id}", part_list_xml([(1, "0" * 32)])),
        ("GET", f"uploadId={upload_id}", b""),
        ("DELETE", f"uploadId={upload_id}", b""),
    ]


async def test_uploads_that_there_are_not(small: Product) -> None:
    """Never begun, of another key, aborted, completed."""
    of_another_key = await begin(small, "other", bucket=ALONE)
    aborted, done = await begin(small, "k", bucket=ALONE), await begin(small, "k", bucket=ALONE)
    assert (await aborted.abort()).status_code == 204
    await done.put(1, b"done")
    assert (await done.complete()).status_code == 200
    for upload_id in (
        "never-begun",
        "",
        "%00",
        "..%2F",
        "x" * 2000,
        of_another_key.upload_id,
        aborted.upload_id,
        done.upload_id,
    ):
        for method, query, body in steps(upload_id):
            refused = await small.send(method, "k", bucket=ALONE, query=query, body=body)
            said = (method, upload_id[:60], refused.status_code, refused.code)
            assert said == (method, upload_id[:60], 404, "NoSuchUpload")
    assert await whole(small, bucket=ALONE) == b"done"
    assert small.spooled() == []


async def test_uploads_that_are_not_known_here_are_asked_for_at_the_origin(small: Product) -> None:
    """But not those of which we know that they ended here."""
    done = await begin(small, "k")
    await done.put(1, b"done")
    assert (await done.complete()).status_code == 200
    for method, query, body in steps(done.upload_id):
        assert (await small.send(method, "k", query=query, body=body)).code == "NoSuchUpload"
    assert small.origin.requests == []
    for method, query, body in steps("never-begun"):
        small.origin.requests.clear()
        assert (await small.send(method, "k", query=query, body=body)).status_code >= 400
        assert small.origin.requests == [(method, f"/images-there/k?{query}")]
    assert await whole(small) == b"done"
    assert small.spooled() == []


async def test_an_upload_of_ours_that_was_aborted_is_nowhere_else(small: Product, origin_server: OriginServer) -> None:
    """Parts that were under way when their upload was aborted need not go to the origin to learn it, nor a copy to be refused
    for its source."""
    assert (await small.send("PUT", "source", body=b"written here")).status_code == 200
    uploading = await begin(small, "k")
    assert (await uploading.abort()).status_code == 204
    for method, query, body in steps(uploading.upload_id):
        refused = await small.send(method, "k", query=query, body=body)
        assert (method, refused.status_code, refused.code) == (method, 404, "NoSuchUpload")
    source = [("x-amz-copy-source", f"/{IMAGES}/source")]
    copied = await small.send("PUT", "k", query=f"partNumber=1&uploadId={uploading.upload_id}", headers=source)
    assert (copied.status_code, copied.code) == (404, "NoSuchUpload")
    assert small.origin.requests == []


async def test_the_origin_is_not_asked_for_an_upload_without_id(small: Product, origin_server: OriginServer) -> None:
    """A server that takes the empty parameter for none would write or delete the object itself."""
    origin_server.put("k", b"of the origin")
    for method, query, body in steps(""):
        refused = await small.send(method, "k", query=query, body=body)
        assert (method, refused.status_code, refused.code) == (method, 404, "NoSuchUpload")
    assert small.origin.requests == []


async def test_no_upload_is_completed_at_the_origin_as_a_version_of_its_own(
    small: Product, origin_server: OriginServer
) -> None:
    """The origin would make it the current object, and what is held here would stand before it."""
    assert (await small.send("PUT", "k", body=b"written here")).status_code == 200
    uploading = begun_at_origin(small, origin_server, "k", b"of the origin")
    body = part_list_xml(sorted(uploading.etags.items()))
    refused = await small.send("POST", "k", query=f"uploadId={uploading.upload_id}&versionId=x", body=body)
    assert (refused.status_code, refused.code) == (400, "InvalidArgument")
    assert origin_server.keys() == set()
    assert (await uploading.complete()).status_code == 200
    assert await whole(small) == b"of the origin"


async def test_an_upload_belongs_to_its_bucket(small: Product) -> None:
    """Whoever has a key of another bucket may not touch it, though the object's name may be the same."""
    uploading = await begin(small, "k")
    for bucket, by in ((ALONE, USER), (OTHER, OTHER_USER)):
        for method, query, body in steps(uploading.upload_id):
            refused = await small.send(method, "k", bucket=bucket, query=query, body=body, by=by)
            assert refused.status_code >= 400
    assert (await uploading.put(1, b"x")).status_code == 200
    assert (await uploading.listed()).text.count("<Part>") == 1


async def test_nobody_uploads_anonymously_or_with_a_wrong_signature(small: Product) -> None:
    uploading = await begin(small, "k")
    for method, query in (
        ("POST", "uploads"),
        ("PUT", f"partNumber=1&uploadId={uploading.upload_id}"),
        ("POST", f"uploadId={uploading.upload_id}"),
        ("GET", f"uploadId={uploading.upload_id}"),
        ("DELETE", f"uploadId={uploading.upload_id}"),
    ):
        refused = await small.send(method, "k", query=query, body=b"x", by=None)
        assert (method, refused.status_code, refused.code) == (method, 403, "AccessDenied")
        refused = await small.send(method, "k", query=query, body=b"x", by=OTHER_USER)
        assert (method, refused.status_code) == (method, 403)
    assert (await small.send("GET", "", query="uploads", by=None)).status_code == 403
    assert small.sends() == 0


async def test_a_part_that_is_not_what_was_signed_leaves_nothing(small: Product) -> None:
    uploading = await begin(small, "k")
    refused = await uploading.put(1, b"x", payload="0" * 64)
    assert refused.code == "XAmzContentSHA256Mismatch"
    refused = await uploading.put(1, b"x", [("x-amz-checksum-crc32", "AAAAAA==")])
    assert refused.code == "BadDigest"
    refused = await uploading.put(1, b"x", [("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")])
    assert refused.code == "BadDigest"
    assert (await uploading.complete()).code == "MalformedXML"
    assert (await uploading.listed()).text.count("<Part>") == 0
    assert (small.sends(), small.spooled()) == (0, [])


async def test_a_part_has_the_checksum_of_its_upload(small: Product) -> None:
    begun = await small.send("POST", "k", query="uploads", headers=[("x-amz-checksum-algorithm", "CRC32C")])
    assert begun.headers["x-amz-checksum-algorithm"] == "CRC32C"
    assert begun.headers["x-amz-checksum-type"] == "COMPOSITE"
    uploading = await begin(small, "k", headers=[("x-amz-checksum-algorithm", "CRC32C")])
    refused = await uploading.put(1, b"x", [("x-amz-checksum-crc32", checksum("crc32", b"x"))])
    assert (refused.status_code, refused.code) == (400, "InvalidRequest")
    assert "expected checksum Type: crc32c, actual checksum Type: crc32" in refused.text
    bodies = [b"told", b"not told"]
    told = await uploading.put(1, bodies[0], [("x-amz-checksum-crc32c", checksum("crc32c", bodies[0]))])
    untold = await uploading.put(2, bodies[1])
    assert told.headers["x-amz-checksum-crc32c"] == checksum("crc32c", bodies[0])
    assert untold.headers["x-amz-checksum-crc32c"] == checksum("crc32c", bodies[1])
    refused = await uploading.complete()
    assert refused.code == "InvalidRequest"
    assert "It was missing for part 1" in refused.text
    listed = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{uploading.etags[number]}</ETag>"
        f"<ChecksumCRC32C>{checksum('crc32c', body)}</ChecksumCRC32C></Part>"
        for number, body in enumerate(bodies, start=1)
    )
    done = await uploading.complete(f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode())
    assert f"<ChecksumCRC32C>{composite('crc32c', bodies)}</ChecksumCRC32C>" in done.text
    got = await small.send("GET", "k", headers=[("x-amz-checksum-mode", "ENABLED")])
    assert got.headers["x-amz-checksum-crc32c"] == composite("crc32c", bodies)
    assert got.headers["x-amz-checksum-type"] == "COMPOSITE"


async def test_a_full_object_checksum_is_verified(small: Product) -> None:
    plan = [("x-amz-checksum-algorithm", "CRC32"), ("x-amz-checksum-type", "FULL_OBJECT")]
    uploading = await begin(small, "k", headers=plan)
    for number, body in enumerate(BODIES, start=1):
        await uploading.put(number, body, [("x-amz-checksum-crc32", checksum("crc32", body))])
    refused = await uploading.complete(headers=[("x-amz-checksum-crc32", "AAAAAA==")])
    assert (refused.status_code, refused.code) == (400, "BadDigest")
    refused = await uploading.complete(headers=[("x-amz-checksum-type", "COMPOSITE")])
    assert (refused.status_code, refused.code) == (400, "InvalidRequest")
    refused = await uploading.complete(headers=[("x-amz-mp-object-size", "1")])
    assert (refused.status_code, refused.code) == (400, "InvalidRequest")
    assert await small.state("k") is None
    expected = checksum("crc32", b"".join(BODIES))
    size = str(sum(map(len, BODIES)))
    headers = [
        ("x-amz-checksum-crc32", expected),
        ("x-amz-checksum-type", "FULL_OBJECT"),
        ("x-amz-mp-object-size", size),
    ]
    done = await uploading.complete(headers=headers)
    assert done.status_code == 200
    assert f"<ChecksumCRC32>{expected}</ChecksumCRC32><ChecksumType>FULL_OBJECT</ChecksumType>" in done.text


async def test_parts_that_are_too_small(product: Product) -> None:
    uploading = await begin(product, "k")
    await uploading.put(1, b"small")
    await uploading.put(2, b"last")
    refused = await uploading.complete()
    assert (refused.status_code, refused.code) == (400, "EntityTooSmall")
    for said in ("<ProposedSize>5<", "<MinSizeAllowed>5242880<", "<PartNumber>1<", f"<ETag>{uploading.etags[1]}<"):
        assert said in refused.text
    assert (await uploading.complete(part_list_xml([(2, uploading.etags[2])]))).status_code == 200


async def test_a_part_that_is_too_large_is_refused_unread(small: Product) -> None:
    uploading = await begin(small, "k")
    target = target_of(IMAGES, "k", f"partNumber=1&uploadId={uploading.upload_id}")
    length = [("content-length", str((5 << 30) + 1))]
    async with wire_to(small.address) as wire:
        await wire.head("PUT", target, [*sign(USER, "PUT", target, HOST, length).headers])
        status, text = await wire.answer()
    assert (status, b"EntityTooLarge" in text) == (400, True)


async def test_bad_lists_change_nothing(small: Product) -> None:
    uploading = await begin(small, "k")
    await uploading.put(1, b"x")
    await uploading.put(2, b"y")
    etags = uploading.etags
    for listed, status, code in (
        (b"", 400, "MalformedXML"),
        (b"<CompleteMultipartUpload>", 400, "MalformedXML"),
        (b"&" * MIB, 400, "MalformedXML"),
        (b"x" * (4 * MIB + 1), 400, "EntityTooLarge"),
        (part_list_xml([(2, etags[2]), (1, etags[1])]), 400, "InvalidPartOrder"),
        (part_list_xml([(1, etags[1]), (1, etags[1])]), 400, "InvalidPartOrder"),
        (part_list_xml([(1, etags[1]), (3, etags[2])]), 400, "InvalidPart"),
        (part_list_xml([(1, "0" * 32)]), 400, "InvalidPart"),
        (part_list_xml([(0, etags[1])]), 400, "InvalidArgument"),
        (part_list_xml([(1, etags[1])], "<ChecksumCRC32>AAAAAA==</ChecksumCRC32>"), 400, "InvalidPart"),
    ):
        refused = await uploading.complete(listed)
        assert (listed[:80], refused.status_code, refused.code) == (listed[:80], status, code)
    assert await small.state("k") is None
    assert (await uploading.complete()).status_code == 200
    assert await whole(small) == b"xy"


async def test_abort_makes_the_parts_garbage(small: Product) -> None:
    uploading = await begin(small, "k", bucket=ALONE)
    await uploading.put(1, BODIES[0])
    await uploading.put(2, BODIES[1])
    assert (await uploading.abort()).status_code == 204
    assert len(await small.garbage()) == 2
    assert (await uploading.put(3, b"x")).code == "NoSuchUpload"
    assert await small.state("k", ALONE) is None


async def test_a_part_whose_upload_is_aborted_meanwhile_is_refused_and_garbage(small: Product) -> None:
    """The abort comes while the part's body is still arriving."""
    uploading = await begin(small, "k")
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        begun.set()
        await go_on.wait()
        yield b"rest"

    putting = asyncio.create_task(
        small.send("PUT", "k", query=f"partNumber=1&uploadId={uploading.upload_id}", body=body(),
                   headers=[("content-length", "9")])
    )  # fmt: skip
    await begun.wait()
    assert (await uploading.abort()).status_code == 204
    go_on.set()
    refused = await putting
    assert (refused.status_code, refused.code) == (404, "NoSuchUpload")
    assert await small.garbage() == set(small.documents_in_telegram())


async def test_listing_parts_in_pages(small: Product) -> None:
    uploading = await begin(small, "k", headers=[("x-amz-storage-class", "STANDARD_IA")])
    for number in (7, 1, 300, 42, 9):
        await uploading.put(number, b"x" * number)

    def listed(s3: Any) -> list[dict[str, Any]]:
        pages = s3.get_paginator("list_parts").paginate(
            Bucket=IMAGES, Key="k", UploadId=uploading.upload_id, PaginationConfig={"PageSize": 2}
        )
        return list(pages)

    pages = await by_boto(small, listed)
    assert [[(part["PartNumber"], part["Size"]) for part in page["Parts"]] for page in pages] == [
        [(1, 1), (7, 7)],
        [(9, 9), (42, 42)],
        [(300, 300)],
    ]
    assert [page["IsTruncated"] for page in pages] == [True, True, False]
    assert pages[0]["StorageClass"] == "STANDARD_IA"
    assert pages[0]["Parts"][0]["ETag"].strip('"') == uploading.etags[1]
    none = await uploading.listed("max-parts=0")
    assert (none.text.count("<Part>"), "<IsTruncated>false<" in none.text) == (0, True)
    assert (await uploading.listed("max-parts=-1")).code == "InvalidArgument"


async def test_the_same_completion_again_gets_the_same_answer(small: Product) -> None:
    uploading = await begin(small, "k")
    await uploading.put(1, b"x")
    await uploading.put(2, b"y")
    spaced = part_list_xml([(number, f"&quot;{etag}&quot;") for number, etag in uploading.etags.items()])
    first = await uploading.complete(headers=[("if-none-match", "*")])
    assert first.status_code == 200
    for again in (
        await uploading.complete(headers=[("if-none-match", "*")]),
        await uploading.complete(),
        await uploading.complete(spaced),
    ):
        assert (again.status_code, again.content) == (200, first.content)
    refused = await uploading.complete(part_list_xml([(1, uploading.etags[1])]))
    assert (refused.status_code, refused.code) == (404, "NoSuchUpload")
    assert (await small.send("PUT", "k", body=b"newer")).status_code == 200
    assert (await uploading.complete()).content == first.content
    assert await whole(small) == b"newer", "the answer is repeated, the write is not"


async def test_of_racing_completions_one_does_it_and_all_get_its_answer(small: Product) -> None:
    for headers in ([], [("if-none-match", "*")]):
        key = f"k{len(headers)}"
        uploading = await begin(small, key)
        await uploading.put(1, b"x")
        answers = await asyncio.gather(*(uploading.complete(headers=headers) for _ in range(8)))
        assert [answer.status_code for answer in answers] == [200] * 8
        assert len({answer.content for answer in answers}) == 1
        assert await whole(small, key) == b"x"


async def test_of_uploads_that_race_for_a_key_one_wins(small: Product) -> None:
    uploadings = [await begin(small, "k") for _ in range(4)]
    for at, uploading in enumerate(uploadings):
        await uploading.put(1, b"%d" % at)
    answers = await asyncio.gather(*(one.complete(headers=[("if-none-match", "*")]) for one in uploadings))
    won = [at for at, answer in enumerate(answers) if answer.status_code == 200]
    assert len(won) == 1
    assert {answer.status_code for answer in answers} <= {200, 409, 412}
    assert await whole(small) == b"%d" % won[0]


async def test_complete_with_conditions(small: Product, origin_server: OriginServer) -> None:
    """Of a key here, of one that has not moved (case 8), and of one that was deleted here (case 7)."""
    at_origin = origin_server.put("unmoved", b"theirs")
    here = (await small.send("PUT", "here", body=b"ours")).headers["etag"]
    origin_server.put("deleted", b"theirs")
    assert (await small.send("DELETE", "deleted")).status_code == 204
    for key, headers, status in (
        ("here", [("if-none-match", "*")], 412),
        ("here", [("if-match", '"0"')], 412),
        ("unmoved", [("if-none-match", "*")], 412),
        ("unmoved", [("if-match", f'"{"0" * 32}"')], 412),
        ("nowhere", [("if-match", here)], 404),
        ("deleted", [("if-match", here)], 404),
        ("here", [("if-match", here)], 200),
        ("unmoved", [("if-match", f'"{at_origin}"')], 200),
        ("deleted", [("if-none-match", "*")], 200),
        ("nowhere", [("if-none-match", "*")], 200),
    ):
        uploading = await begin(small, key)
        await uploading.put(1, b"new")
        done = await uploading.complete(headers=headers)
        assert (key, headers, done.status_code) == (key, headers, status)
        if status != 200:
            assert (await uploading.listed()).status_code == 200, "the upload is still open"
        else:
            assert await whole(small, key) == b"new"
    assert origin_server.get("unmoved") == b"theirs"


async def test_a_part_that_changes_while_completing_is_computed_anew(
    small: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploading = await begin(small, "k")
    await uploading.put(1, b"x")
    listed = part_list_xml([(1, uploading.etags[1])])
    complete = type(small.index).complete_upload
    times = 0

    async def after_a_change(self: Any, *arguments: Any, **more: Any) -> ObjectRecord:
        nonlocal times
        times += 1
        if times == 1:
            await uploading.put(1, b"x")  # the same bytes in another document
        return await complete(self, *arguments, **more)

    monkeypatch.setattr(type(small.index), "complete_upload", after_a_change)
    assert (await uploading.complete(listed)).status_code == 200
    assert (times, await whole(small)) == (2, b"x")


async def test_parts_that_never_stay_the_same_end_in_a_conflict(
    small: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploading = await begin(small, "k")
    await uploading.put(1, b"x")

    async def changed(*_: Any, **__: Any) -> None:
        raise PartsChanged("part 1 was uploaded anew")

    monkeypatch.setattr(type(small.index), "complete_upload", changed)
    refused = await uploading.complete()
    assert (refused.status_code, await small.state("k")) == (409, None)


async def test_a_restart_between_any_two_steps_loses_nothing(
    tmp_path: Path, origin_server: OriginServer, quick_retries: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with product_with_small_parts(tmp_path, origin_server.port, monkeypatch) as product:
        uploading = await begin(product, "k")
        await uploading.put(2, b"two")
        async with product_again(tmp_path, product.standin, product.origin) as second:
            uploading.product = second
            await uploading.put(1, b"one,")
        async with product_again(tmp_path, product.standin, product.origin) as third:
            uploading.product = third
            assert (await uploading.listed()).text.count("<Part>") == 2
            done = await uploading.complete()
            assert done.status_code == 200
        async with product_again(tmp_path, product.standin, product.origin) as fourth:
            assert (await uploading.complete(product=fourth)).content == done.content
            assert await whole(fourth) == b"one,two"


async def test_uploads_that_were_begun_at_the_origin_end_there(product: Product, origin_server: OriginServer) -> None:
    """What is held of the key is superseded when the upload is complete, and not before."""
    assert (await product.send("PUT", "k", body=b"ours")).status_code == 200
    begun = origin_server.s3.create_multipart_upload(Bucket="images-there", Key="k")
    uploading = Uploading(product, "k", IMAGES, begun["UploadId"])
    assert (
        await uploading.put(1, b"theirs", [("x-amz-checksum-crc32", checksum("crc32", b"theirs"))])
    ).status_code == 200
    assert (await uploading.listed()).text.count("<Part>") == 1
    assert await whole(product) == b"ours"
    refused = await uploading.complete(headers=[("if-none-match", "*")])
    assert (refused.status_code, await whole(product)) == (412, b"ours")
    done = await uploading.complete(headers=[("x-amz-checksum-crc32", "AAAAAA==")])
    assert done.status_code == 200, "of the object, not of the list: the origin judges it"
    assert "x-amz-checksum-crc32: AAAAAA==" in bytes(product.origin.received).decode("latin-1")
    assert await whole(product) == b"theirs"
    another = origin_server.s3.create_multipart_upload(Bucket="images-there", Key="k")
    assert (await Uploading(product, "k", IMAGES, another["UploadId"]).abort()).status_code == 204
    assert "Uploads" not in origin_server.s3.list_multipart_uploads(Bucket="images-there")


async def test_an_unreachable_origin_is_not_a_missing_upload(product: Product) -> None:
    product.origin.down = True
    uploading = Uploading(product, "k", IMAGES, "maybe-theirs")
    assert (await uploading.put(1, b"x")).status_code == 503
    assert (await uploading.abort()).status_code == 503
    assert (await begin(product, "k")).upload_id


async def test_more_uploads_than_slots_are_told_to_slow_down(small: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    uploading = await begin(small, "k")
    upload_part: Any = small.gateway._service._handlers[Operation.UPLOAD_PART]
    limit = upload_part.__self__._slots
    monkeypatch.setattr(limit, "_uploads_max", 0)
    refused = await uploading.put(1, b"x")
    assert (refused.status_code, refused.code) == (503, "SlowDown")


async def test_a_refusal_comes_before_the_body_where_the_headers_show_it(small: Product) -> None:
    """So that `Expect: 100-continue` is not answered with an invitation."""
    uploading = await begin(small, "k")

    def asked(method: str, query: str, headers: list[tuple[str, str]]) -> S3Request:
        target = target_of(IMAGES, "k", query)
        path, _, raw_query = target.partition("?")
        signed = sign(USER, method, target, HOST, headers).headers
        pairs = [(name.lower(), value) for name, value in signed]

        async def receive() -> Any:
            raise AssertionError("the body is not read")

        return S3Request("r", method, path, raw_query, pairs, receive)

    part = f"partNumber=1&uploadId={uploading.upload_id}"
    service = small.gateway._service
    assert not service.would_refuse(asked("PUT", part, [("content-length", "5")]))
    assert service.would_refuse(asked("PUT", part, [("content-length", str((5 << 30) + 1))]))
    assert service.would_refuse(asked("PUT", part, [("content-length", "5"), ("content-md5", "x")]))
    assert service.would_refuse(
        asked("PUT", part, [("content-length", "5"), ("x-amz-server-side-encryption-customer-algorithm", "AES256")])
    )
    assert service.would_refuse(
        asked("POST", f"uploadId={uploading.upload_id}", [("content-length", "5"), ("x-amz-mp-object-size", "x")])
    )


async def test_headers_of_the_beginning_are_those_of_a_put(small: Product) -> None:
    for headers, code in (
        ([("x-amz-storage-class", "NONE")], "InvalidStorageClass"),
        ([("x-amz-meta-a", "x" * 3000)], "MetadataTooLarge"),
        ([("x-amz-server-side-encryption-customer-algorithm", "AES256")], "NotImplemented"),
        ([("if-none-match", "*")], "NotImplemented"),
        ([("x-amz-checksum-algorithm", "SHA1"), ("x-amz-checksum-type", "FULL_OBJECT")], "InvalidRequest"),
    ):
        refused = await small.send("POST", "k", query="uploads", headers=headers)
        assert (headers, refused.code) == (headers, code)
    uploading = await begin(small, "k", headers=[("x-amz-acl", "public-read"), ("x-amz-tagging", "a=b")])
    await uploading.put(1, b"x")
    assert (await uploading.complete()).status_code == 200
    assert (await small.send("GET", "k", by=None)).content == b"x"
    state = await small.state("k")
    assert isinstance(state, ObjectRecord)
    assert state.tags == {"a": "b"}


async def test_keys_of_every_kind(small: Product) -> None:
    for key in ("a//b", "a/../b", "%C3%A9%20%2B%26%3C%3E%27%22", "line%0Abreak", "x" * 1024):
        begun = await small.send("POST", key, query="uploads", raw=True)
        upload_id = begun.text.partition("<UploadId>")[2].partition("<")[0]
        put = await small.send("PUT", key, query=f"partNumber=1&uploadId={upload_id}", body=key.encode(), raw=True)
        listed = part_list_xml([(1, put.headers["etag"])])
        assert (await small.send("POST", key, query=f"uploadId={upload_id}", body=listed, raw=True)).status_code == 200
        assert (await small.send("GET", key, raw=True)).content == key.encode()


async def test_an_empty_part_and_an_object_without_bytes(small: Product) -> None:
    uploading = await begin(small, "k")
    assert (await uploading.put(1, b"")).status_code == 200
    assert (await uploading.complete()).status_code == 200
    got = await small.send("GET", "k")
    assert (got.content, got.headers["content-length"], got.headers["etag"]) == (b"", "0", f'"{etag_of([b""])}"')


async def test_abandoned_uploads_expire(
    tmp_path: Path, origin_server: OriginServer, quick_retries: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("addon.store.expiry.EXPIRY_PERIOD_S", 0.05)
    async with product_with_small_parts(
        tmp_path, origin_server.port, monkeypatch, service="[multipart]\nexpire_after_s = 0.5"
    ) as product:
        uploading = await begin(product, "k", bucket=ALONE)
        await uploading.put(1, b"x")

        async def expired() -> bool:
            return len(await product.garbage()) == 1

        await eventually(expired)
        assert (await uploading.complete()).code == "NoSuchUpload"
        assert await product.state("k", ALONE) is None


async def test_ten_thousand_parts(
    tmp_path: Path, origin_server: OriginServer, quick_retries: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list is read, checked and written in about a second; the parts themselves are put into the index as they would be."""
    async with product_with_small_parts(tmp_path, origin_server.port, monkeypatch) as product:
        uploading = await begin(product, "k")
        await uploading.put(1, b"x")
        extents = await product.index.part_extents(uploading.upload_id, 1)
        md5_hex = uploading.etags[1]
        crc = checksum("crc64nvme", b"x")
        for first in range(1, 10_001, 500):
            await asyncio.gather(
                *(
                    product.index.put_part(
                        uploading.upload_id, NewPart(number, 1, md5_hex, {"crc64nvme": crc}, 1, extents)
                    )
                    for number in range(first, first + 500)
                )
            )
        listed = part_list_xml([(number, md5_hex) for number in range(1, 10_001)])
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        done = await uploading.complete(listed)
        took_s = loop.time() - began_s
        assert done.status_code == 200
        assert re.search("<ETag>.*-10000.*</ETag>", done.text)
        assert took_s < 5
        assert (await product.send("GET", "k", headers=[("range", "bytes=9990-")])).content == b"x" * 10
        assert checksum("crc64nvme", b"x" * 10_000) in done.text
