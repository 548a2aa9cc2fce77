"""Copies are compared with the origin while they are served: the whole product, with moto or a server of our own as origin."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mitmproxy.test import tflow, tutils

from addon.s3.metadata import headers_from_origin
from addon.store.freshness import REST_S_MAX, REST_S_MIN, Freshness
from addon.store.origin_look import Finding, finding_of
from addon.store.ports import OriginResponse, OriginUnavailable
from addon.store.records import CopyState, ObjectRecord, Provenance, Tombstone
from tests.origin.raw_server import Received, answer, raw_server
from tests.service.fixtures import OriginServer
from tests.service.product import HOST, IMAGES, Answer, Product, eventually, running_product

FRESH_S = 60
SETTINGS = f"revalidate_after_s = {FRESH_S}"
MODIFIED = "Wed, 01 Jan 2025 00:00:00 GMT"


@pytest.fixture
async def product(
    tmp_path: Path, origin_server: OriginServer, quick_retries: None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Product]:
    async with running_product(tmp_path, origin_server.port, images=SETTINGS) as running:
        yield running


def freshness_of(product: Product) -> Freshness:
    return product.gateway._freshness


def let_time_pass(product: Product, by_s: float = FRESH_S + 1) -> None:
    product.store.now_s = lambda: time.time() + by_s


def stop_time(product: Product) -> None:
    product.store.now_s = time.time


async def settled(product: Product) -> None:
    """Every question is answered, and what followed from it has happened."""
    await eventually(lambda: not freshness_of(product)._asked)


async def copied(product: Product, there: OriginServer, key: str, body: bytes, *, public: bool = False) -> ObjectRecord:
    """An object that moved; read by a stranger where it is public."""
    there.put(key, body, **({"ACL": "public-read"} if public else {}))
    assert (await product.send("GET", key)).content == body
    record = await product.copied(key)
    if public:
        await product.index.grant_anonymous_read(IMAGES, key, etag=record.etag)
    product.origin.requests.clear()
    state = await product.state(key)
    assert isinstance(state, ObjectRecord)
    return state


async def recopied(product: Product, former: ObjectRecord) -> ObjectRecord:
    """Wait until another copy of the key is here."""
    found: list[ObjectRecord] = []

    async def is_here() -> bool:
        state = await product.state(former.key)
        if isinstance(state, ObjectRecord) and state.generation != former.generation:
            found.append(state)
        return bool(found)

    await eventually(is_here)
    return found[0]


async def by_service(product: Product, key: str) -> Answer:
    return await product.send("GET", key)


async def by_head(product: Product, key: str) -> Answer:
    return await product.send("HEAD", key)


async def by_range(product: Product, key: str) -> Answer:
    return await product.send("GET", key, headers=[("range", "bytes=1-2")])


async def by_stranger(product: Product, key: str) -> Answer:
    return await product.send("GET", key, by=None)


async def by_presigned_url(product: Product, key: str) -> Answer:
    return await product.send_presigned("GET", key)


async def by_condition(product: Product, key: str) -> Answer:
    state = await product.state(key)
    assert isinstance(state, ObjectRecord)
    return await product.send("GET", key, headers=[("if-none-match", f'"{state.etag}"')])


async def from_memory(product: Product, key: str) -> Answer:
    """As the switch answers it, within mitmproxy's hooks."""
    request = tutils.treq(
        method=b"GET", path=f"/{IMAGES}/{key}".encode(), headers=((b"host", HOST.encode()),), content=b""
    )
    flow = tflow.tflow(req=request)
    await product.gateway.route(flow)
    product.gateway.answer_at_hand(flow)
    assert flow.response is not None, "it was not at hand"
    return Answer(flow.response.status_code, dict(flow.response.headers), flow.response.raw_content or b"")  # type: ignore[arg-type]


WAYS = [by_service, by_head, by_range, by_stranger, by_presigned_url, by_condition, from_memory]


async def test_what_is_fresh_is_not_asked_about(product: Product, origin_server: OriginServer) -> None:
    await copied(product, origin_server, "k", b"first", public=True)
    let_time_pass(product, FRESH_S - 5)
    for read in WAYS:
        assert (await read(product, "k")).status_code < 400
        await settled(product)
    assert product.origin.requests == []


