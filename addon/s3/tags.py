"""Object tags: as a header gives them, and as XML bodies carry them in both directions.

Rules: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html (10 tags, keys of 128 and values of 256 characters
of UTF-16, letters, numbers, spaces and `+ - = . _ : / @`) and …/API/API_PutObject.html for `x-amz-tagging`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote_to_bytes
from xml.etree.ElementTree import Element

from addon.s3.errors import S3Error
from addon.s3.xml import document, malformed_xml, only_text, parse_xml

TAGS_MAX = 10
KEY_LENGTH_MAX = 128
VALUE_LENGTH_MAX = 256

# Ten tags of the greatest length, each character written as a reference of ten bytes, and room for the elements around them.
TAGGING_BYTES_MAX = 64 << 10

_ALLOWED_BESIDES = frozenset("+-=._:/@")
_ALLOWED_CATEGORIES = frozenset("LNZ")  # letters, numbers, separators: the first letter of Unicode's general category
_SYSTEM_PREFIX = "aws:"


def tags_from_header(value: str) -> dict[str, str]:
    """The tags of `x-amz-tagging`: a query string (`a=1&b=2`), as Latin-1 text of its bytes; empty means no tags.

    Raises InvalidArgument where it is none or names a key twice, InvalidTag or BadRequest for tags that S3 does not take.
    """
    pairs = []
    for piece in value.split("&") if value else ():
        key, _, tag_value = piece.partition("=")
        pairs.append((_unquoted(key), _unquoted(tag_value)))
    if len({key for key, _ in pairs}) < len(pairs):
        raise _bad_header()
    return _checked(pairs)


def tagging_header(tags: Mapping[str, str]) -> str:
    """The value of `x-amz-tagging` that gives these tags."""
    return "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in tags.items())


def tags_from_xml(body: bytes) -> dict[str, str]:
    """The tags of a PutObjectTagging (also the form field `tagging`). Raises MalformedXML, InvalidTag, BadRequest."""
    pairs = _pairs(body)
    if len({key for key, _ in pairs}) < len(pairs):
        raise _invalid_tag("Cannot provide multiple Tags with the same key")
    return _checked(pairs)


def tags_as_told(body: bytes) -> dict[str, str]:
    """The tags of an origin's answer to GetObjectTagging, as they are: its rules may be wider. Raises MalformedXML."""
    return dict(_pairs(body))


def tagging_xml(tags: Mapping[str, str]) -> bytes:
    """The answer to GetObjectTagging."""
    return document("Tagging", [("TagSet", [("Tag", [("Key", key), ("Value", tags[key])]) for key in tags])])


def _pairs(body: bytes) -> list[tuple[str, str]]:
    root = parse_xml(body, root="Tagging")
    if [child.tag for child in root] != ["TagSet"]:
        raise malformed_xml()
    return [_pair(tag) for tag in root[0]]


def _pair(tag: Element) -> tuple[str, str]:
    key, value = only_text(tag, "Key"), only_text(tag, "Value")
    if tag.tag != "Tag" or key is None or value is None or len(tag) > 2:
        raise malformed_xml()
    return key, value


def _checked(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    tags = dict(pairs)
    if len(tags) > TAGS_MAX:
        raise S3Error("BadRequest", f"Object tags cannot be greater than {TAGS_MAX}")
    for key, value in tags.items():
        if not key or _length(key) > KEY_LENGTH_MAX or not _is_allowed(key):
            raise _invalid_tag("The TagKey you have provided is invalid", key)
        if key.startswith(_SYSTEM_PREFIX):
            raise _invalid_tag("System tags cannot be added/updated by requester", key)
        if _length(value) > VALUE_LENGTH_MAX or not _is_allowed(value):
            raise _invalid_tag("The TagValue you have provided is invalid", key)
    return tags


def _length(text: str) -> int:
    """In units of UTF-16, as S3 counts tags."""
    return len(text) + sum(char > "\uffff" for char in text)


def _is_allowed(text: str) -> bool:
    return all(char in _ALLOWED_BESIDES or unicodedata.category(char)[0] in _ALLOWED_CATEGORIES for char in text)


def _unquoted(text: str) -> str:
    try:
        return unquote_to_bytes(text.replace("+", " ").encode("latin-1")).decode("utf-8")
    except UnicodeError:
        raise _bad_header() from None


def _bad_header() -> S3Error:
    return S3Error(
        "InvalidArgument",
        "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.",
        details={"ArgumentName": "x-amz-tagging"},
    )


def _invalid_tag(message: str, key: str | None = None) -> S3Error:
    return S3Error("InvalidTag", message, details={} if key is None else {"TagKey": key})
