"""`writes = "origin"`: every write goes to the origin and nothing new into Telegram; reads never show what is out of date."""

from __future__ import annotations

import asyncio

import pytest

from addon.store.records import ObjectRecord, Tombstone
from tests.service.fixtures import OriginServer
from tests.service.product import IMAGES, OTHER, OTHER_USER, Product
from tests.service.test_browser_uploads import post, presigned
from tests.service.test_deletions import delete, document, outcomes
from tests.service.test_write_through import DESCRIBED, TAGGING
from tests.service.uploads import begin
from tests.service.written import at_origin, no_marks, tags_at_origin, use

OLD, NEW = b"what stood there", b"what was written then"


@pytest.fixture
async def switched(product: Product, origin_server: OriginServer) -> Product:
    """`written` and `deleted` here alone (the origin has older ones), `moved` a copy, `unmoved` at the origin; then the switch."""
    for key in ("written", "deleted", "moved", "unmoved"):
        origin_server.put(key, OLD)
    assert (await product.send("PUT", "written", body=b"ours")).status_code == 200
    assert (await product.send("DELETE", "deleted")).status_code == 204
    await product.send("GET", "moved")
    await product.copied("moved")
    use(product, writes="origin")
    return product


KEYS = ("written", "deleted", "moved", "unmoved", "new")


async def test_reads_stay_as_they_were(switched: Product) -> None:
    assert (await switched.send("GET", "written")).content == b"ours"
    assert (await switched.send("GET", "deleted")).status_code == 404
    before = len(switched.origin.requests)
    assert (await switched.send("GET", "moved")).content == OLD
    assert len(switched.origin.requests) == before


@pytest.mark.parametrize("key", KEYS)
async def test_a_put_goes_to_the_origin_and_supersedes(
    switched: Product, origin_server: OriginServer, key: str
) -> None:
    sends = switched.sends()
    put = await switched.send("PUT", key, headers=DESCRIBED, body=NEW)
    assert put.status_code == 200, put.text
    there = at_origin(origin_server, key)
    assert there is not None
    assert (there["Body"], there["ETag"]) == (NEW, put.headers["etag"])
    assert (there["ContentType"], there["Metadata"]) == ("image/png", {"owner": "anna"})
    assert tags_at_origin(origin_server, key) == {"a": "1", "b": "two"}
    assert switched.sends() == sends
    assert await switched.state(key) is None
    assert (await switched.send("GET", key)).content == NEW
    assert switched.spooled() == []
    assert await no_marks(switched.index)


async def test_a_presigned_put_keeps_what_its_query_says(switched: Product, origin_server: OriginServer) -> None:
    put = await switched.send_presigned("PUT", "k", query="x-amz-meta-owner=anna", body=NEW)
    assert put.status_code == 200, put.text
    there = at_origin(origin_server, "k")
    assert there is not None
    assert (there["Body"], there["Metadata"]) == (NEW, {"owner": "anna"})


@pytest.mark.parametrize("key", KEYS)
async def test_deletes_go_to_the_origin_and_supersede(switched: Product, origin_server: OriginServer, key: str) -> None:
    if key == "new":
        assert outcomes(await delete(switched, document(*KEYS))) == dict.fromkeys(KEYS, "Deleted")
        assert origin_server.keys() == set()
    else:
        assert (await switched.send("DELETE", key)).status_code == 204
        assert origin_server.keys() == {"written", "deleted", "moved", "unmoved"} - {key}
    assert await switched.state(key) is None
    assert (await switched.send("GET", key)).status_code == 404


async def test_a_condition_on_a_key_that_only_we_hold_is_judged_here(
    switched: Product, origin_server: OriginServer
) -> None:
    ours = (await switched.send("HEAD", "written")).headers["etag"]
    theirs = str(origin_server.s3.head_object(Bucket="images-there", Key="written")["ETag"])
    for key, headers, status in (
        ("written", [("if-match", theirs)], 412),
        ("written", [("if-none-match", "*")], 412),
        ("deleted", [("if-match", theirs)], 404),
        ("unmoved", [("if-match", ours)], 412),
        ("moved", [("if-none-match", "*")], 412),
    ):
        refused = await switched.send("PUT", key, headers=headers, body=NEW)
        assert (key, headers, refused.status_code) == (key, headers, status)
        assert origin_server.get(key) == OLD
    assert (await switched.send("DELETE", "written", headers=[("if-match", theirs)])).status_code == 412
    assert (await switched.send("GET", "written")).content == b"ours"
    for key, headers in (
        ("written", [("if-match", ours)]),
        ("deleted", [("if-none-match", "*")]),
        ("unmoved", [("if-match", theirs)]),
        ("new", [("if-none-match", "*")]),
    ):
        put = await switched.send("PUT", key, headers=headers, body=NEW)
        assert (key, put.status_code) == (key, 200), put.text
        assert origin_server.get(key) == NEW
    now = (await switched.send("HEAD", "new")).headers["etag"]
    assert (await switched.send("DELETE", "new", headers=[("if-match", now)])).status_code == 204
    assert at_origin(origin_server, "new") is None


async def test_of_racing_conditional_writers_one_wins(switched: Product, origin_server: OriginServer) -> None:
    answers = await asyncio.gather(
        *(
            switched.send("PUT", "deleted", headers=[("if-none-match", "*")], body=str(number).encode())
            for number in range(6)
        )
    )
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 409, 412}
    assert origin_server.get("deleted") == str(statuses.index(200)).encode()


