"""Negative answers: given again for a while, to the same kind of asker, never past a change of the key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mitmproxy import http
from mitmproxy.test import tflow, tutils

from addon.s3.operations import parse_target
from addon.service import absent
from addon.service.absent import AbsentKeys, is_plain_read
from addon.store.listed import Deletion
from addon.store.ports import WriteOutcome
from tests.origin.raw_server import Received, answer, raw_server
from tests.service.fixtures import OriginServer
from tests.service.product import HOST, IMAGES, USER, Product, eventually, running_product

TTL_S = 30.0
SETTINGS = f"negative_ttl_s = {TTL_S}"
XML_404 = answer(404, "Content-Type: application/xml\r\n", b"<Error><Code>NoSuchKey</Code></Error>")


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


# --- What is remembered


def learnt(keys: AbsentKeys, key: str = "k", *, anonymous: bool = False, status: int = 404, **headers: str) -> bool:
    """Ask and be answered; whether it is known then."""
    told = [(name.replace("_", "-"), value) for name, value in headers.items()]
    keys.answered(keys.question(), "b", key, anonymous=anonymous, status=status, headers=told)
    return keys.is_known("b", key, anonymous=anonymous)


def test_an_answer_counts_for_its_asker_and_its_time() -> None:
    clock = Clock()
    keys = AbsentKeys(lambda _: TTL_S, monotonic_s=clock)
    assert learnt(keys)
    assert not keys.is_known("b", "k", anonymous=True)
    assert not keys.is_known("b", "k2", anonymous=False)
    assert not keys.is_known("b2", "k", anonymous=False)
    clock.now_s += TTL_S - 0.001
    assert keys.is_known("b", "k", anonymous=False)
    clock.now_s += 0.001
    assert not keys.is_known("b", "k", anonymous=False)


@pytest.mark.parametrize("status", [200, 206, 304, 301, 400, 403, 410, 412, 429, 500, 503])
def test_nothing_but_a_404_is_remembered(status: int) -> None:
    assert not learnt(AbsentKeys(lambda _: TTL_S), status=status)


@pytest.mark.parametrize(
    ("headers", "remembered"),
    [
        ({}, True),
        ({"content_type": "application/xml"}, True),
        ({"content_type": "text/xml; charset=utf-8"}, True),
        ({"content_type": "text/html"}, False),
        ({"x_amz_delete_marker": "true"}, False),
        ({"x_amz_version_id": "v1"}, False),
    ],
)
def test_a_404_that_ours_would_not_equal_is_not_remembered(headers: dict[str, str], remembered: bool) -> None:
    assert learnt(AbsentKeys(lambda _: TTL_S), **headers) is remembered


def test_it_is_off_by_default_and_can_be_turned_off() -> None:
    ttl_s = [0.0]
    keys = AbsentKeys(lambda _: ttl_s[0])
    assert not learnt(keys)
    ttl_s[0] = TTL_S
    assert learnt(keys)
    ttl_s[0] = 0.0
    assert not keys.is_known("b", "k", anonymous=False)


def test_the_answers_used_longest_ago_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(absent, "ANSWERS_MAX", 3)
    keys = AbsentKeys(lambda _: TTL_S)
    for key in "abc":
        learnt(keys, key)
    assert keys.is_known("b", "a", anonymous=False)
    learnt(keys, "d")
    assert [key for key in "abcd" if keys.is_known("b", key, anonymous=False)] == ["a", "c", "d"]


STEPS = st.lists(st.tuples(st.sampled_from(["ask", "answer", "change", "read"]), st.sampled_from("ab")), max_size=40)


@given(STEPS, st.integers(1, 3))
@example([("ask", "a"), ("change", "a"), ("change", "b"), ("answer", "a")], 1)
def test_never_past_a_change(steps: list[tuple[str, str]], changes_max: int) -> None:
    """Whatever is known was asked after the last change of its key."""
    keys = AbsentKeys(lambda _: TTL_S, monotonic_s=lambda: 0.0)
    asked: dict[str, list[tuple[int, int]]] = {"a": [], "b": []}
    changed = {"a": -1, "b": -1}
    newest_answer = {"a": -1, "b": -1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(absent, "CHANGES_MAX", changes_max)
        for number, (step, key) in enumerate(steps):
            if step == "ask":
                asked[key].append((number, keys.question()))
            elif step == "answer" and asked[key]:
                at, question = asked[key].pop(0)
                keys.answered(question, "b", key, anonymous=False, status=404, headers=[])
                newest_answer[key] = max(newest_answer[key], at)
            elif step == "change":
                changed[key] = number
                keys.changed("b", key)
            if keys.is_known("b", key, anonymous=False):
                assert newest_answer[key] > changed[key]


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "plain"),
    [
        ("GET", "/k", "", [], True),
        ("HEAD", "/k", "", [("range", "bytes=0-1"), ("if-none-match", "*")], True),
        ("GET", "/k", "v=3", [], True),
        ("GET", "/k", "X-Amz-Signature=0&X-Amz-Expires=9", [], True),
        ("GET", "/k", "response-content-type=a%2Fb", [], False),
        ("GET", "/k", "%72esponse-content-type=a", [], False),
        ("GET", "/k", "versionId=1", [], False),
        ("GET", "/k", "partNumber=1", [], False),
        ("GET", "/k", "tagging", [], False),
        ("GET", "/", "", [], False),
        ("PUT", "/k", "", [], False),
        ("GET", "/k", "", [("x-amz-expected-bucket-owner", "1")], False),
    ],
)
def test_what_depends_on_more_than_the_key_is_left_to_the_origin(
    method: str, path: str, query: str, headers: list[tuple[str, str]], plain: bool
) -> None:
    assert is_plain_read(parse_target(method, "b", path, query, headers), query, headers) is plain


# --- The whole product


@pytest.fixture
async def product(tmp_path: Path, origin_server: OriginServer, quick_retries: None) -> AsyncIterator[Product]:
    async with running_product(tmp_path, origin_server.port, images=SETTINGS) as running:
        yield running


def asked_about(product: Product, key: str) -> int:
    return sum(target == f"/images-there/{key}" for _, target in product.origin.requests)


async def test_verified_callers_are_told_again_without_asking(product: Product) -> None:
    first = await product.send("GET", "k")
    assert (first.status_code, first.code) == (404, "NoSuchKey")
    again = [await product.send(method, "k") for method in ("GET", "HEAD", "GET")]
    again.append(await product.send_presigned("GET", "k"))
    assert asked_about(product, "k") == 1
    assert [one.status_code for one in again] == [404] * 4
    assert again[1].content == b""
    for one in (again[0], again[2], again[3]):
        assert (one.code, one.headers["content-type"]) == ("NoSuchKey", "application/xml")
        assert "<Key>k</Key>" in one.text
        assert f"<RequestId>{one.headers['x-amz-request-id']}</RequestId>" in one.text
    assert len({one.headers["x-amz-request-id"] for one in again}) == 4


async def put(product: Product) -> None:
    assert (await product.send("PUT", "k", body=b"mine")).status_code == 200


async def put_and_delete(product: Product) -> None:
    await put(product)
    assert (await product.send("DELETE", "k")).status_code == 204


async def copy_object(product: Product) -> None:
    await product.send("PUT", "source", body=b"mine")
    assert (await product.send("PUT", "k", headers=[("x-amz-copy-source", f"/{IMAGES}/source")])).status_code == 200


async def complete(product: Product) -> None:
    begun = await product.send("POST", "k", query="uploads")
    upload_id = begun.text.partition("<UploadId>")[2].partition("<")[0]
    etag = (await product.send("PUT", "k", query=f"partNumber=1&uploadId={upload_id}", body=b"mine")).headers["etag"]
    body = (
        f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    )
    completed = await product.send("POST", "k", query=f"uploadId={upload_id}", body=body.encode())
    assert completed.status_code == 200


WRITES = [put, put_and_delete, copy_object, complete]


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
async def test_a_write_here_ends_it_also_when_the_key_is_forgotten_later(
    product: Product, origin_server: OriginServer, write: Callable[[Product], Any]
) -> None:
    """The index knows the key then; the answer must not come back when a write past us makes it unknown again."""
    assert (await product.send("GET", "k")).status_code == 404
    await write(product)
    after_write = await product.send("GET", "k")
    assert after_write.content == b"mine" or write is put_and_delete
    origin_server.put("k", b"past us")
    await product.index.supersede(IMAGES, "k")
    assert (await product.send("GET", "k")).content == b"past us"


async def test_many_deletes_end_it(product: Product, origin_server: OriginServer) -> None:
    for key in ("k", "k2"):
        assert (await product.send("GET", key)).status_code == 404
    await product.index.delete_objects(IMAGES, [Deletion("k", None), Deletion("k2", None)], now_s=1)
    for key in ("k", "k2"):
        origin_server.put(key, b"past us")
        await product.index.supersede(IMAGES, key)
        assert (await product.send("GET", key)).content == b"past us"


async def test_a_write_past_us_ends_it_at_its_beginning_and_at_its_end(
    product: Product, origin_server: OriginServer
) -> None:
    """A reader who asks while the write is under way is told 404, rightly; that is forgotten when it ends."""
    assert (await product.send("GET", "k")).status_code == 404
    writes = product.gateway._passages._origin_writes
    write = await writes.begin(IMAGES, "k")
    assert (await product.send("GET", "k")).status_code == 404
    assert asked_about(product, "k") == 2, "forgotten at the beginning"
    origin_server.put("k", b"past us")
    await writes.end(write, WriteOutcome.ACCEPTED)
    assert (await product.send("GET", "k")).content == b"past us"


async def test_an_answer_that_was_under_way_when_the_key_was_written_is_not_remembered(
    tmp_path: Path, quick_retries: None
) -> None:
    asked, go = asyncio.Event(), asyncio.Event()
    there = [b""]

    async def origin(received: Received, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if received.target != b"/images-there/k":
            writer.write(answer(403))
        elif there[0]:
            writer.write(answer(200, 'ETag: "e"\r\nLast-Modified: Wed, 01 Jan 2025 00:00:00 GMT\r\n', there[0]))
        else:
            asked.set()
            await go.wait()
            writer.write(XML_404)

    async with raw_server(origin) as server, running_product(tmp_path, server.port, images=SETTINGS) as product:
        reading = asyncio.create_task(product.send("GET", "k"))
        await eventually(asked.is_set)
        await put(product)
        there[0] = b"past us"
        await product.index.supersede(IMAGES, "k")
        go.set()
        assert (await reading).status_code == 404
        assert (await product.send("GET", "k")).content == b"past us"


async def test_a_refusal_is_asked_for_each_time(tmp_path: Path, quick_retries: None) -> None:
    async with (
        raw_server(answer(403, "Content-Type: application/xml\r\n")) as server,
        running_product(tmp_path, server.port, images=SETTINGS) as product,
    ):
        server.received.clear()
        for _ in range(3):
            assert (await product.send("GET", "k")).status_code == 403
        assert len(server.received) == 3


async def test_off_by_default(tmp_path: Path, origin_server: OriginServer, quick_retries: None) -> None:
    async with running_product(tmp_path, origin_server.port) as product:
        for _ in range(3):
            assert (await product.send("GET", "k")).status_code == 404
        assert asked_about(product, "k") == 3


# --- Strangers, as mitmproxy's hooks see them


async def by_stranger(product: Product, *, method: str = "GET", said: int = 404, **headers: str) -> http.HTTPFlow:
    """A flow through the hooks; where it goes to the origin, that answers `said`."""
    fields = ((b"host", HOST.encode()), *((name.encode(), value.encode()) for name, value in headers.items()))
    path = f"/{IMAGES}/k".encode()
    flow = tflow.tflow(req=tutils.treq(method=method.encode(), path=path, headers=fields, content=b""))
    await product.gateway.route(flow)
    product.gateway.answer_at_hand(flow)
    if flow.response is None:
        assert flow.request.port == product.origin.port, "it is on its way to the origin"
        flow.response = tutils.tresp(
            status_code=said, headers=((b"content-type", b"application/xml"),), content=b"<o/>"
        )
        product.gateway.response_headers(flow)
    await product.gateway.response(flow)
    return flow


def from_us(flow: http.HTTPFlow) -> bool:
    assert flow.response is not None
    return flow.response.raw_content != b"<o/>"


async def test_strangers_are_told_again_what_strangers_were_told(product: Product) -> None:
    assert (await product.send("GET", "k", by=USER)).status_code == 404
    assert not from_us(await by_stranger(product)), "what verified callers were told is not for them"
    flow = await by_stranger(product)
    assert from_us(flow)
    assert flow.response is not None
    told = flow.response
    assert (told.status_code, told.headers["content-type"]) == (404, "application/xml")
    body = (told.raw_content or b"").decode()
    assert "<Code>NoSuchKey</Code>" in body
    assert f"<RequestId>{told.headers['x-amz-request-id']}</RequestId>" in body
    assert int(told.headers["content-length"]) == len(body)
    head = await by_stranger(product, method="HEAD")
    assert from_us(head)
    assert head.response is not None
    assert head.response.raw_content == b""
    assert not from_us(await by_stranger(product, origin="https://page.test")), "a page's answer has its own headers"
    await product.index.supersede(IMAGES, "k")
    assert not from_us(await by_stranger(product)), "forgotten"


async def test_strangers_who_are_refused_are_refused_by_the_origin_each_time(product: Product) -> None:
    for _ in range(3):
        assert not from_us(await by_stranger(product, said=403))


async def test_an_answer_that_is_forgotten_between_the_hooks_is_not_given(product: Product) -> None:
    await by_stranger(product)
    flow = tflow.tflow(
        req=tutils.treq(method=b"GET", path=f"/{IMAGES}/k".encode(), headers=((b"host", HOST.encode()),), content=b"")
    )
    await product.gateway.route(flow)
    await product.index.supersede(IMAGES, "k")
    product.gateway.answer_at_hand(flow)
    assert flow.response is None
    assert flow.request.port == product.origin.port
