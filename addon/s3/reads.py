"""The answer to GetObject and HeadObject of an object that is held here: status, headers, and which bytes follow.

Pure, and fast: it runs for every read, from memory too. Whether the caller may read the object must have been decided before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from addon.s3.errors import S3Error
from addon.s3.header_values import clean
from addon.s3.http_dates import format_http_date
from addon.s3.preconditions import check_read
from addon.s3.query import parameters
from addon.s3.ranges import ByteRange, if_range_holds, parse_range


class ReadableObject(Protocol):
    """What must be known of an object: the fields of the index's record of the same names."""

    @property
    def size(self) -> int:
        """In bytes."""

    @property
    def etag(self) -> str:
        """Without quotes."""

    @property
    def last_modified_s(self) -> int:
        """UNIX seconds."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What was stored with it; lower-case names."""

    @property
    def checksums(self) -> Mapping[str, str]:
        """Values of `x-amz-checksum-*` by algorithm, and `type`."""


@dataclass(frozen=True, slots=True)
class ReadAnswer:
    """A response; `body_range` is the part of the object that is its body, None for no body at all (HEAD, 304, empty object)."""

    status: int
    headers: Sequence[tuple[str, str]]
    body_range: ByteRange | None


_CONDITIONS = frozenset({"if-match", "if-none-match", "if-modified-since", "if-unmodified-since"})
_CUSTOMER_KEY = frozenset(f"x-amz-server-side-encryption-customer-{field}" for field in ("algorithm", "key", "key-md5"))
_ASKED = _CONDITIONS | _CUSTOMER_KEY | {"range", "if-range", "x-amz-checksum-mode"}

# https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html, "Overriding response header values"
OVERRIDES: Mapping[str, str] = {
    "response-cache-control": "cache-control",
    "response-content-disposition": "content-disposition",
    "response-content-encoding": "content-encoding",
    "response-content-language": "content-language",
    "response-content-type": "content-type",
    "response-expires": "expires",
}

# What a 304 repeats of the stored headers (RFC 9110, section 15.4.5).
_IN_NOT_MODIFIED = frozenset({"cache-control", "expires", "x-amz-version-id"})


def answer_read(
    record: ReadableObject, method: str, headers: Sequence[tuple[str, str]], raw_query: str, *, signed: bool
) -> ReadAnswer:
    """Answer a GET or HEAD of the current, whole object.

    `headers` are the request's, names in lower case; `raw_query` its raw query; `signed` says that the caller's signature was
    verified. Raises PreconditionFailed, InvalidRange, InvalidRequest, InvalidArgument, and NotImplemented for a version or a
    part: of those nothing is held here.
    """
    asked = _asked(headers)
    stored = _overridden(record.headers, raw_query, signed=signed) if raw_query else record.headers
    if not asked:
        whole = _object_headers(record, stored, record.size)
        body = ByteRange(0, record.size) if method == "GET" and record.size else None
        return ReadAnswer(HTTPStatus.OK, whole, body)
    if not _CUSTOMER_KEY.isdisjoint(asked):
        raise S3Error("InvalidRequest", "The encryption parameters are not applicable to this object.")
    if check_read(asked, etag=record.etag, last_modified_s=record.last_modified_s) == "not_modified":
        return ReadAnswer(HTTPStatus.NOT_MODIFIED, _not_modified_headers(record, stored), None)
    part = _part(record, asked)
    if part is not None:
        answered = _object_headers(record, stored, part.length)
        answered.append(("content-range", part.content_range(record.size)))
        return ReadAnswer(HTTPStatus.PARTIAL_CONTENT, answered, part if method == "GET" else None)
    answered = _object_headers(record, stored, record.size)
    if asked.get("x-amz-checksum-mode", "").upper() == "ENABLED":
        answered += [(f"x-amz-checksum-{name}", value) for name, value in record.checksums.items()]
    return ReadAnswer(HTTPStatus.OK, answered, ByteRange(0, record.size) if method == "GET" and record.size else None)


def object_headers(record: ReadableObject) -> list[tuple[str, str]]:
    """The headers of a 200 with the whole object, without checksums."""
    return _object_headers(record, record.headers, record.size)


def _object_headers(record: ReadableObject, stored: Mapping[str, str], length: int) -> list[tuple[str, str]]:
    return [
        ("last-modified", format_http_date(record.last_modified_s)),
        ("etag", f'"{record.etag}"'),
        ("accept-ranges", "bytes"),
        *stored.items(),
        ("content-length", str(length)),
    ]


def _not_modified_headers(record: ReadableObject, stored: Mapping[str, str]) -> list[tuple[str, str]]:
    return [
        ("last-modified", format_http_date(record.last_modified_s)),
        ("etag", f'"{record.etag}"'),
        *((name, value) for name, value in stored.items() if name in _IN_NOT_MODIFIED),
    ]


def _asked(headers: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The request headers that matter; what stands more than once is joined (RFC 9110, section 5.2)."""
    asked: dict[str, str] = {}
    for name, value in headers:
        if name in _ASKED:
            asked[name] = f"{asked[name]}, {value}" if name in asked else value
    return asked


def _part(record: ReadableObject, asked: Mapping[str, str]) -> ByteRange | None:
    if_range = asked.get("if-range")
    if if_range is not None and not if_range_holds(if_range, etag=record.etag, last_modified_s=record.last_modified_s):
        return None
    return parse_range(asked.get("range"), record.size)


def _overridden(stored: Mapping[str, str], raw_query: str, *, signed: bool) -> Mapping[str, str]:
    """The stored headers with the `response-*` parameters in their places."""
    changed: dict[str, str] | None = None
    for name, value in parameters(raw_query):
        if name in ("versionId", "partNumber"):
            raise S3Error("NotImplemented", f"{name} of an object that is held here is not implemented by tgstore yet.")
        header = OVERRIDES.get(name)
        if header is None:
            continue
        if not signed:
            raise S3Error(
                "InvalidRequest",
                "Request specific response headers cannot be used for anonymous GET requests.",
            )
        if not value:
            continue
        changed = dict(stored) if changed is None else changed
        changed[header] = _override(name, value)
    return stored if changed is None else changed


def _override(name: str, value: str) -> str:
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise S3Error(
            "InvalidArgument",
            "Header value cannot be represented using ISO-8859-1.",
            details={"ArgumentName": name},
        ) from None
    return clean(name, value)
