"""Requests signed by hand, from AWS's documentation alone: so that a test can also sign what no SDK would, and sign it wrongly.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-auth-using-authorization-header.html, …/sigv4-query-string-auth.html,
…/sigv4-streaming.html and …/sigv4-streaming-trailers.html. The oracle for signatures is botocore, in tests/test_sigv4.py.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import quote

Headers = Sequence[tuple[str, str]]

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"
SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_CHUNKS_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_CHUNKS_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


@dataclass(frozen=True)
class Key:
    """A key pair of a client."""

    access_key_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Signed:
    """The headers to send, and what the chunks of a streamed body are signed with."""

    headers: list[tuple[str, str]]
    signature: str
    timestamp: str
    scope: str
    signing_key: bytes = field(repr=False)

    def chunk_signature(self, previous: str, data: bytes) -> str:
        rest = f"{previous}\n{EMPTY_SHA256}\n{hashlib.sha256(data).hexdigest()}"
        return self._sign("AWS4-HMAC-SHA256-PAYLOAD", rest)

    def trailer_signature(self, previous: str, trailers: Headers) -> str:
        lines = "".join(f"{name}:{value}\n" for name, value in trailers)
        return self._sign("AWS4-HMAC-SHA256-TRAILER", f"{previous}\n{hashlib.sha256(lines.encode()).hexdigest()}")

    def _sign(self, algorithm: str, rest: str) -> str:
        return _hmac(self.signing_key, f"{algorithm}\n{self.timestamp}\n{self.scope}\n{rest}").hex()


def sign(
    key: Key,
    method: str,
    target: str,
    host: str,
    headers: Headers = (),
    *,
    payload: str = UNSIGNED,
    at: datetime | None = None,
    unsigned: Headers = (),
    region: str = "us-east-1",
    service: str = "s3",
) -> Signed:
    """Sign in the Authorization header. `target` is the raw path and query; `unsigned` headers are sent and not signed."""
    timestamp = (at or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    signed = [*headers, ("host", host), ("x-amz-content-sha256", payload), ("x-amz-date", timestamp)]
    signing_key, scope = _signing_key(key, timestamp, region, service)
    names, canonical = _canonical(method, target, signed, payload)
    signature = _signature(signing_key, timestamp, scope, canonical)
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={key.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return Signed([*signed, *unsigned, ("authorization", authorization)], signature, timestamp, scope, signing_key)


def presign(
    key: Key,
    method: str,
    target: str,
    host: str,
    headers: Headers = (),
    *,
    expires_s: int | str = 600,
    at: datetime | None = None,
) -> str:
    """The target of a presigned URL. `headers` beside `host` are signed and must be sent as they are."""
    timestamp = (at or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    signing_key, scope = _signing_key(key, timestamp, "us-east-1", "s3")
    signed = [*headers, ("host", host)]
    names = ";".join(sorted(name.lower() for name, _ in signed))
    added = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{key.access_key_id}/{scope}",
        "X-Amz-Date": timestamp,
        "X-Amz-Expires": str(expires_s),
        "X-Amz-SignedHeaders": names,
    }
    path, _, query = target.partition("?")
    pieces = [*filter(None, query.split("&")), *(f"{name}={quote(value, safe='~')}" for name, value in added.items())]
    target = f"{path}?{'&'.join(pieces)}"
    _, canonical = _canonical(method, target, signed, UNSIGNED)
    return f"{target}&X-Amz-Signature={_signature(signing_key, timestamp, scope, canonical)}"


def aws_chunked(
    signed: Signed,
    pieces: Sequence[bytes],
    *,
    form: Literal["signed", "signed-trailer", "unsigned-trailer"],
    trailers: Headers = (),
) -> list[bytes]:
    """The frames of a body, each with its line and line end; the last element ends the body."""
    chunks_are_signed = form != "unsigned-trailer"
    previous = signed.signature
    frames = []
    for piece in [*pieces, b""]:
        line = f"{len(piece):x}"
        if chunks_are_signed:
            previous = signed.chunk_signature(previous, piece)
            line += f";chunk-signature={previous}"
        frames.append(f"{line}\r\n".encode() + (piece + b"\r\n" if piece else b""))
    end = "".join(f"{name}:{value}\r\n" for name, value in trailers)
    if form == "signed-trailer":
        end += f"x-amz-trailer-signature:{signed.trailer_signature(previous, trailers)}\r\n"
    frames.append(f"{end}\r\n".encode())
    return frames


def _canonical(method: str, target: str, headers: Headers, payload: str) -> tuple[str, str]:
    path, _, query = target.partition("?")
    by_name: dict[str, list[str]] = {}
    for name, value in headers:
        by_name.setdefault(name.lower(), []).append(" ".join(value.split()))
    names = ";".join(sorted(by_name))
    lines = "".join(f"{name}:{','.join(by_name[name])}\n" for name in sorted(by_name))
    pairs = sorted(piece.partition("=")[::2] for piece in query.split("&") if piece)
    parameters = [f"{name}={value}" for name, value in pairs]
    return names, f"{method}\n{path}\n{'&'.join(parameters)}\n{lines}\n{names}\n{payload}"


def _signature(signing_key: bytes, timestamp: str, scope: str, canonical: str) -> str:
    digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
    return _hmac(signing_key, f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{digest}").hex()


def _signing_key(key: Key, timestamp: str, region: str, service: str) -> tuple[bytes, str]:
    signing_key = b"AWS4" + key.secret.encode()
    for part in (timestamp[:8], region, service, "aws4_request"):
        signing_key = _hmac(signing_key, part)
    return signing_key, f"{timestamp[:8]}/{region}/{service}/aws4_request"


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode("latin-1"), "sha256")
