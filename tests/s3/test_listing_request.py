from __future__ import annotations

import pytest

from addon.s3.errors import S3Error
from addon.s3.listing_request import ListingRequest, parse_listing_request
from addon.s3.listing_tokens import Place, marker_of, token_of


def test_what_nothing_was_asked_of() -> None:
    assert parse_listing_request("", v2=False) == ListingRequest(False, "", "", 1000, False, True, Place())
    assert parse_listing_request("list-type=2", v2=True) == ListingRequest(True, "", "", 1000, False, False, Place())


def test_version_1() -> None:
    asked = parse_listing_request("prefix=a%2Fb&delimiter=%2F%2F&marker=a/c&max-keys=7&encoding-type=url", v2=False)
    assert asked == ListingRequest(False, "a/b", "//", 7, True, True, Place("a/c"), marker="a/c")
    place = Place("a", probe="b/1")
    assert parse_listing_request(f"marker={marker_of(place)}", v2=False).place == place


def test_version_2() -> None:
    asked = parse_listing_request("list-type=2&start-after=a%20b&fetch-owner=true", v2=True)
    assert (asked.place, asked.start_after, asked.owners) == (Place("a b"), "a b", True)
    token = token_of(Place("x", "y/1"))
    both = parse_listing_request(f"start-after=a&continuation-token={token}", v2=True)
    assert (both.place, both.start_after, both.continuation_token) == (Place("x", "y/1"), "a", token)
    assert parse_listing_request("start-after=&prefix=&delimiter=", v2=True).place == Place()
    assert not parse_listing_request("fetch-owner=false", v2=True).owners


def test_a_version_takes_no_notice_of_the_others_parameters() -> None:
    assert parse_listing_request("start-after=a&continuation-token=%21", v2=False).place == Place()
    assert parse_listing_request("marker=a", v2=True).place == Place()


@pytest.mark.parametrize(
    ("text", "number"), [("", 1000), ("0", 0), ("1", 1), ("1000", 1000), ("1001", 1000), ("2147483647", 1000)]
)
def test_max_keys(text: str, number: int) -> None:
    assert parse_listing_request(f"max-keys={text}", v2=True).max_keys == number


@pytest.mark.parametrize(
    ("query", "code", "argument"),
    [
        *((f"max-keys={text}", "InvalidArgument", "max-keys") for text in ("-1", "x", "1.0", "2147483648", "9" * 5000)),
        ("max-keys=%D9%A1", "InvalidArgument", "max-keys"),
        ("encoding-type=URL", "InvalidArgument", "encoding-type"),
        ("prefix=a&prefix=a", "InvalidArgument", "prefix"),
        ("delimiter=%00", "InvalidArgument", "delimiter"),
        ("start-after=a%00", "InvalidArgument", "start-after"),
        ("prefix=" + "a" * 1025, "KeyTooLongError", "prefix"),
        ("prefix=" + "%C3%A9" * 513, "KeyTooLongError", "prefix"),
        ("continuation-token=", "InvalidArgument", "continuation-token"),
    ],
)
def test_what_is_refused(query: str, code: str, argument: str) -> None:
    with pytest.raises(S3Error) as refused:
        parse_listing_request(query, v2=True)
    assert (refused.value.code, refused.value.details["ArgumentName"]) == (code, argument)


def test_what_is_no_utf_8_is_refused() -> None:
    with pytest.raises(S3Error, match="InvalidURI"):
        parse_listing_request("prefix=%FF", v2=True)


def test_a_mebibyte_of_nothing_is_nothing() -> None:
    assert parse_listing_request("&" * (1 << 20), v2=True).place == Place()
