"""A large state is told by several packs: all of them have to be in Telegram, and be of one state."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from addon.store.packer import Urgency
from addon.store.records import Extent, Move
from addon.store.told_states import ToldObject, whole_state
from tests.index.samples import document, new_object
from tests.store.packing import PackWorld, pack_item, pack_world, unavailable

EXTENTS = 2_500


async def large_object(world: PackWorld) -> None:
    extents = [
        Extent(document(f"d{number:05}"), number, 5 << 20, bytes([number % 256]) * 160) for number in range(EXTENTS)
    ]
    await world.index.put_object(replace(new_object("large"), size=EXTENTS * (5 << 20), extents=extents))


def tellings(world: PackWorld) -> dict[int, list[int]]:
    """The pieces of the large state that Telegram has, by telling."""
    found: dict[int, list[int]] = {}
    for pack in world.packs():
        for state in pack.states:
            if state.key == "large":
                found.setdefault(state.telling, []).append(state.piece)
    return found


def assert_told_whole(world: PackWorld) -> ToldObject:
    """The last telling is all there, and says what the index says."""
    last = max(tellings(world))
    states = [
        state for pack in world.packs() for state in pack.states if state.telling == last and state.key == "large"
    ]
    whole = whole_state(states).state
    assert isinstance(whole, ToldObject)
    assert len(whole.extents) == EXTENTS
    return whole


async def test_a_large_state_is_told_by_several_packs(tmp_path: Path) -> None:
    async with pack_world(tmp_path, pack_bytes_max=400_000) as world:
        await large_object(world)
        await world.packer.flush_states()
        assert not await world.index.has_untold()
        (pieces,) = tellings(world).values()
        assert pieces == list(range(len(pieces)))
        assert len(pieces) > 2
        assert_told_whole(world)
        claims = [pack.head.settled_up_to for pack in world.packs()]
        assert claims[:-1] == [0] * (len(claims) - 1), "nothing is claimed while a state is told in part"


async def test_a_piece_whose_pack_fails_brings_the_state_back_to_its_beginning(tmp_path: Path) -> None:
    def fault(number: int) -> None:
        if number == 2:
            unavailable(number)

    async with pack_world(tmp_path, pack_bytes_max=400_000, fault=fault) as world:
        await large_object(world)
        for _ in range(3):
            (result,) = await asyncio.gather(world.packer.flush_states(), return_exceptions=True)
            if result is None:
                break
        assert not await world.index.has_untold()
        assert len(tellings(world)) == 2
        assert_told_whole(world)


async def test_a_state_that_changes_between_its_pieces_is_told_as_it_is_then(tmp_path: Path) -> None:
    async with pack_world(tmp_path, pack_bytes_max=400_000) as world:
        await large_object(world)
        flushing = asyncio.create_task(world.packer.flush_states())
        await world.sending(2)
        await world.index.relocate([Move("d00000", 0, 100 << 20, document("elsewhere"), 0)])
        await flushing
        await world.packer.flush_states()
        assert not await world.index.has_untold()
        assert assert_told_whole(world).extents[0].document_id == "elsewhere"


async def test_items_go_on_while_a_large_state_is_told_by_several_ways(tmp_path: Path) -> None:
    async with pack_world(tmp_path, pack_bytes_max=400_000, pairs=3, send_s=4.0) as world:
        await large_object(world)
        placing = [
            asyncio.create_task(world.packer.place(pack_item(f"k{number}", b"x" * 1000), Urgency.LIVE))
            for number in range(20)
        ]
        await world.packer.flush_states()
        await asyncio.gather(*placing)
        assert not await world.index.has_untold()
        assert_told_whole(world)
