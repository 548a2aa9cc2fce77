"""How a sealed document is laid out: pure arithmetic and bytes, no cryptography (`docs/encryption.md` has it byte by byte).

    header     49 bytes and the document's id: all that is needed to open it, beside the master key
    segments   each `segment_bytes` bytes of content (the last one fewer, never none), encrypted, and 16 bytes of tag behind it

The header is not read to read a document: all of it follows from what the index knows. It is there for who has lost the index.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from addon.store.records import Document

MAGIC = b"TGSEALED"
VERSION = 1
TAG_BYTES = 16
KEY_ID_BYTES = 8
SALT_BYTES = 16
DOCUMENT_ID_BYTES_MAX = 255
SEGMENT_BYTES_MAX = 16 << 20

# Magic, version, segment_bytes, key id, salt, length of the content, length of the document's id.
_FIXED = struct.Struct(f">8sII{KEY_ID_BYTES}s{SALT_BYTES}sQB")
HEADER_BYTES_MIN = _FIXED.size
HEADER_BYTES_MAX = _FIXED.size + DOCUMENT_ID_BYTES_MAX
_SEAL_NAME = re.compile(rf"([0-9a-f]{{{2 * KEY_ID_BYTES}}})\.([0-9a-f]{{{2 * SALT_BYTES}}})")


class NotSealed(ValueError):
    """These are not the first bytes of a sealed document, or those of one that a newer version made, or it is cut off."""


@dataclass(frozen=True, slots=True)
class Seal:
    """With what one document is sealed: the id of the master key (lower-case hex), and a salt that no other sealing has."""

    key_id: str
    salt: bytes

    @property
    def name(self) -> str:
        """What `Document.key_id` says."""
        return f"{self.key_id}.{self.salt.hex()}"

    @classmethod
    def named(cls, name: str) -> Seal:
        """The seal of this name. Raises ValueError."""
        match = _SEAL_NAME.fullmatch(name)
        if match is None:
            raise ValueError("this is not the name of a seal")
        return cls(match[1], bytes.fromhex(match[2]))


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the segments; `content_bytes` is the length of all content."""

    document_id: str
    seal: Seal
    segment_bytes: int
    content_bytes: int

    def __post_init__(self) -> None:
        if not 1 <= self.segment_bytes <= SEGMENT_BYTES_MAX:
            raise ValueError(f"a segment has 1 … {SEGMENT_BYTES_MAX} bytes, not {self.segment_bytes}")
        if self.content_bytes < 1:
            raise ValueError("nothing is not sealed")
        if not 1 <= len(self.document_id.encode()) <= DOCUMENT_ID_BYTES_MAX:
            raise ValueError(f"the id of a document has 1 … {DOCUMENT_ID_BYTES_MAX} bytes")

    @classmethod
    def of(cls, document: Document) -> Header:
        """That of a document in Telegram which is sealed. Raises ValueError where its size cannot be."""
        header_bytes = HEADER_BYTES_MIN + len(document.document_id.encode())
        content = _content_bytes(document.size - header_bytes, document.segment_bytes)
        return cls(document.document_id, Seal.named(document.key_id), document.segment_bytes, content)

    @classmethod
    def parsed(cls, start: bytes) -> Header:
        """From the first bytes of a document; `HEADER_BYTES_MAX` of them are always enough. Raises `NotSealed`."""
        if len(start) < HEADER_BYTES_MIN:
            raise NotSealed("it is too short to be a sealed document")
        magic, version, segment_bytes, key_id, salt, content_bytes, id_bytes = _FIXED.unpack_from(start)
        if magic != MAGIC:
            raise NotSealed("it is not a sealed document")
        if version != VERSION:
            raise NotSealed(
                f"it is sealed in version {version} of the format, and this program knows version {VERSION}"
            )
        document_id = start[HEADER_BYTES_MIN : HEADER_BYTES_MIN + id_bytes]
        try:
            if len(document_id) != id_bytes:
                raise ValueError("it is cut off")
            return cls(document_id.decode(), Seal(key_id.hex(), salt), segment_bytes, content_bytes)
        except ValueError as error:
            raise NotSealed(f"its header cannot be: {error}") from None

    def to_bytes(self) -> bytes:
        """As it stands in the document."""
        document_id = self.document_id.encode()
        key_id, salt = bytes.fromhex(self.seal.key_id), self.seal.salt
        fixed = (MAGIC, VERSION, self.segment_bytes, key_id, salt, self.content_bytes, len(document_id))
        return _FIXED.pack(*fixed) + document_id

    @property
    def segments(self) -> int:
        """How many there are."""
        return -(-self.content_bytes // self.segment_bytes)

    @property
    def document_bytes(self) -> int:
        """The size of the whole document."""
        return self.place(self.segments)

    def place(self, segment: int) -> int:
        """Where a segment begins in the document; that of the one behind the last is the document's end."""
        before = min(segment * self.segment_bytes, self.content_bytes) + segment * TAG_BYTES
        return HEADER_BYTES_MIN + len(self.document_id.encode()) + before


def _content_bytes(sealed_bytes: int, segment_bytes: int) -> int:
    """How much content there is in segments of so many bytes together. Raises ValueError where there cannot be so many."""
    if segment_bytes < 1:
        raise ValueError("a sealed document has segments")
    whole, rest = divmod(sealed_bytes, segment_bytes + TAG_BYTES)
    if sealed_bytes < 0 or 0 < rest <= TAG_BYTES:
        raise ValueError("no sealed document has this size")
    return whole * segment_bytes + (rest - TAG_BYTES if rest else 0)


def content_bytes(document: Document) -> int:
    """How many bytes may be read of a document: as many as were sent before they were sealed. Raises ValueError where the size of a
    sealed one cannot be."""
    return Header.of(document).content_bytes if document.key_id else document.size


def content_bytes_max(document_bytes: int, segment_bytes: int) -> int:
    """How much content surely fits into a document of at most so many bytes, in segments of `segment_bytes` or more."""
    return max(0, document_bytes - HEADER_BYTES_MAX) * segment_bytes // (segment_bytes + TAG_BYTES) - TAG_BYTES
