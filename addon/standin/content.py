"""What Telegram makes of a file's first bytes when content type detection is on. Pure: no I/O."""

from typing import Literal

from addon.standin.names import extension_of

Kind = Literal["document", "animation", "video", "audio", "voice", "sticker"]
HEAD_BYTES = 512


def detect(head: bytes, file_name: str, *, detection: bool) -> Kind:
    """The field under which the answer carries the file, from its first `HEAD_BYTES` and its cleaned name.

    With `detection` off everything is a document, except `.tgs`, which is a sticker all the same (td: DocumentsManager.cpp,
    `on_get_document`).
    """
    if extension_of(file_name) == "tgs":
        return "sticker"
    if not detection:
        return "document"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "animation"
    if head[4:8] == b"ftyp":
        return "audio" if head[8:11] == b"M4A" else "video"
    if head.startswith((b"ID3", b"fLaC")) or _is_mpeg_audio(head):
        return "audio"
    if head.startswith(b"OggS"):
        return "voice" if b"OpusHead" in head else "audio"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "sticker"
    return "document"


def _is_mpeg_audio(head: bytes) -> bool:
    """MPEG audio, layer III: eleven bits of frame synchronisation, then version and layer."""
    return len(head) > 1 and head[0] == 0xFF and head[1] in (0xFB, 0xFA, 0xF3, 0xF2)


def has_thumbnail(head: bytes) -> bool:
    """True for JPEG, PNG and PDF, of which Telegram makes a preview."""
    return head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"%PDF-"))
