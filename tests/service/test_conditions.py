"""Conditional writes and deletes in every state of a key, and among racing writers (migration cases 7, 8 and 9)."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from addon.s3.http_dates import format_http_date
from addon.store.ports import WriteOutcome
from addon.store.records import ObjectRecord, Tombstone
from addon.store.writer import Upload
from tests.service.fixtures import OriginServer
from tests.service.product import ALONE, HOST, IMAGES, USER, Answer, Product, eventually, target_of
from tests.service.signing import Headers, sign
from tests.service.uploads import begin, product_with_small_parts
from tests.service.wire import wire_to

THERE, HERE, NEW = b"what the origin has", b"what is here", b"what is new"
ABSENT = ("if-none-match", "*")
WRITERS = 20


def etag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


async def put(product: Product, *headers: tuple[str, str], body: bytes = NEW, bucket: str = IMAGES) -> Answer:
    return await product.send("PUT", "k", headers=headers, body=body, bucket=bucket)


async def bring_about(product: Product, origin_server: OriginServer, state: str) -> str | None:
    """The state of the key; returns the ETag that it has then."""
    if state in ("only at the origin", "moved", "deleted here", "written over the origin's"):
        origin_server.put("k", THERE)
    if state == "moved":
        await product.send("GET", "k")
        await product.copied("k")
    if state in ("written here", "written over the origin's"):
        assert (await put(product, body=HERE)).status_code == 200
        return etag(HERE)
    if state == "deleted here":
        assert (await product.send("DELETE", "k")).status_code == 204
    return None if state in ("nowhere", "deleted here") else etag(THERE)


HELD = ("only at the origin", "moved", "written here", "written over the origin's")
ABSENT_STATES = ("nowhere", "deleted here")


@pytest.mark.parametrize("state", HELD)
async def test_an_object_that_is_there(product: Product, origin_server: OriginServer, state: str) -> None:
    held = await bring_about(product, origin_server, state)
    assert held is not None
    before = await product.send("GET", "k")
    sends = product.sends()
    for header in (ABSENT, ("if-match", '"0"'), ("if-match", f"W/{held}"), ("if-match", f'{held}, "0"')):
        refused = await put(product, header)
        assert (header, refused.status_code, refused.code) == (header, 412, "PreconditionFailed")
        named = "If-None-Match" if header == ABSENT else "If-Match"
        assert f"<Condition>{named}</Condition>" in refused.text
    assert product.sends() == sends, "nothing of a refused upload goes to Telegram"
    assert (await product.send("GET", "k")).content == before.content
    assert (await put(product, ("if-match", held))).status_code == 200
    assert (await product.send("GET", "k")).content == NEW
    assert (await put(product, ("if-match", etag(NEW).strip('"')), body=HERE)).status_code == 200


@pytest.mark.parametrize("state", ABSENT_STATES)
async def test_an_object_that_is_not_there(product: Product, origin_server: OriginServer, state: str) -> None:
    await bring_about(product, origin_server, state)
    before = await product.state("k")
    refused = await put(product, ("if-match", etag(THERE)))
    assert (refused.status_code, refused.code) == (404, "NoSuchKey")
    assert await product.state("k") == before
    assert (await put(product, ABSENT)).status_code == 200
    assert (await put(product, ABSENT)).status_code == 412
    assert (await product.send("GET", "k")).content == NEW


async def test_a_bucket_without_origin(product: Product) -> None:
    assert (await put(product, ("if-match", etag(THERE)), bucket=ALONE)).code == "NoSuchKey"
    assert (await put(product, ABSENT, bucket=ALONE)).status_code == 200
    assert (await put(product, ABSENT, bucket=ALONE)).status_code == 412
    assert (await put(product, ("if-match", etag(NEW)), body=HERE, bucket=ALONE)).status_code == 200


@pytest.mark.parametrize("headers", [[ABSENT, ("if-match", '"x"')], [("if-none-match", '"x"')], [("if-match", "*")]])
async def test_what_s3_does_not_take_on_writes_either(product: Product, headers: Headers) -> None:
    refused = await put(product, *headers)
    assert (refused.status_code, refused.code) == (501, "NotImplemented")
    assert await product.state("k") is None


async def test_the_origin_is_asked_only_about_what_the_index_does_not_know(
    product: Product, origin_server: OriginServer
) -> None:
    await bring_about(product, origin_server, "written over the origin's")
    product.origin.requests.clear()
    assert (await put(product, ABSENT)).status_code == 412
    assert (await put(product, ("if-match", etag(HERE)))).status_code == 200
    assert product.origin.requests == []


async def test_a_refused_upload_is_not_read(product: Product, origin_server: OriginServer) -> None:
    origin_server.put("k", THERE)
    target = target_of(IMAGES, "k")
    headers = sign(USER, "PUT", target, HOST, [ABSENT]).headers
    async with wire_to(product.address) as wire:
        await wire.head("PUT", target, [*headers, ("content-length", "100000000")])
        await wire.send(b"the beginning")
        status, body = await wire.answer()
    assert (status, b"<Code>PreconditionFailed</Code>" in body) == (412, True)


async def test_where_the_origin_does_not_answer_nothing_is_guessed(product: Product) -> None:
    product.origin.down = True
    for header in (ABSENT, ("if-match", '"x"')):
        assert (await put(product, header)).status_code == 503
    assert (await product.send("DELETE", "k", headers=[("if-match", "*")])).status_code == 503
    assert await product.state("k") is None


@pytest.mark.parametrize("before", ["nothing", "only at the origin", "here"])
async def test_of_racing_writers_exactly_one_wins(product: Product, origin_server: OriginServer, before: str) -> None:
    """Case 9, and the same with If-Match."""
    header = ABSENT
    if before == "only at the origin":
        origin_server.put("k", THERE)
        header = ("if-match", etag(THERE))
    elif before == "here":
        assert (await put(product, body=HERE)).status_code == 200
        header = ("if-match", etag(HERE))
    bodies = [b"writer %d" % number for number in range(WRITERS)]
    answers = await asyncio.gather(*(put(product, header, body=body) for body in bodies))
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses[200] == 1, statuses
    assert set(statuses) <= {200, 409, 412}
    winner = next(body for body, answer in zip(bodies, answers, strict=True) if answer.status_code == 200)
    assert (await product.send("GET", "k")).content == winner
    state = await product.state("k")
    assert isinstance(state, ObjectRecord)
    kept = {extent.document.document_id for extent in state.extents}
    await eventually(lambda: product.spooled() == [])
    assert await product.garbage() == set(product.documents_in_telegram()) - kept


@pytest.mark.parametrize("before", ["nothing", "only at the origin"])
async def test_of_racing_operations_exactly_one_wins(
    tmp_path: Path,
    origin_server: OriginServer,
    quick_retries: None,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
) -> None:
    """A PUT, a copy and a completion of an upload, each under the same condition."""
    header = ABSENT
    if before == "only at the origin":
        origin_server.put("k", THERE)
        header = ("if-match", etag(THERE))
    async with product_with_small_parts(tmp_path, origin_server.port, monkeypatch) as product:
        assert (await product.send("PUT", "source", body=HERE)).status_code == 200
        uploads = [await begin(product, "k") for _ in range(4)]
        for number, upload in enumerate(uploads):
            assert (await upload.put(1, b"upload %d" % number)).status_code == 200
        copying = [header, ("x-amz-copy-source", f"/{IMAGES}/source")]
        answers = await asyncio.gather(
            *(upload.complete(headers=[header]) for upload in uploads),
            *(put(product, header, body=b"put %d" % number) for number in range(4)),
            *(product.send("PUT", "k", headers=copying) for _ in range(4)),
        )
        statuses = Counter(answer.status_code for answer in answers)
        assert statuses[200] == 1, statuses
        assert set(statuses) <= {200, 409, 412}
        winner = next(place for place, answer in enumerate(answers) if answer.status_code == 200)
        bodies = [b"upload %d" % n for n in range(4)] + [b"put %d" % n for n in range(4)] + [HERE] * 4
        assert (await product.send("GET", "k")).content == bodies[winner]


async def test_writers_and_deleters_race(product: Product) -> None:
    """Each change names the version that it is made of, so as many succeed as there are versions."""
    assert (await put(product, body=HERE)).status_code == 200
    match = ("if-match", etag(HERE))
    answers = await asyncio.gather(
        *(put(product, match, body=b"%d" % number) for number in range(8)),
        *(product.send("DELETE", "k", headers=[match]) for _ in range(8)),
    )
    puts, deletes = answers[:8], answers[8:]
    changed = [answer for answer in puts if answer.status_code == 200]
    if changed:
        assert len(changed) == 1
        assert {answer.status_code for answer in deletes} <= {412, 409}
        assert isinstance(await product.state("k"), ObjectRecord)
    else:
        assert {answer.status_code for answer in puts} <= {404, 409, 412}
        assert isinstance(await product.state("k"), Tombstone)


async def test_the_origin_is_asked_again_before_the_commit(
    product: Product, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody writes to the origin while the body is on its way."""
    finish = Upload.finish

    async def finish_late(self: Upload, *about: Any, **more: Any) -> object:
        extents = await finish(self, *about, **more)
        await asyncio.to_thread(origin_server.put, "k", THERE)
        return extents

    monkeypatch.setattr(Upload, "finish", finish_late)
    assert (await put(product, ABSENT)).status_code == 412
    assert await product.state("k") is None
    assert (await product.send("GET", "k")).content == THERE


