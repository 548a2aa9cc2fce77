"""Conditional reads: every combination of outcomes against RFC 9110's order, and the spellings of entity tags."""

from __future__ import annotations

import itertools

import pytest

from addon.s3.errors import S3Error
from addon.s3.http_dates import format_http_date
from addon.s3.preconditions import check_read

ETAG = "9e107d9d372bb6826bd81d3542a419d6"
MODIFIED_S = 1_700_000_000


def outcome(headers: dict[str, str]) -> str:
    try:
        return check_read(headers, etag=ETAG, last_modified_s=MODIFIED_S)
    except S3Error as error:
        return error.details["Condition"] if error.code == "PreconditionFailed" else error.code


# Each condition with a header that makes it true, one that makes it false, and none.
CHOICES = {
    "if-match": {True: f'"{ETAG}"', False: '"other"', None: None},
    "if-unmodified-since": {
        True: format_http_date(MODIFIED_S),
        False: format_http_date(MODIFIED_S - 1),
        None: None,
    },
    "if-none-match": {True: '"other"', False: f'"{ETAG}"', None: None},
    "if-modified-since": {
        True: format_http_date(MODIFIED_S - 1),
        False: format_http_date(MODIFIED_S),
        None: None,
    },
}


def model(match: bool | None, unmodified: bool | None, none_match: bool | None, modified: bool | None) -> str:
    """RFC 9110, section 13.2.2, steps 1 to 4."""
    if match is False:
        return "If-Match"
    if match is None and unmodified is False:
        return "If-Unmodified-Since"
    if none_match is not None:
        return "ok" if none_match else "not_modified"
    return "not_modified" if modified is False else "ok"


@pytest.mark.parametrize("truths", list(itertools.product([True, False, None], repeat=4)))
def test_every_combination_follows_the_order_of_precedence(truths: tuple[bool | None, ...]) -> None:
    headers = {
        name: value
        for (name, choice), truth in zip(CHOICES.items(), truths, strict=True)
        if (value := choice[truth]) is not None
    }
    assert outcome(headers) == model(*truths)


@pytest.mark.parametrize(
    ("tags", "strong", "weak"),
    [
        (f'"{ETAG}"', True, True),
        (ETAG, True, True),
        (f'W/"{ETAG}"', False, True),
        (f"W/{ETAG}", False, True),
        ("*", True, True),
        (" * ", True, True),
        ('"*"', False, False),
        ('"a", *', False, False),
        (f'"a", "{ETAG}"', True, True),
        (f'"a","{ETAG}","b"', True, True),
        (f'"a" , W/"{ETAG}"', False, True),
        (f"a, {ETAG}", True, True),
        (f'"a,{ETAG}"', False, False),
        (f'"{ETAG[:-1]}"', False, False),
        (f'"{ETAG}x"', False, False),
        (ETAG.upper(), False, False),
        (f'"{ETAG}', False, False),
        ("", False, False),
        (",,,", False, False),
        ('"', False, False),
    ],
)
def test_spellings_of_entity_tags(tags: str, strong: bool, weak: bool) -> None:
    assert outcome({"if-match": tags}) == ("ok" if strong else "If-Match")
    assert outcome({"if-none-match": tags}) == ("not_modified" if weak else "ok")


@pytest.mark.parametrize("date", ["", "soon", "2024-01-01", "Sun, 30 Feb 2020 00:00:00 GMT"])
def test_malformed_dates_are_ignored(date: str) -> None:
    assert outcome({"if-modified-since": date}) == "ok"
    assert outcome({"if-unmodified-since": date}) == "ok"


def test_a_multipart_etag_matches() -> None:
    assert check_read({"if-none-match": '"abc-3"'}, etag="abc-3", last_modified_s=0) == "not_modified"


def test_a_hostile_list_of_tags_takes_linear_time() -> None:
    assert outcome({"if-match": '"a' * 20_000}) == "If-Match"
    assert outcome({"if-match": " " * 60_000}) == "If-Match"
