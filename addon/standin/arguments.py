"""From text to values, the way the real server reads arguments. Pure: no I/O."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import unquote_plus, unquote_to_bytes

from addon.standin.failures import BareError, fail

MESSAGE_IDENTIFIERS_MAX = 100

_LEADING_INTEGER = re.compile(r"-?[0-9]{1,18}")
_WHOLE_INTEGER = re.compile(r"-?[0-9]{1,18}\Z")


def read_bool(text: str) -> bool:
    """`true`, `yes` and `1` in any case, trimmed, are true; everything else is false (Client.cpp, `to_bool`)."""
    return text.strip().lower() in ("true", "yes", "1")


def read_integer(text: str) -> int:
    """The number at the beginning of `text`, 0 where there is none."""
    match = _LEADING_INTEGER.match(text)
    return int(match.group()) if match else 0


def read_chat_id(text: str) -> int | str | None:
    """A chat's number, its name without `@`, or None for a text that is neither."""
    text = text.strip()
    if text.startswith("@"):
        return text[1:].lower() or None
    return int(text) if _WHOLE_INTEGER.match(text) else None


def read_message_ids(text: str) -> list[int]:
    """The identifiers in a JSON array of numbers or of strings of digits.

    Raises ApiError 400 for anything else and for more than a hundred (https://core.telegram.org/bots/api#deletemessages).
    """
    if not text.strip():
        raise fail(400, "message identifiers are not specified")
    try:
        values = json.loads(text)
    except ValueError:
        raise fail(400, "can't parse message_ids JSON object") from None
    if not isinstance(values, list):
        raise fail(400, "expected an Array of message identifiers")
    if len(values) > MESSAGE_IDENTIFIERS_MAX:
        raise fail(400, "too many message identifiers specified")
    return [_read_message_id(value) for value in values]


def _read_message_id(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise fail(400, "message identifier must be a Number")
    if isinstance(value, str) and not _WHOLE_INTEGER.match(value):
        raise fail(400, "can't parse message identifier as a Number")
    identifier = int(value)
    if identifier <= 0:
        raise fail(400, "invalid message identifier specified")
    return identifier


def require_increasing(identifiers: list[int]) -> None:
    """Raises ApiError 400 unless each identifier is greater than the one before it, as forwardMessages demands."""
    if not identifiers:
        raise fail(400, "message identifiers are not specified")
    if any(later <= earlier for earlier, later in pairwise(identifiers)):
        raise fail(400, "message identifiers must be in a strictly increasing order")


def parse_urlencoded(text: str) -> list[tuple[str, str]]:
    """The pairs of a query string or an urlencoded body, in their order, empty values included."""
    pairs = []
    for piece in text.split("&"):
        if piece:
            name, _, value = piece.partition("=")
            pairs.append((unquote_plus(name), unquote_plus(value)))
    return pairs


def parse_json_object(body: bytes) -> list[tuple[str, str]]:
    """The fields of a JSON object as arguments: strings as they are, everything else as its JSON text.

    Raises BareError 400 for what is not a JSON object.
    """
    try:
        value = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise BareError(400) from None
    if not isinstance(value, dict):
        raise BareError(400)
    return [(name, field if isinstance(field, str) else json.dumps(field)) for name, field in value.items()]


def merge(*sources: Iterable[tuple[str, str]]) -> dict[str, str]:
    """One dictionary of all sources; the first occurrence of a name wins."""
    merged: dict[str, str] = {}
    for source in sources:
        for name, value in source:
            merged.setdefault(name, value)
    return merged


@dataclass(frozen=True, slots=True)
class Disposition:
    """What a part's Content-Disposition says; `file_name` is None for an argument, and raw bytes for a file."""

    name: str
    file_name: bytes | None


def parse_disposition(value: bytes) -> Disposition:
    """Read `form-data; name="a"; filename=some file.bin` as td's HttpReader does.

    Values may be quoted (a backslash escapes the next character) or not (they run to the next `;`, spaces included), and are
    percent-decoded afterwards, with `+` left alone. Raises BareError 400 where `name` is missing or a quote is not closed.
    """
    parameters: dict[str, bytes] = {}
    position = _next_parameter(value, 0)
    while position < len(value):
        equals = value.find(b"=", position)
        if equals < 0:
            break
        key = value[position:equals].strip().lower().decode("latin-1")
        text, position = _parameter_value(value, equals + 1)
        parameters.setdefault(key, unquote_to_bytes(text))
        position = _next_parameter(value, position)
    if not parameters.get("name"):
        raise BareError(400)
    return Disposition(parameters["name"].decode("utf-8", "replace"), parameters.get("filename"))


def _next_parameter(value: bytes, position: int) -> int:
    separator = value.find(b";", position)
    return len(value) if separator < 0 else separator + 1


def _parameter_value(value: bytes, position: int) -> tuple[bytes, int]:
    """The parameter's text before percent-decoding, and the position after it."""
    while position < len(value) and value[position : position + 1] in b" \t":
        position += 1
    if value[position : position + 1] != b'"':
        end = value.find(b";", position)
        end = len(value) if end < 0 else end
        return value[position:end].strip(), end
    text = bytearray()
    position += 1
    while position < len(value):
        character = value[position : position + 1]
        if character == b'"':
            return bytes(text), position + 1
        if character == b"\\" and position + 1 < len(value):
            position += 1
            character = value[position : position + 1]
        text += character
        position += 1
    raise BareError(400)
