"""Which field of the answer a file comes under."""

import pytest

from addon.standin.content import detect, has_thumbnail


@pytest.mark.parametrize(
    ("head", "name", "kind"),
    [
        (b"GIF89a...", "a.bin", "animation"),
        (b"GIF87a...", "a.gif", "animation"),
        (b"\0\0\0\x18ftypisom", "a.mp4", "video"),
        (b"\0\0\0\x18ftypM4A ", "a.m4a", "audio"),
        (b"ID3\x03", "a.mp3", "audio"),
        (b"\xff\xfb\x90\x00", "a.mp3", "audio"),
        (b"fLaC", "a.flac", "audio"),
        (b"OggS....OpusHead", "a.ogg", "voice"),
        (b"RIFF....WEBPVP8 ", "a.webp", "sticker"),
        (b"RIFF....WAVEfmt ", "a.wav", "document"),
        (b"\x89PNG\r\n\x1a\n", "a.png", "document"),
        (b"", "a.gif", "document"),
        (b"anything", "a.tgs", "sticker"),
    ],
)
def test_detection(head: bytes, name: str, kind: str) -> None:
    assert detect(head, name, detection=True) == kind
    assert detect(head, name, detection=False) == ("sticker" if name.endswith(".tgs") else "document")


def test_pictures_and_pdf_have_a_thumbnail() -> None:
    assert has_thumbnail(b"\xff\xd8\xff\xe0")
    assert has_thumbnail(b"%PDF-1.7")
    assert not has_thumbnail(b"plain text")
