"""AWS Signature Version 4 as a server reads it: which key a request claims to be signed with, and whether that is true.

Sources: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-auth-using-authorization-header.html, …/sigv4-query-string-auth.html and
…/ErrorResponses.html.

Rules of this file
- There is one way in, `verify`, and one order of checks in it: mechanism, form, time, payload, signed headers, signature. Nothing
  depends on the payload's kind or on where the credentials stand, so no combination can come past the signature.
- `access_key_id` and `verify` look for a claim with the same function: what one takes for signed, the other does.
- Whatever cannot be understood is a claim that fails, never an anonymous request.
- No error holds a signature, a string to sign or a canonical request. AWS puts them into SignatureDoesNotMatch, where they help to debug
  a client; but a canonical request holds presigned parameters, answers are logged, and an expected signature is a credential.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from addon.s3.canonical_request import (
    canonical_headers,
    canonical_parameters,
    canonical_path,
    canonical_query,
    decoded_parameter,
)
from addon.s3.errors import S3Error
from addon.s3.http_dates import parse_http_date
from addon.s3.payload import EMPTY_PAYLOAD, UNSIGNED_PAYLOAD, ChunkSigning, Payload, PayloadKind, parse_payload

__all__ = ["ChunkSigning", "Payload", "PayloadKind", "SignedRequest", "Verified", "access_key_id", "verify"]

SKEW_MAX = timedelta(minutes=15)
PRESIGNED_EXPIRES_S_MAX = 604_800
QUERY_CHARS_MAX = 65_536
ACCESS_KEY_ID_CHARS_MAX = 128
SIGNING_KEYS_CACHED_MAX = 256

_ALGORITHM = "AWS4-HMAC-SHA256"
_SIGV4A_ALGORITHM_PREFIX = "AWS4-ECDSA-"
_TERMINATOR = "aws4_request"

# Parameters that say "this query is signed", compared without case; the second set is that of Signature Version 2.
_SIGV4_CLAIMS = frozenset({"x-amz-algorithm", "x-amz-credential", "x-amz-signature"})
_SIGV2_CLAIMS = frozenset({"awsaccesskeyid", "signature"})
_PRESIGNED_REQUIRED = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Signature",
    "X-Amz-Date",
    "X-Amz-SignedHeaders",
    "X-Amz-Expires",
)
_PRESIGNED_OPTIONAL = ("X-Amz-Content-Sha256", "X-Amz-Security-Token")
_PRESIGNED_BY_LOWER_NAME = {name.lower(): name for name in (*_PRESIGNED_REQUIRED, *_PRESIGNED_OPTIONAL)}

_ISO_BASIC = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z")
_SCOPE_DATE = re.compile(r"[0-9]{8}")
_ACCESS_KEY_ID = re.compile(rf"[!-~]{{1,{ACCESS_KEY_ID_CHARS_MAX}}}")
_REGION = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+\-.^_`|~]+")
_EXPIRES_S = re.compile(r"-?[0-9]+")

# Signs in place of the secret of an access key that nobody holds, so that known and unknown keys take the same path.
_NOBODYS_SECRET = "nobody holds this key"  # noqa: S105 - opens nothing: without a secret `verify` always refuses


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What was received, as it was received.

    `raw_path` and `raw_query` are the request target's, still percent-encoded and never normalised, the query without its `?`. Header
    names may have any case. All text is Latin-1 of the bytes received, one character a byte: clients sign UTF-8, and so their bytes come
    back whatever they are.
    """

    method: str
    raw_path: str
    raw_query: str
    headers: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Verified:
    """A request whose signature is right.

    Its body is still a claim: `payload` says what it must be, and `chunk_signing` (for aws-chunked forms with signed chunks, else None)
    what its chunks' signatures are computed with. `signed_headers` are lower-case names. `presigned` means query authentication.
    """

    access_key_id: str
    payload: Payload
    presigned: bool
    signed_headers: frozenset[str]
    chunk_signing: ChunkSigning | None


