"""Whatever the order of sends, ends, pauses and pauses of time: Telegram's limits hold at the server's end of the line."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from addon.telegram.limits import (
    BOT_RATE,
    EQUAL_SIZE_BYTES_MIN,
    EQUAL_SIZE_WINDOW_S,
    GROUP_RATE,
    PRIVATE_RATE,
    Rate,
    SendLimits,
)

BOTS = (1, 2)
CHATS = (-100, -200, 300)
SIZES = (0, 50_000, 200_000, 200_001)
ROUNDING_S = 1e-6


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass(slots=True, eq=False)
class Message:
    bot: int
    chat: int
    size: int
    counted_s: float | None = None


class TelegramCountsWheneverItLikes(RuleBasedStateMachine):
    """The server counts a message at any moment between its start and its end; the machine picks the moment."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.limits = SendLimits(self.clock)
        self.under_way: list[Message] = []
        self.counted: list[Message] = []
        self.paused_until_s: dict[tuple[int, int | None], float] = {}
        self.size_busy_until_s: dict[tuple[int, int], float] = {}

    @rule(seconds=st.sampled_from([0.1, 0.7, 1.0, 3.0, 11.0, 59.9, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @rule(bot=st.sampled_from(BOTS), chat=st.sampled_from(CHATS), size=st.sampled_from(SIZES))
    def time_passes_until_the_next_may_start(self, bot: int, chat: int, size: int) -> None:
        at_s = self.limits.earliest_s(bot, chat, size)
        if at_s != math.inf:
            self.clock.now_s = max(self.clock.now_s, at_s)

    @rule(
        bot=st.sampled_from(BOTS),
        chat=st.sampled_from(CHATS),
        size=st.sampled_from(SIZES),
        wanted=st.integers(1, 25),
        at_once=st.booleans(),
    )
    def start_as_many_as_may(self, bot: int, chat: int, size: int, wanted: int, at_once: bool) -> None:
        for _ in range(wanted):
            if self.limits.earliest_s(bot, chat, size) > self.clock.now_s:
                break
            assert self.clock.now_s >= self.paused_until_s.get((bot, chat), 0)
            assert self.clock.now_s >= self.paused_until_s.get((bot, None), 0)
            if size > EQUAL_SIZE_BYTES_MIN:
                assert self.clock.now_s >= self.size_busy_until_s.get((bot, size), 0), "two uploads of equal size"
                self.size_busy_until_s[bot, size] = math.inf
            self.limits.start(bot, chat, size)
            self.under_way.append(Message(bot, chat, size))
            if at_once:
                self.end(len(self.under_way) - 1, True)

    @precondition(lambda self: self.under_way)
    @rule(index=st.integers(0, 1000))
    def count(self, index: int) -> None:
        message = self.under_way[index % len(self.under_way)]
        if message.counted_s is None:
            message.counted_s = self.clock.now_s
            self.counted.append(message)

    @precondition(lambda self: self.under_way)
    @rule(index=st.integers(0, 1000), seen=st.booleans())
    def end(self, index: int, seen: bool) -> None:
        message = self.under_way.pop(index % len(self.under_way))
        if seen and message.counted_s is None:
            message.counted_s = self.clock.now_s
            self.counted.append(message)
        if message.size > EQUAL_SIZE_BYTES_MIN:
            self.size_busy_until_s[message.bot, message.size] = self.clock.now_s + EQUAL_SIZE_WINDOW_S
        self.limits.end(message.bot, message.chat, message.size, counted=message.counted_s is not None)

    @rule(
        bot=st.sampled_from(BOTS),
        chat=st.one_of(st.none(), st.sampled_from(CHATS)),
        seconds=st.sampled_from([1.0, 5.0, 33.0]),
    )
    def pause(self, bot: int, chat: int | None, seconds: float) -> None:
        self.limits.pause(bot, chat, seconds)
        until_s = self.clock.now_s + seconds
        self.paused_until_s[bot, chat] = max(self.paused_until_s.get((bot, chat), 0), until_s)

    @invariant()
    def no_window_holds_more_than_it_may(self) -> None:
        for bot in BOTS:
            self.check(BOT_RATE, [m.counted_s for m in self.counted if m.bot == bot])
            for chat in CHATS:
                rate = GROUP_RATE if chat < 0 else PRIVATE_RATE
                self.check(rate, [m.counted_s for m in self.counted if (m.bot, m.chat) == (bot, chat)])

    def check(self, rate: Rate, moments: list[float | None]) -> None:
        times = sorted(moment for moment in moments if moment is not None)
        for first, beyond in zip(times, times[rate.count :], strict=False):
            assert beyond - first >= rate.window_s - ROUNDING_S


TestLimits = TelegramCountsWheneverItLikes.TestCase
TestLimits.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize(("chat", "rate"), [(-100, GROUP_RATE), (300, PRIVATE_RATE)])
def test_steady_demand_gets_nearly_the_whole_rate_and_nobody_waits_for_the_end_of_the_window(chat, rate) -> None:
    clock = Clock()
    limits = SendLimits(clock)
    end_s = clock.now_s + 600
    sent, longest_wait_s = 0, 0.0
    while clock.now_s < end_s:
        at_s = limits.earliest_s(1, chat)
        longest_wait_s = max(longest_wait_s, at_s - clock.now_s)
        clock.now_s = max(at_s, clock.now_s)
        limits.start(1, chat)
        limits.end(1, chat)
        sent += 1
    assert sent >= 0.95 * rate.count * 600 / rate.window_s
    assert longest_wait_s <= 2 * rate.window_s / rate.count


def test_a_burst_starts_at_once_and_the_rest_is_spread() -> None:
    clock = Clock()
    limits = SendLimits(clock)
    for _ in range(GROUP_RATE.burst):
        assert limits.earliest_s(1, -100) == clock.now_s
        limits.start(1, -100)
        limits.end(1, -100)
    assert clock.now_s < limits.earliest_s(1, -100) <= clock.now_s + 6


def test_a_message_holds_its_place_until_the_window_has_passed_after_its_end() -> None:
    """Telegram may have counted it at the very end of a long upload."""
    clock = Clock()
    limits = SendLimits(clock, bot_rate=Rate(1000, 1.0, 1000))
    for _ in range(GROUP_RATE.count):
        limits.start(1, -100)
    assert limits.earliest_s(1, -100) == math.inf
    clock.now_s += 50
    for _ in range(GROUP_RATE.count):
        limits.end(1, -100)
    assert limits.earliest_s(1, -100) == clock.now_s + GROUP_RATE.window_s


def test_a_message_that_telegram_cannot_have_seen_gives_its_place_back() -> None:
    clock = Clock()
    limits = SendLimits(clock)
    for _ in range(GROUP_RATE.burst):
        limits.start(1, -100)
        limits.end(1, -100, counted=False)
    assert limits.earliest_s(1, -100) == clock.now_s


def test_a_pause_holds_exactly_for_those_who_share_it() -> None:
    clock = Clock()
    limits = SendLimits(clock)
    limits.pause(1, -100, 7)
    limits.pause(1, -100, 3)
    assert limits.earliest_s(1, -100) == clock.now_s + 7
    assert limits.earliest_s(1, -200) == limits.earliest_s(2, -100) == clock.now_s
    limits.pause(2, None, 4)
    assert limits.earliest_s(2, -100) == limits.earliest_s(2, 300) == clock.now_s + 4


def test_uploads_under_way_are_bounded_for_each_bot() -> None:
    clock = Clock()
    limits = SendLimits(clock, uploads_in_flight_max=2)
    limits.start(1, -100, 10)
    limits.start(1, -200, 11)
    assert limits.earliest_s(1, -300, 12) == math.inf
    assert limits.earliest_s(1, -300) == limits.earliest_s(2, -300, 12) == clock.now_s
    limits.end(1, -100, 10)
    assert limits.earliest_s(1, -300, 12) == clock.now_s
