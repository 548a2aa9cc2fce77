"""The one decoder of keys: a bijection between keys and their canonical spelling, and no key with two readings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.errors import S3Error
from addon.s3.keys import decode_key, encode_key

keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=100).filter(
    lambda key: len(key.encode()) <= 1024
)


@given(key=keys)
def test_the_canonical_spelling_decodes_to_the_key(key: str) -> None:
    assert decode_key(encode_key(key)) == key


@given(key=keys, choice=st.randoms(use_true_random=False))
def test_every_spelling_of_a_key_decodes_to_it(key: str, choice: object) -> None:
    raw = ""
    for byte in key.encode():
        must_escape = byte <= 0x20 or byte in b"%#\x7f"
        escaped = f"%{byte:02x}" if choice.random() < 0.5 else f"%{byte:02X}"  # type: ignore[attr-defined]
        raw += escaped if must_escape or choice.random() < 0.5 else chr(byte)  # type: ignore[attr-defined]
    assert decode_key(raw) == key


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ("a+b", "a+b"),
        ("a%2Bb", "a+b"),
        ("a%20b", "a b"),
        ("a%2fb", "a/b"),
        ("a//b", "a//b"),
        ("a/../b", "a/../b"),
        ("a/%2e%2E/b", "a/../b"),
        ("%252e", "%2e"),
        ("..%5c", "..\\"),
        ("a%0Ab", "a\nb"),
        ("a%3Fb%23c", "a?b#c"),
        ("caf%C3%A9", "caf\u00e9"),
        ("cafe%CC%81", "cafe\u0301"),
        ("%F0%9F%90%8E", "\U0001f40e"),
        ("a~b", "a~b"),
        ("a%7Eb", "a~b"),
        ("dir/", "dir/"),
        ("", ""),
    ],
)
def test_spellings(raw: str, key: str) -> None:
    assert decode_key(raw) == key


@pytest.mark.parametrize(
    "raw",
    [
        "%",
        "%4",
        "%zz",
        "a%2",
        "%u00e9",
        "% 41",
        "%FF",
        "%C3",
        "%ED%A0%80",
        "%C0%AF",
        "\u00ff",
        "a b",
        "a\nb",
        "a#b",
        "a\x00",
        "a%00b",
        "%00",
    ],
)
def test_what_two_readers_could_read_differently_is_refused(raw: str) -> None:
    with pytest.raises(S3Error) as refused:
        decode_key(raw)
    assert refused.value.code == "InvalidURI"


def test_a_key_has_at_most_1024_bytes() -> None:
    assert len(decode_key("%C3%A9" * 512)) == 512
    assert len(decode_key("a" * 1024)) == 1024
    for raw in ("a" * 1025, "%C3%A9" * 512 + "a", "a" * 100_000, "%41" * 1025):
        with pytest.raises(S3Error) as refused:
            decode_key(raw)
        assert (refused.value.code, refused.value.details["MaxSizeAllowed"]) == ("KeyTooLongError", "1024")
