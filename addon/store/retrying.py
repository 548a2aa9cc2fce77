"""Trying again what may heal: an origin or Telegram that does not answer, or an object that changes under the hand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from addon.store.ports import OriginChanged, OriginUnavailable, TelegramUnavailable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retries:
    """How often something is tried, and the pauses between, which double; each lasts half of it to all of it, by chance.

    The clock's `sleep` and the chance are arguments, so that a test need not wait.
    """

    attempts_max: int = 6
    delay_s_min: float = 0.5
    delay_s_max: float = 30.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """What `work()` gives. Tried again after `OriginUnavailable`, `OriginChanged` and `TelegramUnavailable`, of which the last
        one is raised in the end; anything else passes at once."""
        attempt = 1
        while True:
            try:
                return await work()
            except (OriginUnavailable, OriginChanged, TelegramUnavailable) as failure:
                if attempt >= self.attempts_max:
                    raise
                delay_s = self._delay_s(attempt, failure)
            await self.sleep(delay_s)
            attempt += 1

    def _delay_s(self, attempt: int, failure: Exception) -> float:
        delay_s: float = min(self.delay_s_min * 2 ** (attempt - 1), self.delay_s_max) * (0.5 + self.jitter() / 2)
        asked_for_s = None
        if isinstance(failure, OriginUnavailable | TelegramUnavailable):
            asked_for_s = failure.retry_after_s
        return delay_s if asked_for_s is None else max(delay_s, min(asked_for_s, self.delay_s_max))
