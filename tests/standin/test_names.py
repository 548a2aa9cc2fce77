"""File names and mime types."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.standin.names import clean_file_name, mime_type_of


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("chunk.bin", "chunk.bin"),
        ("/etc/passwd", "passwd"),
        ("C:\\dir\\x.txt", "x.txt"),
        ('a "b"\'c`.bin', "a  b  c.bin"),
        ("a<b>c:d|e?f*g&h.bin", "a b c d e f g h.bin"),
        ("tab\there.bin", "tabhere.bin"),
        ("%41.bin", "%41.bin"),
        (" ..dots.. .bin", "dots.bin"),
        ("größe-日本.bin", "größe-日本.bin"),
        ("smile 😀 x.bin", "smile   x.bin"),
        ("x" * 200 + ".bin", "x" * 64 + ".bin"),
        ("a." + "e" * 40, "a." + "e" * 16),
        ("", "file"),
        ("...", "file"),
        ("noextension", "noextension"),
        ("a.tar.gz", "a.tar.gz"),
    ],
)
def test_cleaning(raw: str, cleaned: str) -> None:
    assert clean_file_name(raw.encode()) == cleaned


def test_a_name_that_is_no_utf8_is_file() -> None:
    assert clean_file_name(b"\xff\xfe.bin") == "file"


@settings(deadline=None)
@given(st.text())
def test_a_cleaned_name_is_short_harmless_and_stays_as_it_is(name: str) -> None:
    raw = name.encode("utf-8", "surrogatepass")
    cleaned = clean_file_name(raw)
    assert cleaned
    assert len(cleaned) <= 64 + 1 + 16
    assert not set(cleaned) & set("<>:\"/\\|?*&`'\n\r\0")
    assert clean_file_name(cleaned.encode()) == cleaned


@pytest.mark.parametrize(
    ("name", "mime_type"),
    [("a.bin", "application/octet-stream"), ("a.PNG", "image/png"), ("a.unheardof", ""), ("a", ""), ("bin", "")],
)
def test_the_mime_type_comes_from_the_extension(name: str, mime_type: str) -> None:
    assert mime_type_of(name) == mime_type
