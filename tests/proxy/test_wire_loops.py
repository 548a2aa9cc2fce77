"""Origins that are ourselves, with real processes: refused at the start, answered 508 at run time, and never many requests."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.lab.origin import Origin
from tests.end_to_end.lab.process import held_port, wait_for
from tests.end_to_end.lab.standin import Standin
from tests.end_to_end.lab.tgstore import Bucket, Tgstore
from tests.proxy.raw_http import exchange, request
from tests.proxy.recording_origin import RecordingOrigin, whole

pytestmark = [pytest.mark.end_to_end, pytest.mark.both_generations]

START_S_MAX = 30.0
QUICK_S = 5.0

# A name that leads nowhere until a file is there, and then to the address that is written there.
MOVING_RESOLVER = """
import os, socket
_resolve = socket.getaddrinfo
def _resolve_moving(host, *arguments, **options):
    if host == "moving.lab.test":
        host = open(os.environ["MOVED"]).read() if os.path.exists(os.environ["MOVED"]) else "127.0.0.2"
    return _resolve(host, *arguments, **options)
socket.getaddrinfo = _resolve_moving
"""


class Wire:
    """Carries connections to a port that is chosen later; until then it refuses them."""

    def __init__(self) -> None:
        self.port = held_port()
        self.connections = 0
        self._listening: socket.socket | None = None
        self._ends: list[socket.socket] = []

    def open(self, to_port: int) -> None:
        self._listening = socket.create_server(("127.0.0.1", self.port), backlog=256)
        threading.Thread(target=self._accept, args=(to_port,), daemon=True).start()

    def close(self) -> None:
        if self._listening is not None:
            self._listening.close()
        for end in self._ends:
            end.close()

    def _accept(self, to_port: int) -> None:
        assert self._listening is not None
        with contextlib.suppress(OSError):
            while True:
                one, _ = self._listening.accept()
                self.connections += 1
                other = socket.create_connection(("127.0.0.1", to_port))
                self._ends += [one, other]
                for pair in ((one, other), (other, one)):
                    threading.Thread(target=_carry, args=pair, daemon=True).start()


def _carry(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(1 << 16):
            other.sendall(data)
    for end in (one, other):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.close()


def at(port: int, host: str = "127.0.0.1") -> Origin:
    return Origin(f"http://{host}:{port}", "AKORIGIN", "origin-secret-0123456789")


def before(origin: Origin, name: str = "images") -> Bucket:
    return Bucket(name, origin, path_hosts=("127.0.0.1", "localhost", "moving.lab.test"))


def lead(product: Tgstore, endpoint: str, to: str) -> None:
    """Give the settings another endpoint, once the product's port is known."""
    product.config.write_text(product.config.read_text().replace(endpoint, to))


def refused_start(product: Tgstore) -> str:
    product.process.start()
    assert product.process.exit_status(START_S_MAX) == 1
    log = product.process.log_text()
    assert "origin.endpoint" in log
    assert "Traceback" not in log
    return log


def test_an_origin_that_is_ourselves_by_name_or_address_stops_the_start(
    launch: Callable[..., Any], standin: Standin, recording: RecordingOrigin
) -> None:
    """Every such bucket is named, and no other."""
    names = {"images": "127.0.0.1", "videos": "localhost"}
    by = [before(at(1, host), name=bucket) for bucket, host in names.items()]
    product = launch(Tgstore, standin, [*by, before(at(recording.port), name="right")], started=False)
    for host in names.values():
        lead(product, f"http://{host}:1", f"http://{host}:{product.port}")
    log = refused_start(product)
    for bucket, host in names.items():
        assert f"bucket {bucket}: its origin (http://{host}:{product.port}) is tgstore itself." in log
    assert "bucket right" not in log


def test_an_origin_that_redirects_to_us_stops_the_start(
    launch: Callable[..., Any], standin: Standin, recording: RecordingOrigin
) -> None:
    """The redirect takes our key away: then it is the connection that is known."""
    product = launch(Tgstore, standin, [before(at(recording.port))], started=False)
    recording.answers[b"GET /images/"] = whole("302 Found", b"", "Location: /further")
    recording.answers[b"GET /further"] = whole(
        "302 Found", b"", f"Location: http://127.0.0.1:{product.port}/images/login"
    )
    assert "is tgstore itself, by a redirect." in refused_start(product)
    recording.answers.clear()


