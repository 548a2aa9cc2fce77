"""Ranges against a model that writes the selected bytes out, and the header forms that S3 treats as no range."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from addon.s3.errors import S3Error
from addon.s3.http_dates import format_http_date
from addon.s3.ranges import ByteRange, if_range_holds, parse_range

numbers = st.one_of(st.integers(0, 40), st.integers(0, 10**30))


def selected(data: bytes, part: ByteRange) -> bytes:
    return data[part.start : part.start + part.length]


@given(size=st.integers(0, 32), first=numbers, last=st.one_of(st.none(), numbers))
@example(size=5, first=0, last=10**30)
def test_from_to_selects_the_same_bytes_as_a_slice(size: int, first: int, last: int | None) -> None:
    data = bytes(range(size))
    header = f"bytes={first}-{'' if last is None else last}"
    if last is not None and last < first:
        assert parse_range(header, size) is None
        return
    expected = data[first:] if last is None else data[first : last + 1]
    if not expected:
        with pytest.raises(S3Error) as refused:
            parse_range(header, size)
        assert refused.value.code == "InvalidRange"
        return
    part = parse_range(header, size)
    assert part is not None
    assert part.length > 0
    assert selected(data, part) == expected


@given(size=st.integers(0, 32), suffix=numbers)
def test_suffix_selects_the_last_bytes(size: int, suffix: int) -> None:
    data = bytes(range(size))
    expected = data[-suffix:] if suffix else b""
    if not expected:
        with pytest.raises(S3Error):
            parse_range(f"bytes=-{suffix}", size)
        return
    part = parse_range(f"bytes=-{suffix}", size)
    assert part is not None
    assert selected(data, part) == expected


@given(header=st.text(max_size=30), size=st.integers(0, 100))
def test_arbitrary_text_is_answered_whole_or_within_the_object(header: str, size: int) -> None:
    try:
        part = parse_range(header, size)
    except S3Error:
        return
    assert part is None or (part.length > 0 and part.start >= 0 and part.start + part.length <= size)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=9-5",
        "bytes=0-0,2-3",
        "bytes=0-0,",
        "bytes= 0-5",
        "bytes=0 - 5",
        "bytes=+1-5",
        "bytes=0x1-5",
        "bytes=1-5-9",
        "bytes=--5",
        "bytes=\u0661-\u0665",
        "items=0-5",
        "0-5",
    ],
)
def test_what_is_no_single_byte_range_is_answered_whole(header: str | None) -> None:
    assert parse_range(header, 10) is None


def test_the_unit_is_compared_without_case_and_outer_space_is_trimmed() -> None:
    assert parse_range(" Bytes=1-2 ", 10) == ByteRange(1, 2)


def test_leading_zeros_of_any_length_do_not_change_a_number() -> None:
    assert parse_range(f"bytes={'0' * 6000}3-{'0' * 6000}4", 10) == ByteRange(3, 2)


def test_unsatisfiable_says_what_was_asked_and_what_there_is() -> None:
    with pytest.raises(S3Error) as refused:
        parse_range("bytes=10-", 10)
    error = refused.value
    assert (error.code, error.status) == ("InvalidRange", 416)
    assert error.headers == {"Content-Range": "bytes */10"}
    assert error.details == {"RangeRequested": "bytes=10-", "ActualObjectSize": "10"}


def test_content_range_counts_inclusively() -> None:
    assert ByteRange(5, 5).content_range(20) == "bytes 5-9/20"


DATE_S = 1_700_000_000


@pytest.mark.parametrize(
    ("if_range", "holds"),
    [
        ('"abc"', True),
        (' "abc" ', True),
        ('W/"abc"', False),
        ('"other"', False),
        ("abc", False),
        ('"abc", "def"', False),
        ("*", False),
        (format_http_date(DATE_S), True),
        (format_http_date(DATE_S + 1), False),
        (format_http_date(DATE_S - 1), False),
        ("yesterday", False),
    ],
)
def test_if_range_needs_the_very_same_version(if_range: str, holds: bool) -> None:
    assert if_range_holds(if_range, etag="abc", last_modified_s=DATE_S) is holds
