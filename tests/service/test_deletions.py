"""DeleteObjects through the product, in every state of a key: in the origin, moved, written here, deleted here."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote
from xml.etree.ElementTree import fromstring

import pytest

from addon.store.records import ObjectRecord, Tombstone
from tests.s3.xml_samples import BILLION_LAUGHS
from tests.service.fixtures import OriginServer
from tests.service.product import ALONE, IMAGES, OTHER, OTHER_USER, Answer, Product
from tests.service.signing import Headers


def content_md5(body: bytes) -> tuple[str, str]:
    return "content-md5", base64.b64encode(hashlib.md5(body).digest()).decode()


def document(*keys: str, quiet: bool = False) -> bytes:
    """`keys` may hold further elements behind the key's text, as `k</Key><Size>1</Size>`."""
    objects = "".join(f"<Object><Key>{key}{'' if '</Key>' in key else '</Key>'}</Object>" for key in keys)
    return f"<Delete>{'<Quiet>true</Quiet>' if quiet else ''}{objects}</Delete>".encode()


async def delete(product: Product, body: bytes, *, bucket: str = IMAGES, headers: Headers | None = None) -> Answer:
    sent = [content_md5(body)] if headers is None else headers
    return await product.send("POST", "", bucket=bucket, query="delete", headers=sent, body=body)


