"""The conditions that a write or a delete names in its headers.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html and …/conditional-deletes.html. On writes S3 takes
`If-None-Match: *` or one entity tag in If-Match, not both; on deletes If-Match may be `*` too. `x-amz-if-match-size` and
`x-amz-if-match-last-modified-time` are defined for directory buckets
(https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html) and mean the same here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from addon.s3.errors import S3Error
from addon.s3.http_dates import parse_http_date

IF_MATCH, IF_NONE_MATCH = "if-match", "if-none-match"
IF_MATCH_SIZE, IF_MATCH_TIME = "x-amz-if-match-size", "x-amz-if-match-last-modified-time"
CONDITIONS_OF_WRITES = frozenset({IF_MATCH, IF_NONE_MATCH})
CONDITIONS_OF_DELETES = frozenset({IF_MATCH, IF_MATCH_SIZE, IF_MATCH_TIME})

_SIZE_DIGITS_MAX = 19


@dataclass(frozen=True, slots=True)
class WantedState:
    """What a key must hold for the write to happen: nothing (`absent`), or an object with this `etag` (no quotes; `*` for any),
    `size` in bytes and `last_modified_s`. None: not asked for."""

    absent: bool = False
    etag: str | None = None
    size: int | None = None
    last_modified_s: int | None = None


def wanted_by_write(headers: Sequence[tuple[str, str]]) -> WantedState | None:
    """The condition of a PUT, a completion or a copy; None where there is none. Names are in lower case.

    Raises NotImplemented for what S3 does not take on writes either, InvalidArgument for a header that stands twice.
    """
    given = _given(headers, CONDITIONS_OF_WRITES)
    if not given:
        return None
    if len(given) == 2:
        raise _not_taken("If-Match,If-None-Match", "Multiple conditional request headers present in the request")
    if IF_NONE_MATCH in given:
        if given[IF_NONE_MATCH] != "*":
            raise _not_taken("If-None-Match", "We don't accept the provided value of If-None-Match header for this API")
        return WantedState(absent=True)
    if given[IF_MATCH] == "*":
        raise _not_taken("If-Match", "We don't accept the provided value of If-Match header for this API")
    return WantedState(etag=entity_tag(given[IF_MATCH]))


def wanted_by_delete(headers: Sequence[tuple[str, str]]) -> WantedState | None:
    """The condition of a DELETE; None where there is none. Names are in lower case. Raises InvalidArgument."""
    given = _given(headers, CONDITIONS_OF_DELETES)
    if not given:
        return None
    etag, size, time = given.get(IF_MATCH), given.get(IF_MATCH_SIZE), given.get(IF_MATCH_TIME)
    return WantedState(
        etag=None if etag is None else "*" if etag == "*" else entity_tag(etag),
        size=None if size is None else _size(size),
        last_modified_s=None if time is None else _time_s(time),
    )


def entity_tag(text: str) -> str:
    """The entity tag without its quotes. What is none stays as it is (a weak tag, a list, `"*"`): it has a quote then, and so
    equals no tag that an object has."""
    tag = text.strip(" \t")
    bare = tag[1:-1] if len(tag) >= 2 and tag[0] == tag[-1] == '"' else tag
    return tag if bare in ("", "*") else bare


def _given(headers: Sequence[tuple[str, str]], names: frozenset[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in headers:
        if name in names:
            if name in given:
                raise _invalid(f"The header {name} was given more than once.", name, value)
            given[name] = value.strip(" \t")
    return given


def _size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _SIZE_DIGITS_MAX):
        raise _invalid("The size is not a number of bytes.", IF_MATCH_SIZE, text)
    return int(text)


def _time_s(text: str) -> int:
    time_s = parse_http_date(text)
    if time_s is None:
        raise _invalid("The time is not an HTTP date.", IF_MATCH_TIME, text)
    return time_s


def _not_taken(header: str, why: str) -> S3Error:
    return S3Error(
        "NotImplemented",
        "A header you provided implies functionality that is not implemented",
        details={"Header": header, "additionalMessage": why},
    )


def _invalid(message: str, name: str, value: str) -> S3Error:
    return S3Error("InvalidArgument", message, details={"ArgumentName": name, "ArgumentValue": value})
