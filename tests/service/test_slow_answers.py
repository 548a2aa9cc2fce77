"""Copies that take long: the client hears something meanwhile, and is told in the body how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator
from xml.etree.ElementTree import fromstring

import pytest

from addon.s3.errors import S3Error
from addon.service.request import Answer, S3Request
from addon.service.slow_answers import answer_when_done
from addon.store.ports import OriginUnavailable
from tests.service.fixtures import OriginServer
from tests.service.product import HOST, IMAGES, USER, Product, eventually, target_of
from tests.service.signing import EMPTY_SHA256, sign
from tests.service.uploads import begin, by_boto
from tests.service.wire import wire_to

DOCUMENT = b'<?xml version="1.0" encoding="UTF-8"?>\n<Done/>'
BODY = random.Random(61).randbytes(300_000)


async def never() -> dict[str, object]:
    raise AssertionError("nothing is received")


REQUEST = S3Request("ID", "PUT", "/b/k", "", [], never)


class Work:
    """Ends when it is told to, with a document or an exception."""

    def __init__(self, outcome: bytes | Exception) -> None:
        self.outcome, self.end, self.cancelled = outcome, asyncio.Event(), False

    async def __call__(self) -> bytes:
        try:
            await self.end.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


async def slow_answer(work: Work) -> Answer:
    answer = await answer_when_done(REQUEST, work, patience_s=0.0, white_space_s=0.001)
    assert answer.status == 200
    assert dict(answer.headers) == {"content-type": "application/xml"}, "its length is not known"
    return answer


async def test_what_ends_in_time_keeps_its_status() -> None:
    for outcome in (DOCUMENT, S3Error("NoSuchKey", "gone"), OriginUnavailable("down")):
        work = Work(outcome)
        work.end.set()
        if isinstance(outcome, bytes):
            answer = await answer_when_done(REQUEST, work, patience_s=60.0)
            assert answer == Answer(200, [("content-type", "application/xml"), ("content-length", "46")], DOCUMENT)
        else:
            with pytest.raises(type(outcome)):
                await answer_when_done(REQUEST, work, patience_s=60.0)


@pytest.mark.parametrize(
    ("outcome", "root", "code"),
    [
        (DOCUMENT, "Done", None),
        (S3Error("NoSuchKey", "gone"), "Error", "NoSuchKey"),
        (OriginUnavailable("down"), "Error", "ServiceUnavailable"),
        (ZeroDivisionError("a secret"), "Error", "InternalError"),
    ],
)
async def test_what_takes_long_ends_in_the_body(outcome: bytes | Exception, root: str, code: str | None) -> None:
    work = Work(outcome)
    answer = await slow_answer(work)
    assert not isinstance(answer.body, bytes)
    body, spaces = b"", 0
    async for piece in answer.body:
        body += piece
        spaces += piece == b" "
        if spaces == 3:
            work.end.set()
    assert spaces >= 3
    assert body.count(b"<?xml") == 1, "one declaration, before the white space"
    assert body.startswith(b"<?xml")
    element = fromstring(body)
    assert (element.tag, element.findtext("Code")) == (root, code)
    assert element.findtext("RequestId") == (None if code is None else "ID")
    assert b"secret" not in body


async def test_a_client_that_leaves_ends_the_work() -> None:
    work = Work(DOCUMENT)
    answer = await slow_answer(work)
    assert not isinstance(answer.body, bytes)
    async with contextlib.aclosing(answer.body) as pieces:
        await anext(pieces)
        await anext(pieces)
    assert work.cancelled


async def test_a_request_that_is_cancelled_ends_the_work() -> None:
    work = Work(DOCUMENT)
    answering = asyncio.create_task(answer_when_done(REQUEST, work, patience_s=60.0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    answering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answering
    assert work.cancelled


@contextlib.asynccontextmanager
async def slow_origin(
    product: Product, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    """`source` is only at the origin, which gives its beginning and waits; a slow answer begins at once."""
    origin_server.put("source", BODY)
    monkeypatch.setattr("addon.service.slow_answers.PATIENCE_S", 0.05)
    monkeypatch.setattr("addon.service.slow_answers.WHITE_SPACE_S", 0.01)
    product.origin.answer_bytes, _ = 60_000, product.origin.answers.clear()
    try:
        yield
    finally:
        product.origin.answers.set()


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("part", [False, True])
async def test_a_copy_of_a_slow_origin(
    product: Product, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch, part: bool, broken: bool
) -> None:
    query = f"partNumber=1&uploadId={(await begin(product, 'k')).upload_id}" if part else ""
    headers = [("x-amz-copy-source", f"/{IMAGES}/source")]
    target = target_of(IMAGES, "k", query)
    signed = sign(USER, "PUT", target, HOST, headers, payload=EMPTY_SHA256).headers
    async with slow_origin(product, origin_server, monkeypatch), wire_to(product.address) as wire:
        await wire.head("PUT", target, [*signed, ("content-length", "0"), ("connection", "close")])
        head = await wire.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        begun = await wire.reader.readuntil(b"?>")
        await wire.reader.readuntil(b" ")
        product.origin.down = broken
        product.origin.answers.set()
        rest = await wire.reader.read()
    text = re.sub(rb"\r\n[0-9a-f]+\r\n|[0-9a-f]+\r\n", b"", begun.partition(b"\r\n")[2] + rest).decode()
    product.origin.down = False
    if broken:
        assert "<Error><Code>ServiceUnavailable</Code>" in text
        assert await product.state("k") is None
    else:
        assert ("<CopyPartResult" if part else "<CopyObjectResult") in text
        if not part:
            assert (await product.send("GET", "k")).content == BODY
    await eventually(lambda: product.spooled() == [])


async def test_sdks_see_how_a_slow_copy_ended(
    product: Product, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with slow_origin(product, origin_server, monkeypatch):
        copying = asyncio.create_task(
            by_boto(product, lambda s3: s3.copy_object(Bucket=IMAGES, Key="k", CopySource=f"{IMAGES}/source"))
        )
        await eventually(lambda: product.origin.gets_of("source") == 1)
        product.origin.answers.set()
        made = await copying
    assert made["CopyObjectResult"]["ETag"] == (await product.send("HEAD", "k")).headers["etag"]


async def test_a_client_that_leaves_a_slow_copy_leaves_nothing_behind(
    product: Product, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = target_of(IMAGES, "k")
    headers = [("x-amz-copy-source", f"/{IMAGES}/source")]
    signed = sign(USER, "PUT", target, HOST, headers, payload=EMPTY_SHA256).headers
    async with slow_origin(product, origin_server, monkeypatch):
        async with wire_to(product.address) as wire:
            await wire.head("PUT", target, [*signed, ("content-length", "0")])
            await wire.reader.readuntil(b"?>")
            wire.reset()
        await eventually(lambda: product.spooled() == [])
        await eventually(lambda: not any("copied" in repr(task.get_coro()) for task in asyncio.all_tasks()))
    assert await product.state("k") is None
