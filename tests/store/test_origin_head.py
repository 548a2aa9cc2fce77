"""What the origin tells of an object without its bytes."""

from __future__ import annotations

import pytest

from addon.s3.tags import tagging_xml
from addon.store.origin_head import head_at_origin, known_tags
from addon.store.ports import OriginChanged, OriginRefused, OriginUnavailable
from addon.store.records import ObjectRecord, Provenance
from tests.origin.raw_server import answer, origin_at, raw_server

TOLD = 'ETag: "abc"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n'


def head(headers: str = TOLD, length: str = "Content-Length: 7\r\n") -> bytes:
    return f"HTTP/1.1 200 OK\r\n{headers}{length}\r\n".encode()


def record(**tags: str) -> ObjectRecord:
    return ObjectRecord("b", "k", 1, 7, "abc", 0, Provenance.COPIED_FROM_ORIGIN, False, tags=tags)


async def test_an_object_is_told_with_its_checksums() -> None:
    given = head(TOLD + "x-amz-checksum-crc32: AAAAAA==\r\nx-amz-meta-a: 1\r\n")
    async with raw_server(given) as server, origin_at(server.port) as origin:
        about = await head_at_origin(origin, "a b")
        (asked,) = server.received
    assert about is not None
    assert (about.size, about.etag, about.headers, about.checksums) == (
        7,
        "abc",
        {"x-amz-meta-a": "1"},
        {"crc32": "AAAAAA=="},
    )
    assert (asked.method, asked.target, asked.header("x-amz-checksum-mode")) == ("HEAD", b"/bucket/a%20b", b"ENABLED")


async def test_no_object_is_none() -> None:
    async with raw_server(answer(404)) as server, origin_at(server.port) as origin:
        assert await head_at_origin(origin, "k") is None


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (answer(403), OriginRefused),
        (answer(301), OriginRefused),
        (answer(500), OriginUnavailable),
        (answer(503), OriginUnavailable),
        (head("Content-Type: text/html\r\n"), OriginRefused),
        (head(length=""), OriginRefused),
    ],
)
async def test_everything_else_tells_nothing(given: bytes, error: type[Exception]) -> None:
    async with raw_server(given) as server, origin_at(server.port) as origin:
        with pytest.raises(error):
            await head_at_origin(origin, "k")


ONE = answer(200, "", tagging_xml({"a": "1"}))


@pytest.mark.parametrize(
    ("here", "count", "given", "tags"),
    [
        ({}, 0, answer(500), {}),
        ({}, 1, ONE, {"a": "1"}),
        ({"a": "1"}, 1, ONE, {"a": "1"}),
        # A server that does not tell how many there are:
        ({"a": "1"}, 0, ONE, {"a": "1"}),
        ({"a": "1"}, 0, answer(200, "", tagging_xml({})), {}),
        ({"a": "1"}, 0, answer(404), {}),
        # They may not be read:
        ({"a": "1"}, 1, answer(403), None),
    ],
)
async def test_tags_are_asked_for_where_there_are_or_should_be_some(
    here: dict[str, str], count: int, given: bytes, tags: dict[str, str] | None
) -> None:
    told = TOLD + (f"x-amz-tagging-count: {count}\r\n" if count else "")
    async with raw_server(head(told)) as server, origin_at(server.port) as origin:
        about = await head_at_origin(origin, "k")
    assert about is not None
    async with raw_server(given) as server, origin_at(server.port) as origin:
        assert await known_tags(origin, record(**here), about) == tags


async def test_tags_that_change_meanwhile_are_asked_for_again() -> None:
    async with raw_server(head(TOLD + "x-amz-tagging-count: 2\r\n")) as server, origin_at(server.port) as origin:
        about = await head_at_origin(origin, "k")
    assert about is not None
    async with raw_server(ONE) as server, origin_at(server.port) as origin:
        with pytest.raises(OriginChanged):
            await known_tags(origin, record(), about)
