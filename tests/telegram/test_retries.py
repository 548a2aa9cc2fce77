"""Pauses grow, are bounded, and never end beyond the moment until which anyone waits."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.store.ports import TelegramUnavailable
from addon.telegram.errors import BotApiError, RateLimited, ServerFailure
from addon.telegram.retries import ATTEMPTS_MAX, PAUSE_S_FIRST, PAUSE_S_MAX, Retries, Time

FAILURE = ServerFailure("getFile", 502)


class Clock:
    def __init__(self) -> None:
        self.now_s = 10.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


def retries(clock: Clock, wait_s_max: float = 1000.0, seed: int = 0) -> Retries:
    return Retries(Time(clock, clock.sleep, random.Random(seed)), wait_s_max=wait_s_max)


async def fail(patience: Retries, error: BotApiError = FAILURE) -> TelegramUnavailable | None:
    try:
        await patience.pause(error)
    except TelegramUnavailable as unavailable:
        return unavailable
    return None


@given(seed=st.integers(0, 1000))
async def test_pauses_double_with_jitter_up_to_their_limit(seed: int) -> None:
    clock = Clock()
    patience = retries(clock, seed=seed)
    while await fail(patience) is None:
        pass
    assert len(clock.slept) == ATTEMPTS_MAX - 1
    for number, pause_s in enumerate(clock.slept):
        longest_s = min(PAUSE_S_FIRST * 2**number, PAUSE_S_MAX)
        assert longest_s / 2 <= pause_s <= longest_s


async def test_a_429_is_waited_out_exactly() -> None:
    clock = Clock()
    assert await fail(retries(clock), RateLimited("getFile", 17)) is None
    assert clock.slept == [17]


@pytest.mark.parametrize("error", [FAILURE, RateLimited("getFile", 9)])
async def test_nobody_waits_for_a_moment_beyond_the_deadline(error: BotApiError) -> None:
    clock = Clock()
    unavailable = await fail(retries(clock, wait_s_max=0.1), error)
    assert unavailable is not None
    assert unavailable.retry_after_s > 0.1
    assert clock.slept == []


async def test_progress_starts_the_count_and_the_wait_afresh() -> None:
    clock = Clock()
    patience = retries(clock, wait_s_max=30)
    for _ in range(ATTEMPTS_MAX - 2):
        if await fail(patience):
            break
    patience.progress()
    assert patience.deadline_s == clock.now_s + 30
    assert await fail(patience) is None
    assert clock.slept[-1] <= PAUSE_S_FIRST
