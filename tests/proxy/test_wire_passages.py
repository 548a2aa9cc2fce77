"""What passes us is followed: reads order copies, writes supersede what we hold, and what nobody saw end is forgotten."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from tests.end_to_end.lab.process import wait_for
from tests.end_to_end.lab.target import request as signed
from tests.end_to_end.lab.tgstore import Tgstore
from tests.proxy.raw_http import Connection, Response, connect, exchange, request
from tests.proxy.recording_origin import EMPTY_OK, Recorded, RecordingOrigin, whole

pytestmark = [pytest.mark.end_to_end, pytest.mark.both_generations]

LIMIT_S = 20.0
HOST = "Host: img.lab.test"
STRANGER = (
    "Authorization: AWS4-HMAC-SHA256 Credential=AKSTRANGER/20260101/x/s3/aws4_request, SignedHeaders=host, Signature=0"
)
BODY = b"of the origin"
AT_THE_ORIGIN = whole(
    "200 OK", BODY, f'ETag: "{hashlib.md5(BODY).hexdigest()}"', "Last-Modified: Mon, 02 Nov 2026 10:00:00 GMT"
)
HEADERS_AT_THE_ORIGIN = AT_THE_ORIGIN.removesuffix(BODY)
DENIED = whole("403 Forbidden", b"<Error><Code>AccessDenied</Code></Error>")
LATE_ERROR = whole("200 OK", b'<?xml version="1.0"?>\n\n<Error><Code>InternalError</Code></Error>')
numbers = count(1)


def ask(front: Tgstore, method: str, target: str, *fields: str, body: bytes = b"") -> Response:
    length = [f"Content-Length: {len(body)}"] if method in ("PUT", "POST") else []
    message = request(method, target, HOST, *fields, *length, body=body)
    return exchange(front.port, message, authority=front.authority)


@pytest.fixture
def key() -> str:
    return f"key-{next(numbers)}"


@pytest.fixture
def copied(front: Tgstore, recording: RecordingOrigin, key: str) -> str:
    """A key whose object is a copy that a stranger's read ordered: strangers may not read it from us."""
    recording.answers[f"/{key} ".encode()] = AT_THE_ORIGIN
    assert ask(front, "GET", f"/{key}", STRANGER).body == BODY
    front.wait_until_copied(key)
    return key


@pytest.fixture
def written(front: Tgstore, key: str) -> str:
    """A key whose object was written through us, and is nowhere else."""
    assert signed(front.target(), "PUT", key, body=b"only here").status_code == 200
    return key


def settled(front: Tgstore) -> None:
    """Wait until no write to the origin is marked as under way."""
    wait_for(lambda: front.query("SELECT count(*) FROM origin_writes")[0][0] == 0, LIMIT_S, "all writes have ended")


def under_way(front: Tgstore) -> None:
    wait_for(lambda: front.query("SELECT count(*) FROM origin_writes")[0][0] == 1, LIMIT_S, "the write is under way")


def copies(recording: RecordingOrigin, key: str) -> int:
    """How often the background fetched this key."""
    return sum(bool(one.head.values(b"x-amz-checksum-mode")) for one in recording.seen(f"/{key}".encode()))


def a_copy_later(front: Tgstore, recording: RecordingOrigin) -> None:
    """Another key was read and copied: a copy that was ordered before it would be there by now."""
    barrier = f"barrier-{next(numbers)}"
    recording.answers[f"/{barrier}".encode()] = AT_THE_ORIGIN
    ask(front, "GET", f"/{barrier}", STRANGER)
    front.wait_until_copied(barrier)


# --- Reads


@pytest.mark.parametrize("claim", ["anonymous", "stranger"])
def test_many_reads_order_one_copy(front: Tgstore, recording: RecordingOrigin, key: str, claim: str) -> None:
    recording.answers[f"/{key}".encode()] = AT_THE_ORIGIN
    fields = [STRANGER] if claim == "stranger" else []
    with ThreadPoolExecutor(8) as readers:
        answers = list(readers.map(lambda _: ask(front, "GET", f"/{key}", *fields), range(8)))
    assert {answer.body for answer in answers} == {BODY}
    front.wait_until_copied(key)
    a_copy_later(front, recording)
    assert copies(recording, key) == 1


@pytest.mark.parametrize(
    ("method", "query", "answer"),
    [
        ("HEAD", "", HEADERS_AT_THE_ORIGIN),
        ("GET", "?versionId=old", AT_THE_ORIGIN),
        ("GET", "?acl", AT_THE_ORIGIN),
        ("GET", "?uploadId=1", AT_THE_ORIGIN),
        ("GET", "", DENIED),
        ("GET", "", whole("404 Not Found", b"<Error/>")),
        ("GET", "", b'HTTP/1.1 304 Not Modified\r\nETag: "e"\r\n\r\n'),
        ("GET", "", whole("301 Moved Permanently", b"elsewhere")),
        ("GET", "", whole("503 Slow Down", b"", "Retry-After: 1")),
        ("OPTIONS", "", EMPTY_OK),
    ],
)
@pytest.mark.parametrize("claim", ["anonymous", "stranger"])
def test_what_is_no_successful_read_of_the_object_orders_no_copy(
    front: Tgstore, recording: RecordingOrigin, key: str, method: str, query: str, answer: bytes, claim: str
) -> None:
    recording.answers[f"/{key}".encode()] = answer
    ask(front, method, f"/{key}{query}", *([STRANGER] if claim == "stranger" else []))
    assert front.query("SELECT count(*) FROM copy_jobs WHERE key = ?", key.encode()) == [(0,)]
    a_copy_later(front, recording)
    assert copies(recording, key) == 0
    assert not front.holds(key)


