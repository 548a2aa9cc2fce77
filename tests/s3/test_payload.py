"""What `x-amz-content-sha256` may say, and the chain of chunk signatures."""

from __future__ import annotations

import hashlib

import pytest

from addon.s3.errors import S3Error
from addon.s3.payload import EMPTY_PAYLOAD, EMPTY_SHA256_HEX, ChunkSigning, PayloadKind, parse_payload


@pytest.mark.parametrize(
    ("value", "kind", "streaming", "signed_chunks", "trailer"),
    [
        (EMPTY_SHA256_HEX, PayloadKind.HASH, False, False, False),
        ("UNSIGNED-PAYLOAD", PayloadKind.UNSIGNED, False, False, False),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", PayloadKind.STREAMING_SIGNED, True, True, False),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", PayloadKind.STREAMING_SIGNED_TRAILER, True, True, True),
        ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", PayloadKind.STREAMING_UNSIGNED_TRAILER, True, False, True),
    ],
)
def test_known_values(value: str, kind: PayloadKind, streaming: bool, signed_chunks: bool, trailer: bool) -> None:
    payload = parse_payload(value)
    assert (payload.kind, payload.declared) == (kind, value)
    assert (payload.is_streaming, payload.has_signed_chunks, payload.has_trailer) == (streaming, signed_chunks, trailer)
    assert payload.sha256_hex == (value if kind is PayloadKind.HASH else None)


def test_every_kind_is_covered_above() -> None:
    assert len(PayloadKind) == 5


@pytest.mark.parametrize(
    "value", ["exact hash", "", " UNSIGNED-PAYLOAD", "0" * 63, "0" * 65, "g" * 64, "0" * 64 + "\n", "０" * 64]
)
def test_unknown_values(value: str) -> None:
    with pytest.raises(S3Error) as caught:
        parse_payload(value)
    assert (caught.value.code, caught.value.status) == ("InvalidArgument", 400)
    assert caught.value.details["ArgumentName"] == "x-amz-content-sha256"


def test_the_empty_payload() -> None:
    assert EMPTY_PAYLOAD.sha256_hex == hashlib.sha256(b"").hexdigest()


def test_a_chunk_signature_depends_on_everything() -> None:
    base = ("key", "20260304T050607Z", "20260304/auto/s3/aws4_request", "previous", "hash")
    signatures = set()
    for index in range(-1, len(base)):
        key, timestamp, scope, previous, digest = (
            f"{value}{'!' if index == i else ''}" for i, value in enumerate(base)
        )
        signing = ChunkSigning(key.encode(), timestamp, scope, "seed")
        signatures |= {signing.chunk_signature(previous, digest), signing.trailer_signature(previous, digest)}
    assert len(signatures) == 2 * (len(base) + 1)


def test_a_signing_shows_neither_key_nor_seed() -> None:
    shown = repr(ChunkSigning(b"hidden key", "20260304T050607Z", "scope", "hidden seed"))
    assert "hidden" not in shown
