"""Conditional reads: RFC 9110, section 13, in the order of 13.2.2, which is also the one that S3 documents for GetObject.

Entity tags are accepted without quotes too, as S3 does. Whether the caller may know of the object at all must have been decided
before: a condition tells whether the object exists (CVE-2024-36107 of MinIO).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal

from addon.s3.errors import S3Error
from addon.s3.http_dates import parse_http_date

# Possessive throughout: a hostile list must not make the matcher go back and forth.
_ENTITY_TAG = re.compile(r'[ \t]*+(?P<weak>W/)?(?:"(?P<quoted>[^"]*+)"|(?P<bare>[^",\s]++))[ \t]*+(?:,|$)')


def check_read(headers: Mapping[str, str], *, etag: str, last_modified_s: int) -> Literal["ok", "not_modified"]:
    """Evaluate the conditions of a GET or HEAD against the current object.

    `headers` has lower-case names, repeated headers joined with commas; `etag` has no quotes. Raises PreconditionFailed (412).
    """
    if (if_match := headers.get("if-match")) is not None:
        if not _matches(if_match, etag, strong=True):
            raise _failed("If-Match")
    elif (unmodified_since := headers.get("if-unmodified-since")) is not None:
        date_s = parse_http_date(unmodified_since)
        if date_s is not None and last_modified_s > date_s:
            raise _failed("If-Unmodified-Since")
    if (if_none_match := headers.get("if-none-match")) is not None:
        return "not_modified" if _matches(if_none_match, etag, strong=False) else "ok"
    if (modified_since := headers.get("if-modified-since")) is not None:
        date_s = parse_http_date(modified_since)
        if date_s is not None and last_modified_s <= date_s:
            return "not_modified"
    return "ok"


def _matches(field: str, etag: str, *, strong: bool) -> bool:
    """Whether a list of entity tags names `etag`. A weak tag never matches in the strong comparison (RFC 9110, section 8.8.3.2)."""
    if field.strip(" \t") == "*":
        return True
    return any(tag == etag and not (strong and weak) for tag, weak in _entity_tags(field))


def _entity_tags(field: str) -> Iterator[tuple[str, bool]]:
    """The tags of a list, each with whether it is weak; an element that is none is passed over."""
    at = 0
    while at < len(field):
        tag = _ENTITY_TAG.match(field, at)
        if tag is not None:
            yield tag["bare"] if tag["quoted"] is None else tag["quoted"], tag["weak"] is not None
            at = tag.end()
            continue
        comma = field.find(",", at)
        if comma < 0:
            return
        at = comma + 1


def _failed(condition: str) -> S3Error:
    return S3Error(
        "PreconditionFailed",
        "At least one of the pre-conditions you specified did not hold",
        details={"Condition": condition},
    )
