"""ListMultipartUploads through the whole product: ours and those that were begun at the origin."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.origin.raw_server import Received, answer, raw_server
from tests.service.fixtures import OriginServer
from tests.service.product import ALONE, IMAGES, Product, running_product
from tests.service.uploads import begin, by_boto

KEYS = ["a", "dir/1", "dir/2", "dir/sub/3", "dir0", "k", "\u00e9", "\U0001f600"]


async def listed(product: Product, page_size: int = 1000, **more: Any) -> tuple[list[tuple[str, str]], list[str]]:
    """(key, upload id) of all uploads, and all common prefixes, by boto3's paginator."""

    def pages(s3: Any) -> Any:
        paginator = s3.get_paginator("list_multipart_uploads")
        return list(paginator.paginate(PaginationConfig={"PageSize": page_size}, **{"Bucket": IMAGES, **more}))

    found, prefixes = [], []
    for page in await by_boto(product, pages):
        entries = page.get("Uploads", []) + page.get("CommonPrefixes", [])
        assert len(entries) <= page_size
        assert entries or not page["IsTruncated"]
        found += [(upload["Key"], upload["UploadId"]) for upload in page.get("Uploads", [])]
        prefixes += [prefix["Prefix"] for prefix in page.get("CommonPrefixes", [])]
    return found, prefixes


def by_key(uploads: list[tuple[str, str]]) -> list[str]:
    return [key for key, _ in uploads]


@pytest.mark.parametrize("page_size", [1, 2, 3, 1000])
async def test_each_upload_once_in_order(product: Product, origin_server: OriginServer, page_size: int) -> None:
    s3 = origin_server.s3
    mine = [(key, (await begin(product, key)).upload_id) for key in [*KEYS, "k", "k"]]
    theirs = [
        (key, s3.create_multipart_upload(Bucket="images-there", Key=key)["UploadId"])
        for key in ("0", "dir/1", "k", "k", "other/x")
    ]
    try:
        found, prefixes = await listed(product, page_size)
        assert (sorted(found), prefixes) == (sorted([*mine, *theirs]), [])
        assert by_key(found) == sorted(by_key(found), key=str.encode)
        of_k = [upload_id for key, upload_id in found if key == "k"]
        assert of_k[2:] == [upload_id for key, upload_id in mine if key == "k"], "in the order in which they were begun"
        rolled, prefixes = await listed(product, page_size, Delimiter="/")
        assert by_key(rolled) == ["0", "a", "dir0", "k", "k", "k", "k", "k", "\u00e9", "\U0001f600"]
        assert prefixes == ["dir/", "other/"]
        under, prefixes = await listed(product, page_size, Prefix="dir/", Delimiter="/")
        assert (by_key(under), prefixes) == (["dir/1", "dir/1", "dir/2"], ["dir/sub/"])
    finally:
        for key, upload_id in theirs:
            s3.abort_multipart_upload(Bucket="images-there", Key=key, UploadId=upload_id)


async def test_uploads_that_end_leave_the_list(product: Product) -> None:
    first, second, third = [await begin(product, "k", bucket=ALONE) for _ in range(3)]
    await second.put(1, b"x")
    assert (await second.complete()).status_code == 200
    assert (await first.abort()).status_code == 204
    assert await listed(product, Bucket=ALONE) == ([("k", third.upload_id)], [])
    assert product.origin.requests == []


async def test_a_page_goes_on_though_its_last_upload_has_ended(product: Product) -> None:
    """What `abort everything` does: a page, its uploads aborted, the next page."""
    uploadings = [await begin(product, "k", bucket=ALONE) for _ in range(3)]
    page = await product.send("GET", "", bucket=ALONE, query="uploads&max-uploads=1")
    assert uploadings[0].upload_id in page.text
    assert "<IsTruncated>true</IsTruncated><" in page.text
    marker = page.text.partition("<NextUploadIdMarker>")[2].partition("<")[0]
    assert (await uploadings[0].abort()).status_code == 204
    rest = await product.send("GET", "", bucket=ALONE, query=f"uploads&key-marker=k&upload-id-marker={marker}")
    shown = [f"<UploadId>{uploading.upload_id}<" in rest.text for uploading in uploadings]
    assert shown == [False, True, True]


async def test_a_thousand_keys_under_each_prefix_cost_no_more(product: Product) -> None:
    for prefix in ("a/", "b/"):
        for first in range(0, 300, 100):
            await asyncio.gather(*(begin(product, f"{prefix}{at}", bucket=ALONE) for at in range(first, first + 100)))
    assert await listed(product, 1, Bucket=ALONE, Delimiter="/") == ([], ["a/", "b/"])


@pytest.mark.parametrize("query", ["uploads&max-uploads=x", "uploads&encoding-type=x", "uploads&max-uploads=-1"])
async def test_what_cannot_be_asked(product: Product, query: str) -> None:
    refused = await product.send("GET", "", query=query)
    assert (refused.status_code, refused.code) == (400, "InvalidArgument")


async def test_no_page_at_all(product: Product) -> None:
    await begin(product, "k", bucket=ALONE)
    none = await product.send("GET", "", bucket=ALONE, query="uploads&max-uploads=0")
    assert (none.status_code, none.text.count("<Upload>")) == (200, 0)
    assert "<IsTruncated>false<" in none.text


async def test_an_origin_that_does_not_tell(tmp_path: Path, product: Product, quick_retries: None) -> None:
    """Half a list would be taken for the whole."""
    await begin(product, "k")
    product.origin.down = True
    refused = await product.send("GET", "", query="uploads")
    assert (refused.status_code, refused.code) == (503, "ServiceUnavailable")
    answers = [
        answer(500, "", b"<Error><Code>InternalError</Code></Error>"),
        answer(403, "", b"<Error><Code>AccessDenied</Code></Error>"),
        answer(200, "", b"<html>no list</html>"),
        answer(200, "", b"<ListMultipartUploadsResult><IsTruncated>true</IsTruncated></ListMultipartUploadsResult>"),
        answer(200, "", b"x" * (9 << 20)),
    ]

    async def at_origin(received: Received, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answers[0] if b"uploads" in received.target else answer(200))

    async with raw_server(at_origin) as origin, running_product(tmp_path / "second", origin.port) as second:
        while answers:
            refused = await second.send("GET", "", query="uploads")
            assert (answers[0][:200], refused.status_code) == (answers[0][:200], 503)
            answers.pop(0)


async def test_the_list_is_for_who_is_verified(product: Product) -> None:
    assert (await product.send("GET", "", query="uploads", by=None)).status_code == 403
