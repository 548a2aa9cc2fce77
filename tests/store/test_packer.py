"""Group commit: what waits together goes out together, soon enough for live uploads and at the pace of the limits."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from addon.index.sql_index import SqlIndex
from addon.store.packer import IDLE_S, SEND_S_MAX, PackItem, Placement, Urgency
from addon.store.ports import IndexUnavailable, TelegramUnavailable
from addon.store.records import Extent, Move, NewObject, Provenance
from tests.index.samples import BUCKET, new_object
from tests.store.packing import PackWorld, names_in, pack_item, pack_world, unavailable

LIVE, COPY, SWEEP = Urgency.LIVE, Urgency.COPY, Urgency.SWEEP


async def placed(world: PackWorld, items: Sequence[PackItem], urgency: Urgency = LIVE) -> list[Placement]:
    placements = await asyncio.gather(*(world.packer.place(item, urgency) for item in items))
    for item, placement in zip(items, placements, strict=True):
        assert_holds(world, placement.extent, item)
    return list(placements)


def assert_holds(world: PackWorld, extent: Extent, item: PackItem) -> None:
    (sent,) = [one for one in world.telegram.sent if one.document == extent.document]
    content = item.content if isinstance(item.content, bytes) else item.content.read_bytes()
    assert sent.content[extent.offset : extent.offset + extent.length] == content[: item.length]
    assert extent.block_sha256s == item.block_sha256s


def many(count: int, size: int = 1000, prefix: str = "k") -> list[PackItem]:
    return [pack_item(f"{prefix}{number:05}", random.Random(number).randbytes(size)) for number in range(count)]


async def put(world: PackWorld, key: str, placement: Placement) -> None:
    extent = placement.extent
    await world.index.put_object(
        NewObject(BUCKET, key, extent.length, "e", 1, Provenance.WRITTEN_HERE, False, {}, {}, [extent])
    )
    placement.settle()


async def test_one_item_goes_out_at_once(tmp_path: Path) -> None:
    async with pack_world(tmp_path) as world:
        (placement,) = await placed(world, many(1))
        (sent,) = world.telegram.sent
        assert sent.at_s == 1000.0
        assert placement.extent.document == sent.document
        assert names_in(sent.content) == {"images/k00000", "tgstore.json"}
        assert world.spooled() == []


async def test_what_comes_while_a_pack_is_under_way_shares_the_next(tmp_path: Path) -> None:
    async with pack_world(tmp_path) as world:
        first = asyncio.create_task(world.packer.place(pack_item("first", b"1"), LIVE))
        await world.sending()
        await placed(world, many(50))
        await first
        assert [len(pack.items) for pack in world.packs()] == [1, 50]


async def test_a_burst_does_not_spend_the_minutes_messages(tmp_path: Path) -> None:
    """Items keep coming for a minute; in its first second at most four messages of twenty are spent, and none waits long."""
    async with pack_world(tmp_path, send_s=0.01) as world:
        waited: list[float] = []

        async def one(number: int) -> None:
            began_s = world.time.now_s
            await world.packer.place(pack_item(f"k{number}", b"content"), LIVE)
            waited.append(world.time.now_s - began_s)

        tasks = []
        for number in range(600):
            tasks.append(asyncio.create_task(one(number)))
            await world.time.sleep(0.1)
        await asyncio.gather(*tasks)
        starts = [sent.at_s - 1000.0 for sent in world.telegram.sent]
        assert sum(start < 1.0 for start in starts) <= 4
        assert 18 <= sum(start < 60.0 for start in starts) <= 20
        assert max(waited) < 10.0, "so that nobody waits for the end of the minute"


@pytest.mark.parametrize("pairs", [1, 4])
async def test_a_sweep_uses_every_message_that_the_limits_allow(tmp_path: Path, pairs: int) -> None:
    async with pack_world(tmp_path, pairs=pairs) as world:

        async def sweeping() -> None:
            for number in range(100_000):
                queued = asyncio.Event()
                task = asyncio.create_task(
                    world.packer.place(pack_item(f"s{number}", b"x" * 2000), SWEEP, queued=queued.set)
                )
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                await queued.wait()
                await world.time.sleep(0.05)

        tasks: set[asyncio.Task[Placement]] = set()
        sweep = asyncio.create_task(sweeping())
        await world.time.sleep(180)
        sweep.cancel()
        # 60.2 s, as a message occupies its place until a minute after its end.
        allowed = 180 / 60.2 * 20 * pairs
        assert 0.95 * allowed <= len(world.telegram.sent) <= allowed + 2
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_live_items_go_before_copies_and_those_before_a_sweep(tmp_path: Path) -> None:
    async with pack_world(tmp_path, pack_bytes_max=300_000) as world:
        first = asyncio.create_task(world.packer.place(pack_item("first", b"1"), LIVE))
        await world.sending()
        kinds = [(SWEEP, "sweep"), (COPY, "copy"), (LIVE, "live")]
        tasks = [
            asyncio.create_task(world.packer.place(item, urgency))
            for urgency, prefix in kinds
            for item in many(3, 60_000, prefix)
        ]
        await asyncio.gather(first, *tasks)
        order = [item.about.key[:-5] for pack in world.packs()[1:] for item in pack.items]
        assert order == ["live"] * 3 + ["copy"] * 3 + ["sweep"] * 3
        assert max(sent.document.size for sent in world.telegram.sent) <= 300_000


async def test_nobody_starves(tmp_path: Path) -> None:
    """More live items than fit keep coming; what a sweep has read goes out with them all the same, once it is old."""
    async with pack_world(tmp_path, pack_bytes_max=400_000, put_wait_s_max=100.0) as world:

        async def crowd() -> None:
            for number in range(10_000):
                task = asyncio.create_task(world.packer.place(pack_item(f"live{number}", b"x" * 100_000), LIVE))
                tasks.add(task)
                await world.time.sleep(1.2)

        tasks: set[asyncio.Task[Placement]] = set()
        crowding = asyncio.create_task(crowd())
        await world.time.sleep(20)
        swept = [asyncio.create_task(world.packer.place(item, SWEEP)) for item in many(5, 50_000, "swept")]
        began_s = world.time.now_s
        await asyncio.gather(*swept)
        assert 10 < world.time.now_s - began_s < 90
        crowding.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_live_item_that_would_wait_too_long_is_refused_at_once(tmp_path: Path) -> None:
    async with pack_world(tmp_path) as world:
        world.telegram.paused_until_s = world.time.now_s + 40
        with pytest.raises(TelegramUnavailable) as refused:
            await world.packer.place(pack_item("k", b"x"), LIVE)
        assert refused.value.retry_after_s == 40
        copy = asyncio.create_task(world.packer.place(pack_item("k", b"x"), COPY))
        await copy
        assert world.telegram.sent[0].at_s == pytest.approx(1040, abs=1.1), "a copy waits"


async def test_a_live_item_that_has_waited_too_long_is_refused(tmp_path: Path) -> None:
    """The way is free when it comes, and closes then."""
    async with pack_world(tmp_path) as world:
        world.telegram.paused_until_s = world.time.now_s + 20
        live = asyncio.create_task(world.packer.place(pack_item("k", b"x"), LIVE))
        await world.time.sleep(10)
        world.telegram.paused_until_s = world.time.now_s + 100
        with pytest.raises(TelegramUnavailable) as refused:
            await live
        assert 25 <= world.time.now_s - 1000 <= 27
        assert refused.value.retry_after_s >= 80
        assert world.telegram.sent == []


async def test_a_pack_that_takes_for_ever_keeps_no_client(tmp_path: Path) -> None:
    async with pack_world(tmp_path, send_s=200.0) as world:
        with pytest.raises(TelegramUnavailable):
            await world.packer.place(pack_item("k", b"x"), LIVE)
        assert world.time.now_s - 1000 <= 25 + SEND_S_MAX + 2 < 60
        await world.time.sleep(200)
        assert len(world.telegram.sent) == 1
        assert [one.document_id for one in await world.index.garbage(limit=9)] == [
            world.telegram.sent[0].document.document_id
        ]


async def test_a_failed_pack_fails_everyone_in_it_and_the_next_goes_on(tmp_path: Path) -> None:
    async with pack_world(tmp_path, fault=unavailable) as world:
        results = await asyncio.gather(
            *(world.packer.place(item, urgency) for item, urgency in zip(many(3), Urgency, strict=True)),
            return_exceptions=True,
        )
        assert [type(result) for result in results] == [TelegramUnavailable] * 3
        assert len({id(result) for result in results}) == 3
        world.telegram.fault = lambda _: None
        await placed(world, many(3))
        assert world.spooled() == []


async def test_who_gives_up_before_the_pack_is_not_in_it(tmp_path: Path) -> None:
    async with pack_world(tmp_path) as world:
        world.telegram.paused_until_s = world.time.now_s + 5
        tasks = [asyncio.create_task(world.packer.place(item, LIVE)) for item in many(3)]
        await world.time.sleep(1)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert [item.about.key for item in world.packs()[0].items] == ["k00000", "k00002"]


async def test_who_gives_up_while_the_pack_is_under_way_leaves_garbage(tmp_path: Path) -> None:
    async with pack_world(tmp_path) as world:
        task = asyncio.create_task(world.packer.place(pack_item("k", b"x"), LIVE))
        await world.sending()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await world.time.sleep(1)
        assert len(await world.index.garbage(limit=9)) == 1


async def test_the_index_cannot_number_a_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with pack_world(tmp_path) as world:

        async def full(*_: object, **__: object) -> int:
            raise IndexUnavailable("the disk is full")

        with monkeypatch.context() as broken:
            broken.setattr(SqlIndex, "begin_pack", full)
            with pytest.raises(IndexUnavailable):
                await world.packer.place(pack_item("k", b"x"), LIVE)
        await placed(world, many(1))


async def test_the_index_forgets_a_pack_that_nobody_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where it cannot even be recorded as garbage, the log names it."""
    async with pack_world(tmp_path) as world:

        async def full(*_: object, **__: object) -> None:
            raise IndexUnavailable("the disk is full")

        monkeypatch.setattr(SqlIndex, "acknowledge_pack", full)
        task = asyncio.create_task(world.packer.place(pack_item("k", b"x"), LIVE))
        await world.sending()
        task.cancel()
        with caplog.at_level(logging.ERROR):
            await world.time.sleep(1)
        assert f"document {world.telegram.sent[0].document.document_id}" in caplog.text


