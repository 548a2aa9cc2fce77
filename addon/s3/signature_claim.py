"""What a request says of its own signature: found, taken apart, checked for form, and not yet believed.

Sources: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-auth-using-authorization-header.html and
…/sigv4-query-string-auth.html. Messages are those of AWS where they are known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise

from addon.s3.canonical_request import canonical_parameters, decoded_parameter
from addon.s3.errors import S3Error
from addon.s3.http_dates import parse_http_date
from addon.s3.payload import EMPTY_PAYLOAD, UNSIGNED_PAYLOAD, Payload, parse_payload

PRESIGNED_EXPIRES_S_MAX = 604_800
QUERY_CHARS_MAX = 65_536
ACCESS_KEY_ID_CHARS_MAX = 128

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"
SIGV4A_ALGORITHM_PREFIX = "AWS4-ECDSA-"

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

# The last second of the year 9999, after which datetime ends.
_TIME_S_MAX = 253_402_300_799

_ISO_BASIC = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z")
_SCOPE_DATE = re.compile(r"[0-9]{8}")
_ACCESS_KEY_ID = re.compile(rf"[!-~]{{1,{ACCESS_KEY_ID_CHARS_MAX}}}")
_REGION = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+\-.^_`|~]+")
_EXPIRES_S = re.compile(r"-?[0-9]+")


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What was received, as it was received.

    `raw_path` and `raw_query` are the request target's, still percent-encoded and never normalised, the query without its `?`.
    Header names may have any case. All text is Latin-1 of the bytes received, one character a byte: clients sign UTF-8, and so
    their bytes come back whatever they are.
    """

    method: str
    raw_path: str
    raw_query: str = field(repr=False)
    headers: Sequence[tuple[str, str]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Received:
    """A request taken apart once: header values by lower-case name, query parameters in canonical spelling."""

    request: SignedRequest
    headers: Mapping[str, Sequence[str]] = field(repr=False)
    parameters: Sequence[tuple[str, str]] = field(repr=False)
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
class Claim:
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


# ---- Finding the claim


def take_apart(request: SignedRequest) -> Received:
    """Find the claims of a request. Never raises."""
    headers: dict[str, list[str]] = {}
    for name, value in request.headers:
        headers.setdefault(name.lower(), []).append(value)
    # A longer query is refused unread by `verify`, and no anonymous request to `access_key_id`.
    readable = len(request.raw_query) <= QUERY_CHARS_MAX
    parameters = canonical_parameters(request.raw_query) if readable and request.raw_query else []
    names = {name.lower() for name, _ in parameters}
    return Received(
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
            return _key_of_credential(value, scope_parts=3 if scheme.startswith(SIGV4A_ALGORITHM_PREFIX) else 4)
    return ""


def _key_of_credential(credential: str, scope_parts: int = 4) -> str:
    """From the right, as an access key of an S3-compatible store may itself hold a slash. SigV4A's scope has no region."""
    parts = credential.rsplit("/", scope_parts)
    return parts[0] if len(parts) == scope_parts + 1 else credential.partition("/")[0]


def read_claim(received: Received, service: str) -> Claim:
    """The one claim of a request, well-formed. Raises S3Error; AccessDenied where there is none."""
    authorization = received.headers.get("authorization")
    mechanisms = (authorization is not None, received.claims_sigv4_query, received.claims_sigv2_query)
    if sum(mechanisms) > 1 or (authorization is not None and len(authorization) > 1):
        raise S3Error(
            "InvalidArgument",
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the "
            "Authorization header should be specified",
            # AWS also quotes the header; that would put a signature into logs.
            details={"ArgumentName": "Authorization"},
        )
    if authorization is not None:
        return _read_header_claim(received, authorization[0].strip(" \t"), service)
    if received.claims_sigv4_query:
        return _read_query_claim(received, service)
    if received.claims_sigv2_query:
        raise sigv2_refused()
    raise S3Error("AccessDenied", "Access Denied")


def claimed_access_key_id(received: Received) -> str | None:
    """See `addon.sigv4.access_key_id`."""
    authorization = received.headers.get("authorization")
    if authorization is not None:
        return _claimed_in_header(authorization[0])
    by_name = {name.lower(): value for name, value in reversed(received.parameters)}
    if received.claims_sigv4_query:
        return _key_of_credential(decoded_parameter(by_name.get("x-amz-credential", "")))
    if received.claims_sigv2_query:
        return decoded_parameter(by_name.get("awsaccesskeyid", ""))
    return "" if len(received.request.raw_query) > QUERY_CHARS_MAX else None


# ---- Authorization header


def _read_header_claim(received: Received, authorization: str, service: str) -> Claim:
    scheme, _, rest = authorization.partition(" ")
    if scheme.startswith(SIGV4A_ALGORITHM_PREFIX):
        raise sigv4a_refused("Authorization")
    if scheme == "AWS":
        raise sigv2_refused()
    if scheme != ALGORITHM:
        raise S3Error("InvalidArgument", "Unsupported Authorization Type", details={"ArgumentName": "Authorization"})
    components = _authorization_components(rest)
    key_id, scope_date, region = read_credential(components["Credential"], service, _header_malformed)
    timestamp, time = _header_time(received)
    if scope_date != timestamp[:8]:
        raise _header_malformed("Invalid credential date. Date is not the same as X-Amz-Date.")
    return Claim(
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


def _header_time(received: Received) -> tuple[str, datetime]:
    """`x-amz-date`, else `Date` (ISO 8601 basic or an HTTP date): the timestamp that was signed, and when it is."""
    amz_date = received.only_header("x-amz-date")
    date = received.only_header("date") if amz_date is None else None
    text = amz_date if amz_date is not None else date or ""
    time = parse_iso_basic(text)
    if time is not None:
        return text, time
    seconds = parse_http_date(date) if date is not None else None
    if seconds is None or not 0 <= seconds <= _TIME_S_MAX:
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
    time = datetime.fromtimestamp(seconds, UTC)
    return time.strftime("%Y%m%dT%H%M%SZ"), time


def _header_payload(received: Received) -> Payload:
    """What was signed of the body.

    AWS wants `x-amz-content-sha256` on every such request. curl before 8.0 does not send it with `--aws-sigv4`: for a request
    without a body it signs the hash of nothing, which is taken here. For an upload with `-T` it signs the hash of nothing as
    well, so the signature says nothing of the body: such a request is refused as AWS does, and its sender adds
    `-H 'x-amz-content-sha256: UNSIGNED-PAYLOAD'`. (With `--data-binary` it signs the body's hash; to learn that, an
    unauthenticated body would have to be read.) Where HTTP/2 hides that a body follows, the empty hash still refuses it at the
    end.
    """
    value = received.only_header("x-amz-content-sha256")
    if value is not None:
        return parse_payload(value)
    if "transfer-encoding" in received.headers or received.headers.get("content-length", ["0"]) != ["0"]:
        raise S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    return EMPTY_PAYLOAD


# ---- Presigned URL


def _read_query_claim(received: Received, service: str) -> Claim:
    values = _presigned_parameters(received)
    if values.get("X-Amz-Algorithm", "").startswith(SIGV4A_ALGORITHM_PREFIX):
        raise sigv4a_refused("X-Amz-Algorithm")
    if any(not values.get(name) for name in _PRESIGNED_REQUIRED):
        raise _query_malformed(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, "
            "X-Amz-SignedHeaders, and X-Amz-Expires parameters."
        )
    if values["X-Amz-Algorithm"] != ALGORITHM:
        raise _query_malformed('X-Amz-Algorithm only supports "AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256"')
    key_id, scope_date, region = read_credential(values["X-Amz-Credential"], service, credential_malformed)
    timestamp = values["X-Amz-Date"]
    time = parse_iso_basic(timestamp)
    if time is None:
        raise _query_malformed("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    if scope_date != timestamp[:8]:
        raise _query_malformed(
            f'Invalid credential date "{scope_date}". This date is not the same as X-Amz-Date: "{timestamp[:8]}".'
        )
    return Claim(
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


def _presigned_parameters(received: Received) -> dict[str, str]:
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


def _query_payload(received: Received, parameter: str | None) -> Payload:
    """UNSIGNED-PAYLOAD, unless the URL was signed with another: as a parameter (SDKs that hoist headers) or a signed header."""
    header = received.only_header("x-amz-content-sha256")
    if header is not None and parameter is not None and header != parameter:
        raise S3Error(
            "InvalidArgument",
            "x-amz-content-sha256 was given as a header and as a query parameter, and they differ.",
            details={"ArgumentName": "x-amz-content-sha256"},
        )
    value = parameter if header is None else header
    return UNSIGNED_PAYLOAD if value is None else parse_payload(value)


# ---- What both mechanisms share


def read_credential(credential: str, service: str, malformed: Callable[[str], S3Error]) -> tuple[str, str, str]:
    """Access key, scope date and region. Raises what `malformed` makes of the reason."""
    parts = credential.rsplit("/", 4)
    if len(parts) != 5 or not _ACCESS_KEY_ID.fullmatch(parts[0]) or not _REGION.fullmatch(parts[2]):
        raise malformed('the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".')
    key_id, scope_date, region, scope_service, terminator = parts
    if not _SCOPE_DATE.fullmatch(scope_date):
        raise malformed('incorrect date format. This date in the credential must be in the format "yyyyMMdd".')
    if scope_service != service:
        raise malformed(f'incorrect service. This endpoint belongs to "{service}".')
    if terminator != TERMINATOR:
        raise malformed(f'incorrect terminal. This endpoint uses "{TERMINATOR}".')
    return key_id, scope_date, region


def _read_signed_headers(text: str, malformed: Callable[[str], S3Error]) -> Sequence[str]:
    """Lower case, sorted, each once, as the canonical request has them; AWS compares that one spelling."""
    names = text.split(";")
    if not all(map(_HEADER_NAME.fullmatch, names)) or any(a >= b for a, b in pairwise(names)):
        raise malformed("SignedHeaders must be lower-case header names, sorted, each once, separated by semicolons.")
    return names


def parse_iso_basic(text: str) -> datetime | None:
    """The time of an `x-amz-date`, `yyyyMMddTHHmmssZ`; None where it is none."""
    match = _ISO_BASIC.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups())
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


# ---- Refusals


def _header_malformed(what: str) -> S3Error:
    return S3Error("AuthorizationHeaderMalformed", f"The authorization header is malformed; {what}")


def _query_malformed(what: str) -> S3Error:
    return S3Error("AuthorizationQueryParametersError", what)


def credential_malformed(what: str) -> S3Error:
    """The refusal of a credential that stands in a parameter or field."""
    return _query_malformed(f"Error parsing the X-Amz-Credential parameter; {what}")


def sigv2_refused() -> S3Error:
    """The refusal of Signature Version 2."""
    return S3Error(
        "InvalidRequest",
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
    )


def sigv4a_refused(where: str) -> S3Error:
    """The refusal of Signature Version 4A, which the header, parameter or field `where` asks for."""
    return S3Error(
        "NotImplemented",
        "A header you provided implies functionality that is not implemented: AWS Signature Version 4A is not supported.",
        details={"Header": where},
    )
