"""AWS Signature Version 4 as a server reads it: which key a request claims to be signed with, and whether that is true.

Sources: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-auth-using-authorization-header.html,
…/sigv4-query-string-auth.html and …/ErrorResponses.html.

Rules of this file
- There is one way in for requests, `verify`, and one order of checks in it: mechanism, form, time, signed headers, signature.
  Nothing depends on the payload's kind or on where the credentials stand, so no combination can come past the signature.
- A browser's form signs its policy instead of its request, so it has a way in of its own, `verify_post_policy`, with the same
  order. What its signature says ends with the policy: whoever calls it holds the form and the time against that.
- Both ways end in `_believe`, which has the one place that says who holds a key.
- `access_key_id` and `verify` look for a claim with the same function: what one takes for signed, the other does.
- Whatever cannot be understood is a claim that fails, never an anonymous request.
- No error holds a signature, a string to sign or a canonical request. AWS puts them into SignatureDoesNotMatch, where they help
  to debug a client; but a canonical request holds presigned parameters, answers are logged, and an expected signature is a
  credential.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from addon.s3.canonical_request import canonical_headers, canonical_path, canonical_query
from addon.s3.errors import S3Error
from addon.s3.payload import ChunkSigning, Payload, PayloadKind
from addon.s3.post_claim import read_post_claim
from addon.s3.signature_claim import (
    ALGORITHM,
    QUERY_CHARS_MAX,
    TERMINATOR,
    Claim,
    Received,
    SignedRequest,
    claimed_access_key_id,
    read_claim,
    take_apart,
)

__all__ = [
    "ChunkSigning",
    "Payload",
    "PayloadKind",
    "SignedRequest",
    "Verified",
    "access_key_id",
    "verify",
    "verify_post_policy",
]

SKEW_MAX = timedelta(minutes=15)
SIGNING_KEYS_CACHED_MAX = 256

# Signs in place of the secret of an access key that nobody holds, so that known and unknown keys take the same path.
_NOBODYS_SECRET = "nobody holds this key"  # noqa: S105 - opens nothing: without a secret `verify` always refuses


@dataclass(frozen=True, slots=True)
class Verified:
    """A request whose signature is right.

    Its body is still a claim: `payload` says what it must be, and `chunk_signing` (for aws-chunked forms with signed chunks,
    else None) what its chunks' signatures are computed with. `signed_headers` are lower-case names. `presigned` means query
    authentication.
    """

    access_key_id: str
    payload: Payload
    presigned: bool
    signed_headers: frozenset[str]
    chunk_signing: ChunkSigning | None


def access_key_id(request: SignedRequest) -> str | None:
    """The access key that a request claims to be signed with, by whatever mechanism; None only for an anonymous request.

    Empty where a request claims to be signed and its key cannot be read. Never raises. It is a claim for routing, nothing more.
    """
    return claimed_access_key_id(take_apart(request))


def verify(
    request: SignedRequest, *, secret_for: Callable[[str], str | None], now: datetime, service: str = "s3"
) -> Verified:
    """Verify the signature of a request; raises the S3Error that AWS gives.

    `secret_for` gives the secret of an access key, or None; `now` is an aware datetime. `service` is that of the credential
    scope; any region is taken, as a bucket reached under another name has no region of its own. An anonymous request is refused
    with AccessDenied: whether such a one may do anything is not for this module to say.
    """
    received = take_apart(request)
    if len(request.raw_query) > QUERY_CHARS_MAX or not request.raw_path.startswith("/"):
        raise S3Error("InvalidURI", "Couldn't parse the specified URI.")
    claim = read_claim(received, service)
    if claim.presigned:
        _check_presigned_period(claim, now)
    else:
        _check_skew(claim, now)
    _check_signed_headers(received, claim)

    scope = f"{claim.scope_date}/{claim.region}/{service}/{TERMINATOR}"
    secret = secret_for(claim.access_key_id)
    signing_key = _signing_key(secret or _NOBODYS_SECRET, claim.scope_date, claim.region, service)
    matches = _signature_matches(received, claim, signing_key, scope)
    _believe(claim.access_key_id, secret, matches=matches)
    names = {name.lower() for name, _ in received.parameters} | received.headers.keys()
    _refuse_session_token(names)

    signing = None
    if claim.payload.has_signed_chunks:
        signing = ChunkSigning(signing_key, claim.timestamp, scope, claim.signature)
    return Verified(claim.access_key_id, claim.payload, claim.presigned, frozenset(claim.signed_headers), signing)


def verify_post_policy(
    fields: Mapping[str, str], *, secret_for: Callable[[str], str | None], service: str = "s3"
) -> str:
    """Verify the signature over the policy of a browser's form, and return the access key that signed it.

    `fields` are the form's, names in lower case, none of them expanded. The policy's text is what was signed, and the rest of the
    form is worth what the policy says of it: its conditions and its expiration are the caller's to check. Raises the S3Error that
    AWS gives; AccessDenied for a form without a signature.
    """
    claim = read_post_claim(fields, service)
    secret = secret_for(claim.access_key_id)
    signing_key = _signing_key(secret or _NOBODYS_SECRET, claim.scope_date, claim.region, service)
    # The string to sign is the base64 text itself: .../sigv4-authentication-HTTPPOST.html
    expected = hmac.digest(signing_key, claim.policy.encode("utf-8"), "sha256").hex().encode("ascii")
    provided = claim.signature.encode("utf-8", "surrogatepass")
    _believe(claim.access_key_id, secret, matches=hmac.compare_digest(expected, provided))
    _refuse_session_token(fields.keys())
    return claim.access_key_id


def _believe(key_id: str, secret: str | None, *, matches: bool) -> None:
    """Raises InvalidAccessKeyId where nobody holds the key, SignatureDoesNotMatch where the signature is not the holder's."""
    if not secret:
        raise S3Error(
            "InvalidAccessKeyId",
            "The AWS Access Key Id you provided does not exist in our records.",
            details={"AWSAccessKeyId": key_id},
        )
    if not matches:
        raise _signature_does_not_match(key_id)