@dataclass(frozen=True, slots=True)
class _Received:
    """A request taken apart once: header values by lower-case name, query parameters in canonical spelling."""

    request: SignedRequest
    headers: Mapping[str, Sequence[str]]
    parameters: Sequence[tuple[str, str]]
    claims_sigv4_query: bool
    claims_sigv2_query: bool

    def only_header(self, name: str) -> str | None:
        """The value of a header that may stand only once. Raises InvalidArgument."""
        values = self.headers.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise S3Error("InvalidArgument", f"The header {name} was given more than once.", {"ArgumentName": name})
        return values[0].strip(" \t")


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a request says of its own signature: everything parsed, nothing believed."""

    access_key_id: str
    scope_date: str
    region: str
    signed_headers: Sequence[str]
    signature: str = field(repr=False)
    timestamp: str
    time: datetime
    payload: Payload
    expires_s: int | None

    @property
    def presigned(self) -> bool:
        return self.expires_s is not None


def access_key_id(request: SignedRequest) -> str | None:
    """The access key that a request claims to be signed with, by whatever mechanism; None only for an anonymous request.

    Empty where a request claims to be signed and its key cannot be read. Never raises. It is a claim for routing, nothing more.
    """
    received = _take_apart(request)
    authorization = received.headers.get("authorization")
    if authorization is not None:
        return _claimed_in_header(authorization[0])
    by_name = {name.lower(): value for name, value in reversed(received.parameters)}
    if received.claims_sigv4_query:
        return _key_of_credential(decoded_parameter(by_name.get("x-amz-credential", "")))
    if received.claims_sigv2_query:
        return decoded_parameter(by_name.get("awsaccesskeyid", ""))
    return "" if len(request.raw_query) > QUERY_CHARS_MAX else None


def verify(
    request: SignedRequest, *, secret_for: Callable[[str], str | None], now: datetime, service: str = "s3"
) -> Verified:
    """Verify the signature of a request; raises the S3Error that AWS gives.

    `secret_for` gives the secret of an access key, or None; `now` is an aware datetime. `service` is that of the credential scope; any
    region is taken, as a bucket reached under another name has no region of its own. An anonymous request is refused with AccessDenied:
    whether such a one may do anything is not for this module to say.
    """
    received = _take_apart(request)
    if len(request.raw_query) > QUERY_CHARS_MAX or not request.raw_path.startswith("/"):
        raise S3Error("InvalidURI", "Couldn't parse the specified URI.")
    claim = _read_claim(received, service)
    if claim.presigned:
        _check_presigned_period(claim, now)
    else:
        _check_skew(claim, now)
    _check_signed_headers(received, claim)

    scope = f"{claim.scope_date}/{claim.region}/{service}/{_TERMINATOR}"
    secret = secret_for(claim.access_key_id)
    signing_key = _signing_key(secret or _NOBODYS_SECRET, claim.scope_date, claim.region, service)
    matches = _signature_matches(received, claim, signing_key, scope)
    if not secret:
        raise S3Error(
            "InvalidAccessKeyId",
            "The AWS Access Key Id you provided does not exist in our records.",
            details={"AWSAccessKeyId": claim.access_key_id},
        )
    if not matches:
        raise _signature_does_not_match(claim.access_key_id)
    _refuse_session_token(received)

    signing = None
    if claim.payload.has_signed_chunks:
        signing = ChunkSigning(signing_key, claim.timestamp, scope, claim.signature)
    return Verified(claim.access_key_id, claim.payload, claim.presigned, frozenset(claim.signed_headers), signing)


# ---- Finding the claim


def _take_apart(request: SignedRequest) -> _Received:
    headers: dict[str, list[str]] = {}
    for name, value in request.headers:
        headers.setdefault(name.lower(), []).append(value)
    # A longer query is refused unread by `verify`, and no anonymous request to `access_key_id`.
    readable = len(request.raw_query) <= QUERY_CHARS_MAX
    parameters = canonical_parameters(request.raw_query) if readable and request.raw_query else []
    names = {name.lower() for name, _ in parameters}
    return _Received(
        request=request,
        headers=headers,
        parameters=parameters,
        claims_sigv4_query=not names.isdisjoint(_SIGV4_CLAIMS),
        claims_sigv2_query=not names.isdisjoint(_SIGV2_CLAIMS),
    )


def _claimed_in_header(authorization: str) -> str:
    scheme, _, rest = authorization.strip(" \t").partition(" ")
    if scheme == "AWS":
        return rest.strip(" \t").partition(":")[0]
    for piece in rest.split(","):
        name, _, value = piece.strip(" \t").partition("=")
        if name == "Credential":
            return _key_of_credential(value, scope_parts=3 if scheme.startswith(_SIGV4A_ALGORITHM_PREFIX) else 4)
    return ""


def _key_of_credential(credential: str, scope_parts: int = 4) -> str:
    """From the right, as an access key of an S3-compatible store may itself hold a slash. SigV4A's scope has no region."""
    parts = credential.rsplit("/", scope_parts)
    return parts[0] if len(parts) == scope_parts + 1 else credential.partition("/")[0]


