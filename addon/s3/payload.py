"""What `x-amz-content-sha256` says of a body, and how the chunks of a streamed one are signed.

Sources: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-auth-using-authorization-header.html (the values),
…/sigv4-streaming.html (chunk signatures), …/sigv4-streaming-trailers.html (trailer signature).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from enum import Enum

from addon.s3.errors import S3Error

EMPTY_SHA256_HEX = hashlib.sha256(b"").hexdigest()

_SHA256_HEX = re.compile(r"[0-9a-fA-F]{64}")


class PayloadKind(Enum):
    """How a body is bound to the request's signature. AWS documents no streamed form that is unsigned and has no trailer."""

    HASH = "exact hash"
    UNSIGNED = "UNSIGNED-PAYLOAD"
    STREAMING_SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    STREAMING_SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    STREAMING_UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


_KIND_BY_VALUE = {kind.value: kind for kind in PayloadKind if kind is not PayloadKind.HASH}


@dataclass(frozen=True, slots=True)
class Payload:
    """What was declared of a body. `declared` is the spelling that was signed; `sha256_hex` (lower case) only an exact hash has."""

    kind: PayloadKind
    declared: str
    sha256_hex: str | None = None

    @property
    def is_streaming(self) -> bool:
        """Whether the body is aws-chunked frames instead of plain bytes."""
        return self.kind not in {PayloadKind.HASH, PayloadKind.UNSIGNED}

    @property
    def has_signed_chunks(self) -> bool:
        """Whether each chunk carries a signature."""
        return self.kind in {PayloadKind.STREAMING_SIGNED, PayloadKind.STREAMING_SIGNED_TRAILER}

    @property
    def has_trailer(self) -> bool:
        """Whether trailing headers follow the last chunk."""
        return self.kind in {PayloadKind.STREAMING_SIGNED_TRAILER, PayloadKind.STREAMING_UNSIGNED_TRAILER}


UNSIGNED_PAYLOAD = Payload(PayloadKind.UNSIGNED, PayloadKind.UNSIGNED.value)
EMPTY_PAYLOAD = Payload(PayloadKind.HASH, EMPTY_SHA256_HEX, EMPTY_SHA256_HEX)


def parse_payload(value: str) -> Payload:
    """The meaning of an `x-amz-content-sha256`. Raises NotImplemented for SigV4A's forms, InvalidArgument for anything unknown."""
    kind = _KIND_BY_VALUE.get(value)
    if kind is not None:
        return Payload(kind, value)
    if _SHA256_HEX.fullmatch(value):
        return Payload(PayloadKind.HASH, value, value.lower())
    if value.startswith("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"):
        raise S3Error(
            "NotImplemented",
            "A header you provided implies functionality that is not implemented: AWS Signature Version 4A is not supported.",
            details={"Header": "x-amz-content-sha256"},
        )
    raise S3Error(
        "InvalidArgument",
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, "
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD, "
        "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
        details={"ArgumentName": "x-amz-content-sha256", "ArgumentValue": value},
    )


@dataclass(frozen=True, slots=True)
class ChunkSigning:
    """What the signatures of a body's chunks are computed with.

    The chain begins with `seed_signature`, the verified signature of the request; each chunk signs the one before it, so that
    no chunk can be left out, repeated or moved. `timestamp` is the request's, `yyyyMMddTHHmmssZ`.
    """

    signing_key: bytes = field(repr=False)
    timestamp: str
    scope: str
    seed_signature: str = field(repr=False)

    def chunk_signature(self, previous_signature: str, data_sha256_hex: str) -> str:
        """The signature of a chunk with this hash that comes after the chunk (or request) with `previous_signature`."""
        return self._sign("AWS4-HMAC-SHA256-PAYLOAD", f"{previous_signature}\n{EMPTY_SHA256_HEX}\n{data_sha256_hex}")

    def trailer_signature(self, previous_signature: str, trailer_sha256_hex: str) -> str:
        """The signature of the trailing headers, whose hash is taken over `name:value` and a newline for each."""
        return self._sign("AWS4-HMAC-SHA256-TRAILER", f"{previous_signature}\n{trailer_sha256_hex}")

    def _sign(self, algorithm: str, rest: str) -> str:
        string_to_sign = f"{algorithm}\n{self.timestamp}\n{self.scope}\n{rest}"
        return hmac.digest(self.signing_key, string_to_sign.encode("ascii"), "sha256").hex()
