"""How the process begins and ends, and what it never writes into its log."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.lab.certificates import Certificates
from tests.end_to_end.lab.origin import Origin
from tests.end_to_end.lab.process import wait_for
from tests.end_to_end.lab.standin import BOT_TOKENS, Standin
from tests.end_to_end.lab.target import signed_headers
from tests.end_to_end.lab.tgstore import EXPIRED_QUERY, SECRET_ACCESS_KEY, Bucket, Tgstore
from tests.proxy.raw_http import connect, exchange, request
from tests.proxy.recording_origin import RecordingOrigin, whole

pytestmark = [pytest.mark.end_to_end, pytest.mark.both_generations]

START_S_MAX = 30.0
STOP_S_MAX = 10.0


@pytest.fixture
def make(
    launch: Callable[..., Any],
    standin: Standin,
    recording: RecordingOrigin,
    certificates: Certificates,
    resolver: dict[str, str],
) -> Callable[..., Tgstore]:
    """A product in front of the recording origin, started or not."""

    def making(**options: Any) -> Tgstore:
        origin = Origin(f"http://127.0.0.1:{recording.port}", "AKORIGIN", "origin-secret-0123456789")
        bucket = Bucket("images", origin, hosts=("img.lab.test",), path_hosts=("s3.lab.test", "localhost"))
        made: Tgstore = launch(Tgstore, standin, [bucket], certificates=certificates, env=resolver, **options)
        return made

    return making


def spoil_with_a_folder(index: Path) -> None:
    index.mkdir(parents=True)


def spoil_with_other_bytes(index: Path) -> None:
    index.parent.mkdir(parents=True)
    index.write_bytes(b"this is no database" * 1000)


@pytest.mark.parametrize("spoil", [spoil_with_a_folder, spoil_with_other_bytes])
def test_index_that_cannot_be_opened_stops_the_start(
    make: Callable[..., Tgstore], spoil: Callable[[Path], None]
) -> None:
    product = make(started=False)
    spoil(product.index_file)
    product.process.start()
    assert product.process.exit_status(START_S_MAX) == 1
    log = product.process.log_text()
    assert "index" in log
    assert not any(secret in log for secret in (*BOT_TOKENS, SECRET_ACCESS_KEY))


def test_port_of_the_object_service_that_is_taken_stops_the_start(make: Callable[..., Tgstore]) -> None:
    product = make(started=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        service = f"[service]\nport = {taken.getsockname()[1]}\n[telegram]"
        product.config.write_text(product.config.read_text().replace("[telegram]", service))
        product.process.start()
        assert product.process.exit_status(START_S_MAX) == 1
    assert "in use" in product.process.log_text()


def test_stop_is_clean_with_requests_under_way(make: Callable[..., Tgstore], recording: RecordingOrigin) -> None:
    product = make()
    recording.answers[b"/never-answered"] = lambda _recorded, connection: connection.read_to_end() and None
    target = product.target()
    fields = signed_headers(target, "PUT", target.url("half"), {}, b"1234567890") | {
        "Host": target.host,
        "Content-Length": "10",
    }
    half = request(
        "PUT", f"/{target.bucket}/half", *(f"{name}: {value}" for name, value in fields.items()), body=b"123"
    )
    with connect(product.port) as uploading, connect(product.port) as waiting:
        uploading.send(half)
        waiting.send(request("GET", "/never-answered", "Host: img.lab.test"))
        wait_for(lambda: recording.seen(b"/never-answered"), STOP_S_MAX, "the request is at the origin")
        started = time.monotonic()
        assert product.process.child is not None
        product.process.child.send_signal(signal.SIGTERM)
        assert product.process.exit_status(STOP_S_MAX) == 0
        assert time.monotonic() - started < STOP_S_MAX
    log = product.process.log_text()
    assert "never retrieved" not in log
    assert "Addon error" not in log
    product.start()
    assert not product.holds("half")


def test_requests_while_starting_are_told_to_come_back_or_get_the_right_answer(make: Callable[..., Tgstore]) -> None:
    """Nothing in between: never the origin's answer to a request that only we may decide."""
    product = make(started=False)
    product.process.start()
    message = request(
        "GET", f"/images/ready?{EXPIRED_QUERY.format(product.buckets[0].access_key_id)}", "Host: s3.lab.test"
    )
    seen = set()
    deadline = time.monotonic() + START_S_MAX
    while 403 not in seen and time.monotonic() < deadline:
        with contextlib.suppress(OSError, EOFError):
            seen.add(exchange(product.port, message).status)
    assert seen - {503} == {403}


PRESIGNED = EXPIRED_QUERY.replace("0" * 64, "5ec2e7" * 10 + "abcd")


def test_no_credential_of_a_request_is_in_any_log_at_any_verbosity(
    make: Callable[..., Tgstore], recording: RecordingOrigin
) -> None:
    product = make(
        options=["-v", "--set", "termlog_verbosity=debug", "--set", "flow_detail=4", "--set", "proxy_debug=true"],
        started=False,
    )
    product.start()
    recording.answers[b"/origin-breaks"] = b"garbage\r\n\r\n"
    recording.answers[b"/logged"] = whole("200 OK", b"x", 'ETag: "e"')
    ours = PRESIGNED.format(product.buckets[0].access_key_id)
    theirs = PRESIGNED.format("AKSTRANGER") + "&X-Amz-Security-Token=t0ken-of-a-session"
    header = "Authorization: AWS4-HMAC-SHA256 Credential=AKSTRANGER/x, SignedHeaders=host, Signature=5ec2e75ec2e7"
    target, host = f"?{theirs}", "Host: img.lab.test"
    messages = [
        request("GET", f"/logged?{ours}", host),
        request("GET", f"/logged{target}", host),
        request("PUT", f"/logged{target}", host, "Content-Length: 1", body=b"x"),
        request("GET", f"/origin-breaks{target}", host),
        request("GET", "/logged", host, header),
        request("GET", f"/logged{target}", "Host: other.test", header),
        request("GET", f"/logged{target}", host, "Content-Length: 1", "Transfer-Encoding: chunked", header),
        request("GET", f"/logged{target} and more", host, header),
        request("GET", f"/logged{target}", host, header, "no colon"),
        request("GET", f"/logged{target}", host, "X-A: b\0c", header),
        request("GET", f"/%FF{target}", host, header),
        request("CONNECT", f"/logged{target}", host, header),
        request("GET", f"http://img.lab.test/logged{target}", host, header),
    ]
    for message in messages:
        with connect(product.port, authority=product.authority) as connection:
            connection.send(message)
            with contextlib.suppress(EOFError, OSError):
                connection.read_response()
        with connect(product.port) as connection:
            connection.send(message[:-2])  # the client goes in the middle of the headers
    product.stop()
    log = product.process.log_text()
    assert "img.lab.test/logged" in log
    for secret in ("5ec2e7", "X-Amz-Signature", "X-Amz-Credential", "t0ken", SECRET_ACCESS_KEY, *BOT_TOKENS):
        assert secret not in log


def test_log_is_plain_text_whatever_a_path_holds(make: Callable[..., Tgstore], recording: RecordingOrigin) -> None:
    product = make()
    for path in ("/caf\xc3\xa9", "/a\x1b[31m", "/\xff\xfe", "/a\x7f\xc2\x9b2J"):
        exchange(product.port, request("GET", path, "Host: img.lab.test"))
    product.stop()
    log = product.process.log.read_bytes()
    assert rb"img.lab.test/caf\xc3\xa9" in log
    assert not any(byte in log for byte in (b"\x1b", b"\xff", b"\xc2\x9b"))
    assert b"Logging error" not in log
