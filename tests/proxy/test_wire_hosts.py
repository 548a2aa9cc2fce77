"""Which host a request is for, in every spelling; none of them shows what was deleted here, or slips a write past us."""

from __future__ import annotations

import pytest

from tests.end_to_end.lab.target import request as signed
from tests.end_to_end.lab.tgstore import EXPIRED_QUERY, Tgstore
from tests.proxy.raw_http import connect, exchange, request
from tests.proxy.raw_http2 import Http2Connection, pseudo
from tests.proxy.recording_origin import RecordingOrigin, whole

pytestmark = [pytest.mark.end_to_end, pytest.mark.both_generations]

OUT_OF_DATE = b"the origin still has this"


@pytest.fixture(scope="module")
def deleted(front: Tgstore, recording: RecordingOrigin) -> Tgstore:
    """`gone` was deleted through us; the origin would still show it to anyone."""
    recording.answers[b"/gone"] = whole("200 OK", OUT_OF_DATE)
    assert signed(front.target(), "DELETE", "gone").status_code == 204
    return front


SPELLINGS = {
    "as configured": request("GET", "/gone", "Host: img.lab.test"),
    "a port": request("GET", "/gone", "Host: img.lab.test:8443"),
    "upper case": request("GET", "/gone", "Host: IMG.Lab.TEST"),
    "trailing dot": request("GET", "/gone", "Host: img.lab.test."),
    "trailing dot and port": request("GET", "/gone", "Host: img.lab.test.:80"),
    "twice": request("GET", "/gone", "Host: img.lab.test", "Host: img.lab.test"),
    "another first": request("GET", "/gone", "Host: other.test", "Host: img.lab.test"),
    "another second": request("GET", "/gone", "host: img.lab.test", "HOST: other.test"),
    "absolute target": request("GET", "http://img.lab.test/gone", "Host: img.lab.test"),
    "only the absolute target": request("GET", "http://img.lab.test/gone", "Host: other.test"),
    "only the Host": request("GET", "http://other.test/gone", "Host: img.lab.test"),
    "absolute target, no Host": request("GET", "http://img.lab.test/gone"),
    "path style": request("GET", "/images/gone", "Host: s3.lab.test"),
    "HTTP/1.0": b"GET /gone HTTP/1.0\r\nHost: img.lab.test\r\n\r\n",
    "lower-case method": request("get", "/gone", "Host: img.lab.test"),
    "escaped key": request("GET", "/%67one", "Host: img.lab.test"),
    "other name for itself": request("GET", "/gone", "Host: img.lab.test", "X-Forwarded-Host: other.test"),
    "other path for itself": request("GET", "/gone", "Host: img.lab.test", "X-Original-URL: /other"),
    "internal headers": request("GET", "/gone", "Host: img.lab.test", "X-Tgstore-Bypass: 1", "X-Cache: MISS"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_what_was_deleted_here_stays_deleted(deleted: Tgstore, spelling: str) -> None:
    answer = exchange(deleted.port, SPELLINGS[spelling], authority=deleted.authority)
    assert 400 <= answer.status < 500
    assert OUT_OF_DATE not in answer.body


@pytest.mark.parametrize(
    "fields",
    [
        pseudo("GET", "/gone", "img.lab.test"),
        pseudo("GET", "/gone", "IMG.lab.test:443"),
        [*pseudo("GET", "/gone", None), ("host", "img.lab.test")],
        [*pseudo("GET", "/gone", "img.lab.test"), ("host", "other.test")],
        [*pseudo("GET", "/gone", "other.test"), ("host", "img.lab.test")],
        [*pseudo("GET", "/images/gone", "s3.lab.test"), ("host", "s3.lab.test")],
    ],
    ids=str,
)
def test_what_was_deleted_here_stays_deleted_over_http2(deleted: Tgstore, fields: list[tuple[str, str]]) -> None:
    assert deleted.authority is not None
    with Http2Connection(deleted.port, deleted.authority) as connection:
        answer = connection.request(fields)
    # Two names that differ end the connection: mitmproxy does not even read such a request.
    assert answer.status == 0 or 400 <= answer.status < 500
    assert OUT_OF_DATE not in answer.body


def test_host_and_authority_that_agree_are_one_host(front: Tgstore, recording: RecordingOrigin) -> None:
    recording.answers[b"/agreed"] = whole("200 OK", b"found")
    assert front.authority is not None
    with Http2Connection(front.port, front.authority) as connection:
        answer = connection.request([*pseudo("GET", "/agreed", "img.lab.test"), ("host", "img.lab.test")])
    assert (answer.status, answer.body) == (200, b"found")


def test_unknown_bucket_on_a_path_host_is_left_alone(front: Tgstore, recording: RecordingOrigin) -> None:
    recording.answers[b"/elsewhere/k"] = whole("200 OK", b"not ours")
    answer = exchange(front.port, request("GET", "/elsewhere/k", "Host: s3.lab.test"), authority=front.authority)
    assert (answer.status, answer.body) == (200, b"not ours")


def test_access_keys_that_nobody_knows_are_refused_where_that_is_configured(
    front: Tgstore, recording: RecordingOrigin
) -> None:
    credential = "Authorization: AWS4-HMAC-SHA256 Credential=AKSTRANGER/20260101/x/s3/aws4_request, SignedHeaders=host, Signature=0"
    message = request("GET", "/refused-stranger", "Host: strict.lab.test", credential)
    assert exchange(front.port, message, authority=front.authority).status == 403
    assert recording.seen(b"refused-stranger") == []


AMBIGUOUS = {
    "length and chunks": ("Content-Length: 5", "Transfer-Encoding: chunked"),
    "two lengths": ("Content-Length: 5", "Content-Length: 6"),
    "two equal lengths": ("Content-Length: 5", "Content-Length: 5"),
    "signed length": ("Content-Length: +5",),
    "list of lengths": ("Content-Length: 5, 5",),
    "unknown coding": ("Transfer-Encoding: xchunked",),
    "two codings": ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
    "coding after chunked": ("Transfer-Encoding: chunked, gzip",),
    "space before colon": ("Content-Length : 5",),
    "tab before colon": ("Transfer-Encoding\t: chunked",),
    "folded line": ("X-A: b\r\n Transfer-Encoding: chunked", "Content-Length : 5"),
    "NUL in a name": ("Content-Length: 5", "X\x00Y: z"),
    "no colon": ("Content-Length: 5", "garbage"),
    "lone carriage return": ("Content-Length: 5", "X-A: b\rTransfer-Encoding: chunked"),
    "NUL in a value": ("Content-Length: 5", "X-A: b\x00c"),
}
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: img.lab.test\r\n\r\n"


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_message_that_could_be_cut_in_two_ways_goes_no_further(
    front: Tgstore, recording: RecordingOrigin, case: str
) -> None:
    path = "/ambiguous-" + case.replace(" ", "-")
    message = request("PUT", path, "Host: img.lab.test", *AMBIGUOUS[case], body=b"0\r\n\r\n" + SMUGGLED)
    with connect(front.port, authority=front.authority) as connection:
        connection.send(message)
        answered = connection.read_to_end()
    assert answered == b"" or answered.startswith(b"HTTP/1.1 400 ")
    assert answered.count(b"HTTP/1.1") <= 1
    assert recording.seen(path.encode()) == recording.seen(b"smuggled") == []


def test_request_behind_the_body_of_a_get_is_a_request_of_its_own(front: Tgstore, recording: RecordingOrigin) -> None:
    recording.answers[b"/first-of-two"] = whole("200 OK", b"first")
    recording.answers[b"/second-of-two"] = whole("200 OK", b"second")
    body = b"GET /in-the-body HTTP/1.1\r\n\r\n"
    first = request("GET", "/first-of-two", "Host: img.lab.test", f"Content-Length: {len(body)}", body=body)
    with connect(front.port, authority=front.authority) as connection:
        connection.send(first + request("GET", "/second-of-two", "Host: img.lab.test"))
        assert connection.read_response().body == b"first"
        assert connection.read_response().body == b"second"
    assert recording.seen(b"in-the-body") == []


INJECTIONS = {
    "a coding": [*pseudo("PUT", "/{}", "img.lab.test"), ("content-length", "0"), ("transfer-encoding", "chunked")],
    "line break in a value": [*pseudo("PUT", "/{}", "img.lab.test"), ("x-a", "b\r\nGET /smuggled HTTP/1.1")],
    "line feed in a value": [*pseudo("GET", "/{}", "img.lab.test"), ("x-a", "b\nx-b: c")],
    "line break in a name": [*pseudo("GET", "/{}", "img.lab.test"), ("x-a: b\r\nx-c", "d")],
    "line break in the path": pseudo("GET", "/{} HTTP/1.1\r\nHost: img.lab.test\r\n\r\nGET /smuggled", "img.lab.test"),
    "blank in the path": pseudo("GET", "/{} HTTP/1.0", "img.lab.test"),
    "line break in the authority": pseudo("GET", "/{}", "img.lab.test\r\nx-a: b"),
    "line break in the method": pseudo("PUT\r\nx-a: b", "/{}", "img.lab.test"),
    "blank in the method": pseudo("GET /smuggled HTTP/1.1\r\n", "/{}", "img.lab.test"),
    "a tunnel": pseudo("CONNECT", "/{}", "img.lab.test"),
    "of another host": [*pseudo("GET", "/{}", "other.test"), ("x-a", "b\r\nHost: img.lab.test")],
}


@pytest.mark.parametrize("case", INJECTIONS)
def test_http2_fields_cannot_become_other_http1_messages(front: Tgstore, recording: RecordingOrigin, case: str) -> None:
    path = "injected-" + case.replace(" ", "-")
    assert front.authority is not None
    with Http2Connection(front.port, front.authority) as connection:
        answer = connection.request([(name, value.replace("{}", path)) for name, value in INJECTIONS[case]])
    assert answer.status in (0, 400)
    assert recording.seen(b"smuggled") == recording.seen(path.encode()) == []


@pytest.mark.parametrize("method", ["CONNECT", "connect"])
def test_reverse_mode_is_no_open_proxy(front: Tgstore, recording: RecordingOrigin, method: str) -> None:
    target = f"127.0.0.1:{recording.port}"
    with connect(front.port, authority=front.authority) as connection:
        connection.send(request(method, target, f"Host: {target}") + request("GET", "/tunnelled", "Host: img.lab.test"))
        answered = connection.read_to_end()
    assert answered.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 502 "))
    assert recording.seen(b"tunnelled") == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PUT", "POST"])
@pytest.mark.parametrize("host", ["img.lab.test", "other.test"])
def test_body_that_http2_does_not_announce_is_no_request(
    front: Tgstore, recording: RecordingOrigin, host: str, method: str
) -> None:
    path = f"/unannounced-{method}-{host}"
    recording.answers[path.encode()] = whole("200 OK")
    assert front.authority is not None
    with Http2Connection(front.port, front.authority) as connection:
        answer = connection.request(pseudo(method, path, host), [SMUGGLED])
    assert answer.status == 200
    assert recording.seen(b"smuggled") == []
    passed = [one.body for one in recording.seen(path.encode()) if not one.head.values(b"x-amz-checksum-mode")]
    assert len(passed) == 1
    assert (SMUGGLED in passed[0]) == (method in ("PUT", "POST"))


@pytest.mark.parametrize("body", [[], [b"a body that nobody announced"]])
def test_refusal_over_http2_is_answered_whether_a_body_comes_or_not(front: Tgstore, body: list[bytes]) -> None:
    """Of a key with bytes that no URL has, which is refused before the object service."""
    bucket = front.buckets[0]
    path = f"/{bucket.name}/caf\xe9?{EXPIRED_QUERY.format(bucket.access_key_id)}"
    assert front.authority is not None
    with Http2Connection(front.port, front.authority) as connection:
        answer = connection.request(pseudo("GET", path, "localhost"), body)
    assert answer.status == 400
    assert b"<Code>InvalidURI</Code>" in answer.body
