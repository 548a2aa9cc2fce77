"""`tgstore retire` and `tgstore unretire` as their users run them; what proxies make of it is in test_live_settings.py."""

from __future__ import annotations

import pytest

from tests.commands.conftest import Place
from tests.end_to_end.lab.relay import Step


@pytest.fixture
def ready(place: Place) -> Place:
    """Everything has moved and was compared."""
    for key in ("a", "b"):
        place.put(key)
    assert place.run("migrate", place.bucket).returncode == 0
    assert place.run("verify", place.bucket).returncode == 0
    return place


def refusal(place: Place, *options: str) -> str:
    done = place.run("retire", place.bucket, *options)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    assert place.status()["retired_at_s"] is None
    return done.stderr


def test_a_bucket_that_was_never_looked_at_is_not_retired(place: Place) -> None:
    place.put("a")
    assert "the origin was never listed to its end: run tgstore migrate" in refusal(place)


def test_each_thing_that_is_missing_is_named(ready: Place) -> None:
    ready.put("c")
    ready.relay.script("GET", "c", Step(status=403, body=b"<Error><Code>AccessDenied</Code></Error>"))
    assert ready.run("migrate", ready.bucket).returncode == 1
    assert "1 keys could not be copied: see tgstore status, then tgstore migrate --retry-failed" in refusal(ready)
    assert ready.run("migrate", ready.bucket, "--retry-failed").returncode == 0
    assert "1 keys were never compared with the origin: run tgstore verify" in refusal(ready)


def test_a_key_that_came_to_the_origin_since_is_named(ready: Place) -> None:
    ready.put("new at the origin")
    said = refusal(ready)
    assert "has keys that are not here; run tgstore migrate" in said
    assert "\n  new at the origin" in said


def test_skipped_keys_are_given_up_only_when_asked(ready: Place) -> None:
    ready.put("archived")
    ready.relay.script("GET", "archived", Step(status=403, body=b"<Error><Code>InvalidObjectState</Code></Error>"))
    assert ready.run("migrate", ready.bucket).returncode == 1
    assert "1 keys cannot be copied: see tgstore status; --leave-skipped gives them up" in refusal(ready)
    assert ready.run("retire", ready.bucket, "--leave-skipped").returncode == 0
    assert ready.status()["retired_at_s"] is not None


def test_retired_and_back(ready: Place) -> None:
    done = ready.run("retire", ready.bucket)
    assert done.returncode == 0, done.stderr
    assert f"tgstore unretire {ready.bucket} undoes this" in done.stdout
    asked = len(ready.relay.seen)
    for arguments in (("migrate",), ("retire",)):
        refused = ready.run(*arguments, ready.bucket)
        assert refused.returncode == 1
        assert f"the origin of bucket {ready.bucket} is retired" in refused.stderr
    assert len(ready.relay.seen) == asked, "nothing asks it any more"
    assert ready.run("unretire", ready.bucket).returncode == 0
    assert ready.status()["retired_at_s"] is None
    again = ready.run("unretire", ready.bucket)
    assert (again.returncode, "is not retired" in again.stderr) == (1, True)
    assert ready.run("migrate", ready.bucket).returncode == 0
