"""GetObjectAttributes through the whole product, in all states of a key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.service.fixtures import OriginServer
from tests.service.product import ALONE, IMAGES, Answer, Product
from tests.service.uploads import begin, by_boto, checksum, composite, etag_of, part_list_xml, product_with_small_parts

ALL = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
BODIES = [b"one" * 1000, b"two", b""]


@pytest.fixture
async def small(
    tmp_path: Path, origin_server: OriginServer, quick_retries: None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Product]:
    """The product without a least size of parts."""
    async with product_with_small_parts(tmp_path, origin_server.port, monkeypatch) as running:
        yield running


async def ask(product: Product, key: str, names: str, query: str = "", **more: Any) -> Answer:
    headers = [("x-amz-object-attributes", names)] if names else []
    return await product.send("GET", key, query="attributes" + query, headers=headers, **more)


async def told(product: Product, key: str, **more: Any) -> dict[str, Any]:
    return dict(
        await by_boto(
            product,
            lambda s3: s3.get_object_attributes(
                Bucket=IMAGES, Key=key, ObjectAttributes=more.pop("names", ALL), **more
            ),
        )
    )


async def test_an_object_in_parts(small: Product) -> None:
    uploading = await begin(small, "k", headers=[("x-amz-checksum-algorithm", "SHA256")])
    for number, body in enumerate(BODIES, start=1):
        await uploading.put(2 * number, body)
    inner = "".join(
        f"<Part><PartNumber>{2 * number}</PartNumber><ETag>{uploading.etags[2 * number]}</ETag>"
        f"<ChecksumSHA256>{checksum('sha256', body)}</ChecksumSHA256></Part>"
        for number, body in enumerate(BODIES, start=1)
    )
    done = await uploading.complete(f"<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>".encode())
    assert done.status_code == 200
    answer = await told(small, "k")
    assert answer["ETag"] == etag_of(BODIES)
    expected = {"ChecksumSHA256": composite("sha256", BODIES).partition("-")[0], "ChecksumType": "COMPOSITE"}
    assert answer["Checksum"] == expected
    assert answer["ObjectParts"]["Parts"] == [
        {"PartNumber": 2 * number, "Size": len(body), "ChecksumSHA256": checksum("sha256", body)}
        for number, body in enumerate(BODIES, start=1)
    ]
    assert (answer["ObjectSize"], answer["StorageClass"]) == (sum(map(len, BODIES)), "STANDARD")
    assert answer["LastModified"] is not None
    page = (await told(small, "k", MaxParts=1, PartNumberMarker=2))["ObjectParts"]
    assert ([part["PartNumber"] for part in page["Parts"]], page["IsTruncated"]) == ([4], True)
    assert small.origin.requests == []


async def test_an_object_in_one_piece(small: Product) -> None:
    await small.send("PUT", "k", body=b"whole", headers=[("x-amz-checksum-crc32", checksum("crc32", b"whole"))])
    answer = await told(small, "k")
    assert answer["Checksum"] == {"ChecksumCRC32": checksum("crc32", b"whole"), "ChecksumType": "FULL_OBJECT"}
    assert "ObjectParts" not in answer
    assert answer["ObjectSize"] == 5
    assert (await ask(small, "k", "ETag", "&versionId=null")).status_code == 200


async def test_a_copy_is_described_here_but_for_what_only_the_origin_knows(
    small: Product, origin_server: OriginServer
) -> None:
    origin_server.put("k", b"theirs")
    assert (await ask(small, "k", "ETag,ObjectSize")).status_code == 200
    assert small.origin.requests == [("GET", "/images-there/k?attributes")], "it has not moved"
    await small.send("GET", "k")
    record = await small.copied("k")
    small.origin.requests.clear()
    answer = await told(small, "k", names=["ETag", "ObjectSize"])
    assert (answer["ETag"], answer["ObjectSize"], small.origin.requests) == (record.etag, 6, [])
    for names in ("ObjectParts", "ETag,ObjectParts"):
        small.origin.requests.clear()
        await ask(small, "k", names)
        assert small.origin.requests == [("GET", "/images-there/k?attributes")]


async def test_what_is_not_there_or_not_theirs_to_ask(small: Product, origin_server: OriginServer) -> None:
    origin_server.put("deleted", b"theirs")
    await small.send("DELETE", "deleted")
    small.origin.requests.clear()
    refused = await ask(small, "deleted", "ETag")
    assert (refused.status_code, refused.code) == (404, "NoSuchKey")
    assert ("GET", "/images-there/deleted?attributes") not in small.origin.requests
    refused = await ask(small, "nowhere", "ETag", bucket=ALONE)
    assert (refused.status_code, refused.code) == (404, "NoSuchKey")
    await small.send("PUT", "k", bucket=ALONE, body=b"x", headers=[("x-amz-acl", "public-read")])
    assert (await ask(small, "k", "ETag", bucket=ALONE, by=None)).status_code == 403
    refused = await ask(small, "k", "ETag", "&versionId=other", bucket=ALONE)
    assert (refused.status_code, refused.code) == (404, "NoSuchVersion")
    for names in ("", "Tag"):
        refused = await ask(small, "k", names, bucket=ALONE)
        assert (refused.status_code, refused.code) == (400, "InvalidArgument")


async def test_an_object_that_is_copied_keeps_its_parts(small: Product) -> None:
    uploading = await begin(small, "k")
    for number, body in enumerate(BODIES, start=1):
        await uploading.put(number, body)
    assert (await uploading.complete(part_list_xml(sorted(uploading.etags.items())))).status_code == 200
    copied = await small.send("PUT", "copy", headers=[("x-amz-copy-source", f"/{IMAGES}/k")])
    assert copied.status_code == 200
    answer = await told(small, "copy", names=["ObjectParts", "ETag"])
    if "ObjectParts" in answer:  # whether a copy is one piece or keeps its parts is the copy's affair
        assert answer["ObjectParts"]["TotalPartsCount"] == len(BODIES)
