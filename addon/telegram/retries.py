"""Patience with one operation: growing pauses with jitter, a limit of attempts, and a moment after which nobody waits."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from addon.store.ports import TelegramUnavailable
from addon.telegram.errors import BotApiError, RateLimited

ATTEMPTS_MAX = 8
PAUSE_S_FIRST = 0.5
PAUSE_S_MAX = 10.0


@dataclass(frozen=True, slots=True)
class Time:
    """What is injected: a monotonic `clock` and a `sleep`, both in seconds, and the source of the jitter."""

    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    rng: random.Random


class Retries:
    """One operation's failures so far. `wait_s_max` bounds all its waiting, in seconds from now."""

    def __init__(self, time: Time, *, wait_s_max: float, attempts_max: int = ATTEMPTS_MAX) -> None:
        self._time = time
        self._wait_s_max = wait_s_max
        self._attempts_max = attempts_max
        self.deadline_s = 0.0
        self._failures = 0
        self.progress()

    def progress(self) -> None:
        """Something was achieved: start counting afresh."""
        self.deadline_s = self._time.clock() + self._wait_s_max
        self._failures = 0

    def count(self, error: BotApiError, *, retry_after_s: float = PAUSE_S_MAX) -> None:
        """One more failure. Raises `TelegramUnavailable` when the attempts are used up."""
        self._failures += 1
        if self._failures >= self._attempts_max:
            raise TelegramUnavailable(
                f"{self._failures} attempts failed, the last one with: {error}", retry_after_s=retry_after_s
            ) from error

    async def pause(self, error: BotApiError) -> None:
        """Count the failure and wait: as long as a 429 says, else a growing time with jitter. Raises `TelegramUnavailable` at
        once where the wait would end beyond the deadline."""
        self.count(error)
        if isinstance(error, RateLimited):
            pause_s = error.retry_after_s
        else:
            longest_s = min(PAUSE_S_FIRST * 2.0 ** (self._failures - 1), PAUSE_S_MAX)
            pause_s = longest_s * (0.5 + self._time.rng.random() / 2)
        await self._wait(pause_s, error)

    async def wait_out(self, paused_s: float, method: str) -> None:
        """Wait while a pause lasts that an earlier 429 asked for, or raise `TelegramUnavailable` at once."""
        await self._wait(paused_s, RateLimited(method, paused_s))

    async def _wait(self, pause_s: float, error: BotApiError) -> None:
        """Wait `pause_s`, or raise `TelegramUnavailable` at once where that ends beyond the deadline."""
        if pause_s <= 0:
            return
        if self._time.clock() + pause_s > self.deadline_s:
            raise TelegramUnavailable(f"gave up after: {error}", retry_after_s=pause_s) from error
        await self._time.sleep(pause_s)
