"""Object keys: the one decoder that authorization, storage and forwarding share.

A key is the percent-decoded path as UTF-8, and nothing of it is normalised: `//`, `.`, `..`, a leading or trailing slash and
control characters are bytes of the key, and `+` is a plus. `a%2Fb` and `a/b` spell the same key. Only NUL is refused: Ceph RGW
answers it with 400, and text in PostgreSQL cannot hold it.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

from addon.s3.errors import S3Error

KEY_BYTES_MAX = 1024

# A percent sign that escapes nothing, and characters that no request target may hold: two readers could see two different keys.
_UNPARSABLE = re.compile(r"%(?![0-9A-Fa-f]{2})|[\x00-\x20\x7f#]")


def decode_key(raw_key: str, *, bytes_max: int = KEY_BYTES_MAX) -> str:
    """The key that `raw_key` (the path's bytes as Latin-1 text, without the slash that ends host or bucket) spells.

    Raises InvalidURI for a malformed escape, NUL or what is not UTF-8, KeyTooLongError above `bytes_max` bytes of key.
    """
    if len(raw_key) > 3 * bytes_max:
        raise _too_long(len(raw_key) // 3, bytes_max)
    if _UNPARSABLE.search(raw_key) is not None:
        raise invalid_uri()
    try:
        key_bytes = unquote_to_bytes(raw_key.encode("latin-1"))
        key = key_bytes.decode("utf-8")
    except UnicodeError:
        raise invalid_uri() from None
    if len(key_bytes) > bytes_max:
        raise _too_long(len(key_bytes), bytes_max)
    if "\x00" in key:
        raise invalid_uri()
    return key


def encode_key(key: str) -> str:
    """The canonical spelling: all but unreserved characters and slashes escaped, upper-case hex (AWS Signature Version 4)."""
    return quote(key, safe="/~")


def invalid_uri() -> S3Error:
    """The refusal of a request target that cannot be understood."""
    return S3Error("InvalidURI", "Couldn't parse the specified URI.")


def _too_long(size: int, bytes_max: int) -> S3Error:
    return S3Error(
        "KeyTooLongError",
        "Your key is too long",
        details={"Size": str(size), "MaxSizeAllowed": str(bytes_max)},
    )
