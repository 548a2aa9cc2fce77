"""The HTTP client of one bucket's origin.

It speaks through httpcore, the layer below httpx's client: so there is no redirect, no cookie, no header that was not asked for, no
line in a log with a URL, the request target goes out as the bytes that were signed, and each connection goes to an address that was
looked at (`connections.py`).
"""

from __future__ import annotations

import contextlib
import functools
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Literal

import httpcore
import httpx

from addon.origin.connections import OriginConnections
from addon.origin.signing import EMPTY_SHA256, UNSIGNED_PAYLOAD, Signer, WireRequest, wire_request
from addon.s3.address import origin_address
from addon.s3.keys import encode_key
from addon.s3.metadata import NotAnObject, headers_from_origin
from addon.store.origin_addresses import OriginAddresses
from addon.store.own_connections import OwnConnections
from addon.store.ports import (
    OriginChanged,
    OriginIsOurselves,
    OriginRefused,
    OriginRequest,
    OriginResponse,
    OriginUnavailable,
    OriginUnreachable,
    StoreError,
)

# RFC 9110, section 7.6.1: these describe one connection, not the message.
HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

# Set by this client; a caller's would contradict them.
_OURS = frozenset({"authorization", "content-length", "expect", "host", "x-amz-content-sha256", "x-amz-date"})

ERROR_BODY_BYTES_MAX = 8192
RETRY_AFTER_S_MAX = 24 * 3600.0
_ERROR_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")

