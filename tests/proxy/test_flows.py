"""What is changed of a flow, and what is not: bytes of the wire against bytes of the wire."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import http
from mitmproxy.proxy import mode_specs
from mitmproxy.test import tflow

from addon.proxy import flows
from addon.s3.address import origin_address
from addon.s3.errors import S3Error

Fields = tuple[tuple[bytes, bytes], ...]
VIRTUAL = origin_address("https://s3.example.com", "real", "virtual")
PATH = origin_address("http://minio.example.com:9000/base", "real", "path")


def a_flow(
    path: bytes = b"/k",
    fields: Fields = ((b"Host", b"img.test"),),
    *,
    authority: bytes = b"",
    version: bytes = b"HTTP/1.1",
    method: bytes = b"GET",
    mode: str = "reverse:http://upstream.test",
) -> http.HTTPFlow:
    flow = tflow.tflow(resp=False)
    flow.request = http.Request(
        "upstream.test", 80, method, b"http", authority, path, version, http.Headers(fields), None, None, 0.0, None
    )
    flow.client_conn.proxy_mode = mode_specs.ProxyMode.parse(mode)
    return flow


visible = st.binary(min_size=1, max_size=12).filter(lambda value: not set(value) & set(b"\r\n\0 \t?"))
ascii_visible = st.lists(st.integers(0x21, 0x7E), min_size=1, max_size=12).map(bytes)


def to_service(flow: http.HTTPFlow) -> None:
    flows.send_to_service(flow, ("127.0.0.1", 4242))


def to_origin(flow: http.HTTPFlow) -> None:
    flows.send_to_origin_untouched(flow, VIRTUAL)


def assert_only_redirected(
    redirect: Callable[[http.HTTPFlow], None], path: bytes, values: list[bytes], authority: bytes
) -> None:
    fields = ((b"hOsT", b"img.test"), *((b"X-Twice", value) for value in values))
    flow = a_flow(b"/" + path, fields, authority=authority, version=b"HTTP/2.0")
    redirect(flow)
    assert flow.request.data.path == b"/" + path
    assert flow.request.headers.fields == fields
    assert flow.request.data.authority == authority
    assert flow.request.stream
    assert flow.request.host in ("127.0.0.1", "s3.example.com", "real.s3.example.com")


@given(path=visible, values=st.lists(visible, max_size=4), authority=st.sampled_from([b"", b"img.test"]))
def test_redirection_changes_where_to_and_nothing_of_what(path: bytes, values: list[bytes], authority: bytes) -> None:
    assert_only_redirected(to_origin, path, values, authority)


@given(path=ascii_visible, values=st.lists(visible, max_size=4), authority=st.sampled_from([b"", b"img.test"]))
def test_nor_does_that_to_the_object_service(path: bytes, values: list[bytes], authority: bytes) -> None:
    assert_only_redirected(to_service, path, values, authority)


@pytest.mark.parametrize("path", [b"/\xff", "/für".encode(), b"/k?x=\x80"])
def test_target_that_is_not_ascii_is_refused_before_the_object_service(path: bytes) -> None:
    flow = a_flow(path)
    to_service(flow)
    assert flow.response is not None
    assert flow.response.status_code == 400
    assert b"<Code>InvalidURI</Code>" in (flow.response.raw_content or b"")
    assert flow.request.host == "upstream.test"


@pytest.mark.parametrize(
    ("origin", "raw_key", "path", "host"),
    [
        (VIRTUAL, "a%2Fb//c", b"/a%2Fb//c?x=", b"real.s3.example.com"),
        (VIRTUAL, "", b"/?x=", b"real.s3.example.com"),
        (PATH, "a%2fb/../c", b"/base/real/a%2fb/../c?x=", b"minio.example.com:9000"),
        (PATH, "", b"/base/real?x=", b"minio.example.com:9000"),
    ],
)
def test_anonymous_request_takes_the_origins_address_style(origin, raw_key, path, host) -> None:  # type: ignore[no-untyped-def]
    flow = a_flow(b"/whatever?x=", ((b"A", b"1"), (b"hosT", b"img.test"), (b"B", b"2")))
    flows.send_to_origin_anonymous(flow, origin, raw_key)
    assert flow.request.data.path == path
    assert flow.request.headers.fields == ((b"A", b"1"), (b"hosT", host), (b"B", b"2"))
    assert (flow.request.host, flow.request.port, flow.request.scheme) == (origin.host, origin.port, origin.scheme)


def test_anonymous_http2_request_takes_the_origins_authority() -> None:
    flow = a_flow(b"/k", (), authority=b"img.test", version=b"HTTP/2.0")
    flows.send_to_origin_anonymous(flow, VIRTUAL, "k")
    assert flow.request.data.authority == b"real.s3.example.com"
    assert flow.request.headers.fields == ()


@pytest.mark.parametrize(
    ("fields", "authority", "mode", "named"),
    [
        (((b"Host", b"a"),), b"", "reverse:http://u", ["a"]),
        (((b"Host", b"a"), (b"HOST", b"b")), b"", "reverse:http://u", ["a", "b"]),
        ((), b"c:1", "reverse:http://u", ["c:1"]),
        (((b"host", b"a"),), b"c", "reverse:http://u", ["a", "c"]),
        ((), b"", "reverse:http://u", []),
        (((b"Host", b"a"),), b"", "regular", ["a", "upstream.test"]),
    ],
)
def test_no_host_that_a_request_names_is_overlooked(
    fields: Fields, authority: bytes, mode: str, named: list[str]
) -> None:
    assert flows.hosts(a_flow(fields=fields, authority=authority, mode=mode)) == named


@pytest.mark.parametrize(
    ("fields", "authority", "host"),
    [
        (((b"Host", b"A.test:80"),), b"a.test", "A.test:80"),
        ((), b"a.test", "a.test"),
        ((), b"", ""),
        (((b"Host", b"a"), (b"Host", b"b")), b"", None),
        (((b"Host", b"a"),), b"b", None),
    ],
)
def test_request_is_for_one_host(fields: Fields, authority: bytes, host: str | None) -> None:
    flow = a_flow(fields=fields, authority=authority)
    if host is None:
        with pytest.raises(S3Error, match="more than one host"):
            flows.seen(flow)
    else:
        assert flows.seen(flow).host == host


def test_request_is_seen_as_the_bytes_that_came() -> None:
    seen = flows.seen(a_flow(b"/a%2f\xe9?x=%zz&?", ((b"HoSt", b"h"), (b"X-A", b"\xff"))))
    assert (seen.raw_path, seen.raw_query) == ("/a%2f\xe9", "x=%zz&?")
    assert seen.headers == [("host", "h"), ("x-a", "\xff")]


@pytest.mark.parametrize("where", ["method", "path", "authority", "name", "value"])
@pytest.mark.parametrize("byte", [b"\r", b"\n", b"\0", b" "])
def test_bytes_that_end_a_field_make_a_request_malformed(where: str, byte: bytes) -> None:
    odd = b"a" + byte + b"b"
    fields = ((b"Host", b"h"), (odd if where == "name" else b"x", odd if where == "value" else b"y"))
    flow = a_flow(
        b"/" + odd if where == "path" else b"/k",
        fields,
        method=odd if where == "method" else b"GET",
        authority=odd if where == "authority" else b"",
        version=b"HTTP/2.0",
    )
    if byte == b" " and where in ("name", "value"):
        flows.check_well_formed(flow)  # a blank is usual in a value; mitmproxy itself refuses it in a name
        return
    with pytest.raises(flows.Malformed):
        flows.check_well_formed(flow)


@pytest.mark.parametrize(
    ("version", "method", "fields", "dropped", "chunked"),
    [
        (b"HTTP/2.0", b"GET", (), True, False),
        (b"HTTP/2.0", b"DELETE", (), True, False),
        (b"HTTP/3", b"HEAD", (), True, False),
        (b"HTTP/2.0", b"PUT", (), False, True),
        (b"HTTP/2.0", b"PATCH", (), False, True),
        (b"HTTP/2.0", b"PUT", ((b"content-length", b"5"),), False, False),
        (b"HTTP/2.0", b"GET", ((b"content-length", b"5"),), False, False),
        (b"HTTP/1.1", b"GET", (), False, False),
        (b"HTTP/1.1", b"PUT", ((b"Transfer-Encoding", b"chunked"),), False, True),
    ],
)
def test_every_body_has_a_frame(version: bytes, method: bytes, fields: Fields, dropped: bool, chunked: bool) -> None:
    flow = a_flow(fields=fields, method=method, version=version)
    flows.frame_body(flow)
    flows.send_to_service(flow, ("127.0.0.1", 1))
    assert flow.request.stream
    assert callable(flow.request.stream) == dropped
    assert not dropped or list(flow.request.stream(b"body")) == []  # type: ignore[operator]
    assert ("transfer-encoding" in flow.request.headers) == chunked
