"""CopyObject in every state of its source: the same object, nothing sent twice, nothing lost, and a refusal changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from addon.index.sql_index import SqlIndex
from addon.s3.http_dates import format_http_date
from addon.store.layout import extent_bytes_max
from addon.store.ports import SourceChanged, WriteOutcome
from addon.store.records import ObjectRecord, Provenance, Tombstone
from addon.telegram.documents import DOCUMENT_BYTES_MAX
from tests.service.fixtures import OriginServer
from tests.service.product import ALONE, IMAGES, OPEN, OTHER, Answer, Product, eventually, running_product
from tests.service.signing import Headers
from tests.service.uploads import begin, by_boto, checksum, product_with_small_parts

V1, V2 = random.Random(31).randbytes(150_000), random.Random(32).randbytes(70_000)
META = {"ContentType": "image/png", "CacheControl": "max-age=60", "Metadata": {"a": "1"}}
META_HEADERS = [("content-type", "image/png"), ("cache-control", "max-age=60"), ("x-amz-meta-a", "1")]
STATES = ("only at the origin", "moved", "written here", "without origin")
FAILS: dict[str, Any] = {"match": {"method": "sendDocument"}, "times": None, "action": {"kind": "http", "code": 500}}


async def copy(
    product: Product, source: str = f"/{IMAGES}/source", to: str = "k", headers: Headers = (), **more: Any
) -> Answer:
    return await product.send("PUT", to, headers=[("x-amz-copy-source", source), *headers], **more)


async def bring_about(product: Product, origin_server: OriginServer, state: str) -> str:
    """A source in this state with `V1`; returns its bucket."""
    if state in ("only at the origin", "moved"):
        origin_server.put("source", V1, Tagging="t=1", **META)
        if state == "moved":
            await product.send("GET", "source")
            await product.copied("source")
        return IMAGES
    bucket = ALONE if state == "without origin" else IMAGES
    headers = [*META_HEADERS, ("x-amz-tagging", "t=1")]
    assert (await product.send("PUT", "source", bucket=bucket, headers=headers, body=V1)).status_code == 200
    return bucket


async def tags_of(product: Product, key: str, bucket: str = IMAGES) -> dict[str, str]:
    answer = await product.send("GET", key, bucket=bucket, query="tagging")
    return dict(re.findall("<Key>(.*?)</Key><Value>(.*?)</Value>", answer.text))


async def record(product: Product, key: str = "k", bucket: str = IMAGES) -> ObjectRecord:
    state = await product.state(key, bucket)
    assert isinstance(state, ObjectRecord)
    return state


def documents(*records: ObjectRecord) -> set[str]:
    return {extent.document.document_id for one in records for extent in one.extents}


@pytest.mark.parametrize("to_bucket", [IMAGES, OPEN, ALONE])
@pytest.mark.parametrize("state", STATES)
async def test_a_copy_is_the_same_object(
    product: Product, origin_server: OriginServer, state: str, to_bucket: str
) -> None:
    from_bucket = await bring_about(product, origin_server, state)
    source = await product.send("HEAD", "source", bucket=from_bucket)
    sends = product.sends()
    made = await copy(product, f"/{from_bucket}/source", bucket=to_bucket)
    assert (made.status_code, made.headers["content-type"]) == (200, "application/xml")
    assert f"<ETag>{source.headers['etag']}</ETag>" in made.text
    assert re.search(r"<LastModified>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z</LastModified>", made.text)
    assert product.sends() == sends + (state == "only at the origin")
    got = await product.send("GET", "k", bucket=to_bucket)
    assert got.content == V1
    for name in ("etag", "content-type", "cache-control", "x-amz-meta-a", "content-length"):
        assert got.headers[name] == source.headers[name]
    assert await tags_of(product, "k", to_bucket) == {"t": "1"}
    copied = await record(product, bucket=to_bucket)
    assert copied.provenance is Provenance.WRITTEN_HERE
    assert not copied.anonymous_read
    assert "k" not in origin_server.keys() | origin_server.keys("open-there")
    assert product.spooled() == []


@pytest.mark.parametrize("state", STATES)
async def test_a_copy_outlives_its_source(product: Product, origin_server: OriginServer, state: str) -> None:
    bucket = await bring_about(product, origin_server, state)
    assert (await copy(product, f"/{bucket}/source")).status_code == 200
    assert (await product.send("DELETE", "source", bucket=bucket)).status_code == 204
    if state != "without origin":
        origin_server.s3.delete_object(Bucket="images-there", Key="source")
    assert (await product.send("GET", "k")).content == V1
    assert await product.garbage() == set(product.documents_in_telegram()) - documents(await record(product))
    assert (await product.send("DELETE", "k")).status_code == 204
    assert await product.garbage() == set(product.documents_in_telegram())


@pytest.mark.parametrize("state", STATES)
async def test_metadata_tags_acl_and_checksum_of_ones_own(
    product: Product, origin_server: OriginServer, state: str
) -> None:
    bucket = await bring_about(product, origin_server, state)
    wishes = [
        ("x-amz-metadata-directive", "REPLACE"),
        ("content-type", "text/plain"),
        ("x-amz-meta-b", "2"),
        ("x-amz-tagging-directive", "REPLACE"),
        ("x-amz-tagging", "u=2"),
        ("x-amz-acl", "public-read"),
        ("x-amz-storage-class", "STANDARD_IA"),
        ("x-amz-checksum-algorithm", "SHA256"),
    ]
    made = await copy(product, f"/{bucket}/source", headers=wishes)
    assert f"<ChecksumSHA256>{checksum('sha256', V1)}</ChecksumSHA256>" in made.text
    got = await product.send("GET", "k", headers=[("x-amz-checksum-mode", "ENABLED")])
    assert (got.content, got.headers["content-type"], got.headers["x-amz-meta-b"]) == (V1, "text/plain", "2")
    assert got.headers["x-amz-storage-class"] == "STANDARD_IA"
    assert got.headers["x-amz-checksum-sha256"] == checksum("sha256", V1)
    assert not {"cache-control", "x-amz-meta-a"} & set(got.headers)
    assert await tags_of(product, "k") == {"u": "2"}
    assert (await product.send("GET", "k", by=None)).content == V1
    again = await copy(product, f"/{IMAGES}/k", to="k2")
    assert "<ChecksumSHA256>" in again.text, "a checksum that is there stays"
    assert (await product.send("GET", "k2", by=None)).status_code == 403, "an ACL is never copied"
    assert "x-amz-storage-class" not in (await product.send("HEAD", "k2")).headers


@pytest.mark.parametrize("state", STATES)
async def test_a_refused_copy_changes_nothing(product: Product, origin_server: OriginServer, state: str) -> None:
    bucket = await bring_about(product, origin_server, state)
    head = await product.send("HEAD", "source", bucket=bucket)
    etag, modified = head.headers["etag"], head.headers["last-modified"]
    assert (await product.send("PUT", "k", body=V2)).status_code == 200
    before, sends = await record(product), product.sends()
    long_ago = format_http_date(1_000_000_000)
    refusals: list[tuple[Headers, int, str]] = [
        ([("x-amz-copy-source-if-match", '"0"')], 412, "PreconditionFailed"),
        ([("x-amz-copy-source-if-none-match", etag)], 412, "PreconditionFailed"),
        ([("x-amz-copy-source-if-modified-since", modified)], 412, "PreconditionFailed"),
        ([("x-amz-copy-source-if-unmodified-since", long_ago)], 412, "PreconditionFailed"),
        ([("if-none-match", "*")], 412, "PreconditionFailed"),
        ([("if-match", etag)], 412, "PreconditionFailed"),
        ([("if-match", "*")], 501, "NotImplemented"),
        ([("x-amz-metadata-directive", "MERGE")], 400, "InvalidArgument"),
        ([("x-amz-copy-source-server-side-encryption-customer-key", "k")], 501, "NotImplemented"),
    ]
    for headers, status, code in refusals:
        refused = await copy(product, f"/{bucket}/source", headers=headers)
        assert (headers, refused.status_code, refused.code) == (headers, status, code)
    for source, status, code in (
        (f"/{bucket}/nothing", 404, "NoSuchKey"),
        ("/nowhere/source", 403, "AccessDenied"),
        (f"/{OTHER}/source", 403, "AccessDenied"),
        (bucket, 400, "InvalidArgument"),
    ):
        refused = await copy(product, source)
        assert (source, refused.status_code, refused.code) == (source, status, code)
    with_body = await copy(product, f"/{bucket}/source", body=b"body")
    assert (with_body.status_code, with_body.code) == (400, "InvalidRequest")
    versioned = await copy(product, f"/{bucket}/source", query="versionId=v1")
    assert (versioned.status_code, versioned.code) == (400, "InvalidArgument")
    assert (await product.send("PUT", "k", headers=[("x-amz-copy-source", f"/{bucket}/source")], by=None)).code
    assert await record(product) == before
    assert product.sends() == sends


@pytest.mark.parametrize("state", STATES)
async def test_conditions_that_hold(product: Product, origin_server: OriginServer, state: str) -> None:
    bucket = await bring_about(product, origin_server, state)
    etag = (await product.send("HEAD", "source", bucket=bucket)).headers["etag"]
    long_ago = format_http_date(1_000_000_000)
    of_source = [("x-amz-copy-source-if-match", etag), ("x-amz-copy-source-if-unmodified-since", long_ago)]
    assert (await copy(product, f"/{bucket}/source", headers=[*of_source, ("if-none-match", "*")])).status_code == 200
    assert (await copy(product, f"/{bucket}/source", headers=[("if-match", etag)])).status_code == 200
    assert (await product.send("GET", "k")).content == V1


@pytest.mark.parametrize("state", STATES)
async def test_a_copy_onto_itself(product: Product, origin_server: OriginServer, state: str) -> None:
    bucket = await bring_about(product, origin_server, state)
    before = await product.state("source", bucket)
    refused = await copy(product, f"/{bucket}/source", to="source", bucket=bucket)
    assert (refused.status_code, refused.code) == (400, "InvalidRequest")
    assert "trying to copy an object to itself without changing" in refused.text
    assert await product.state("source", bucket) == before
    change = [("x-amz-metadata-directive", "REPLACE"), ("x-amz-meta-b", "2")]
    assert (await copy(product, f"/{bucket}/source", to="source", headers=change, bucket=bucket)).status_code == 200
    got = await product.send("GET", "source", bucket=bucket)
    assert (got.content, got.headers["x-amz-meta-b"], got.headers.get("x-amz-meta-a")) == (V1, "2", None)
    now = await record(product, "source", bucket)
    assert now.provenance is Provenance.WRITTEN_HERE
    assert await product.garbage() == set(product.documents_in_telegram()) - documents(now)
    assert await tags_of(product, "source", bucket) == {"t": "1"}


async def test_an_announced_body_that_does_not_come_is_none(product: Product) -> None:
    assert (await product.send("PUT", "source", body=V1)).status_code == 200

    async def body(*pieces: bytes) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    assert (await copy(product, body=body())).status_code == 200
    assert (await copy(product, to="k2", body=body(b"x"))).code == "InvalidRequest"
    assert await product.state("k2") is None


async def test_a_deleted_source_is_not_there(product: Product, origin_server: OriginServer) -> None:
    """Although the origin still has it."""
    await bring_about(product, origin_server, "moved")
    await product.send("DELETE", "source")
    product.origin.requests.clear()
    refused = await copy(product)
    assert (refused.status_code, refused.code) == (404, "NoSuchKey")
    assert product.origin.requests == []
    assert await product.state("k") is None


async def test_no_spelling_of_the_version_null_brings_back_what_was_deleted(
    product: Product, origin_server: OriginServer
) -> None:
    origin_server.put("source", V1)
    assert (await product.send("DELETE", "source")).status_code == 204
    for spelling in ("null", "%6Eull", "%6e%75%6c%6c"):
        refused = await copy(product, f"/{IMAGES}/source?versionId={spelling}")
        assert (spelling, refused.status_code, refused.code) == (spelling, 404, "NoSuchVersion")
    assert await product.state("k") is None


async def test_a_source_written_over_the_origins_is_the_one_that_is_copied(
    product: Product, origin_server: OriginServer
) -> None:
    origin_server.put("source", V2)
    assert (await product.send("PUT", "source", body=V1)).status_code == 200
    assert (await copy(product)).status_code == 200
    assert (await product.send("GET", "k")).content == V1


async def test_a_copy_that_may_be_stale_is_read_at_the_origin(product: Product, origin_server: OriginServer) -> None:
    await bring_about(product, origin_server, "moved")
    origin_server.put("source", V2)
    writes = product.gateway._passages._origin_writes
    write = await writes.begin(IMAGES, "source")
    assert (await copy(product)).status_code == 200
    assert (await product.send("GET", "k")).content == V2
    await writes.end(write, WriteOutcome.ACCEPTED)


async def test_a_tombstone_of_the_target_is_lifted(product: Product, origin_server: OriginServer) -> None:
    await bring_about(product, origin_server, "only at the origin")
    await product.send("DELETE", "k")
    assert isinstance(await product.state("k"), Tombstone)
    assert (await copy(product, headers=[("if-none-match", "*")])).status_code == 200
    assert (await product.send("GET", "k")).content == V1


async def test_an_empty_object(product: Product, origin_server: OriginServer) -> None:
    origin_server.put("at-origin", b"")
    assert (await product.send("PUT", "here", body=b"")).status_code == 200
    sends = product.sends()
    for source in ("at-origin", "here"):
        assert (await copy(product, f"/{IMAGES}/{source}", headers=[("x-amz-checksum-algorithm", "SHA1")])).code == ""
        got = await product.send("GET", "k")
        assert (got.status_code, got.content) == (200, b"")
    assert product.sends() == sends


async def test_an_object_of_several_documents(product: Product, origin_server: OriginServer) -> None:
    body = random.Random(33).randbytes(extent_bytes_max(DOCUMENT_BYTES_MAX) + 12_345)
    origin_server.put("source", body)
    assert (await copy(product)).status_code == 200
    assert (await copy(product, f"/{IMAGES}/k", to="k2")).status_code == 200
    await product.send("DELETE", "k")
    assert (await product.send("GET", "k2")).content == body
    assert len(product.documents_in_telegram()) == 2
    assert await product.garbage() == set()


async def test_a_copy_of_a_multipart_object_keeps_its_parts(
    tmp_path: Path, origin_server: OriginServer, quick_retries: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with product_with_small_parts(tmp_path, origin_server.port, monkeypatch) as product:
        upload = await begin(product, "source")
        for number, body in ((1, V1), (2, V2)):
            assert (await upload.put(number, body)).status_code == 200
        assert (await upload.complete()).status_code == 200
        sends = product.sends()
        assert (await copy(product)).status_code == 200
        await product.send("DELETE", "source")
        got = await product.send("GET", "k")
        assert got.content == V1 + V2
        assert got.headers["etag"].endswith('-2"')
        assert (await product.send("GET", "k", query="partNumber=2")).content == V2
        assert product.sends() == sends
        assert await product.garbage() == set()


async def test_a_multipart_object_of_the_origin(product: Product, origin_server: OriginServer) -> None:
    s3, where = origin_server.s3, {"Bucket": "images-there", "Key": "source"}
    body = random.Random(34).randbytes(5 << 20)
    upload_id = s3.create_multipart_upload(**where)["UploadId"]
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part(**where, UploadId=upload_id, PartNumber=n, Body=data)["ETag"]}
        for n, data in ((1, body), (2, V1))
    ]
    etag = s3.complete_multipart_upload(**where, UploadId=upload_id, MultipartUpload={"Parts": parts})["ETag"]
    assert (await copy(product)).status_code == 200
    got = await product.send("GET", "k")
    assert (got.headers["etag"], got.content) == (etag, body + V1)


async def test_versions(product: Product, origin_server: OriginServer) -> None:
    s3 = origin_server.s3
    s3.put_bucket_versioning(Bucket="open-there", VersioningConfiguration={"Status": "Enabled"})
    try:
        first = s3.put_object(Bucket="open-there", Key="source", Body=V1)["VersionId"]
        s3.put_object(Bucket="open-there", Key="source", Body=V2)
        assert (await copy(product, f"/{OPEN}/source?versionId={first}", bucket=OPEN)).status_code == 200
        assert (await product.send("GET", "k", bucket=OPEN)).content == V1
        assert (await copy(product, f"/{OPEN}/source?versionId=null", bucket=OPEN)).code == "NoSuchVersion"
        # The older version in the place of the current one.
        assert (await copy(product, f"/{OPEN}/source?versionId={first}", to="source", bucket=OPEN)).status_code == 200
        assert (await product.send("GET", "source", bucket=OPEN)).content == V1
        assert (await copy(product, f"/{OPEN}/source?versionId=null", to="k2", bucket=OPEN)).status_code == 200
        await product.send("DELETE", "source", bucket=OPEN)
        assert (await copy(product, f"/{OPEN}/source?versionId=null", bucket=OPEN)).code == "NoSuchVersion"
        assert (await copy(product, f"/{OPEN}/source?versionId={first}", bucket=OPEN)).status_code == 200
    finally:
        for version in s3.list_object_versions(Bucket="open-there").get("Versions", []):
            s3.delete_object(Bucket="open-there", Key=version["Key"], VersionId=version["VersionId"])
        s3.put_bucket_versioning(Bucket="open-there", VersioningConfiguration={"Status": "Suspended"})
    assert (await product.send("PUT", "source", bucket=ALONE, body=V1)).status_code == 200
    assert (await copy(product, f"/{ALONE}/source?versionId=v1")).code == "NoSuchVersion"
    assert (await copy(product, f"/{ALONE}/source?versionId=null", to="k3")).status_code == 200


@pytest.mark.parametrize(
    "key",
    ["a/b c", "a+b", "a%b", "caf\u00e9", "a?b", "..", "../x", "a//b", "/lead", "a\nb", "k?versionId=x", "index.db"],
)
async def test_keys_in_odd_spellings(product: Product, origin_server: OriginServer, key: str) -> None:
    """Attacks 23 and 24: the key that is authorised is the one that is read."""

    def source(name: str) -> dict[str, str]:
        return {"Bucket": IMAGES, "Key": name}

    if "\n" not in key:  # moto has no route for it
        origin_server.put(key, V1)
        await by_boto(product, lambda s3: s3.copy_object(Bucket=IMAGES, Key="k", CopySource=source(key)))
        assert (await product.send("GET", "k")).content == V1
    await by_boto(product, lambda s3: s3.put_object(Bucket=IMAGES, Key=key, Body=V2))
    await by_boto(product, lambda s3: s3.copy_object(Bucket=IMAGES, Key=key + "2", CopySource=source(key)))
    assert (await record(product, key + "2")).extents == (await record(product, key)).extents


async def test_what_the_origin_breaks_off_is_no_copy(product: Product, origin_server: OriginServer) -> None:
    await bring_about(product, origin_server, "only at the origin")
    assert (await product.send("PUT", "k", body=V2)).status_code == 200
    product.origin.answer_bytes, _ = 60_000, product.origin.answers.clear()
    copying = asyncio.create_task(copy(product))
    await eventually(lambda: product.origin.gets_of("source") == 1)
    product.origin.down = True
    product.origin.answers.set()
    refused = await copying
    assert (refused.status_code, refused.code) == (503, "ServiceUnavailable")
    product.origin.down = False
    assert (await product.send("GET", "k")).content == V2
    assert await product.garbage() == set(product.documents_in_telegram()) - documents(await record(product))
    assert product.spooled() == []


async def test_while_telegram_takes_nothing_a_copy_of_what_is_held_goes_on(
    product: Product, origin_server: OriginServer
) -> None:
    await bring_about(product, origin_server, "moved")
    origin_server.put("other", V2)
    product.standin.control.faults(FAILS)
    assert (await copy(product)).status_code == 200
    refused = await copy(product, f"/{IMAGES}/other", to="k2")
    assert (refused.status_code, refused.code) == (503, "SlowDown")
    assert await product.state("k2") is None


async def test_too_large_a_source(tmp_path: Path, origin_server: OriginServer, quick_retries: None) -> None:
    origin_server.put("source", V1)
    async with running_product(tmp_path, origin_server.port, service="object_bytes_max = 100000") as product:
        refused = await copy(product)
        assert (refused.status_code, refused.code) == (400, "InvalidRequest")
        assert "larger than the maximum allowable size for a copy source: 100000" in refused.text
        assert product.sends() == 0


@contextlib.asynccontextmanager
async def held_at_commit(
    monkeypatch: pytest.MonkeyPatch, method: str, *, times: int = 1
) -> AsyncIterator[tuple[asyncio.Event, asyncio.Event]]:
    """The first `times` calls of an index method wait: (they are there, let them go)."""
    there, go = asyncio.Event(), asyncio.Event()
    original, left = getattr(SqlIndex, method), times

    async def waiting(self: SqlIndex, *arguments: Any, **named: Any) -> Any:
        nonlocal left
        if left:
            left -= 1
            there.set()
            await go.wait()
        return await original(self, *arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(SqlIndex, method, waiting)
        try:
            yield there, go
        finally:
            go.set()


@pytest.mark.parametrize("then", ["written", "deleted"])
async def test_a_source_that_changes_under_the_copy_is_looked_at_anew(
    product: Product, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    """The old version's document is garbage by then: a copy of it would be a copy of nothing."""
    await bring_about(product, origin_server, "written here")
    async with held_at_commit(monkeypatch, "copy_object") as (there, go):
        copying = asyncio.create_task(copy(product))
        await there.wait()
        changed = await product.send("PUT" if then == "written" else "DELETE", "source", body=V2 * (then == "written"))
        assert changed.status_code in (200, 204)
        go.set()
        made = await copying
    if then == "written":
        assert made.status_code == 200
        assert (await product.send("GET", "k")).content == V2
    else:
        assert (made.status_code, made.code) == (404, "NoSuchKey")
        assert await product.state("k") is None


