"""The tags that come along with a copy: all of them as they are at the origin, or no copy."""

from __future__ import annotations

import pytest

from addon.s3.tags import TAGGING_BYTES_MAX, tagging_xml
from addon.store.origin_tags import tags_at_origin
from addon.store.ports import OriginChanged, OriginRefused, OriginUnavailable
from tests.origin.raw_server import answer, origin_at, raw_server

TAGS = {"aws:a": "1", "b": "x" * 300}
WHOLE = answer(200, "", tagging_xml(TAGS))


async def test_all_tags_are_read_as_they_are() -> None:
    async with raw_server(WHOLE) as server, origin_at(server.port) as origin:
        assert await tags_at_origin(origin, "a b/c", count=2) == TAGS
        (asked,) = server.received
        assert (asked.method, asked.target) == ("GET", b"/bucket/a%20b/c?tagging")


async def test_none_are_not_asked_for() -> None:
    async with raw_server(WHOLE) as server, origin_at(server.port) as origin:
        assert await tags_at_origin(origin, "k", count=0) == {}
        assert server.received == []


@pytest.mark.parametrize(
    ("answered", "count", "failure"),
    [
        (WHOLE, 1, OriginChanged),
        (WHOLE, 3, OriginChanged),
        (answer(404), 2, OriginChanged),
        (answer(403), 2, OriginRefused),
        (answer(301), 2, OriginRefused),
        (answer(429), 2, OriginUnavailable),
        (answer(503), 2, OriginUnavailable),
        (WHOLE[:-1], 2, OriginUnavailable),
        (answer(200, "", b"<html>login</html>"), 2, OriginRefused),
        (answer(200, "", b"&" * (TAGGING_BYTES_MAX + 1)), 2, OriginRefused),
        (answer(200, "", b'<!DOCTYPE a [<!ENTITY b "c">]>' + tagging_xml(TAGS)), 2, OriginRefused),
    ],
)
async def test_what_cannot_be_read_fails(answered: bytes, count: int, failure: type[Exception]) -> None:
    async def once(_received: object, _reader: object, writer: object) -> None:
        writer.write(answered)  # type: ignore[attr-defined]
        writer.close()  # type: ignore[attr-defined]

    async with raw_server(once) as server, origin_at(server.port) as origin:
        with pytest.raises(failure) as raised:
            await tags_at_origin(origin, "k", count=count)
        assert type(raised.value) is failure
