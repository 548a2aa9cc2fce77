"""Which states the next pack tells, and what becomes of them once Telegram has it.

A state is told by one pack of this process at a time. It counts as told when Telegram has acknowledged the pack, or, of a state in
pieces, all the packs with its pieces; if one fails, the state is told from its beginning again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from addon.store.telling import Cursor, PackIndex, StateToTell, UntoldKey


@dataclass(frozen=True, slots=True)
class Telling:
    """What one pack tells. `settled_up_to`, `as_of` and `under_way` as in `pack_format.py`; `complete`: when Telegram has it, every
    state of the moment at which it was made is told."""

    settled_up_to: int
    as_of: int
    under_way: tuple[int, ...]
    states: tuple[StateToTell, ...]
    complete: bool

    @property
    def texts(self) -> list[str]:
        """The entries of the pack."""
        return [state.text for state in self.states]


@dataclass(slots=True)
class _Pieces:
    """A state in pieces: how many Telegram has, and how many there are once the last one is known."""

    acknowledged: int = 0
    count: int | None = None


class Teller:
    """Gathers states for one pack after the other."""

    def __init__(self, index: PackIndex) -> None:
        self._index = index
        self._cursor = Cursor()
        self._being_told: set[UntoldKey] = set()
        # By the number of the telling: each has one state in pieces at most.
        self._pieces: dict[int, _Pieces] = {}

    async def gather(self, number: int, bytes_max: int) -> Telling:
        """What the pack of this number tells, in so many bytes. `acknowledged` or `failed` must follow, then `forget`. Raises
        `IndexUnavailable`."""
        former = self._cursor.partly
        untold = await self._index.untold(number, self._cursor, bytes_max=bytes_max, but=frozenset(self._being_told))
        self._cursor = untold.cursor
        if former is not None and former.telling not in {state.telling for state in untold.states}:
            # It changed in the middle: what was told of it counts for nothing, and it is untold as another one.
            self._pieces.pop(former.telling, None)
            self._being_told.discard(former.of)
        for state in untold.states:
            self._being_told.add(state.of)
            if not _is_whole(state):
                self._count(state)
        complete = untold.complete and not any(state.piece for state in untold.states)
        settled_up_to = min(untold.under_way, default=number) - 1 if complete and not untold.spooled else 0
        return Telling(settled_up_to, untold.as_of, untold.under_way, untold.states, complete)

    def _count(self, state: StateToTell) -> None:
        if not state.piece:
            self._pieces[state.telling] = _Pieces()
        if (pieces := self._pieces.get(state.telling)) is not None:
            pieces.count = state.piece + 1 if state.last else None
        elif self._cursor.partly is not None and self._cursor.partly.telling == state.telling:
            # A pack with an earlier piece has failed meanwhile.
            self._cursor = replace(self._cursor, partly=None)

    def acknowledged(self, telling: Telling) -> list[UntoldKey]:
        """Telegram has the pack; returns what is told by that."""
        return [state.of for state in telling.states if self._is_told(state)]

    def _is_told(self, state: StateToTell) -> bool:
        if _is_whole(state):
            return True
        pieces = self._pieces.get(state.telling)
        if pieces is None:
            return False
        pieces.acknowledged += 1
        if pieces.acknowledged != pieces.count:
            return False
        del self._pieces[state.telling]
        return True

    def failed(self, telling: Telling) -> None:
        """Nobody knows whether Telegram has the pack, so it told nothing."""
        for state in telling.states:
            if not _is_whole(state):
                self._pieces.pop(state.telling, None)
            if self._cursor.partly is not None and self._cursor.partly.telling == state.telling:
                self._cursor = replace(self._cursor, partly=None)

    def forget(self, telling: Telling) -> None:
        """The index knows by now what was told: what it still has as untold is told by a later pack."""
        self._being_told -= {
            state.of for state in telling.states if _is_whole(state) or state.telling not in self._pieces
        }


def _is_whole(state: StateToTell) -> bool:
    return state.last and not state.piece


def no_telling(number: int) -> Telling:
    """Of a pack that tells nothing, because the index could not be asked."""
    return Telling(0, 0, (number,), (), complete=False)


def texts_bytes(texts: Sequence[str]) -> int:
    """How much of a pack they take."""
    return sum(len(text) + 2 for text in texts)
