"""Decisions turned into changes of a mitmproxy flow. The only place that writes into `flow.request` and `flow.response`."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus

from mitmproxy import http
from mitmproxy.proxy.mode_specs import ReverseMode

from addon.proxy.switch import Seen
from addon.s3.address import OriginAddress
from addon.s3.errors import S3Error, error_xml
from addon.s3.keys import invalid_uri
from addon.service.buckets import host_name
from addon.service.request import new_request_id

# A refusal waits in memory for the body that it refuses; a connection with more to come ends instead. No more than
# `stream_large_bodies`, above which mitmproxy does not take an answer of ours at all.
REFUSED_BODY_BYTES_MAX = 64 * 1024


class Malformed(Exception):
    """A request that would become another one, or more than one, when it is written out as HTTP/1.1."""


# A line break or NUL anywhere, and a blank in the request line. HTTP/2 frames can hold them, and mitmproxy hands them on.
_BREAKS_A_FIELD = re.compile(rb"[\r\n\0]")
_BREAKS_THE_REQUEST_LINE = re.compile(rb"[\r\n\0 \t]")


def check_well_formed(flow: http.HTTPFlow) -> None:
    """Raises `Malformed`; such a request may not even reach the object service (RFC 9113, sections 8.2.1 and 10.3)."""
    data = flow.request.data
    if _BREAKS_THE_REQUEST_LINE.search(b"".join((data.method, data.path, data.authority))) or _BREAKS_A_FIELD.search(
        b"".join(itertools.chain.from_iterable(data.headers.fields))
    ):
        raise Malformed


# Methods whose body means nothing (RFC 9110, section 9.3).
_WITHOUT_BODY = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})


def frame_body(flow: http.HTTPFlow) -> None:
    """See to it that a body which HTTP/2 does not announce cannot pass for further requests.

    mitmproxy writes it out as HTTP/1.1 without a length. What means nothing is dropped; else it goes in chunks.
    """
    request = flow.request
    if request.is_http11 or request.is_http10 or "content-length" in request.headers:
        return
    if request.method in _WITHOUT_BODY:
        request.stream = _nothing_of
    else:
        request.headers["transfer-encoding"] = "chunked"


def _nothing_of(_piece: bytes) -> list[bytes]:
    return []


def is_reverse(flow: http.HTTPFlow) -> bool:
    """Whether the operator chose the destination, not the client."""
    return isinstance(flow.client_conn.proxy_mode, ReverseMode)


def hosts(flow: http.HTTPFlow) -> list[str]:
    """Every host that the request names, the one that it is for first, in the spelling of the wire.

    Host headers, `:authority` or that of an absolute target; and where clients choose the destination (any mode but reverse), that.
    Servers differ in which of them they follow, so none may be overlooked.
    """
    data = flow.request.data
    named = [value.decode("latin-1") for name, value in data.headers.fields if name.lower() == b"host"]
    if data.authority:
        named.append(data.authority.decode("latin-1"))
    if not is_reverse(flow):
        named.append(data.host)
    return named


def seen(flow: http.HTTPFlow) -> Seen:
    """The request as it came. Raises InvalidRequest where it names different hosts by Host and `:authority`."""
    data = flow.request.data
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in data.headers.fields]
    named = [value for name, value in headers if name == "host"]
    if data.authority:
        named.append(data.authority.decode("latin-1"))
    if len(named) > 1 and len({host_name(name) for name in named}) > 1:
        raise S3Error("InvalidRequest", "The request names more than one host.")
    raw_path, _, raw_query = data.path.decode("latin-1").partition("?")
    return Seen(flow.request.method, named[0] if named else "", raw_path, raw_query, headers)


def has_body(flow: http.HTTPFlow) -> bool:
    """Whether the headers announce a body. An HTTP/2 request may have one without announcing it."""
    headers = flow.request.headers
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def send_to_service(flow: http.HTTPFlow, address: tuple[str, int]) -> None:
    """To the object service, with target, Host and every header as they came.

    A target that is not ASCII is refused here: the service's HTTP parser would answer it with plain text.
    """
    if flow.request.data.path.isascii():
        _connect_to(flow, "http", *address)
    else:
        refuse(flow, invalid_uri(), request_id=new_request_id())


def client_scheme(flow: http.HTTPFlow) -> str:
    """By which scheme the client came, as far as it can be known: where TLS ends before us a header says so."""
    told = flow.request.headers.get("x-forwarded-proto", "http").strip().lower()
    return "https" if flow.client_conn.tls_established else told


def tell_scheme(flow: http.HTTPFlow) -> None:
    """Let the object service name an object's URL as the client would. (Where TLS ends before us, a header says so already.)"""
    if flow.client_conn.tls_established:
        flow.request.headers["x-forwarded-proto"] = "https"


