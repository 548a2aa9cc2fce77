"""Where a client is pointed at, what comes back, and plain signed requests for looking at raw answers."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

REQUEST_LIMIT_S = 60.0

# What a GET and a HEAD of one object must tell alike, before and after it moved.
OBJECT_HEADERS = (
    "accept-ranges",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-range",
    "content-type",
    "etag",
    "expires",
    "last-modified",
)


@dataclass(frozen=True)
class Target:
    """One bucket behind one endpoint, with the keys to sign with; ``authority`` is trusted for HTTPS."""

    endpoint: str
    bucket: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    authority: Path | None = None
    region: str = "us-east-1"

    @property
    def host(self) -> str:
        return self.endpoint.split("://", 1)[1]

    def url(self, key: str) -> str:
        return f"{self.endpoint}/{self.bucket}/{quote(key)}"


@dataclass(frozen=True)
class Got:
    """What a client says about an object. A client that does not tell something leaves it out of ``headers``."""

    body: bytes
    headers: dict[str, str]


class Refused(Exception):
    """The server answered with an error; ``status`` is the HTTP status, as far as the client tells it."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status


class Http2Only(ssl.SSLContext):
    """httpx offers HTTP/1.1 first, and mitmproxy takes the client's first choice; this offers nothing but HTTP/2."""

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        super().set_alpn_protocols(["h2"])


@functools.cache
def trust(authority: Path | None, *, http2: bool = False) -> ssl.SSLContext:
    """What httpx takes as ``verify``. Kept: to make one takes longer than the request that it is for."""
    if authority is None:
        return ssl.create_default_context()
    context = Http2Only(ssl.PROTOCOL_TLS_CLIENT) if http2 else ssl.create_default_context()
    context.load_verify_locations(authority)
    return context


def signed_headers(target: Target, method: str, url: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    request = AWSRequest(method=method, url=url, data=body, headers=dict(headers))
    S3SigV4Auth(Credentials(target.access_key_id, target.secret_access_key), "s3", target.region).add_auth(request)
    return dict(request.headers.items())


def request(
    target: Target,
    method: str,
    key: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    signed: bool = True,
    http2: bool = False,
    proxy: str | None = None,
) -> httpx.Response:
    """One plain request, so that a test sees status and headers as they are on the wire."""
    url = target.url(key)
    sent = dict(headers or {})
    if signed:
        sent = signed_headers(target, method, url, sent, body)
    with httpx.Client(
        verify=trust(target.authority, http2=http2), http2=http2, timeout=REQUEST_LIMIT_S, proxy=proxy, trust_env=False
    ) as client:
        return client.request(method, url, headers=sent, content=body or None)


def object_headers(headers: Mapping[str, Any]) -> dict[str, str]:
    """The headers that belong to the object itself: system headers and user metadata, names in lower case."""
    lowered = {name.lower(): str(value) for name, value in headers.items()}
    return {name: value for name, value in lowered.items() if name in OBJECT_HEADERS or name.startswith("x-amz-meta-")}
