"""What passes us to the origin and back is byte for byte what was sent."""

from __future__ import annotations

from itertools import count

import pytest

from tests.end_to_end.lab.tgstore import Tgstore
from tests.proxy.raw_http import Head, Response, exchange, request
from tests.proxy.recording_origin import EMPTY_OK, Recorded, RecordingOrigin, whole

pytestmark = [pytest.mark.end_to_end, pytest.mark.both_generations]

SIGNED_BY_A_STRANGER = (
    "Authorization: AWS4-HMAC-SHA256 Credential=AKSTRANGER/20260101/eu-central-1/s3/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=" + "ab" * 32
)
ODD_TARGETS = [
    "/plain.png",
    "/a%2Fb%2fc",
    "//double//slash/",
    "/a/../b/./c",
    "/%7etilde~%C3%A9+plus%2b",
    "/lower%c3%a9",
    "/?versions&empty=&bare&twice=1&twice=2",
    "/k?x-id=GetObject&prefix=a%2Fb&%20=%20",
    "/semi;colon=1,comma'quote!star*()",
    "/100%25",
    "/\xc3\xa9-raw-utf-8",
]


numbers = count(1)


def exchanged(
    front: Tgstore, recording: RecordingOrigin, *message: str, body: bytes = b""
) -> tuple[Response, Recorded]:
    """The answer, and the request as the origin got it, without the field by which it is told from a background copy."""
    mark = f"{next(numbers)}".encode()
    answer = exchange(front.port, request(*message, f"X-Mark: {mark.decode()}", body=body), authority=front.authority)
    received = [one for one in recording.requests if one.head.values(b"x-mark") == [mark]]
    assert len(received) == 1, answer
    return answer, Recorded(Head(received[0].head.first_line, received[0].head.without(b"x-mark")), received[0].body)


@pytest.mark.parametrize("target", ODD_TARGETS)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_request_signed_by_a_stranger_arrives_as_it_was_sent(
    front: Tgstore, recording: RecordingOrigin, target: str, method: str
) -> None:
    fields = [
        "x-AMZ-Date: 20260101T000000Z",
        "Host: img.lab.test:8443",
        "X-Twice: one",
        SIGNED_BY_A_STRANGER,
        "x-twice: two",
        "X-Empty: ",
        "X-Latin: \xe9\xff",
        "Connection: keep-alive",
        "Accept-Encoding: gzip, br",
        "Content-Length: 5" if method == "PUT" else "X-None: 1",
    ]
    recording.answers[b" "] = EMPTY_OK
    body = b"12345" if method == "PUT" else b""
    answer, received = exchanged(front, recording, method, target, *fields, body=body)
    assert answer.status == 200
    assert received.head.first_line == f"{method} {target} HTTP/1.1".encode("latin-1")
    sent = [field.encode("latin-1").partition(b":") for field in fields]
    assert received.head.fields == tuple((name, value.strip()) for name, _, value in sent)
    assert received.body == body


def test_chunks_and_aws_chunks_of_a_stranger_arrive_as_they_were_sent(
    front: Tgstore, recording: RecordingOrigin
) -> None:
    recording.answers[b"PUT /streamed"] = EMPTY_OK
    body = b"5;chunk-signature=" + b"0" * 64 + b"\r\nhello\r\n0;chunk-signature=" + b"1" * 64 + b"\r\n\r\n"
    fields = [
        "Host: img.lab.test", SIGNED_BY_A_STRANGER, "Content-Encoding: aws-chunked",
        "X-Amz-Content-SHA256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "X-Amz-Decoded-Content-Length: 5",
        f"Content-Length: {len(body)}",
    ]  # fmt: skip
    _, received = exchanged(front, recording, "PUT", "/streamed", *fields, body=body)
    assert received.body == body


