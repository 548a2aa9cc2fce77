"""Many sends at once: Telegram's limits hold with the stand-in as the judge, nobody waits in vain, and whoever leaves gives back
what it held."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from addon.standin.switches import Switches
from addon.store.ports import DocumentToSend, TelegramUnavailable
from addon.store.records import Document
from addon.telegram.bots import SET_ASIDE_S_FIRST, SET_ASIDE_S_MAX, Bots
from addon.telegram.client import BotApi, Timeouts
from addon.telegram.documents import TelegramDocuments
from addon.telegram.limits import SendLimits
from tests.standin_fixture import BOT_A, BOT_B, CHANNEL, OTHER_CHANNEL, PRIVATE
from tests.telegram.scripted_server import Request, answer, scripted_server
from tests.telegram.telegram_world import World, telegram_world

LIMIT_S = 10.0


def content(number: int) -> bytes:
    return random.Random(number).randbytes(1000 + number)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 - the condition lies in the stand-in, which has no event for it
            await asyncio.sleep(0)


async def send_all(world: World, count: int) -> list[Document | BaseException]:
    sends = (world.send(content(number), f"doc-{number}") for number in range(count))
    return await asyncio.gather(*sends, return_exceptions=True)


@pytest.mark.parametrize(
    ("tokens", "chats", "at_least"),
    [
        ((BOT_A,), (CHANNEL,), 11),
        ((BOT_A,), (PRIVATE,), 10),
        ((BOT_A, BOT_B), (CHANNEL, OTHER_CHANNEL), 41),
    ],
    ids=["one channel", "private chat", "two bots in two channels"],
)
async def test_a_crowd_gets_what_the_limits_give_and_never_a_429(tmp_path: Path, tokens, chats, at_least) -> None:
    async with telegram_world(tmp_path, tokens=tokens, chats=chats, fast=True) as world:
        results = await send_all(world, 120)
        sent = [result for result in results if isinstance(result, Document)]
        late = [result for result in results if not isinstance(result, Document)]
        assert len(sent) >= at_least
        assert late
        assert all(isinstance(result, TelegramUnavailable) and result.retry_after_s > 0 for result in late)
        assert {call["status"] for call in world.calls("senddocument")} == {200}
        spread = Counter((document.bot_id, document.chat_id) for document in sent)
        assert len(spread) == len(tokens) * len(chats)
        assert max(spread.values()) - min(spread.values()) <= 3, "the load is shared evenly"


async def test_what_cannot_be_sent_in_time_is_told_at_once(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, fast=True) as world:
        refused_after_s = []

        async def send(number: int) -> None:
            began_s = world.time.clock()
            try:
                await world.send(content(number), f"doc-{number}")
            except TelegramUnavailable:
                refused_after_s.append(world.time.clock() - began_s)

        await asyncio.gather(*(send(number) for number in range(100)))
    assert len(refused_after_s) > 80
    assert len([after_s for after_s in refused_after_s if after_s > 5]) <= 10, "hardly anyone waits only to be refused"


async def test_uploads_of_equal_size_never_meet_telegrams_throttle(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, fast=True) as world:
        same = random.Random(1).randbytes(200_000)
        documents = await asyncio.gather(*(world.send(same, f"doc-{number}") for number in range(12)))
        assert len({document.message_id for document in documents}) == 12
        assert {(call["status"], call["delayed_s"]) for call in world.calls("senddocument")} == {(200, 0.0)}


async def test_a_message_that_is_held_up_by_its_size_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, fast=True) as world:
        same = random.Random(1).randbytes(200_000)
        held_up = [asyncio.create_task(world.send(same, f"same-{number}")) for number in range(6)]
        await until(lambda: len(world.calls("senddocument")) >= 1)
        await world.send(content(1), "other")
        assert sum(task.done() for task in held_up) < 6
        await asyncio.gather(*held_up)


async def test_a_cancelled_send_gives_back_its_place(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, uploads_in_flight_max=1, fast=True, timeouts=Timeouts()) as world:
        world.faults({"kind": "hang"}, method="sendDocument")
        stuck = asyncio.create_task(world.send(content(1), "doc-1"))
        await until(lambda: any(call["fault"] == "hang" for call in world.calls("senddocument")))
        waiting = asyncio.create_task(world.send(content(2), "doc-2"))
        await asyncio.sleep(0)
        waiting.cancel()
        stuck.cancel()
        assert [type(end) for end in await asyncio.gather(stuck, waiting, return_exceptions=True)] == [
            asyncio.CancelledError
        ] * 2
        async with asyncio.timeout(LIMIT_S):
            assert world.holds(await world.send(content(3), "doc-3"), content(3))


async def test_the_end_of_an_upload_lets_the_next_one_start(tmp_path: Path) -> None:
    """The bound of uploads under way cannot be waited out by the clock: the end of one has to wake the next."""
    release = asyncio.Event()
    under_way = most = 0

    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if under_way == 2:
            release.set()
        await release.wait()
        await asyncio.sleep(0.01)
        under_way -= 1
        size = int(request.body.partition(b"size=")[2].partition(b";")[0])
        file = {"file_id": "F", "file_unique_id": "U", "file_size": size}
        writer.write(answer({"ok": True, "result": {"message_id": 7, "chat": {"id": -100}, "document": file}}))

    async with scripted_server(handle) as server:
        documents = TelegramDocuments(server.url, ["1:a"], [-100], uploads_in_flight_max=2)
        try:
            async with asyncio.timeout(LIMIT_S):
                await asyncio.gather(*(documents.send(sized(tmp_path, number)) for number in range(1, 7)))
        finally:
            await documents.close()
    assert most == 2


def sized(folder: Path, size: int) -> DocumentToSend:
    path = folder / str(size)
    path.write_bytes(bytes(size))
    return DocumentToSend(str(size), path, size, f"size={size};")


async def test_the_delay_of_a_send_is_told_before_it_is_packed(tmp_path: Path) -> None:
    async with telegram_world(tmp_path) as world:
        assert world.documents.send_delay_s() == 0
        for number in range(10):
            assert world.documents.burst_share_left() == (10 - number) / 10
            await world.send(content(number), f"doc-{number}")
        assert 0 < world.documents.send_delay_s() <= 6
        assert world.documents.burst_share_left() == 0


async def test_get_file_is_asked_for_a_bounded_number_of_documents_at_once(tmp_path: Path) -> None:
    async with telegram_world(
        tmp_path, switches=Switches(rate_limits="off"), get_file_in_flight_max=3, timeouts=Timeouts()
    ) as world:
        documents = [result for result in await send_all(world, 8) if isinstance(result, Document)]
        assert len(documents) == 8
        world.faults({"kind": "hang", "seconds": 0.2}, method="getFile", times=3)
        reads = [asyncio.create_task(world.read(document)) for document in documents]
        await until(lambda: len(world.calls("getfile")) == 3)
        async with asyncio.timeout(LIMIT_S):
            for _ in range(20):
                await asyncio.sleep(0)
                assert len(world.calls("getfile")) == 3
            assert await asyncio.gather(*reads) == [content(number) for number in range(8)]


# --- Setting aside, without a server ------------------------------------------------------------------------------------------


class Clock:
    now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


async def never(_: float) -> None:
    raise AssertionError("nobody may wait here")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bots(clock: Clock) -> Bots:
    transport = httpx.AsyncHTTPTransport()
    apis = [BotApi("http://127.0.0.1:1", token, transport, Timeouts()) for token in (BOT_A, BOT_B)]
    return Bots(apis, (CHANNEL, OTHER_CHANNEL), SendLimits(clock), clock=clock, sleep=never)


def test_each_refusal_in_a_row_sets_a_pair_aside_for_twice_as_long(bots: Bots, clock: Clock) -> None:
    pair = bots.pairs[0]
    durations = []
    for _ in range(9):
        bots.set_aside(pair, "kicked")
        bots.set_aside(pair, "kicked")  # refused together with the first one
        durations.append(bots.usable_from_s(pair) - clock.now_s)
        clock.now_s = bots.usable_from_s(pair)
    assert durations[:3] == [SET_ASIDE_S_FIRST, 2 * SET_ASIDE_S_FIRST, 4 * SET_ASIDE_S_FIRST]
    assert durations[-1] == SET_ASIDE_S_MAX
    bots.worked(pair)
    bots.set_aside(pair, "kicked")
    assert bots.usable_from_s(pair) - clock.now_s == SET_ASIDE_S_FIRST


async def test_where_every_pair_is_set_aside_for_long_nobody_waits(bots: Bots, clock: Clock) -> None:
    for pair in bots.pairs:
        bots.set_aside(pair, "kicked")
    with pytest.raises(TelegramUnavailable) as caught:
        async with bots.turn(upload_bytes=1, among=bots.pairs, deadline_s=clock.now_s + SET_ASIDE_S_FIRST - 1):
            pass
    assert caught.value.retry_after_s == SET_ASIDE_S_FIRST


def test_a_ring_of_migrations_ends(bots: Bots) -> None:
    bots.migrated(-1, -2)
    bots.migrated(-2, -1)
    assert bots.current_chat(-1) in (-1, -2)
    bots.migrated(-3, -4)
    bots.migrated(-4, -5)
    assert bots.current_chat(-3) == -5


@pytest.mark.parametrize(("tokens", "chats"), [([], [-1]), (["1:a"], []), (["1:a", "1:b"], [-1]), (["1:a"], [-1, -1])])
def test_settings_that_cannot_be_are_refused(tokens: list[str], chats: list[int]) -> None:
    with pytest.raises(ValueError, match=r"at least one|only once"):
        TelegramDocuments("http://127.0.0.1:1", tokens, chats)
