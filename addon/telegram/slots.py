"""So many of something at once, where the number may change while it is counted."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from addon.store.ports import TelegramUnavailable


class Slots:
    """At most `slots()` holders at once, first come, first served; who waits longer than `wait_s_max` gets `TelegramUnavailable`
    with the text `busy`."""

    def __init__(self, slots: Callable[[], int], *, wait_s_max: float, busy: str) -> None:
        self._slots, self._wait_s_max, self._busy = slots, wait_s_max, busy
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Hold a slot."""
        if self._waiting or self._taken >= self._slots():
            await self._wait()
        else:
            self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
            self._hand_on()

    async def _wait(self) -> None:
        """Until a slot is handed over: it is taken then."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._wait_s_max):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._taken -= 1
                self._hand_on()
            if isinstance(error, TimeoutError):
                raise TelegramUnavailable(self._busy) from None
            raise
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)

    def _hand_on(self) -> None:
        while self._waiting and self._taken < self._slots():
            turn = self._waiting.popleft()
            if not turn.done():
                self._taken += 1
                turn.set_result(None)
