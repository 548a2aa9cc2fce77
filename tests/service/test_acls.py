"""Access control lists of objects through the product: what they say, and who may read afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from addon.s3.acl import ALL_USERS, OWNER_ID, acl_xml
from addon.store.records import ObjectRecord, Provenance
from tests.service.fixtures import OriginServer
from tests.service.product import ALONE, OTHER_USER, Answer, Product

PUBLIC, PRIVATE = ("x-amz-acl", "public-read"), ("x-amz-acl", "private")
GRANT = ("x-amz-grant-read", f'uri="{ALL_USERS}"')


async def put_acl(product: Product, key: str, *headers: tuple[str, str], body: bytes = b"", **more: Any) -> Answer:
    return await product.send("PUT", key, query="acl", headers=headers, body=body, **more)


async def anyone_reads(product: Product, key: str, bucket: str = "images") -> bool:
    status = (await product.send("GET", key, bucket=bucket, by=None)).status_code
    assert status in (200, 403)
    return status == 200


async def told(product: Product, key: str, **more: Any) -> bool:
    """Whether the list says that anyone may read."""
    answer = await product.send("GET", key, query="acl", **more)
    assert answer.status_code == 200
    assert "FULL_CONTROL" in answer.text
    return ALL_USERS in answer.text


async def moved(product: Product, origin_server: OriginServer, key: str, **more: Any) -> ObjectRecord:
    origin_server.put(key, b"moved", **more)
    await product.send("GET", key)
    return await product.copied(key)


def public_at_origin(origin_server: OriginServer, key: str) -> bool:
    grants = origin_server.s3.get_object_acl(Bucket="images-there", Key=key)["Grants"]
    return any(grant["Grantee"].get("URI") == ALL_USERS for grant in grants)


@pytest.mark.parametrize("given", [[PUBLIC], [GRANT]])
async def test_an_upload_says_who_may_read(product: Product, given: list[tuple[str, str]]) -> None:
    await product.send("PUT", "k", body=b"x", headers=given)
    assert (await told(product, "k"), await anyone_reads(product, "k")) == (True, True)
    await product.send("PUT", "k", body=b"x", headers=[PRIVATE])
    assert (await told(product, "k"), await anyone_reads(product, "k")) == (False, False)


async def test_of_an_object_written_here(product: Product) -> None:
    await product.send("PUT", "k", body=b"x")
    before = await product.send("GET", "k")
    for public in (True, False, True):
        for change in (
            {"headers": [PUBLIC if public else PRIVATE]},
            {"body": acl_xml(anonymous_read=public)},
        ):
            answer = await product.send("PUT", "k", query="acl", **change)
            assert (answer.status_code, answer.content) == (200, b"")
            assert (await told(product, "k"), await anyone_reads(product, "k")) == (public, public)
    after = await product.send("GET", "k")
    assert (after.content, after.headers["last-modified"]) == (before.content, before.headers["last-modified"])
    assert product.origin.requests == []


async def test_of_an_object_that_has_not_moved(product: Product, origin_server: OriginServer) -> None:
    origin_server.put("k", b"there")
    assert (await put_acl(product, "k", PUBLIC)).status_code == 200
    assert public_at_origin(origin_server, "k")
    assert await told(product, "k")
    assert await product.state("k") is None
    assert (await put_acl(product, "k", ("x-amz-acl", "authenticated-read"))).status_code == 200, "the origin knows it"


async def test_of_a_moved_object_the_origin_is_asked_until_it_is_changed(
    product: Product, origin_server: OriginServer
) -> None:
    await moved(product, origin_server, "k", ACL="public-read")
    product.origin.requests.clear()
    assert await told(product, "k")
    assert product.origin.requests == [("GET", "/images-there/k?acl")]
    assert (await put_acl(product, "k", PRIVATE)).status_code == 200
    assert not await anyone_reads(product, "k"), "what the origin would still show is not shown any more"
    assert not await told(product, "k")
    state = await product.state("k")
    assert isinstance(state, ObjectRecord)
    assert (state.provenance, state.anonymous_read) == (Provenance.WRITTEN_HERE, False)
    assert public_at_origin(origin_server, "k")


async def test_what_the_origin_told_of_itself_can_be_put_back(product: Product, origin_server: OriginServer) -> None:
    """As s3cmd does it: the list is read, changed and written, with the owner that the origin named."""
    await moved(product, origin_server, "k")
    read = (await product.send("GET", "k", query="acl")).content
    assert OWNER_ID.encode() not in read
    assert (await put_acl(product, "k", body=read)).status_code == 200
    assert not await anyone_reads(product, "k")


async def test_keys_that_are_not_there(product: Product, origin_server: OriginServer) -> None:
    await moved(product, origin_server, "k")
    await product.send("DELETE", "k")
    for asked in (
        product.send("GET", "k", query="acl"),
        put_acl(product, "k", PUBLIC),
        product.send("GET", "never", query="acl", bucket=ALONE),
        put_acl(product, "never", PUBLIC, bucket=ALONE),
    ):
        answer = await asked
        assert (answer.status_code, answer.code) == (404, "NoSuchKey")
    assert not public_at_origin(origin_server, "k")


async def test_versions(product: Product) -> None:
    await product.send("PUT", "k", bucket=ALONE, body=b"x", headers=[PUBLIC])
    assert ALL_USERS in (await product.send("GET", "k", query="acl&versionId=null", bucket=ALONE)).text
    missing = await product.send("GET", "k", query="acl&versionId=v1", bucket=ALONE)
    assert (missing.status_code, missing.code) == (404, "NoSuchVersion")


async def test_a_refused_list_changes_nothing(product: Product) -> None:
    await product.send("PUT", "k", body=b"x")
    record = await product.state("k")
    public = acl_xml(anonymous_read=True)
    cases: list[tuple[list[tuple[str, str]], bytes, str]] = [
        ([], b"", "MissingSecurityHeader"),
        ([PUBLIC], public, "UnexpectedContent"),
        ([PUBLIC, GRANT], b"", "InvalidRequest"),
        ([("x-amz-acl", "everyone")], b"", "InvalidArgument"),
        ([("x-amz-acl", "public-read-write")], b"", "NotImplemented"),
        ([("x-amz-grant-write", f'uri="{ALL_USERS}"')], b"", "NotImplemented"),
        ([], public.replace(b"READ", b"WRITE"), "NotImplemented"),
        ([], b"<AccessControlPolicy/>", "MalformedACLError"),
        ([], b"&" * 1000, "MalformedACLError"),
        ([], b"&" * (1 << 20), "EntityTooLarge"),
        ([("content-md5", "A" * 22 + "==")], public, "BadDigest"),
    ]
    for headers, body, code in cases:
        answer = await put_acl(product, "k", *headers, body=body)
        assert (answer.code, answer.status_code) == (code, 501 if code == "NotImplemented" else 400), (headers, body)
    twice = await put_acl(product, "k", PUBLIC, PUBLIC)
    assert twice.status_code in (400, 403)
    for by in (None, OTHER_USER):
        assert (await put_acl(product, "k", PUBLIC, by=by)).status_code == 403
        assert (await product.send("GET", "k", query="acl", by=by)).status_code == 403
    assert await product.state("k") == record