def asked(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, bytes, float]:
    began = time.monotonic()
    answer = exchange(port, request("GET", path, f"Host: {host}"))
    return answer.status, answer.body, time.monotonic() - began


def test_an_origin_that_becomes_ourselves_is_answered_508(
    launch: Callable[..., Any], standin: Standin, recording: RecordingOrigin, tmp_path: Path
) -> None:
    """Unreachable at the start, which is no reason to refuse; then its name leads to our own listener, and then further into the
    own network, where mitmproxy's connections may not follow it."""
    (tmp_path / "sitecustomize.py").write_text(MOVING_RESOLVER)
    moved = tmp_path / "moved"
    env = {"PYTHONPATH": str(tmp_path), "MOVED": str(moved)}
    product = launch(Tgstore, standin, [before(at(recording.port))], started=False, env=env)
    lead(product, at(recording.port).endpoint, f"http://moving.lab.test:{product.port}")
    product.start()
    wait_for(lambda: "is not known yet" in product.process.log_text(), QUICK_S, "the start has tried to reach it")
    assert asked(product.port, "/images/k")[0] == 502
    moved.write_text("127.0.0.1")
    for path in ("/images/k", "/images/k2"):
        status, body, took_s = asked(product.port, path)
        assert (status, took_s < QUICK_S) == (508, True)
        assert b"<Code>LoopDetected</Code>" in body

    def lines() -> list[str]:
        return [line for line in product.process.log_text().splitlines() if "GET 127.0.0.1/images/k2" in line]

    wait_for(lines, QUICK_S, "the request is logged")
    assert len(lines()) == 1, "the request that came back was no request of a client"
    moved.write_text("169.254.169.254")
    status, _, took_s = asked(product.port, "/images/k3")
    assert (status, took_s < QUICK_S) == (502, True)
    assert (
        "moving.lab.test leads to 169.254.169.254, which is link-local"
        in exchange(product.port, request("GET", "/images/k4", "Host: 127.0.0.1")).body.decode()
    )


def test_two_products_that_point_at_each_other_answer_508_and_send_few_requests(
    launch: Callable[..., Any], standin: Standin, recording: RecordingOrigin, wire: Wire
) -> None:
    """Through something in between: no connection that arrives is one that left."""
    first = launch(Tgstore, standin, [before(at(recording.port))], started=False)
    lead(first, at(recording.port).endpoint, f"http://127.0.0.1:{wire.port}")
    first.start()
    second = launch(Tgstore, standin, [before(at(recording.port))], started=False)
    lead(second, at(recording.port).endpoint, f"http://127.0.0.1:{first.port}")
    second.start()
    # What the second one asks at its start must have come to nothing, else that would find the loop, and end it.
    wait_for(
        lambda: " broken off origin_anonymous" in first.process.log_text(), QUICK_S, "the second one's start has asked"
    )
    wire.open(second.port)
    status, body, took_s = asked(first.port, "/images/k")
    assert (status, took_s < QUICK_S) == (508, True)
    assert b"<Code>LoopDetected</Code>" in body
    assert wire.connections < 100
    sent = wire.connections
    for number in range(20):
        status, _, took_s = asked(first.port, f"/images/{number}")
        assert (status, took_s < QUICK_S) == (508, True)
    assert wire.connections <= sent + 20, "once it is known, a request takes one step at most"
    assert "tgstore itself" in first.process.log_text() + second.process.log_text()


def test_a_redirect_back_to_the_same_url_is_answered_508(front: Any, recording: RecordingOrigin) -> None:
    """And no other one: a redirect is the origin's answer."""
    host = "Host: img.lab.test"
    for number, (location, back) in enumerate(
        [
            ("https://img.lab.test/round0", True),
            ("/round1", True),
            ("https://s3.lab.test/images/round2", True),
            ("https://img.lab.test/elsewhere", False),
            ("https://other.test/round4", False),
            ("http://img.lab.test/round5", False),
            ("https://img.lab.test/round6?again", False),
            ("https://[bad/", False),
        ]
    ):
        key = f"/round{number}"
        recording.answers[key.encode()] = whole("301 Moved", b"<html>moved</html>", f"Location: {location}")
        for method in ("GET", "HEAD"):
            got = exchange(front.port, request(method, key, host), authority=front.authority)
            assert got.status == (508 if back else 301), location
            if back:
                assert got.head.values(b"location") == []
                assert (b"<Code>LoopDetected</Code>" in got.body) == (method == "GET")
            else:
                assert got.head.values(b"location") == [location.encode()]
        recording.answers.clear()
