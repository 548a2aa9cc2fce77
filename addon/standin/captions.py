"""Captions and texts as Telegram stores them. Pure: no I/O."""

import json
import re
from typing import Any

from addon.standin.failures import fail

CAPTION_CHARACTERS_MAX = 1024
TEXT_CHARACTERS_MAX = 4096

# Telegram marks these by itself; the patterns are a plain subset of td's.
_ENTITIES = re.compile(
    r"(?P<url>https?://[^\s<>\"]+)|(?P<email>[\w.+-]+@[\w-]+\.[\w.-]+\w)|(?<![\w@])(?P<mention>@[A-Za-z]\w{3,31})"
    r"|(?<![\w#])(?P<hashtag>#\w*[^\W\d]\w*)|(?<![\w/])(?P<bot_command>/[A-Za-z]\w{0,31})"
)


def clean_text(text: str) -> str:
    """Control characters become spaces, carriage returns and outer whitespace go (td: `clean_input_string`).

    Raises ApiError 400 for what was no UTF-8.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise fail(400, "strings must be encoded in UTF-8") from None
    text = text.replace("\r", "")
    return "".join(" " if ord(character) < 32 and character != "\n" else character for character in text).strip()


def find_entities(text: str) -> list[dict[str, Any]]:
    """The entities that Telegram finds by itself; offsets and lengths in UTF-16 code units (Bot API, MessageEntity)."""
    found = []
    for match in _ENTITIES.finditer(text):
        offset = _utf16_units(text[: match.start()])
        found.append({"offset": offset, "length": _utf16_units(match.group()), "type": match.lastgroup})
    return found


def _utf16_units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def read_caption(text: str, parse_mode: str, entities: str) -> tuple[str, tuple[dict[str, Any], ...]]:
    """The stored caption and its entities. Raises ApiError 400 above 1024 characters."""
    return _read(text, parse_mode, entities, CAPTION_CHARACTERS_MAX, "message caption is too long")


def read_text(text: str, parse_mode: str, entities: str) -> tuple[str, tuple[dict[str, Any], ...]]:
    """The stored text and its entities. Raises ApiError 400 for an empty one and above 4096 characters."""
    cleaned, found = _read(text, parse_mode, entities, TEXT_CHARACTERS_MAX, "message is too long")
    if not cleaned:
        raise fail(400, "message text is empty")
    return cleaned, found


def _read(
    text: str, parse_mode: str, entities: str, characters_max: int, too_long: str
) -> tuple[str, tuple[dict[str, Any], ...]]:
    if parse_mode:
        # Refusing is better than storing the markup as text, which the real server would never do.
        raise fail(400, "unsupported parse_mode")
    text = clean_text(text)
    if len(text) > characters_max:
        raise fail(400, too_long)
    if not entities:
        return text, tuple(find_entities(text))
    try:
        given = json.loads(entities)
    except ValueError:
        raise fail(400, "can't parse entities JSON object") from None
    if not isinstance(given, list) or not all(isinstance(entity, dict) for entity in given):
        raise fail(400, "expected an Array of MessageEntity")
    return text, tuple(given)