async def test_background_items_wait_for_room(tmp_path: Path) -> None:
    """Whoever reads at the origin does not read more than two packs ahead."""
    async with pack_world(tmp_path, pack_bytes_max=300_000) as world:
        world.telegram.paused_until_s = world.time.now_s + 50
        queued: list[int] = []
        tasks = [
            asyncio.create_task(
                world.packer.place(item, SWEEP, queued=lambda number=number: queued.append(number))  # type: ignore[misc]
            )
            for number, item in enumerate(many(30, 50_000))
        ]
        await world.time.sleep(10)
        assert 8 <= len(queued) <= 12
        await asyncio.gather(*tasks)
        assert len(queued) == 30


async def test_a_stop_tells_everyone(tmp_path: Path) -> None:
    async with pack_world(tmp_path) as world:
        world.telegram.paused_until_s = world.time.now_s + 20
        tasks = [
            asyncio.create_task(world.packer.place(item, urgency))
            for urgency, item in zip(Urgency, many(3), strict=True)
        ]
        tasks.append(asyncio.create_task(world.packer.flush_states()))  # type: ignore[arg-type]
        await world.time.sleep(1)
        await world.packer.stop()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [TelegramUnavailable] * 4
        with pytest.raises(TelegramUnavailable):
            await world.packer.place(pack_item("k", b"x"), LIVE)