def _read_claim(received: _Received, service: str) -> _Claim:
    authorization = received.headers.get("authorization")
    mechanisms = (authorization is not None, received.claims_sigv4_query, received.claims_sigv2_query)
    if sum(mechanisms) > 1 or (authorization is not None and len(authorization) > 1):
        raise S3Error(
            "InvalidArgument",
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the "
            "Authorization header should be specified",
            details={
                "ArgumentName": "Authorization"
            },  # AWS also quotes the header; that would put a signature into logs.
        )
    if authorization is not None:
        return _read_header_claim(received, authorization[0].strip(" \t"), service)
    if received.claims_sigv4_query:
        return _read_query_claim(received, service)
    if received.claims_sigv2_query:
        raise _sigv2()
    raise S3Error("AccessDenied", "Access Denied")


# ---- Authorization header


def _read_header_claim(received: _Received, authorization: str, service: str) -> _Claim:
    scheme, _, rest = authorization.partition(" ")
    if scheme.startswith(_SIGV4A_ALGORITHM_PREFIX):
        raise _sigv4a("Authorization")
    if scheme == "AWS":
        raise _sigv2()
    if scheme != _ALGORITHM:
        raise S3Error("InvalidArgument", "Unsupported Authorization Type", details={"ArgumentName": "Authorization"})
    components = _authorization_components(rest)
    key_id, scope_date, region = _read_credential(components["Credential"], service, _header_malformed)
    timestamp, time = _header_time(received)
    if scope_date != timestamp[:8]:
        raise _header_malformed("Invalid credential date. Date is not the same as X-Amz-Date.")
    return _Claim(
        access_key_id=key_id,
        scope_date=scope_date,
        region=region,
        signed_headers=_read_signed_headers(components["SignedHeaders"], _header_malformed),
        signature=components["Signature"],
        timestamp=timestamp,
        time=time,
        payload=_header_payload(received),
        expires_s=None,
    )


def _authorization_components(text: str) -> dict[str, str]:
    """The three fields, each exactly once. Clients separate them by a comma with or without a blank."""
    components: dict[str, str] = {}
    for piece in text.split(","):
        name, equals, value = piece.strip(" \t").partition("=")
        if not equals or name in components or name not in {"Credential", "SignedHeaders", "Signature"}:
            raise _header_malformed(
                "the authorization header requires three components: Credential, SignedHeaders, and Signature."
            )
        components[name] = value
    for name in ("Credential", "SignedHeaders", "Signature"):
        if not components.get(name):
            raise _header_malformed(f"missing {name}.")
    return components


def _header_time(received: _Received) -> tuple[str, datetime]:
    """`x-amz-date`, else `Date` (ISO 8601 basic or an HTTP date): the timestamp that was signed, and when it is."""
    amz_date = received.only_header("x-amz-date")
    date = received.only_header("date") if amz_date is None else None
    text = amz_date if amz_date is not None else date or ""
    time = _parse_iso_basic(text)
    if time is not None:
        return text, time
    seconds = parse_http_date(date) if date is not None else None
    if seconds is None or seconds < 0:
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
    time = datetime.fromtimestamp(seconds, UTC)
    return time.strftime("%Y%m%dT%H%M%SZ"), time


def _header_payload(received: _Received) -> Payload:
    """What was signed of the body.

    AWS wants `x-amz-content-sha256` on every such request. curl before 8.0 does not send it with `--aws-sigv4`: for a request without a
    body it signs the hash of nothing, which is taken here. For an upload with `-T` it signs the hash of nothing as well, so
    the signature says nothing of the body: such a request is refused as AWS does, and its sender adds
    `-H 'x-amz-content-sha256: UNSIGNED-PAYLOAD'`. (With `--data-binary` it signs the body's hash; to learn that, an unauthenticated body
    would have to be read.) Where HTTP/2 hides that a body follows, the empty hash still refuses it at the end.
    """
    value = received.only_header("x-amz-content-sha256")
    if value is not None:
        return parse_payload(value)
    if "transfer-encoding" in received.headers or received.headers.get("content-length", ["0"]) != ["0"]:
        raise S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    return EMPTY_PAYLOAD


