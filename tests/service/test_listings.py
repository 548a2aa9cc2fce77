"""Merged listings through the whole product, with moto as the origin."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote
from xml.etree import ElementTree

import boto3
import pytest
from botocore.config import Config
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from addon.store.listed import Deletion
from addon.store.merged_listing import merged_page
from tests.service.fixtures import OriginServer
from tests.service.origin_relay import origin_relay
from tests.service.product import (
    ALONE,
    HOST,
    IMAGES,
    RELAXED,
    USER,
    Answer,
    Product,
    product_again,
    running_product,
)
from tests.standin_fixture import running_standin

NS = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class Listing:
    """An answer to either version, read."""

    def __init__(self, answer: Answer) -> None:
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/xml"
        self.root = ElementTree.fromstring(answer.content)
        assert self.root.tag == f"{NS}ListBucketResult"
        self.order = [child.tag.removeprefix(NS) for child in self.root]
        self.encoded = self.text("EncodingType") == "url"

    def text(self, name: str) -> str | None:
        return self.root.findtext(NS + name)

    def named(self, element: str, name: str) -> list[str]:
        texts = [found.findtext(NS + name) or "" for found in self.root.findall(NS + element)]
        return [unquote(text) for text in texts] if self.encoded else texts

    @property
    def keys(self) -> list[str]:
        return self.named("Contents", "Key")

    @property
    def prefixes(self) -> list[str]:
        return self.named("CommonPrefixes", "Prefix")

    @property
    def truncated(self) -> bool:
        return {"true": True, "false": False}[self.text("IsTruncated") or ""]

    def field(self, key: str, name: str) -> str | None:
        """A field of one entry."""
        (entry,) = [found for found in self.root.findall(f"{NS}Contents") if found.findtext(f"{NS}Key") == key]
        return entry.findtext("/".join(NS + part for part in name.split("/")))


def query_of(**parameters: object) -> str:
    return "&".join(f"{name.replace('_', '-')}={quote(str(value), safe='~')}" for name, value in parameters.items())


async def ask(
    product: Product, *, v2: bool = True, bucket: str = IMAGES, by: Any = USER, **parameters: object
) -> Answer:
    version: dict[str, object] = {"list_type": 2} if v2 else {}
    return await product.send("GET", "", bucket=bucket, query=query_of(**version, **parameters), by=by)


async def listed(product: Product, **parameters: Any) -> Listing:
    return Listing(await ask(product, **parameters))


async def put(product: Product, *keys: str, bucket: str = IMAGES) -> None:
    for key in keys:
        answer = await product.send("PUT", key, bucket=bucket, body=b"new")
        assert answer.status_code == 200, answer.text


async def delete(product: Product, *keys: str) -> None:
    for key in keys:
        assert (await product.send("DELETE", key)).status_code == 204


async def moved(product: Product, key: str) -> None:
    assert (await product.send("GET", key)).status_code == 200
    await product.copied(key)


@pytest.fixture
def crowd(origin_server: OriginServer) -> Iterator[Any]:
    """moto's own bucket, for more keys than one would put there by requests; emptied afterwards."""
    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    yield backend
    backend.get_bucket("images-there").keys.clear()


@pytest.fixture
async def half_moved(product: Product, origin_server: OriginServer) -> Product:
    """a and f/1 are only in the origin, b and f/2 moved, c is deleted, d and g/1 are new, e was written over."""
    for key in ("a", "b", "c", "e", "f/1", "f/2", "h/gone"):
        origin_server.put(key, b"old")
    await moved(product, "b")
    await moved(product, "f/2")
    await put(product, "d", "e", "g/1")
    await delete(product, "c", "h/gone")
    return product


async def test_both_versions_show_every_key_once_in_order(half_moved: Product) -> None:
    for v2 in (True, False):
        listing = await listed(half_moved, v2=v2)
        assert listing.keys == ["a", "b", "d", "e", "f/1", "f/2", "g/1"]
        assert not listing.truncated
        assert listing.text("KeyCount") == ("7" if v2 else None)
        folded = await listed(half_moved, v2=v2, delimiter="/")
        assert (folded.keys, folded.prefixes) == (["a", "b", "d", "e"], ["f/", "g/"])
        assert (await listed(half_moved, v2=v2, prefix="f/", delimiter="/")).keys == ["f/1", "f/2"]
        assert (await listed(half_moved, v2=v2, prefix="f/", delimiter="")).keys == ["f/1", "f/2"]
    assert (await listed(half_moved, delimiter="/")).text("KeyCount") == "6"


