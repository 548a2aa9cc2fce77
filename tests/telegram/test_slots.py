"""So many at once, first come, first served, whoever leaves, and however the number changes meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from addon.store.ports import TelegramUnavailable
from addon.telegram.slots import Slots


class Holder:
    """Holds a slot until it is let go."""

    def __init__(self, slots: Slots) -> None:
        self.has_it, self.let_go = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self._hold(slots))

    async def _hold(self, slots: Slots) -> None:
        async with slots.one():
            self.has_it.set()
            await self.let_go.wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def holders(slots: Slots, count: int) -> list[Holder]:
    made = [Holder(slots) for _ in range(count)]
    await settle()
    return made


def holding(made: list[Holder]) -> list[bool]:
    return [holder.has_it.is_set() for holder in made]


async def end(made: list[Holder]) -> None:
    for holder in made:
        holder.let_go.set()
    await asyncio.gather(*(holder.task for holder in made), return_exceptions=True)


async def test_the_first_ones_have_it_and_hand_it_on_in_order() -> None:
    made = await holders(Slots(lambda: 2, wait_s_max=10, busy="busy"), 4)
    assert holding(made) == [True, True, False, False]
    made[1].let_go.set()
    await settle()
    assert holding(made) == [True, True, True, False]
    await end(made)


async def test_who_is_cancelled_while_waiting_leaves_its_place_to_the_next() -> None:
    slots = Slots(lambda: 1, wait_s_max=10, busy="busy")
    made = await holders(slots, 3)
    made[1].task.cancel()
    await settle()
    made[0].let_go.set()
    await settle()
    assert holding(made) == [True, False, True]
    await end(made)
    (after,) = await holders(slots, 1)
    assert after.has_it.is_set(), "no slot was lost"
    await end([after])


async def test_who_is_cancelled_with_a_slot_just_handed_over_gives_it_on() -> None:
    slots = Slots(lambda: 1, wait_s_max=10, busy="busy")
    made = await holders(slots, 3)
    made[0].let_go.set()
    await asyncio.sleep(0)
    made[1].task.cancel()
    await settle()
    await settle()
    assert made[2].has_it.is_set()
    await end(made)


async def test_a_smaller_number_holds_for_those_that_come() -> None:
    number = 2
    slots = Slots(lambda: number, wait_s_max=10, busy="busy")
    made = await holders(slots, 3)
    number = 1
    made[0].let_go.set()
    await settle()
    assert holding(made) == [True, True, False]
    made[1].let_go.set()
    await settle()
    assert made[2].has_it.is_set()
    await end(made)


async def test_nobody_waits_for_ever() -> None:
    slots = Slots(lambda: 1, wait_s_max=0.01, busy="too many at once")
    made = await holders(slots, 1)
    with pytest.raises(TelegramUnavailable, match="too many at once"):
        async with slots.one():
            raise AssertionError("there is none")
    await end(made)
    async with slots.one():
        pass
