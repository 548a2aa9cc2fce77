"""The migration contract, reads: cases 1 to 4 and 13 to 17. O is a Ceph RGW, G the product, N what it keeps in Telegram."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote

import pytest

from tests.end_to_end.contract import FIRST_KEY, OURS, Answer, Site, exchange, some_bytes, start_site
from tests.end_to_end.lab.clients import s3_client
from tests.end_to_end.lab.origin import Origin
from tests.end_to_end.lab.rgw import Rgw
from tests.service.signing import Key

pytestmark = pytest.mark.end_to_end

MULTIPART_BYTES = 11 << 20


@pytest.fixture(scope="module")
def site(launch: Callable[..., Any], rgw: Origin, new_bucket: Callable[[Origin], str]) -> Iterator[Site]:
    started = start_site(launch, rgw, new_bucket(rgw))
    yield started
    started.relay.stop()


def test_case_01_parity_before_and_after(site: Site) -> None:
    """Body, status and all that belongs to the object are the same before it moved, after it moved, and from HEAD."""
    headers = {
        "ContentType": "image/svg+xml",
        "CacheControl": "max-age=31536000, immutable",
        "ContentDisposition": 'inline; filename="a b.svg"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "de-DE",
        "Expires": datetime(2030, 1, 1, tzinfo=UTC),
        "Metadata": {"a": "1", "place": "Kiel, Hafen"},
    }
    body, key = some_bytes(MULTIPART_BYTES), "parity/k.svgz"
    uploaded_in_parts(site, key, body, **headers)
    before, head_before = site.send("GET", key), site.send("HEAD", key)
    site.tgstore.wait_until_copied(key)
    after, head_after = site.send("GET", key), site.send("HEAD", key)
    direct = site.at_origin("GET", key)

    assert before.told == direct.told
    assert after.told == before.told
    assert head_after.told == head_before.told == (200, before.told[1], b"")
    assert before.body == body
    assert before.headers["etag"].endswith('-3"')
    assert set(before.told[1]) >= {
        "accept-ranges", "cache-control", "content-disposition", "content-encoding", "content-language", "content-length",
        "content-type", "etag", "expires", "last-modified", "x-amz-meta-a", "x-amz-meta-place",
    }  # fmt: skip


def uploaded_in_parts(site: Site, key: str, body: bytes, **headers: Any) -> None:
    """At the origin, in three parts."""
    s3, place = site.rgw.s3(), {"Bucket": site.bucket, "Key": key}
    upload = {**place, "UploadId": s3.create_multipart_upload(**place, **headers)["UploadId"]}
    parts, size = [], 5 << 20
    for number in (1, 2, 3):
        piece = body[(number - 1) * size : number * size]
        parts.append({"PartNumber": number, "ETag": s3.upload_part(**upload, PartNumber=number, Body=piece)["ETag"]})
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})


def test_case_02_head_never_copies(site: Site) -> None:
    site.old("looked at", b"never fetched", ContentType="image/png")
    uploads = len(site.standin.uploads())
    answers = [site.send("HEAD", "looked at") for _ in range(10)]
    direct = site.at_origin("HEAD", "looked at")
    assert all(answer.told == direct.told for answer in answers)
    site.moved("read after it")
    assert site.jobs("looked at") == []
    assert not site.tgstore.holds("looked at")
    assert site.relay.asked("GET", "looked at") == []
    assert len(site.standin.uploads()) == uploads + 1


def test_case_03_range_on_a_miss_copies_the_whole(site: Site) -> None:
    body = site.old("ranged", some_bytes(2_000_003))
    before = site.send("GET", "ranged", headers=[("range", "bytes=5-9")])
    assert (before.status, before.body) == (206, body[5:10])
    assert before.headers["content-range"] == f"bytes 5-9/{len(body)}"
    site.tgstore.wait_until_copied("ranged")
    assert site.tgstore.query("SELECT size FROM keys WHERE key = ?", b"ranged") == [(len(body),)]
    asked = len(site.relay.asked("GET", "ranged"))
    after = site.send("GET", "ranged", headers=[("range", "bytes=1000000-1999999")])
    assert (after.status, after.body) == (206, body[1_000_000:2_000_000])
    assert len(site.relay.asked("GET", "ranged")) == asked, "the second range comes from N"


def test_case_04_odd_ranges_after_migration(site: Site) -> None:
    """As the origin answers them. Two exceptions: RGW calls `9-5` unsatisfiable, which S3 takes for no range at all; and several
    ranges in one request are not served in parts: the whole is allowed (RFC 9110)."""
    body = site.old("odd ranges", some_bytes(5000))
    n = len(body)
    asked = ["bytes=-1", "bytes=0-999999", f"bytes={n}-", f"bytes={n - 1}-", "bytes=-999999", "lines=1-2"]
    before = {one: site.send("GET", "odd ranges", headers=[("range", one)]) for one in asked}
    site.tgstore.wait_until_copied("odd ranges")
    for one in asked:
        after = site.send("GET", "odd ranges", headers=[("range", one)])
        assert (one, after.status) == (one, before[one].status)
        if after.status != 416:
            assert (one, after.told) == (one, before[one].told)
        else:
            assert after.headers["content-range"] == f"bytes */{n}"
            assert after.code == "InvalidRange"
    for one in ("bytes=9-5", "bytes=0-0,2-3"):
        after = site.send("GET", "odd ranges", headers=[("range", one)])
        assert (one, after.status, after.body) == (one, 200, body)


def test_case_13_403_and_404_as_the_origin_answers(site: Site) -> None:
    """Who may not list is told 403 about a missing key, by O and by G, before and after a migrated key was deleted."""
    assert site.send("GET", "never there").status == site.at_origin("GET", "never there").status == 404
    assert site.send("GET", "never there", by=None).status == 403

    site.old("was there", ACL="public-read")
    assert site.send("GET", "was there", by=None).status == 200
    site.tgstore.wait_until_copied("was there")
    assert site.send("DELETE", "was there").status == 204
    for method in ("GET", "HEAD"):
        assert site.send(method, "was there").status == 404
        assert site.send(method, "was there", by=None).status == 403
        assert site.send(method, "never there", by=None).status == 403


def test_case_14_authorization_of_hits(site: Site, rgw_server: Rgw) -> None:
    body = site.moved("private", b"not for everyone")
    site.old("public", b"for everyone", ACL="public-read")

    def refused(answer: Answer, *codes: str) -> None:
        assert answer.status == 403
        assert answer.code in codes
        assert body not in answer.body

    refused(site.send("GET", "private", by=None), "AccessDenied")
    refused(site.send("GET", "private", by=Key(OURS.access_key_id, "guessed")), "SignatureDoesNotMatch")
    refused(site.send("GET", "private", by=Key("AKNOBODY", "guessed")), "InvalidAccessKeyId")
    assert site.send_target("GET", site.presigned("GET", "private")).body == body
    expired = site.presigned("GET", "private", expires_s=1, at=datetime.now(UTC) - timedelta(minutes=5))
    refused(site.send_target("GET", expired), "AccessDenied")
    other = site.presigned("GET", "public").replace("/public?", "/private?")
    refused(site.send_target("GET", other), "SignatureDoesNotMatch")

    # A key pair of the origin alone: each of its reads is the origin's to judge, so its end is seen at once.
    guest = Key("AKGUEST0000000000000", "guest-secret-0123456789")
    admin = ("radosgw-admin", "-c", rgw_server.folder / "ceph.conf", "-n", "client.rgw")
    rgw_server._command(
        *admin, "user", "create", "--uid=guest", "--display-name=Guest",
        f"--access-key={guest.access_key_id}", f"--secret-key={guest.secret}",
    )  # fmt: skip
    assert site.send("GET", "public", by=guest).body == b"for everyone"
    refused(site.send("GET", "private", by=guest), "AccessDenied")
    site.tgstore.wait_until_copied("public")
    assert site.send("GET", "public", by=guest).status == 200
    rgw_server._command(*admin, "user", "rm", "--uid=guest")
    refused(site.send("GET", "public", by=guest), "InvalidAccessKeyId", "AccessDenied")


def test_case_15_conditional_reads_of_a_hit(site: Site) -> None:
    """As the origin answers them, without a byte from Telegram; who may not read at all is told that first."""
    body = site.old("conditional", some_bytes(3000))
    first = site.send("GET", "conditional")
    etag, modified = first.headers["etag"], first.headers["last-modified"]
    earlier, later = "Mon, 02 Jan 2006 15:04:05 GMT", "Tue, 01 Jan 2030 00:00:00 GMT"
    asked: list[list[tuple[str, str]]] = [
        [("if-none-match", etag)],
        [("if-none-match", etag.strip('"'))],
        [("if-none-match", "*")],
        [("if-none-match", '"other"')],
        [("if-match", etag)],
        [("if-match", '"other"')],
        [("if-match", "*")],
        [("if-modified-since", modified)],
        [("if-modified-since", earlier)],
        [("if-modified-since", later)],
        [("if-unmodified-since", modified)],
        [("if-unmodified-since", earlier)],
        [("if-match", etag), ("if-unmodified-since", earlier)],
        [("if-none-match", '"other"'), ("if-modified-since", modified)],
        [("if-none-match", etag), ("if-modified-since", earlier)],
    ]
    by_rfc = {
        (("if-none-match", "*"),): 304,
        (("if-match", "*"),): 200,
        (("if-none-match", '"other"'), ("if-modified-since", modified)): 200,
        (("if-none-match", etag), ("if-modified-since", earlier)): 304,
        (("if-match", etag), ("if-unmodified-since", earlier)): 200,
        (("if-modified-since", later),): 304,
    }
    site.tgstore.wait_until_copied("conditional")
    for conditions in asked:
        direct = site.at_origin("GET", "conditional", headers=conditions)
        expected = by_rfc.get(tuple(conditions), direct.status)
        for method in ("GET", "HEAD"):
            answer = site.send(method, "conditional", headers=conditions)
            assert (conditions, method, answer.status) == (conditions, method, expected)
            if answer.status == 200 and method == "GET":
                assert answer.body == body
            if answer.status == 304:
                assert (answer.body, answer.headers["etag"]) == (b"", etag)
    for listed in (f'W/{etag}, "b"', f'"a",{etag}'):
        assert site.send("GET", "conditional", headers=[("if-none-match", listed)]).status == 304
    assert site.send("GET", "conditional", headers=[("if-match", f'"a", {etag}')]).status == 200

    before = fetched_from_telegram(site)
    for conditions, status in (([("if-none-match", etag)], 304), ([("if-match", '"x"')], 412)):
        assert site.send("GET", "conditional", headers=conditions).status == status
    assert fetched_from_telegram(site) == before
    assert site.send("GET", "conditional", headers=[("if-none-match", etag)], by=None).status == 403


def fetched_from_telegram(site: Site) -> int:
    return sum(entry["method"].lower() in {"download", "getfile"} for entry in site.standin.control("log"))


SPELLINGS = [
    "a//b", "a/./b", "a/../b", "/lead", "//", "a%2Fc", "a+b", "a%2Bb2", "a%20b", "%C3%A9", "e%CC%81", "folder/",
    "what%3Fnow", "hash%23tag", "semi;colon", "am%26p", "a=b", "~tilde", "%7Etilde2", "a%25b", "a%252Fb", "dot.", ".", "..",
    "quo%22te%27s", "back%5Cslash", "%F0%9F%93%B7.png", "tab%09key", "new%0Aline", "star*", "colon:", "at@", "(paren)",
]  # fmt: skip


def plain(spelling: str) -> str:
    return quote(unquote(spelling), safe="/~")


def test_case_16_spellings_of_keys(site: Site, launch: Callable[..., Any], new_bucket: Callable[[Origin], str]) -> None:
    """Each key put through G and directly at O: the same keys exist then, each with its own bytes."""
    here, there = site, new_bucket(site.rgw)
    accepted = []

    def put_both(spelling: str) -> None:
        body = spelling.encode()
        ours = here.send_raw("PUT", spelling, body=body)
        # Plainly spelt: RGW computes signatures over its own spelling of the path.
        theirs = exchange(site.rgw.endpoint, "PUT", f"/{there}/{plain(spelling)}", [], body, site.theirs)
        assert (spelling, ours.status, ours.headers.get("etag")) == (
            spelling,
            theirs.status,
            theirs.headers.get("etag"),
        )
        accepted.append(spelling)

    with ThreadPoolExecutor(4) as senders:
        list(senders.map(put_both, SPELLINGS))
    assert len(accepted) == len(SPELLINGS)
    for spelling in SPELLINGS:
        assert here.send_raw("GET", spelling).body == spelling.encode()

    longest = "x" * 1024  # longer than the laboratory's RGW takes, as its OSD limits names
    assert here.send_raw("PUT", longest, body=b"long").status == 200
    assert here.send_raw("GET", longest).body == b"long"

    stored = {row[0].decode() for row in site.tgstore.query("SELECT key FROM keys WHERE kind = 'object'")}
    at_origin = {entry["Key"] for entry in site.rgw.s3().list_objects_v2(Bucket=there)["Contents"]}
    assert at_origin <= stored
    assert len(at_origin) == len(SPELLINGS)
    # Two spellings of one key are one object: what was signed and sent differs, what is meant does not.
    assert here.send_raw("GET", "%61%2F%2Fb").body == b"a//b"

    # The same keys where only O has them: what G asks of O names the same object.
    for spelling in SPELLINGS[:12]:
        other = f"old-{spelling}" if not spelling.startswith("/") else f"old{spelling}"
        exchange(site.rgw.endpoint, "PUT", f"/{site.bucket}/{plain(other)}", [], other.encode(), site.theirs)
        assert here.send_raw("GET", other).body == other.encode()


def test_case_16_keys_that_s3_refuses(site: Site) -> None:
    for spelling, codes in {
        "nul%00byte": {"InvalidURI"},
        "x" * 1025: {"KeyTooLongError"},
        "half%": {"InvalidURI"},
        "latin%E9": {"InvalidURI", "InvalidArgument"},
    }.items():
        answer = site.send_raw("PUT", spelling, body=b"never stored")
        assert answer.status == 400
        assert answer.code in codes, (spelling, answer.body)


@pytest.fixture(scope="module")
def listed(site: Site, launch: Callable[..., Any], new_bucket: Callable[[Origin], str]) -> Iterator[Site]:
    """A bucket of its own, half of it moved: O has a, b, c and folders; N has b as a copy, d as new, and c was deleted."""
    half = start_site(launch, site.rgw, new_bucket(site.rgw))
    half.rgw.s3().delete_object(Bucket=half.bucket, Key=FIRST_KEY)
    for key in ("a", "c", "dir/1", "dir/2", "gone/1", "gone/2", "mixed/old", "z%20"):
        half.old(key, key.encode())
    half.moved("b", b"b as it is")
    for key in ("d", "dir/3", "fresh/1", "mixed/new", "é", "\U0001f4f7", "￮", "sp ace+plus&amp<"):
        assert half.send("PUT", key, body=key.encode()).status == 200
    for key in ("c", "gone/1", "gone/2"):
        assert half.send("DELETE", key).status == 204
    yield half
    half.relay.stop()


PRESENT = sorted(
    ["a", "b", "d", "dir/1", "dir/2", "dir/3", "fresh/1", "mixed/new", "mixed/old", "z%20", "é", "\U0001f4f7", "￮",
     "sp ace+plus&amp<"],
    key=str.encode,
)  # fmt: skip


def listing_client(site: Site) -> Any:
    return s3_client(site.tgstore.target())


@pytest.mark.parametrize("version", ["list_objects", "list_objects_v2"])
@pytest.mark.parametrize("page_size", [1, 2, 3, 1000])
def test_case_17_listing_during_migration(listed: Site, version: str, page_size: int) -> None:
    """Each key once, in byte order, no deleted one, whatever the size of a page."""
    paginator = listing_client(listed).get_paginator(version)
    pages = list(paginator.paginate(Bucket=listed.bucket, PaginationConfig={"PageSize": page_size}))
    found = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    assert found == PRESENT
    for page in pages[:-1]:
        assert page["IsTruncated"]
        assert len(page["Contents"]) == page_size
    assert not pages[-1]["IsTruncated"]
    if version == "list_objects_v2":
        assert all(page["KeyCount"] == len(page["Contents"]) for page in pages)
        assert "NextContinuationToken" not in pages[-1]


def test_case_17_each_entry_is_told_as_its_object(listed: Site) -> None:
    """ETag, size and date of a listing are those that HEAD tells, for old, moved and new keys alike."""
    entries = listing_client(listed).list_objects_v2(Bucket=listed.bucket)["Contents"]
    for entry in entries:
        head = listed.send("HEAD", entry["Key"])
        assert (entry["ETag"], entry["Size"]) == (head.headers["etag"], int(head.headers["content-length"]))
        modified = datetime.strptime(head.headers["last-modified"], "%a, %d %b %Y %H:%M:%S %Z").replace(tzinfo=UTC)
        assert entry["LastModified"].replace(microsecond=0) == modified


@pytest.mark.parametrize("page_size", [1, 2, 1000])
def test_case_17_folders_during_migration(listed: Site, page_size: int) -> None:
    """Common prefixes once each; one whose keys were all deleted here is gone."""
    paginator = listing_client(listed).get_paginator("list_objects_v2")
    pages = list(paginator.paginate(Bucket=listed.bucket, Delimiter="/", PaginationConfig={"PageSize": page_size}))
    found = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    folders = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", [])]
    assert folders == ["dir/", "fresh/", "mixed/"]
    assert found == [key for key in PRESENT if "/" not in key]
    for page in pages:
        assert page["KeyCount"] == len(page.get("Contents", [])) + len(page.get("CommonPrefixes", []))


def test_case_17_listing_arguments(listed: Site) -> None:
    s3 = listing_client(listed)

    def keys(**arguments: Any) -> list[str]:
        return [entry["Key"] for entry in s3.list_objects_v2(Bucket=listed.bucket, **arguments).get("Contents", [])]

    assert keys(Prefix="dir/") == ["dir/1", "dir/2", "dir/3"]
    assert keys(Prefix="dir/", StartAfter="dir/1") == ["dir/2", "dir/3"]
    assert keys(StartAfter="b", MaxKeys=2) == ["d", "dir/1"]
    assert keys(Prefix="gone/") == []
    assert keys(Prefix="none such") == []
    assert s3.list_objects_v2(Bucket=listed.bucket, MaxKeys=0)["KeyCount"] == 0
    marked = s3.list_objects(Bucket=listed.bucket, Marker="dir/3", MaxKeys=2, Delimiter="/")
    assert [entry["Prefix"] for entry in marked["CommonPrefixes"]] == ["fresh/", "mixed/"]
    # Percent-encoded on the wire, which boto3 undoes again.
    raw = listed.send("GET", "", query="list-type=2&encoding-type=url&prefix=" + quote("sp "))
    assert b"<Key>sp+ace%2Bplus%26amp%3C</Key>" in raw.body or b"<Key>sp%20ace%2Bplus%26amp%3C</Key>" in raw.body
    plain = listed.send("GET", "", query="list-type=2&prefix=" + quote("sp "))
    assert b"<Key>sp ace+plus&amp;amp&lt;</Key>" in plain.body


def test_case_17_a_token_survives_a_restart(listed: Site) -> None:
    s3 = listing_client(listed)
    first = s3.list_objects_v2(Bucket=listed.bucket, MaxKeys=5)
    listed.tgstore.restart()
    rest = s3.list_objects_v2(Bucket=listed.bucket, ContinuationToken=first["NextContinuationToken"])
    assert [entry["Key"] for page in (first, rest) for entry in page["Contents"]] == PRESENT
