"""What recovery asks of the index that it makes: values and port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from addon.store.pack_format import Pack
from addon.store.records import Document
from addon.store.recovered_keys import Baseline, UntoldItem
from addon.store.snapshot_format import PartMark, RootMark, Snapshot


@dataclass(frozen=True, slots=True)
class ChatProgress:
    """Of a chat: the messages `first` … `last` are to be read, and those before `next` were."""

    chat_id: int
    first: int
    next: int
    last: int

    @property
    def left(self) -> int:
        """How many are still to be read, at most."""
        return max(0, self.last - self.next + 1)


@dataclass(frozen=True, slots=True)
class RecoveryPlan:
    """From what an index is recovered: the snapshot (None: from messages alone) and what it knows of the packs, the identity that
    the index goes on with (None: one of its own), which messages are to be read, and a number that the counter is above in any
    case."""

    snapshot: Snapshot | None
    baseline: Baseline
    identity: int | None
    chats: Sequence[ChatProgress]
    number_floor: int = 0


@dataclass(frozen=True, slots=True)
class FoundDocument:
    """A document of ours in a message, sent at `sent_at_s` (UNIX seconds). `mark` is set where it belongs to a snapshot."""

    document: Document
    sent_at_s: int
    mark: RootMark | PartMark | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """What some messages of a chat had: documents, packs with their documents' ids, and how many messages were somebody else's, or
    there no more. `unreadable` says what could not be read. `next` is where to go on."""

    chat_id: int
    next: int
    documents: Sequence[FoundDocument] = ()
    packs: Sequence[Pack] = ()
    foreign: int = 0
    holes: int = 0
    unreadable: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class LostObject:
    """An object whose state is known, and some of whose documents are in no chat."""

    bucket: str
    key: str
    size: int
    missing: Sequence[str]


@dataclass(frozen=True, slots=True)
class Recovered:
    """What came of it. Objects and tombstones that the index has by now, and their bytes; of what was read: documents, second
    copies and repeated sends of them, packs, states and objects that were applied; and all that has no place. `untold` are objects
    in settled packs that no state tells of: no client was told that they are stored, or the document that told of them is gone."""

    objects: int = 0
    tombstones: int = 0
    size: int = 0
    documents: int = 0
    copies: int = 0
    repeated: int = 0
    packs: int = 0
    states: int = 0
    items: int = 0
    foreign: int = 0
    holes: int = 0
    unplaced_documents: int = 0
    open_parts: int = 0
    untold: int = 0
    spooled_only: int = 0
    lost: Sequence[LostObject] = ()
    unreadable: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class UnsettledPack:
    """A pack whose items may be objects that no state tells of."""

    number: int
    document: Document


@dataclass(frozen=True, slots=True)
class StatesPlaced:
    """What came of placing some keys: the last of them (None: there are no more), and how many states were applied."""

    last: tuple[str, bytes] | None
    applied: int
    lost: Sequence[LostObject] = field(default_factory=tuple)


class RecoveryIndex(Protocol):
    """An index that is being recovered. What was done survives a stop. Raises `IndexUnavailable` from every method."""

    async def plan(self) -> RecoveryPlan | None:
        """From what it is recovered, as far as that was decided, with the chats' progress."""

    async def begin(self, plan: RecoveryPlan) -> None:
        """Decide that."""

    async def known_messages(self, chat_id: int, first: int, last: int) -> frozenset[int]:
        """Which messages of these the index knows already, packs that were not settled excepted: they need not be read."""

    async def has_pack(self, document_id: str) -> bool:
        """Whether the pack in this document was read."""

    async def add(self, chunk: Chunk) -> None:
        """Remember what some messages had, and that they were read."""

    async def continue_numbers(self) -> None:
        """All messages were read: from here on the counter is above every number that any of them has."""

    async def place_states(self, after: tuple[str, bytes] | None, *, limit: int, now_s: float) -> StatesPlaced:
        """Give so many keys behind that one the states that were told of them."""

    async def unsettled_packs(self, *, take_untold: bool) -> Sequence[UnsettledPack]:
        """Packs that may have items which no state tells of, and which count; with `take_untold` those with items of keys of which
        nothing is known, too."""

    async def place_items(self, items: Sequence[UntoldItem], *, take_untold: bool, now_s: float) -> int:
        """Make those of these items objects that are younger than all that is known of their keys; returns how many. With
        `take_untold` it counts for nothing that they should have been told of."""

    async def summary(self, lost: Sequence[LostObject]) -> Recovered:
        """What came of it."""

    async def finish(self, *, now_s: float, complete: bool) -> None:
        """Make it the index, and close it. Documents that nothing refers to become garbage, if it is `complete`."""

    async def close(self) -> None:
        """Break off; it is taken up again later."""


class RecoveryPlace(Protocol):
    """Where the index is to be. Raises `IndexUnavailable`, also where something is there already."""

    @property
    def folder(self) -> Path:
        """The folder that it will be in: a file of the same disk becomes it."""

    async def resume(self) -> RecoveryIndex | None:
        """What was begun and has not ended; None where nothing was."""

    async def begin(self, made_of: Path | None) -> RecoveryIndex:
        """Begin with a snapshot's file, which is moved, or with an empty index."""

    async def unsettled_packs(self, snapshot: Path) -> frozenset[int]:
        """The packs that were not settled when a snapshot was taken."""
