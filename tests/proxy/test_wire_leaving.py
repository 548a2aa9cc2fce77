"""HTTP/2 clients that leave while their requests wait: mitmproxy opens five connections at a time, and tells of no end there."""

from __future__ import annotations

import threading

import pytest

from tests.end_to_end.lab.process import wait_for
from tests.end_to_end.lab.tgstore import Tgstore
from tests.proxy.raw_http2 import Http2Connection, pseudo
from tests.proxy.recording_origin import RecordingOrigin

pytestmark = [pytest.mark.end_to_end, pytest.mark.both_generations]

LIMIT_S = 20.0
CONNECTIONS_MAX = 5
WAITING = 20


def marks(front: Tgstore) -> int:
    """Writes to the origin whose end nobody has seen."""
    return int(front.query("SELECT count(*) FROM origin_writes")[0][0])


def test_writes_that_never_left_leave_no_mark(front: Tgstore, recording: RecordingOrigin) -> None:
    """A key with a mark is not served from here."""
    released = threading.Event()

    def slowly(_: object, connection: object) -> None:
        released.wait(LIMIT_S)

    recording.answers[b"/held-up"] = slowly
    try:
        with Http2Connection(front.port, front.authority) as connection:
            for number in range(CONNECTIONS_MAX):
                connection.begin(pseudo("GET", f"/held-up-{number}", "img.lab.test"))
            wait_for(lambda: len(recording.seen(b"/held-up")) == CONNECTIONS_MAX, LIMIT_S, "all connections are taken")
            for number in range(WAITING):
                connection.begin(pseudo("DELETE", f"/left-{number}", "img.lab.test"))
            wait_for(lambda: marks(front) == WAITING, LIMIT_S, "all writes wait")
        wait_for(lambda: marks(front) == 0, LIMIT_S, "no mark is left")
        assert recording.seen(b"/left-") == []
    finally:
        released.set()