async def test_a_change_is_taken_over_whatever_way_it_is_read(product: Product, origin_server: OriginServer) -> None:
    held = {read: await copied(product, origin_server, read.__name__, b"first", public=True) for read in WAYS}
    let_time_pass(product)
    for read, former in held.items():
        origin_server.put(former.key, b"second", ACL="public-read")
        shown = await read(product, former.key)
        assert shown.content in (b"first", b"", b"ir"), "the held copy is served meanwhile"
    for former in held.values():
        new = await recopied(product, former)
        assert (new.etag, new.anonymous_read) == (hashlib.md5(b"second").hexdigest(), True), former.key
        assert (await product.send("GET", former.key, by=None)).content == b"second"


async def test_what_is_unchanged_is_fresh_again(product: Product, origin_server: OriginServer) -> None:
    held = await copied(product, origin_server, "k", b"first")
    let_time_pass(product)
    for _ in range(3):
        assert (await product.send("GET", "k")).content == b"first"
        await settled(product)
    assert product.origin.requests == [("HEAD", "/images-there/k")]
    state = await product.state("k")
    assert isinstance(state, ObjectRecord)
    assert state.generation == held.generation
    assert state.checked_at_s >= held.checked_at_s + FRESH_S
    assert b"if-none-match" in bytes(product.origin.received).lower()


async def test_a_deletion_at_the_origin_is_taken_over(product: Product, origin_server: OriginServer) -> None:
    await copied(product, origin_server, "k", b"first")
    origin_server.s3.delete_object(Bucket="images-there", Key="k")
    let_time_pass(product)
    assert (await product.send("GET", "k")).content == b"first"
    await settled(product)
    assert await product.state("k") is None
    assert (await product.send("GET", "k")).code == "NoSuchKey"
    assert await product.jobs() == []


@pytest.mark.parametrize("was_public", [True, False])
async def test_who_may_read_it_is_decided_anew(product: Product, origin_server: OriginServer, was_public: bool) -> None:
    held = await copied(product, origin_server, "k", b"first", public=was_public)
    origin_server.put("k", b"second", **({} if was_public else {"ACL": "public-read"}))
    let_time_pass(product)
    await product.send("GET", "k")
    new = await recopied(product, held)
    # What was private is shown to a stranger as soon as the origin shows it to one: see Passages.
    assert not new.anonymous_read
    assert (await product.send("GET", "k", by=None)).status_code == 403


async def test_a_right_that_the_origin_took_back_ends_although_the_object_is_the_same(
    product: Product, origin_server: OriginServer
) -> None:
    held = await copied(product, origin_server, "k", b"first", public=True)
    origin_server.s3.put_object_acl(Bucket="images-there", Key="k", ACL="private")
    let_time_pass(product)
    assert (await product.send("GET", "k", by=None)).content == b"first"
    new = await recopied(product, held)
    assert (new.etag, new.anonymous_read) == (held.etag, False)
    assert (await product.send("GET", "k", by=None)).status_code == 403


async def test_what_was_written_or_deleted_here_is_never_asked_about(
    product: Product, origin_server: OriginServer
) -> None:
    for key in ("k", "gone"):
        await copied(product, origin_server, key, b"first")
    assert (await product.send("PUT", "k", body=b"mine")).status_code == 200
    assert (await product.send("DELETE", "gone")).status_code == 204
    let_time_pass(product, 10 * FRESH_S)
    assert (await product.send("GET", "k")).content == b"mine"
    assert (await product.send("GET", "gone")).status_code == 404
    await settled(product)
    assert not [target for _, target in product.origin.requests if target in ("/images-there/k", "/images-there/gone")]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_a_write_here_while_the_origin_is_asked_wins(
    product: Product, origin_server: OriginServer, method: str
) -> None:
    await copied(product, origin_server, "k", b"first")
    origin_server.put("k", b"second")
    let_time_pass(product)
    product.origin.answers.clear()
    await product.send("GET", "k")
    await eventually(lambda: ("HEAD", "/images-there/k") in product.origin.requests)
    assert (await product.send(method, "k", body=b"mine" if method == "PUT" else b"")).status_code in (200, 204)
    product.origin.answers.set()
    await settled(product)
    state = await product.state("k")
    assert isinstance(state, ObjectRecord if method == "PUT" else Tombstone)
    assert await product.jobs() == []


