from __future__ import annotations

import pytest

from addon.s3.content_types import FIRST_BYTES_MAX, type_by_first_bytes, type_by_name


@pytest.mark.parametrize(
    ("first", "content_type"),
    [
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "image/png"),
        (b"GIF89a\x01\x00", "image/gif"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x10\x00\x00\x00WAVEfmt ", "audio/wav"),
        (b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00", "image/avif"),
        (b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00", "video/mp4"),
        (b"%PDF-1.7\n", "application/pdf"),
        (b"<html><script>", None),
        (b"<svg xmlns=", None),
        (b"RIFF", None),
        (b"", None),
    ],
)
def test_first_bytes_show_the_type_of_pictures_and_films_and_of_nothing_that_runs(
    first: bytes, content_type: str | None
) -> None:
    assert type_by_first_bytes(first[:FIRST_BYTES_MAX]) == content_type


@pytest.mark.parametrize(
    ("key", "content_type"),
    [
        ("a.jpg", "image/jpeg"),
        ("folder.png/A.JPG", "image/jpeg"),
        ("a.webp", "image/webp"),
        ("a.avif", "image/avif"),
        ("page.html", "text/html"),
        ("a.tar.gz", "application/octet-stream"),
        ("a", "application/octet-stream"),
        ("folder.png/a", "application/octet-stream"),
        (".png", "application/octet-stream"),
        ("data:text/html,x", "application/octet-stream"),
        ("a.png/", "application/octet-stream"),
        ("a.unheard-of", "application/octet-stream"),
    ],
)
def test_a_key_s_extension_stands_for_a_type(key: str, content_type: str) -> None:
    assert type_by_name(key) == content_type