async def test_what_was_committed_is_told_by_the_next_pack_and_settled(tmp_path: Path) -> None:
    async with pack_world(tmp_path) as world:
        (first,) = await placed(world, many(1))
        await put(world, "k00000", first)
        (second,) = await placed(world, [pack_item("other", b"y")])
        pack = world.packs()[1]
        (told,) = pack.states
        assert (told.key, told.piece, told.last) == ("k00000", 0, True)
        number = world.packs()[0].head.number
        assert pack.head.settled_up_to == pack.head.number - 1 >= number
        assert pack.head.under_way == (pack.head.number,)
        second.settle()
        await world.time.sleep(1)
        assert not await world.index.has_untold()


async def test_a_pack_whose_items_nobody_settled_is_under_way(tmp_path: Path) -> None:
    async with pack_world(tmp_path) as world:
        (first,) = await placed(world, many(1))
        (second,) = await placed(world, [pack_item("b", b"y")])
        number = world.packs()[0].head.number
        assert world.packs()[1].head.under_way == (number, world.packs()[1].head.number)
        assert world.packs()[1].head.settled_up_to == number - 1
        first.settle()
        second.settle()
        await placed(world, [pack_item("c", b"z")])
        assert world.packs()[2].head.under_way == (world.packs()[2].head.number,)


async def test_states_are_told_when_nothing_is_sent(tmp_path: Path) -> None:
    async with pack_world(tmp_path, tells_when_idle=True) as world:
        await world.index.put_object(new_object("a", "d1"))
        await world.index.delete_object(BUCKET, "b", now_s=5.0)
        await world.time.sleep(IDLE_S + 5)
        (pack,) = world.packs()
        assert [state.key for state in pack.states] == ["a", "b"]
        assert pack.items == ()
        assert not await world.index.has_untold()
        assert await world.index.garbage(limit=9) == [], "it has something to tell"
        await world.time.sleep(4 * IDLE_S)
        assert len(world.packs()) == 1, "there is nothing to tell any more"


