"""What browsers ask for pages of other sites, and the forms that they post, on the wire."""

from __future__ import annotations

from itertools import count

import boto3
import pytest
from botocore.config import Config

from tests.end_to_end.lab.process import wait_for
from tests.end_to_end.lab.target import request as signed
from tests.end_to_end.lab.tgstore import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Tgstore
from tests.proxy.raw_http import Response, connect, exchange, request
from tests.proxy.recording_origin import RecordingOrigin, whole

pytestmark = [pytest.mark.end_to_end, pytest.mark.both_generations]

SITE = "https://site.test"
PAGES, IMAGES = "Host: pages.lab.test", "Host: img.lab.test"
BOUNDARY = "tests-boundary"
numbers = count(1)


def ask(front: Tgstore, method: str, target: str, *fields: str, tls: bool = True) -> Response:
    return exchange(front.port, request(method, target, *fields), authority=front.authority if tls else None)


@pytest.fixture
def key() -> str:
    return f"page-key-{next(numbers)}"


def allowed(answer: Response) -> list[bytes]:
    return answer.head.values(b"access-control-allow-origin")


# --- Cross-origin headers


def test_preflight_is_ours_where_the_settings_have_rules(front: Tgstore, recording: RecordingOrigin, key: str) -> None:
    asked = (f"Origin: {SITE}", "Access-Control-Request-Method: POST")
    assert allowed(ask(front, "OPTIONS", f"/{key}", PAGES, *asked)) == [SITE.encode()]
    refused = ask(
        front, "OPTIONS", f"/{key}", PAGES, "Origin: https://evil.test", "Access-Control-Request-Method: POST"
    )
    assert (refused.status, allowed(refused)) == (403, [])
    assert recording.seen(key.encode()) == []


def test_preflight_is_the_origins_where_they_have_none(front: Tgstore, recording: RecordingOrigin, key: str) -> None:
    recording.answers[key.encode()] = whole("200 OK", b"", "Access-Control-Allow-Origin: *", "X-Theirs: yes")
    answer = ask(front, "OPTIONS", f"/{key}", IMAGES, f"Origin: {SITE}", "Access-Control-Request-Method: POST")
    assert (answer.status, answer.head.values(b"x-theirs")) == (200, [b"yes"])
    # A presigned URL's preflight bears a signature for another method.
    query = f"?X-Amz-Credential={ACCESS_KEY_ID}%2F20260101%2Fx%2Fs3%2Faws4_request&X-Amz-Signature=0"
    answer = ask(front, "OPTIONS", f"/{key}{query}", IMAGES, f"Origin: {SITE}", "Access-Control-Request-Method: PUT")
    assert (answer.status, allowed(answer)) == (200, [b"*"])
    assert [one.head.first_line for one in recording.seen(key.encode())] == [
        f"OPTIONS /real/{key} HTTP/1.1".encode()
    ] * 2


def test_settings_replace_what_the_origin_says_to_pages(front: Tgstore, recording: RecordingOrigin, key: str) -> None:
    theirs = (
        "Access-Control-Allow-Origin: *",
        "Access-Control-Allow-Headers: x",
        "Vary: Accept-Encoding",
        "X-Odd: \xff",
    )
    recording.answers[key.encode()] = whole("200 OK", b"theirs", *theirs)
    for origin, expected in ((SITE, [SITE.encode()]), ("https://evil.test", [])):
        answer = ask(front, "GET", f"/{key}", PAGES, f"Origin: {origin}")
        assert (answer.body, allowed(answer)) == (b"theirs", expected)
        assert answer.head.values(b"access-control-allow-headers") == []
        assert answer.head.values(b"x-odd") == [b"\xff"]
        assert answer.head.values(b"vary")[0].startswith(b"Accept-Encoding")
    untouched = ask(front, "GET", f"/{key}", PAGES)
    assert allowed(untouched) == [b"*"]
    elsewhere = ask(front, "GET", f"/{key}", IMAGES, f"Origin: {SITE}")
    assert allowed(elsewhere) == [b"*"]


def test_errors_of_the_origin_are_shown_to_pages(front: Tgstore, recording: RecordingOrigin, key: str) -> None:
    recording.answers[key.encode()] = whole("403 Forbidden", b"<Error/>")
    answer = ask(front, "GET", f"/{key}", PAGES, f"Origin: {SITE}")
    assert (answer.status, allowed(answer)) == (403, [SITE.encode()])


def test_page_is_never_answered_from_memory(front: Tgstore, key: str) -> None:
    """The access line says where an answer came from."""
    signed(front.target(), "PUT", key, body=b"small", headers={"x-amz-acl": "public-read"})
    assert ask(front, "GET", f"/{key}", IMAGES).body == b"small"
    assert ask(front, "GET", f"/{key}", IMAGES, f"Origin: {SITE}").body == b"small"

    def lines() -> list[str]:
        return [line for line in front.process.log_text().splitlines() if f" GET img.lab.test/{key} " in line]

    wait_for(lambda: len(lines()) == 2, 10, "both reads are in the log")
    assert ["memory" in line for line in lines()] == [True, False]


