"""Several processes on one index: their messages together keep Telegram's limits, with the stand-in as the judge."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from addon.standin.switches import Switches
from addon.store.ports import TelegramUnavailable
from addon.store.records import Document
from addon.store.send_ledger import (
    LEARNT_PER_MIN_MIN,
    LOWER_FACTOR,
    PROCESS_SEEN_S_MAX,
    RAISE_EVERY_S,
    EndedSend,
    PairToAsk,
    Rate,
    SendRequest,
    learnt_rate,
    lowered_per_min,
    send_lasts_s_max,
)
from addon.telegram.limits import BOT_RATE, GROUP_RATE
from tests.standin_fixture import BOT_A, BOT_A_ID, BOT_B, CHANNEL, GROUP, OTHER_CHANNEL, SUPERGROUP
from tests.telegram.ledger_world import Shared, shared_world
from tests.telegram.telegram_world import fails


def content(number: int) -> bytes:
    return random.Random(number).randbytes(1000 + number)


def rows(folder: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / "index.db")) as connection, connection:
        return connection.execute(statement).fetchall()


async def send_in_turns(shared: Shared, count: int) -> int:
    """Each instance sends as much as it is let; how many arrived."""
    sent = 0
    for number in range(count):
        world = shared.worlds[number % len(shared.worlds)]
        try:
            await world.send(content(number), f"doc-{number}")
            sent += 1
        except TelegramUnavailable as late:
            await shared.time.sleep(late.retry_after_s)
    return sent


@pytest.mark.parametrize("instances", [2, 3])
async def test_processes_that_send_in_turns_never_meet_a_429(tmp_path: Path, instances: int) -> None:
    async with shared_world(tmp_path, instances=instances) as shared:
        began_s = shared.time.clock()
        assert await send_in_turns(shared, 70) >= 60
        assert shared.statuses() == {200}
        assert shared.time.clock() - began_s < 240, "and they use what the limits allow"


async def test_processes_that_send_at_once_never_meet_a_429(tmp_path: Path) -> None:
    async with shared_world(tmp_path, tokens=(BOT_A, BOT_B), chats=(CHANNEL, OTHER_CHANNEL)) as shared:
        sends = (shared.worlds[number % 2].send(content(number), f"doc-{number}") for number in range(160))
        results = await asyncio.gather(*sends, return_exceptions=True)
        sent = [result for result in results if isinstance(result, Document)]
        assert len(sent) >= 41
        assert all(isinstance(result, Document | TelegramUnavailable) for result in results)
        assert shared.statuses() == {200}
        assert {(document.bot_id, document.chat_id) for document in sent} == {
            (bot_id, chat_id) for bot_id in (111111, 222222) for chat_id in (CHANNEL, OTHER_CHANNEL)
        }


async def test_without_a_ledger_two_instances_do_meet_one(tmp_path: Path) -> None:
    """That is what the stand-in is the judge of."""
    async with shared_world(tmp_path, ledger=None) as shared:
        await send_in_turns(shared, 70)
        assert 429 in shared.statuses()


async def test_equal_sizes_of_two_processes_never_meet_the_throttle(tmp_path: Path) -> None:
    async with shared_world(tmp_path) as shared:
        same = random.Random(1).randbytes(200_000)
        for number in range(8):
            await shared.worlds[number % 2].send(same, f"doc-{number}")
            await shared.worlds[number % 2].documents.look()
        sent = [entry for entry in shared.standin.control.log() if entry["method"] == "senddocument"]
        assert {(entry["status"], entry["delayed_s"]) for entry in sent} == {(200, 0.0)}


@pytest.mark.parametrize("told_by", ["a send", "a look", "nothing"])
async def test_a_pause_that_one_process_is_asked_for_is_kept_by_the_other(tmp_path: Path, told_by: str) -> None:
    switches = Switches(extend_on_repeat=True)
    async with shared_world(tmp_path, switches=switches) as shared:
        one, other = shared.worlds
        if told_by == "a look":
            await other.documents.look()
        one.faults({"kind": "rate", "retry_after": 30, "hold": True}, method="sendDocument")
        late = await fails(TelegramUnavailable, one.send(content(1)))
        assert late.retry_after_s == pytest.approx(30, abs=0.1)
        if told_by == "a look":
            await other.documents.look()
            assert other.documents.send_delay_s() == pytest.approx(30, abs=0.1)
        if told_by == "nothing":
            await shared.time.sleep(29.9)
            began_s = shared.time.clock()
            await other.send(content(2), "doc-2")
            assert shared.time.clock() - began_s == pytest.approx(0.1, abs=0.02), "kept exactly"
        else:
            assert (await fails(TelegramUnavailable, other.send(content(2), "doc-2"))).retry_after_s > 29
            await shared.time.sleep(30)
            await other.send(content(2), "doc-2")
        assert [entry["status"] for entry in one.calls("senddocument")] == [429, 200]


async def test_a_pause_of_the_whole_bot_is_kept_by_other_processes_when_they_read(tmp_path: Path) -> None:
    async with shared_world(tmp_path) as shared:
        one, other = shared.worlds
        document = await one.send(content(1))
        one.faults({"kind": "rate", "retry_after": 60, "hold": True}, method="getFile")
        await fails(TelegramUnavailable, one.read(document))
        await fails(TelegramUnavailable, other.read(document))
        await shared.time.sleep(60)
        assert await other.read(document) == content(1)
        assert [call["status"] for call in one.calls("getfile")] == [429, 200]


async def test_what_a_429_taught_is_known_to_all_and_forgotten_slowly(tmp_path: Path) -> None:
    async with shared_world(tmp_path) as shared:
        one, other = shared.worlds
        one.faults({"kind": "rate", "retry_after": 1}, method="sendDocument")
        await one.send(content(1))
        await other.documents.look()
        limits = other.documents._bots.limits
        assert limits.rate(BOT_A_ID, CHANNEL).count == 15
        assert limits.rate(BOT_A_ID, OTHER_CHANNEL).count == 20, "another chat has another budget"
        await shared.time.sleep(2 * RAISE_EVERY_S)
        assert limits.rate(BOT_A_ID, CHANNEL).count == 18
        await shared.time.sleep(2 * RAISE_EVERY_S)
        assert limits.rate(BOT_A_ID, CHANNEL) == GROUP_RATE


async def test_a_storm_of_429s_teaches_once(tmp_path: Path) -> None:
    async with shared_world(tmp_path) as shared:
        one, other = shared.worlds
        one.faults(*[{"kind": "rate", "retry_after": 1}] * 3, method="sendDocument")
        await one.send(content(1))
        one.faults({"kind": "rate", "retry_after": 1}, method="sendDocument")
        await other.send(content(2), "doc-2")
        assert one.documents._bots.limits.rate(BOT_A_ID, CHANNEL).count == 15
        await other.documents.look()
        assert other.documents._bots.limits.rate(BOT_A_ID, CHANNEL).count == 15


def test_what_is_learnt_is_bounded() -> None:
    rate = GROUP_RATE
    for _ in range(50):
        rate = learnt_rate(GROUP_RATE, lowered_per_min(rate), 0.0)
    assert rate.count == LEARNT_PER_MIN_MIN
    assert rate.burst >= 1
    assert learnt_rate(GROUP_RATE, GROUP_RATE.count * LOWER_FACTOR, 1e9) == GROUP_RATE
    assert learnt_rate(GROUP_RATE, None, 0.0) == GROUP_RATE


async def test_a_pair_that_one_process_set_aside_is_left_alone_by_the_other_until_it_works(tmp_path: Path) -> None:
    async with shared_world(tmp_path, tokens=(BOT_A, BOT_B)) as shared:
        one, other = shared.worlds
        shared.standin.control.chat("kick", CHANNEL, bot_id=BOT_A_ID)
        await one.send(content(1))
        await one.documents.look()  # Behind what was about to be told.
        await other.documents.look()
        await other.send(content(2), "doc-2")
        assert [entry["bot_id"] for entry in one.calls("senddocument")].count(BOT_A_ID) == 1
        (fact,) = [fact for fact in (await shared.indexes[1].account("-")).pairs if fact.aside_for_s is not None]
        assert (fact.bot_id, fact.chat_id) == (BOT_A_ID, CHANNEL)
        assert "kicked" in fact.reason
        shared.standin.control.chat("unkick", CHANNEL, bot_id=BOT_A_ID)
        await shared.time.sleep(10)
        await other.documents.look()
        await other.documents.look()
        await one.documents.look()
        assert not any(fact.aside_for_s is not None for fact in (await shared.indexes[0].account("-")).pairs)
        assert (await one.send(content(3), "doc-3")).bot_id == BOT_A_ID


async def test_a_chat_that_moved_is_known_to_the_other_process_and_after_a_restart(tmp_path: Path) -> None:
    async with shared_world(tmp_path, chats=(GROUP,)) as shared:
        one, other = shared.worlds
        await one.send(content(1))
        shared.standin.control.chat("migrate", GROUP, new_id=-1001000000099)
        assert (await one.send(content(2), "doc-2")).chat_id == -1001000000099
        await one.documents.look()
        await other.documents.look()
        assert (await other.send(content(3), "doc-3")).chat_id == -1001000000099
        assert [entry["status"] for entry in one.calls("senddocument")] == [200, 400, 200, 200]


async def test_an_index_that_does_not_answer_ends_every_send(tmp_path: Path) -> None:
    async with shared_world(tmp_path, instances=1) as shared:
        (world,) = shared.worlds
        document = await world.send(content(1))
        await shared.indexes[0].close()
        error = await fails(TelegramUnavailable, world.send(content(2), "doc-2"))
        assert "the index is closed" in str(error)
        assert len(world.calls("senddocument")) == 1
        assert await world.read(document) == content(1), "what is there can be read all the same"


# --- The ledger itself --------------------------------------------------------------------------------------------------------


def asked(
    process: str, *, upload_bytes: int = 0, rate: Rate = GROUP_RATE, chats: tuple[int, ...] = (CHANNEL,)
) -> SendRequest:
    return SendRequest(process, [PairToAsk(BOT_A_ID, chat_id, rate) for chat_id in chats], BOT_RATE, upload_bytes)


async def test_a_process_that_died_blocks_nobody_for_longer_than_a_send_may_last(tmp_path: Path) -> None:
    one_at_a_time = Rate(1, 60.0, 1)
    async with shared_world(tmp_path) as shared:
        dead, living = shared.indexes
        size = 20_000_000
        assert (await dead.begin_send(asked("dead", rate=one_at_a_time, upload_bytes=size), [])).number is not None
        waited_s = 0.0
        while (answer := await living.begin_send(asked("living", rate=one_at_a_time), [])).number is None:
            (wait_s,) = answer.waits_s.values()
            waited_s += max(wait_s, 5.0)
            shared.time._standin_clock.now += max(wait_s, 5.0)
        assert waited_s == pytest.approx(send_lasts_s_max(size) + 60, abs=6)


async def test_a_message_that_telegram_cannot_have_seen_does_not_count(tmp_path: Path) -> None:
    one_a_minute = Rate(1, 60.0, 1)
    async with shared_world(tmp_path) as shared:
        ledger = shared.indexes[0]
        first = await ledger.begin_send(asked("a", rate=one_a_minute), [])
        assert first.number is not None
        second = await ledger.begin_send(asked("a", rate=one_a_minute), [EndedSend(first.number, 0.0, False)])
        assert second.number is not None
        third = await ledger.begin_send(asked("a", rate=one_a_minute), [EndedSend(second.number, 2.0, True)])
        assert third.number is None
        assert third.waits_s == {(BOT_A_ID, CHANNEL): pytest.approx(58.0)}


async def test_the_first_pair_with_room_is_taken(tmp_path: Path) -> None:
    one_a_minute = Rate(1, 60.0, 1)
    async with shared_world(tmp_path) as shared:
        ledger = shared.indexes[0]
        chats = (CHANNEL, OTHER_CHANNEL, SUPERGROUP)
        found = [(await ledger.begin_send(asked("a", rate=one_a_minute, chats=chats), [])).chat_id for _ in range(4)]
        assert found == [*chats, 0]


async def test_a_clock_that_was_set_back_blocks_nobody(tmp_path: Path) -> None:
    async with shared_world(tmp_path) as shared:
        ledger = shared.indexes[0]
        one_a_minute = Rate(1, 60.0, 1)
        assert (await ledger.begin_send(asked("a", rate=one_a_minute), [])).number is not None
        shared.time._standin_clock.now -= 3600
        assert (await ledger.begin_send(asked("a", rate=one_a_minute), [])).number is not None


async def test_what_is_over_leaves_no_rows(tmp_path: Path) -> None:
    async with shared_world(tmp_path) as shared:
        await send_in_turns(shared, 12)
        await shared.time.sleep(1000)
        for world in shared.worlds:
            await world.documents.look()
        assert rows(tmp_path, "SELECT count(*) FROM telegram_sends") == [(0,)]
        assert rows(tmp_path, "SELECT count(*) FROM telegram_processes") == [(2,)]
        await shared.worlds[0].documents.close()
        assert rows(tmp_path, "SELECT count(*) FROM telegram_processes") == [(1,)]


async def test_budgets_without_a_ledger_entry_are_divided_by_the_processes_that_are_there(tmp_path: Path) -> None:
    async with shared_world(tmp_path, instances=3) as shared:
        for _ in range(2):
            for world in shared.worlds:
                await world.documents.look()
        assert {world.documents._bots.limits.processes for world in shared.worlds} == {3}
        await shared.time.sleep(PROCESS_SEEN_S_MAX + 1)
        await shared.worlds[0].documents.look()
        assert shared.worlds[0].documents._bots.limits.processes == 1


async def test_a_cancelled_wish_gives_back_its_entry(tmp_path: Path) -> None:
    async with shared_world(tmp_path, instances=1) as shared:
        (world,) = shared.worlds
        for number in range(5):
            sending = asyncio.create_task(world.send(content(number), f"doc-{number}"))
            for _ in range(number):
                await asyncio.sleep(0)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        await shared.indexes[0].check_writable()
        for _ in range(10):  # What was carried out before it is told to those who are gone.
            await asyncio.sleep(0)
        await world.documents.look()
        open_rows = rows(tmp_path, "SELECT count(*) FROM telegram_sends WHERE ended_at_s IS NULL")
        assert open_rows == [(0,)]
