"""What a key was last: against a model of an index, of packs under way, and of a disaster at any moment."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.store.pack_format import ItemAbout, ItemKind, PackedItem
from addon.store.records import ObjectRecord, Provenance, Tombstone
from addon.store.recovered_keys import Baseline, Piece, Telling, UntoldItem, last_item, last_telling, tellings
from addon.store.told_states import ToldObject, ToldState

KEYS = "abcd"


def state(key: str, generation: int, value: str | None, telling: int) -> ToldState:
    """An object with `value` as its ETag, a tombstone ("†"), or nothing (None)."""
    if value is None:
        return ToldState("images", key, generation, None, telling)
    if value == "†":
        return ToldState("images", key, generation, Tombstone("images", key, generation, 1), telling)
    record = ObjectRecord("images", key, generation, 1, value, 1, Provenance.WRITTEN_HERE, False)
    return ToldState("images", key, generation, ToldObject(record, (), ()), telling)


def value_of(told: ToldState) -> str | None:
    if isinstance(told.state, ToldObject):
        return told.state.record.etag
    return None if told.state is None else "†"


def item(key: str, value: str) -> PackedItem:
    return PackedItem(ItemAbout("images", key, ItemKind.OBJECT, 1, etag=value), key, 0, 1, "", b"")


@dataclass
class Message:
    """A pack in the chat."""

    number: int
    items: list[tuple[str, str]]
    states: list[ToldState]
    as_of: int
    under_way: frozenset[int]
    settled_up_to: int

    def says_settled(self, number: int, key: str) -> bool:
        """Whether it follows from it that nothing more comes of the key's item in that pack."""
        tells = any(told.key == key for told in self.states)
        return number <= self.settled_up_to or (tells and number <= self.as_of and number not in self.under_way)


@dataclass
class Model:
    """An index and its packs, one action after the other. Each key has one writer at a time."""

    rng: random.Random
    counter: int = 0
    keys: dict[str, tuple[int, str]] = field(default_factory=dict)
    gone: dict[str, int] = field(default_factory=dict)
    untold: set[str] = field(default_factory=set)
    open: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    sent: dict[int, Message] = field(default_factory=dict)
    baseline: tuple[Baseline, dict[str, tuple[int, str]]] = field(default_factory=lambda: (Baseline(), {}))
    last_by_item: set[str] = field(default_factory=set)
    given_up: list[tuple[int, str, str]] = field(default_factory=list)

    def number(self) -> int:
        self.counter += 1
        return self.counter

    @property
    def busy(self) -> set[str]:
        return {key for items in self.open.values() for key, _ in items}

    def idle_key(self) -> str | None:
        return self.rng.choice([key for key in KEYS if key not in self.busy] or [None])

    def send_pack(self) -> None:
        number = self.number()
        items = [(key, f"v{number}") for key in KEYS if key not in self.busy and self.rng.random() < 0.3]
        self.open[number] = items
        # Between its number and the states it may take a while.
        if self.rng.random() < 0.3:
            self.delete()
        told = sorted(self.untold) if self.rng.random() < 0.6 else []
        states = [self.told(key, number) for key in told]
        complete = len(told) == len(self.untold)
        under_way = frozenset(self.open)
        settled = min(under_way) - 1 if complete else 0
        message = Message(number, list(items), states, self.counter, under_way, settled)
        if self.rng.random() < 0.15:
            # It never arrives, and its items are given up.
            del self.open[number]
            return
        self.sent[number] = message
        if not items:
            del self.open[number]
        self.untold -= set(told)

    def told(self, key: str, telling: int) -> ToldState:
        if key in self.keys:
            return state(key, self.keys[key][0], self.keys[key][1], telling)
        return state(key, self.gone[key], None, telling)

    def resolve(self) -> None:
        """Commit an item, or give it up."""
        number = self.rng.choice([number for number in self.open if number in self.sent] or [0])
        if not number:
            return
        items = self.open[number]
        key, value = items.pop(self.rng.randrange(len(items)))
        if self.rng.random() < 0.8:
            self.keys[key] = (self.number(), value)
            self.untold.add(key)
            self.last_by_item.add(key)
        else:
            self.given_up.append((number, key, value))
        if not items:
            del self.open[number]

    def delete(self) -> None:
        key = self.idle_key()
        if key is not None:
            self.keys[key] = (self.number(), "†")
            self.untold.add(key)
            self.last_by_item.discard(key)

    def forget(self) -> None:
        key = self.idle_key()
        if key in self.keys:
            self.gone[key] = self.keys.pop(key)[0]
            self.untold.add(key)
            self.last_by_item.discard(key)

    def move(self) -> None:
        """The bytes of the same object lie elsewhere."""
        key = self.idle_key()
        if key in self.keys and self.keys[key][1] != "†":
            self.keys[key] = (self.keys[key][0], self.keys[key][1] + "'")
            self.untold.add(key)
            self.last_by_item.discard(key)

    def save(self) -> None:
        self.baseline = (Baseline(self.counter, frozenset(self.open)), dict(self.keys))

    def flush(self) -> None:
        while any(number in self.sent for number in self.open):
            self.resolve()
        self.open.clear()
        number = self.number()
        states = [self.told(key, number) for key in sorted(self.untold)]
        self.open[number] = []
        self.sent[number] = Message(number, [], states, number, frozenset({number}), number - 1)
        del self.open[number]
        self.untold.clear()

    def act(self, steps: int, *, saves: bool) -> None:
        actions = [self.send_pack] * 3 + [self.resolve] * 4 + [self.delete, self.forget, self.move]
        actions += [self.save] if saves else []
        for _ in range(steps):
            self.rng.choice(actions)()

    def never_acknowledged(self, key: str) -> set[str | None]:
        """Values in packs that are in Telegram, of which nothing there says that they were given up."""
        found: set[str | None] = set()
        under_way = [(number, *one) for number, items in self.open.items() for one in items if number in self.sent]
        for number, one, value in [*self.given_up, *under_way]:
            if one == key and not any(message.says_settled(number, key) for message in self.sent.values()):
                found.add(value)
        return found


