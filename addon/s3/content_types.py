"""Which type a file has, where nobody says: by its first bytes, else by its name."""

from __future__ import annotations

import mimetypes
from posixpath import basename

DEFAULT_CONTENT_TYPE = "application/octet-stream"
FIRST_BYTES_MAX = 16

# Types of pictures that older Pythons do not know.
_NEWER = {
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".jxl": "image/jxl",
}

# Only types that a browser shows and does not run (https://mimesniff.spec.whatwg.org/#matching-an-image-type-pattern and below).
_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"\x1aE\xdf\xa3", "video/webm"),
    (b"OggS\x00", "application/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"%PDF-", "application/pdf"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/avi"}
_BRANDS = {
    b"avif": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heif",
    b"qt  ": "video/quicktime",
}


def type_by_first_bytes(first: bytes) -> str | None:
    """The type that the first `FIRST_BYTES_MAX` bytes show, None where they show none."""
    for beginning, content_type in _BEGINNINGS:
        if first.startswith(beginning):
            return content_type
    if first[:4] == b"RIFF":
        return _RIFF.get(first[8:12])
    if first[4:8] == b"ftyp":
        return _BRANDS.get(first[8:12], "video/mp4")
    return None


def type_by_name(key: str) -> str:
    """The type that the key's extension stands for; a compressed file is bytes."""
    name = basename(key)
    dot = name.rfind(".")
    extension = name[dot:].lower() if dot > 0 else ""
    if extension in _NEWER:
        return _NEWER[extension]
    # A name of our own: with the key itself, one like `data:text/html,x` would be read as a URL.
    found, encoding = mimetypes.guess_type(f"file{extension}")
    return found if found is not None and encoding is None else DEFAULT_CONTENT_TYPE
