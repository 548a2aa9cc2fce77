"""A bucket moves as a whole, is proved, and its origin is switched off; then everything goes into an empty bucket.

5000 objects, trouble on both sides, and a sweep that is killed ten times at random. The origin is a Ceph RGW that is really
stopped. SWEEP_OBJECTS makes it another number.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import botocore.exceptions
import pytest

from tests.end_to_end.lab.clients import s3_client
from tests.end_to_end.lab.half_moved import content
from tests.end_to_end.lab.origin import Origin
from tests.end_to_end.lab.process import wait_for
from tests.end_to_end.lab.relay import PASS, Relay, Step
from tests.end_to_end.lab.rgw import Rgw
from tests.end_to_end.lab.standin import Standin
from tests.end_to_end.lab.tgstore import Bucket, Tgstore

pytestmark = pytest.mark.end_to_end

OBJECTS = int(os.environ.get("SWEEP_OBJECTS", "5000"))
KILLS = 10
THREADS = 8
COMMAND_LIMIT_S = 600.0
SETTINGS = """
[copies]
attempts_max = 8
retry_delay_s_min = 0.05
retry_delay_s_max = 1.0
"""
# Of a thousand requests so many suffer this.
AT_ORIGIN = {
    Step(status=429, headers=(("Retry-After", "1"),)): 5,
    Step(status=503): 10,
    Step(status=500): 10,
    Step(status=0): 10,
    Step(cut_at=2): 10,
}
AT_TELEGRAM: list[dict[str, Any]] = [
    {"probability": 0.01, "action": {"kind": "http", "code": 502, "form": "html"}},
    {"probability": 0.01, "action": {"kind": "http", "code": 500, "form": "json"}},
    {"probability": 0.005, "action": {"kind": "reset", "at": "before_answer", "phase": "after"}},
    {"probability": 0.005, "action": {"kind": "reset", "at": "request_body"}},
    {"probability": 0.002, "action": {"kind": "rate", "retry_after": 1}},
]


class TroubledRelay(Relay):
    """Makes the trouble, while it is not `quiet`."""

    chance = random.Random(7)
    quiet = True

    def step(self, method: str, key: str) -> Step:
        if self.quiet:
            return PASS
        lot = self.chance.randrange(1000)
        for step, share in AT_ORIGIN.items():
            if (lot := lot - share) < 0:
                return step
        return PASS


@dataclass
class Move:
    tgstore: Tgstore
    standin: Standin
    relay: TroubledRelay
    rgw: Rgw
    bodies: dict[str, bytes]

    @property
    def bucket(self) -> str:
        return self.tgstore.buckets[0].name

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "addon.cli", *arguments, "--config", str(self.tgstore.config)]

    def run(self, *arguments: str, status: int = 0) -> str:
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=COMMAND_LIMIT_S)
        assert done.returncode == status, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def moved(self) -> int:
        return int(self.tgstore.query("SELECT count(*) FROM keys WHERE kind = 'object'")[0][0])


def test_a_bucket_moves_is_switched_off_and_comes_back(
    launch: Callable[..., Any], rgw_server: Rgw, new_bucket: Callable[[Origin], str]
) -> None:
    move = prepared(launch, rgw_server, new_bucket)
    try:
        sweep_that_is_killed(move)
        finished_sweep(move)
        verified_and_retired(move)
        move.rgw.pause()
        try:
            the_site_goes_on(move)
        finally:
            move.rgw.resume()
        back_into_an_empty_bucket(move, new_bucket)
    finally:
        move.relay.stop()


def prepared(launch: Callable[..., Any], rgw_server: Rgw, new_bucket: Callable[[Origin], str]) -> Move:
    """The full bucket and all that stands before it; the trouble begins when it is full."""
    rgw = rgw_server.origin
    name = new_bucket(rgw)
    bodies = {
        f"{number % 50:02d}/{number:05d}.bin": content(str(number), 100 + number % 900) for number in range(OBJECTS)
    }
    s3 = rgw.s3()

    def put(key: str) -> None:
        s3.put_object(Bucket=name, Key=key, Body=bodies[key], ContentType="image/png", Metadata={"number": key[3:8]})

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(put, bodies))
    relay = TroubledRelay(rgw)
    standin = launch(Standin, "--rate-limits", "off")
    tgstore = launch(Tgstore, standin, [Bucket(name, relay.origin)], started=False)
    text = tgstore.config.read_text()
    limits = "[telegram]\nchannel_messages_per_min_max = 60000"
    tgstore.config.write_text(text.replace("[telegram]", limits, 1) + SETTINGS)
    return Move(tgstore, standin, relay, rgw_server, bodies)


def sweep_that_is_killed(move: Move) -> None:
    """Ten times, each after it has moved some more."""
    move.relay.quiet = False
    for rule in AT_TELEGRAM:
        match = {"method": "sendDocument", "probability": rule["probability"]}
        move.standin.control("faults", [{"match": match, "times": None, "action": rule["action"]}])
    chance = random.Random(11)
    reached = 0
    for _ in range(KILLS):
        reached = min(reached + chance.randrange(1, OBJECTS // (KILLS + 2)), OBJECTS - 1)
        killed_when(move, reached)


def killed_when(move: Move, count: int) -> None:
    argv = move.command("migrate", move.bucket, "--concurrency", "8")
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        wait_for(lambda: has_moved(move, count) or process.poll() is not None, COMMAND_LIMIT_S, f"{count} have moved")
        assert process.poll() is None, "it ended before it was killed"
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def has_moved(move: Move, count: int) -> bool:
    try:
        return move.moved() >= count
    except sqlite3.OperationalError:  # the first process is still making the index
        return False


def finished_sweep(move: Move) -> None:
    """What came to rest on the way is tried again, as an operator would; in the end everything is here, once."""
    for _ in range(5):
        done = subprocess.run(
            move.command("migrate", move.bucket, "--concurrency", "8", "--retry-failed", "--json"),
            capture_output=True, text=True, timeout=COMMAND_LIMIT_S,
        )  # fmt: skip
        if done.returncode == 0:
            break
    end = json.loads(done.stdout.splitlines()[-1])
    assert (end["left"]["objects"], end["failed"]["objects"], end["skipped"]["objects"]) == (0, 0, 0), done.stderr
    move.standin.control("faults/clear", {})
    move.relay.quiet = True
    keys = [bytes(key).decode() for (key,) in move.tgstore.query("SELECT key FROM keys WHERE kind = 'object'")]
    assert sorted(keys) == sorted(move.bodies), "all of them, none twice"
    again = json.loads(move.run("migrate", move.bucket, "--json").splitlines()[-1])
    assert (again["listed"]["objects"], again["copied"]["objects"]) == (OBJECTS, 0)


def verified_and_retired(move: Move) -> None:
    refused = subprocess.run(
        move.command("retire", move.bucket), capture_output=True, text=True, timeout=COMMAND_LIMIT_S
    )
    assert refused.returncode == 1
    assert f"{OBJECTS} keys were never compared with the origin: run tgstore verify" in refused.stderr
    summary = json.loads(move.run("verify", move.bucket, "--deep", "--json", "--concurrency", "8").splitlines()[-1])
    assert (summary["compared"], summary["differed"]) == (OBJECTS, 0)
    assert "may be switched off" in move.run("retire", move.bucket)


def the_site_goes_on(move: Move) -> None:
    """Listing, GET, HEAD, PUT, DELETE through boto3, with no origin anywhere."""
    move.relay.seen.clear()
    move.tgstore.start()
    s3 = s3_client(move.tgstore.target())
    address = {"Bucket": move.bucket}
    listed = {entry["Key"]: entry["ETag"] for entry in pages(s3, move.bucket)}
    assert listed == {key: etag(body) for key, body in move.bodies.items()}
    for key in random.Random(5).sample(sorted(move.bodies), 50):
        got = s3.get_object(**address, Key=key)
        assert got["Body"].read() == move.bodies[key]
        assert (got["ContentType"], got["Metadata"]) == ("image/png", {"number": key[3:8]})
    started = time.monotonic()
    with pytest.raises(botocore.exceptions.ClientError, match="404"):
        s3.head_object(**address, Key="nowhere")
    assert time.monotonic() - started < 5, "nobody waits for an origin that is gone"
    first, second = sorted(move.bodies)[:2]
    s3.put_object(**address, Key="new.bin", Body=b"new", ContentType="text/plain")
    s3.put_object(**address, Key=first, Body=b"newer")
    s3.delete_object(**address, Key=second)
    move.bodies |= {"new.bin": b"new", first: b"newer"}
    del move.bodies[second]
    assert {entry["Key"]: entry["ETag"] for entry in pages(s3, move.bucket)} == {
        key: etag(body) for key, body in move.bodies.items()
    }
    assert move.relay.seen == [], "no connection to the origin"
    move.tgstore.stop()


def back_into_an_empty_bucket(move: Move, new_bucket: Callable[[Origin], str]) -> None:
    """Another bucket becomes the origin, and gets everything: bytes, types, metadata."""
    rgw = move.rgw.origin
    empty = new_bucket(rgw)
    text = move.tgstore.config.read_text()
    move.tgstore.config.write_text(text.replace(f'bucket = "{move.bucket}"', f'bucket = "{empty}"'))
    move.run("unretire", move.bucket)
    move.run("export", move.bucket, "--all", "--concurrency", "8")
    s3 = rgw.s3()
    assert {entry["Key"]: entry["ETag"] for entry in pages(s3, empty)} == {
        key: etag(body) for key, body in move.bodies.items()
    }
    for key in random.Random(6).sample(sorted(set(move.bodies) - {"new.bin", min(move.bodies)}), 20):
        got = s3.get_object(Bucket=empty, Key=key)
        assert got["Body"].read() == move.bodies[key]
        assert (got["ContentType"], got["Metadata"]) == ("image/png", {"number": key[3:8]})
    again = json.loads(move.run("export", move.bucket, "--all", "--json").splitlines()[-1])
    assert again["written"] == 0, again


def etag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


def pages(s3: Any, bucket: str) -> Iterator[dict[str, Any]]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        yield from page.get("Contents", [])
