from __future__ import annotations

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.errors import S3Error
from addon.s3.listing_tokens import Place, marker_of, place_of_marker, place_of_token, token_of

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
PLACES = st.builds(Place, NAMES, NAMES, NAMES)


@given(PLACES)
def test_a_place_comes_back_from_its_token_and_from_its_marker(place: Place) -> None:
    token = token_of(place)
    assert token.isascii()
    assert token.replace("-", "").replace("_", "").isalnum()
    assert place_of_token(token) == place
    marker = marker_of(place)
    assert (place_of_marker(marker) or Place(marker)) == place


@pytest.mark.parametrize("character", ["\x01", '"', "é", "k"])
def test_the_longest_place_comes_back(character: str) -> None:
    longest = character * (1024 // len(character.encode()))
    place = Place(longest, longest, 2 * longest)
    assert place_of_token(token_of(place)) == place
    assert place_of_marker(marker_of(place)) == place


def test_the_marker_of_a_key_is_the_key_and_any_other_is_longer_than_a_key() -> None:
    assert marker_of(Place("photos/")) == "photos/"
    assert len(marker_of(Place("a", probe="b/1")).encode()) > 1024
    assert place_of_marker("tgstore-place:is a key like any other") is None


def spelt(fields: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")


FORGED = {
    "empty": "",
    "garbage": "garbage",
    "padding": "====",
    "not ASCII": "é",
    "white space": token_of(Place("a")) + "\n",
    "not JSON": base64.urlsafe_b64encode(b"{").decode(),
    "not UTF-8": base64.urlsafe_b64encode(b'[1,"\xff","",""]').decode(),
    "another version": spelt([2, "a", "", ""]),
    "too few": spelt([1, "a", ""]),
    "too many": spelt([1, "a", "", "", ""]),
    "numbers": spelt([1, 1, 1, 1]),
    "nested": spelt([1, ["a"], "", ""]),
    "an object": spelt({"after": "a"}),
    "a text": spelt("abcd"),
    "a number": spelt(1),
    "a lone surrogate": spelt([1, "\ud800", "", ""]),
    "a key too long": spelt([1, "a" * 1025, "", ""]),
    "a probe too long": spelt([1, "", "a" * 1025, ""]),
    "too long": spelt([1, "", "", "a" * 2049]),
    "far too long": "a" * 100_000,
    "deep": base64.urlsafe_b64encode(b"[" * 5000).decode(),
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED)
def test_a_token_that_was_not_made_here_is_refused(token: str) -> None:
    with pytest.raises(S3Error) as refused:
        place_of_token(token)
    assert (refused.value.code, refused.value.message) == (
        "InvalidArgument",
        "The continuation token provided is incorrect",
    )


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_no_token_does_more_than_be_refused(token: str) -> None:
    with contextlib.suppress(S3Error):
        place_of_token(token)


def test_a_damaged_marker_is_refused() -> None:
    marker = marker_of(Place("a", probe="b/1"))
    with pytest.raises(S3Error, match="InvalidArgument"):
        place_of_marker(marker.replace(":", ":!"))