async def test_a_copy_that_was_replaced_meanwhile_is_left_alone(product: Product, origin_server: OriginServer) -> None:
    """The fence is the copy's generation: an answer about a former copy says nothing of the present one."""
    former = await copied(product, origin_server, "k", b"first")
    origin_server.put("k", b"second")
    let_time_pass(product)
    await product.send("GET", "k")
    new = await recopied(product, former)
    stop_time(product)
    origin_server.put("k", b"third")
    await freshness_of(product).compare(former)
    assert await product.state("k") == new


# --- An origin of our own, for answers that moto does not give


class Scripted:
    """Holds one object; `answers` by method replace what it says of it."""

    def __init__(self) -> None:
        self.body = b"first"
        self.to_strangers = b"first"
        self.answers: dict[str, bytes | None] = {}
        self.asked = 0
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, received: Received, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        names = {name for name, _ in received.headers}
        if received.method == "HEAD" and "if-none-match" in names:
            self.asked += 1
            await self.go.wait()
        if received.method in self.answers:
            said = self.answers[received.method]
            if said is None:
                writer.close()
            else:
                writer.write(said.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if received.method == "HEAD" else said)
            return
        body = self.body if "authorization" in names else self.to_strangers
        etag = hashlib.md5(body).hexdigest()
        whole = answer(200, f'ETag: "{etag}"\r\nLast-Modified: {MODIFIED}\r\n', body)
        writer.write(whole.removesuffix(body) if received.method == "HEAD" else whole)


@pytest.fixture
async def scripted(tmp_path: Path, quick_retries: None) -> AsyncIterator[tuple[Product, Scripted]]:
    there = Scripted()
    async with raw_server(there) as server, running_product(tmp_path, server.port, images=SETTINGS) as running:
        for key in ("k", "other"):
            assert (await running.send("GET", key)).content == b"first"
            await running.copied(key)
        let_time_pass(running)
        yield running, there


async def test_a_thousand_readers_ask_once(scripted: tuple[Product, Scripted]) -> None:
    product, there = scripted
    there.go.clear()
    record = await product.state("k")
    assert isinstance(record, ObjectRecord)
    for _ in range(1000):
        freshness_of(product).served(record)
    for _ in range(20):
        assert (await product.send("GET", "k")).content == b"first"
    await eventually(lambda: there.asked)
    there.go.set()
    await settled(product)
    assert there.asked == 1


async def test_questions_are_bounded(scripted: tuple[Product, Scripted], monkeypatch: pytest.MonkeyPatch) -> None:
    product, there = scripted
    there.go.clear()
    freshness = freshness_of(product)
    room = freshness._waiting.maxsize
    for number in range(room + 500):
        freshness.served(ObjectRecord(IMAGES, str(number), 1, 1, "e", 0, Provenance.COPIED_FROM_ORIGIN, False))
    assert len(freshness._asked) == room
    await eventually(lambda: there.asked == len(freshness._workers))
    there.go.set()


NO_ANSWER = [None, answer(500), answer(503), answer(429, "Retry-After: 1\r\n")]


class Clock:
    """The clock of the questions, which a test moves on."""

    def __init__(self, product: Product) -> None:
        self.now_s = 1000.0
        freshness_of(product)._monotonic_s = self

    def __call__(self) -> float:
        return self.now_s


async def read_both(product: Product, times: int) -> None:
    for _ in range(times):
        for key in ("k", "other"):
            assert (await product.send("GET", key)).content == b"first"
            await settled(product)


async def test_an_origin_that_is_down_is_left_in_peace(scripted: tuple[Product, Scripted]) -> None:
    product, there = scripted
    clock = Clock(product)
    for said in NO_ANSWER:
        there.answers["HEAD"], before = said, there.asked
        await read_both(product, 5)
        assert there.asked == before + 1, "neither the key nor its bucket is asked about again"
        clock.now_s += 2 * REST_S_MAX
    there.answers.clear()
    there.body = b"second"
    held = await product.state("k")
    assert isinstance(held, ObjectRecord)
    await product.send("GET", "k")
    assert (await recopied(product, held)).size == len(b"second"), "and again when it has rested"


async def test_the_rest_grows_with_each_failure(scripted: tuple[Product, Scripted]) -> None:
    product, there = scripted
    clock = Clock(product)
    there.answers["HEAD"] = answer(503)
    asked_at_s = []
    for _ in range(40):
        before = there.asked
        await product.send("GET", "k")
        await settled(product)
        if there.asked > before:
            asked_at_s.append(clock.now_s)
        clock.now_s += REST_S_MIN
    pauses = [after - before for before, after in itertools.pairwise(asked_at_s)]
    assert pauses == [REST_S_MIN * 2**number for number in range(len(pauses))]
    assert len(pauses) >= 4