VIRTUAL = [(target, target) for target in ODD_TARGETS]
BY_HOST_AT_A_PATH_ORIGIN = [
    (target, f"/real{target}" if target[1] != "?" else f"/real{target[1:]}") for target in ODD_TARGETS
]
BY_PATH = [(f"/images{target}", sent) for target, sent in BY_HOST_AT_A_PATH_ORIGIN]


@pytest.mark.parametrize(
    ("host", "asked", "sent", "origin_host"),
    [
        *(("virtual.lab.test", *pair, "virtual.origin.lab.test:{port}") for pair in VIRTUAL),
        *(("img.lab.test", *pair, "127.0.0.1:{port}") for pair in BY_HOST_AT_A_PATH_ORIGIN),
        *(("s3.lab.test:9000", *pair, "127.0.0.1:{port}") for pair in BY_PATH),
    ],
)
def test_anonymous_request_arrives_in_the_origins_own_address_style(
    front: Tgstore, recording: RecordingOrigin, host: str, asked: str, sent: str, origin_host: str
) -> None:
    recording.answers[b" "] = EMPTY_OK
    fields = ["X-First: 1", f"hoST: {host}", "x-amz-META-a: \xe9", "X-Twice: 1", "X-Twice: 2"]
    _, received = exchanged(front, recording, "GET", asked, *fields)
    assert received.head.first_line == f"GET {sent} HTTP/1.1".encode("latin-1")
    assert received.head.fields == (
        (b"X-First", b"1"),
        (b"hoST", origin_host.format(port=recording.port).encode()),
        (b"x-amz-META-a", b"\xe9"),
        (b"X-Twice", b"1"),
        (b"X-Twice", b"2"),
    )


ODD_ANSWERS = {
    "duplicates": whole(
        "200 OK", b"x", "X-Twice: 1", "x-tWice: 2", "Set-Cookie: a", "Set-Cookie: b", "Server: AmazonS3"
    ),
    "compressed": whole("200 OK", b"\x1f\x8b\x08not really", "Content-Encoding: gzip", "Vary: Accept-Encoding"),
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "own reason": whole("200 Fine By Me", b"x"),
    "not modified": b'HTTP/1.1 304 Not Modified\r\nETag: "e"\r\n\r\n',
    "part": whole("206 Partial Content", b"bc", "Content-Range: bytes 1-2/5"),
    "redirect": whole("307 Temporary Redirect", b"", "Location: http://elsewhere/"),
    "refused": whole("403 Forbidden", b"<Error><Code>AccessDenied</Code></Error>", "X-Amz-Request-Id: 1"),
    "missing": whole("404 Not Found", b"<Error><Code>NoSuchKey</Code></Error>"),
    "busy": whole("503 Slow Down", b"<Error><Code>SlowDown</Code></Error>", "Retry-After: 7"),
    "latin": whole("200 OK", b"x", "x-amz-meta-name: \xe9\xff"),
}


@pytest.mark.parametrize("claim", ["anonymous", "stranger"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
@pytest.mark.parametrize("case", ODD_ANSWERS)
def test_answer_of_the_origin_comes_back_as_it_was_sent(
    front: Tgstore, recording: RecordingOrigin, case: str, method: str, claim: str
) -> None:
    sent = ODD_ANSWERS[case]
    sent_head, _, sent_body = sent.partition(b"\r\n\r\n")
    recording.answers[b"/answered"] = sent_head + b"\r\n\r\n" if method == "HEAD" else sent
    fields = ["Host: img.lab.test", *([SIGNED_BY_A_STRANGER] if claim == "stranger" else [])]
    message = request(method, "/answered", *fields, *(["Content-Length: 0"] if method == "PUT" else []))
    answer = exchange(front.port, message, authority=front.authority)
    sent_line, *sent_fields = sent_head.split(b"\r\n")
    assert answer.head.first_line == sent_line
    assert answer.head.fields == tuple((n, v.strip()) for n, _, v in (field.partition(b":") for field in sent_fields))
    assert answer.body == (b"" if method == "HEAD" else sent_body)
