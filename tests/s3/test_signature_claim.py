"""Finding and reading a claim; `tests/test_sigv4.py` holds what becomes of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from addon.s3.errors import S3Error
from addon.s3.signature_claim import SignedRequest, claimed_access_key_id, read_claim, take_apart

SIGNATURE = "ab" * 32
AUTHORIZATION = (
    f"AWS4-HMAC-SHA256 Credential=AK/20260304/auto/s3/aws4_request, SignedHeaders=host, Signature={SIGNATURE}"
)
QUERY = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK%2F20260304%2Fauto%2Fs3%2Faws4_request&X-Amz-Date=20260304T050607Z"
    f"&X-Amz-Expires=0060&X-Amz-SignedHeaders=host%3Bx-amz-acl&X-Amz-Signature={SIGNATURE}"
)


def test_claim_of_a_header() -> None:
    headers = [("AUTHORIZATION", AUTHORIZATION), ("X-Amz-Date", " 20260304T050607Z ")]
    claim = read_claim(take_apart(SignedRequest("GET", "/k", "a=b", headers)), "s3")
    assert (claim.access_key_id, claim.scope_date, claim.region) == ("AK", "20260304", "auto")
    assert claim.time == datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    assert (list(claim.signed_headers), claim.signature, claim.expires_s) == (["host"], SIGNATURE, None)
    assert not claim.presigned


def test_claim_of_a_query() -> None:
    claim = read_claim(take_apart(SignedRequest("GET", "/k", QUERY, [])), "s3")
    assert (claim.access_key_id, claim.timestamp, claim.expires_s) == ("AK", "20260304T050607Z", 60)
    assert list(claim.signed_headers) == ["host", "x-amz-acl"]
    assert claim.presigned


def test_no_claim() -> None:
    received = take_apart(SignedRequest("GET", "/k", "versionId=1&x-id=GetObject", [("x-amz-date", "x")]))
    assert claimed_access_key_id(received) is None
    with pytest.raises(S3Error, match="AccessDenied"):
        read_claim(received, "s3")


def test_nothing_shows_a_signature() -> None:
    for request in (
        SignedRequest("GET", "/k", QUERY, []),
        SignedRequest("GET", "/k", "", [("authorization", AUTHORIZATION)]),
    ):
        received = take_apart(request)
        assert SIGNATURE not in f"{request!r} {received!r}"
    assert SIGNATURE not in repr(read_claim(take_apart(SignedRequest("GET", "/k", QUERY, [])), "s3"))
