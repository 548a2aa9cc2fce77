"""Decisions turned into changes of a mitmproxy flow. The only place that writes into `flow.request` and `flow.response`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from http import HTTPStatus

from mitmproxy import http

from addon.proxy.switch import Seen
from addon.s3.address import OriginAddress
from addon.s3.errors import S3Error, error_xml


def seen(flow: http.HTTPFlow) -> Seen:
    """The request as it came. Raises InvalidRequest where `:authority` and `Host` name different hosts."""
    request = flow.request
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in request.headers.fields]
    hosts = {value for name, value in headers if name == "host"}
    if request.authority and (request.is_http2 or request.is_http3):
        hosts.add(request.authority)
    if len(hosts) > 1:
        raise S3Error("InvalidRequest", "The request names more than one host.")
    raw_path, _, raw_query = request.data.path.decode("latin-1").partition("?")
    return Seen(request.method, next(iter(hosts), ""), raw_path, raw_query, headers)


def host(flow: http.HTTPFlow) -> str:
    """The host that the request names: `:authority`, or Host."""
    return flow.request.host_header or ""


def has_body(flow: http.HTTPFlow) -> bool:
    """Whether the headers announce a body. An HTTP/2 request may have one without announcing it."""
    headers = flow.request.headers
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def send_to_service(flow: http.HTTPFlow, address: tuple[str, int]) -> None:
    """To the object service, with target, Host and every header as they came."""
    _connect_to(flow, "http", *address)


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


def _connect_to(flow: http.HTTPFlow, scheme: str, host: str, port: int) -> None:
    """Change where the request is sent, and nothing of what is sent: mitmproxy's setters rewrite Host, so it is put back."""
    request = flow.request
    fields, authority = request.headers.fields, request.data.authority
    request.scheme, request.host, request.port = scheme, host, port
    request.headers.fields, request.data.authority = fields, authority
    request.stream = True


def forget_expectation(flow: http.HTTPFlow) -> None:
    """Take `Expect: 100-continue` away, so that mitmproxy does not invite a body that will be refused."""
    flow.request.headers.pop("expect", None)


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


def refuse(flow: http.HTTPFlow, error: S3Error, *, request_id: str) -> None:
    """The S3 error where there is no body to wait for; else the connection ends, which keeps nothing in memory."""
    if has_body(flow):
        flow.kill()
        return
    body = error_xml(error, resource=flow.request.path.partition("?")[0], request_id=request_id)
    headers = [
        *((name.lower(), value) for name, value in error.headers.items()),
        ("content-type", "application/xml"),
        ("content-length", str(len(body))),
        ("x-amz-request-id", request_id),
    ]
    answer(flow, error.status, headers, b"" if flow.request.method == "HEAD" else body)
