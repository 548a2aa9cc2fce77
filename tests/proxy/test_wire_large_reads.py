"""Large bodies on the wire: handed over in memory behind mitmproxy, and to a client an answer like any other."""

from __future__ import annotations

import contextlib
import http.client
import random
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.end_to_end.lab.certificates import Certificates
from tests.end_to_end.lab.origin import Origin
from tests.end_to_end.lab.process import wait_for
from tests.end_to_end.lab.standin import Standin
from tests.end_to_end.lab.target import Target, request, signed_headers
from tests.end_to_end.lab.tgstore import Bucket, Tgstore
from tests.proxy import raw_http
from tests.proxy.raw_http import Connection, Response, connect
from tests.proxy.recording_origin import RecordingOrigin

pytestmark = [pytest.mark.end_to_end, pytest.mark.both_generations]

# Larger than the memory cache takes of one object, and no whole number of blocks.
SIZE = 5 * (1 << 20) + 12_345
BODY = random.Random(5).randbytes(SIZE)
START_S_MAX = 20.0


@pytest.fixture(scope="module")
def large(
    launch: Callable[..., Any],
    standin: Standin,
    moto: Origin,
    new_bucket: Callable[[Origin], str],
) -> Tgstore:
    product: Tgstore = launch(Tgstore, standin, [Bucket(new_bucket(moto), moto, anonymous_read=True)])
    put(product.target())
    return product


def put(target: Target) -> None:
    assert request(target, "PUT", "large.bin", body=BODY).status_code == 200


def get(connection: Connection, product: Tgstore, *fields: str, method: str = "GET") -> Response:
    connection.send(raw_http.request(method, f"/{product.buckets[0].name}/large.bin", "Host: localhost", *fields))
    head = connection.read_head()
    return Response(head, connection.read_body(head, method=method))


def test_answers_follow_each_other_on_one_connection(large: Tgstore) -> None:
    with connect(large.port) as connection:
        for first, last in [(0, SIZE - 1), (1 << 20, (3 << 20) + 4), (SIZE - 70_000, SIZE - 1)]:
            part = get(connection, large, f"Range: bytes={first}-{last}")
            assert part.status == 206
            assert part.body == BODY[first : last + 1]
            assert part.head.values(b"content-length") == [str(last + 1 - first).encode()]
            assert part.head.values(b"transfer-encoding") == []
        head = get(connection, large, method="HEAD")
        assert head.head.values(b"content-length") == [str(SIZE).encode()]
        whole = get(connection, large)
        assert whole.body == BODY
        assert [name for name, _ in whole.head.fields if b"tgstore" in name.lower()] == []


def test_field_of_that_name_from_a_client_changes_nothing(large: Tgstore) -> None:
    with connect(large.port) as connection:
        assert get(connection, large, "X-Tgstore-Hand-Over: 0123456789abcdef0123456789abcdef").body == BODY


def test_client_of_http_1_0_gets_the_same(large: Tgstore) -> None:
    with connect(large.port) as connection:
        connection.send(f"GET /{large.buckets[0].name}/large.bin HTTP/1.0\r\nHost: localhost\r\n\r\n".encode("ascii"))
        head = connection.read_head()
        assert head.values(b"content-length") == [str(SIZE).encode()]
        assert head.values(b"transfer-encoding") == []
        assert connection.read_to_end() == BODY


def test_http2_client_gets_the_same(
    launch: Callable[..., Any],
    standin: Standin,
    moto: Origin,
    new_bucket: Callable[[Origin], str],
    certificates: Certificates,
) -> None:
    product = launch(Tgstore, standin, [Bucket(new_bucket(moto), moto)], certificates=certificates)
    put(product.target())
    got = request(product.target(), "GET", "large.bin", http2=True)
    assert (got.http_version, got.status_code) == ("HTTP/2", 200)
    assert got.content == BODY
    assert got.headers["content-length"] == str(SIZE)


@pytest.fixture
def cut_downloads(standin: Standin) -> Iterator[None]:
    """The file host ends one transfer after two and a half blocks, and gives nothing after that."""
    rules = [
        {"match": {"method": "download"}, "times": times, "action": {"kind": "truncate", "bytes": size}}
        for times, size in ((1, 5 * (1 << 19)), (None, 0))
    ]
    standin.control("faults", rules)
    yield
    standin.control("faults/clear", {})


@pytest.mark.usefixtures("cut_downloads")
def test_transfer_that_breaks_off_is_seen_to_break_off(
    launch: Callable[..., Any], standin: Standin, moto: Origin, new_bucket: Callable[[Origin], str]
) -> None:
    product = launch(Tgstore, standin, [Bucket(new_bucket(moto), moto, anonymous_read=True)])
    put(product.target())
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", product.port, timeout=120)) as client:
        client.request("GET", f"/{product.buckets[0].name}/large.bin")
        with client.getresponse() as answer:
            assert (answer.status, answer.headers["content-length"]) == (200, str(SIZE))
            with pytest.raises(http.client.IncompleteRead) as broken:
                answer.read()
    assert 0 < len(broken.value.partial) < SIZE
    assert broken.value.partial == BODY[: len(broken.value.partial)]


def test_read_that_waits_when_the_proxy_is_stopped_gets_the_right_bytes(
    launch: Callable[..., Any], standin: Standin, moto: Origin, new_bucket: Callable[[Origin], str]
) -> None:
    """Its headers come when the stop has begun."""
    product = launch(Tgstore, standin, [Bucket(new_bucket(moto), moto, anonymous_read=True)])
    put(product.target())
    already = asked_for_links(standin)
    standin.control("faults", [{"match": {"method": "download"}, "action": {"kind": "hang", "seconds": 2}}])
    with connect(product.port) as connection:
        path = f"/{product.buckets[0].name}/large.bin"
        connection.send(raw_http.request("GET", path, "Host: localhost", "Range: bytes=0-99999"))
        wait_for(lambda: asked_for_links(standin) > already, START_S_MAX, "the read has begun")
        product.process.child.send_signal(signal.SIGTERM)
        head = connection.read_head()
        assert (head.status, connection.read_body(head)) == (206, BODY[:100_000])
    standin.control("faults/clear", {})


def asked_for_links(standin: Standin) -> int:
    return len([entry for entry in standin.control("log") if entry["method"].lower() == "getfile"])


@pytest.mark.parametrize("by", [-1000, 1000])
def test_body_of_another_length_than_the_origin_says_is_cut(
    front: Tgstore, recording: RecordingOrigin, by: int
) -> None:
    """What is missing or too much must not mix with the next answer."""
    said, body = 200_000, bytes(200_000 + by)
    recording.answers[b"/odd"] = (
        b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n'
        % (said, len(body), body)
    )
    target = front.target()
    signed = signed_headers(target, "GET", target.url("odd"), {}, b"") | {"Host": target.host}
    fields = [f"{name}: {value}" for name, value in signed.items()]
    with connect(front.port, authority=front.authority) as connection:
        connection.send(raw_http.request("GET", f"/{target.bucket}/odd", *fields))
        head = connection.read_head()
        assert head.status == 200
        assert len(connection.read_to_end()) < said
