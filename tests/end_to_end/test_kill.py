"""``kill -9`` of mitmdump in the middle of uploads, copies and deletes, again and again, with a fixed seed.

Every key has one writer, which knows what the server acknowledged. After each kill a key must read as what was
acknowledged last, or, where a request was under way, as that request's outcome: nothing else, and never half of it.
"""

from __future__ import annotations

import random
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.end_to_end.lab.origin import Origin
from tests.end_to_end.lab.standin import Standin
from tests.end_to_end.lab.target import Target, signed_headers, trust
from tests.end_to_end.lab.tgstore import Bucket, Tgstore

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

SEED = 20261123
ROUNDS = 8
WRITERS = 4
KEYS_PER_WRITER = 6
OLD_KEYS_PER_WRITER_AND_ROUND = 2
OBJECT_BYTES_MAX = 2_500_000
KILL_AFTER_S = (0.2, 2.5)
REQUEST_LIMIT_S = 60.0


@dataclass
class Writer:
    """One client with keys of its own. ``known[key]`` is what was acknowledged; None: there is no such object."""

    number: int
    target: Target
    random: random.Random
    known: dict[str, bytes | None]
    possible: dict[str, list[bytes | None]] = field(default_factory=dict)
    stored: int = 0
    deleted: int = 0
    interrupted: int = 0

    def send(self, method: str, key: str, body: bytes = b"") -> httpx.Response:
        url = self.target.url(key)
        with httpx.Client(timeout=REQUEST_LIMIT_S, trust_env=False, verify=trust(None)) as client:
            headers = signed_headers(self.target, method, url, {}, body)
            return client.request(method, url, headers=headers, content=body or None)

    def work_until_killed(self, stop: threading.Event, failures: list[str]) -> None:
        """Write, delete and read own keys until the connection breaks or ``stop`` is set."""
        while not stop.is_set():
            key = self.random.choice(sorted(self.known))
            choice = self.random.random()
            try:
                if choice < 0.5:
                    self._write(key, failures)
                elif choice < 0.65:
                    self._delete(key, failures)
                else:
                    self._read(key, failures)
            except httpx.TransportError:
                self.interrupted += 1
                return

    def _write(self, key: str, failures: list[str]) -> None:
        body = self.random.randbytes(self.random.randrange(OBJECT_BYTES_MAX))
        self.possible.setdefault(key, [self.known[key]]).append(body)
        answer = self.send("PUT", key, body)
        if answer.status_code == 200:
            self.known[key] = body
            self.stored += 1
            del self.possible[key]
        elif answer.status_code < 500:
            failures.append(f"PUT {key}: {answer.status_code} {answer.text[:300]}")

    def _delete(self, key: str, failures: list[str]) -> None:
        self.possible.setdefault(key, [self.known[key]]).append(None)
        answer = self.send("DELETE", key)
        if answer.status_code == 204:
            self.known[key] = None
            self.deleted += 1
            del self.possible[key]
        elif answer.status_code < 500:
            failures.append(f"DELETE {key}: {answer.status_code} {answer.text[:300]}")

    def _read(self, key: str, failures: list[str]) -> None:
        answer = self.send("GET", key)
        read = answer.content if answer.status_code == 200 else None
        if answer.status_code not in {200, 404, 503}:
            failures.append(f"GET {key}: {answer.status_code} {answer.text[:300]}")
        elif answer.status_code != 503 and read not in self.possible.get(key, [self.known[key]]):
            failures.append(f"GET {key}: {describe(read)}, but {describe(self.known[key])} was acknowledged")

    def verify(self, failures: list[str]) -> None:
        """After a restart: each key reads as what was acknowledged, or as what was under way; that is what holds then."""
        for key in sorted(self.known):
            answer = self.send("GET", key)
            allowed = self.possible.pop(key, [self.known[key]])
            if answer.status_code not in {200, 404}:
                failures.append(f"after the kill, GET {key}: {answer.status_code} {answer.text[:300]}")
                continue
            read = answer.content if answer.status_code == 200 else None
            if read not in allowed:
                failures.append(
                    f"after the kill, {key} is {describe(read)}, allowed: {[describe(one) for one in allowed]}"
                )
            self.known[key] = read