def _check_skew(claim: Claim, now: datetime) -> None:
    if abs(now - claim.time) > SKEW_MAX:
        raise S3Error(
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
            details={
                "RequestTime": claim.timestamp,
                "ServerTime": _iso_extended(now),
                "MaxAllowedSkewMilliseconds": str(SKEW_MAX // timedelta(milliseconds=1)),
            },
        )


def _check_presigned_period(claim: Claim, now: datetime) -> None:
    # In this order: a date near the end of the calendar could not be added to.
    if claim.time - now > SKEW_MAX:
        raise S3Error("AccessDenied", "Request is not valid yet", details={"ServerTime": _iso_extended(now)})
    expires = claim.time + timedelta(seconds=claim.expires_s or 0)
    if now > expires:
        raise S3Error(
            "AccessDenied",
            "Request has expired",
            details={
                "X-Amz-Expires": str(claim.expires_s),
                "Expires": _iso_extended(expires),
                "ServerTime": _iso_extended(now),
            },
        )


def _check_signed_headers(received: Received, claim: Claim) -> None:
    """`host` and every `x-amz-*` header must be signed: what is not could have been added on the way."""
    signed = frozenset(claim.signed_headers)
    unsigned = [name for name in received.headers if name.startswith("x-amz-") and name not in signed]
    if "host" not in signed:
        unsigned.append("host")
    if unsigned:
        raise S3Error(
            "AccessDenied",
            "There were headers present in the request which were not signed",
            details={"HeadersNotSigned": ", ".join(sorted(unsigned))},
        )


def _signature_matches(received: Received, claim: Claim, signing_key: bytes, scope: str) -> bool:
    parameters = received.parameters
    if claim.presigned:
        parameters = [pair for pair in parameters if pair[0] != "X-Amz-Signature"]
    query = canonical_query(parameters)
    signed_names, payload = ";".join(claim.signed_headers), claim.payload.declared
    # A header value with a line break could pass for further headers; no HTTP parser lets one through, and neither does this.
    lines = 5 + len(claim.signed_headers)
    provided = claim.signature.encode("utf-8", "surrogatepass")
    for path, host in _spellings(received):
        headers = canonical_headers(claim.signed_headers, {**received.headers, "host": [host]})
        try:
            canonical_request = (
                f"{received.request.method}\n{path}\n{query}\n{headers}\n{signed_names}\n{payload}".encode("latin-1")
            )
        except UnicodeEncodeError:
            return False  # Not decoded from Latin-1, so these are not the bytes that were received.
        digest = hashlib.sha256(canonical_request).hexdigest()
        string_to_sign = f"{ALGORITHM}\n{claim.timestamp}\n{scope}\n{digest}".encode("ascii")
        expected = hmac.digest(signing_key, string_to_sign, "sha256").hex().encode("ascii")
        if hmac.compare_digest(expected, provided) and canonical_request.count(b"\n") == lines:
            return True
    return False


def _spellings(received: Received) -> Iterator[tuple[str, str]]:
    """The paths and hosts that may have been signed, the canonical ones first.

    Some clients sign the path as they spell it (curl: `%7E`, lower-case hex), some leave a default port out of what they sign
    only. All spellings mean the same key on the same host, so each may be taken.
    """
    raw_path = received.request.raw_path
    path = canonical_path(raw_path)
    host = received.only_header("host") or ""
    yield path, host
    without_port = host.removesuffix(":443").removesuffix(":80")
    if raw_path != path:
        yield raw_path, host
    if without_port != host:
        yield path, without_port
    if raw_path != path and without_port != host:
        yield raw_path, without_port


@lru_cache(maxsize=SIGNING_KEYS_CACHED_MAX)
def _signing_key(secret: str, scope_date: str, region: str, service: str) -> bytes:
    key = ("AWS4" + secret).encode("utf-8")
    for part in (scope_date, region, service, TERMINATOR):
        key = hmac.digest(key, part.encode("ascii"), "sha256")
    return key


def _refuse_session_token(names: Collection[str]) -> None:
    """Temporary credentials come from AWS STS and mean nothing here; as on AWS, a token that nobody gave out is invalid."""
    if "x-amz-security-token" in names:
        raise S3Error("InvalidToken", "The provided token is malformed or otherwise invalid.")


def _iso_extended(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _signature_does_not_match(key_id: str) -> S3Error:
    return S3Error(
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
        details={"AWSAccessKeyId": key_id},
    )