async def test_a_write_past_us_is_a_conflict(product: Product, origin_server: OriginServer) -> None:
    for state in ("only at the origin", "moved"):
        held = await bring_about(product, origin_server, state)
        assert held is not None
        write_id = await product.index.begin_origin_write(IMAGES, "k", now_s=0.0)
        for header in (ABSENT, ("if-match", held)):
            refused = await put(product, header)
            assert (refused.status_code, refused.code) == (409, "ConditionalRequestConflict")
        assert (await product.send("DELETE", "k", headers=[("if-match", held)])).status_code == 409
        await product.index.end_origin_write(write_id, WriteOutcome.REFUSED)
        assert (await put(product, ("if-match", '"x"'))).status_code == 412


@pytest.mark.parametrize("state", ["moved", "written here", "deleted here"])
async def test_a_write_past_us_that_begins_just_before_the_commit_is_a_conflict(
    product: Product, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """The origin may have accepted it already, so one of the two writers would be told of a success that is lost."""
    held = await bring_about(product, origin_server, state)
    before = await product.state("k")
    real = type(product.index).put_object

    async def put_late(self: Any, new: Any, *, condition: Any = None) -> Any:
        write_id = await self.begin_origin_write(IMAGES, "k", now_s=0.0)
        try:
            return await real(self, new, condition=condition)
        finally:
            await self.end_origin_write(write_id, WriteOutcome.REFUSED)

    monkeypatch.setattr(type(product.index), "put_object", put_late)
    refused = await put(product, ABSENT if held is None else ("if-match", held))
    assert (refused.status_code, refused.code) == (409, "ConditionalRequestConflict")
    assert await product.state("k") == before
    assert (await put(product)).status_code == 200


@pytest.mark.parametrize("state", HELD)
async def test_conditional_deletes(product: Product, origin_server: OriginServer, state: str) -> None:
    held = await bring_about(product, origin_server, state)
    assert held is not None
    head = await product.send("HEAD", "k")
    size, modified = head.headers["content-length"], head.headers["last-modified"]
    wrong: list[Headers] = [
        [("if-match", '"0"')],
        [("if-match", '"*"')],
        [("x-amz-if-match-size", "1")],
        [("x-amz-if-match-last-modified-time", format_http_date(1_000_000_000))],
        [("if-match", held), ("x-amz-if-match-size", "1")],
        [("if-match", "*"), ("x-amz-if-match-last-modified-time", format_http_date(1_000_000_000))],
    ]
    before = await product.state("k")
    for headers in wrong:
        refused = await product.send("DELETE", "k", headers=headers)
        assert (headers, refused.status_code, refused.code) == (headers, 412, "PreconditionFailed")
    assert await product.state("k") == before
    right = [("if-match", held), ("x-amz-if-match-size", size), ("x-amz-if-match-last-modified-time", modified)]
    assert (await product.send("DELETE", "k", headers=right)).status_code == 204
    assert isinstance(await product.state("k"), Tombstone)


@pytest.mark.parametrize("header", [("if-match", "*"), ("if-match", '"0"'), ("x-amz-if-match-size", "5")])
@pytest.mark.parametrize("state", ABSENT_STATES)
async def test_conditional_deletes_of_nothing(
    product: Product, origin_server: OriginServer, state: str, header: tuple[str, str]
) -> None:
    await bring_about(product, origin_server, state)
    before = await product.state("k")
    assert (await product.send("DELETE", "k", headers=[header])).status_code == 204
    assert await product.state("k") == before


async def test_any_object_may_be_deleted_by_the_star(product: Product, origin_server: OriginServer) -> None:
    origin_server.put("k", THERE)
    assert (await product.send("DELETE", "k", headers=[("if-match", "*")])).status_code == 204
    assert (await product.send("GET", "k")).status_code == 404
