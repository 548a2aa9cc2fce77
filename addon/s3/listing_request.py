"""What a ListObjects (V1) or ListObjectsV2 request asks for.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjects.html, …/API_ListObjectsV2.html
"""

from __future__ import annotations

from dataclasses import dataclass

from addon.s3.errors import S3Error
from addon.s3.keys import KEY_BYTES_MAX
from addon.s3.listing_tokens import Place, place_of_marker, place_of_token
from addon.s3.query import parameters

LISTED_MAX = 1000
"""More entries than this are never given; a larger `max-keys` is answered as this one (AWS S3, and Ceph RGW 16 as tried)."""

_INTEGER_MAX = 2**31 - 1
_PARAMETERS = frozenset(
    {
        "continuation-token",
        "delimiter",
        "encoding-type",
        "fetch-owner",
        "marker",
        "max-keys",
        "prefix",
        "start-after",
    }
)


@dataclass(frozen=True, slots=True)
class ListingRequest:
    """A listing as it was asked for.

    `prefix` and `delimiter` are empty for none. `encode_url` says that names are to be percent-encoded in the answer, `owners` that
    entries have an Owner. `place` is where the page begins. `marker` is V1's; `start_after` and `continuation_token` are V2's, None
    where they were not given.
    """

    v2: bool
    prefix: str
    delimiter: str
    max_keys: int
    encode_url: bool
    owners: bool
    place: Place
    marker: str = ""
    start_after: str | None = None
    continuation_token: str | None = None


def parse_listing_request(raw_query: str, *, v2: bool) -> ListingRequest:
    """Raises InvalidArgument, KeyTooLongError, or InvalidURI for a query that is not UTF-8."""
    given: dict[str, str] = {}
    for name, value in parameters(raw_query):
        if name not in _PARAMETERS:
            continue
        if name in given:
            raise _invalid(name, f"The parameter {name} was given more than once.")
        given[name] = value
    encoding_type = given.get("encoding-type", "")
    if encoding_type not in ("", "url"):
        raise _invalid("encoding-type", "Invalid Encoding Method specified in Request", encoding_type)
    prefix, delimiter = _name(given, "prefix"), _name(given, "delimiter")
    max_keys = _max_keys(given.get("max-keys", ""))
    if not v2:
        marker = given.get("marker", "")
        place = place_of_marker(marker)
        if place is None:
            place = Place(_name(given, "marker"))
        return ListingRequest(False, prefix, delimiter, max_keys, bool(encoding_type), True, place, marker=marker)
    start_after = _name(given, "start-after") if "start-after" in given else None
    token = given.get("continuation-token")
    return ListingRequest(
        v2=True,
        prefix=prefix,
        delimiter=delimiter,
        max_keys=max_keys,
        encode_url=bool(encoding_type),
        owners=given.get("fetch-owner", "").lower() == "true",
        place=place_of_token(token) if token is not None else Place(start_after or ""),
        start_after=start_after,
        continuation_token=token,
    )


def _name(given: dict[str, str], parameter: str) -> str:
    """A key, or a piece of one. NUL is refused, as in keys: servers behind us end a text there."""
    value = given.get(parameter, "")
    if "\x00" in value:
        raise _invalid(parameter, "A key cannot hold the character NUL.")
    if len(value) > KEY_BYTES_MAX or len(value.encode()) > KEY_BYTES_MAX:
        raise S3Error("KeyTooLongError", "Your key is too long", details={"ArgumentName": parameter})
    return value


def _max_keys(text: str) -> int:
    if not text:
        return LISTED_MAX
    digits = text.removeprefix("+")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 10 and int(digits) <= _INTEGER_MAX):
        raise _invalid("max-keys", f"Argument max-keys must be an integer between 0 and {_INTEGER_MAX}", text)
    return min(int(digits), LISTED_MAX)


def _invalid(name: str, message: str, value: str | None = None) -> S3Error:
    details = {"ArgumentName": name}
    if value is not None:
        details["ArgumentValue"] = value[:KEY_BYTES_MAX]
    return S3Error("InvalidArgument", message, details=details)