# Refusals that say something about our credentials or clock, nothing about the key: they end when the operator has acted.
_ABOUT_US = frozenset(
    {"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "RequestTimeTooSkewed", "SignatureDoesNotMatch"}
)
_TRY_AGAIN_STATUSES = frozenset({408, 425, 429})
_TRY_AGAIN_CODES = frozenset({"ConditionalRequestConflict", "OperationAborted", "RequestTimeout", "SlowDown"})


@dataclass(frozen=True, slots=True)
class OriginLimits:
    """How long the origin may take for a step, and how many connections to it there are."""

    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0
    write_timeout_s: float = 60.0
    connection_wait_s_max: float = 30.0
    connections_max: int = 100
    idle_connections_max: int = 20
    idle_connection_s_max: float = 30.0


class S3Origin:
    """`store.ports.Origin` over HTTP/1.1. Requests are signed where keys are given, and anonymous otherwise.

    Raises ValueError for an endpoint or a bucket that cannot be meant, or half a pair of keys.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        bucket: str,
        region: str,
        addressing: Literal["virtual", "path"],
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        limits: OriginLimits | None = None,
        own: OwnConnections | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if (access_key_id is None) != (secret_access_key is None):
            raise ValueError("the origin needs both access_key_id and secret_access_key, or neither")
        self.address = origin_address(endpoint, bucket, addressing)
        self.addresses = OriginAddresses(self.address.host)
        self.leads_back = False
        self._now = now
        self._signer = None
        if access_key_id is not None and secret_access_key is not None:
            self._signer = Signer(access_key_id, secret_access_key, region)
        limits = limits or OriginLimits()
        self._timeouts = {
            "connect": limits.connect_timeout_s,
            "read": limits.read_timeout_s,
            "write": limits.write_timeout_s,
            "pool": limits.connection_wait_s_max,
        }
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trusted_authorities(),
            http1=True,
            http2=False,
            retries=0,
            max_connections=limits.connections_max,
            max_keepalive_connections=limits.idle_connections_max,
            keepalive_expiry=limits.idle_connection_s_max,
            network_backend=OriginConnections(self.addresses, own or OwnConnections()),
        )

    @property
    def signs(self) -> bool:
        """Whether requests bear our signature."""
        return self._signer is not None

    @contextlib.asynccontextmanager
    async def send(self, request: OriginRequest) -> AsyncGenerator[OriginResponse, None]:
        """See `store.ports.Origin.send`. What `request.body` raises passes unchanged, and the origin sees a broken-off request.

        Raises `OriginIsOurselves` while `leads_back` is set.
        """
        if self.leads_back:
            raise OriginIsOurselves("the origin leads back to tgstore itself: look at origin.endpoint and at DNS")
        wire = self._wire(request)
        outgoing = httpcore.Request(
            wire.method,
            httpcore.URL(
                scheme=self.address.scheme, host=self.address.host, port=self.address.port, target=wire.target
            ),
            headers=list(wire.headers),
            content=_Body(request.body, request.content_length),
            extensions={"timeout": self._timeouts},
        )
        async with self._exchange(outgoing) as answer:
            yield answer

    async def probe(self, raw_key: str, *, url: str | None = None) -> tuple[int, str | None]:
        """Ask for a key anonymously, `leads_back` or not: at the origin, or at a URL to which it redirected (which bears nothing of
        ours, and leads to no address that the origin may not lead to). Status and Location; the body stays unread. Raises
        `OriginUnavailable`."""
        wire = wire_request("GET", self.address, raw_key, "", [("accept-encoding", "identity")])
        try:
            place = httpcore.URL(
                scheme=self.address.scheme, host=self.address.host, port=self.address.port, target=wire.target
            )
            headers = list(wire.headers)
            if url is not None:
                place = httpcore.URL(url)
                headers = [
                    (b"host", url.split("/")[2].rpartition("@")[2].encode("ascii")),
                    *_without_host(wire.headers),
                ]
            outgoing = httpcore.Request("GET", place, headers=headers, extensions={"timeout": self._timeouts})
        except (ValueError, IndexError):
            raise OriginUnavailable("the origin redirects to what is no URL") from None
        async with self._exchange(outgoing) as answer:
            return answer.status, answer.header("location")

    @contextlib.asynccontextmanager
    async def _exchange(self, outgoing: httpcore.Request) -> AsyncGenerator[OriginResponse, None]:
        with _mapped():
            answer = await self._pool.handle_async_request(outgoing)
        try:
            async with contextlib.aclosing(_pieces(answer)) as body:
                yield OriginResponse(answer.status, _end_to_end(answer.headers), body)
        finally:
            with _mapped():
                await answer.aclose()

    @contextlib.asynccontextmanager
    async def get_object(self, key: str, *, if_match: str | None = None) -> AsyncGenerator[OriginResponse, None]:
        """See `store.ports.Origin.get_object`. Refused as well is a 200 that does not describe one whole stored object."""
        headers = [("accept-encoding", "identity"), ("x-amz-checksum-mode", "ENABLED")]
        if if_match is not None:
            headers.append(("if-match", f'"{if_match}"'))
        async with self.send(OriginRequest("GET", encode_key(key), "", headers)) as answer:
            if answer.status != HTTPStatus.OK:
                raise await failure(answer)
            try:
                headers_from_origin(answer.headers)
            except NotAnObject as reason:
                raise OriginRefused(f"the answer is no object: {reason}", status=answer.status) from None
            yield answer

    async def failure(self, answer: OriginResponse) -> StoreError:
        """See `store.ports.Origin.failure`."""
        return await failure(answer)

    async def close(self) -> None:
        """Let go of every connection."""
        with _mapped():
            await self._pool.aclose()

    def _wire(self, request: OriginRequest) -> WireRequest:
        headers = [(name, value) for name, value in request.headers if name.lower() not in _OURS | HOP_BY_HOP]
        if request.body is not None or request.method in ("PUT", "POST"):
            headers.append(("content-length", str(request.content_length)))
        wire = wire_request(request.method, self.address, request.raw_key, request.raw_query, headers)
        if self._signer is None or request.anonymous:
            return wire
        payload = request.payload_sha256 or (UNSIGNED_PAYLOAD if request.body is not None else EMPTY_SHA256)
        url = f"{self.address.scheme}://{self.address.host_header}{wire.target.decode('ascii')}"
        added = self._signer.authorization(wire, url=url, payload=payload, now=self._now())
        return WireRequest(wire.method, wire.target, [*wire.headers, *added])


def _without_host(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name.lower() != b"host"]


@functools.cache
def trusted_authorities() -> ssl.SSLContext:
    """The public authorities, and those that this machine trusts besides (OpenSSL's own places, `SSL_CERT_FILE` among them): a
    bucket's server is often one's own, with a certificate of one's own. Read once, as that takes a twentieth of a second."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context


class _Body:
    """A request's body as httpcore wants it, held to the length that its headers announce."""

    def __init__(self, pieces: AsyncIterator[bytes] | None, length: int) -> None:
        self._pieces, self._length = pieces, length

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._pieces is None:
            return
        size = 0
        async for piece in self._pieces:
            size += len(piece)
            if size > self._length:
                raise OriginUnavailable(f"more than the announced {self._length} bytes came to be sent to the origin")
            yield piece
        if size < self._length:
            raise OriginUnavailable(f"{size} of the announced {self._length} bytes came to be sent to the origin")


async def _pieces(answer: httpcore.Response) -> AsyncGenerator[bytes, None]:
    """The undecoded body. The protocol layer knows Content-Length and chunks, and raises where the transfer ends before them."""
    assert isinstance(answer.stream, AsyncIterable)  # noqa: S101 -- an asynchronous pool gives nothing else
    with _mapped():
        async for piece in answer.stream:
            yield piece


_FAILURES = (
    httpcore.ConnectionNotAvailable,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
)


@contextlib.contextmanager
def _mapped() -> Iterator[None]:
    """No exception of the HTTP library passes. Its text stays behind, because it may hold the URL; its name says enough."""
    try:
        yield
    except (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout) as error:
        raise OriginUnreachable(f"no connection to the origin could be made ({type(error).__name__})") from None
    except _FAILURES as error:
        raise OriginUnavailable(f"the connection to the origin failed ({type(error).__name__})") from None


def _end_to_end(raw: Sequence[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """The header pairs without those of the connection, and without those that its Connection header names."""
    pairs = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in raw]
    named = {token.strip().lower() for name, value in pairs if name == "connection" for token in value.split(",")}
    return [(name, value) for name, value in pairs if name not in HOP_BY_HOP and name not in named]


async def failure(answer: OriginResponse) -> OriginRefused | OriginChanged | OriginUnavailable:
    """What an answer other than the hoped-for one means, in the port's terms; its text names status and error code."""
    code = await _error_code(answer)
    said = f"the origin answered {answer.status}{f' {code}' if code else ''}"
    if answer.status == HTTPStatus.PRECONDITION_FAILED:
        return OriginChanged(said)
    temporary = answer.status >= 500 and answer.status != HTTPStatus.NOT_IMPLEMENTED
    if temporary or answer.status in _TRY_AGAIN_STATUSES or code in _TRY_AGAIN_CODES:
        return OriginUnavailable(said, retry_after_s=retry_after_s(answer))
    if code in _ABOUT_US:
        return OriginUnavailable(f"{said}: look at the origin's keys and at this machine's clock")
    return OriginRefused(said, status=answer.status, code=code)


async def _error_code(answer: OriginResponse) -> str:
    """The Code element of an S3 error, empty where the answer's first bytes have none."""
    start = bytearray()
    with contextlib.suppress(OriginUnavailable):
        async for piece in answer.body:
            start += piece
            if len(start) >= ERROR_BODY_BYTES_MAX:
                break
    found = _ERROR_CODE.search(start[:ERROR_BODY_BYTES_MAX])
    return found[1].decode("ascii") if found is not None else ""


def retry_after_s(answer: OriginResponse) -> float | None:
    """Retry-After in seconds, at most a day; None where it was not given as a number."""
    value = (answer.header("retry-after") or "").strip()
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        return None
    return min(float(value), RETRY_AFTER_S_MAX)
