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

    @property
    def tags(self) -> Mapping[str, str]:
        """Object tags."""


@dataclass(frozen=True, slots=True)
class ReadAnswer:
    """A response; `body_range` is the part of the object that is its body, None for no body at all (HEAD, 304, empty object)."""

    status: int
    headers: Sequence[tuple[str, str]]
    body_range: ByteRange | None


@dataclass(frozen=True, slots=True)
class PartOfObject:
    """The part that `partNumber` asks for: its bytes (None: it has none), its `checksums` by algorithm, and of how many parts the
    object is made, 0 where it was not uploaded in parts."""

    body_range: ByteRange | None
    checksums: Mapping[str, str]
    parts_count: int = 0


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

_TAGGING_COUNT = "x-amz-tagging-count"

# What a 304 repeats of the stored headers (RFC 9110, section 15.4.5).
_IN_NOT_MODIFIED = frozenset({"cache-control", "expires", "x-amz-version-id"})


def answer_read(
    record: ReadableObject,
    method: str,
    headers: Sequence[tuple[str, str]],
    raw_query: str,
    *,
    signed: bool,
    part: PartOfObject | None = None,
) -> ReadAnswer:
    """Answer a GET or HEAD of the current object, or of one `part` of it.

    `headers` are the request's, names in lower case; `raw_query` its raw query; `signed` says that the caller's signature was
    verified. Whether the request is about this version, and which part `partNumber` means, must have been decided before.
    Raises PreconditionFailed, InvalidRange, InvalidRequest and InvalidArgument.
    """
    asked = _asked(headers)
    stored = _with_tagging_count(record.headers, len(record.tags) if signed else 0)
    if raw_query:
        stored = _overridden(stored, raw_query, signed=signed)
    if not asked and part is None:
        whole = _object_headers(record, stored, record.size)
        body = ByteRange(0, record.size) if method == "GET" and record.size else None
        return ReadAnswer(HTTPStatus.OK, whole, body)
    if not _CUSTOMER_KEY.isdisjoint(asked):
        raise S3Error("InvalidRequest", "The encryption parameters are not applicable to this object.")
    if part is not None and "range" in asked:
        raise S3Error("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
    if check_read(asked, etag=record.etag, last_modified_s=record.last_modified_s) == "not_modified":
        return ReadAnswer(HTTPStatus.NOT_MODIFIED, _not_modified_headers(record, stored), None)
    wants_checksums = asked.get("x-amz-checksum-mode", "").upper() == "ENABLED"
    if part is not None:
        return _part_answer(record, method, stored, part, with_checksums=wants_checksums)
    asked_range = _range(record, asked)
    if asked_range is not None:
        answered = _object_headers(record, stored, asked_range.length)
        answered.append(("content-range", asked_range.content_range(record.size)))
        return ReadAnswer(HTTPStatus.PARTIAL_CONTENT, answered, asked_range if method == "GET" else None)
    answered = _object_headers(record, stored, record.size)
    if wants_checksums:
        answered += _checksum_headers(record.checksums)
    return ReadAnswer(HTTPStatus.OK, answered, ByteRange(0, record.size) if method == "GET" and record.size else None)


def _part_answer(
    record: ReadableObject, method: str, stored: Mapping[str, str], part: PartOfObject, *, with_checksums: bool
) -> ReadAnswer:
    """A part is a range with a number. One without bytes has no Content-Range, so it cannot be a 206 (RFC 9110, section 15.3.7)."""
    part_range = part.body_range
    answered = _object_headers(record, stored, part_range.length if part_range is not None else 0)
    if part_range is not None:
        answered.append(("content-range", part_range.content_range(record.size)))
    if part.parts_count:
        answered.append(("x-amz-mp-parts-count", str(part.parts_count)))
    if with_checksums:
        answered += _checksum_headers(part.checksums)
    status = HTTPStatus.PARTIAL_CONTENT if part_range is not None else HTTPStatus.OK
    return ReadAnswer(status, answered, part_range if method == "GET" else None)


def _checksum_headers(checksums: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(f"x-amz-checksum-{name}", value) for name, value in checksums.items()]


def object_headers(record: ReadableObject) -> list[tuple[str, str]]:
    """The headers of a 200 with the whole object, without checksums, for somebody who did not sign."""
    return _object_headers(record, _with_tagging_count(record.headers, 0), record.size)


def _object_headers(record: ReadableObject, stored: Mapping[str, str], length: int) -> list[tuple[str, str]]:
    return [
        ("last-modified", format_http_date(record.last_modified_s)),
        ("etag", f'"{record.etag}"'),
        ("accept-ranges", "bytes"),
        *stored.items(),
        ("content-length", str(length)),
    ]


def _with_tagging_count(stored: Mapping[str, str], tags_count: int) -> Mapping[str, str]:
    """The count as it is now, whatever the origin told when the object was copied; S3 tells it to those who may read the tags."""
    if not tags_count and _TAGGING_COUNT not in stored:
        return stored
    counted = {name: value for name, value in stored.items() if name != _TAGGING_COUNT}
    return counted | {_TAGGING_COUNT: str(tags_count)} if tags_count else counted


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


def _range(record: ReadableObject, asked: Mapping[str, str]) -> ByteRange | None:
    if_range = asked.get("if-range")
    if if_range is not None and not if_range_holds(if_range, etag=record.etag, last_modified_s=record.last_modified_s):
        return None
    return parse_range(asked.get("range"), record.size)


def _overridden(stored: Mapping[str, str], raw_query: str, *, signed: bool) -> Mapping[str, str]:
    """The stored headers with the `response-*` parameters in their places."""
    changed: dict[str, str] | None = None
    for name, value in parameters(raw_query):
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
