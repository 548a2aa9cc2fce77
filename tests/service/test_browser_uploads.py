"""Browser uploads against the whole product; the forms are made by boto3, or by hand where no SDK would make them so."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import fromstring

import boto3
import pytest
from botocore.config import Config as BotoConfig

from addon.s3.errors import S3Error
from addon.s3.operations import Operation
from addon.service.request import S3Request
from addon.store.records import ObjectRecord
from tests.service.fixtures import OriginServer
from tests.service.product import ALONE, HOST, IMAGES, OPEN, OTHER, OTHER_USER, USER, Answer, Product
from tests.service.signing import Key, presign, sign

BODY = b"the picture that was chosen"


def presigned(
    key: str,
    fields: Mapping[str, str] | None = None,
    conditions: Sequence[Any] = (),
    *,
    bucket: str = IMAGES,
    by: Key = USER,
    expires_s: int = 600,
) -> dict[str, str]:
    """The fields of a form as boto3 signs it."""
    s3 = boto3.client(
        "s3",
        endpoint_url=f"http://{HOST}",
        region_name="us-east-1",
        aws_access_key_id=by.access_key_id,
        aws_secret_access_key=by.secret,
        config=BotoConfig(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    form = s3.generate_presigned_post(
        Bucket=bucket, Key=key, Fields=dict(fields or {}), Conditions=list(conditions) or None, ExpiresIn=expires_s
    )
    return dict(form["fields"])


Part = tuple[str, str | bytes] | tuple[str, str | bytes, str]
BOUNDARY = "----tests4f1c"


def form(parts: Sequence[Part]) -> bytes:
    """A form of these parts: name and value, and a file name where there is one."""
    written = bytearray()
    for name, value, *file_name in parts:
        named = f'; filename="{file_name[0]}"\r\nContent-Type: image/x-of-the-part' if file_name else ""
        content = value.encode() if isinstance(value, str) else value
        written += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode()
        written += content + b"\r\n"
    return bytes(written) + f"--{BOUNDARY}--\r\n".encode()


async def post(
    product: Product,
    fields: Mapping[str, str],
    body: bytes = BODY,
    *,
    file_name: str = "cat.png",
    after: Sequence[Part] = (),
    headers: Sequence[tuple[str, str]] = (),
    bucket: str = IMAGES,
) -> Answer:
    """Send a form with the file behind its fields."""
    return await send(
        product, form([*fields.items(), ("file", body, file_name), *after]), headers=headers, bucket=bucket
    )


async def send(
    product: Product, body: bytes, *, headers: Sequence[tuple[str, str]] = (), bucket: str = IMAGES
) -> Answer:
    content_type = ("content-type", f"multipart/form-data; boundary={BOUNDARY}")
    return await product.send_as_is("POST", f"/{bucket}", [("host", HOST), content_type, *headers], body)


async def test_a_form_that_boto3_signed_is_stored(product: Product) -> None:
    answer = await post(product, presigned("folder/${filename}"))
    assert (answer.status_code, answer.content) == (204, b""), answer.text
    got = await product.send("GET", "folder/cat.png")
    assert (got.status_code, got.content) == (200, BODY)
    assert got.headers["etag"] == answer.headers["etag"]
    assert got.headers["content-type"] == "binary/octet-stream"
    assert answer.headers["location"] == f"http://{HOST}/{IMAGES}/folder%2Fcat.png"


async def nothing_stored(product: Product, sent_before: int = 0) -> None:
    """No object, no document in Telegram, nothing in the spool folder."""
    assert (await product.index.counts(IMAGES))["objects"] == 0
    assert product.sends() == sent_before
    assert product.spooled() == []


async def test_the_fields_describe_the_object(product: Product) -> None:
    described = {
        "acl": "public-read",
        "Content-Type": "image/png",
        "Cache-Control": "max-age=60",
        "Content-Disposition": "inline",
        "Content-Encoding": "identity",
        "Expires": "Mon, 02 Nov 2026 10:00:00 GMT",
        "x-amz-meta-author": "Łukasz",
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-website-redirect-location": "/elsewhere",
        "tagging": "<Tagging><TagSet><Tag><Key>kind</Key><Value>cat</Value></Tag></TagSet></Tagging>",
        "x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(BODY).digest()).decode(),
        "Content-MD5": base64.b64encode(hashlib.md5(BODY).digest()).decode(),
    }
    fields = presigned("described", described, [{name: value} for name, value in described.items()])
    assert (await post(product, fields)).status_code == 204
    got = await product.send("GET", "described", headers=[("x-amz-checksum-mode", "ENABLED")])
    assert got.content == BODY
    for name in (
        "content-type",
        "cache-control",
        "content-disposition",
        "content-encoding",
        "expires",
        "x-amz-storage-class",
        "x-amz-website-redirect-location",
        "x-amz-checksum-sha256",
    ):
        assert got.headers[name] == {key.lower(): value for key, value in described.items()}[name]
    assert dict(got.headers.raw)[b"x-amz-meta-author"] == "Łukasz".encode()
    assert (await product.send("GET", "described", by=None)).content == BODY
    record = await product.state("described")
    assert isinstance(record, ObjectRecord)
    assert record.tags == {"kind": "cat"}


async def test_the_status_that_the_page_wants(product: Product) -> None:
    for wished, status in (("200", 200), ("201", 201), ("204", 204), ("404", 204), (None, 204)):
        more = {} if wished is None else {"success_action_status": wished}
        answer = await post(product, presigned("a&b", more, [more] if more else []))
        assert (answer.status_code, bool(answer.content)) == (status, status == 201), answer.text
        location = f"http://{HOST}/{IMAGES}/a%26b"
        assert answer.headers["location"] == location
        etag = f'"{hashlib.md5(BODY).hexdigest()}"'
        assert answer.headers["etag"] == etag
        if status == 201:
            assert answer.headers["content-type"] == "application/xml"
            found = {element.tag: element.text for element in fromstring(answer.content)}
            assert found == {"Location": location, "Bucket": IMAGES, "Key": "a&b", "ETag": etag}


async def test_the_browser_is_sent_where_the_page_wants(product: Product) -> None:
    for field in ("success_action_redirect", "redirect"):
        more = {field: "https://www.example.com/done?x=1#top", "success_action_status": "201"}
        answer = await post(product, presigned("a/b", more, [{name: value} for name, value in more.items()]))
        assert (answer.status_code, answer.content) == (303, b"")
        etag = hashlib.md5(BODY).hexdigest()
        assert answer.headers["location"] == (
            f"https://www.example.com/done?x=1&bucket=images&key=a%2Fb&etag=%22{etag}%22#top"
        )


async def test_a_location_that_is_no_web_address_is_not_followed(product: Product) -> None:
    more = {"success_action_redirect": "javascript:alert(1)"}
    answer = await post(product, presigned("k", more, [more]))
    assert answer.status_code == 204
    assert "javascript" not in answer.headers["location"]


async def test_the_location_names_the_scheme_that_ends_before_us(product: Product) -> None:
    answer = await post(product, presigned("k"), headers=[("x-forwarded-proto", "https")])
    assert answer.headers["location"] == f"https://{HOST}/{IMAGES}/k"


async def test_a_form_replaces_what_was_there(product: Product, origin_server: OriginServer) -> None:
    origin_server.put("k", b"the origin's")
    assert (await product.send("DELETE", "k")).status_code == 204
    assert (await post(product, presigned("k"))).status_code == 204
    assert (await product.send("GET", "k")).content == BODY
    assert origin_server.get("k") == b"the origin's"


async def test_names_of_fields_have_any_case(product: Product) -> None:
    fields = {name.title(): value for name, value in presigned("k").items()}
    assert (await post(product, fields)).status_code == 204
    fields = {name.upper(): value for name, value in presigned("k2").items()}
    assert (await post(product, fields)).status_code == 204
    assert (await product.send("GET", "k2")).content == BODY


LARGE = bytes(range(256)) * 30_000


async def test_a_large_file_without_a_length_is_streamed(product: Product) -> None:
    body = form([*presigned("large").items(), ("file", LARGE, "large.bin")])

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 99_991):
            yield body[start : start + 99_991]

    content_type = ("content-type", f"multipart/form-data; boundary={BOUNDARY}")
    headers = [("host", HOST), content_type, ("transfer-encoding", "chunked")]
    answer = await product.send_as_is("POST", f"/{IMAGES}", headers, pieces())
    assert answer.status_code == 204
    assert (await product.send("GET", "large")).content == LARGE


async def test_sizes_are_held_to_the_range(product: Product) -> None:
    for first, last, size, code in (
        (5, 5, 4, "EntityTooSmall"),
        (5, 5, 6, "EntityTooLarge"),
        (0, 0, 1, "EntityTooLarge"),
        (0, 100_000, len(LARGE), "EntityTooLarge"),
    ):
        answer = await post(product, presigned("k", {}, [["content-length-range", first, last]]), LARGE[:size])
        assert (answer.status_code, answer.code) == (400, code)
        await nothing_stored(product)
    for first, last, size in ((5, 5, 5), (0, 0, 0), (0, 10, 10)):
        answer = await post(product, presigned("k", {}, [["content-length-range", first, last]]), LARGE[:size])
        assert answer.status_code == 204
        assert (await product.send("GET", "k")).content == LARGE[:size]


POLICY_CONDITIONS: list[Any] = [
    {"acl": "private"},
    ["starts-with", "$Content-Type", "image/"],
    ["eq", "$x-amz-meta-a", "1"],
    ["content-length-range", 1, 100],
]
GOOD = {"acl": "private", "Content-Type": "image/png", "x-amz-meta-a": "1"}


VIOLATIONS: list[tuple[dict[str, str | None], str, str]] = [
    ({"acl": "public-read"}, "AccessDenied", 'Policy Condition failed: ["eq", "$acl", "private"]'),
    ({"acl": None}, "AccessDenied", "Policy Condition failed"),
    ({"Content-Type": "text/html"}, "AccessDenied", 'Policy Condition failed: ["starts-with", "$Content-Type", "image/"]'),
    ({"Content-Type": "image/png, text/html"}, "AccessDenied", "Policy Condition failed"),
    ({"Content-Type": None}, "AccessDenied", "Policy Condition failed"),
    ({"x-amz-meta-a": "2"}, "AccessDenied", "Policy Condition failed"),
    ({"key": "elsewhere/k"}, "AccessDenied", "Policy Condition failed"),
    ({"key": "userelsewhere"}, "AccessDenied", "Policy Condition failed"),
    ({"key": None}, "AccessDenied", "Policy Condition failed"),
    ({"x-amz-meta-b": "1"}, "AccessDenied", "Extra input fields: x-amz-meta-b"),
    ({"success_action_redirect": "https://evil.test/"}, "AccessDenied", "Extra input fields: success_action_redirect"),
    ({"success_action_status": "201"}, "AccessDenied", "Extra input fields: success_action_status"),
    ({"tagging": "<Tagging><TagSet/></Tagging>"}, "AccessDenied", "Extra input fields: tagging"),
    ({"Cache-Control": "no-store"}, "AccessDenied", "Extra input fields: cache-control"),
    ({"x-amz-storage-class": "STANDARD"}, "AccessDenied", "Extra input fields"),
    ({"x-amz-copy-source": "/images/secret"}, "AccessDenied", "Extra input fields"),
    ({"bucket": "other"}, "AccessDenied", "Invalid according to Policy"),
    ({"x-amz-signature": "0" * 64}, "SignatureDoesNotMatch", ""),
    ({"x-amz-signature": None}, "InvalidArgument", "x-amz-signature"),
    ({"policy": None}, "InvalidArgument", "policy"),
    ({"x-amz-date": "20260101T000000Z"}, "AuthorizationQueryParametersError", ""),
    ({"x-amz-algorithm": "AWS4-HMAC-SHA1"}, "InvalidArgument", ""),
    ({"x-amz-credential": "AKNOBODY/20260101/us-east-1/s3/aws4_request"}, "AuthorizationQueryParametersError", ""),
    ({"x-amz-security-token": "t"}, "InvalidToken", ""),
    ({"AWSAccessKeyId": USER.access_key_id}, "InvalidRequest", "AWS4-HMAC-SHA256"),
    ({"signature": "abc="}, "InvalidRequest", "AWS4-HMAC-SHA256"),
]  # fmt: skip


async def test_every_condition_violated_in_turn_stores_nothing(product: Product) -> None:
    for changed, code, message in VIOLATIONS:
        fields = {**presigned("user/${filename}", GOOD, POLICY_CONDITIONS), **changed}
        answer = await post(product, {name: value for name, value in fields.items() if value is not None})
        assert (answer.code, answer.status_code) == (code, S3Error(code, "").status), changed
        assert message in answer.text, changed
        assert fields["x-amz-signature"] is None or fields["x-amz-signature"] not in answer.text
        await nothing_stored(product)
    assert (await post(product, presigned("user/${filename}", GOOD, POLICY_CONDITIONS))).status_code == 204


async def test_a_body_that_breaks_its_promise_stores_nothing(product: Product) -> None:
    wrong = base64.b64encode(hashlib.sha256(b"another").digest()).decode()
    for more in ({"x-amz-checksum-sha256": wrong}, {"Content-MD5": base64.b64encode(bytes(16)).decode()}):
        answer = await post(product, presigned("k", more, [more]))
        assert (answer.code, answer.status_code) == ("BadDigest", 400)
        await nothing_stored(product)


async def test_a_policy_for_another_bucket_or_by_another_key_opens_nothing(product: Product) -> None:
    for bucket, by, code in (
        (OTHER, USER, "AccessDenied"),
        (IMAGES, OTHER_USER, "InvalidAccessKeyId"),
        (IMAGES, Key("AKNOBODY", "a-secret"), "InvalidAccessKeyId"),
        (IMAGES, Key(USER.access_key_id, "not-the-secret"), "SignatureDoesNotMatch"),
    ):
        answer = await post(product, presigned("k", bucket=bucket, by=by))
        assert (answer.code, answer.status_code) == (code, 403)
    await nothing_stored(product)


async def test_an_expired_policy_opens_nothing(product: Product) -> None:
    answer = await post(product, presigned("k", expires_s=-1))
    assert (answer.code, "Policy expired." in answer.text) == ("AccessDenied", True)
    await nothing_stored(product)


async def test_an_anonymous_form_opens_nothing(product: Product) -> None:
    for bucket in (IMAGES, OPEN, ALONE):
        answer = await post(product, {"key": "k", "acl": "public-read"}, bucket=bucket)
        assert (answer.code, answer.status_code) == ("AccessDenied", 403)
    await nothing_stored(product)
    assert product.origin.requests == []


async def test_what_stands_behind_the_file_says_nothing(product: Product) -> None:
    fields = presigned("k")
    answer = await post(product, fields, after=[("acl", "public-read"), ("submit", "Upload")])
    assert answer.status_code == 204
    assert (await product.send("GET", "k", by=None)).status_code == 403
    key = {"key": fields.pop("key")}
    answer = await post(product, fields, after=list(key.items()))
    assert answer.code == "AccessDenied"
    s3_like = presigned("k2", {}, [["starts-with", "$x-ignore-a", ""]])
    assert (await post(product, s3_like)).code == "AccessDenied"


NO_FORMS: list[tuple[list[Part], str]] = [
    ([("file", BODY, "a"), ("file", BODY, "b")], "IncorrectNumberOfFilesInPostRequest"),
    ([], "IncorrectNumberOfFilesInPostRequest"),
    ([("x-ignore-a", "a" * 30_000), ("file", BODY, "a")], "MaxPostPreDataLengthExceededError"),
    ([*((f"x-ignore-{n}", "") for n in range(101)), ("file", BODY, "a")], "MaxPostPreDataLengthExceededError"),
    ([("acl", "private"), ("ACL", "public-read"), ("file", BODY, "a")], "InvalidArgument"),
    ([("file", BODY, "a"), ("after", "a" * 400_000)], "MalformedPOSTRequest"),
]


async def test_forms_that_are_none_store_nothing(product: Product) -> None:
    for parts, code in NO_FORMS:
        answer = await send(product, form([*presigned("k").items(), *parts]))
        assert (answer.code, answer.status_code) == (code, 400)
    await nothing_stored(product)


async def test_a_form_that_ends_too_soon_stores_nothing(product: Product) -> None:
    whole = form([*presigned("k").items(), ("file", BODY, "a")])
    for cut in (len(whole) - 3, len(whole) - len(BOUNDARY) - 10, len(whole) - 60):
        assert (await send(product, whole[:cut])).code == "MalformedPOSTRequest"
    await nothing_stored(product)


async def test_what_is_no_form_is_refused(product: Product) -> None:
    for content_type in ("application/x-www-form-urlencoded", "multipart/form-data", "text/xml"):
        answer = await product.send_as_is("POST", "/images", [("host", HOST), ("content-type", content_type)], b"a=b")
        assert answer.code in ("PreconditionFailed", "MalformedPOSTRequest")


async def test_a_second_signature_is_refused(product: Product) -> None:
    body = form([*presigned("k").items(), ("file", BODY, "a")])
    content_type = ("content-type", f"multipart/form-data; boundary={BOUNDARY}")
    signed = sign(USER, "POST", "/images", HOST, [content_type], payload=hashlib.sha256(body).hexdigest())
    answers = [await product.send_as_is("POST", "/images", signed.headers, body)]
    target = presign(USER, "POST", "/images", HOST)
    answers.append(await product.send_as_is("POST", target, [("host", HOST), content_type], body))
    answers.append(await send(product, body, headers=[("authorization", "Bearer a-token")]))
    assert [answer.code for answer in answers] == ["InvalidArgument"] * 3
    await nothing_stored(product)


async def test_conditions_of_the_request_are_not_ignored(product: Product) -> None:
    for name in ("if-none-match", "if-match"):
        assert (await post(product, presigned("k"), headers=[(name, "*")])).code == "NotImplemented"
    await nothing_stored(product)


async def test_headers_of_the_request_say_nothing_about_the_object(product: Product) -> None:
    """They stand under no signature."""
    unsigned = [("x-amz-acl", "public-read"), ("x-amz-meta-a", "b"), ("cache-control", "no-store")]
    assert (await post(product, presigned("k"), headers=unsigned)).status_code == 204
    got = await product.send("GET", "k")
    assert not {"x-amz-meta-a", "cache-control"} & got.headers.keys()
    assert (await product.send("GET", "k", by=None)).status_code == 403


async def test_keys_have_the_rules_of_all_keys(product: Product) -> None:
    for key, code in (("k" * 1025, "KeyTooLongError"), ("ż" * 513, "KeyTooLongError"), ("", "UserKeyMustBeSpecified")):
        assert (await post(product, presigned("${filename}"), file_name=key)).code == code
    await nothing_stored(product)
    for key in ("../a", "a//b", "żółw/ 1+2%20.png", "a\tb", "k" * 1024):
        assert (await post(product, {**presigned("${filename}"), "key": key})).status_code == 204
        assert isinstance(await product.state(key), ObjectRecord)


async def test_a_form_in_a_bucket_without_an_origin(product: Product) -> None:
    assert (await post(product, presigned("k", bucket=ALONE), bucket=ALONE)).status_code == 204
    assert (await product.send("GET", "k", bucket=ALONE)).content == BODY


async def test_a_body_is_invited_where_it_may_come(product: Product) -> None:
    def request(headers: Sequence[tuple[str, str]]) -> S3Request:
        return S3Request("", "POST", "/images", "", [("host", HOST), *headers], receive=never)

    async def never() -> dict[str, Any]:
        raise AssertionError

    content_type = ("content-type", f"multipart/form-data; boundary={BOUNDARY}")
    service = product.gateway._service
    assert not service.would_refuse(request([content_type, ("content-length", "100")]))
    assert service.would_refuse(request([content_type, ("content-length", str(6 << 30))]))
    assert service.would_refuse(request([("content-type", "text/xml"), ("content-length", "100")]))
    assert service.would_refuse(request([content_type, ("content-length", "100"), ("authorization", "Bearer t")]))


async def test_fields_that_do_not_come_are_not_waited_for(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("addon.service.browser_uploads.FIELDS_WAIT_S_MAX", 0.05)
    content_type = ("content-type", f"multipart/form-data; boundary={BOUNDARY}")
    headers = [("host", HOST), content_type, ("content-length", "5000")]
    reader, writer = await asyncio.open_connection(*product.address)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    writer.write(f"POST /images HTTP/1.1\r\n{head}\r\n--{BOUNDARY}\r\n".encode())
    async with asyncio.timeout(10):
        answered = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert answered.startswith(b"HTTP/1.1 400")


async def test_forms_share_the_limit_of_uploads_once_they_are_verified(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(product.gateway._service._handlers[Operation.POST_OBJECT].__self__._slots, "_uploads_max", 0)
    busy = await post(product, presigned("k"))
    assert (busy.status_code, busy.code, busy.headers["retry-after"]) == (503, "SlowDown", "1")
    assert (await post(product, {**presigned("k"), "x-amz-signature": "0" * 64})).code == "SignatureDoesNotMatch"
    await nothing_stored(product)
