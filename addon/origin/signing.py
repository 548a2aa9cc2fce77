"""Requests to the origin, spelt and signed.

What goes onto the wire is exactly what was signed: path and query are brought into the canonical spelling first (the same key, the
same parameters), so that verifiers that take them raw and verifiers that encode anew come to one result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote, unquote_to_bytes

from botocore.auth import S3SigV4Auth  # type: ignore[import-untyped]  # botocore ships no types
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]  # the same
from botocore.compat import HTTPHeaders  # type: ignore[import-untyped]  # the same
from botocore.credentials import Credentials  # type: ignore[import-untyped]  # the same

from addon.s3 import query
from addon.s3.address import OriginAddress

_SIGNED = frozenset({"host", "content-md5", "content-type"})

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class WireRequest:
    """A request as it goes out: `target` (path and query) and header pairs are the bytes on the wire."""

    method: str
    target: bytes
    headers: Sequence[tuple[bytes, bytes]] = field(repr=False)


class Signer:
    """Signs with one pair of keys for one region (AWS Signature Version 4, service `s3`)."""

    def __init__(self, access_key_id: str, secret_access_key: str, region: str) -> None:
        self._auth = _Auth(Credentials(access_key_id, secret_access_key), "s3", region)

    def authorization(
        self, request: WireRequest, *, url: str, payload: str, now: datetime
    ) -> list[tuple[bytes, bytes]]:
        """The three headers that authenticate `request`; `url` is its absolute form, `payload` its x-amz-content-sha256.

        Botocore's own `add_auth` is not used: it takes the time from the clock, and logs the signature.
        """
        timestamp = now.strftime("%Y%m%dT%H%M%SZ")
        added = [("x-amz-content-sha256", payload), ("x-amz-date", timestamp)]
        signed = AWSRequest(method=request.method, url=url)
        signed.context["timestamp"] = timestamp
        for name, value in request.headers:
            signed.headers.add_header(name.decode("ascii"), _as_verifiers_read(value))
        for added_name, added_value in added:
            signed.headers.add_header(added_name, added_value)
        auth = self._auth
        signature = auth.signature(auth.string_to_sign(signed, auth.canonical_request(signed)), signed)
        names = auth.signed_headers(auth.headers_to_sign(signed))
        authorization = (
            f"AWS4-HMAC-SHA256 Credential={auth.scope(signed)}, SignedHeaders={names}, Signature={signature}"
        )
        return [(name.encode(), value.encode()) for name, value in [*added, ("authorization", authorization)]]


class _Auth(S3SigV4Auth):  # type: ignore[misc]  # botocore ships no types
    """Botocore's signer, with two differences.

    Only the headers that S3 wants signed are signed: what a proxy on the way may rewrite (Accept-Encoding, Range, …) must not
    break the signature. And values are trimmed as HTTP does it: botocore's `str.split` would also eat the no-break space.
    """

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        chosen = HTTPHeaders()
        for name, value in request.headers.items():
            if name in _SIGNED or name.startswith("x-amz-"):
                chosen.add_header(name, value)
        return chosen

    def _header_value(self, value: str) -> str:
        return " ".join(piece for piece in value.replace("\t", " ").split(" ") if piece)


def wire_request(
    method: str, address: OriginAddress, raw_key: str, raw_query: str, headers: Sequence[tuple[str, str]]
) -> WireRequest:
    """The request in its canonical spelling, with Host, not signed yet. Raises S3Error (InvalidURI) for an undecodable query."""
    path = address.raw_path(quote(unquote_to_bytes(raw_key.encode("latin-1")), safe="/~"))
    target = f"{path}?{query.canonical(raw_query)}" if raw_query else path
    pairs = [("host", address.host_header), *((name.lower(), value) for name, value in headers)]
    return WireRequest(
        method=method,
        target=target.encode("ascii"),
        headers=[(name.encode("ascii"), value.strip(" \t").encode("latin-1")) for name, value in pairs],
    )


def _as_verifiers_read(value: bytes) -> str:
    """Text whose UTF-8 bytes, which is what the signature covers, are the bytes on the wire wherever that is possible."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