def send_to_origin_untouched(flow: http.HTTPFlow, origin: OriginAddress) -> None:
    """To the origin, with target, Host and every header as they came: they are signed."""
    _connect_to(flow, origin.scheme, origin.host, origin.port)


def send_to_origin_anonymous(flow: http.HTTPFlow, origin: OriginAddress, raw_key: str) -> None:
    """To the origin in its own address style: nothing is signed, so host and path may change."""
    _connect_to(flow, origin.scheme, origin.host, origin.port)
    request = flow.request
    if request.data.authority:
        request.data.authority = origin.host_header.encode("ascii")
    if "host" in request.headers:
        request.headers["host"] = origin.host_header
    _, mark, query = request.data.path.partition(b"?")
    request.data.path = origin.raw_path(raw_key).encode("latin-1") + mark + query


def _is_small(content_length: str | None) -> bool:
    """Whether an announced length (validated by mitmproxy: digits) is one that may be waited for."""
    return content_length is not None and int(content_length) <= REFUSED_BODY_BYTES_MAX


def _connect_to(flow: http.HTTPFlow, scheme: str, host: str, port: int) -> None:
    """Change where the request is sent, and nothing of what is sent: mitmproxy's own setters would rewrite Host."""
    data = flow.request.data
    data.scheme, data.host, data.port = scheme.encode("ascii"), host, port
    if not flow.request.stream:
        flow.request.stream = True


def forget_expectation(flow: http.HTTPFlow) -> None:
    """Take `Expect: 100-continue` away, so that mitmproxy does not invite a body that will be refused."""
    flow.request.headers.pop("expect", None)


def is_streamed(flow: http.HTTPFlow) -> bool:
    """Whether the complete request has been sent on already: mitmproxy keeps no content of what it streams."""
    return flow.request.raw_content is None


def answer(flow: http.HTTPFlow, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
    """Answer at once. Only for requests without a body: mitmproxy would hold the body in memory first."""
    now_s = time.time()
    fields = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers)
    flow.response = http.Response(
        http_version=b"HTTP/1.1",
        status_code=status,
        reason=HTTPStatus(status).phrase.encode("ascii"),
        headers=http.Headers(fields),
        content=body,
        trailers=None,
        timestamp_start=now_s,
        timestamp_end=now_s,
    )


def replace_headers(response: http.Response, headers: Sequence[tuple[str, str]]) -> None:
    """Give a response these headers; values are Latin-1 text of their bytes."""
    response.headers = http.Headers([(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers])


def headers_of(response: http.Response) -> list[tuple[str, str]]:
    """A response's headers in the spelling of the wire."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.data.headers.fields]


def replace_answer(flow: http.HTTPFlow, error: S3Error, *, request_id: str) -> None:
    """The S3 error in place of an answer whose headers have just come; its body is dropped as it comes."""
    response = flow.response
    if response is None:
        return
    body = error_xml(error, resource=flow.request.path.partition("?")[0], request_id=request_id)
    response.status_code, response.reason = error.status, HTTPStatus(error.status).phrase
    told = [("content-type", "application/xml"), ("x-amz-request-id", request_id)]
    if flow.request.method != "HEAD":
        told.append(("content-length", str(len(body))))
    replace_headers(response, told)

    def instead(piece: bytes) -> list[bytes]:
        return [] if piece else [body]

    response.stream = True if flow.request.method == "HEAD" else instead


def take_over_body(response: http.Response, length: int, take: Callable[[bytes], Sequence[bytes]]) -> None:
    """Give the answer another body, of `length` bytes: `take` says, for each piece that comes, what stands in its place."""
    response.headers.pop("transfer-encoding", None)
    response.headers["content-length"] = str(length)
    response.stream = take


def refuse(flow: http.HTTPFlow, error: S3Error, *, request_id: str) -> None:
    """The S3 error where no body, or a small one, is to be waited for; else the connection ends, which keeps nothing in memory."""
    if has_body(flow) and not _is_small(flow.request.headers.get("content-length")):
        flow.kill()
        return
    forget_expectation(flow)
    # mitmproxy takes no answer to a request that it streams, and `frame_body` may have said so. Its body is waited for then.
    flow.request.stream = False
    body = error_xml(error, resource=flow.request.path.partition("?")[0], request_id=request_id)
    headers = [
        *((name.lower(), value) for name, value in error.headers.items()),
        ("content-type", "application/xml"),
        ("content-length", str(len(body))),
        ("x-amz-request-id", request_id),
    ]
    answer(flow, error.status, headers, b"" if flow.request.method == "HEAD" else body)
