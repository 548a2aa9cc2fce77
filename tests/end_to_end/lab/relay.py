"""Between the product and an origin server: passes requests on, keeps what was asked, and spoils what a test says."""

from __future__ import annotations

import http.client
import threading
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from .origin import Origin

LIMIT_S = 60.0
NOT_RELAYED = frozenset({"connection", "keep-alive", "transfer-encoding"})


@dataclass(frozen=True)
class Seen:
    """A request as the relay received it; header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Step:
    """What is done to one request: the default passes everything on.

    ``hold`` is awaited before the request is passed on, or with ``held_at`` after so many bytes of the answer's body.
    ``cut_at``: the connection breaks after so many bytes of the body. ``body``: the answer's headers, but these bytes.
    ``status``: not passed on at all; answered with this, ``headers`` and ``body``. With 0 the connection just breaks.
    """

    hold: threading.Event | None = None
    held_at: int = 0
    cut_at: int | None = None
    body: bytes | None = None
    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()


PASS = Step()


@dataclass
class Relay:
    """The relay, listening; ``origin`` is what the product is told to be in front of.

    ``down``: nobody answers. ``trouble`` is what every request suffers that is not scripted. ``connections`` counts those that
    were made, whether or not anything was asked.
    """

    to: Origin
    down: bool = False
    trouble: Step = PASS
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    held: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __post_init__(self) -> None:
        self._steps: dict[tuple[str, str], deque[Step]] = defaultdict(deque)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.relay = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.origin = replace(self.to, endpoint=f"http://127.0.0.1:{self._server.server_address[1]}")

    def script(self, method: str, key: str, *steps: Step) -> None:
        """The next requests of ``method`` for ``key`` are treated so, one after another; later ones are passed on."""
        self._steps[method, key].extend(steps)

    def asked(self, method: str, key: str) -> list[Seen]:
        return [one for one in self.seen if one.method == method and key_of(one.target) == key]

    def step(self, method: str, key: str) -> Step:
        steps = self._steps[method, key]
        return steps.popleft() if steps else self.trouble

    def wait_until_held(self) -> None:
        """One request has reached its ``hold``."""
        assert self.held.acquire(timeout=LIMIT_S), "no request reached its hold"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(LIMIT_S)


def key_of(target: str) -> str:
    """The key in a path-style request target, decoded; empty for the bucket itself."""
    return unquote(target.partition("?")[0].removeprefix("/").partition("/")[2])


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    relay: Relay

    def process_request(self, request: Any, client_address: Any) -> None:
        self.relay.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections break here on purpose; what matters is what the other side makes of it."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def relay(self) -> None:
        relay = self.server.relay
        if relay.down:
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        relay.seen.append(Seen(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}))
        step = relay.step(self.command, key_of(self.path))
        if step.hold is not None and not step.held_at:
            self._hold(step.hold)
        if step.status is not None:
            if step.status == 0:
                self.close_connection = True
                return
            self._answer(step.status, step.headers, step.body or b"", step)
            return
        status, headers, answered = self._ask(body)
        self._answer(status, headers, answered if step.body is None else step.body, step)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_OPTIONS = relay

    def _hold(self, event: threading.Event) -> None:
        self.server.relay.held.release()
        event.wait(LIMIT_S)

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        there = urlsplit(self.server.relay.to.endpoint)
        connection = http.client.HTTPConnection(there.hostname or "", there.port, timeout=LIMIT_S)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in {"connection", "expect"}:
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            content = answer.read()
            headers = [pair for pair in answer.getheaders() if pair[0].lower() not in NOT_RELAYED]
            return answer.status, headers, content
        finally:
            connection.close()

    def _answer(self, status: int, headers: Iterable[tuple[str, str]], body: bytes, step: Step) -> None:
        self.send_response_only(status)
        given = {name.lower() for name, _ in headers}
        for name, value in headers:
            self.send_header(name, value)
        if "content-length" not in given and status not in {204, 304}:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        at = step.held_at if step.hold is not None and step.held_at else 0
        if at:
            self.wfile.write(body[:at])
            self._hold(step.hold)  # type: ignore[arg-type]
        if step.cut_at is not None:
            self.wfile.write(body[at : step.cut_at])
            self.close_connection = True
            return
        self.wfile.write(body[at:])

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""