# --- Forms


def a_form(key: str, content: bytes) -> tuple[list[str], bytes]:
    """Header fields and body of a browser upload, as boto3 signs it."""
    s3 = boto3.client(
        "s3", endpoint_url="https://img.lab.test", region_name="us-east-1", aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=SECRET_ACCESS_KEY, config=Config(signature_version="s3v4"),
    )  # fmt: skip
    fields = s3.generate_presigned_post(
        "images", key, {"success_action_status": "201"}, [{"success_action_status": "201"}]
    )["fields"]
    parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}' for name, value in fields.items()]
    parts.append('Content-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n' + content.decode("latin-1"))
    body = "".join(f"--{BOUNDARY}\r\n{part}\r\n" for part in parts) + f"--{BOUNDARY}--\r\n"
    return [IMAGES, f"Content-Type: multipart/form-data; boundary={BOUNDARY}"], body.encode("latin-1")


@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
def test_form_is_stored_and_its_url_is_the_clients(front: Tgstore, key: str, tls: bool) -> None:
    fields, body = a_form(key, b"\x89PNG")
    message = request("POST", "/", *fields, f"Content-Length: {len(body)}", body=body)
    answer = exchange(front.port, message, authority=front.authority if tls else None)
    assert answer.status == 201, answer.body
    assert answer.head.values(b"location") == [f"http{'s' if tls else ''}://img.lab.test/{key}".encode()]
    assert signed(front.target(), "GET", key).content == b"\x89PNG"


def test_form_is_invited_at_once(front: Tgstore, key: str) -> None:
    fields, body = a_form(key, b"content")
    with connect(front.port, authority=front.authority) as connection:
        head = request("POST", "/", *fields, f"Content-Length: {len(body)}", "Expect: 100-continue")
        connection.send(head)
        assert connection.read_head().status == 100
        connection.send(body)
        assert connection.read_response("POST").status == 201


def test_body_that_is_no_form_is_not_invited(front: Tgstore) -> None:
    with connect(front.port, authority=front.authority) as connection:
        connection.send(
            request("POST", "/", IMAGES, "Content-Type: text/xml", "Content-Length: 5", "Expect: 100-continue")
        )
        assert connection.read_response("POST").status == 412


def test_strangers_form_goes_nowhere(front: Tgstore, recording: RecordingOrigin, key: str) -> None:
    fields, body = a_form(key, b"content")
    body = body.replace(f"{ACCESS_KEY_ID}/".encode(), b"AKSTRANGER0000000000/")
    before = len(recording.requests)
    answer = exchange(
        front.port, request("POST", "/", *fields, f"Content-Length: {len(body)}", body=body), authority=front.authority
    )
    assert (answer.status, b"InvalidAccessKeyId" in answer.body) == (403, True)
    assert len(recording.requests) == before


# --- Listings, the service itself, odd targets


def claiming(access_key_id: str) -> str:
    """A signature that claims to be of this key, and is wrong."""
    scope = f"{access_key_id}/20260101/x/s3/aws4_request"
    return f"Authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"


def test_list_of_buckets_is_ours_for_our_keys_only(front: Tgstore, recording: RecordingOrigin) -> None:
    before = len(recording.requests)
    assert ask(front, "GET", "/", "Host: s3.lab.test", claiming(ACCESS_KEY_ID)).status == 403
    assert len(recording.requests) == before
    ask(front, "GET", "/", "Host: s3.lab.test", claiming("AKSTRANGER"))
    ask(front, "GET", "/", "Host: s3.lab.test")
    assert len(recording.requests) == before + 2


@pytest.mark.parametrize("target", ["/\xc3\xbc-raw-utf-8", "/\xff", "/k?prefix=\xc3\xbc"])
def test_target_that_is_not_ascii_is_an_s3_error(front: Tgstore, target: str) -> None:
    known = claiming(ACCESS_KEY_ID)
    for method, fields in (("GET", ()), ("PUT", ("Content-Length: 0",))):
        answer = ask(front, method, target, IMAGES, known, *fields)
        assert answer.status == 400
        assert b"<Code>InvalidURI</Code>" in answer.body
        assert answer.head.values(b"content-type") == [b"application/xml"]
        (request_id,) = answer.head.values(b"x-amz-request-id")
        assert b"<RequestId>" + request_id + b"</RequestId>" in answer.body
    head = ask(front, "HEAD", target, IMAGES, known)
    assert (head.status, head.body) == (400, b"")