async def test_a_source_that_never_stays_the_same_is_a_conflict(
    product: Product, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bring_about(product, origin_server, "written here")

    async def changed(*_: object, **__: object) -> None:
        raise SourceChanged("changed")

    monkeypatch.setattr(SqlIndex, "copy_object", changed)
    refused = await copy(product)
    assert (refused.status_code, refused.code) == (409, "ConditionalRequestConflict")


@pytest.mark.parametrize("then", ["written", "deleted"])
async def test_a_copy_onto_itself_from_the_origin_undoes_no_newer_write(
    product: Product, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    origin_server.put("source", V1)
    change = [("x-amz-metadata-directive", "REPLACE"), ("x-amz-meta-b", "2")]
    product.origin.answer_bytes, _ = 60_000, product.origin.answers.clear()
    copying = asyncio.create_task(copy(product, to="source", headers=change))
    await eventually(lambda: product.origin.gets_of("source") == 1)
    changed = await product.send("PUT" if then == "written" else "DELETE", "source", body=V2 * (then == "written"))
    assert changed.status_code in (200, 204)
    product.origin.answers.set()
    made = await copying
    if then == "written":
        assert made.status_code == 200
        got = await product.send("GET", "source")
        assert (got.content, got.headers["x-amz-meta-b"]) == (V2, "2")
    else:
        assert (made.status_code, made.code) == (404, "NoSuchKey")
        assert isinstance(await product.state("source"), Tombstone)
    await eventually(lambda: product.spooled() == [])


async def test_copies_race_with_writes_and_deletes(product: Product, origin_server: OriginServer) -> None:
    """Whatever wins, each key holds one whole version or nothing, and no document is lost or forgotten."""
    origin_server.put("a", V1)
    versions = [V1, V2, *(random.Random(number).randbytes(50_000) for number in range(6))]
    rng = random.Random(5)

    async def change(number: int) -> int:
        keys = rng.sample(["a", "b", "c"], 2)
        match rng.choice(["put", "copy", "copy", "copy", "delete"]):
            case "put":
                answer = await product.send("PUT", keys[0], body=rng.choice(versions))
            case "delete":
                answer = await product.send("DELETE", keys[0])
            case _:
                answer = await copy(product, f"/{IMAGES}/{keys[0]}", to=keys[1])
        return answer.status_code

    statuses: Counter[int] = Counter()
    for _ in range(8):
        statuses.update(await asyncio.gather(*(change(number) for number in range(10))))
    assert set(statuses) <= {200, 204, 404, 409}, statuses
    await eventually(lambda: product.spooled() == [])
    kept: set[str] = set()
    for key in ("a", "b", "c"):
        state = await product.state(key)
        if isinstance(state, ObjectRecord):
            got = await product.send("GET", key)
            assert hashlib.md5(got.content).hexdigest() == state.etag
            kept |= documents(state)
    assert await product.garbage() == set(product.documents_in_telegram()) - kept


async def test_of_racing_conditional_copies_exactly_one_wins(product: Product, origin_server: OriginServer) -> None:
    origin_server.put("at-origin", V1)
    assert (await product.send("PUT", "here", body=V2)).status_code == 200
    sources = ["at-origin", "here"] * 5
    answers: Sequence[Answer] = await asyncio.gather(
        *(copy(product, f"/{IMAGES}/{source}", headers=[("if-none-match", "*")]) for source in sources)
    )
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses[200] == 1, statuses
    assert set(statuses) <= {200, 409, 412}
    kept = documents(await record(product), await record(product, "here"))
    assert await product.garbage() == set(product.documents_in_telegram()) - kept