def recovered(model: Model, messages: list[Message]) -> dict[str, str]:
    """What recovery makes of these messages and the snapshot."""
    baseline, saved = model.baseline
    settled_up_to = max((message.settled_up_to for message in messages), default=0)
    found: dict[str, str] = {}
    for key in KEYS:
        pieces = [
            Piece(told, message.as_of, message.under_way)
            for message in messages
            for told in message.states
            if told.key == key
        ]
        items = [
            UntoldItem(message.number, position, "", item(key, value))
            for message in messages
            for position, (one, value) in enumerate(message.items)
            if one == key
        ]
        telling = last_telling(tellings(pieces), baseline)
        held, value = saved.get(key, (0, None))
        if telling is not None and telling.told.generation >= held:
            held, value = telling.told.generation, value_of(telling.told)
        untold = last_item(items, tellings(pieces), held=held, settled_up_to=settled_up_to, baseline=baseline)
        if untold is not None:
            value = untold.item.about.etag
        if value is not None:
            found[key] = value
    return found


@settings(max_examples=500, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(0, 60), saves=st.booleans())
def test_when_all_is_told_all_comes_back_in_whatever_order_it_is_read(seed: int, steps: int, saves: bool) -> None:
    model = Model(random.Random(seed))
    model.act(steps, saves=saves)
    model.flush()
    messages = list(model.sent.values())
    truth = {key: value for key, (_, value) in model.keys.items()}
    assert recovered(model, messages) == truth
    model.rng.shuffle(messages)
    assert recovered(model, messages) == truth


@settings(max_examples=500, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(0, 60), saves=st.booleans())
def test_a_disaster_at_any_moment_loses_nothing_that_was_acknowledged(seed: int, steps: int, saves: bool) -> None:
    model = Model(random.Random(seed))
    model.act(steps, saves=saves)
    found = recovered(model, list(model.sent.values()))
    for key in KEYS:
        if key in model.last_by_item or key not in model.untold:
            truth = model.keys[key][1] if key in model.keys else None
            assert found.get(key) in {truth} | model.never_acknowledged(key)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(0, 60))
def test_a_snapshot_makes_no_difference_but_for_what_was_not_told(seed: int, steps: int) -> None:
    model = Model(random.Random(seed))
    model.act(steps, saves=True)
    model.flush()
    with_snapshot = recovered(model, list(model.sent.values()))
    number = model.baseline[0].number
    younger = [
        message
        for message in model.sent.values()
        if message.number > number or message.number in model.baseline[0].under_way
    ]
    assert recovered(model, younger) == with_snapshot
    model.baseline = (Baseline(), {})
    assert recovered(model, list(model.sent.values())) == with_snapshot


def telling(generation: int, value: str | None, number: int, *, under_way: tuple[int, ...] = ()) -> Telling:
    return Telling(state("a", generation, value, number), number, frozenset(under_way))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([telling(5, "old", 6), telling(7, "new", 8)], "new"),
        ([telling(5, "here", 9), telling(5, "there", 8)], "here"),
        ([telling(5, "it was", 6), telling(5, None, 8)], None),
        ([telling(5, None, 6), telling(7, "again", 8)], "again"),
    ],
)
def test_the_latest_state_counts(found: list[Telling], expected: str | None) -> None:
    best = last_telling(found, Baseline())
    assert best is not None
    assert value_of(best.told) == expected


def test_what_was_told_before_the_snapshot_says_nothing() -> None:
    assert last_telling([telling(5, "gone since", 6)], Baseline(number=10)) is None


def test_an_item_of_a_pack_that_was_not_settled_at_the_snapshot_counts() -> None:
    one = UntoldItem(9, 0, "d", item("a", "v"))
    assert last_item([one], [], held=0, settled_up_to=0, baseline=Baseline(10)) is None
    unsettled = Baseline(10, frozenset({9}))
    assert last_item([one], [], held=0, settled_up_to=0, baseline=unsettled) == one
    assert last_item([one], [], held=10, settled_up_to=0, baseline=unsettled) is None


def test_a_state_that_lacks_a_piece_says_nothing() -> None:
    whole = state("a", 5, "v", 6)
    first = ToldState("images", "a", 5, whole.state, 6, 0, last=False)
    third = ToldState("images", "a", 5, whole.state, 6, 2, last=True)
    assert tellings([Piece(first, 6, frozenset()), Piece(third, 8, frozenset())]) == []
