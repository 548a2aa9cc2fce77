"""Uploads on the wire: invited only when they will be taken, refused early, never held in memory."""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.lab.target import request as signed
from tests.end_to_end.lab.target import signed_headers
from tests.end_to_end.lab.tgstore import Tgstore
from tests.proxy.raw_http import Connection, connect, request
from tests.proxy.raw_http2 import Http2Connection, pseudo
from tests.proxy.recording_origin import Recorded, RecordingOrigin, whole

pytestmark = [pytest.mark.end_to_end, pytest.mark.both_generations]

# curl waits a second for the invitation, so a product that never gives it still works, slowly.
INVITATION_S_MAX = 0.7
# Long enough that an answer would have come.
STALLED_S = 2.0
LARGE_BYTES = 300_000_000
PIECE = bytes(1 << 18)
# Socket buffers, read-ahead and what the allocator keeps; far below the body.
MEMORY_GROWTH_BYTES_MAX = 60_000_000


def signed_put(
    front: Tgstore, key: str, body_bytes: int, *, body: bytes = b"", wrong: bool = False, expect: bool = False
) -> bytes:
    """The head of an upload, signed for `body`."""
    target = front.target()
    fields = signed_headers(target, "PUT", target.url(key), {}, body)
    if wrong:
        fields["Authorization"] = re.sub("Signature=.{8}", "Signature=00000000", fields["Authorization"])
    fields |= {"Host": target.host, "Content-Length": str(body_bytes)}
    if expect:
        fields["Expect"] = "100-continue"
    return request("PUT", f"/{target.bucket}/{key}", *(f"{name}: {value}" for name, value in fields.items()))


@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
def test_wrong_signature_is_refused_before_the_body_is_invited(front: Tgstore, tls: bool) -> None:
    with connect(front.port, authority=front.authority if tls else None) as connection:
        connection.send(signed_put(front, "expected", 5, wrong=True, expect=True))
        refusal = connection.read_response("PUT")
        assert refusal.status == 403
        assert b"SignatureDoesNotMatch" in refusal.body
        connection.send(b"12345" + request("GET", "/images/after-it", "Host: s3.lab.test"))
        assert connection.read_response().status == 404


@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
def test_body_with_a_right_signature_is_invited_at_once_and_stored(front: Tgstore, tls: bool) -> None:
    with connect(front.port, authority=front.authority if tls else None) as connection:
        started = time.monotonic()
        connection.send(signed_put(front, "invited", 5, body=b"12345", expect=True))
        assert connection.read_head().status == 100
        assert time.monotonic() - started < INVITATION_S_MAX
        connection.send(b"12345")
        assert connection.read_response("PUT").status == 200
    assert signed(front.target(), "GET", "invited").content == b"12345"


def test_strangers_body_is_invited_and_the_origin_decides(front: Tgstore, recording: RecordingOrigin) -> None:
    recording.answers[b"/expected-by-a-stranger"] = whole("403 Forbidden", b"no")
    with connect(front.port, authority=front.authority) as connection:
        connection.send(
            request("PUT", "/expected-by-a-stranger", "Host: img.lab.test", "Content-Length: 5", "Expect: 100-continue")
        )
        assert connection.read_head().status == 100
        connection.send(b"12345")
        assert connection.read_response("PUT").status == 403
    assert recording.seen(b"expected-by-a-stranger")[0].body == b"12345"


# --- Memory


def peak_bytes(pid: int) -> int:
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) * 1024  # type: ignore[index]


@contextlib.contextmanager
def bounded_memory(front: Tgstore) -> Iterator[None]:
    """The most that the product held in between is little more than before."""
    Path(f"/proc/{front.process.pid}/clear_refs").write_text("5")
    before = peak_bytes(front.process.pid)
    yield
    assert peak_bytes(front.process.pid) - before < MEMORY_GROWTH_BYTES_MAX


def send_large(connection: Connection) -> None:
    """As much of a large body as the other side takes."""
    with contextlib.suppress(OSError):
        for _ in range(LARGE_BYTES // len(PIECE)):
            connection.send(PIECE)


def refuse_unread(_recorded: Recorded, connection: Connection) -> None:
    """The origin's early refusal; it goes on taking the body, as S3 does."""
    connection.send(whole("403 Forbidden", b"no"))
    with contextlib.suppress(EOFError, OSError):
        for _ in itertools.count():
            connection._buffer = b""
            connection._receive()


STRANGER = (
    "Authorization: AWS4-HMAC-SHA256 Credential=AKSTRANGER/20260101/x/s3/aws4_request, SignedHeaders=host, Signature=0"
)
LENGTH = f"Content-Length: {LARGE_BYTES}"
CHUNKED = "Transfer-Encoding: chunked"
REFUSED = {
    "of a stranger, by the origin": (request("PUT", "/large", "Host: img.lab.test", STRANGER, LENGTH), 403),
    "anonymous, by the origin": (request("PUT", "/large", "Host: img.lab.test", LENGTH), 403),
    "of a stranger, by us": (request("PUT", "/large", "Host: strict.lab.test", STRANGER, LENGTH), 403),
    "with a key that only we may decide": (request("POST", "/?delete", "Host: img.lab.test", LENGTH), 403),
    "of two hosts": (request("PUT", "/large", "Host: img.lab.test", "Host: strict.lab.test", LENGTH), 400),
    "without a key that can be understood": (request("PUT", "/%FF", "Host: img.lab.test", LENGTH), 400),
    "that are not one message": (request("PUT", "/large", "Host: img.lab.test", "X-A: b\0c", LENGTH), 0),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_body_is_never_held_in_memory(front: Tgstore, recording: RecordingOrigin, case: str) -> None:
    recording.answers[b"/large"] = refuse_unread
    message, status = REFUSED[case]
    with bounded_memory(front), connect(front.port) as connection:
        connection.send(message)
        if status == 0:
            # mitmproxy 11 closes the connection; 12 stops reading and leaves it to the client.
            connection.socket.settimeout(STALLED_S)
        send_large(connection)
        answered = what_comes(connection) if status == 0 else connection.read_head().first_line
    assert answered == b"" if status == 0 else answered.startswith(f"HTTP/1.1 {status} ".encode())


def what_comes(connection: Connection) -> bytes:
    """All that comes, also where the other side neither goes on nor closes."""
    with contextlib.suppress(TimeoutError):
        return connection.read_to_end()
    return b""


def test_body_with_a_wrong_signature_is_never_held_in_memory(front: Tgstore) -> None:
    with bounded_memory(front), connect(front.port) as connection:
        connection.send(signed_put(front, "large", LARGE_BYTES, wrong=True))
        send_large(connection)
        assert connection.read_head().status == 403


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_body_that_http2_does_not_announce_is_never_held_in_memory(
    front: Tgstore, recording: RecordingOrigin, method: str
) -> None:
    signed(front.target(), "PUT", "public", body=b"small", headers={"x-amz-acl": "public-read"})
    path = "/images/public" if method == "GET" else "/images/large"
    recording.answers[b"/large"] = refuse_unread
    assert front.authority is not None
    with bounded_memory(front), Http2Connection(front.port, front.authority) as connection:
        piece = bytes(16_000)
        answer = connection.request(
            pseudo(method, path, f"localhost:{front.port}"), (piece for _ in range(LARGE_BYTES // 4 // len(piece)))
        )
    assert answer.status in (0, 200, 403)
    assert signed(front.target(), "GET", "public").content == b"small"
