"""Object tags through the product, in every state of a key: in the origin, moved, written here, deleted here."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from addon.s3.tags import TAGGING_BYTES_MAX, tagging_xml, tags_as_told
from addon.store.ports import SourceChanged, WriteOutcome
from addon.store.records import ObjectRecord, Provenance
from tests.s3.xml_samples import BILLION_LAUGHS
from tests.service.fixtures import OriginServer
from tests.service.product import ALONE, OTHER_USER, Answer, Product

TAGS = {"colour": "light blue", "caf\u00e9": ""}
HEADER = ("x-amz-tagging", "colour=light+blue&caf%C3%A9")


async def tags_of(product: Product, key: str, **more: Any) -> dict[str, str]:
    answer = await product.send("GET", key, query="tagging", **more)
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "application/xml"), answer
    return tags_as_told(answer.content)


async def put(product: Product, key: str, tags: dict[str, str], **more: Any) -> Answer:
    return await product.send("PUT", key, query="tagging", body=tagging_xml(tags), **more)


async def counts(product: Product, key: str) -> list[str | None]:
    """`x-amz-tagging-count` of a GET, a HEAD and a range."""
    asked = [("GET", []), ("HEAD", []), ("GET", [("range", "bytes=0-0")])]
    answers = [await product.send(method, key, headers=headers) for method, headers in asked]
    assert [answer.status_code for answer in answers] == [200, 200, 206]
    return [answer.headers.get("x-amz-tagging-count") for answer in answers]


def at_origin(origin_server: OriginServer, key: str) -> dict[str, str]:
    told = origin_server.s3.get_object_tagging(Bucket="images-there", Key=key)["TagSet"]
    return {tag["Key"]: tag["Value"] for tag in told}


async def moved(product: Product, origin_server: OriginServer, key: str, **more: Any) -> ObjectRecord:
    origin_server.put(key, b"moved", **more)
    await product.send("GET", key)
    return await product.copied(key)


async def test_of_an_object_written_here(product: Product) -> None:
    await product.send("PUT", "k", body=b"x", headers=[HEADER, ("content-type", "a/b")])
    assert await tags_of(product, "k") == TAGS
    assert await counts(product, "k") == ["2"] * 3
    before = await product.send("GET", "k")
    assert (await put(product, "k", {"a": "1"})).status_code == 200
    assert await tags_of(product, "k") == {"a": "1"}
    assert await counts(product, "k") == ["1"] * 3
    after = await product.send("GET", "k")
    for name in ("etag", "last-modified", "content-type", "content-length"):
        assert after.headers[name] == before.headers[name]
    assert after.content == b"x"
    deleted = await product.send("DELETE", "k", query="tagging")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert await tags_of(product, "k") == {}
    assert await counts(product, "k") == [None] * 3
    assert product.origin.requests == []


async def test_of_an_object_that_has_not_moved(product: Product, origin_server: OriginServer) -> None:
    origin_server.put("k", b"there", Tagging="a=1")
    assert await tags_of(product, "k") == {"a": "1"}
    assert (await put(product, "k", TAGS)).status_code == 200
    assert at_origin(origin_server, "k") == TAGS
    assert (await product.send("DELETE", "k", query="tagging")).status_code == 204
    assert at_origin(origin_server, "k") == {}
    assert await product.state("k") is None


async def test_tags_come_along_when_an_object_moves(product: Product, origin_server: OriginServer) -> None:
    origin_server.put("k", b"moved", Tagging="colour=light+blue&caf%C3%A9=")
    before = await counts(product, "k")
    record = await product.copied("k")
    assert (record.tags, record.provenance) == (TAGS, Provenance.COPIED_FROM_ORIGIN)
    product.origin.requests.clear()
    assert await tags_of(product, "k") == TAGS
    assert await counts(product, "k") == before == ["2"] * 3
    assert product.origin.requests == []
    await moved(product, origin_server, "plain")
    assert not any(target.endswith("tagging") for _, target in product.origin.requests), "none are not asked for"


async def test_a_moved_object_whose_tags_change_is_ours(product: Product, origin_server: OriginServer) -> None:
    await moved(product, origin_server, "k", Tagging="a=1")
    assert (await put(product, "k", TAGS)).status_code == 200
    state = await product.state("k")
    assert isinstance(state, ObjectRecord)
    assert (state.provenance, state.tags, state.anonymous_read) == (Provenance.WRITTEN_HERE, TAGS, False)
    assert at_origin(origin_server, "k") == {"a": "1"}
    assert await counts(product, "k") == ["2"] * 3
    assert (await product.send("GET", "k")).content == b"moved"


async def test_an_object_that_anyone_could_read_stays_so(product: Product, origin_server: OriginServer) -> None:
    """Nobody has read the copy anonymously yet, so only the origin knows; and it is not asked any more once it is ours."""
    record = await moved(product, origin_server, "k", ACL="public-read")
    assert not record.anonymous_read
    assert (await put(product, "k", TAGS)).status_code == 200
    got = await product.send("GET", "k", by=None)
    assert (got.status_code, got.content) == (200, b"moved")
    assert "x-amz-tagging-count" not in got.headers


async def test_who_may_read_must_be_known(product: Product, origin_server: OriginServer) -> None:
    record = await moved(product, origin_server, "k")
    product.origin.down = True
    assert (await put(product, "k", TAGS)).status_code == 503
    assert await product.state("k") == record


async def test_keys_that_are_not_there(product: Product, origin_server: OriginServer) -> None:
    await moved(product, origin_server, "k", Tagging="a=1")
    await product.send("DELETE", "k")
    for asked in (
        product.send("GET", "k", query="tagging"),
        put(product, "k", TAGS),
        product.send("DELETE", "k", query="tagging"),
        product.send("GET", "never", query="tagging", bucket=ALONE),
        put(product, "never", TAGS, bucket=ALONE),
    ):
        answer = await asked
        assert (answer.status_code, answer.code) == (404, "NoSuchKey")
    assert at_origin(origin_server, "k") == {"a": "1"}


async def test_the_null_version_is_the_current_one_and_others_are_the_origins(product: Product) -> None:
    await product.send("PUT", "k", body=b"x", headers=[HEADER])
    assert tags_as_told((await product.send("GET", "k", query="tagging&versionId=null")).content) == TAGS
    product.origin.requests.clear()
    await product.send("GET", "k", query="tagging&versionId=v1")
    assert product.origin.requests == [("GET", "/images-there/k?tagging&versionId=v1")]


async def test_while_the_origin_is_written_past_us_it_is_asked(product: Product, origin_server: OriginServer) -> None:
    await moved(product, origin_server, "k", Tagging="a=1")
    writes = product.gateway._switch._origin_writes
    write = await writes.begin("images", "k")
    origin_server.put("k", b"newer", Tagging="b=2")
    assert await tags_of(product, "k") == {"b": "2"}
    await writes.end(write, WriteOutcome.ACCEPTED)


async def test_refused_tags_change_nothing(product: Product) -> None:
    await product.send("PUT", "k", body=b"x", headers=[HEADER])
    record = await product.state("k")
    many = tagging_xml({f"k{number}": "" for number in range(11)})
    for body, code in (
        (many, "BadRequest"),
        (tagging_xml({"aws:k": "v"}), "InvalidTag"),
        (tagging_xml({"a" * 129: "v"}), "InvalidTag"),
        (b"", "MalformedXML"),
        (b"<Tagging/>", "MalformedXML"),
        (b"&" * TAGGING_BYTES_MAX, "MalformedXML"),
        (b"&" * (1 << 20), "EntityTooLarge"),
        (BILLION_LAUGHS.replace(b"ROOT", b"Tagging"), "MalformedXML"),
    ):
        answer = await product.send("PUT", "k", query="tagging", body=body)
        assert (answer.status_code, answer.code) == (400, code), body[:40]
    swapped = await product.send(
        "PUT", "k", query="tagging", body=tagging_xml({}), headers=[("content-md5", "A" * 22 + "==")]
    )
    assert swapped.code == "BadDigest"
    for by in (None, OTHER_USER):
        for method in ("GET", "PUT", "DELETE"):
            assert (await product.send(method, "k", query="tagging", by=by)).status_code == 403
    assert await product.state("k") == record


async def test_a_change_that_comes_between_is_not_lost(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    await product.send("PUT", "k", body=b"first")
    real, left = type(product.index).change_object, [3]

    async def overtaken(self: object, record: ObjectRecord, **changes: Any) -> object:
        if left[0]:
            left[0] -= 1
            await product.send("PUT", "k", body=b"second")
        return await real(self, record, **changes)  # type: ignore[arg-type]

    monkeypatch.setattr(type(product.index), "change_object", overtaken)
    assert (await put(product, "k", TAGS)).status_code == 200
    assert (await product.send("GET", "k")).content == b"second"
    assert await tags_of(product, "k") == TAGS

    async def always(*_: object, **__: object) -> None:
        raise SourceChanged("again")

    monkeypatch.setattr(type(product.index), "change_object", always)
    answer = await put(product, "k", {})
    assert (answer.status_code, answer.code) == (409, "ConditionalRequestConflict")
    assert await tags_of(product, "k") == TAGS


async def test_tags_survive_a_restart_and_concurrent_changes(product: Product, tmp_path: Path) -> None:
    await product.send("PUT", "k", body=b"x")
    answers = await asyncio.gather(*(put(product, "k", {"n": str(number)}) for number in range(4)))
    assert {answer.status_code for answer in answers} == {200}
    assert (await tags_of(product, "k"))["n"] in {"0", "1", "2", "3"}