def outcomes(answer: Answer) -> dict[str, str]:
    """`Deleted`, or the Code of the error, by key; with its version where one was named."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/xml"
    found = {}
    for element in fromstring(answer.content):
        told = {child.tag.rpartition("}")[2]: child.text or "" for child in element}
        name = told["Key"] + (f"?{told['VersionId']}" if "VersionId" in told else "")
        found[name] = told.get("Code", "Deleted")
    return found


async def states(product: Product, keys: Sequence[str], bucket: str = IMAGES) -> list[str]:
    return [type(await product.state(key, bucket)).__name__ for key in keys]


async def in_every_state(product: Product, origin_server: OriginServer) -> dict[str, str]:
    """The ETag of an object in each state by key."""
    etags = {"there": origin_server.put("there", b"in the origin"), "moved": origin_server.put("moved", b"moved")}
    await product.send("GET", "moved")
    await product.copied("moved")
    etags["here"] = (await product.send("PUT", "here", body=b"written here")).headers["etag"].strip('"')
    origin_server.put("gone", b"deleted here")
    await product.send("DELETE", "gone")
    return etags


async def test_keys_in_every_state_are_deleted_here_and_the_origin_is_not_asked(
    product: Product, origin_server: OriginServer
) -> None:
    await in_every_state(product, origin_server)
    product.origin.requests.clear()
    keys = ["there", "moved", "here", "gone", "never"]
    assert outcomes(await delete(product, document(*keys))) == dict.fromkeys(keys, "Deleted")
    assert await states(product, keys) == ["Tombstone"] * 5
    assert product.origin.requests == []
    for key in keys:
        assert (await product.send("GET", key)).status_code == 404
    assert origin_server.keys() == {"there", "moved", "gone"}


async def test_a_quiet_request_hears_of_failures_only(product: Product) -> None:
    too_long = "k" * 1025
    body = document("a", too_long, "b", quiet=True)
    assert outcomes(await delete(product, body)) == {too_long: "KeyTooLongError"}
    assert await states(product, ["a", "b"]) == ["Tombstone", "Tombstone"]


async def test_a_thousand_keys_are_one_transaction(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = type(product.index).delete_objects

    async def counted(self: object, bucket: str, deletions: Sequence[object], *, now_s: float) -> object:
        calls.append(len(deletions))
        return await real(self, bucket, deletions, now_s=now_s)  # type: ignore[arg-type]

    monkeypatch.setattr(type(product.index), "delete_objects", counted)
    keys = [f"k{number}" for number in range(1000)]
    assert outcomes(await delete(product, document(*keys))) == dict.fromkeys(keys, "Deleted")
    assert calls == [1000]
    assert await states(product, [keys[0], keys[-1]]) == ["Tombstone", "Tombstone"]


async def test_every_odd_key_is_meant_exactly(product: Product) -> None:
    keys = [
        "a//b",
        "../x",
        "a\rb\nc",
        "<&>\"'",
        "%00",
        " lead and trail ",
        "\U0001f600",
        "e\u0301",
        "\u00e9",
        "a\x7f\x85",
    ]
    kept = ["a/b", "x", "%2F", "lead and trail", "c\u0301"]
    for key in [*keys, *kept]:
        assert (await product.send("PUT", quote(key), body=b"x", raw=True)).status_code == 200
    escaped = ["".join(f"&#{ord(char)};" if char in "<&>\"'\r\n\x7f\x85" else char for char in key) for key in keys]
    assert outcomes(await delete(product, document(*escaped))) == dict.fromkeys(keys, "Deleted")
    assert await states(product, keys) == ["Tombstone"] * len(keys)
    assert await states(product, kept) == ["ObjectRecord"] * len(kept)


async def test_conditions_hold_or_not_in_every_state(product: Product, origin_server: OriginServer) -> None:
    etags = await in_every_state(product, origin_server)
    wrong = {key: f'{key}</Key><ETag>"{"0" * 32}"</ETag>' for key in (*etags, "gone", "never")}
    assert outcomes(await delete(product, document(*wrong.values()))) == {
        "there": "PreconditionFailed",
        "moved": "PreconditionFailed",
        "here": "PreconditionFailed",
        "gone": "Deleted",
        "never": "Deleted",
    }
    assert await states(product, ["there", "moved", "here"]) == ["NoneType", "ObjectRecord", "ObjectRecord"]
    right = [f'{key}</Key><ETag>"{etag}"</ETag>' for key, etag in etags.items()]
    assert outcomes(await delete(product, document(*right, "plain"))) == dict.fromkeys([*etags, "plain"], "Deleted")
    assert await states(product, [*etags, "plain"]) == ["Tombstone"] * 4


@pytest.mark.parametrize(
    ("condition", "outcome"),
    [
        ("<Size>9</Size>", "Deleted"),
        ("<Size>8</Size>", "PreconditionFailed"),
        ("<ETag>*</ETag>", "Deleted"),
        ("<LastModifiedTime>Sun, 06 Nov 1994 08:49:37 GMT</LastModifiedTime>", "PreconditionFailed"),
        ("<LastModifiedTime>{time}</LastModifiedTime><Size>9</Size>", "Deleted"),
    ],
)
async def test_sizes_and_times(product: Product, origin_server: OriginServer, condition: str, outcome: str) -> None:
    origin_server.put("there", b"nine byte")
    await product.send("PUT", "here", body=b"nine byte")
    keys = ["there", "here"]
    times = {key: (await product.send("HEAD", key)).headers["last-modified"] for key in keys}
    body = document(*(f"{key}</Key>{condition.format(time=times[key])}" for key in keys))
    assert outcomes(await delete(product, body)) == dict.fromkeys(keys, outcome)


async def test_many_conditions_on_keys_that_have_not_moved(product: Product, origin_server: OriginServer) -> None:
    etags = {f"k{number}": origin_server.put(f"k{number}", b"%d" % number) for number in range(40)}
    body = document(*(f'{key}</Key><ETag>"{etag}"</ETag>' for key, etag in etags.items()))
    assert outcomes(await delete(product, body)) == dict.fromkeys(etags, "Deleted")
    assert len([one for one in product.origin.requests if one[0] == "HEAD"]) == 40


async def test_an_origin_that_is_down_fails_the_conditions_and_nothing_else(
    product: Product, origin_server: OriginServer
) -> None:
    origin_server.put("there", b"x")
    product.origin.down = True
    body = document("there</Key><ETag>x</ETag>", "other", "third</Key><VersionId>v1</VersionId>")
    assert outcomes(await delete(product, body)) == {
        "there": "ServiceUnavailable",
        "other": "Deleted",
        "third?v1": "ServiceUnavailable",
    }
    assert await states(product, ["there", "other", "third"]) == ["NoneType", "Tombstone", "NoneType"]


@contextlib.contextmanager
def versioned(origin_server: OriginServer) -> Iterator[Any]:
    """A client of the origin, whose bucket has versions for a while."""
    s3 = origin_server.s3
    s3.put_bucket_versioning(Bucket="images-there", VersioningConfiguration={"Status": "Enabled"})
    try:
        yield s3
    finally:
        s3.put_bucket_versioning(Bucket="images-there", VersioningConfiguration={"Status": "Suspended"})
        listed = s3.list_object_versions(Bucket="images-there")
        for version in (*listed.get("Versions", []), *listed.get("DeleteMarkers", [])):
            s3.delete_object(Bucket="images-there", Key=version["Key"], VersionId=version["VersionId"])


async def test_versions_are_deleted_at_the_origin(product: Product, origin_server: OriginServer) -> None:
    with versioned(origin_server) as s3:
        versions = [s3.put_object(Bucket="images-there", Key="k", Body=b"%d" % n)["VersionId"] for n in range(3)]
        origin_server.put("marked", b"x")
        marker = s3.delete_object(Bucket="images-there", Key="marked")["VersionId"]
        await product.send("PUT", "here", body=b"x")
        body = document(
            f"k</Key><VersionId>{versions[0]}</VersionId>",
            f"marked</Key><VersionId>{marker}</VersionId>",
            f"here</Key><VersionId>{versions[0]}</VersionId>",
            f"k</Key><VersionId>{versions[1]}</VersionId><ETag>x</ETag>",
        )
        answer = await delete(product, body)
        assert outcomes(answer) == {
            f"k?{versions[0]}": "Deleted",
            f"marked?{marker}": "Deleted",
            f"here?{versions[0]}": "Deleted",
            f"k?{versions[1]}": "NotImplemented",
        }
        left = s3.list_object_versions(Bucket="images-there", Prefix="k")["Versions"]
        assert {version["VersionId"] for version in left} == set(versions[1:])
        assert await states(product, ["k", "here"]) == ["NoneType", "ObjectRecord"]


async def test_the_version_null_is_the_current_one_of_what_was_written_here_alone(
    product: Product, origin_server: OriginServer
) -> None:
    for key in ("older", "moved", "plain"):
        origin_server.put(key, b"before there were versions")
    with versioned(origin_server) as s3:
        for key in ("older", "moved"):
            s3.put_object(Bucket="images-there", Key=key, Body=b"current")
        await product.send("GET", "moved")
        await product.copied("moved")
        await product.send("PUT", "here", body=b"x")
        keys = ["older", "moved", "plain", "here"]
        answer = await delete(product, document(*(f"{key}</Key><VersionId>null</VersionId>" for key in keys)))
        assert outcomes(answer) == {f"{key}?null": "Deleted" for key in keys}
        assert await states(product, ["older", "plain", "here"]) == ["NoneType", "NoneType", "Tombstone"]
        assert (await product.send("GET", "older")).content == b"current"
        assert (await product.send("GET", "moved")).content == b"current"
        assert (await product.send("GET", "plain")).status_code == 404
        left = s3.list_object_versions(Bucket="images-there")["Versions"]
        assert [version["Key"] for version in left if version["VersionId"] == "null"] == []


async def test_what_is_said_of_versions_reaches_the_origin(product: Product) -> None:
    body = document("k</Key><VersionId>v1</VersionId>")
    said = [("x-amz-bypass-governance-retention", "true"), ("x-amz-request-payer", "requester")]
    await delete(product, body, headers=[content_md5(body), *said])
    (forwarded,) = product.origin.received.lower().split(b"delete /")[1:]
    assert all(f"\r\n{name}: {value}\r\n".encode() in forwarded for name, value in said)
    assert b"content-md5" not in forwarded


async def test_a_bucket_without_origin(product: Product) -> None:
    await product.send("PUT", "here", bucket=ALONE, body=b"x")
    await product.send("PUT", "null", bucket=ALONE, body=b"x")
    body = document(
        "here",
        "never</Key><Size>1</Size>",
        "here</Key><VersionId>v1</VersionId>",
        "null</Key><VersionId>null</VersionId><Size>1</Size>",
    )
    assert outcomes(await delete(product, body, bucket=ALONE)) == {
        "here": "Deleted",
        "never": "Deleted",
        "here?v1": "NoSuchVersion",
        "null?null": "Deleted",
    }
    assert await states(product, ["here", "null"], ALONE) == ["Tombstone", "Tombstone"]


async def test_the_body_must_be_promised(product: Product) -> None:
    await product.send("PUT", "k", body=b"x")
    body = document("k")
    wrong_md5 = content_md5(b"another")
    refused = {
        (): "InvalidRequest",
        (("content-md5", "x"),): "InvalidDigest",
        (wrong_md5,): "BadDigest",
        (("x-amz-checksum-sha1", base64.b64encode(bytes(20)).decode()),): "BadDigest",
        (content_md5(body), ("x-amz-mfa", "serial 123456")): "NotImplemented",
    }
    for headers, code in refused.items():
        answer = await delete(product, body, headers=headers)
        assert (answer.code, await states(product, ["k"])) == (code, ["ObjectRecord"]), headers
    missing = await delete(product, body, headers=())
    assert "Missing required header for this request: Content-MD5" in missing.text
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert outcomes(await delete(product, body, headers=[("x-amz-checksum-sha256", digest)])) == {"k": "Deleted"}


async def test_nothing_is_deleted_by_a_document_that_is_none(product: Product) -> None:
    await product.send("PUT", "k", body=b"x")
    bodies = {
        "too many": document(*["k"] * 1001),
        "none": b"<Delete/>",
        "empty": b"",
        "cut off": document("k")[:-1],
        "bomb": BILLION_LAUGHS.replace(b"ROOT", b"Delete"),
        "ampersands": b"&" * (1 << 20),
        "no key": document("k", "</Key>"),
        "bad condition": document("k", "k</Key><Size>many</Size>"),
        "nul": document("k", "a&#0;b"),
    }
    for name, body in bodies.items():
        answer = await delete(product, body)
        assert (answer.status_code, answer.code) == (400, "MalformedXML"), name
    too_large = await delete(product, b"<Delete>" + b" " * (8 << 20) + b"</Delete>")
    assert too_large.code == "EntityTooLarge"
    assert await states(product, ["k"]) == ["ObjectRecord"]


async def test_only_those_who_may(product: Product) -> None:
    await product.send("PUT", "k", body=b"x")
    body = document("k")
    anonymous = await product.send("POST", "", query="delete", headers=[content_md5(body)], body=body, by=None)
    assert (anonymous.status_code, anonymous.code) == (403, "AccessDenied")
    other = await product.send("POST", "", query="delete", headers=[content_md5(body)], body=body, by=OTHER_USER)
    assert other.status_code == 403
    assert isinstance(await product.state("k"), ObjectRecord)
    await product.send("POST", "", bucket=OTHER, query="delete", headers=[content_md5(body)], body=body, by=OTHER_USER)
    assert isinstance(await product.state("k"), ObjectRecord)
    assert isinstance(await product.state("k", OTHER), Tombstone)
