"""What a key was last, from what the documents in Telegram tell: pure, and the same in whatever order they are read.

Four kinds of facts, in this order of strength:

- A *telling* of a key's whole state. Of several the one with the highest generation counts (for a key that is gone: that of what it
  was last, and "gone" is later than that), and of one generation the one that was told last: bytes may have moved meanwhile.
- A snapshot tells of every key at once, also of those that it does not have. What was told before it says nothing new.
- An *item* of a pack is what a write brought that was acknowledged once its pack was in Telegram, whether or not its state could be
  told. Its commit, where there was one, got a generation above its pack's number. So a state with a higher generation is the
  item's own, or came at the same time or later; one with a lower generation is older than the item, unless the pack was settled
  when that state was read: then the item had been given up.
- A pack says up to which number all packs are settled and told: items of those that no state tells were given up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from addon.store.pack_format import PackedItem
from addon.store.told_states import ToldState, whole_state


@dataclass(frozen=True, slots=True)
class Baseline:
    """The snapshot that is there already: the counter's value at its moment, and the packs that were not settled then. Number 0:
    there is none."""

    number: int = 0
    under_way: frozenset[int] = frozenset()

    def knows_of(self, number: int) -> bool:
        """Whether it has everything that came of the pack of this number."""
        return number <= self.number and number not in self.under_way


@dataclass(frozen=True, slots=True)
class Telling:
    """A whole state, read when the counter stood at `as_of` and these packs were not settled."""

    told: ToldState
    as_of: int
    under_way: frozenset[int]

    @property
    def rank(self) -> tuple[int, bool, int]:
        """The higher, the later."""
        return self.told.generation, self.told.state is None, self.told.telling


@dataclass(frozen=True, slots=True)
class Piece:
    """A state's piece, in a pack with these facts."""

    told: ToldState
    as_of: int
    under_way: frozenset[int]


@dataclass(frozen=True, slots=True)
class UntoldItem:
    """An object's item in the pack of this number, at `position` in it."""

    number: int
    position: int
    document_id: str
    item: PackedItem


def tellings(pieces: Iterable[Piece]) -> list[Telling]:
    """The whole states among pieces of one key. One that lacks a piece says nothing."""
    together: dict[int, list[Piece]] = {}
    for piece in pieces:
        together.setdefault(piece.told.telling, []).append(piece)
    found = []
    for of_one in together.values():
        first = min(of_one, key=lambda piece: piece.told.piece)
        try:
            whole = whole_state([piece.told for piece in of_one])
        except ValueError:
            continue
        found.append(Telling(whole, first.as_of, first.under_way))
    return found


def last_telling(found: Sequence[Telling], baseline: Baseline) -> Telling | None:
    """The state of a key that counts among what was told after the snapshot; None where nothing was. What was read at the very
    value of the counter that the snapshot has may be younger, and says the same if it is not."""
    younger = [one for one in found if one.as_of >= baseline.number]
    return max(younger, key=lambda one: one.rank, default=None)


def last_item(
    items: Sequence[UntoldItem], found: Sequence[Telling], *, held: int, settled_up_to: int, baseline: Baseline
) -> UntoldItem | None:
    """The item that is younger than everything that is known of its key; None where there is none. `held` is the generation of what
    the index has of the key, by the snapshot or by what was told since; 0 for nothing. What was told before the snapshot counts
    here: the key may have been there, and gone, by then."""
    telling = max(found, key=lambda one: one.rank, default=None)
    left = [one for one in items if held < one.number and _is_younger(one.number, telling, settled_up_to, baseline)]
    return max(left, key=lambda one: (one.number, one.position), default=None)


def _is_younger(number: int, telling: Telling | None, settled_up_to: int, baseline: Baseline) -> bool:
    if number <= settled_up_to or baseline.knows_of(number):
        return False
    if telling is None:
        return True
    was_settled = number <= telling.as_of and number not in telling.under_way
    return not was_settled and telling.told.generation < number
