"""The migrator: a copy is whole or nothing, once, and never wins over a later write (migration cases 2, 3, 5, 6, 10 to 13)."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from addon.index.sql_index import open_index
from addon.s3.tags import tagging_xml
from addon.store.layout import extent_bytes_max
from addon.store.migration import SweepOrder
from addon.store.object_store import COPY_COMMITS_MAX
from addon.store.packer import Packer, PackItem, Placement, Urgency
from addon.store.ports import DocumentToSend, IndexUnavailable
from addon.store.records import CopyOrder, CopyState, Document, ObjectRecord, Provenance, Tombstone
from addon.telegram.documents import DOCUMENT_BYTES_MAX, TelegramDocuments
from tests.origin.raw_server import Received, answer, raw_server
from tests.service.fixtures import OriginServer
from tests.service.origin_relay import origin_relay
from tests.service.product import Product, eventually, product_again, running_product
from tests.service.uploads import begun_at_origin
from tests.standin_fixture import running_standin

V1 = random.Random(1).randbytes(300_000)
V2 = b"the second version"
EXTENT = extent_bytes_max(DOCUMENT_BYTES_MAX)


async def no_jobs(product: Product) -> bool:
    return not await product.jobs()


async def test_a_copy_is_the_same_before_and_after(product: Product, origin_server: OriginServer) -> None:
    """Case 1, over the headers that belong to the object."""
    origin_server.put(
        "k",
        V1,
        ContentType="image/png",
        CacheControl="max-age=5",
        ContentDisposition="inline",
        ContentEncoding="gzip",
        ContentLanguage="de",
        Metadata={"colour": "blue"},
    )
    before = await product.send("GET", "k", headers=[("accept-encoding", "gzip")])
    state = await product.copied("k")
    assert (state.provenance, state.size, state.anonymous_read) == (Provenance.COPIED_FROM_ORIGIN, len(V1), False)
    requests = len(product.origin.requests)
    after, head = await product.send("GET", "k"), await product.send("HEAD", "k")
    assert len(product.origin.requests) == requests
    assert before.content == after.content == V1
    for name in (
        "etag", "last-modified", "content-type", "cache-control", "content-disposition", "content-encoding",
        "content-language", "x-amz-meta-colour", "content-length",
    ):  # fmt: skip
        assert before.headers[name] == after.headers[name] == head.headers[name], name


async def test_a_head_never_copies(product: Product, origin_server: OriginServer) -> None:
    """Case 2."""
    origin_server.put("k", V1)
    for _ in range(10):
        head = await product.send("HEAD", "k")
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(V1)))
    assert await product.jobs() == []
    assert await product.state("k") is None
    assert product.sends() == 0


async def test_a_range_is_passed_through_and_the_whole_is_copied(product: Product, origin_server: OriginServer) -> None:
    """Case 3."""
    origin_server.put("k", V1)
    ranged = [("range", "bytes=5-9")]
    miss = await product.send("GET", "k", headers=ranged)
    assert (miss.status_code, miss.content) == (206, V1[5:10])
    assert miss.headers["content-range"] == f"bytes 5-9/{len(V1)}"
    assert (await product.copied("k")).size == len(V1)
    hit = await product.send("GET", "k", headers=ranged)
    assert (hit.status_code, hit.content, hit.headers["content-range"]) == (
        206,
        V1[5:10],
        miss.headers["content-range"],
    )


async def test_many_misses_make_one_copy(product: Product, origin_server: OriginServer) -> None:
    origin_server.put("k", V1)
    answers = await asyncio.gather(*(product.send("GET", "k") for _ in range(60)))
    assert all(got.content == V1 for got in answers)
    await product.copied("k")
    await eventually(lambda: no_jobs(product))
    assert product.sends() == 1
    again = await asyncio.gather(*(product.send("GET", "k") for _ in range(20)))
    assert all(got.content == V1 for got in again)
    assert product.sends() == 1


class Held:
    """Holds the first call of one of the ports' methods, which is the copy's: `reached` is set when it is there, and it goes on
    when `go` is. Later calls pass."""

    def __init__(self) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()

    async def here(self) -> None:
        self.reached.set()
        await self.go.wait()

    def before(self, method: Callable[..., Any]) -> Callable[..., Any]:
        async def held(*arguments: Any, **named: Any) -> Any:
            if not self.reached.is_set():
                await self.here()
            return await method(*arguments, **named)

        return held

    def after(self, method: Callable[..., Any]) -> Callable[..., Any]:
        async def held(*arguments: Any, **named: Any) -> Any:
            result = await method(*arguments, **named)
            if not self.reached.is_set():
                await self.here()
            return result

        return held


@asynccontextmanager
async def copy_held(product: Product, monkeypatch: pytest.MonkeyPatch, place: str) -> AsyncIterator[None]:
    """Read `k` at the origin, and hold its copy at `place` while the block runs; then let it end."""
    held, relay, index = Held(), product.origin, type(product.index)
    match place:
        case "before the fetch":
            monkeypatch.setattr(index, "lease_copy", leased_and_held(index.lease_copy, held))
        case "in mid-body":
            monkeypatch.setattr(TelegramDocuments, "send", held.before(TelegramDocuments.send))
        case "after the upload":
            monkeypatch.setattr(TelegramDocuments, "send", held.after(TelegramDocuments.send))
        case "before the commit":
            monkeypatch.setattr(index, "commit_copy", held.before(index.commit_copy))
        case "after the commit":
            monkeypatch.setattr(index, "commit_copy", held.after(index.commit_copy))
    assert (await product.send("GET", "k")).content == V1
    await asyncio.wait_for(held.reached.wait(), 10)
    fetched = relay.gets_of("k")
    assert fetched == (1 if place == "before the fetch" else 2)
    yield
    held.go.set()
    await eventually(lambda: no_jobs(product))


def leased_and_held(lease: Callable[..., Any], held: Held) -> Callable[..., Any]:
    async def lease_and_wait(*arguments: Any, **named: Any) -> Any:
        job = await lease(*arguments, **named)
        if job is not None:
            await held.here()
        return job

    return lease_and_wait


PLACES = ("before the fetch", "in mid-body", "after the upload", "before the commit", "after the commit")


@pytest.mark.parametrize("place", PLACES)
async def test_a_copy_loses_to_a_write(
    product: Product, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Case 5."""
    origin_server.put("k", V1)
    async with copy_held(product, monkeypatch, place):
        assert (await product.send("PUT", "k", body=V2)).status_code == 200
        assert (await product.send("GET", "k")).content == V2
    await settled(product)
    got = await product.send("GET", "k")
    assert (got.content, got.headers["etag"]) == (V2, f'"{hashlib.md5(V2).hexdigest()}"')
    state = await product.state("k")
    assert isinstance(state, ObjectRecord)
    assert state.provenance is Provenance.WRITTEN_HERE
    assert await product.garbage() == set(product.documents_in_telegram()) - {state.extents[0].document.document_id}


