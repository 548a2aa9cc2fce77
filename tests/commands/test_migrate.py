"""`tgstore migrate` and `tgstore status` as their users run them."""

from __future__ import annotations

import fcntl
import re
import signal
import threading

from tests.commands.conftest import Place, stopped
from tests.end_to_end.lab.relay import Step


def test_a_bucket_moves_with_its_progress_told(place: Place) -> None:
    for number in range(12):
        place.put(f"k{number:02d}", b"x" * number)
    counted = place.run("migrate", place.bucket, "--dry-run")
    assert counted.returncode == 0, counted.stderr
    assert "12 objects (66 B) of them have not moved" in counted.stdout
    assert place.status()["moved"]["objects"] == 0
    done = place.run("migrate", place.bucket)
    assert done.returncode == 0, done.stderr
    assert f"migrate {place.bucket}: 12/12 objects" in done.stdout
    assert f"everything has moved; next: tgstore verify {place.bucket}" in done.stdout
    status = place.status()
    assert (status["moved"], status["waiting"]["objects"]) == ({"objects": 12, "size": 66}, 0)
    assert status["sweep"]["listed_objects"] == 12
    (*_, end) = place.json("migrate", place.bucket)
    assert (end["event"], end["listed"]["objects"], end["copied"]["objects"]) == ("end", 12, 0)


def test_what_failed_is_named_with_its_reason_and_can_be_tried_again(place: Place) -> None:
    for key in ("fine", "denied"):
        place.put(key)
    place.relay.script("GET", "denied", Step(status=403, body=b"<Error><Code>AccessDenied</Code></Error>"))
    done = place.run("migrate", place.bucket)
    assert done.returncode == 1
    assert re.search(rf"^migrate {place.bucket}: 2/2 objects, .*, 1 failed$", done.stdout, re.MULTILINE), done.stdout
    assert r"failed: denied: the origin answered 403 AccessDenied" in done.stdout
    told = place.run("status")
    assert r"failed: denied: the origin answered 403 AccessDenied" in told.stdout
    assert "1 keys could not be copied: see tgstore status, then tgstore migrate --retry-failed" in told.stdout
    again = place.run("migrate", place.bucket)
    assert again.returncode == 1, "a sweep leaves it alone"
    retried = place.run("migrate", place.bucket, "--retry-failed")
    assert retried.returncode == 0, retried.stdout
    assert place.status()["moved"]["objects"] == 2


def test_ctrl_c_stops_it_cleanly_and_kill_9_does_not_hurt(place: Place) -> None:
    for number in range(20):
        place.put(f"k{number:02d}")
    for number in (signal.SIGINT, signal.SIGKILL):
        release = threading.Event()
        key = "k07" if number is signal.SIGINT else "k11"
        place.relay.script("GET", key, Step(hold=release))
        running = place.start("migrate", place.bucket, "--concurrency", "1")
        place.relay.wait_until_held()
        status, _, err = stopped(running, number)
        release.set()
        assert status == (130 if number is signal.SIGINT else -signal.SIGKILL)
        assert "Traceback" not in err
    status = place.status()
    # k07 went to the end of the queue, and so did what waited for its pack then; the killed one left k11, and what waited, leased.
    moved, running, waiting = status["moved"]["objects"], status["running"], status["waiting"]["objects"]
    assert moved + waiting == 20
    assert moved <= 10
    assert running >= 1
    spool = place.folder / "data" / "spool"
    assert len(list(spool.glob("command-*"))) == 1, "what the killed one left"
    done = place.run("migrate", place.bucket)
    assert done.returncode == 0, done.stdout
    assert not list(spool.glob("command-*"))
    status = place.status()
    assert (status["moved"]["objects"], status["waiting"]["objects"]) == (20, 0)


def test_one_sweep_of_a_bucket_at_a_time(place: Place) -> None:
    folder = place.folder / "data" / "spool"
    folder.mkdir(parents=True)
    with (folder / f"migrate-{place.bucket}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = place.run("migrate", place.bucket)
    assert done.returncode == 1
    assert f"another tgstore migrate works on {place.bucket} already" in done.stderr


def test_a_wrong_call_says_what_would_be_right(place: Place) -> None:
    for arguments, said in (
        (("migrate", "nothing"), f"there is no bucket nothing in the settings; there are: {place.bucket}"),
        (("status", "nothing"), f"there is no bucket nothing in the settings; there are: {place.bucket}"),
        (("migrate", place.bucket, "--max-bytes", "much"), "much: expected a number of bytes"),
    ):
        done = place.run(*arguments)
        assert done.returncode == 1
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_an_origin_that_is_down_ends_it_with_what_is_the_matter(place: Place) -> None:
    place.relay.trouble = Step(status=403, body=b"<Error><Code>InvalidAccessKeyId</Code></Error>")
    done = place.run("migrate", place.bucket)
    assert done.returncode == 1
    assert "the origin answered 403 InvalidAccessKeyId to a listing" in done.stderr
    assert "Traceback" not in done.stderr


def test_status_watches(place: Place) -> None:
    watching = place.start("status", "--watch", "0.1", "--json")
    assert watching.stdout is not None
    lines = [watching.stdout.readline() for _ in range(2)]
    assert all(place.bucket in line for line in lines)
    assert stopped(watching, signal.SIGINT)[0] == 130
