"""The canonical forms that AWS Signature Version 4 signs, with S3's exceptions.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, "Task 1: Create a Canonical Request".

Text comes in as Latin-1, one character a byte, as it was received; what leaves is the text whose Latin-1 bytes are signed. So
the bytes that are verified are the bytes that arrived, whatever encoding their sender had in mind.

A path is never normalised: `//`, `.` and `..` are bytes of a key. It is decoded once and encoded once, never twice, and with
the meaning that `addon.s3.keys` and `addon.s3.query` give to it: `+` is a plus in a path and a space in a query. Two readings
of one spelling would let a signature for one key or parameter serve for another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote, unquote_to_bytes

_CANONICAL_PATH = re.compile(r"[A-Za-z0-9\-._~/]*")
_CANONICAL_COMPONENT = re.compile(r"[A-Za-z0-9\-._~]*")
_BLANKS = re.compile(r"[ \t]+")


def canonical_path(raw_path: str) -> str:
    """All but unreserved characters and slashes escaped, in upper-case hex."""
    if _CANONICAL_PATH.fullmatch(raw_path):
        return raw_path
    return quote(unquote_to_bytes(_wire_bytes(raw_path)), safe="/")


def canonical_parameters(raw_query: str) -> list[tuple[str, str]]:
    """Names and values of a query in canonical spelling, in the order received; a missing value is an empty one."""
    pairs = (piece.partition("=") for piece in raw_query.split("&") if piece)
    return [(_canonical_component(name), _canonical_component(value)) for name, _, value in pairs]


def decoded_parameter(canonical: str) -> str:
    """The text of a canonical name or value; what is not UTF-8 in it becomes replacement characters."""
    return unquote_to_bytes(canonical).decode("utf-8", "replace") if "%" in canonical else canonical


def canonical_query(parameters: Iterable[tuple[str, str]]) -> str:
    """Canonical parameters sorted by encoded name, then by encoded value."""
    return "&".join([f"{name}={value}" for name, value in sorted(parameters)])


def canonical_headers(names: Sequence[str], values_by_name: Mapping[str, Sequence[str]]) -> str:
    """One line for each signed header, in the order of `names` (lower case).

    Blanks are trimmed and collapsed, values of headers that stand more than once are joined by a comma. A signed header that is
    absent has the empty value, `expect` excepted: proxies answer `100-continue` themselves and take the header away, and
    nothing else is ever sent in it.
    """
    lines = []
    for name in names:
        values = values_by_name.get(name)
        if values is None:
            lines.append("expect:100-continue\n" if name == "expect" else f"{name}:\n")
        else:
            lines.append(f"{name}:{','.join([_trimmed(value) for value in values])}\n")
    return "".join(lines)


def _trimmed(value: str) -> str:
    # Only ASCII blanks: str.split() would also take bytes of UTF-8 text for spaces (0x85, 0xA0 as Latin-1).
    value = value.strip(" \t")
    return _BLANKS.sub(" ", value) if "  " in value or "\t" in value else value


def _canonical_component(raw: str) -> str:
    if _CANONICAL_COMPONENT.fullmatch(raw):
        return raw
    return quote(unquote_to_bytes(_wire_bytes(raw.replace("+", " "))), safe="")


def _wire_bytes(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        # The caller decoded otherwise. Looking for a claim must not fail on that; a signature will hardly match.
        return text.encode("utf-8", "surrogatepass")
