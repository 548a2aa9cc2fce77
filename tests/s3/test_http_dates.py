"""Dates: the standard library's own writers and readers are the oracle."""

from __future__ import annotations

import email.utils
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.http_dates import format_http_date, parse_http_date

YEAR_2069 = 3_155_759_999
moments = st.integers(0, YEAR_2069)


@given(time_s=moments)
def test_written_as_imf_fixdate_and_read_back(time_s: int) -> None:
    assert format_http_date(time_s) == email.utils.formatdate(time_s, usegmt=True)
    assert parse_http_date(format_http_date(time_s)) == time_s


@given(time_s=moments)
def test_rfc_850_and_asctime_are_read(time_s: int) -> None:
    at = time.gmtime(time_s)
    assert parse_http_date(time.strftime("%A, %d-%b-%y %H:%M:%S GMT", at)) == time_s
    assert parse_http_date(time.asctime(at)) == time_s


def test_the_examples_of_rfc_9110() -> None:
    for text in ("Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"):
        assert parse_http_date(text) == 784_111_777


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "1700000000",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 30 Feb 2020 00:00:00 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "sun, 06 nov 1994 08:49:37 gmt",
        "2024-01-01T00:00:00Z",
        "Sun, \u0660\u0666 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT" + " " * 5000,
    ],
)
def test_anything_else_is_no_date(text: str) -> None:
    assert parse_http_date(text) is None


@given(text=st.text(max_size=60))
def test_arbitrary_text_never_raises(text: str) -> None:
    parse_http_date(text)