async def test_an_entry_tells_of_the_object_that_a_reader_would_get(half_moved: Product) -> None:
    listing = await listed(half_moved)
    for key in listing.keys:
        answer = await half_moved.send("HEAD", key)
        assert listing.field(key, "Size") == answer.headers["content-length"]
        assert listing.field(key, "ETag") == answer.headers["etag"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z", listing.field(key, "LastModified") or "")
        assert listing.field(key, "StorageClass") == "STANDARD"
    assert listing.field("e", "Size") == "3"
    assert listing.field("e", "ETag") != listing.field("a", "ETag")


async def test_a_moved_object_is_listed_as_it_is_read_though_the_origin_changed(
    half_moved: Product, origin_server: OriginServer
) -> None:
    origin_server.put("b", b"changed behind our back")
    listing, answer = await listed(half_moved), await half_moved.send("HEAD", "b")
    assert listing.field("b", "ETag") == answer.headers["etag"]
    assert listing.field("b", "Size") == answer.headers["content-length"] == "3"


async def test_owners_come_with_v1_and_where_v2_asks_for_them(half_moved: Product) -> None:
    for listing in (await listed(half_moved, v2=False), await listed(half_moved, fetch_owner="true")):
        theirs, ours = listing.field("a", "Owner/ID"), listing.field("d", "Owner/ID")
        assert listing.field("b", "Owner/ID") == theirs, "a moved object stays as the site knew it"
        assert ours is not None
        assert re.fullmatch("[0-9a-f]{64}", ours)
        assert ours not in (None, theirs)
        assert listing.field("d", "Owner/DisplayName") == IMAGES
    without = await listed(half_moved)
    assert without.field("a", "Owner/ID") is without.field("d", "Owner/ID") is None


async def test_a_copy_that_the_origin_lost_is_still_shown(half_moved: Product, origin_server: OriginServer) -> None:
    origin_server.s3.delete_object(Bucket="images-there", Key="b")
    listing = await listed(half_moved)
    assert "b" in listing.keys
    assert listing.field("b", "Size") == "3"


@pytest.mark.parametrize("max_keys", [1, 2, 3, 1000])
@pytest.mark.parametrize("delimiter", ["", "/"])
async def test_pages_of_any_size_are_the_listing_in_pieces(half_moved: Product, delimiter: str, max_keys: int) -> None:
    whole = await listed(half_moved, delimiter=delimiter)
    for v2 in (True, False):
        found: list[str] = []
        place: dict[str, object] = {}
        while True:
            page = await listed(half_moved, v2=v2, delimiter=delimiter, max_keys=max_keys, **place)
            names = sorted(page.keys + page.prefixes)
            assert len(names) <= max_keys
            assert page.text("MaxKeys") == str(max_keys)
            found += names
            following = page.text("NextContinuationToken" if v2 else "NextMarker")
            assert (following is not None) == page.truncated
            if not page.truncated:
                break
            place = {"continuation_token": following} if v2 else {"marker": following}
        assert found == sorted(whole.keys + whole.prefixes)


async def test_where_a_page_begins(half_moved: Product) -> None:
    assert (await listed(half_moved, start_after="b")).keys == ["d", "e", "f/1", "f/2", "g/1"]
    assert (await listed(half_moved, start_after="b0")).text("StartAfter") == "b0"
    assert (await listed(half_moved, v2=False, marker="e")).keys == ["f/1", "f/2", "g/1"]
    assert (await listed(half_moved, v2=False, marker="e")).text("Marker") == "e"
    assert (await listed(half_moved, start_after="zz")).keys == []
    assert (await listed(half_moved, prefix="f/", start_after="a")).keys == ["f/1", "f/2"]
    within = await listed(half_moved, start_after="f/1", delimiter="/")
    assert (within.keys, within.prefixes) == ([], ["g/"]), "a prefix is shown only behind the place"
    first = await listed(half_moved, max_keys=1)
    token = first.text("NextContinuationToken")
    both = await listed(half_moved, continuation_token=token, start_after="e")
    assert both.keys[0] == "b", "the token goes before start-after"
    assert (both.text("ContinuationToken"), both.text("StartAfter")) == (token, "e")


async def test_elements_come_in_the_order_of_s3(half_moved: Product) -> None:
    first = await listed(half_moved, max_keys=5, delimiter="/", start_after="A", encoding_type="url")
    assert first.order[:-5] == [
        "Name", "Prefix", "StartAfter", "NextContinuationToken", "KeyCount", "MaxKeys", "Delimiter", "EncodingType",
        "IsTruncated",
    ]  # fmt: skip
    v1 = await listed(half_moved, v2=False, max_keys=1, delimiter="/", encoding_type="url")
    assert v1.order == [
        "Name", "Prefix", "Marker", "NextMarker", "MaxKeys", "Delimiter", "EncodingType", "IsTruncated", "Contents",
    ]  # fmt: skip
    assert first.text("Name") == IMAGES


ODD = [
    "a b",
    "a+b",
    "a%2Fb",
    "a&<>\"'b",
    "é",
    "e\u0301",
    "\U0001f600",
    "\x01\n",
    "//",
    "/lead",
    "a/./b",
    "ends/",
    "\uffff",
]


async def test_odd_names_come_through_encoded_and_plain(product: Product, origin_server: OriginServer) -> None:
    there = [key for key in ODD if "\n" not in key]  # moto has no route to those
    for key in there:
        origin_server.put(f"there {key}", b"x")
    for key in ODD:
        answer = await product.send("PUT", quote(f"here {key}", safe="/~"), body=b"x", raw=True)
        assert answer.status_code == 200, answer.text
    names = sorted([*(f"here {key}" for key in ODD), *(f"there {key}" for key in there)], key=str.encode)
    for place in ["", *names]:
        page = await ask(product, encoding_type="url", start_after=place, max_keys=3)
        assert b"+" not in page.content
        assert Listing(page).keys == [name for name in names if name > place][:3]
    answer = await ask(product)
    assert b"<Key>here \x26#x1;\x26#xa;</Key>" in answer.content
    # References to characters that XML does not have: S3 writes them, and no parser takes them.
    readable = re.sub(rb"&#x1;", b"&#xE001;", answer.content).replace("\uffff".encode(), b"&#xE002;")
    found = [text.text for text in ElementTree.fromstring(readable).iter(f"{NS}Key")]
    assert found == [name.replace("\x01", "\ue001").replace("\uffff", "\ue002") for name in names]
    folded = await listed(product, encoding_type="url", delimiter="e", prefix="th")
    assert folded.prefixes == ["the"]
    assert (await ask(product, encoding_type="url", prefix="here a+")).text.count("<Key>here%20a%2Bb</Key>") == 1


async def test_three_thousand_deleted_keys_in_a_row(product: Product, crowd: Any) -> None:
    """Deleted through the index, a thousand at a time; each page costs the origin a bounded number of requests."""
    gone = [f"k{number:04}" for number in range(3000)]
    put_many(crowd, [*gone, "z"])
    await tombstones(product, gone)
    product.origin.requests.clear()
    listing = await listed(product, max_keys=2)
    assert listing.keys == ["z"]
    assert not listing.truncated
    assert len(product.origin.requests) <= 5


async def test_a_folder_of_deleted_keys_is_not_shown_and_one_with_a_live_key_is(product: Product, crowd: Any) -> None:
    put_many(
        crowd,
        [*(f"gone/{number:04}" for number in range(1200)), *(f"live/{number:04}" for number in range(1200))],
    )
    await tombstones(product, [f"gone/{number:04}" for number in range(1200)])
    await tombstones(product, [f"live/{number:04}" for number in range(1199)])
    for v2 in (True, False):
        product.origin.requests.clear()
        listing = await listed(product, v2=v2, delimiter="/")
        assert (listing.prefixes, listing.truncated) == (["live/"], False)
        assert len(product.origin.requests) <= 8


async def test_a_probe_longer_than_a_page_goes_on_in_the_next(
    product: Product, crowd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(merged_page.__kwdefaults__, "further_keys", 10)
    put_many(crowd, [*(f"gone/{number:04}" for number in range(200)), "gone/z", "h"])
    await tombstones(product, [f"gone/{number:04}" for number in range(200)])
    for v2 in (True, False):
        pages, place = [], {}
        while True:
            page = await listed(product, v2=v2, delimiter="/", encoding_type="url", **place)
            pages.append(page.prefixes + page.keys)
            if not page.truncated:
                break
            following = page.text("NextContinuationToken" if v2 else "NextMarker")
            place = {"continuation_token": following} if v2 else {"marker": unquote(following or "")}
        assert pages == [[], [], ["gone/", "h"]]


def put_many(backend: Any, keys: list[str]) -> None:
    for key in keys:
        backend.put_object("images-there", key, b"x")


async def tombstones(product: Product, keys: list[str]) -> None:
    for start in range(0, len(keys), 1000):
        deletions = [Deletion(key) for key in keys[start : start + 1000]]
        await product.index.delete_objects(IMAGES, deletions, now_s=product.store.now_s())


@contextlib.contextmanager
def boto(product: Product) -> Iterator[Any]:
    client = boto3.client(
        "s3",
        endpoint_url="http://{}:{}".format(*product.address),
        region_name="us-east-1",
        aws_access_key_id=USER.access_key_id,
        aws_secret_access_key=USER.secret,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}, proxies={}),
    )
    # The service finds the bucket by its Host header; the address is a loopback port.
    client.meta.events.register("before-sign.s3", lambda request, **_: request.headers.__setitem__("Host", HOST))
    yield client
    client.close()


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
async def test_boto3_pages_through_it(half_moved: Product, operation: str) -> None:
    await put(half_moved, "with space+plus", "ü/x")

    def names(**settings: Any) -> list[str]:
        with boto(half_moved) as client:
            found = []
            for page in client.get_paginator(operation).paginate(Bucket=IMAGES, **settings):
                found += [entry["Key"] for entry in page.get("Contents", [])]
                found += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
            return found

    everything = ["a", "b", "d", "e", "f/1", "f/2", "g/1", "with space+plus", "ü/x"]
    assert await asyncio.to_thread(names, PaginationConfig={"PageSize": 2}) == everything
    folded = await asyncio.to_thread(names, PaginationConfig={"PageSize": 1}, Delimiter="/")
    assert folded == ["a", "b", "d", "e", "f/", "g/", "with space+plus", "ü/"]