def describe(body: bytes | None) -> str:
    return "absent" if body is None else f"{len(body)} bytes {body[:8].hex()}…"


@pytest.mark.parametrize("ack", ["telegram", "spool"])
def test_nothing_acknowledged_is_lost(
    launch: Callable[..., Any], standin: Standin, rgw: Origin, new_bucket: Callable[[Origin], str], ack: str
) -> None:
    chance = random.Random(SEED)
    bucket = Bucket(new_bucket(rgw), rgw)
    tgstore: Tgstore = launch(Tgstore, standin, [bucket], ack=ack)
    writers = [make_writer(number, tgstore.target()) for number in range(WRITERS)]
    keeper = Writer(99, tgstore.target(), chance, {})
    for number in range(4):
        key, body = f"untouched/{number}", chance.randbytes(50_000)
        assert keeper.send("PUT", key, body).status_code == 200
        keeper.known[key] = body
    failures: list[str] = []

    for round_number in range(ROUNDS):
        for writer in writers:
            put_old_objects(writer, round_number, rgw)
        origin_before = origin_state(rgw, bucket.name)
        killed_in_the_middle(tgstore, writers, chance.uniform(*KILL_AFTER_S), failures)
        if round_number % 2:
            # Bytes must come from Telegram then, not from what the disk cache happened to keep.
            shutil.rmtree(tgstore.folder / "data" / "cache", ignore_errors=True)
        tgstore.start()
        for writer in [*writers, keeper]:
            writer.verify(failures)
        assert not failures, f"round {round_number}:\n" + "\n".join(failures)
        assert origin_state(rgw, bucket.name) == origin_before

    # The test is worth something only while there was work to interrupt.
    assert sum(writer.stored for writer in writers) > ROUNDS * WRITERS
    assert sum(writer.deleted for writer in writers) > ROUNDS
    assert sum(writer.interrupted for writer in writers) > ROUNDS * WRITERS / 2


def make_writer(number: int, target: Target) -> Writer:
    new = dict.fromkeys(f"w{number}/new {count}" for count in range(KEYS_PER_WRITER))
    return Writer(number, target, random.Random(SEED + 1 + number), {**new})


def put_old_objects(writer: Writer, round_number: int, origin: Origin) -> None:
    """Objects that only the origin has yet: reading them starts copies, which the kill then interrupts."""
    for count in range(OLD_KEYS_PER_WRITER_AND_ROUND):
        key = f"w{writer.number}/old {round_number} {count}"
        body = writer.random.randbytes(writer.random.randrange(OBJECT_BYTES_MAX))
        origin.s3().put_object(Bucket=writer.target.bucket, Key=key, Body=body)
        writer.known[key] = body


def killed_in_the_middle(tgstore: Tgstore, writers: list[Writer], after_s: float, failures: list[str]) -> None:
    """All writers work at once; after ``after_s`` seconds mitmdump is killed and every writer has seen it."""
    stop = threading.Event()
    threads = [threading.Thread(target=writer.work_until_killed, args=(stop, failures)) for writer in writers]
    for thread in threads:
        thread.start()
    stop.wait(after_s)
    tgstore.kill()
    stop.set()
    for thread in threads:
        thread.join(REQUEST_LIMIT_S)
        assert not thread.is_alive()


def origin_state(origin: Origin, bucket: str) -> dict[str, str]:
    listed = origin.s3().list_objects_v2(Bucket=bucket)
    assert not listed["IsTruncated"]
    return {entry["Key"]: entry["ETag"] for entry in listed.get("Contents", [])}