async def test_a_body_that_does_not_verify_never_reaches_the_origin(
    switched: Product, origin_server: OriginServer
) -> None:
    refused = await switched.send("PUT", "written", body=NEW, payload="0" * 64)
    assert refused.code == "XAmzContentSHA256Mismatch"
    assert origin_server.get("written") == OLD
    assert (await switched.send("GET", "written")).content == b"ours"


async def test_copies_have_what_we_have(switched: Product, origin_server: OriginServer) -> None:
    sends = switched.sends()
    for source, body in (("written", b"ours"), ("moved", OLD), ("unmoved", OLD)):
        copied = await switched.send("PUT", f"copy-of-{source}", headers=[("x-amz-copy-source", f"/{IMAGES}/{source}")])
        assert copied.status_code == 200, copied.text
        assert origin_server.get(f"copy-of-{source}") == body
        assert await switched.state(f"copy-of-{source}") is None
    missing = await switched.send("PUT", "k", headers=[("x-amz-copy-source", f"/{IMAGES}/deleted")])
    assert missing.code == "NoSuchKey"
    origin_server.put("secret", b"other's", bucket="other-there")
    assert (await switched.send("PUT", "secret", bucket=OTHER, body=b"x", by=OTHER_USER)).status_code == 200
    denied = await switched.send("PUT", "k", headers=[("x-amz-copy-source", f"/{OTHER}/secret")])
    assert denied.code == "AccessDenied"
    assert at_origin(origin_server, "k") is None
    assert switched.sends() == sends + 1


async def test_uploads_in_parts_begin_at_the_origin(switched: Product, origin_server: OriginServer) -> None:
    sends = switched.sends()
    upload = await begin(switched, "written", headers=[("content-type", "image/x")])
    assert (await upload.put(1, b"the only part")).status_code == 200
    completed = await upload.complete()
    assert completed.status_code == 200, completed.text
    there = at_origin(origin_server, "written")
    assert there is not None
    assert (there["Body"], there["ContentType"]) == (b"the only part", "image/x")
    assert (await switched.send("GET", "written")).content == b"the only part"
    assert switched.sends() == sends


async def test_an_upload_that_was_begun_before_ends_at_the_origin(
    switched: Product, origin_server: OriginServer
) -> None:
    use(switched)
    upload = await begin(switched, "written")
    assert (await upload.put(1, b"the only part")).status_code == 200
    use(switched, writes="origin")
    completed = await upload.complete()
    assert completed.status_code == 200, completed.text
    assert origin_server.get("written") == b"the only part"
    assert await switched.state("written") is None
    assert (await upload.complete()).text == completed.text


async def test_a_form_goes_to_the_origin(switched: Product, origin_server: OriginServer) -> None:
    sends = switched.sends()
    fields = {"Content-Type": "image/gif", "acl": "public-read", "x-amz-meta-a": "b"}
    answer = await post(switched, presigned("written", fields, [{name: value} for name, value in fields.items()]), NEW)
    assert answer.status_code == 204, answer.text
    there = at_origin(origin_server, "written")
    assert there is not None
    assert (there["Body"], there["ContentType"], there["Metadata"]) == (NEW, "image/gif", {"a": "b"})
    assert answer.headers["etag"] == there["ETag"]
    assert (await switched.send("GET", "written")).content == NEW
    refused = await post(switched, presigned("moved", conditions=[["content-length-range", 0, 3]]), NEW)
    assert refused.code == "EntityTooLarge"
    assert origin_server.get("moved") == OLD
    assert (switched.sends(), switched.spooled()) == (sends, [])


async def test_tags_and_acls_go_to_the_origin(switched: Product, origin_server: OriginServer) -> None:
    for key, body in (("written", b"ours"), ("moved", OLD), ("unmoved", OLD)):
        assert (await switched.send("PUT", key, query="tagging", body=TAGGING)).status_code == 200
        assert tags_at_origin(origin_server, key) == {"x": "y"}
        assert origin_server.get(key) == body
        assert await switched.state(key) is None
        assert (await switched.send("PUT", key, query="acl", headers=[("x-amz-acl", "private")])).status_code == 200


async def test_an_origin_that_fails_changes_nothing(switched: Product, origin_server: OriginServer) -> None:
    switched.origin.down = True
    for method, key, body in (("PUT", "written", NEW), ("DELETE", "written", b""), ("PUT", "deleted", NEW)):
        assert (await switched.send(method, key, body=body)).status_code == 503
    assert (await post(switched, presigned("written"), NEW)).status_code == 503
    switched.origin.down = False
    assert (await switched.send("GET", "written")).content == b"ours"
    assert isinstance(await switched.state("deleted"), Tombstone)
    assert isinstance(await switched.state("written"), ObjectRecord)
    assert await no_marks(switched.index)


async def test_in_passthrough_keys_in_a_body_are_superseded(switched: Product, origin_server: OriginServer) -> None:
    """The switch hands on nothing else of such a bucket (tests/proxy/test_routes.py)."""
    use(switched, mode="passthrough")
    assert outcomes(await delete(switched, document("written", "moved"))) == {"written": "Deleted", "moved": "Deleted"}
    assert (await post(switched, presigned("deleted"), NEW)).status_code == 204
    use(switched)
    assert origin_server.keys() == {"deleted", "unmoved"}
    for key, status in (("written", 404), ("moved", 404), ("deleted", 200)):
        assert (await switched.send("GET", key)).status_code == status
