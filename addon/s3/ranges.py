"""The Range and If-Range headers (RFC 9110, section 14) as S3 treats them.

S3 serves one range. Everything that it does not understand (another unit, several ranges, a malformed header) is answered with the
whole object and 200: a range is a wish, not a condition.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from addon.s3.errors import S3Error
from addon.s3.http_dates import parse_http_date

_SINGLE = re.compile(r"bytes=(?P<first>[0-9]*)-(?P<last>[0-9]*)", re.ASCII | re.IGNORECASE)
# More digits than any object's size has; also keeps int() away from numbers whose conversion takes long.
_DIGITS_MAX = 19


@dataclass(frozen=True, slots=True)
class ByteRange:
    """`length` bytes (at least one) from offset `start`."""

    start: int
    length: int

    def content_range(self, size: int) -> str:
        """The Content-Range of a 206 for an object of `size` bytes."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{size}"


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """What part of an object of `size` bytes is asked for; None means the whole, with status 200.

    Raises InvalidRange (416) for a well-formed range that no byte of the object satisfies; of an empty object that is any range.
    """
    if header is None:
        return None
    match = _SINGLE.fullmatch(header.strip(" \t"))
    if match is None or match["first"] == match["last"] == "":
        return None
    last = _number(match["last"]) if match["last"] else None
    if not match["first"]:
        suffix = last or 0
        if suffix == 0 or size == 0:
            raise _not_satisfiable(header, size)
        length = min(suffix, size)
        return ByteRange(size - length, length)
    first = _number(match["first"])
    if last is not None and last < first:
        return None
    if first >= size:
        raise _not_satisfiable(header, size)
    end = size if last is None else min(last + 1, size)
    return ByteRange(first, end - first)


def if_range_holds(if_range: str, *, etag: str, last_modified_s: int) -> bool:
    """Whether Range may be honoured beside this If-Range: an equal strong entity tag, or exactly our Last-Modified."""
    value = if_range.strip(" \t")
    if value.startswith('"'):
        return value == f'"{etag}"'
    return parse_http_date(value) == last_modified_s


def _number(digits: str) -> int:
    significant = digits.lstrip("0") or "0"
    return int(significant) if len(significant) <= _DIGITS_MAX else int("9" * _DIGITS_MAX)


def _not_satisfiable(header: str, size: int) -> S3Error:
    return S3Error(
        "InvalidRange",
        "The requested range is not satisfiable",
        details={"RangeRequested": header, "ActualObjectSize": str(size)},
        headers={"Content-Range": f"bytes */{size}"},
    )