def test_stranger_gets_a_copied_object_from_the_origin(front: Tgstore, recording: RecordingOrigin, copied: str) -> None:
    recording.answers[f"/{copied} ".encode()] = DENIED
    assert ask(front, "GET", f"/{copied}").status == 403
    assert ask(front, "GET", f"/{copied}", STRANGER).status == 403
    assert front.holds(copied)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_the_origin_shows_to_anyone_we_show_to_anyone(
    front: Tgstore, recording: RecordingOrigin, copied: str, method: str
) -> None:
    recording.answers[f"/{copied} ".encode()] = HEADERS_AT_THE_ORIGIN if method == "HEAD" else AT_THE_ORIGIN
    assert ask(front, method, f"/{copied}").status == 200
    public = "SELECT anonymous_read FROM keys WHERE key = ?"
    wait_for(lambda: front.query(public, copied.encode()) == [(1,)], LIMIT_S, "the grant is in the index")
    recording.answers[f"/{copied} ".encode()] = whole("500 Internal Server Error", b"not asked")
    assert ask(front, "GET", f"/{copied}").body == BODY


def test_old_version_that_anyone_may_read_opens_nothing(
    front: Tgstore, recording: RecordingOrigin, copied: str
) -> None:
    recording.answers[f"/{copied}?versionId=public".encode()] = AT_THE_ORIGIN
    assert ask(front, "GET", f"/{copied}?versionId=public").status == 200
    a_copy_later(front, recording)
    recording.answers[f"/{copied} ".encode()] = DENIED
    assert ask(front, "GET", f"/{copied}").status == 403


# --- Writes

WRITES = {
    "PutObject": ("PUT", "", ()),
    "DeleteObject": ("DELETE", "", ()),
    "CopyObject": ("PUT", "", ("x-amz-copy-source: /images/elsewhere",)),
    "CompleteMultipartUpload": ("POST", "?uploadId=u", ()),
}


def write(front: Tgstore, recording: RecordingOrigin, key: str, name: str, answer: bytes) -> Response:
    method, query, fields = WRITES[name]
    recording.answers[f"{method} /real/{key}{query}".encode()] = answer
    recording.answers[f"{method} /{key}{query}".encode()] = answer
    return ask(front, method, f"/{key}{query}", STRANGER, *fields, body=b"new" if method != "DELETE" else b"")


@pytest.mark.parametrize("held", ["copied", "written"])
@pytest.mark.parametrize("name", WRITES)
def test_accepted_write_supersedes_what_we_held(
    front: Tgstore, recording: RecordingOrigin, request: pytest.FixtureRequest, name: str, held: str
) -> None:
    key: str = request.getfixturevalue(held)
    assert write(front, recording, key, name, whole("200 OK", b"<Result/>")).body == b"<Result/>"
    assert not front.holds(key)
    recording.answers[f"GET /real/{key} ".encode()] = whole("200 OK", b"newer")
    assert signed(front.target(), "GET", key).content == b"newer"


@pytest.mark.parametrize("answer", [DENIED, LATE_ERROR, whole("503 Slow Down")], ids=["denied", "late", "busy"])
@pytest.mark.parametrize("held", ["copied", "written"])
@pytest.mark.parametrize("name", WRITES)
def test_refused_write_leaves_what_we_hold(
    front: Tgstore, recording: RecordingOrigin, request: pytest.FixtureRequest, name: str, held: str, answer: bytes
) -> None:
    key: str = request.getfixturevalue(held)
    assert write(front, recording, key, name, answer).status == int(answer[9:12])
    settled(front)
    assert front.holds(key)


@pytest.mark.parametrize(
    ("method", "query", "body"),
    [("POST", "?uploads", b""), ("PUT", "?partNumber=1&uploadId=u", b"p"), ("DELETE", "?uploadId=u", b"")],
)
def test_steps_of_a_multipart_upload_supersede_nothing(
    front: Tgstore, recording: RecordingOrigin, written: str, method: str, query: str, body: bytes
) -> None:
    recording.answers[f"{method} /{written}?".encode()] = EMPTY_OK
    assert ask(front, method, f"/{written}{query}", STRANGER, body=body).status == 200
    assert signed(front.target(), "GET", written).content == b"only here"


def test_delete_of_an_old_version_leaves_what_is_only_here(
    front: Tgstore, recording: RecordingOrigin, written: str
) -> None:
    recording.answers[f"DELETE /{written}".encode()] = b"HTTP/1.1 204 No Content\r\n\r\n"
    assert ask(front, "DELETE", f"/{written}?versionId=old", STRANGER).status == 403
    assert signed(front.target(), "GET", written).content == b"only here"


