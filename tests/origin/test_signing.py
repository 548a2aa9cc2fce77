"""What goes over the wire is what was signed: read back from a socket, and verified without any code of the signer."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from addon import sigv4
from addon.s3.keys import encode_key
from addon.store.ports import OriginRequest
from tests.origin.raw_server import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, Received, origin_at, raw_server


def expected_signature(received: Received) -> str:
    """AWS Signature Version 4 from its public description, over the bytes that arrived."""
    authorization = received.header("authorization").decode()
    scheme, _, fields_text = authorization.partition(" ")
    assert scheme == "AWS4-HMAC-SHA256"
    fields = dict(piece.split("=", 1) for piece in fields_text.split(", "))
    names = fields["SignedHeaders"].split(";")
    assert names == sorted(set(names))
    assert "host" in names
    assert all(name in names for name, _ in received.headers if name.startswith("x-amz-"))
    path, _, raw_query = received.target.partition(b"?")
    pairs = sorted(piece.partition(b"=")[::2] for piece in raw_query.split(b"&") if piece)
    canonical = b"\n".join(
        [
            received.method.encode(),
            path,
            b"&".join(name + b"=" + value for name, value in pairs),
            *(
                name.encode()
                + b":"
                + b",".join(collapsed(value) for header, value in received.headers if header == name)
                for name in names
            ),
            b"",
            fields["SignedHeaders"].encode(),
            received.header("x-amz-content-sha256"),
        ]
    )
    timestamp = received.header("x-amz-date").decode()
    scope = f"{timestamp[:8]}/{REGION}/s3/aws4_request"
    assert fields["Credential"] == f"{ACCESS_KEY_ID}/{scope}"
    to_sign = f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{hashlib.sha256(canonical).hexdigest()}"
    key = f"AWS4{SECRET_ACCESS_KEY}".encode()
    for step in (timestamp[:8], REGION, "s3", "aws4_request", to_sign):
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    return f"{fields['Signature']} {key.hex()}"


def collapsed(value: bytes) -> bytes:
    return b" ".join(piece for piece in value.replace(b"\t", b" ").split(b" ") if piece)


def assert_signed(received: Received) -> None:
    claimed, expected = expected_signature(received).split(" ")
    assert claimed == expected


def recoded(raw: bytes) -> bytes:
    return quote(unquote_to_bytes(raw), safe="~").encode()


def assert_canonical(received: Received) -> None:
    """A verifier that encodes anew comes to the same bytes as one that takes them raw."""
    path, _, raw_query = received.target.partition(b"?")
    assert path == b"/".join(recoded(segment) for segment in path.split(b"/"))
    for piece in filter(None, raw_query.split(b"&")):
        name, equals, value = piece.partition(b"=")
        assert piece == recoded(name) + equals + recoded(value)


async def exchange(request: OriginRequest, *, signs: bool = True) -> Received:
    async with raw_server() as server, origin_at(server.port, signs=signs) as origin:
        async with origin.send(request) as answer:
            assert answer.status == 200
        (received,) = server.received
        return received


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
header_values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20)
one_by_one = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@one_by_one
@given(
    method=st.sampled_from(["GET", "HEAD", "DELETE", "PUT"]),
    key=texts,
    parameters=st.lists(st.tuples(texts, texts), max_size=4),
    meta=st.lists(header_values, max_size=3),
)
@example(method="GET", key="//a/../b/./c?d#e%2Ff", parameters=[], meta=[])
@example(
    method="GET", key="..", parameters=[("prefix", "a+b/c d")], meta=["a\xc2\xa0\xc2\xa0b", " a  b ", "caf\xc3\xa9"]
)
@example(method="GET", key="k", parameters=[], meta=["caf\xe9"])
async def test_what_is_on_the_wire_is_what_was_signed(
    method: str, key: str, parameters: list[tuple[str, str]], meta: list[str]
) -> None:
    raw_query = "&".join(f"{quote(name, safe='')}={quote(value, safe='/')}" for name, value in parameters)
    headers = [(f"x-amz-meta-{number}", value) for number, value in enumerate(meta)]
    received = await exchange(OriginRequest(method, encode_key(key), raw_query, headers))
    assert received.target.partition(b"?")[0] == f"/bucket/{encode_key(key)}".encode()
    assert_canonical(received)
    for name, value in headers:
        assert received.header(name) == value.strip(" \t").encode("latin-1")
    if not any(is_only_latin_1(value) for value in meta):
        assert_signed(received)


def is_only_latin_1(value: str) -> bool:
    """Bytes that are no UTF-8: servers read them as Latin-1, and so the signature covers another encoding than the wire."""
    try:
        value.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


@pytest.mark.parametrize(
    ("raw_key", "raw_query", "target"),
    [
        ("a%2fb%7ec", "", b"/bucket/a/b~c"),
        ("a+b", "", b"/bucket/a%2Bb"),
        ("(a)!*'", "", b"/bucket/%28a%29%21%2A%27"),
        ("caf\u00c3\u00a9", "", b"/bucket/caf%C3%A9"),
        ("/lead//x/", "", b"/bucket//lead//x/"),
        ("", "list-type=2&prefix=a/b+c", b"/bucket?list-type=2&prefix=a%2Fb%20c"),
        ("", "acl", b"/bucket?acl"),
        ("k", "versionId=&tagging", b"/bucket/k?versionId=&tagging"),
    ],
)
async def test_spellings_become_the_canonical_one(raw_key: str, raw_query: str, target: bytes) -> None:
    received = await exchange(OriginRequest("GET", raw_key, raw_query, []))
    assert received.target == target
    assert_signed(received)


async def test_nothing_goes_out_that_was_not_asked_for() -> None:
    received = await exchange(OriginRequest("GET", "k", "", [("range", "bytes=0-1"), ("Cookie", "a=b")]))
    names = sorted(name for name, _ in received.headers)
    assert names == ["authorization", "cookie", "host", "range", "x-amz-content-sha256", "x-amz-date"]
    unsigned = await exchange(OriginRequest("GET", "k", "", []), signs=False)
    assert [name for name, _ in unsigned.headers] == ["host"]


async def test_what_a_proxy_may_rewrite_is_not_signed() -> None:
    headers = [("accept-encoding", "identity"), ("range", "bytes=0-1"), ("content-type", "a/b")]
    received = await exchange(OriginRequest("GET", "k", "", headers))
    assert b"SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date," in received.header("authorization")
    assert_signed(received)


async def test_headers_that_this_client_sets_itself_are_not_taken_over() -> None:
    theirs = [
        ("Authorization", "AWS4-HMAC-SHA256 stolen"),
        ("Host", "elsewhere"),
        ("X-Amz-Date", "19700101T000000Z"),
        ("x-amz-content-sha256", "0"),
        ("content-length", "5"),
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("expect", "100-continue"),
    ]
    received = await exchange(OriginRequest("GET", "k", "", theirs))
    assert sorted(name for name, _ in received.headers) == [
        "authorization",
        "host",
        "x-amz-content-sha256",
        "x-amz-date",
    ]
    assert_signed(received)


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_payload_hashes() -> None:
    body = b"hello world"
    known = hashlib.sha256(body).hexdigest()
    for payload, sent in ((known, known), (None, "UNSIGNED-PAYLOAD")):
        request = OriginRequest(
            "PUT", "k", "", [], body=pieces(b"hello ", b"world"), content_length=len(body), payload_sha256=payload
        )
        received = await exchange(request)
        assert received.header("x-amz-content-sha256") == sent.encode()
        assert received.header("content-length") == b"11"
        assert received.body == body
        assert_signed(received)
    empty = await exchange(OriginRequest("POST", "k", "uploads", []))
    assert empty.header("x-amz-content-sha256") == hashlib.sha256(b"").hexdigest().encode()
    assert empty.header("content-length") == b"0"


@one_by_one
@given(key=texts, parameters=st.lists(st.tuples(texts, texts), max_size=3))
async def test_our_own_verifier_accepts_what_is_sent(key: str, parameters: list[tuple[str, str]]) -> None:
    raw_query = "&".join(f"{quote(name, safe='')}={quote(value, safe='/')}" for name, value in parameters)
    received = await exchange(OriginRequest("GET", encode_key(key), raw_query, [("x-amz-meta-a", "a  b")]))
    path, _, query = received.target.decode("ascii").partition("?")
    verified = sigv4.verify(
        sigv4.SignedRequest(
            method=received.method,
            raw_path=path,
            raw_query=query,
            headers=[(name, value.decode("latin-1")) for name, value in received.headers],
        ),
        secret_for={ACCESS_KEY_ID: SECRET_ACCESS_KEY}.get,
        now=datetime.now(UTC),
    )
    assert verified.access_key_id == ACCESS_KEY_ID
