"""What a header value that we keep or send may hold.

One representation in the whole program: text by Latin-1, one character a byte, in both directions. So bytes leave as they came,
UTF-8 in user metadata included. (S3 itself gives non-ASCII metadata back in the encoding of RFC 2047; a copy from the origin keeps
what the origin gave.)
"""

from __future__ import annotations

import re

from addon.s3.errors import S3Error

# Everything below space but tab, and DEL: what could end a header, or be read differently by two parsers (RFC 9110, section 5.5).
_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]")


def is_clean(value: str) -> bool:
    """Whether a value can stand in a header without ending it."""
    return _FORBIDDEN.search(value) is None


def clean(name: str, value: str) -> str:
    """The value without the white space around it. Raises InvalidArgument where it is not clean."""
    if not is_clean(value):
        raise S3Error(
            "InvalidArgument",
            "A header value holds a character that no header may hold.",
            details={"ArgumentName": name},
        )
    return value.strip(" \t")