def _check_skew(claim: _Claim, now: datetime) -> None:
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


# ---- Presigned URL


def _read_query_claim(received: _Received, service: str) -> _Claim:
    values = _presigned_parameters(received)
    if any(not values.get(name) for name in _PRESIGNED_REQUIRED):
        raise _query_malformed(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, "
            "X-Amz-SignedHeaders, and X-Amz-Expires parameters."
        )
    if values["X-Amz-Algorithm"].startswith(_SIGV4A_ALGORITHM_PREFIX):
        raise _sigv4a("X-Amz-Algorithm")
    if values["X-Amz-Algorithm"] != _ALGORITHM:
        raise _query_malformed('X-Amz-Algorithm only supports "AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256"')
    key_id, scope_date, region = _read_credential(values["X-Amz-Credential"], service, _credential_malformed)
    timestamp = values["X-Amz-Date"]
    time = _parse_iso_basic(timestamp)
    if time is None:
        raise _query_malformed("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    if scope_date != timestamp[:8]:
        raise _query_malformed(
            f'Invalid credential date "{scope_date}". This date is not the same as X-Amz-Date: "{timestamp[:8]}".'
        )
    return _Claim(
        access_key_id=key_id,
        scope_date=scope_date,
        region=region,
        signed_headers=_read_signed_headers(values["X-Amz-SignedHeaders"], _query_malformed),
        signature=values["X-Amz-Signature"],
        timestamp=timestamp,
        time=time,
        payload=_query_payload(received, values.get("X-Amz-Content-Sha256")),
        expires_s=_read_expires(values["X-Amz-Expires"]),
    )


def _presigned_parameters(received: _Received) -> dict[str, str]:
    """The parameters of a presigned URL. Twice the same, also in another case, is refused: first and last must not differ."""
    values: dict[str, str] = {}
    for name, value in received.parameters:
        proper_name = _PRESIGNED_BY_LOWER_NAME.get(name.lower())
        if proper_name is None:
            continue
        if proper_name in values or name != proper_name:
            raise _query_malformed(f"{proper_name} must be given exactly once, and spelt so.")
        values[proper_name] = decoded_parameter(value)
    return values


def _read_expires(text: str) -> int:
    if not _EXPIRES_S.fullmatch(text):
        raise _query_malformed("X-Amz-Expires should be a number")
    if text.startswith("-"):
        raise _query_malformed("X-Amz-Expires must be non-negative")
    # The length first: Python does not convert thousands of digits.
    if len(text) > len(str(PRESIGNED_EXPIRES_S_MAX)) or int(text) > PRESIGNED_EXPIRES_S_MAX:
        raise _query_malformed(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds"
        )
    if int(text) == 0:
        raise _query_malformed("X-Amz-Expires must be at least 1 second")
    return int(text)


def _query_payload(received: _Received, parameter: str | None) -> Payload:
    """UNSIGNED-PAYLOAD, unless the URL was signed with a payload: as a parameter (SDKs that hoist headers), or as a signed header."""
    header = received.only_header("x-amz-content-sha256")
    if header is not None and parameter is not None and header != parameter:
        raise S3Error(
            "InvalidArgument",
            "x-amz-content-sha256 was given as a header and as a query parameter, and they differ.",
            details={"ArgumentName": "x-amz-content-sha256"},
        )
    value = parameter if header is None else header
    return UNSIGNED_PAYLOAD if value is None else parse_payload(value)


def _check_presigned_period(claim: _Claim, now: datetime) -> None:
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


# ---- What both mechanisms share


def _read_credential(credential: str, service: str, malformed: Callable[[str], S3Error]) -> tuple[str, str, str]:
    """Access key, scope date and region."""
    parts = credential.rsplit("/", 4)
    if len(parts) != 5 or not _ACCESS_KEY_ID.fullmatch(parts[0]) or not _REGION.fullmatch(parts[2]):
        raise malformed('the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".')
    key_id, scope_date, region, scope_service, terminator = parts
    if not _SCOPE_DATE.fullmatch(scope_date):
        raise malformed('incorrect date format. This date in the credential must be in the format "yyyyMMdd".')
    if scope_service != service:
        raise malformed(f'incorrect service. This endpoint belongs to "{service}".')
    if terminator != _TERMINATOR:
        raise malformed(f'incorrect terminal. This endpoint uses "{_TERMINATOR}".')
    return key_id, scope_date, region


def _read_signed_headers(text: str, malformed: Callable[[str], S3Error]) -> Sequence[str]:
    """Lower case, sorted, each once, as the canonical request has them; AWS compares that one spelling."""
    names = text.split(";")
    if not all(map(_HEADER_NAME.fullmatch, names)) or any(a >= b for a, b in zip(names, names[1:], strict=False)):
        raise malformed("SignedHeaders must be lower-case header names, sorted, each once, separated by semicolons.")
    return names


def _check_signed_headers(received: _Received, claim: _Claim) -> None:
    """`host` and every `x-amz-*` header must be signed: what is not could have been added on the way."""
    signed = claim.signed_headers
    unsigned = [name for name in received.headers if name.startswith("x-amz-") and name not in signed]
    if "host" not in signed:
        unsigned.append("host")
    if unsigned:
        raise S3Error(
            "AccessDenied",
            "There were headers present in the request which were not signed",
            details={"HeadersNotSigned": ", ".join(sorted(unsigned))},
        )
    received.only_header("host")


def _signature_matches(received: _Received, claim: _Claim, signing_key: bytes, scope: str) -> bool:
    request = received.request
    parameters = received.parameters
    if claim.presigned:
        parameters = [pair for pair in parameters if pair[0] != "X-Amz-Signature"]
    tail = (
        f"{canonical_query(parameters)}\n{canonical_headers(claim.signed_headers, received.headers)}\n"
        f"{';'.join(claim.signed_headers)}\n{claim.payload.declared}"
    )
    path = canonical_path(request.raw_path)
    # Some clients sign the spelling that they send (curl: `%7E`, `%2F`, lower-case hex). Both spell the same key, so both are taken.
    spellings = (path,) if path == request.raw_path else (path, request.raw_path)
    provided = claim.signature.encode("utf-8", "surrogatepass")
    for spelling in spellings:
        try:
            canonical_request = f"{request.method}\n{spelling}\n{tail}".encode("latin-1")
        except UnicodeEncodeError:
            return False  # Not decoded from Latin-1, so these are not the bytes that were received.
        string_to_sign = (
            f"{_ALGORITHM}\n{claim.timestamp}\n{scope}\n{hashlib.sha256(canonical_request).hexdigest()}".encode("ascii")
        )
        expected = hmac.digest(signing_key, string_to_sign, "sha256").hex().encode("ascii")
        if hmac.compare_digest(expected, provided):
            return True
    return False


@lru_cache(maxsize=SIGNING_KEYS_CACHED_MAX)
def _signing_key(secret: str, scope_date: str, region: str, service: str) -> bytes:
    key = ("AWS4" + secret).encode("utf-8")
    for part in (scope_date, region, service, _TERMINATOR):
        key = hmac.digest(key, part.encode("ascii"), "sha256")
    return key


def _refuse_session_token(received: _Received) -> None:
    """Temporary credentials come from AWS STS and mean nothing here; as on AWS, a token that nobody gave out is invalid."""
    names = {name.lower() for name, _ in received.parameters}
    if "x-amz-security-token" in received.headers or "x-amz-security-token" in names:
        raise S3Error("InvalidToken", "The provided token is malformed or otherwise invalid.")


def _parse_iso_basic(text: str) -> datetime | None:
    match = _ISO_BASIC.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups())
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


def _iso_extended(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# ---- Refusals


def _header_malformed(what: str) -> S3Error:
    return S3Error("AuthorizationHeaderMalformed", f"The authorization header is malformed; {what}")


def _query_malformed(what: str) -> S3Error:
    return S3Error("AuthorizationQueryParametersError", what)


def _credential_malformed(what: str) -> S3Error:
    return _query_malformed(f"Error parsing the X-Amz-Credential parameter; {what}")


def _signature_does_not_match(key_id: str) -> S3Error:
    return S3Error(
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
        details={"AWSAccessKeyId": key_id},
    )


def _sigv2() -> S3Error:
    return S3Error(
        "InvalidRequest",
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
    )


def _sigv4a(where: str) -> S3Error:
    return S3Error(
        "NotImplemented",
        "A header you provided implies functionality that is not implemented: AWS Signature Version 4A is not supported.",
        details={"Header": where},
    )
