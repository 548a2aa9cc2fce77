"""Flood control and the throttle on equal sizes, by arithmetic and on the wire."""

import asyncio
import os

import pytest

from addon.standin.failures import ApiError
from addon.standin.limits import Limits
from addon.standin.server import StandIn
from addon.standin.switches import Switches
from tests.standin.asking import Asker
from tests.standin_fixture import BOT_A_ID, CHANNEL, OTHER_CHANNEL, PRIVATE, SettableClock

EXACT = Switches()


@pytest.fixture
def switches() -> Switches:
    return EXACT


def taken(limits: Limits, chat_id: int, kind: str, now: float, bot_id: int = 1) -> int:
    """How many messages pass before flood control says no."""
    count = 0
    try:
        while count < 10_000:
            limits.take(bot_id, chat_id, kind, 1, now)
            count += 1
    except ApiError:
        return count
    return count


@pytest.mark.parametrize(
    ("switches", "kind", "chat_id", "burst", "per_minute"),
    [
        (EXACT, "channel", -1001, 20, 20),
        (EXACT, "group", -5, 20, 20),
        (EXACT, "private", 5, 20, 20),  # the burst again: 60 tokens came, 20 fit
        (Switches(channel_limit="private"), "channel", -1001, 20, 20),
        (Switches(rate_limits="generous"), "channel", -1001, 800, 800),
    ],
)
def test_a_chat_takes_its_burst_and_is_full_again_a_minute_later(
    switches: Switches, kind: str, chat_id: int, burst: int, per_minute: int
) -> None:
    limits = Limits(switches)
    assert taken(limits, chat_id, kind, 0.0) == burst
    assert taken(limits, chat_id, kind, 61.0) == per_minute


def test_a_private_chat_takes_one_a_second_and_a_channel_one_in_three() -> None:
    limits = Limits(EXACT)
    taken(limits, 5, "private", 0.0)
    taken(limits, -1001, "channel", 0.0, bot_id=2)
    assert taken(limits, 5, "private", 3.0) == 3
    assert taken(limits, -1001, "channel", 3.0, bot_id=2) == 1


def test_a_bot_sends_thirty_a_second_over_all_chats() -> None:
    limits = Limits(EXACT)
    assert sum(taken(limits, chat_id, "private", 0.0) for chat_id in range(1, 10)) == 30
    assert taken(limits, 50, "private", 0.0, bot_id=2) == 20


async def test_the_wait_is_told_three_times_over(bot: Asker) -> None:
    for _ in range(20):
        await bot.send()
    answer = await bot.answer("sendDocument", {"document": ("a.bin", b"x")}, chat_id=CHANNEL)
    assert answer.status_code == 429
    assert answer.json() == {
        "ok": False,
        "error_code": 429,
        "description": "Too Many Requests: retry after 3",
        "parameters": {"retry_after": 3},
    }
    assert answer.headers["retry-after"] == "3"


async def test_a_repeat_that_comes_too_early_is_refused_again(bot: Asker, clock: SettableClock) -> None:
    for _ in range(20):
        await bot.send()
    await bot.refused("sendMessage", chat_id=CHANNEL, text="early")
    clock.now += 2
    assert await bot.refused("sendMessage", chat_id=CHANNEL, text="early") == (
        429,
        "Too Many Requests: retry after 1",
    )
    clock.now += 1
    await bot.result("sendMessage", chat_id=CHANNEL, text="in time")
    await bot.result("sendMessage", chat_id=OTHER_CHANNEL, text="another chat")


class TestExtendOnRepeat:
    @pytest.fixture
    def switches(self) -> Switches:
        return Switches(extend_on_repeat=True)

    async def test_each_early_repeat_begins_the_wait_anew(self, bot: Asker, clock: SettableClock) -> None:
        for _ in range(20):
            await bot.send()
        for _ in range(3):
            assert (await bot.refused("sendMessage", chat_id=CHANNEL, text="early"))[1].endswith("retry after 3")
            clock.now += 2
        clock.now += 3
        await bot.result("sendMessage", chat_id=CHANNEL, text="in time")


async def test_each_item_of_an_album_and_each_forward_counts(bot: Asker) -> None:
    files = {f"f{number}": ("a.bin", b"x") for number in range(10)}
    media = [{"type": "document", "media": f"attach://f{number}"} for number in range(10)]
    await bot.result("sendMediaGroup", files, chat_id=CHANNEL, media=media)
    await bot.result("forwardMessages", chat_id=CHANNEL, from_chat_id=CHANNEL, message_ids=list(range(2, 12)))
    assert (await bot.refused("copyMessage", chat_id=CHANNEL, from_chat_id=CHANNEL, message_id=2))[0] == 429
    assert (await bot.refused("editMessageCaption", chat_id=CHANNEL, message_id=2, caption="x"))[0] == 429


async def test_reading_and_failing_cost_nothing(bot: Asker) -> None:
    message = await bot.send()
    for _ in range(40):
        path = await bot.file_path(message)
        assert (await bot.download(path)).status_code == 200
        await bot.refused("forwardMessage", chat_id=CHANNEL, from_chat_id=CHANNEL, message_id=999)
        await bot.result("getChat", chat_id=CHANNEL)
    await bot.send()


async def test_twelve_equal_uploads_at_once_are_delayed_and_in_the_end_refused(standin: StandIn, bot: Asker) -> None:
    content = os.urandom(9_500_000)
    answers = await asyncio.gather(
        *(bot.answer("sendDocument", {"document": ("a.bin", content)}, chat_id=PRIVATE) for _ in range(12))
    )
    refused = [answer.json()["parameters"]["retry_after"] for answer in answers if answer.status_code == 429]
    assert refused == [60] * 4
    delays = sorted(entry["delayed_s"] for entry in standin.control.log() if entry["status"] == 200)
    assert delays == pytest.approx([0, 0, 0.8, 1.7, 2.6, 3.5, 4.4, 5.3])


async def test_a_refused_size_stays_refused_for_a_minute(bot: Asker, clock: SettableClock) -> None:
    content = bytes(9_500_000)
    for _ in range(9):
        last = await bot.answer("sendDocument", {"document": ("a.bin", content)}, chat_id=PRIVATE)
    assert last.status_code == 429
    clock.now += 59
    again = await bot.answer("sendDocument", {"document": ("a.bin", content)}, chat_id=PRIVATE)
    assert again.status_code == 429
    clock.now += 1
    await bot.send(content, chat_id=PRIVATE)


async def test_twelve_uploads_of_distinct_sizes_pass_untouched(standin: StandIn, bot: Asker) -> None:
    content = os.urandom(200_020)
    await asyncio.gather(*(bot.send(content[number:], chat_id=PRIVATE) for number in range(12)))
    assert {entry["delayed_s"] for entry in standin.control.log()} == {0.0}


def test_small_equal_uploads_are_not_throttled() -> None:
    limits = Limits(EXACT)
    assert {limits.equal_size_delay_s(BOT_A_ID, 100_000, 0.0) for _ in range(50)} == {0.0}


class TestGetFile:
    @pytest.fixture
    def switches(self) -> Switches:
        return Switches(get_file_per_s_max=10)

    async def test_too_many_get_file_show_as_unavailable_never_as_429(self, bot: Asker) -> None:
        message = await bot.send()
        for _ in range(20):
            await bot.file_path(message)
        assert await bot.refused("getFile", file_id=message["document"]["file_id"]) == (
            400,
            "Bad Request: wrong file_id or the file is temporarily unavailable",
        )
