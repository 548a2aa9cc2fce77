"""What erasing needs to know and remember: values, and the port of it.

Nothing is touched that is still needed: by an object or the part of an open upload (such a document is no garbage), by an upload
that is under way (its documents are garbage only after `UPLOAD_S_MAX` and some hours more, and what is younger than a pack of which
not everything is committed is left alone), by a snapshot within its time.

The fence: a document that is to be erased is written down in the transaction that finds that it still is garbage. From then on no
transaction takes it into use again, also for some days after it is gone: who still knew it gets `SourceChanged`. So what happens in
Telegram needs no order with what happens here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from addon.store.migration import NOTHING, Amount
from addon.store.records import Document, Move

# For so long nothing that was erased is taken into use again, whoever still knew it; and for so long `status` counts it.
ERASED_KEPT_S = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class ErasureTerms:
    """Which garbage is erased: what has been garbage for `grace_s` seconds, so that readers who had begun could end, and is not
    needed by a snapshot taken at `kept_since_s` (UNIX seconds) or later; None: whatever snapshots need."""

    grace_s: float
    kept_since_s: float | None


@dataclass(frozen=True, slots=True)
class DoomedDocument:
    """A document that is to be erased, with its second copies (the same document in other chats)."""

    document: Document
    copies: Sequence[Document] = ()
    tells_states: bool = False


@dataclass(frozen=True, slots=True)
class PartlyDeadDocument:
    """A document of which `dead_bytes` bytes belong to nothing any more, while others do."""

    document: Document
    dead_bytes: int


@dataclass(frozen=True, slots=True)
class LiveExtent:
    """`length` bytes at `offset` of a document that belong to an object, or to a part of an upload for that key. `block_sha256s` as
    in `Extent`."""

    bucket: str
    key: str
    offset: int
    length: int
    block_sha256s: bytes


@dataclass(frozen=True, slots=True)
class ToldKey:
    """A state that a document tells: it is in force while the key's generation is this one, or the key is gone."""

    bucket: str
    key: str
    generation: int


@dataclass(frozen=True, slots=True)
class ErasurePlan:
    """What would be erased under some terms, and what stays and why; documents and their bytes.

    `erasable` goes. `too_young` may still be read, or belong to an upload that is under way; `in_packs` is as young as a pack of
    which not everything is committed or given up; `for_snapshots` is needed by a snapshot; `failed` could not be erased and rests;
    `for_states` have no object's bytes, but tell states of keys, so that a lost index can be made again. `partly_dead` documents
    hold `dead_bytes` that belong to nothing any more, and `live_bytes` that would have to be moved first.
    """

    erasable: Amount = NOTHING
    too_young: Amount = NOTHING
    in_packs: Amount = NOTHING
    for_snapshots: Amount = NOTHING
    failed: Amount = NOTHING
    for_states: Amount = NOTHING
    partly_dead: Amount = NOTHING
    dead_bytes: int = 0
    live_bytes: int = 0


class ErasureIndex(Protocol):
    """The index, as far as erasing needs it; the terms are those of `ports.Index`."""

    async def erasure_plan(self, terms: ErasureTerms, *, now_s: float) -> ErasurePlan:
        """What would be erased now. Changes nothing."""

    async def begin_erasures(
        self, terms: ErasureTerms, *, now_s: float, lease_s: float, limit: int
    ) -> Sequence[DoomedDocument]:
        """Fence up to `limit` documents that may be erased, the oldest garbage first; nobody else is given them for `lease_s`
        seconds."""

    async def end_erasure(self, document_id: str, *, now_s: float) -> None:
        """Nothing of the document is left in Telegram: forget it."""

    async def put_off_erasure(self, document_id: str, *, until_s: float, reason: str) -> None:
        """It could not be erased, and rests until then; the fence stands. An empty reason: somebody was interrupted."""

    async def end_rests(self, *, now_s: float) -> None:
        """What could not be erased may be tried again now."""

    async def erased_after(self, at_s: float, document_id: str, *, limit: int) -> Sequence[tuple[float, str]]:
        """When documents were erased and their ids, in this order, beginning behind that place."""

    async def erased_amount(self) -> Amount:
        """What was erased within the days that the fence remembers."""

    async def forget_erasures(self, *, before_s: float) -> int:
        """Let go of the fences of what was erased before; returns how many there were."""

    async def partly_dead(self, *, share_min: float, after: str, limit: int) -> Sequence[PartlyDeadDocument]:
        """Documents in use of whose bytes at least this share belongs to nothing any more, in the order of their ids."""

    async def live_extents(self, document_id: str) -> Sequence[LiveExtent]:
        """What objects and parts have of a document, in the order of their offsets."""

    async def relocate(self, moves: Sequence[Move]) -> int:
        """See `ports.Index`."""

    async def in_force(self, told: Sequence[ToldKey]) -> int:
        """How many of these states are in force."""

    async def untell(self, told: Sequence[ToldKey]) -> int:
        """Those of these states that are in force are to be told again: the document that told them goes. Returns how many."""

    async def told_elsewhere(self, document_ids: Sequence[str]) -> None:
        """What these documents tell is told by others too: they tell nothing any more that is needed."""

    async def states_documents(self) -> Sequence[Document]:
        """Garbage that never had an object's bytes and tells states, the oldest first."""

    async def doom(self, document_ids: Sequence[str]) -> None:
        """Such documents are to be erased: what they tell is told anew elsewhere first."""
