"""The migration contract, what the origin does: cases 10 to 12 and 20, and the points that belong to no case."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.end_to_end.contract import LIMIT_S, OURS, Site, some_bytes, start_site
from tests.end_to_end.lab.clients import s3_client
from tests.end_to_end.lab.origin import Origin
from tests.end_to_end.lab.process import wait_for
from tests.end_to_end.lab.relay import PASS, Step
from tests.service.signing import sign

pytestmark = pytest.mark.end_to_end

DOCUMENT_BYTES_MAX = 20_000_000
READERS = 100
ATTEMPTS_MAX = 2  # as the settings of `contract.start_site` say


@pytest.fixture(scope="module")
def site(launch: Callable[..., Any], rgw: Origin, new_bucket: Callable[[Origin], str]) -> Iterator[Site]:
    started = start_site(launch, rgw, new_bucket(rgw))
    yield started
    started.relay.stop()


def test_case_10_origin_changes_during_the_copy(site: Site) -> None:
    """The copy gets the beginning of one version and the end of another: discarded, and fetched again."""
    v1, v2 = some_bytes(200_000, 1), some_bytes(200_000, 2)
    site.old("changing", v1)
    spliced = v1[:100_000] + v2[100_000:]
    site.relay.script("GET", "changing", PASS, *[Step(body=spliced)] * ATTEMPTS_MAX)
    assert site.send("GET", "changing").body == v1
    wait_for(lambda: [job[0] for job in site.jobs("changing")] == ["failed"], LIMIT_S, "the copy is given up")
    assert not site.tgstore.holds("changing")
    site.old("changing", v2)
    assert site.send("GET", "changing").body == v2
    site.tgstore.wait_until_copied("changing")
    got = site.send("GET", "changing")
    assert (got.body, got.headers["etag"]) == (v2, f'"{hashlib.md5(v2).hexdigest()}"')


def test_case_11_origin_truncates(site: Site) -> None:
    """A broken transfer is a broken transfer to the client, and nothing is kept of it."""
    body = site.old("truncated", some_bytes(300_000))
    short = Step(cut_at=len(body) - 1)
    site.relay.script("GET", "truncated", *[short] * (1 + ATTEMPTS_MAX))
    with pytest.raises(http.client.IncompleteRead) as broken:
        site.send("GET", "truncated")
    assert body.startswith(broken.value.partial)
    wait_for(lambda: [job[0] for job in site.jobs("truncated")] == ["failed"], LIMIT_S, "the copy is given up")
    ((_, attempts, reason),) = site.jobs("truncated")
    assert (attempts, f"after {ATTEMPTS_MAX} attempts" in reason) == (ATTEMPTS_MAX, True)
    assert not site.tgstore.holds("truncated")
    assert site.send("GET", "truncated").body == body
    site.tgstore.wait_until_copied("truncated")


def test_case_11_client_leaves(site: Site) -> None:
    """The copy comes from its own fetch, whole."""
    body = site.old("left", some_bytes(6_000_001))
    host = site.tgstore.endpoint.partition("://")[2]
    target = f"/{site.bucket}/left"
    headers = sign(OURS, "GET", target, host, payload=hashlib.sha256(b"").hexdigest()).headers
    with socket.create_connection(("127.0.0.1", site.tgstore.port), timeout=LIMIT_S) as client:
        lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
        client.sendall("\r\n".join(lines).encode())
        assert client.recv(1000)
    site.tgstore.wait_until_copied("left")
    assert site.tgstore.query("SELECT size FROM keys WHERE key = ?", b"left") == [(len(body),)]
    assert site.send("GET", "left").body == body


REFUSALS = {
    "forbidden": Step(status=403, body=b"<Error><Code>AccessDenied</Code></Error>"),
    "missing": Step(status=404, body=b"<Error><Code>NoSuchKey</Code></Error>"),
    "throttled": Step(status=429, headers=(("Retry-After", "7"),), body=b"slow"),
    "failed": Step(status=500, body=b"<Error><Code>InternalError</Code></Error>"),
    "overloaded": Step(status=503, headers=(("Retry-After", "7"),), body=b"<Error><Code>SlowDown</Code></Error>"),
}


@pytest.mark.parametrize("how", REFUSALS)
def test_case_12_origin_refuses(site: Site, how: str) -> None:
    """Passed on as it is, remembered by nobody."""
    key, refusal = f"refused {how}", REFUSALS[how]
    site.old(key, b"there all along")
    site.relay.script("GET", key, refusal)
    answer = site.send("GET", key)
    assert (answer.status, answer.body) == (refusal.status, refusal.body)
    assert answer.headers.get("retry-after") == dict(refusal.headers).get("Retry-After")
    assert site.jobs(key) == []
    assert site.send("GET", key).body == b"there all along"


def test_case_12_a_missing_key_is_not_remembered(site: Site) -> None:
    assert site.send("GET", "missing at first").status == 404
    assert site.send("PUT", "missing at first", body=b"written").status == 200
    assert site.send("GET", "missing at first").body == b"written"
    assert site.send("GET", "made past us").status == 404
    site.old("made past us", b"made at the origin")
    assert site.send("GET", "made past us").body == b"made at the origin"


@pytest.mark.parametrize(
    ("status", "attempts"), [(500, ATTEMPTS_MAX), (503, ATTEMPTS_MAX), (0, ATTEMPTS_MAX), (403, 1)]
)
def test_case_12_copy_is_tried_again_and_given_up(site: Site, status: int, attempts: int) -> None:
    """What can pass is tried again with pauses; in the end it lies with its reason where an operator sees it."""
    key = f"never copied {status}"
    site.old(key, b"only there")
    site.relay.script("GET", key, PASS, *[Step(status=status, body=b"no")] * attempts)
    assert site.send("GET", key).body == b"only there"
    wait_for(lambda: [job[0] for job in site.jobs(key)] == ["failed"], LIMIT_S, "the copy is given up")
    ((_, tried, reason),) = site.jobs(key)
    assert tried == attempts
    assert str(status) in reason or status == 0
    assert len(site.relay.asked("GET", key)) == 1 + attempts


def test_case_12_origin_hangs_up(site: Site) -> None:
    site.old("no answer", b"there")
    site.relay.script("GET", "no answer", Step(status=0))
    answer = site.send("GET", "no answer")
    assert answer.status in {502, 503}
    assert site.jobs("no answer") == []
    assert site.send("GET", "no answer").body == b"there"


def test_case_20_origin_switched_off(site: Site) -> None:
    """As far as a bucket reaches that still moves: what is here is served without the origin, also after a restart.

    The listing cannot be complete then and says so. How a bucket is finished (sweep, proof, switch-off, export back) is in
    test_whole_migration.py.
    """
    moved = site.moved("finish/moved", some_bytes(70_000))
    site.old("finish/not moved", b"out of reach")
    assert site.send("PUT", "finish/new", body=b"new").status == 200
    before = site.send("GET", "finish/moved"), site.send("HEAD", "finish/moved")
    uploads = len(site.standin.uploads())
    site.relay.down = True
    try:
        site.tgstore.restart()
        after = site.send("GET", "finish/moved"), site.send("HEAD", "finish/moved")
        assert [answer.told for answer in after] == [answer.told for answer in before]
        assert after[0].body == moved
        assert site.send("GET", "finish/moved", headers=[("range", "bytes=-5")]).body == moved[-5:]
        assert site.send("GET", "finish/new").body == b"new"
        assert site.send("PUT", "finish/newer", body=b"newer").status == 200
        assert site.send("GET", "finish/newer").body == b"newer"
        assert site.send("PUT", "finish/moved", body=b"overwritten").status == 200
        assert site.send("DELETE", "finish/new").status == 204
        assert site.send("GET", "finish/new").status == 404
        started = time.monotonic()
        for method, key in (
            ("GET", "finish/not moved"),
            ("GET", "finish/nowhere"),
            ("GET", ""),
            ("GET", "?list-type=2"),
        ):
            key, _, query = key.partition("?")
            answer = site.send(method, key, query=query)
            assert answer.status in {502, 503}, (key, query, answer)
        assert time.monotonic() - started < 30
        # Whether the key may be created is the origin's to tell.
        assert site.send("PUT", "finish/unknown", headers=[("if-none-match", "*")], body=b"x").status == 503
    finally:
        site.relay.down = False
    assert site.send("GET", "finish/not moved").body == b"out of reach"
    keys = [
        e["Key"]
        for e in s3_client(site.tgstore.target()).list_objects_v2(Bucket=site.bucket, Prefix="finish/")["Contents"]
    ]
    assert keys == ["finish/moved", "finish/newer", "finish/not moved"]
    site.settled("finish/not moved")
    site.tgstore.wait_until_copied("finish/not moved")
    # What has moved is not copied again.
    assert len(site.standin.uploads()) == uploads + 3
    assert site.send("GET", "finish/moved").body == b"overwritten"


def test_extra_gzip_trap(site: Site) -> None:
    """What the origin compresses on the fly for one client is never what is kept."""
    text = b"a text that compresses well. " * 2000
    site.old("page.html", text, ContentType="text/html")
    packed = gzip.compress(text, mtime=0)
    answered = (("Content-Encoding", "gzip"), ("Content-Type", "text/html"), ("ETag", '"packed"'))
    site.relay.script("GET", "page.html", Step(status=200, headers=answered, body=packed))
    first = site.send("GET", "page.html", headers=[("accept-encoding", "gzip")])
    assert (first.body, first.headers["content-encoding"]) == (packed, "gzip")
    site.tgstore.wait_until_copied("page.html")
    assert site.relay.asked("GET", "page.html")[1].headers.get("accept-encoding", "identity") == "identity"
    second = site.send("GET", "page.html", headers=[("accept-encoding", "gzip")])
    assert second.body == text
    assert "content-encoding" not in second.headers


def test_extra_aws_chunked_is_not_kept_as_an_encoding(site: Site) -> None:
    packed = gzip.compress(b"packed by the client")
    put = site.send("PUT", "packed", headers=[("content-encoding", "gzip,aws-chunked")], body=packed)
    assert put.status == 200
    got = site.send("GET", "packed")
    assert (got.body, got.headers["content-encoding"]) == (packed, "gzip")


def test_extra_empty_object(site: Site) -> None:
    site.moved("empty, old", b"")
    assert site.send("PUT", "empty, new", body=b"").status == 200
    for key in ("empty, old", "empty, new"):
        got = site.send("GET", key)
        assert (got.status, got.body, got.headers["content-length"]) == (200, b"", "0")
        assert got.headers["etag"] == '"d41d8cd98f00b204e9800998ecf8427e"'
        assert site.send("GET", key, headers=[("range", "bytes=0-")]).status == 416


@pytest.mark.parametrize("size", [DOCUMENT_BYTES_MAX - 1, DOCUMENT_BYTES_MAX, DOCUMENT_BYTES_MAX + 1])
def test_extra_around_the_size_of_a_document(site: Site, size: int) -> None:
    body = some_bytes(1 << 20) * (size // (1 << 20)) + some_bytes(size % (1 << 20))
    assert site.send("PUT", "large", body=body).status == 200
    got = site.send("GET", "large")
    assert hashlib.sha256(got.body).digest() == hashlib.sha256(body).digest()
    assert got.headers["content-length"] == str(size)
    tail = site.send("GET", "large", headers=[("range", "bytes=-3")])
    assert (tail.status, tail.body) == (206, body[-3:])


def test_extra_many_readers_of_a_cold_key(site: Site) -> None:
    body = site.old("cold", some_bytes(400_000))
    uploads = len(site.standin.uploads())
    with ThreadPoolExecutor(READERS) as pool:
        answers = list(pool.map(lambda _: site.send("GET", "cold"), range(READERS)))
    assert all(answer.body == body for answer in answers)
    site.tgstore.wait_until_copied("cold")
    # A second copy would be under way by now: the copy of another key, ordered later, gives it the time to show itself.
    site.moved("cold, too")
    assert len(site.standin.uploads()) == uploads + 2


def test_extra_copy_does_not_use_the_clients_signature(site: Site) -> None:
    """A presigned URL that signs `range` and ends in a moment: the copy comes later, and is whole."""
    body = site.old("by link", some_bytes(5000))
    ranged = [("range", "bytes=1-3")]
    almost_over = datetime.now(UTC) - timedelta(seconds=597)
    link = site.presigned("GET", "by link", headers=ranged, expires_s=600, at=almost_over)
    answer = site.send_target("GET", link, headers=ranged)
    assert (answer.status, answer.body) == (206, body[1:4])
    site.tgstore.wait_until_copied("by link")
    assert site.tgstore.query("SELECT size FROM keys WHERE key = ?", b"by link") == [(5000,)]
    fetch = site.relay.asked("GET", "by link")[1]
    assert "X-Amz-Signature" not in fetch.target
    assert "range" not in fetch.headers


@pytest.mark.parametrize("minutes", [-20, 20])
def test_extra_clocks_that_differ(site: Site, minutes: int) -> None:
    """A client whose clock is wrong is told so, in the words that SDKs correct themselves by."""
    target, host = f"/{site.bucket}/clock", site.tgstore.endpoint.partition("://")[2]
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    headers = sign(OURS, "GET", target, host, payload=hashlib.sha256(b"").hexdigest(), at=at).headers
    refused = site.send_target("GET", target, headers=[pair for pair in headers if pair[0] != "host"])
    assert (refused.status, refused.code) == (403, "RequestTimeTooSkewed")
