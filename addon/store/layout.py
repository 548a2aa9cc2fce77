"""How an object's bytes are laid out in documents: pure arithmetic, no I/O.

A document holds at most `document_bytes_max` bytes. Telegram's servers throttle uploads of equal total size (bot API server source:
the delay is keyed by the byte count of a request's files, above 100 000 bytes), so no document is sent at its natural size: padding
behind the last extent makes sizes differ. Extents know their length, so nobody ever reads the padding.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from addon.store.records import BLOCK_BYTES, Extent

# Up to this size Telegram's equal-size throttle does not look (telegram-bot-api, Client.cpp: 100 000 bytes).
EQUAL_SIZE_THROTTLE_FLOOR_BYTES = 100_000
PADDING_BYTES_MAX = 64 * 1024


def extent_bytes_max(document_bytes_max: int) -> int:
    """The most bytes of an object that one document takes: whole blocks, with room left for padding."""
    blocks = (document_bytes_max - PADDING_BYTES_MAX) // BLOCK_BYTES
    if blocks < 1:
        raise ValueError(f"document_bytes_max must be at least {BLOCK_BYTES + PADDING_BYTES_MAX} bytes")
    return blocks * BLOCK_BYTES


def padding_bytes(length: int, randbelow: Callable[[int], int]) -> int:
    """How many bytes to add behind `length` bytes of content; `randbelow(n)` gives 0 … n-1."""
    if length <= EQUAL_SIZE_THROTTLE_FLOOR_BYTES:
        return 0
    return randbelow(min(PADDING_BYTES_MAX, max(1024, length // 16)))


def caption(*, document_id: str, bucket: str, key: str, offset: int, length: int, block_sha256s: bytes) -> str:
    """What a document's message says of itself: enough to recognise an orphan, compact ASCII far below Telegram's 1024 characters.

    `offset` is the extent's place in the object. `k` and `h` are short hashes: names do not belong in a caption.
    """
    about = {
        "tgstore": 1,
        "d": document_id,
        "k": hashlib.sha256(f"{bucket}/{key}".encode("utf-8", "surrogatepass")).hexdigest()[:16],
        "o": offset,
        "l": length,
        "h": hashlib.sha256(block_sha256s).hexdigest()[:32],
    }
    return json.dumps(about, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Block:
    """One block of an extent, as a reader needs it: which bytes of the document it is, and which of them are asked for. `sha256`
    is None where nobody knows it."""

    extent: Extent
    number: int
    document_offset: int
    length: int
    sha256: bytes | None
    skip: int
    take: int


def blocks_of(extents: tuple[Extent, ...] | list[Extent], start: int, length: int) -> list[Block]:
    """The blocks that cover `length` bytes from `start` of an object, in order.

    `skip` and `take` say which bytes of each block belong to the range. Raises ValueError where the extents do not cover it.
    """
    blocks: list[Block] = []
    position, end = 0, start + length
    for extent in extents:
        first = max(start - position, 0) // BLOCK_BYTES
        count = -(-extent.length // BLOCK_BYTES)
        for number in range(first, count):
            block_start = position + number * BLOCK_BYTES
            block_length = min(BLOCK_BYTES, extent.length - number * BLOCK_BYTES)
            if block_start >= end:
                break
            skip = max(start - block_start, 0)
            take = min(end - block_start, block_length) - skip
            if take > 0:
                # All hashes are unknown, or none: a list that is too short gives a hash that nothing has.
                digest = extent.block_sha256s[32 * number : 32 * number + 32] if extent.has_hashes else None
                offset = extent.offset + number * BLOCK_BYTES
                blocks.append(Block(extent, number, offset, block_length, digest, skip, take))
        position += extent.length
        if position >= end:
            break
    if sum(block.take for block in blocks) != length:
        raise ValueError("the extents do not cover the range")
    return blocks
