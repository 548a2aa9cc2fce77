"""What a message says of its document: read back, and sealed where documents are (`docs/encryption.md` has it byte by byte).

A caption is compact ASCII, at most Telegram's 1024 characters. A plain one is a JSON object with the member `tgstore`. A sealed one
is `tgstore2:` and base64url without padding of: version (1 byte), id of the master key (8), salt (16), the document's segment size
(4; 0 where the document itself is not sealed), nonce (12), the encrypted plain caption, tag (16).
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from addon.store.seal_format import KEY_ID_BYTES, SALT_BYTES, TAG_BYTES, Seal
from addon.store.sealing import NONCE_BYTES, MasterKeys, WrongSeal

CAPTION_CHARS_MAX = 1024  # https://core.telegram.org/bots/api#senddocument
_SEALED_PREFIX = "tgstore2:"
_VERSION = 1
_HEAD = struct.Struct(f">B{KEY_ID_BYTES}s{SALT_BYTES}sI")
# What fits: the base64 of so many bytes has the characters that the prefix leaves.
PLAIN_CHARS_MAX = (CAPTION_CHARS_MAX - len(_SEALED_PREFIX)) * 3 // 4 - _HEAD.size - NONCE_BYTES - TAG_BYTES


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption that is ours: what it says, and how the document is sealed that it belongs to: `key_id` and `segment_bytes` as
    those of `Document`."""

    about: Mapping[str, Any]
    key_id: str = ""
    segment_bytes: int = 0


def seal_caption(keys: MasterKeys, seal: Seal, plain: str, *, segment_bytes: int) -> str:
    """The caption of a document that is sealed with `seal` in such segments; 0 where the document is not, and `seal` is the
    caption's alone. Raises ValueError where it is longer than `PLAIN_CHARS_MAX` or no ASCII."""
    if len(plain) > PLAIN_CHARS_MAX or not plain.isascii():
        raise ValueError(f"a caption to be sealed is ASCII and has at most {PLAIN_CHARS_MAX} characters")
    head = _HEAD.pack(_VERSION, bytes.fromhex(seal.key_id), seal.salt, segment_bytes)
    sealed = head + keys.seal_text(seal, plain.encode(), head)
    return _SEALED_PREFIX + base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def open_caption(keys: MasterKeys, caption: str) -> Caption | None:
    """What a message's caption says, plain or sealed; None where it is nobody's or somebody else's.

    Raises `KeyMissing` where it is sealed under a key that is not there, `WrongSeal` where it is not what was sealed.
    """
    if not caption.startswith(_SEALED_PREFIX):
        about = _json_of(caption)
        return None if about is None else Caption(about)
    try:
        text = caption.removeprefix(_SEALED_PREFIX)
        sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        if base64.urlsafe_b64encode(sealed).decode().rstrip("=") != text:
            raise ValueError("there is more than one spelling")
        version, key_id, salt, segment_bytes = _HEAD.unpack_from(sealed)
    except (binascii.Error, ValueError, struct.error):
        raise WrongSeal("a caption is not what was sealed") from None
    if version != _VERSION:
        raise WrongSeal(f"a caption is sealed in version {version} of the format, and this program knows version 1")
    seal = Seal(key_id.hex(), salt)
    about = _json_of(keys.open_text(seal, sealed[_HEAD.size :], sealed[: _HEAD.size]).decode())
    if about is None:
        return None
    return Caption(about, seal.name if segment_bytes else "", segment_bytes)


def _json_of(text: str) -> Mapping[str, Any] | None:
    try:
        about = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return about if isinstance(about, dict) and "tgstore" in about else None
