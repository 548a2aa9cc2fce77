"""This process's side of the ledger that all processes on one index keep of what they send (`addon/store/send_ledger.py`).

Before a message the ledger is asked, in one small transaction, which also takes down the messages that have ended since. What it
answers is taken over into this process's own bookkeeping (`learn`), and again every `LOOK_INTERVAL_S` where nothing is sent. An
index that does not answer ends the send: without the account nobody knows whether the message would be one too many.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from addon.store.ports import IndexUnavailable, TelegramUnavailable
from addon.store.send_ledger import Account, EndedSend, PairFacts, PairToAsk, Rate, SendAnswer, SendLedger, SendRequest

LOOK_INTERVAL_S = 5.0
# Within this time other processes are told that a message has ended, where no next one does it.
TELL_INTERVAL_S = 0.5
# What has ended and cannot be told, because the index does not answer. Beyond it the oldest ones count by their age.
ENDS_KEPT_MAX = 1000

logger = logging.getLogger(__name__)


class SharedBudget:
    """`clock` is monotonic, in seconds; `learn` takes over what all processes know, with what `mark` gave when it was asked for."""

    def __init__(
        self,
        ledger: SendLedger,
        *,
        clock: Callable[[], float],
        mark: Callable[[], int],
        learn: Callable[[Account, int], None],
    ) -> None:
        self._ledger, self._clock, self._mark, self._learn = ledger, clock, mark, learn
        self._process_id = uuid.uuid4().hex
        self._ended: list[tuple[int, float, bool]] = []
        self._telling: set[asyncio.Task[None]] = set()
        self._is_silent = False

    async def begin(self, pairs: Sequence[PairToAsk], bot_rate: Rate, upload_bytes: int) -> SendAnswer:
        """Ask for leave to send one message through the first of the pairs that may. Raises `TelegramUnavailable` where the index
        does not answer."""
        request = SendRequest(self._process_id, pairs, bot_rate, upload_bytes)
        ended, mark = self._take_ended(), self._mark()
        asking = asyncio.ensure_future(self._ledger.begin_send(request, self._as_told(ended)))
        try:
            answer = await asyncio.shield(asking)
        except asyncio.CancelledError:
            # Whoever wanted it is gone, and the transaction may go on.
            asking.add_done_callback(self._give_back)
            raise
        except IndexUnavailable as error:
            self._ended = (ended + self._ended)[-ENDS_KEPT_MAX:]
            raise TelegramUnavailable(f"nothing is sent while its account cannot be kept: {error}") from error
        self._learn(answer.account, mark)
        return answer

    def end(self, number: int, *, counted: bool) -> None:
        """A message has ended, answered or not. `counted` is false only where Telegram cannot have seen it."""
        self._ended = [*self._ended, (number, self._clock(), counted)][-ENDS_KEPT_MAX:]

    def _give_back(self, asking: asyncio.Future[SendAnswer]) -> None:
        if not asking.cancelled() and asking.exception() is None and (number := asking.result().number) is not None:
            self.end(number, counted=False)

    def _take_ended(self) -> list[tuple[int, float, bool]]:
        ended, self._ended = self._ended, []
        return ended

    def _as_told(self, ended: Sequence[tuple[int, float, bool]]) -> list[EndedSend]:
        now_s = self._clock()
        return [EndedSend(number, now_s - at_s, counted) for number, at_s, counted in ended]

    @property
    def has_to_tell(self) -> bool:
        """Whether a message has ended that other processes do not know of."""
        return bool(self._ended)

    async def look(self) -> None:
        """Tell what has ended, and learn what is known; where the index does not answer, all stays as it was."""
        ended = self._take_ended()
        try:
            await self._ledger.end_sends(self._process_id, self._as_told(ended))
            mark = self._mark()
            self._learn(await self._ledger.account(self._process_id), mark)
        except IndexUnavailable as error:
            self._ended = (ended + self._ended)[-ENDS_KEPT_MAX:]
            if not self._is_silent:
                logger.warning("what other processes send cannot be seen: %s", error)
            self._is_silent = True
        else:
            self._is_silent = False

    async def pauses(self) -> Sequence[PairFacts]:
        """Which pairs pause by what all processes know; none where the index does not answer: this process knows its own."""
        try:
            return await self._ledger.pauses()
        except IndexUnavailable:
            return []

    async def pause(self, bot_id: int, chat_id: int, duration_s: float, rate: Rate | None) -> None:
        """Tell of a pause at once; see `SendLedger.pause_sends`."""
        await self._told(self._ledger.pause_sends(bot_id, chat_id, duration_s, rate=rate))

    def set_aside(self, bot_id: int, chat_id: int, duration_s: float, reason: str, told: Callable[[], None]) -> None:
        """Tell of it soon, and call `told` then, or when it could not be told."""
        self._soon(self._ledger.set_pair_aside(bot_id, chat_id, duration_s, reason), told)

    def take_up(self, bot_id: int, chat_id: int, told: Callable[[], None]) -> None:
        """The same."""
        self._soon(self._ledger.take_pair_up(bot_id, chat_id), told)

    def moved(self, chat_id: int, new_chat_id: int) -> None:
        """Tell of it soon."""
        self._soon(self._ledger.chat_moved(chat_id, new_chat_id))

    def _soon(self, telling: Coroutine[Any, Any, None], told: Callable[[], None] | None = None) -> None:
        async def tell() -> None:
            await self._told(telling)
            if told is not None:
                told()

        task = asyncio.create_task(tell())
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _told(self, telling: Coroutine[Any, Any, None]) -> None:
        try:
            await telling
        except IndexUnavailable as error:
            logger.warning("other processes could not be told what Telegram said: %s", error)

    async def close(self) -> None:
        """Tell the rest, and that this process is gone."""
        await asyncio.gather(*self._telling)
        await self._told(self._ledger.end_sends(self._process_id, self._as_told(self._take_ended())))
        await self._told(self._ledger.leave(self._process_id))
