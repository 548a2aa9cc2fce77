"""What group commit asks of the index: numbers for packs, and the states that no document tells yet. Values and port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from addon.store.records import Document, Extent


@dataclass(frozen=True, slots=True)
class UntoldKey:
    """A key whose state is to be told. `change` is another one after each change of the state."""

    bucket: str
    key: str
    change: int


@dataclass(frozen=True, slots=True)
class Partly:
    """A state of which some pieces were told: how its next one begins. `telling` and `piece` as in `told_states.py`."""

    of: UntoldKey
    telling: int
    piece: int
    extents_from: int
    parts_after: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where telling goes on: behind this key, or with the next piece of a large state. The order of keys is a ring."""

    bucket: str = ""
    key: str = ""
    partly: Partly | None = None


@dataclass(frozen=True, slots=True)
class StateToTell:
    """One entry for a pack: `text` is a line of `told_states.state_text`."""

    of: UntoldKey
    text: str
    telling: int
    piece: int = 0
    last: bool = True


@dataclass(frozen=True, slots=True)
class Untold:
    """States as of one moment, at which the counter stood at `as_of` and the packs `under_way` were not settled. `complete` says
    that these are all the states that no document told at that moment, and that could be told: with `spooled` there were objects
    whose bytes were not in Telegram yet."""

    as_of: int
    under_way: tuple[int, ...]
    states: tuple[StateToTell, ...]
    cursor: Cursor
    complete: bool
    spooled: bool = False


class PackIndex(Protocol):
    """The index, as far as packs need it; the terms are those of `ports.Index`."""

    async def begin_pack(self, process_id: str, *, settled: Sequence[int], now_s: float) -> int:
        """Number a pack of this process, which is under way from now on; its packs `settled` are so no more."""

    async def settle_packs(self, numbers: Sequence[int]) -> None:
        """These packs are under way no more: each of their items was committed or given up."""

    async def give_up(self, extents: Sequence[Extent], *, now_s: float) -> None:
        """See `ports.Index`."""

    async def forget_packs(self, *, processes: str, began_before_s: float) -> int:
        """The packs that processes whose ids begin with `processes` numbered before that time are under way no more, because those
        processes have ended; returns how many there were."""

    async def untold(self, number: int, cursor: Cursor, *, bytes_max: int, but: frozenset[UntoldKey]) -> Untold:
        """States for the pack `number`, those `but` excepted, in at most so many bytes of text; a state that does not fit into them
        alone comes in pieces."""

    async def has_untold(self) -> bool:
        """Whether there is a state that no document tells."""

    async def acknowledge_pack(
        self, document: Document, told: Sequence[UntoldKey], *, tells_states: bool, only_tells: bool, now_s: float
    ) -> None:
        """Telegram has the pack: the document is known as garbage until an extent refers to it, and the states `told` are untold no
        more, unless they changed meanwhile. `only_tells`: there are no items in it."""
