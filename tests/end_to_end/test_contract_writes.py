"""The migration contract, writes: cases 5 to 9, 18 and 19. O is a Ceph RGW, G the product, N what it keeps in Telegram."""

from __future__ import annotations

import hashlib
import resource
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from tests.end_to_end.contract import LIMIT_S, Answer, Site, some_bytes, start_site
from tests.end_to_end.lab.clients import s3_client
from tests.end_to_end.lab.origin import Origin
from tests.end_to_end.lab.process import wait_for
from tests.end_to_end.lab.relay import PASS, Step

pytestmark = pytest.mark.end_to_end

LATE_ANSWER = {"kind": "hang", "seconds": 1.0, "phase": "after"}
PLACES = ("before the fetch", "in mid-body", "after the upload", "before the commit", "after the commit")
V1, V2, V3 = some_bytes(300_000, 1), b"the newer version", b"the newest version"
HALF = len(V1) // 2
PART_BYTES = 5 << 20


@pytest.fixture(scope="module")
def site(launch: Callable[..., Any], rgw: Origin, new_bucket: Callable[[Origin], str]) -> Iterator[Site]:
    started = start_site(launch, rgw, new_bucket(rgw))
    yield started
    started.relay.stop()


def md5(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


def overtake(site: Site, key: str, place: str, write: Callable[[], Answer]) -> Answer:
    """Read the old key ``key``, call ``write`` while its copy stands at ``place``, and let the copy end."""
    site.old(key, V1)
    go = threading.Event()
    uploads = len(site.standin.uploads())
    if place == "before the fetch":
        site.relay.script("GET", key, PASS, Step(hold=go))
    elif place in {"in mid-body", "before the commit"}:
        site.relay.script("GET", key, PASS, Step(hold=go, held_at=HALF))
    elif place == "after the upload":
        site.standin.control("faults", [{"match": {"method": "sendDocument"}, "action": LATE_ANSWER}])
    assert site.send("GET", key).body == V1
    if place == "after the upload":
        wait_for(lambda: len(site.standin.uploads()) > uploads, LIMIT_S, "the copy is in Telegram")
    elif place == "after the commit":
        site.tgstore.wait_until_copied(key)
    else:
        site.relay.wait_until_held()
    answer = both_at_the_index(site, go, uploads, write) if place == "before the commit" else write()
    go.set()
    site.settled(key)
    return answer


def both_at_the_index(site: Site, go: threading.Event, uploads: int, write: Callable[[], Answer]) -> Answer:
    """The copy's bytes are in Telegram, and its commit waits for the index; the write, which needs it too, comes meanwhile."""
    site.standin.control("faults", [{"match": {"method": "sendDocument"}, "action": LATE_ANSWER}])
    go.set()
    wait_for(lambda: len(site.standin.uploads()) > uploads, LIMIT_S, "the copy is in Telegram")
    with (
        ThreadPoolExecutor(1) as writer,
        closing(sqlite3.connect(site.tgstore.index_file, isolation_level=None)) as index,
    ):
        index.execute("BEGIN IMMEDIATE")
        wait_for(lambda: site.standin.uploads()[uploads]["outcome"] == "answered", LIMIT_S, "Telegram has answered")
        writing = writer.submit(write)
        index.execute("ROLLBACK")
        return writing.result(LIMIT_S)


@pytest.mark.parametrize("place", PLACES)
def test_case_05_copy_loses_to_put(site: Site, place: str) -> None:
    key = f"contested {place}"
    put = overtake(site, key, place, lambda: site.send("PUT", key, body=V2))
    assert put.status == 200
    got = site.send("GET", key)
    assert (got.status, got.body, got.headers["etag"]) == (200, V2, md5(V2))
    assert site.tgstore.query("SELECT provenance, etag FROM keys WHERE key = ?", key.encode()) == [
        ("written_here", md5(V2).strip('"'))
    ]
    assert site.jobs(key) == []
    assert documents_are_accounted_for(site)


def test_case_05_killed_while_it_loses(site: Site) -> None:
    """The process dies with the copy in mid-body, right after the PUT was acknowledged."""
    site.old("killed", V1)
    go = threading.Event()
    site.relay.script("GET", "killed", PASS, Step(hold=go, held_at=HALF))
    site.send("GET", "killed")
    site.relay.wait_until_held()
    assert site.send("PUT", "killed", body=V2).status == 200
    site.tgstore.kill()
    go.set()
    site.tgstore.start()
    assert site.send("GET", "killed").body == V2
    site.settled("killed")
    assert site.send("GET", "killed").body == V2


@pytest.mark.parametrize("place", PLACES)
def test_case_06_copy_loses_to_delete(site: Site, place: str) -> None:
    key = f"deleted {place}"
    assert overtake(site, key, place, lambda: site.send("DELETE", key)).status == 204
    assert [site.send(method, key).status for method in ("GET", "HEAD")] == [404, 404]
    assert key not in listed(site)
    assert site.jobs(key) == []
    assert documents_are_accounted_for(site)
    assert site.at_origin("GET", key).body == V1, "the origin is never touched"


def test_case_06_deleted_through_a_restart(site: Site) -> None:
    keys = [f"deleted {place}" for place in PLACES]
    for key in keys:
        if site.tgstore.query("SELECT kind FROM keys WHERE key = ?", key.encode()) != [("tombstone",)]:
            site.old(key, V1)
            assert site.send("DELETE", key).status == 204
    site.tgstore.restart()
    assert [site.send(method, key).status for key in keys for method in ("GET", "HEAD")] == [404] * 10
    assert not set(keys) & set(listed(site))


def listed(site: Site) -> list[str]:
    pages = s3_client(site.tgstore.target()).get_paginator("list_objects_v2").paginate(Bucket=site.bucket)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def documents_are_accounted_for(site: Site) -> bool:
    """A document that no object has is due for removal, and no other one is."""
    wrong = site.tgstore.query(
        "SELECT count(*) FROM documents WHERE (garbage_since_s IS NULL) != "
        "EXISTS (SELECT 1 FROM extents WHERE extents.document_id = documents.document_id)"
    )
    return wrong == [(0,)]


def test_case_07_delete_then_create_again(site: Site) -> None:
    for key, headers in (("again", []), ("again if absent", [("if-none-match", "*")])):
        site.moved(key, V1)
        assert site.send("DELETE", key).status == 204
        put = site.send("PUT", key, headers=headers, body=V3)
        assert (put.status, put.headers["etag"]) == (200, md5(V3))
        assert site.send("GET", key).body == V3
        assert key in listed(site)


def test_case_08_conditional_put_of_a_key_that_has_not_moved(site: Site) -> None:
    for key in ("there", "there too"):
        site.old(key, V1)

    def put(key: str, name: str, value: str) -> Answer:
        return site.send("PUT", key, headers=[(name, value)], body=V2)

    refused = put("there", "if-none-match", "*")
    assert (refused.status, refused.code) == (412, "PreconditionFailed")
    assert put("there", "if-match", '"d41d8cd98f00b204e9800998ecf8427e"').status == 412
    assert not site.tgstore.holds("there")
    assert site.send("GET", "there").body == V1
    assert put("there too", "if-match", md5(V1)).status == 200
    assert site.send("GET", "there too").body == V2
    missing = put("not there", "if-match", md5(V1))
    assert (missing.status, missing.code) == (404, "NoSuchKey")
    assert put("not there", "if-none-match", "*").status == 200
    assert put("not there", "if-none-match", "*").status == 412
    # The same of a key that has moved, and of one that was deleted.
    site.moved("moved", V1)
    assert put("moved", "if-none-match", "*").status == 412
    assert put("moved", "if-match", '"other"').status == 412
    assert put("moved", "if-match", md5(V1)).status == 200
    assert site.send("DELETE", "moved").status == 204
    assert put("moved", "if-match", md5(V2)).status == 404
    assert put("moved", "if-none-match", "*").status == 200


def test_case_09_of_racing_creators_one_wins(site: Site) -> None:
    writers = 4
    with ThreadPoolExecutor(writers) as pool:
        for number in range(8):
            key, begin = f"raced {number}", threading.Barrier(writers)

            def create(writer: int, key: str = key, begin: threading.Barrier = begin) -> tuple[int, int]:
                begin.wait(LIMIT_S)
                answer = site.send("PUT", key, headers=[("if-none-match", "*")], body=b"writer %d" % writer)
                return answer.status, writer

            outcomes = list(pool.map(create, range(writers)))
            winners = [writer for status, writer in outcomes if status == 200]
            assert len(winners) == 1, outcomes
            assert {status for status, _ in outcomes} <= {200, 409, 412}
            assert site.send("GET", key).body == b"writer %d" % winners[0]


SUBRESOURCES = [
    "acl", "tagging", "versionId=QXZ1Q0dIYmN2", "partNumber=1", "torrent", "uploads", "attributes", "retention", "legal-hold",
    "uploadId=nonesuch",
]  # fmt: skip


@pytest.mark.parametrize("state", ["moved", "new"])
@pytest.mark.parametrize("query", SUBRESOURCES)
def test_case_18_subresources_are_not_the_object(site: Site, state: str, query: str) -> None:
    """Only `partNumber=1` of an object that is one part is the object itself, as S3 has it."""
    key, body = f"sub/{state}", b"bytes of the object, and nothing else's"
    if not site.tgstore.holds(key):
        if state == "moved":
            site.moved(key, body)
        else:
            assert site.send("PUT", key, body=body).status == 200
    answer = site.send("GET", key, query=query)
    if query == "partNumber=1":
        assert answer.status in {200, 206}
    else:
        assert body not in answer.body, (query, answer)
    assert answer.status < 500 or answer.code == "NotImplemented", answer


def test_case_18_parts_are_not_the_object(site: Site) -> None:
    key = "sub/part"
    assert site.send("PUT", key, body=V1).status == 200
    for method, query in (("PUT", "partNumber=1&uploadId=nonesuch"), ("POST", "uploadId=nonesuch")):
        body = (
            b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>"
        )
        # It might be an upload begun at the origin, which is asked; RGW calls the second case an InternalError.
        refused, direct = (
            site.send(method, key, query=query, body=body),
            site.at_origin(method, key, query=query, body=body),
        )
        assert (refused.status, refused.code) == (direct.status, direct.code)
        assert refused.status in {404, 500}
        assert site.send("GET", key).body == V1
    s3, place = s3_client(site.tgstore.target()), {"Bucket": site.bucket, "Key": key}
    upload = {**place, "UploadId": s3.create_multipart_upload(**place)["UploadId"]}
    whole = some_bytes(PART_BYTES + 7, 18)
    parts = []
    for number, piece in ((2, whole[PART_BYTES:]), (1, whole[:PART_BYTES])):
        etag = s3.upload_part(**upload, PartNumber=number, Body=piece)["ETag"]
        parts.insert(0, {"PartNumber": number, "ETag": etag})
        assert site.send("GET", key).body == V1
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    got = site.send("GET", key)
    assert got.body == whole
    assert got.headers["etag"].endswith('-2"')
    assert documents_are_accounted_for(site)


@pytest.mark.parametrize("source_state", ["old", "moved", "new"])
@pytest.mark.parametrize("state", ["moved", "new", "deleted"])
def test_case_18_a_copy_onto_a_key_supersedes_it(site: Site, state: str, source_state: str) -> None:
    source, key = f"copy/from {source_state}", f"copy/{source_state} onto {state}"
    content = f"content of {source}".encode()
    if source_state == "new":
        site.send("PUT", source, body=content)
    elif not site.tgstore.holds(source):
        site.old(source, content)
        if source_state == "moved":
            site.moved(source, content)
    if state == "new":
        site.send("PUT", key, body=V1)
    else:
        site.moved(key, V1)
        if state == "deleted":
            site.send("DELETE", key)
    where = f"/{site.bucket}/{source}".replace(" ", "%20")
    copied = site.send("PUT", key, headers=[("x-amz-copy-source", where)])
    assert copied.status == 200, copied
    got = site.send("GET", key)
    assert (got.body, got.headers["etag"]) == (content, md5(content))


def test_case_19_acknowledged_is_durable(site: Site) -> None:
    """Killed the moment the answer is here."""
    site.send("PUT", "durable", body=V1)
    assert site.send("PUT", "durable", body=V2).status == 200
    site.tgstore.kill()
    site.tgstore.start()
    assert site.send("GET", "durable").body == V2


FAILURES: dict[str, dict[str, Any]] = {
    "throttled": {"kind": "rate", "retry_after": 120, "hold": False},
    "failing": {"kind": "http", "code": 500, "form": "json"},
    "answers lost": {"kind": "reset", "at": "before_answer", "phase": "after"},
}


@pytest.fixture
def failing_telegram(site: Site) -> Iterator[Callable[[str], None]]:
    """Call it with one of ``FAILURES``; the faults are gone after the test."""

    def fail(how: str) -> None:
        rules = [{"match": {"method": "sendDocument"}, "times": None, "action": FAILURES[how]}]
        site.standin.control("faults", rules)

    yield fail
    site.standin.control("faults/clear", {})
    site.tgstore.restart()  # it would wait as long as it was told


@pytest.mark.parametrize("how", FAILURES)
def test_case_19_a_failed_put_changes_nothing(site: Site, how: str, failing_telegram: Callable[[str], None]) -> None:
    key = f"kept while {how}"
    assert site.send("PUT", key, body=V1).status == 200
    failing_telegram(how)
    failed = site.send("PUT", key, body=V2)
    assert (failed.status, failed.code) in {(503, "SlowDown"), (500, "InternalError"), (503, "ServiceUnavailable")}
    assert "retry-after" in failed.headers
    got = site.send("GET", key)
    assert (got.body, got.headers["etag"]) == (V1, md5(V1))


def test_case_19_a_full_disk_changes_nothing(
    launch: Callable[..., Any], rgw: Origin, new_bucket: Callable[[Origin], str]
) -> None:
    """No file of the process may grow, so the index cannot commit. A quiet process of its own: mitmdump ends where it
    cannot print, and its log is a file here."""
    site = start_site(launch, rgw, new_bucket(rgw), options=["-q"])
    key = "kept on a full disk"
    assert site.send("PUT", key, body=V1).status == 200
    pid = site.tgstore.process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1024, hard))
    try:
        failed = site.send("PUT", key, body=V2)
        assert (failed.status, failed.code) == (503, "ServiceUnavailable")
        assert site.send("DELETE", key).status == 503
        assert site.send("GET", key).body == V1
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
    assert site.send("PUT", key, body=V2).status == 200
    assert site.send("GET", key).body == V2
    assert documents_are_accounted_for(site)
    site.relay.stop()