@pytest.mark.parametrize("place", PLACES)
async def test_a_copy_loses_to_a_delete(
    product: Product, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Case 6, with a restart afterwards."""
    origin_server.put("k", V1)
    async with copy_held(product, monkeypatch, place):
        assert (await product.send("DELETE", "k")).status_code == 204
        assert (await product.send("GET", "k")).status_code == 404
    await settled(product)
    assert (await product.send("GET", "k")).status_code == 404
    assert (await product.send("HEAD", "k")).status_code == 404
    assert await product.garbage() == set(product.documents_in_telegram())
    async with product_again(product.folder, product.standin, product.origin) as restarted:
        assert (await restarted.send("GET", "k")).status_code == 404
        assert isinstance(await restarted.state("k"), Tombstone)


async def settled(product: Product) -> None:
    """No copy is at work any more: nothing is spooled, and every document of Telegram is known."""

    async def every_document_is_known() -> bool:
        known = set(await product.garbage())
        state = await product.state("k")
        if isinstance(state, ObjectRecord):
            known |= {extent.document.document_id for extent in state.extents}
        return known == set(product.documents_in_telegram())

    await eventually(lambda: not any("Copier._copy" in repr(task.get_coro()) for task in asyncio.all_tasks()))
    await eventually(every_document_is_known)
    assert product.spooled() == []


async def test_a_copy_loses_to_a_write_that_the_origin_takes(
    product: Product, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin_server.put("k", V1)
    upload = begun_at_origin(product, origin_server, "k", V2)
    async with copy_held(product, monkeypatch, "before the commit"):
        written = await upload.complete()
        assert written.status_code == 200, written.text
    assert (await product.send("GET", "k")).content == V2
    assert (await product.copied("k")).size == len(V2)
    assert (await product.send("GET", "k")).content == V2


async def test_a_restart_in_the_middle_of_a_copy(
    tmp_path: Path, origin_server: OriginServer, quick_retries: None
) -> None:
    body = random.Random(5).randbytes(EXTENT + 100_000)
    origin_server.put("k", body)
    async with running_standin(tmp_path / "telegram") as standin, origin_relay(origin_server.port) as relay:
        async with product_again(tmp_path, standin, relay) as product:
            assert (await product.send("GET", "k", headers=[("range", "bytes=0-9")])).content == body[:10]
            relay.answer_bytes, _ = 20_000, relay.answers.clear()
            await eventually(lambda: relay.gets_of("k") >= 2)
        relay.answers.set()
        async with product_again(tmp_path, standin, relay) as product:
            assert (await product.copied("k")).size == len(body)
            assert (await product.send("GET", "k")).content == body
            assert product.spooled() == []


async def test_a_client_that_leaves_does_not_shorten_the_copy(product: Product, origin_server: OriginServer) -> None:
    """Case 11, the second half."""
    body = random.Random(6).randbytes(8 << 20)
    origin_server.put("k", body)
    reading = asyncio.create_task(product.send("GET", "k"))
    await eventually(lambda: product.jobs())
    reading.cancel()
    assert (await product.copied("k")).size == len(body)
    assert (await product.send("GET", "k")).content == body


# What an origin answers, and what becomes of the job and of what the client saw.

HEADERS = 'ETag: "{}"\r\nLast-Modified: Thu, 01 Jan 2015 00:00:00 GMT\r\nContent-Type: image/png\r\n'
GOOD_HEADERS = HEADERS.format(hashlib.md5(V2).hexdigest())


class Script:
    """Answers for each key, one after another; the last one stays. After those of the `closed` keys the origin hangs up."""

    def __init__(self, *closed: str, **answers: Sequence[bytes]) -> None:
        self.answers = {key: list(given) for key, given in answers.items()}
        self.closed, self.gets = closed, Counter[str]()

    async def __call__(self, received: Received, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        key = received.target.decode().rpartition("/")[2]
        if received.method == "HEAD":
            key = f"HEAD {key}"
        if key not in self.answers:
            writer.write(answer(200))
            return
        self.gets[key] += 1
        left = self.answers[key]
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        await writer.drain()
        if key in self.closed:
            writer.close()


@asynccontextmanager
async def scripted(tmp_path: Path, script: Script, **settings: str) -> AsyncIterator[Product]:
    async with raw_server(script) as origin, running_product(tmp_path, origin.port, **settings) as product:
        yield product


GOOD = answer(200, GOOD_HEADERS, V2)


def refusal(status: int, code: str = "") -> bytes:
    return answer(
        status, "Retry-After: 0\r\n" if status in (429, 503) else "", f"<Error><Code>{code}</Code></Error>".encode()
    )


ETAG_OF_V2 = hashlib.md5(V2).hexdigest().encode()


def announcing(length: str) -> bytes:
    """The object with another Content-Length."""
    return GOOD.replace(b"Content-Length: %d" % len(V2), f"Content-Length: {length}".encode())


def unannounced(body: bytes) -> bytes:
    head = GOOD.partition(b"Content-Length")[0]
    return head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


async def test_an_object_that_changes_while_its_bytes_come_is_fetched_again(
    tmp_path: Path, quick_retries: None
) -> None:
    """Case 10. Nothing proves the bytes of a multipart upload that has no checksum: they may be of two versions."""
    headers = HEADERS.format("e" * 32 + "-3")
    mixed, whole = (answer(200, headers, body) for body in (V2[:3] + V2[3:].upper(), V2))
    there = answer(200, headers).replace(b"Content-Length: 0", b"Content-Length: %d" % len(V2))
    other = there.replace(b"-3", b"-4")
    script = Script(k=[whole, mixed, whole], gone=[whole], **{"HEAD k": [other, there], "HEAD gone": [answer(404)]})
    async with scripted(tmp_path, script) as product:
        assert (await product.send("GET", "k")).content == V2
        assert (await product.copied("k")).etag == "e" * 32 + "-3"
        assert (await product.send("GET", "k")).content == V2
        assert script.gets["k"] == 3, "the second was discarded"
        assert (await product.send("GET", "gone")).content == V2
        await eventually(lambda: all_at_rest(product, 1))
        (job,) = await product.jobs()
        assert "changed while its bytes came" in job.reason
        assert await product.state("gone") is None


async def test_what_came_wrong_is_fetched_again(tmp_path: Path, quick_retries: None) -> None:
    """Cases 10, 11 and 12: the client sees the origin's answer as it is, the copy is tried again."""
    wrong = {
        "bytes": answer(200, GOOD_HEADERS, V2[::-1]),
        "throttled": refusal(429),
        "failed": refusal(500, "InternalError"),
        "slow": refusal(503, "SlowDown"),
        "clock": refusal(403, "RequestTimeTooSkewed"),
        "timeout": refusal(400, "RequestTimeout"),
    }
    script = Script(**{key: [GOOD, given, GOOD] for key, given in wrong.items()})
    async with scripted(tmp_path, script) as product:
        for key in wrong:
            assert (await product.send("GET", key)).content == V2
            state = await product.copied(key)
            assert (state.size, state.etag) == (len(V2), hashlib.md5(V2).hexdigest())
            assert script.gets[key] == 3


async def test_what_can_never_be_copied_comes_to_rest_with_its_reason(tmp_path: Path, quick_retries: None) -> None:
    cases: dict[str, tuple[bytes, CopyState, int, str]] = {
        "truncated": (GOOD[:-1], CopyState.FAILED, 3, "after 3 attempts"),
        "login": (answer(200, GOOD_HEADERS, b"<html>login</html>"), CopyState.FAILED, 3, "ETag"),
        "broken": (refusal(500), CopyState.FAILED, 3, "500"),
        "missing": (refusal(404, "NoSuchKey"), CopyState.FAILED, 1, "404"),
        "denied": (refusal(403, "AccessDenied"), CopyState.FAILED, 1, "403"),
        "moved": (answer(302, "Location: http://169.254.169.254/\r\n"), CopyState.FAILED, 1, "302"),
        "archived": (refusal(403, "InvalidObjectState"), CopyState.SKIPPED, 1, "archive"),
        "bare": (answer(200, "", V2), CopyState.FAILED, 1, "no object"),
        "announced-less": (announcing("4"), CopyState.FAILED, 3, "ETag"),
        "announced-more": (announcing(str(len(V2) + 1)), CopyState.FAILED, 3, "after 3 attempts"),
        "announced-nonsense": (announcing("five"), CopyState.FAILED, 3, "after 3 attempts"),
        "announced-twice": (announcing("4\r\nContent-Length: 5"), CopyState.FAILED, 3, "after 3 attempts"),
        "unannounced": (unannounced(V2), CopyState.SKIPPED, 1, "no Content-Length"),
        "part": (GOOD.replace(b"200 X", b"206 X"), CopyState.FAILED, 1, "206"),
        "transformed": (GOOD.replace(b'ETag: "', b'ETag: W/"'), CopyState.FAILED, 1, "weak"),
        "other-etag": (GOOD.replace(ETAG_OF_V2, b"0" * 32), CopyState.FAILED, 3, "ETag"),
    }
    closed = [key for key in cases if key.startswith(("truncated", "announced"))]
    script = Script(*closed, **{key: [GOOD, wrong] for key, (wrong, *_) in cases.items()})
    async with scripted(tmp_path, script) as product:
        for key in cases:
            assert (await product.send("GET", key)).content == V2
        await eventually(lambda: all_at_rest(product, len(cases)))
        for job in await product.jobs():
            _, state, attempts, reason = cases[job.key]
            assert (job.key, job.state, job.attempts) == (job.key, state, attempts), job.reason
            assert reason in job.reason, (job.key, job.reason)
            assert script.gets[job.key] == 1 + attempts
            assert await product.state(job.key) is None
        assert product.sends() == 0
        assert product.spooled() == []


async def all_at_rest(product: Product, count: int) -> bool:
    jobs = await product.jobs()
    return len(jobs) == count and all(job.state in (CopyState.FAILED, CopyState.SKIPPED) for job in jobs)


async def test_an_object_comes_with_all_its_tags_or_not_at_all(tmp_path: Path, quick_retries: None) -> None:
    tagged = answer(200, GOOD_HEADERS + "x-amz-tagging-count: 1\r\n", V2)
    tagging = answer(200, "", tagging_xml({"a": "1"}))
    answers = {
        "late": [tagged],
        "late?tagging": [refusal(503), answer(200, "", tagging_xml({})), tagging],
        "secret": [tagged],
        "secret?tagging": [refusal(403, "AccessDenied")],
    }
    async with scripted(tmp_path, Script(**answers)) as product:
        assert (await product.send("GET", "late")).content == V2
        assert (await product.copied("late")).tags == {"a": "1"}
        assert (await product.send("GET", "secret")).content == V2
        await eventually(lambda: all_at_rest(product, 1))
        (job,) = await product.jobs()
        assert (job.key, job.state, "tags" in job.reason) == ("secret", CopyState.FAILED, True)
        assert await product.state("secret") is None


async def at_rest(product: Product, state: CopyState) -> bool:
    return [job.state for job in await product.jobs()] == [state]


async def test_the_origins_refusals_reach_the_client_and_copy_nothing(tmp_path: Path, quick_retries: None) -> None:
    """Cases 12 and 13."""
    refusals = (
        answer(403, "", b"<Error><Code>AccessDenied</Code></Error>"),
        answer(404, "", b"<Error><Code>NoSuchKey</Code></Error>"),
        answer(429, "Retry-After: 7\r\n", b"slow"),
        answer(500, "", b"oops"),
        answer(503, "Retry-After: 7\r\n", b"slow"),
        answer(304, 'ETag: "x"\r\n').replace(b"Content-Length: 0\r\n", b""),
    )
    script = Script(k=[*refusals, GOOD])
    async with scripted(tmp_path, script) as product:
        for given in refusals:
            got = await product.send("GET", "k")
            assert got.status_code == int(given.split(b" ")[1])
            assert got.content == given.partition(b"\r\n\r\n")[2]
            assert got.headers.get("retry-after") == ("7" if b"Retry-After" in given else None)
        assert await product.jobs() == []
        assert (await product.send("PUT", "k", body=b"ours")).status_code == 200
        assert (await product.send("GET", "k")).content == b"ours", "a 404 is not remembered past a write"


async def test_retry_after_is_honoured(tmp_path: Path, quick_retries: None) -> None:
    script = Script(k=[GOOD, answer(503, "Retry-After: 100\r\n"), GOOD])
    copies = "attempts_max = 3\nretry_delay_s_min = 0.01\nretry_delay_s_max = 60.0"
    async with scripted(tmp_path, script, copies=copies) as product:
        before_s = product.store.now_s()
        assert (await product.send("GET", "k")).content == V2

        async def put_back() -> bool:
            return [job.reason for job in await product.jobs() if job.state is CopyState.WAITING] not in ([], [""])

        await eventually(put_back)
        (job,) = await product.jobs()
        assert job.not_before_s >= before_s + 60.0
        assert "503" in job.reason


async def test_a_failed_copy_is_ordered_again_by_the_next_read(tmp_path: Path, quick_retries: None) -> None:
    script = Script(k=[GOOD, refusal(403, "AccessDenied"), GOOD])
    async with scripted(tmp_path, script) as product:
        assert (await product.send("GET", "k")).content == V2
        await eventually(lambda: at_rest(product, CopyState.FAILED))
        assert (await product.send("GET", "k")).content == V2
        assert (await product.copied("k")).size == len(V2)


async def test_a_copy_that_fails_in_an_unforeseen_way_comes_to_rest_too(
    product: Product, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin_server.put("k", V1)

    async def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(TelegramDocuments, "send", fail)
        assert (await product.send("GET", "k")).content == V1
        await eventually(lambda: at_rest(product, CopyState.FAILED))
    (job,) = await product.jobs()
    assert (job.attempts, "OSError" in job.reason) == (3, True)
    assert (await product.send("GET", "k")).content == V1
    await product.copied("k")


async def test_a_copy_that_ends_the_process_each_time_comes_to_rest(
    tmp_path: Path, origin_server: OriginServer
) -> None:
    """Leased as often as allowed by processes that never put it back."""
    origin_server.put("k", V1)
    index = await open_index(f"sqlite:///{tmp_path / 'tgstore.db'}")
    await index.enqueue_copies([CopyOrder("images", "k", False)], now_s=0)
    for _ in range(3):
        assert await index.lease_copy(now_s=1, lease_s=0) is not None
    await index.close()
    async with running_product(tmp_path, origin_server.port) as product:
        await eventually(lambda: at_rest(product, CopyState.FAILED))
        (job,) = await product.jobs()
        assert "the process ended" in job.reason


async def test_the_copier_waits_for_an_index_that_does_not_answer(
    product: Product, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin_server.put("k", V1)
    failed = asyncio.Event()

    async def fail(*_: object, **__: object) -> None:
        failed.set()
        raise IndexUnavailable("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(type(product.index), "lease_copy", fail)
        assert (await product.send("GET", "k")).content == V1
        await asyncio.wait_for(failed.wait(), 10)
    assert (await product.copied("k")).size == len(V1)


async def test_a_job_that_is_being_leased_at_the_stop_is_put_back(
    product: Product, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be leased to nobody, and the next process would wait for the end of the lease."""
    origin_server.put("k", V1)
    leased, go_on = asyncio.Event(), asyncio.Event()
    lease = product.index.lease_copy

    async def held(**named: Any) -> Any:
        job = await lease(**named)
        if job is not None:
            leased.set()
            await go_on.wait()
        return job

    monkeypatch.setattr(product.index, "lease_copy", held)
    assert (await product.send("GET", "k")).content == V1
    await asyncio.wait_for(leased.wait(), 10)
    stopping = asyncio.create_task(product.gateway._passages._copier.stop())
    await asyncio.sleep(0)
    go_on.set()
    await stopping
    (job,) = await product.jobs()
    assert (job.state, job.reason) == (CopyState.WAITING, "stopped")


async def test_what_somebody_reads_goes_before_what_a_sweep_ordered(
    product: Product, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("swept", "read"):
        origin_server.put(key, V1)
    urgencies: dict[str, Urgency] = {}
    place = Packer.place

    async def seen(self: Packer, item: PackItem, urgency: Urgency, **more: Any) -> Placement:
        urgencies[item.about.key] = urgency
        return await place(self, item, urgency, **more)

    monkeypatch.setattr(Packer, "place", seen)
    await product.index.order_swept("images", [SweepOrder("swept", len(V1))], now_s=0)  # type: ignore[attr-defined]
    assert (await product.send("GET", "read")).content == V1
    await product.copied("read")
    await product.copied("swept")
    assert urgencies == {"swept": Urgency.SWEEP, "read": Urgency.COPY}


def hold_sends(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Nothing is sent until the event is set."""
    go = asyncio.Event()
    send = TelegramDocuments.send

    async def held(self: TelegramDocuments, document: DocumentToSend) -> Document:
        await go.wait()
        return await send(self, document)

    monkeypatch.setattr(TelegramDocuments, "send", held)
    return go


async def test_copies_share_documents_and_reading_goes_on_while_they_wait(
    product: Product, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two are read at the origin at once; many more wait for their pack."""
    keys = [f"k{number}" for number in range(30)]
    for key in keys:
        origin_server.put(key, key.encode())
    go = hold_sends(monkeypatch)
    orders = [SweepOrder(key, 3) for key in keys]
    await product.index.order_swept("images", orders, now_s=0)  # type: ignore[attr-defined]
    await eventually(lambda: all(product.origin.gets_of(key) for key in keys))
    assert product.sends() == 0
    go.set()
    for key in keys:
        await product.copied(key)
    assert product.sends() <= 4
    await eventually(lambda: no_jobs(product))


async def test_a_pack_of_many_copies_does_not_crowd_out_the_index(
    product: Product, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them hear of their pack at once; the index takes only so many writes into its queue."""
    writer = product.index._writer  # type: ignore[attr-defined]
    monkeypatch.setattr(writer, "_queue_length_max", COPY_COMMITS_MAX + 16)
    keys = [f"k{number:03}" for number in range(3 * COPY_COMMITS_MAX)]
    for key in keys:
        origin_server.put(key, key.encode())
    go = hold_sends(monkeypatch)
    orders = [SweepOrder(key, 4) for key in keys]
    await product.index.order_swept("images", orders, now_s=0)  # type: ignore[attr-defined]
    await eventually(lambda: all(product.origin.gets_of(key) for key in keys))
    go.set()
    await eventually(lambda: no_jobs(product))
    counts = await product.index.counts("images")
    assert (counts["objects"], counts["failed"]) == (len(keys), 0)
    assert all(product.origin.gets_of(key) == 1 for key in keys), "none had to be made again"
