"""Where the next page of a listing begins, in words that clients carry for us.

A token holds everything that is needed to go on, so it outlives a restart, and nothing that would be a right: whoever forges one
names a place within the bucket and prefix that he is asking for anyway.

V1 has no tokens; its clients send the marker of the last page, which is a key. A place that is no key (within the search for a live
key below a common prefix) becomes a marker that is longer than any key can be.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass

from addon.s3.errors import S3Error
from addon.s3.keys import KEY_BYTES_MAX

# The origin's own token, as it came; AWS's have some hundred characters, RGW's are keys.
ORIGIN_TOKEN_BYTES_MAX = 2048
# JSON writes a control character in six bytes, and Base64 three bytes in four; the rest is for the frame.
TOKEN_CHARS_MAX = 6 * (2 * KEY_BYTES_MAX + ORIGIN_TOKEN_BYTES_MAX) * 4 // 3 + 32

_VERSION = 1
_MARKER_HEAD = "tgstore-place:"
_MARKER_PADDING = "."


@dataclass(frozen=True, slots=True)
class Place:
    """The page holds what is greater than `after` (empty: everything).

    `probe` is a key below the common prefix that comes next: all keys below that prefix up to there are known to be deleted.
    `origin_token` is the origin's continuation token, kept only where its page was truncated and had no entry to go on from.
    """

    after: str = ""
    probe: str = ""
    origin_token: str = ""


def token_of(place: Place) -> str:
    """The continuation token of V2: URL-safe characters only."""
    fields = [_VERSION, place.after, place.probe, place.origin_token]
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def place_of_token(token: str) -> Place:
    """Raises InvalidArgument for a token that was not made here."""
    place = _parsed(token)
    if place is None:
        # The empty token too, as AWS S3 does; Ceph RGW takes it for none.
        raise S3Error(
            "InvalidArgument",
            "The continuation token provided is incorrect",
            details={"ArgumentName": "continuation-token"},
        )
    return place


def marker_of(place: Place) -> str:
    """V1's NextMarker: the key or common prefix after which the next page begins, wherever that says everything."""
    if not place.probe and not place.origin_token:
        return place.after
    return f"{_MARKER_HEAD}{token_of(place)}".ljust(KEY_BYTES_MAX + 1, _MARKER_PADDING)


def place_of_marker(marker: str) -> Place | None:
    """The place behind a marker that can be no key; None for an ordinary marker. Raises InvalidArgument where it is damaged."""
    if len(marker) <= KEY_BYTES_MAX or not marker.startswith(_MARKER_HEAD):
        return None
    place = _parsed(marker.removeprefix(_MARKER_HEAD).rstrip(_MARKER_PADDING))
    if place is None:
        raise S3Error("InvalidArgument", "The marker provided is incorrect", details={"ArgumentName": "marker"})
    return place


def _parsed(token: str) -> Place | None:
    if len(token) > TOKEN_CHARS_MAX or not token.isascii():
        return None
    try:
        fields = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
        sizes = [len(text.encode()) for text in fields[1:] if isinstance(text, str)]
    except (binascii.Error, ValueError, TypeError, LookupError, RecursionError):
        # ValueError: no JSON, no UTF-8, or lone surrogates, which JSON can spell.
        return None
    if len(fields) != 4 or fields[0] != _VERSION or len(sizes) != 3:
        return None
    _, after, probe, origin_token = fields
    if max(sizes[:2]) > KEY_BYTES_MAX or sizes[2] > ORIGIN_TOKEN_BYTES_MAX:
        return None
    return Place(after, probe, origin_token)