async def test_a_state_whose_pack_failed_is_told_again(tmp_path: Path) -> None:
    async with pack_world(tmp_path, fault=unavailable) as world:
        await world.index.put_object(new_object("a", "d1"))
        with pytest.raises(TelegramUnavailable):
            await world.packer.flush_states()
        assert await world.index.has_untold()
        world.telegram.fault = lambda _: None
        await world.packer.flush_states()
        assert [state.key for state in world.packs()[-1].states] == ["a"]
        assert not await world.index.has_untold()


async def test_bytes_that_move_while_their_key_is_told_are_told_again(tmp_path: Path) -> None:
    """The generation is the same, and yet what the pack tells is out of date."""
    async with pack_world(tmp_path) as world:
        await world.index.put_object(new_object("a", "d1"))
        flushing = asyncio.create_task(world.packer.flush_states())
        await world.sending()
        moved_to = new_object("x", "d9").extents[0].document
        assert await world.index.relocate([Move("d1", 5, 10, moved_to, 70)]) == 1
        await flushing
        assert await world.index.has_untold()
        await world.packer.flush_states()
        (told,) = world.packs()[-1].states
        assert told.state.extents[0].document_id == "d9"  # type: ignore[union-attr]


async def test_two_packs_under_way_do_not_tell_the_same(tmp_path: Path) -> None:
    async with pack_world(tmp_path, pairs=2, send_s=5.0) as world:
        await world.index.put_object(new_object("a", "d1"))
        first = asyncio.create_task(world.packer.place(pack_item("k", b"1"), LIVE))
        await world.sending()
        second = asyncio.create_task(world.packer.place(pack_item("l", b"2"), LIVE))
        await asyncio.gather(first, second)
        assert [len(pack.states) for pack in world.packs()] == [1, 0]
        assert world.packs()[1].head.settled_up_to == 0, "for the first one might have failed"


ITEM = st.tuples(
    st.sampled_from(list(Urgency)),
    st.integers(1, 60_000),
    st.floats(0, 20),
    st.one_of(st.none(), st.floats(0, 5)),
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    given_items=st.lists(ITEM, min_size=1, max_size=25),
    faults=st.sets(st.integers(1, 8)),
    pairs=st.integers(1, 3),
    commits=st.booleans(),
)
async def test_each_item_is_in_one_acknowledged_document_or_fails(
    tmp_path_factory: pytest.TempPathFactory,
    given_items: list[tuple[Urgency, int, float, float | None]],
    faults: set[int],
    pairs: int,
    commits: bool,
) -> None:
    """Whatever comes when, whatever fails, and whoever gives up: bytes are exact, packs within their size, and at the end no pack
    is under way and everything that was committed is told."""

    def fault(number: int) -> None:
        if number in faults:
            unavailable(number)

    folder = tmp_path_factory.mktemp("world")
    async with pack_world(folder, pairs=pairs, pack_bytes_max=250_000, fault=fault) as world:
        kept: dict[str, Extent] = {}

        async def one(number: int, urgency: Urgency, size: int, at_s: float, patience_s: float | None) -> str:
            await world.time.sleep(at_s)
            item = pack_item(f"k{number}", random.Random(number).randbytes(size))
            placing = asyncio.create_task(world.packer.place(item, urgency))
            if patience_s is not None:
                giving_up = asyncio.create_task(world.time.sleep(patience_s))
                await asyncio.wait({placing, giving_up}, return_when=asyncio.FIRST_COMPLETED)
                placing.cancel()
                giving_up.cancel()
            (result,) = await asyncio.gather(placing, return_exceptions=True)
            if isinstance(result, TelegramUnavailable):
                return "failed"
            if not isinstance(result, Placement):
                assert isinstance(result, asyncio.CancelledError)
                return "given up"
            assert_holds(world, result.extent, item)
            kept[item.about.key] = result.extent
            if commits:
                await put(world, item.about.key, result)
            result.settle()
            return "placed"

        await asyncio.gather(*(one(number, *each) for number, each in enumerate(given_items)))
        assert max((sent.document.size for sent in world.telegram.sent), default=0) <= 250_000
        await world.time.sleep(5)
        world.telegram.fault = lambda _: None
        await world.packer.flush_states()
        assert not await world.index.has_untold()
        told = {state.key for pack in world.packs() for state in pack.states}
        assert told == (set(kept) if commits else set())
        (settled,) = await placed(world, [pack_item("last", b"x")])
        settled.settle()
        last = world.packs()[-1].head
        assert last.under_way == (last.number,)
        await world.time.sleep(1)
        known = {one.document_id for one in await world.index.garbage(limit=100)}
        known |= {extent.document.document_id for extent in kept.values()}
        assert {pack.head.document_id for pack in world.packs() if pack.items} <= known
        assert world.spooled() == []
