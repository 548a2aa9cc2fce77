"""Old objects: the first read comes from the origin, later ones from Telegram, and nobody sees a difference."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.end_to_end.lab.origin import Origin
from tests.end_to_end.lab.pictures import png
from tests.end_to_end.lab.process import wait_for
from tests.end_to_end.lab.rgw import Rgw
from tests.end_to_end.lab.standin import Standin
from tests.end_to_end.lab.target import object_headers, request, signed_headers
from tests.end_to_end.lab.tgstore import Bucket, Tgstore

pytestmark = pytest.mark.end_to_end

CONCURRENT_READERS = 20
UPLOAD_LIMIT_S = 60.0


@pytest.fixture(scope="module")
def tgstore(launch: Callable[..., Any], standin: Standin, rgw: Origin, new_bucket: Callable[[Origin], str]) -> Tgstore:
    started: Tgstore = launch(Tgstore, standin, [Bucket(new_bucket(rgw), rgw)])
    return started


@pytest.fixture
def old(tgstore: Tgstore) -> Callable[..., bytes]:
    """Puts an object into the origin directly, as it lay there before."""

    def put(key: str, body: bytes | None = None, **headers: Any) -> bytes:
        bucket = tgstore.buckets[0]
        content = png(len(key)) if body is None else body
        bucket.origin.s3().put_object(Bucket=bucket.name, Key=key, Body=content, **headers)
        return content

    return put


@pytest.fixture
def origin_stopped(rgw_server: Rgw) -> Iterator[Callable[[], None]]:
    """Call it to take the origin away; it is back after the test."""
    yield rgw_server.pause
    rgw_server.resume()


def forget_caches(tgstore: Tgstore) -> None:
    """Start the product again with an empty disk cache, so that bytes must come from Telegram."""
    tgstore.stop()
    shutil.rmtree(tgstore.folder / "data" / "cache", ignore_errors=True)
    tgstore.start()


def test_served_from_telegram_once_the_origin_is_gone(
    tgstore: Tgstore, old: Callable[..., bytes], origin_stopped: Callable[[], None]
) -> None:
    target = tgstore.target()
    headers = {"ContentType": "image/png", "CacheControl": "max-age=60", "Metadata": {"place": "Kiel"}}
    picture = old("kept.png", **headers)
    old("never read.png", **headers)
    before, head_before = request(target, "GET", "kept.png"), request(target, "HEAD", "kept.png")
    tgstore.wait_until_copied("kept.png")

    origin_stopped()
    forget_caches(tgstore)
    after, head_after = request(target, "GET", "kept.png"), request(target, "HEAD", "kept.png")
    assert (before.content, after.content) == (picture, picture)
    assert object_headers(after.headers) == object_headers(before.headers)
    assert object_headers(head_after.headers) == object_headers(head_before.headers) == object_headers(before.headers)

    # What was never read is honestly not available: an error of the server's, not "no such key".
    assert request(target, "GET", "never read.png").status_code in {500, 502, 503, 504}
    # Writing and deleting need no origin.
    assert request(target, "PUT", "new.png", body=picture).status_code == 200
    assert request(target, "GET", "new.png").content == picture
    assert request(target, "DELETE", "kept.png").status_code == 204
    assert request(target, "GET", "kept.png").status_code == 404


def test_deleted_object_stays_deleted_though_the_origin_has_it(tgstore: Tgstore, old: Callable[..., bytes]) -> None:
    target = tgstore.target()
    old("gone.png")
    assert request(target, "GET", "gone.png").status_code == 200
    assert request(target, "DELETE", "gone.png").status_code == 204
    assert request(target, "GET", "gone.png").status_code == 404
    tgstore.restart()
    assert request(target, "GET", "gone.png").status_code == 404
    assert request(target, "HEAD", "gone.png").status_code == 404
    assert request(target, "PUT", "gone.png", body=b"again").status_code == 200
    assert request(target, "GET", "gone.png").content == b"again"


def test_head_never_copies(tgstore: Tgstore, old: Callable[..., bytes]) -> None:
    target = tgstore.target()
    picture = old("looked at.png", ContentType="image/png")
    old("read after it.png")
    for _ in range(10):
        answer = request(target, "HEAD", "looked at.png")
        assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(picture)))
    request(target, "GET", "read after it.png")
    tgstore.wait_until_copied("read after it.png")
    assert not tgstore.holds("looked at.png")


def test_range_on_a_miss_copies_the_whole_object(tgstore: Tgstore, old: Callable[..., bytes]) -> None:
    target = tgstore.target()
    body = old("ranged.bin", random.Random(5).randbytes(3_000_001))
    ranges = ["bytes=5-9", "bytes=-7", "bytes=2999990-9999999", "bytes=3000001-"]
    before = [request(target, "GET", "ranged.bin", headers={"Range": asked}) for asked in ranges]
    assert [answer.status_code for answer in before] == [206, 206, 206, 416]
    assert before[0].content == body[5:10]
    tgstore.wait_until_copied("ranged.bin")
    after = [request(target, "GET", "ranged.bin", headers={"Range": asked}) for asked in ranges]
    for asked, one, other in zip(ranges, before, after, strict=True):
        assert other.status_code == one.status_code, asked
        if one.status_code == 206:
            assert other.content == one.content, asked
            assert object_headers(other.headers) == object_headers(one.headers), asked
    assert request(target, "GET", "ranged.bin").content == body


def test_concurrent_readers_get_equal_bytes_and_make_one_copy(
    tgstore: Tgstore, old: Callable[..., bytes], standin: Standin
) -> None:
    target = tgstore.target()
    body = old("wanted.bin", random.Random(6).randbytes(2_000_003))
    uploads_before = len(standin.uploads())
    with ThreadPoolExecutor(CONCURRENT_READERS) as readers:
        answers = list(readers.map(lambda _: request(target, "GET", "wanted.bin"), range(CONCURRENT_READERS)))
    assert all(answer.content == body for answer in answers)
    tgstore.wait_until_copied("wanted.bin")
    # A second copy would be under way by now; one more object's copy, waited for, gives it the time to show itself.
    old("barrier.bin", b"barrier")
    request(target, "GET", "barrier.bin")
    tgstore.wait_until_copied("barrier.bin")
    large = [entry for entry in standin.uploads()[uploads_before:] if uploaded_bytes(entry) >= len(body)]
    assert len(large) == 1


def test_client_that_goes_away_does_not_stop_the_copy(tgstore: Tgstore, old: Callable[..., bytes]) -> None:
    target = tgstore.target()
    body = old("left.bin", random.Random(7).randbytes(8_000_009))
    signed = request(target, "HEAD", "left.bin")
    assert signed.status_code == 200
    with (
        httpx.Client() as client,
        client.stream("GET", target.url("left.bin"), headers=signed_get(tgstore, "left.bin")) as answer,
    ):
        next(answer.iter_raw(1000))
    tgstore.wait_until_copied("left.bin")
    assert request(target, "GET", "left.bin").content == body


@pytest.mark.parametrize("winner", ["PUT", "DELETE"])
def test_later_write_wins_over_a_slow_copy(
    winner: str, tgstore: Tgstore, old: Callable[..., bytes], standin: Standin
) -> None:
    target, key = tgstore.target(), f"contested by {winner}"
    old(key, random.Random(8).randbytes(1_000_001))
    uploads_before = len(standin.uploads())
    slow = {"kind": "slow", "bytes_per_s": 300_000, "direction": "upload"}
    standin.control("faults", [{"match": {"method": "sendDocument", "min_bytes": 900_000}, "action": slow}])
    request(target, "GET", key)

    def slow_upload() -> dict[str, Any] | None:
        return next(iter(standin.uploads()[uploads_before:]), None)

    def read() -> tuple[int, bytes]:
        answer = request(target, "GET", key)
        return answer.status_code, answer.content if answer.status_code == 200 else b""

    wait_for(
        lambda: (slow_upload() or {}).get("outcome") == "open", UPLOAD_LIMIT_S, "the copy is on its way to Telegram"
    )
    assert request(target, winner, key, body=b"newer" if winner == "PUT" else b"").status_code in {200, 204}
    assert (slow_upload() or {})["outcome"] == "open", "the write came too late to overtake the copy"
    expected = (200, b"newer") if winner == "PUT" else (404, b"")
    assert read() == expected
    wait_for(lambda: (slow_upload() or {})["outcome"] != "open", UPLOAD_LIMIT_S, "the copy's upload is over")
    tgstore.restart()
    assert read() == expected


def uploaded_bytes(entry: dict[str, Any]) -> int:
    return sum(file["size"] for file in entry["files"])


def signed_get(tgstore: Tgstore, key: str) -> dict[str, str]:
    target = tgstore.target()
    return signed_headers(target, "GET", target.url(key), {}, b"")
