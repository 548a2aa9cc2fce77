"""A range of an object's bytes as extents of its own over the same documents, so that nothing is sent to Telegram again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from addon.store.records import BLOCK_BYTES, Document, Extent


@dataclass(frozen=True, slots=True)
class _Cut:
    """`length` bytes at `offset` of a document."""

    document: Document
    offset: int
    length: int


class ExtentRange:
    """`length` bytes from `start` of an object with the extents `of`.

    An extent's hashes are of the blocks that begin at its own offset, so those of the range are computed from the bytes: all of
    them go through `update`, in order, before `extents` is called. Raises ValueError where the extents do not cover the range.
    """

    def __init__(self, of: Sequence[Extent], start: int, length: int) -> None:
        self._cuts = _cut(of, start, length)
        self._hashes: list[list[hashlib._Hash]] = [[] for _ in self._cuts]
        self._at, self._taken = 0, 0

    def update(self, data: bytes) -> None:
        """The next bytes of the range. Blocks for as long as hashing takes. Raises ValueError beyond the range's end."""
        view = memoryview(data)
        while view:
            if self._at == len(self._cuts):
                raise ValueError("more bytes than the range has")
            hashes, in_block = self._hashes[self._at], self._taken % BLOCK_BYTES
            if in_block == 0:
                hashes.append(hashlib.sha256())
            length = self._cuts[self._at].length
            taken = min(len(view), BLOCK_BYTES - in_block, length - self._taken)
            hashes[-1].update(view[:taken])
            view = view[taken:]
            self._taken += taken
            if self._taken == length:
                self._at, self._taken = self._at + 1, 0

    def extents(self) -> tuple[Extent, ...]:
        """The range's extents. Raises ValueError before all of its bytes were given."""
        if self._at != len(self._cuts):
            raise ValueError("bytes of the range are missing")
        return tuple(
            Extent(cut.document, cut.offset, cut.length, b"".join(block.digest() for block in hashes))
            for cut, hashes in zip(self._cuts, self._hashes, strict=True)
        )


def _cut(extents: Sequence[Extent], start: int, length: int) -> list[_Cut]:
    cuts: list[_Cut] = []
    position, end = 0, start + length
    for extent in extents:
        first, last = max(start, position), min(end, position + extent.length)
        if first < last:
            cuts.append(_Cut(extent.document, extent.offset + first - position, last - first))
        position += extent.length
    if sum(cut.length for cut in cuts) != length:
        raise ValueError("the extents do not cover the range")
    return cuts