@pytest.mark.parametrize("condition", ["If-None-Match: *", 'If-Match: "of-the-origin"'])
@pytest.mark.parametrize("name", WRITES)
def test_origin_does_not_judge_conditions_on_what_is_only_here(
    front: Tgstore, recording: RecordingOrigin, written: str, name: str, condition: str
) -> None:
    method, query, fields = WRITES[name]
    recording.answers[f"{method} /{written}{query}".encode()] = EMPTY_OK
    body = b"new" if method != "DELETE" else b""
    assert ask(front, method, f"/{written}{query}", STRANGER, *fields, condition, body=body).status == 403
    assert signed(front.target(), "GET", written).content == b"only here"


def test_origin_judges_conditions_on_what_it_has(front: Tgstore, recording: RecordingOrigin, copied: str) -> None:
    recording.answers[f"PUT /{copied}".encode()] = whole("412 Precondition Failed", b"<Error/>")
    assert ask(front, "PUT", f"/{copied}", STRANGER, "If-None-Match: *", body=b"new").status == 412
    settled(front)
    assert front.holds(copied)


@pytest.mark.parametrize("where", ["header", "query"])
def test_copy_of_what_is_only_here_does_not_bring_back_the_origins_version(
    front: Tgstore, recording: RecordingOrigin, written: str, where: str
) -> None:
    recording.answers[b"/target-of-copy"] = whole("200 OK", b"<CopyObjectResult/>")
    query, fields = "", [STRANGER, f"x-amz-copy-source: /images/{written}"]
    if where == "query":
        query = (
            f"?X-Amz-Credential=AKSTRANGER%2F20260101%2Fx%2Fs3%2Faws4_request&x-amz-copy-source=%2Fimages%2F{written}"
        )
        fields = []
    assert ask(front, "PUT", f"/target-of-copy{query}", *fields).status in (400, 403)
    assert recording.seen(b"/target-of-copy") == []


# --- Writes whose end nobody saw


class Stalled:
    """An origin that takes a write and does not answer before it is let."""

    def __init__(self, answer: bytes | None = None) -> None:
        self.received, self.let = threading.Event(), threading.Event()
        self.answer = answer

    def __call__(self, _recorded: Recorded, connection: Connection) -> None:
        self.received.set()
        self.let.wait(LIMIT_S)
        if self.answer is None:
            raise EOFError
        connection.send(self.answer)


def begin_write(front: Tgstore, recording: RecordingOrigin, key: str, stalled: Stalled) -> Connection:
    """A stranger's PUT, half of its body sent, that has reached the origin."""
    recording.answers[f"PUT /{key}".encode()] = stalled
    connection = connect(front.port, authority=front.authority)
    connection.send(request("PUT", f"/{key}", HOST, STRANGER, "Content-Length: 10", body=b"12345"))
    assert stalled.received.wait(LIMIT_S)
    under_way(front)
    return connection


def client_goes(connection: Connection, stalled: Stalled) -> None:
    connection.socket.close()


def origin_goes(connection: Connection, stalled: Stalled) -> None:
    stalled.let.set()


@pytest.mark.parametrize("goes", [client_goes, origin_goes])
def test_copy_is_forgotten_where_the_end_of_a_write_was_not_seen(
    front: Tgstore, recording: RecordingOrigin, copied: str, goes: Callable[[Connection, Stalled], None]
) -> None:
    stalled = Stalled()
    with begin_write(front, recording, copied, stalled) as connection:
        goes(connection, stalled)
        settled(front)
    assert not front.holds(copied)
    stalled.let.set()


def test_what_is_only_here_stays_where_the_end_of_a_write_was_not_seen(
    front: Tgstore, recording: RecordingOrigin, written: str
) -> None:
    stalled = Stalled()
    with begin_write(front, recording, written, stalled) as connection:
        client_goes(connection, stalled)
        settled(front)
    assert signed(front.target(), "GET", written).content == b"only here"
    stalled.let.set()


def test_copy_is_not_served_while_it_may_be_changing(front: Tgstore, recording: RecordingOrigin, key: str) -> None:
    recording.answers[f"/{key} ".encode()] = AT_THE_ORIGIN
    ask(front, "GET", f"/{key}")
    front.wait_until_copied(key)
    stalled = Stalled(EMPTY_OK)
    with begin_write(front, recording, key, stalled):
        recording.answers[f"GET /real/{key} ".encode()] = whole("200 OK", b"the origin's answer now")
        assert ask(front, "GET", f"/{key}").body == b"the origin's answer now"
        assert signed(front.target(), "GET", key).content == b"the origin's answer now"
        stalled.let.set()


def test_copy_is_forgotten_after_a_kill_between_forward_and_answer(
    front: Tgstore, recording: RecordingOrigin, copied: str
) -> None:
    stalled = Stalled()
    with begin_write(front, recording, copied, stalled):
        front.restart()
    assert not front.holds(copied)
    stalled.let.set()
