"""File names as Telegram keeps them, and the mime type that it takes from them. Pure: no I/O."""

import unicodedata

STEM_CHARACTERS_MAX = 64
EXTENSION_CHARACTERS_MAX = 16

_REPLACED = frozenset("<>:\"/\\|?*&`'")

# Only what a test may meet; for any other extension the field is left out, as the real server does for unknown ones.
_MIME_TYPES = {
    "7z": "application/x-7z-compressed",
    "aac": "audio/aac",
    "avi": "video/x-msvideo",
    "avif": "image/avif",
    "bin": "application/octet-stream",
    "bmp": "image/bmp",
    "css": "text/css",
    "csv": "text/csv",
    "doc": "application/msword",
    "flac": "audio/flac",
    "gif": "image/gif",
    "gz": "application/gzip",
    "htm": "text/html",
    "html": "text/html",
    "ico": "image/vnd.microsoft.icon",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "application/javascript",
    "json": "application/json",
    "m4a": "audio/mp4",
    "mkv": "video/x-matroska",
    "mov": "video/quicktime",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "opus": "audio/opus",
    "pdf": "application/pdf",
    "png": "image/png",
    "svg": "image/svg+xml",
    "tar": "application/x-tar",
    "tgs": "application/x-tgsticker",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "txt": "text/plain",
    "wav": "audio/wav",
    "webm": "video/webm",
    "webp": "image/webp",
    "xml": "application/xml",
    "zip": "application/zip",
}


def clean_file_name(raw: bytes) -> str:
    """The name that Telegram shows for a file sent as `raw`: never empty, and lossy.

    The rules are those of `clean_filename` in td (tdutils/td/utils/filesystem.cpp): the last path component; control characters
    dropped; characters that some file system forbids, and every other sign that is neither letter nor number, become a space;
    spaces and dots at both ends go; 64 characters of stem and 16 of extension stay.
    """
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        return "file"
    name = name.replace("\\", "/").rpartition("/")[2]
    stem, dot, extension = name.rpartition(".")
    if not dot:
        stem, extension = name, ""
    stem = _clean_part(stem, STEM_CHARACTERS_MAX)
    extension = _clean_part(extension, EXTENSION_CHARACTERS_MAX)
    cleaned = f"{stem}.{extension}" if extension else stem
    return cleaned.strip(" .") or "file"


def _clean_part(part: str, characters_max: int) -> str:
    kept: list[str] = []
    for character in part:
        if len(kept) >= characters_max:
            break
        cleaned = _clean_character(character)
        if cleaned and (kept or cleaned not in " ."):
            kept.append(cleaned)
    return "".join(kept).rstrip(" .")


def _clean_character(character: str) -> str:
    code = ord(character)
    if code < 32:
        return ""
    if code < 127:
        return " " if character in _REPLACED else character
    return character if unicodedata.category(character)[0] in "LN" else " "


def extension_of(file_name: str) -> str:
    """The extension in lower case without its dot, or an empty string."""
    return file_name.rpartition(".")[2].lower() if "." in file_name else ""


def mime_type_of(file_name: str) -> str:
    """The mime type for the name's extension, or an empty string: the part's own Content-Type is never looked at."""
    return _MIME_TYPES.get(extension_of(file_name), "")