async def test_a_token_outlives_a_restart(tmp_path: Path, origin_server: OriginServer, quick_retries: None) -> None:
    for key in "abcdef":
        origin_server.put(key, b"old")
    async with (
        running_standin(tmp_path / "telegram", switches=RELAXED) as standin,
        origin_relay(origin_server.port) as relay,
    ):
        async with product_again(tmp_path, standin, relay) as product:
            await put(product, "c2", "e2")
            await delete(product, "d")
            first = await listed(product, max_keys=3)
        async with product_again(tmp_path, standin, relay) as product:
            rest = await listed(product, continuation_token=first.text("NextContinuationToken"))
    assert first.keys + rest.keys == ["a", "b", "c", "c2", "e", "e2", "f"]
    assert not rest.truncated


async def test_a_bucket_without_origin_is_listed_from_the_index(product: Product) -> None:
    await put(product, "a", "f/1", "f/2", "z", bucket=ALONE)
    folded = await listed(product, bucket=ALONE, delimiter="/", max_keys=2)
    assert (folded.keys, folded.prefixes, folded.truncated) == (["a"], ["f/"], True)
    rest = await listed(product, bucket=ALONE, delimiter="/", continuation_token=folded.text("NextContinuationToken"))
    assert (rest.keys, rest.truncated) == (["z"], False)
    assert (await ask(product, bucket=ALONE, by=None)).code == "AccessDenied"
    assert not product.origin.requests