REFUSALS = {
    "403": answer(403),
    "another bucket": answer(404, body=b"<Error><Code>NoSuchBucket</Code></Error>"),
    "a page": answer(404, "Content-Type: text/html\r\n", b"<html>not found</html>"),
    "a redirect": answer(301, "Location: http://169.254.169.254/\r\n"),
    "a login page": answer(200, "Content-Type: text/html\r\n", b"<html>log in</html>"),
}


async def test_an_answer_that_says_nothing_of_the_key_leaves_the_copy(
    scripted: tuple[Product, Scripted], caplog: pytest.LogCaptureFixture
) -> None:
    product, there = scripted
    clock = Clock(product)
    held = await product.state("k")
    for name, said in REFUSALS.items():
        there.answers, before = {"HEAD": said, "GET": said}, there.asked
        caplog.clear()
        await read_both(product, 3)
        assert await product.state("k") == held, name
        assert there.asked == before + 2, "each key once"
        told = [record for record in caplog.records if "stays as it is held" in record.getMessage()]
        assert len(told) == 1, "said once"
        clock.now_s += 2 * REST_S_MAX


async def test_strangers_are_given_only_the_version_that_they_are_shown(scripted: tuple[Product, Scripted]) -> None:
    product, there = scripted
    await product.index.grant_anonymous_read(IMAGES, "k", etag=hashlib.md5(b"first").hexdigest())
    held = await product.state("k")
    assert isinstance(held, ObjectRecord)
    assert held.anonymous_read
    there.body = b"second"
    await product.send("GET", "k")
    new = await recopied(product, held)
    assert (new.size, new.anonymous_read) == (len(b"second"), False)


async def test_the_changed_object_that_cannot_be_copied_is_recorded(scripted: tuple[Product, Scripted]) -> None:
    """The origin announces another version, and then does not give it: the key is the origin's, and the job has the reason."""
    product, there = scripted
    etag = hashlib.md5(b"second").hexdigest()
    head = f'ETag: "{etag}"\r\nLast-Modified: {MODIFIED}\r\nContent-Length: 6\r\n'
    there.answers = {
        "HEAD": f"HTTP/1.1 200 OK\r\n{head}\r\n".encode(),
        "GET": answer(200, head.replace("Content-Length: 6\r\n", ""), b"other!"),
    }
    await product.send("GET", "k")

    async def failed() -> bool:
        return [job.state for job in await product.jobs()] == [CopyState.FAILED]

    await eventually(failed)
    (job,) = await product.jobs()
    assert job.key == "k"
    assert re.search("MD5|ETag|differ", job.reason)
    assert await product.state("k") is None


OBJECT_HEADERS = [("etag", '"e2"'), ("last-modified", MODIFIED), ("content-length", "1")]


async def nothing() -> AsyncIterator[bytes]:
    return
    yield b""


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (304, [], Finding.SAME),
        (200, [("etag", '"e1"'), ("last-modified", MODIFIED)], Finding.SAME),
        (200, OBJECT_HEADERS, Finding.CHANGED),
        (200, [("etag", 'W/"e2"'), ("last-modified", MODIFIED)], Finding.REFUSED),
        (200, [], Finding.REFUSED),
        (206, OBJECT_HEADERS, Finding.REFUSED),
        (404, [], Finding.MISSING),
        (307, [("location", "/")], Finding.REFUSED),
        (400, [], Finding.REFUSED),
        (401, [], Finding.REFUSED),
        (403, [], Finding.REFUSED),
        (410, [], Finding.REFUSED),
        (412, [], Finding.REFUSED),
        (408, [], None),
        (429, [], None),
        (500, [], None),
        (503, [("retry-after", "7")], None),
    ],
)
def test_what_an_answer_means(status: int, headers: list[tuple[str, str]], expected: Finding | None) -> None:
    response = OriginResponse(status, headers, nothing())
    if expected is not None:
        found, etag = finding_of(response, "e1")
        assert found is expected
        if found is Finding.CHANGED:
            assert etag == headers_from_origin(headers).etag
        return
    with pytest.raises(OriginUnavailable) as caught:
        finding_of(response, "e1")
    assert caught.value.retry_after_s == (7 if headers else None)
