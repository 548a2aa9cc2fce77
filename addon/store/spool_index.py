"""What the index knows of documents that wait in the spool folder: the port, and what comes through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from addon.store.records import Document


@dataclass(frozen=True, slots=True)
class SpooledDocument:
    """A document that waits, since `since_s` (UNIX seconds)."""

    document: Document
    since_s: float


@dataclass(frozen=True, slots=True)
class SpooledPiece:
    """What a spooled document holds, or the largest piece of it that is needed: `length` bytes of the object `bucket`/`key`, or of
    a part of an upload for it, from its `offset` on, in the blocks `block_sha256s`."""

    bucket: str
    key: str
    offset: int
    length: int
    block_sha256s: bytes


@dataclass(frozen=True, slots=True)
class Backlog:
    """So many documents of so many bytes wait, the oldest since `oldest_at_s` (UNIX seconds; None where there is none)."""

    documents: int
    size: int
    oldest_at_s: float | None


class SpoolIndex(Protocol):
    """The index, as the spool needs it. Every method raises `IndexUnavailable`."""

    async def spooled(self, *, after: tuple[float, str] = (0.0, ""), limit: int) -> Sequence[SpooledDocument]:
        """Documents that wait and that an object or a part needs, oldest first, from behind that place (time and document_id)."""

    async def spooled_piece(self, document_id: str) -> SpooledPiece | None:
        """What such a document holds; None where nothing needs it any more."""

    async def spooled_garbage(self, *, limit: int) -> Sequence[str]:
        """Which spooled documents no object and no part needs any more."""

    async def drop_spooled(self, document_ids: Sequence[str]) -> frozenset[str]:
        """Forget those of these documents that are spooled and that nothing needs; returns which of `document_ids` the index does
        not name as spooled (any more). It sees every write that this process began before it."""

    async def backlog(self) -> Backlog:
        """What waits."""
