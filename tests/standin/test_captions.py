"""Captions and texts."""

import pytest

from addon.standin.captions import clean_text, find_entities, read_caption, read_text
from addon.standin.failures import ApiError


def test_a_caption_has_1024_code_points_beyond_the_basic_plane_too() -> None:
    assert read_caption("😀" * 1024, "", "")[0] == "😀" * 1024
    with pytest.raises(ApiError, match="message caption is too long"):
        read_caption("😀" * 1025, "", "")


def test_control_characters_and_outer_whitespace_go() -> None:
    assert clean_text(" a\tb\r\nc\x00 ") == "a b\nc"


def test_entities_are_found_and_counted_in_utf16_units() -> None:
    assert find_entities("😀 https://a.example/x #tag") == [
        {"offset": 3, "length": 19, "type": "url"},
        {"offset": 23, "length": 4, "type": "hashtag"},
    ]


def test_given_entities_are_taken() -> None:
    assert read_caption("bold", "", '[{"offset":0,"length":4,"type":"bold"}]')[1][0]["type"] == "bold"


@pytest.mark.parametrize(
    ("text", "parse_mode", "entities", "problem"),
    [
        ("\udcff", "", "", "strings must be encoded in UTF-8"),
        ("<b>x</b>", "HTML", "", "unsupported parse_mode"),
        ("x", "", "{", "can't parse entities JSON object"),
        ("x", "", "{}", "expected an Array of MessageEntity"),
        ("   ", "", "", "message text is empty"),
        ("x" * 4097, "", "", "message is too long"),
    ],
)
def test_bad_texts(text: str, parse_mode: str, entities: str, problem: str) -> None:
    with pytest.raises(ApiError) as caught:
        read_text(text, parse_mode, entities)
    assert caught.value.description == f"Bad Request: {problem}"
