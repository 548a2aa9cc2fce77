"""file_id and file_unique_id: opaque to clients, and without a table behind them.

A file_id is sealed with the world's secret: it says which bot and which document it belongs to only to the stand-in. So it
survives a restart, another bot's file_id is well-formed and yet useless, and each message has its own for the same document.
"""

import hashlib
import hmac
from base64 import b64decode, urlsafe_b64encode
from dataclasses import dataclass

NONCE_BYTES = 8
_SEAL_BYTES = 23
_LAST_BYTE = 4  # the version byte with which every persistent file_id ends (td: FileManager.h)

# The first byte of a file_id tells its type; these give the beginnings that are seen in the wild (BQAC, CgAC, BAAC, ...).
_TYPE_BYTES = {"document": 5, "animation": 10, "video": 4, "audio": 9, "voice": 3, "sticker": 8, "thumbnail": 0}


@dataclass(frozen=True, slots=True)
class FileReference:
    """What a file_id says: the bot it was made for, the document, and the nonce that tells this file_id from its siblings."""

    bot_id: int
    document_id: int
    nonce: bytes
    type: str


def message_nonce(secret: bytes, *parts: int) -> bytes:
    """A nonce that depends on nothing but `parts` (owner, chat, message, edits), so that a message keeps its file_id."""
    text = ",".join(str(part) for part in parts).encode()
    return hashlib.blake2b(text, key=secret, digest_size=NONCE_BYTES).digest()


def make_file_id(secret: bytes, reference: FileReference) -> str:
    """The file_id for `reference`: 72 characters of base64url, its last byte 4."""
    plain = reference.bot_id.to_bytes(8, "big") + reference.document_id.to_bytes(8, "big")
    kind = bytes([_TYPE_BYTES[reference.type]])
    cipher = _xor(plain, _digest(secret, b"stream", kind + reference.nonce, 16))
    seal = _digest(secret, b"seal", kind + reference.nonce + cipher, _SEAL_BYTES)
    filler = bytes([reference.nonce[0] & 0x3F])
    return _encode(kind + b"\x00\x02\x02\x02" + filler + reference.nonce + cipher + seal + bytes([_LAST_BYTE]))


class NotAFileId(Exception):
    """The text is no file_id at all: no base64url, or not of the right form."""


def read_file_id(secret: bytes, text: str) -> FileReference | None:
    """What the file_id says, or None where it has the right form but was never made by this world.

    Raises NotAFileId for a text that cannot be unserialised.
    """
    try:
        raw = b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise NotAFileId from None
    types = {value: name for name, value in _TYPE_BYTES.items()}
    if len(raw) < 16 or raw[-1] != _LAST_BYTE or raw[0] not in types or raw[1:3] != b"\x00\x02":
        raise NotAFileId
    nonce, cipher = raw[6 : 6 + NONCE_BYTES], raw[14:30]
    if len(cipher) != 16:
        return None
    plain = _xor(cipher, _digest(secret, b"stream", raw[:1] + nonce, 16))
    reference = FileReference(
        bot_id=int.from_bytes(plain[:8], "big"),
        document_id=int.from_bytes(plain[8:], "big"),
        nonce=nonce,
        type=types[raw[0]],
    )
    # Making it again checks the seal and every other byte at once.
    return reference if hmac.compare_digest(make_file_id(secret, reference), text) else None


def make_unique_id(secret: bytes, document_id: int, variant: bytes = b"") -> str:
    """The file_unique_id: the same for every bot and at every time, good for nothing but comparison."""
    digest = _digest(secret, b"unique" + variant, document_id.to_bytes(8, "big"), 9)
    return _encode(b"\x02\x00\x03" + digest)


def _digest(secret: bytes, purpose: bytes, data: bytes, size: int) -> bytes:
    return hashlib.blake2b(data, key=secret, person=purpose[:16], digest_size=size).digest()


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