async def test_a_stranger_is_shown_what_the_origin_shows_anybody(half_moved: Product) -> None:
    """moto shows everything to anybody; what matters is that the question goes out without our signature."""
    half_moved.origin.received.clear()
    listing = await listed(half_moved, by=None)
    assert listing.keys == ["a", "b", "d", "e", "f/1", "f/2", "g/1"]
    assert b"authorization" not in half_moved.origin.received.lower()
    await listed(half_moved)
    assert b"authorization" in half_moved.origin.received.lower()


@contextlib.asynccontextmanager
async def answering(tmp_path: Path, answer: bytes) -> AsyncIterator[Product]:
    """The product with an origin that answers every request alike."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener, running_product(tmp_path, listener.sockets[0].getsockname()[1]) as product:
        yield product


def http(status: int, body: bytes, headers: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\nconnection: close\r\n{headers}\r\n".encode() + body


def error(status: int, code: str, headers: str = "") -> bytes:
    return http(status, f"<Error><Code>{code}</Code></Error>".encode(), headers)


PAGE = b"<ListBucketResult><IsTruncated>%s</IsTruncated>%s</ListBucketResult>"


@pytest.mark.parametrize(
    ("origin", "known", "stranger"),
    [
        (error(403, "AccessDenied"), "AccessDenied", "AccessDenied"),
        (error(403, "InvalidAccessKeyId"), "ServiceUnavailable", "AccessDenied"),
        (error(404, "NoSuchBucket"), "NoSuchBucket", "NoSuchBucket"),
        (error(503, "SlowDown", "retry-after: 7\r\n"), "ServiceUnavailable", "ServiceUnavailable"),
        (error(500, "InternalError"), "ServiceUnavailable", "ServiceUnavailable"),
        (error(301, "PermanentRedirect"), "ServiceUnavailable", "ServiceUnavailable"),
        (error(400, "InvalidArgument"), "InvalidArgument", "InvalidArgument"),
        (http(200, b"<html>"), "ServiceUnavailable", "ServiceUnavailable"),
        (http(200, PAGE % (b"true", b"")), "ServiceUnavailable", "ServiceUnavailable"),
        (http(200, b" " * (9 << 20)), "ServiceUnavailable", "ServiceUnavailable"),
        (
            b"HTTP/1.1 200 X\r\ncontent-length: 1000\r\n\r\n<ListBucketResult>",
            "ServiceUnavailable",
            "ServiceUnavailable",
        ),
    ],
    ids=["403", "our key", "404", "503", "500", "301", "400", "html", "truncated, empty", "too long", "broken off"],
)
async def test_a_listing_that_is_not_complete_is_not_given_out(
    tmp_path: Path, quick_retries: None, origin: bytes, known: str, stranger: str
) -> None:
    async with answering(tmp_path, origin) as product:
        for by, code in ((USER, known), (None, stranger)):
            for v2 in (True, False):
                answer = await ask(product, v2=v2, by=by)
                assert answer.code == code
                if code == "ServiceUnavailable":
                    assert int(answer.headers["retry-after"]) > 0


async def test_the_origins_retry_after_is_passed_on(tmp_path: Path, quick_retries: None) -> None:
    async with answering(tmp_path, error(503, "SlowDown", "retry-after: 7\r\n")) as product:
        assert int((await ask(product)).headers["retry-after"]) >= 7


async def test_an_origin_that_is_down_is_said_and_not_taken_for_an_empty_bucket(half_moved: Product) -> None:
    half_moved.origin.down = True
    answer = await ask(half_moved)
    assert (answer.status_code, answer.code) == (503, "ServiceUnavailable")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("list-type=2&max-keys=-1", "InvalidArgument"),
        ("list-type=2&max-keys=x", "InvalidArgument"),
        ("max-keys=99999999999999999999", "InvalidArgument"),
        ("list-type=2&encoding-type=base64", "InvalidArgument"),
        ("list-type=2&continuation-token=garbage", "InvalidArgument"),
        ("list-type=2&continuation-token=", "InvalidArgument"),
        ("list-type=2&prefix=%FF", "InvalidURI"),
        ("list-type=2&prefix=a%00", "InvalidArgument"),
        ("list-type=2&prefix=a&prefix=b", "InvalidArgument"),
        (f"list-type=2&prefix={'a' * 1025}", "KeyTooLongError"),
        (f"marker={'a' * 1025}", "KeyTooLongError"),
    ],
)
async def test_bad_input_is_refused_before_the_origin_is_asked(product: Product, query: str, code: str) -> None:
    answer = await product.send("GET", "", query=query)
    assert (answer.status_code, answer.code) == (400, code)
    assert not product.origin.requests


async def test_zero_keys(half_moved: Product) -> None:
    half_moved.origin.requests.clear()
    listing = await listed(half_moved, max_keys=0)
    assert (listing.keys, listing.truncated, listing.text("KeyCount")) == ([], False, "0")
    assert not half_moved.origin.requests
    await ask(half_moved, max_keys=0, by=None)
    assert half_moved.origin.requests, "whether a stranger may list is the origin's to say"


async def test_more_keys_than_fit_one_page(product: Product) -> None:
    listing = await listed(product, max_keys=5000)
    assert listing.text("MaxKeys") == "1000"


async def test_a_presigned_listing(half_moved: Product) -> None:
    answer = await half_moved.send_presigned("GET", "", query="list-type=2&prefix=f%2F")
    assert Listing(answer).keys == ["f/1", "f/2"]
    assert not any("X-Amz-" in target for _, target in half_moved.origin.requests)
