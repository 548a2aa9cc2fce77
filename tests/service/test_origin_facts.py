"""What the origin holds under a key: each answer means one thing, and none is guessed."""

from __future__ import annotations

import pytest

from addon.s3.errors import S3Error
from addon.service.origin_facts import facts_at_origin
from addon.store.conditions import ObjectFacts
from addon.store.ports import OriginUnavailable
from tests.origin.raw_server import answer, origin_at, raw_server
from tests.service.fixtures import OriginServer
from tests.service.product import Product

DESCRIBED = 'ETag: "abc-2"\r\nLast-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\n'


def head(status: int, headers: str = "", length: int = 7) -> bytes:
    return f"HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\n\r\n".encode()


async def test_an_object() -> None:
    async with raw_server(head(200, DESCRIBED)) as server, origin_at(server.port) as origin:
        assert await facts_at_origin({"b": origin}, "b", "a b/c") == ObjectFacts("abc-2", 7, 1_700_000_000)
    (received,) = server.received
    assert (received.method, received.target) == ("HEAD", b"/bucket/a%20b/c")
    assert received.header("authorization")


async def test_no_object() -> None:
    async with raw_server(head(404)) as server, origin_at(server.port) as origin:
        assert await facts_at_origin({"b": origin}, "b", "k") is None


async def test_no_origin() -> None:
    assert await facts_at_origin({"b": None}, "b", "k") is None


async def test_an_origin_that_does_not_tell() -> None:
    """Who may not list a bucket gets 403 for what is not there, and for what may not be read."""
    async with raw_server(head(403)) as server, origin_at(server.port) as origin:
        with pytest.raises(S3Error) as refused:
            await facts_at_origin({"b": origin}, "b", "k")
    assert refused.value.code == "AccessDenied"
    assert "s3:ListBucket" in refused.value.message


@pytest.mark.parametrize(
    "answered",
    [
        head(500),
        head(503),
        head(400),
        head(301, "Location: http://elsewhere/\r\n"),
        head(206, DESCRIBED),
        head(200),
        head(200, DESCRIBED.replace('"abc-2"', 'W/"abc"')),
        answer(200, DESCRIBED).replace(b"Content-Length: 0\r\n", b""),
    ],
)
async def test_whatever_else_it_says_is_no_answer(answered: bytes) -> None:
    async with raw_server(answered) as server, origin_at(server.port) as origin:
        with pytest.raises(OriginUnavailable):
            await facts_at_origin({"b": origin}, "b", "k")


async def test_a_conditional_write_is_told_why_the_origin_does_not_say(
    product: Product, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def denied(*_: object) -> None:
        raise S3Error("AccessDenied", "needs s3:ListBucket")

    monkeypatch.setattr("addon.service.conditions.facts_at_origin", denied)
    refused = await product.send("PUT", "k", headers=[("if-none-match", "*")], body=b"x")
    assert (refused.status_code, "s3:ListBucket" in refused.text) == (403, True)
    assert product.sends() == 0
