"""Whatever fails inside, the answer is an S3 error, nothing is stored, and no secret is told (attacks 29 and 33)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest

import addon.service.body
import addon.service.conditions
import addon.service.objects
import addon.service.reads
import addon.sigv4
from addon.s3.aws_chunked import AwsChunkedDecoder
from addon.s3.checksums import BodyDigests
from addon.service.authorize import Authorizer
from addon.service.body import VerifiedBody
from addon.service.buckets import Directory
from addon.store import layout
from addon.store.copier import Copier
from addon.store.ports import IndexUnavailable, OriginUnavailable, TelegramUnavailable
from addon.store.reader import Reader
from addon.store.records import Tombstone
from addon.store.writer import Upload
from addon.telegram.client import BotApi
from addon.telegram.documents import TelegramDocuments
from tests.service.fixtures import OriginServer
from tests.service.product import HOST, IMAGES, SECRETS, USER, Answer, Product, target_of
from tests.service.signing import SIGNED_CHUNKS, aws_chunked, presign, sign
from tests.standin_fixture import BOT_A

OLD = b"the object that was there before"
NEW = b"n" * 5000


class InjectedError(Exception):
    """What nobody foresaw."""


async def put(product: Product) -> Answer:
    return await product.send("PUT", "k", body=NEW)


async def put_chunked(product: Product) -> Answer:
    target = target_of(IMAGES, "k")
    headers = [("x-amz-decoded-content-length", str(len(NEW)))]
    signed = sign(USER, "PUT", target, HOST, headers, payload=SIGNED_CHUNKS)
    body = b"".join(aws_chunked(signed, [NEW], form="signed"))
    return await product.send_as_is("PUT", target, signed.headers, body)


async def delete(product: Product) -> Answer:
    return await product.send("DELETE", "k")


async def get(product: Product) -> Answer:
    return await product.send("GET", "k")


async def get_miss(product: Product) -> Answer:
    return await product.send("GET", "at-origin")


async def tag(product: Product) -> Answer:
    return await product.send("PUT", "at-origin", query="tagging", body=b"<Tagging/>")


Request = Callable[[Product], Any]

# What is broken, as (owner, attribute), and the requests that come by there.
STAGES: dict[str, tuple[Any, str, tuple[Request, ...]]] = {
    "directory": (Directory, "find", (put, delete, get, get_miss, tag)),
    "identify": (Authorizer, "identify", (put, delete, get, get_miss, tag)),
    "sigv4.verify": (addon.sigv4, "verify", (put, put_chunked, delete, get, get_miss, tag)),
    "header parsing": (addon.service.objects, "new_object_headers", (put, put_chunked)),
    "conditions": (addon.service.conditions, "wanted_by_write", (put, put_chunked)),
    "conditions of deletes": (addon.service.conditions, "wanted_by_delete", (delete,)),
    "body": (VerifiedBody, "__init__", (put, put_chunked, tag)),
    "decoder.feed": (AwsChunkedDecoder, "feed", (put_chunked,)),
    "decoder.finish": (AwsChunkedDecoder, "finish", (put_chunked,)),
    "body.check": (VerifiedBody, "check", (put, put_chunked, tag)),
    "digests.update": (BodyDigests, "update", (put, put_chunked, tag)),
    "upload.write": (Upload, "write", (put, put_chunked)),
    "upload.seal": (Upload, "seal", (put, put_chunked)),
    "upload.finish": (Upload, "finish", (put, put_chunked)),
    "spool write": (Upload, "_keep_in_thread", (put, put_chunked)),
    "padding": (layout, "padding_bytes", (put, put_chunked)),
    "documents.send": (TelegramDocuments, "send", (put, put_chunked)),
    "answer_read": (addon.service.reads, "answer_read", (get,)),
    "reader": (Reader, "in_memory", (get,)),
}
INDEX_STAGES: dict[str, tuple[Request, ...]] = {
    "key_state": (get, get_miss, tag),
    "put_object": (put, put_chunked),
    "delete_object": (delete,),
    "begin_origin_write": (tag,),
    "end_origin_write": (tag,),
}
ERRORS = (
    InjectedError("nobody foresaw this"),
    IndexUnavailable("the disk is full"),
    TelegramUnavailable("too late", retry_after_s=3),
    OriginUnavailable("no answer"),
    OSError(28, "No space left on device"),
    KeyError("k"),
)


@pytest.fixture
async def written(product: Product, origin_server: OriginServer) -> Product:
    assert (await product.send("PUT", "k", body=OLD)).status_code == 200
    origin_server.put("at-origin", b"the origin's")
    return product


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    for name in ("addon", "httpx", "httpcore", "uvicorn", "uvicorn.error", "asyncio", "sqlalchemy"):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


def assert_refused(stage: str, answer: Answer) -> None:
    assert answer.status_code in (500, 503), (stage, answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/xml", stage
    assert answer.code in ("InternalError", "ServiceUnavailable", "SlowDown"), (stage, answer.text)
    assert answer.headers["x-amz-request-id"] in answer.text


def assert_no_secret(text: str, *more: str) -> None:
    for secret in (*SECRETS, *more):
        assert secret not in text


async def assert_as_it_was(product: Product, stage: str) -> None:
    got = await get(product)
    assert (got.status_code, got.content) == (200, OLD), stage
    assert (await product.index.counts(IMAGES))["objects"] == 1, stage
    assert not isinstance(await product.state("k"), Tombstone)
    assert product.spooled() == []


async def test_an_exception_at_any_stage_changes_nothing(
    written: Product, monkeypatch: pytest.MonkeyPatch, everything_logged: pytest.LogCaptureFixture
) -> None:
    index_stages = {f"index.{name}": (type(written.index), name, asks) for name, asks in INDEX_STAGES.items()}
    for stage, (owner, attribute, requests) in {**STAGES, **index_stages}.items():
        for error in ERRORS:
            with monkeypatch.context() as broken:
                broken.setattr(owner, attribute, raising(error))
                for request in requests:
                    at_origin = len(written.origin.requests)
                    assert_refused(f"{stage}: {request.__name__}: {error!r}", await request(written))
                    reached_origin = len(written.origin.requests) - at_origin
                    assert reached_origin == (1 if stage == "index.end_origin_write" else 0), stage
            await assert_as_it_was(written, stage)
    assert_no_secret(everything_logged.text, "Signature=")
    assert "Traceback" in everything_logged.text


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


async def test_a_copy_that_cannot_be_ordered(written: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk of the index does not stop reads of what only the origin has; a defect does not become a success."""
    tried = asyncio.Event()

    async def fail(*_: object, **__: object) -> None:
        tried.set()
        raise IndexUnavailable("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(type(written.index), "enqueue_copies", fail)
        assert (await get_miss(written)).content == b"the origin's"
        await asyncio.wait_for(tried.wait(), 10)
    assert await written.jobs() == []
    with monkeypatch.context() as broken:
        broken.setattr(Copier, "order", raising(InjectedError("a defect")))
        assert_refused("copier.order", await get_miss(written))
    assert (await get_miss(written)).content == b"the origin's"
    await written.copied("at-origin")


@pytest.mark.parametrize("error", [InjectedError("a defect"), ValueError("not covered")])
async def test_a_read_that_fails_before_its_first_byte_is_an_error_and_later_a_broken_transfer(
    written: Product, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    body = bytes(range(256)) * 8192
    assert (await written.send("PUT", "large", body=body)).status_code == 200
    whole = Reader.read

    async def fail_at_once(*_: object) -> Any:
        raise error
        yield b""

    async def fail_later(*arguments: Any) -> Any:
        async for piece in whole(*arguments):
            yield piece
            raise error

    monkeypatch.setattr(Reader, "read", fail_at_once)
    assert_refused("reader.read", await written.send("GET", "large"))
    monkeypatch.setattr(Reader, "read", fail_later)
    with pytest.raises(httpx.RemoteProtocolError):
        await written.send("GET", "large")


async def test_a_traceback_holds_no_secret(
    written: Product, monkeypatch: pytest.MonkeyPatch, everything_logged: pytest.LogCaptureFixture
) -> None:
    """The deepest place that knows the bot token, and requests that bear a presigned query."""
    target = presign(USER, "PUT", target_of(IMAGES, "presigned"), HOST)
    signature = target.rpartition("=")[2]
    with monkeypatch.context() as broken:
        broken.setattr(BotApi, "exchange", raising(InjectedError("inside the client")))
        answers = [await written.send_as_is("PUT", target, [("host", HOST)], NEW)]
    answers.append(await written.send_as_is("PUT", target[:-4] + "0000", [("host", HOST)], NEW))
    refuse = {"match": {"method": "sendDocument"}, "times": None, "action": {"kind": "unauthorized"}}
    written.standin.control.faults(refuse)
    answers.append(await written.send_as_is("PUT", target, [("host", HOST)], NEW))
    assert [answer.status_code for answer in answers] == [500, 403, 503]
    assert "inside the client" in everything_logged.text
    for text in (everything_logged.text, *(one.text for one in answers), *(repr(one.headers) for one in answers)):
        assert_no_secret(text, signature, "X-Amz-Signature", BOT_A)


async def test_errors_name_the_request_and_a_head_has_no_body(product: Product) -> None:
    refused = await product.send("GET", "k", by=None)
    assert (refused.status_code, refused.code) == (403, "AccessDenied")
    assert f"<RequestId>{refused.headers['x-amz-request-id']}</RequestId>" in refused.text
    head = await product.send("HEAD", "k", by=None)
    assert (head.status_code, head.content) == (403, b"")
    nowhere = await product.send_as_is("GET", "/nowhere/k", [("host", HOST)])
    assert (nowhere.status_code, nowhere.code) == (404, "NoSuchBucket")
    for host in ("evil.example", "s3.test.evil.example", "169.254.169.254", ""):
        stranger = await product.send_as_is("GET", "/images/k", [("host", host)])
        assert (stranger.status_code, stranger.code) == (404, "NoSuchBucket")
    assert product.origin.requests == []
