"""`writes = "both"`: a write is acknowledged when both have it, and what fails at the origin changes nothing here."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from addon.service.write_through import Turns
from addon.store import ports
from addon.store.ports import IndexUnavailable, OriginUnavailable
from addon.store.records import ObjectRecord, Provenance, Tombstone
from tests.service.fixtures import OriginServer
from tests.service.product import IMAGES, Product, eventually, running_product
from tests.service.test_browser_uploads import post, presigned
from tests.service.test_deletions import delete, document, outcomes
from tests.service.uploads import begin, etag_of
from tests.service.written import at_origin, no_marks, tags_at_origin, use

DESCRIBED = [
    ("content-type", "image/png"),
    ("cache-control", "max-age=60"),
    ("x-amz-meta-owner", "anna"),
    ("x-amz-tagging", "a=1&b=two"),
]


@pytest.fixture
async def both(product: Product) -> Product:
    use(product, writes="both")
    return product


async def test_a_put_is_at_both_with_everything_that_belongs_to_it(both: Product, origin_server: OriginServer) -> None:
    body = b"picture" * 1000
    answer = await both.send("PUT", "k", headers=DESCRIBED, body=body)
    assert answer.status_code == 200, answer.text
    there, here = at_origin(origin_server, "k"), await both.send("GET", "k")
    assert there is not None
    assert there["Body"] == here.content == body
    assert there["ETag"] == here.headers["etag"] == answer.headers["etag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert there["ContentType"] == here.headers["content-type"] == "image/png"
    assert there["CacheControl"] == here.headers["cache-control"] == "max-age=60"
    assert there["Metadata"] == {"owner": "anna"}
    assert tags_at_origin(origin_server, "k") == {"a": "1", "b": "two"}
    state = await both.state("k")
    assert isinstance(state, ObjectRecord)
    assert state.provenance is Provenance.WRITTEN_HERE
    assert both.downloads() == 0, "small bytes are still at hand for the origin"
    assert await no_marks(both.index)


async def test_what_the_origin_does_not_take_fails_and_the_former_object_stays(
    both: Product, origin_server: OriginServer
) -> None:
    assert (await both.send("PUT", "k", body=b"former")).status_code == 200
    both.origin.down = True
    for method, body in (("PUT", b"later"), ("DELETE", b"")):
        refused = await both.send(method, "k", body=body)
        assert (refused.status_code, refused.code) == (503, "ServiceUnavailable")
        assert (await both.send("GET", "k")).content == b"former"
    assert outcomes(await delete(both, document("k"))) == {"k": "ServiceUnavailable"}
    assert (await both.send("PUT", "k", query="tagging", body=TAGGING)).status_code == 503
    both.origin.down = False
    assert (await both.send("GET", "k")).content == b"former"
    there = at_origin(origin_server, "k")
    assert there is not None
    assert there["Body"] == b"former"
    assert await no_marks(both.index)
    assert (await both.send("PUT", "k", body=b"later")).status_code == 200
    assert origin_server.get("k") == b"later"


TAGGING = b"<Tagging><TagSet><Tag><Key>x</Key><Value>y</Value></Tag></TagSet></Tagging>"


async def test_where_the_origin_cannot_be_reached_a_copy_stays_too(
    both: Product, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin_server.put("k", b"moved")
    await both.send("GET", "k")
    await both.copied("k")
    origin = both.store._origins[IMAGES]
    assert origin is not None
    monkeypatch.setattr(origin, "address", replace(origin.address, port=1))  # type: ignore[attr-defined]
    assert (await both.send("PUT", "k", body=b"later")).status_code == 503
    monkeypatch.undo()
    state = await both.state("k")
    assert isinstance(state, ObjectRecord)
    assert (await both.send("GET", "k")).content == b"moved"


async def test_an_index_that_fails_after_the_origin_took_it_claims_nothing(
    both: Product, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await both.send("PUT", "ours", body=b"former")).status_code == 200
    origin_server.put("moved", b"former")
    await both.send("GET", "moved")
    await both.copied("moved")

    async def fails(*_: object, **__: object) -> ObjectRecord:
        raise IndexUnavailable("the disk is full")

    monkeypatch.setattr(both.index, "put_object", fails)
    for key in ("ours", "moved"):
        assert (await both.send("PUT", key, body=b"later")).status_code == 503
        assert origin_server.get(key) == b"later"
    assert (await both.send("GET", "ours")).content == b"former"
    assert (await both.send("GET", "moved")).content == b"later", "the origin is asked"
    assert await no_marks(both.index)


async def test_deletes_reach_both(both: Product, origin_server: OriginServer) -> None:
    for key in ("a", "b", "c", "d"):
        assert (await both.send("PUT", key, body=b"x")).status_code == 200
    origin_server.put("unmoved", b"x")
    assert (await both.send("DELETE", "a")).status_code == 204
    deleted = outcomes(await delete(both, document("b", "c", "unmoved", "never")))
    assert deleted == dict.fromkeys(("b", "c", "unmoved", "never"), "Deleted")
    assert origin_server.keys() == {"d"}
    assert isinstance(await both.state("unmoved"), Tombstone)
    assert (await both.send("GET", "b")).status_code == 404


async def test_tags_and_acls_reach_both(both: Product, origin_server: OriginServer) -> None:
    use(both)
    assert (await both.send("PUT", "only-here", body=b"x")).status_code == 200
    use(both, writes="both")
    assert (await both.send("PUT", "k", body=b"x")).status_code == 200
    origin_server.put("moved", b"x")
    await both.send("GET", "moved")
    await both.copied("moved")
    for key in ("only-here", "k", "moved"):
        assert (await both.send("PUT", key, query="tagging", body=TAGGING)).status_code == 200
        assert tags_at_origin(origin_server, key) == {"x": "y"}, key
        assert "<Value>y</Value>" in (await both.send("GET", key, query="tagging")).text
        assert (await both.send("PUT", key, query="acl", headers=[("x-amz-acl", "public-read")])).status_code == 200
        grants = origin_server.s3.get_object_acl(Bucket="images-there", Key=key)["Grants"]
        assert any("AllUsers" in grant["Grantee"].get("URI", "") for grant in grants), key
        assert (await both.send("DELETE", key, query="tagging")).status_code == 204
        assert tags_at_origin(origin_server, key) == {}
    assert origin_server.get("only-here") == b"x"


async def test_an_upload_in_parts_has_the_same_etag_at_both(both: Product, origin_server: OriginServer) -> None:
    parts = [b"a" * (5 << 20), b"the end"]
    upload = await begin(both, "k", headers=[("content-type", "image/x"), ("x-amz-meta-a", "b")])
    for number, part in enumerate(parts, start=1):
        assert (await upload.put(number, part)).status_code == 200
    completed = await upload.complete()
    assert completed.status_code == 200, completed.text
    there = at_origin(origin_server, "k")
    assert there is not None
    assert there["ETag"] == f'"{etag_of(parts)}"' == (await both.send("HEAD", "k")).headers["etag"]
    assert there["Body"] == b"".join(parts)
    assert (there["ContentType"], there["Metadata"]) == ("image/x", {"a": "b"})
    assert (await upload.complete()).text == completed.text


async def test_a_completion_that_fails_at_the_origin_may_be_tried_again(
    both: Product, origin_server: OriginServer
) -> None:
    upload = await begin(both, "k")
    await upload.put(1, b"part")
    both.origin.down = True
    assert (await upload.complete()).status_code == 503
    assert await both.state("k") is None
    both.origin.down = False
    assert (await upload.complete()).status_code == 200
    assert origin_server.get("k") == b"part"


async def test_copies_and_forms_reach_both(both: Product, origin_server: OriginServer) -> None:
    use(both)
    assert (await both.send("PUT", "source", body=b"only here", headers=DESCRIBED)).status_code == 200
    use(both, writes="both")
    copied = await both.send("PUT", "copy", headers=[("x-amz-copy-source", f"/{IMAGES}/source")])
    assert copied.status_code == 200, copied.text
    assert (
        await post(both, presigned("form", {"Content-Type": "image/gif"}, [{"Content-Type": "image/gif"}]))
    ).status_code == 204
    copy, form = at_origin(origin_server, "copy"), at_origin(origin_server, "form")
    assert copy is not None
    assert form is not None
    assert (copy["Body"], copy["ContentType"], copy["Metadata"]) == (b"only here", "image/png", {"owner": "anna"})
    assert form["ContentType"] == "image/gif"
    assert origin_server.keys() == {"copy", "form"}
    assert (await both.send("GET", "copy")).content == b"only here"


async def test_of_racing_conditional_writers_one_wins_at_both(both: Product, origin_server: OriginServer) -> None:
    bodies = [f"writer {number}".encode() for number in range(6)]
    answers = await asyncio.gather(
        *(both.send("PUT", "k", headers=[("if-none-match", "*")], body=body) for body in bodies)
    )
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 409, 412}
    won = bodies[statuses.index(200)]
    assert (await both.send("GET", "k")).content == origin_server.get("k") == won


async def test_racing_writers_leave_the_same_at_both(both: Product, origin_server: OriginServer) -> None:
    bodies = [f"writer {number}".encode() for number in range(8)]
    answers = await asyncio.gather(*(both.send("PUT", "k", body=body) for body in bodies), both.send("DELETE", "k"))
    assert [answer.status_code for answer in answers] == [200] * 8 + [204]
    there, here = at_origin(origin_server, "k"), await both.send("GET", "k")
    assert here.status_code == (404 if there is None else 200)
    assert there is None or there["Body"] == here.content


async def test_a_write_that_goes_past_us_meanwhile_leaves_the_last_word_to_the_origin(
    both: Product, origin_server: OriginServer
) -> None:
    passages = both.gateway._passages
    both.origin.gate.clear()
    ours = asyncio.create_task(both.send("PUT", "k", body=b"ours"))
    await eventually(lambda: any(method == "PUT" for method, _ in both.origin.requests))
    theirs = await passages._origin_writes.begin(IMAGES, "k")
    both.origin.gate.set()
    assert (await ours).status_code == 200
    origin_server.put("k", b"theirs")
    await passages._origin_writes.end(theirs, ports.WriteOutcome.ACCEPTED)
    assert await both.state("k") is None
    assert (await both.send("GET", "k")).content == b"theirs"


async def test_a_crash_between_origin_and_index_leaves_a_mark_that_the_next_start_resolves(
    tmp_path: Path, origin_server: OriginServer, quick_retries: None
) -> None:
    async with running_product(tmp_path, origin_server.port, images='writes = "both"') as product:
        origin_server.put("k", b"moved")
        await product.send("GET", "k")
        await product.copied("k")
        product.origin.answers.clear()
        product.origin.answer_bytes = 1
        ours = asyncio.create_task(product.send("PUT", "k", body=b"later"))
        await eventually(lambda: origin_server.get("k") == b"later")
        assert await product.index.has_origin_write(IMAGES, "k")
        # What a start does after the process was killed here.
        assert await product.index.resolve_cut_off_origin_writes() == 1
        assert await product.state("k") is None
        product.origin.answers.set()
        await ours


async def test_switched_back_writes_go_to_telegram_alone(both: Product, origin_server: OriginServer) -> None:
    assert (await both.send("PUT", "k", body=b"both")).status_code == 200
    use(both)
    both.origin.requests.clear()
    assert (await both.send("PUT", "k", body=b"here")).status_code == 200
    assert (await both.send("DELETE", "other")).status_code == 204
    assert both.origin.requests == []
    assert (await both.send("GET", "k")).content == b"here"
    assert origin_server.get("k") == b"both"


async def test_turns_of_a_key_come_one_after_another_and_wait_within_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns()
    async with turns.of("b", "k"), turns.of("b", "other"):
        monkeypatch.setattr("addon.service.write_through.TURN_WAIT_S_MAX", 0.01)
        with pytest.raises(OriginUnavailable):
            async with turns.of("b", "k"):
                raise AssertionError
    async with turns.of("b", "k"):
        assert len(turns._locks) == 1
    assert turns._locks == {}
