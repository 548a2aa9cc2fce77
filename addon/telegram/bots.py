"""The bots and the chats: which pair sends next, which is set aside, and where a chat went.

A pair that is refused (401, 403, chat gone) is set aside for a growing, bounded time, and then tried again: revoked tokens stay
revoked, but Telegram has also been seen to refuse good ones for a while.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from addon.store.ports import TelegramUnavailable
from addon.telegram.client import BotApi
from addon.telegram.errors import (
    BadRequest,
    BotApiError,
    ChatMigrated,
    Forbidden,
    NetworkFailure,
    RateLimited,
    Unauthorized,
)
from addon.telegram.limits import SendLimits

SET_ASIDE_S_FIRST = 5.0
SET_ASIDE_S_MAX = 300.0
SEND_QUEUE_LENGTH_MAX = 1000
MIGRATIONS_MAX = 8  # Hops of one chat; a longer chain is a ring.

# Refusals that are about the chat and the bot's rights there, not about the message. The wording is no contract: a text that is
# not recognised only means that the pair is tried again with the next document.
_CHAT_REFUSALS = (
    "chat not found",
    "not enough rights",
    "administrator rights",
    "CHAT_ADMIN_REQUIRED",
    "CHAT_WRITE_FORBIDDEN",
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pair:
    """One bot and the chat that it sends to (as configured; `Bots.current_chat` follows its migrations)."""

    bot: BotApi
    chat_id: int


@dataclass(slots=True)
class _Aside:
    until_s: float
    duration_s: float


@dataclass(slots=True)
class _Queue:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    length: int = 0


class Bots:
    """Every bot × every chat. `clock` is monotonic, in seconds; `sleep` takes seconds."""

    def __init__(
        self,
        bots: Sequence[BotApi],
        chat_ids: Sequence[int],
        limits: SendLimits,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        queue_length_max: int = SEND_QUEUE_LENGTH_MAX,
    ) -> None:
        if not bots or not chat_ids:
            raise ValueError("at least one bot token and one chat id are needed")
        if len({bot.bot_id for bot in bots}) != len(bots) or len(set(chat_ids)) != len(chat_ids):
            raise ValueError("each bot and each chat may be named only once")
        self.bots = tuple(bots)
        self.limits = limits
        self.pairs = tuple(Pair(bot, chat_id) for chat_id in chat_ids for bot in bots)
        self._clock = clock
        self._sleep = sleep
        self._aside: dict[Pair, _Aside] = {}
        self._moved: dict[int, int] = {}
        self._changes: set[asyncio.Future[None]] = set()
        # First come, first served: only the first of a queue waits for a pair. Uploads have one queue, the forwards of each pair
        # another, so that a read never waits behind the uploads' limits.
        self._queues: dict[tuple[Pair, ...], _Queue] = {}
        self._queue_length_max = queue_length_max

    def current_chat(self, chat_id: int) -> int:
        """Where `chat_id` is now."""
        for _ in range(MIGRATIONS_MAX):
            if chat_id not in self._moved:
                break
            chat_id = self._moved[chat_id]
        return chat_id

    def migrated(self, chat_id: int, new_chat_id: int) -> None:
        """The group `chat_id` became `new_chat_id`; remembered for the life of the process."""
        if self._moved.get(chat_id, chat_id) == new_chat_id:
            return
        logger.warning(
            "chat %d was upgraded to the supergroup %d: put the new id into [telegram] chat_ids", chat_id, new_chat_id
        )
        self._moved[chat_id] = new_chat_id
        self._notify()

    def set_aside(self, pair: Pair, reason: str) -> None:
        """Do not use `pair` for a while; each time in a row twice as long."""
        now_s = self._clock()
        former = self._aside.get(pair)
        if former and former.until_s > now_s:
            return  # Calls that were under way together are refused together: that is one refusal.
        duration_s = min(former.duration_s * 2, SET_ASIDE_S_MAX) if former else SET_ASIDE_S_FIRST
        self._aside[pair] = _Aside(now_s + duration_s, duration_s)
        logger.warning("bot %d in chat %d is set aside for %g s: %s", pair.bot.bot_id, pair.chat_id, duration_s, reason)

    def worked(self, pair: Pair) -> None:
        """`pair` was used with success: forget what was held against it."""
        if self._aside.pop(pair, None):
            logger.warning("bot %d works again in chat %d", pair.bot.bot_id, pair.chat_id)

    def usable_from_s(self, pair: Pair) -> float:
        """The moment until which `pair` is set aside; `-inf` where it is not."""
        aside = self._aside.get(pair)
        return aside.until_s if aside else -math.inf

    def earliest_s(self, upload_bytes: int, among: Collection[Pair]) -> tuple[float, Pair]:
        """The pair that may send first, and when (`inf` where only the end of a message under way can tell)."""
        return min(((self._earliest_of_s(pair, upload_bytes), pair) for pair in among), key=lambda found: found[0])

    def _earliest_of_s(self, pair: Pair, upload_bytes: int) -> float:
        chat_id = self.current_chat(pair.chat_id)
        return max(self.limits.earliest_s(pair.bot.bot_id, chat_id, upload_bytes), self.usable_from_s(pair))

    def refused(self, pair: Pair, chat_id: int, error: BotApiError) -> None:
        """Draw the consequences of a failed call of the pair to `chat_id`, for everyone who shares the pair, bot or chat."""
        if isinstance(error, RateLimited):
            self.limits.pause(pair.bot.bot_id, chat_id, error.retry_after_s)
        elif isinstance(error, ChatMigrated):
            self.migrated(chat_id, error.chat_id)
        elif isinstance(error, Unauthorized):
            for other in self.pairs:
                if other.bot is pair.bot:
                    self.set_aside(other, error.detail)
        elif isinstance(error, Forbidden) or (
            isinstance(error, BadRequest) and any(text in error.text for text in _CHAT_REFUSALS)
        ):
            self.set_aside(pair, error.detail)

    @asynccontextmanager
    async def turn(
        self, *, upload_bytes: int, among: Collection[Pair], deadline_s: float
    ) -> AsyncIterator[tuple[Pair, int]]:
        """Wait for the first of the pairs that may send, and hold its place while the message is under way.

        Gives the pair and its chat's present id. A `BotApiError` that leaves the context has its consequences (`refused`) before
        anyone else gets a turn. Raises `TelegramUnavailable` at once when the next permitted moment lies beyond `deadline_s`
        (on the clock), or when too many wait already.
        """
        pair, chat_id = await self._reserve(upload_bytes, among, deadline_s)
        counted = True
        try:
            yield pair, chat_id
        except BotApiError as error:
            counted = not isinstance(error, NetworkFailure) or error.ambiguous
            self.refused(pair, chat_id, error)
            raise
        finally:
            self.limits.end(pair.bot.bot_id, chat_id, upload_bytes, counted=counted)
            self._notify()

    async def _reserve(self, upload_bytes: int, among: Collection[Pair], deadline_s: float) -> tuple[Pair, int]:
        if not among:
            raise TelegramUnavailable("no bot may send to any chat", retry_after_s=SET_ASIDE_S_FIRST)
        queue = self._queues.setdefault(self.pairs if upload_bytes else tuple(among), _Queue())
        if queue.length >= self._queue_length_max:
            raise TelegramUnavailable(f"{queue.length} messages wait to be sent already")
        at_s = self.earliest_s(upload_bytes, among)[0]
        at_s = self._clock() if math.isinf(at_s) else at_s
        self._check_in_time(at_s + self._queue_s(queue.length, among), deadline_s)
        queue.length += 1
        try:
            while True:
                async with queue.turn:
                    found = await self._first_free(upload_bytes, among, deadline_s)
                if isinstance(found, tuple):
                    return found
                await self._sleep_or_change(found)
        finally:
            queue.length -= 1

    def burst_share_left(self) -> float:
        """Of the messages that may go out without any pause between them, the part that is left (0 … 1), over all pairs."""
        chats = [(pair.bot.bot_id, self.current_chat(pair.chat_id)) for pair in self.pairs]
        left = sum(self.limits.burst_left(bot_id, chat_id) for bot_id, chat_id in chats)
        return left / sum(self.limits.rate(chat_id).burst for _, chat_id in chats)

    def ways(self) -> int:
        """How many pairs are not set aside."""
        return len(self._usable())

    def slot_s(self) -> float:
        """The seconds between messages at the pace that these pairs may keep for ever; of all pairs where none is left."""
        chats = [self.current_chat(pair.chat_id) for pair in self._usable() or self.pairs]
        return 1 / sum(self.limits.rate(chat_id).per_s for chat_id in chats)

    def _usable(self) -> list[Pair]:
        now_s = self._clock()
        return [pair for pair in self.pairs if self.usable_from_s(pair) <= now_s]

    def _queue_s(self, waiting: int, among: Collection[Pair]) -> float:
        """An estimate of how long a queue takes, so that a crowd is told at once instead of being held for the whole wait."""
        chats = [(pair.bot.bot_id, self.current_chat(pair.chat_id)) for pair in among]
        at_once = sum(self.limits.burst_left(bot_id, chat_id) for bot_id, chat_id in chats)
        per_s = sum(self.limits.rate(chat_id).per_s for _, chat_id in chats)
        return max(0, waiting - at_once) / per_s

    async def _first_free(
        self, upload_bytes: int, among: Collection[Pair], deadline_s: float
    ) -> tuple[Pair, int] | float:
        """The first of a queue waits here, and takes its place. Where only this message is held up (by its size, or because few
        pairs are left for it) and others could go, it gets a time in seconds to wait in without stopping them."""
        while True:
            at_s, pair = self.earliest_s(upload_bytes, among)
            now_s = self._clock()
            if at_s <= now_s:
                chat_id = self.current_chat(pair.chat_id)
                self.limits.start(pair.bot.bot_id, chat_id, upload_bytes)
                return pair, chat_id
            self._check_in_time(at_s, deadline_s)
            if now_s >= deadline_s:
                raise TelegramUnavailable("every upload that Telegram may take at once is under way")
            wait_s = min(at_s, deadline_s) - now_s
            if upload_bytes and self.earliest_s(1, self.pairs)[0] <= self._clock():
                return wait_s
            await self._sleep_or_change(wait_s)

    def _check_in_time(self, at_s: float, deadline_s: float) -> None:
        if not math.isinf(at_s) and at_s > deadline_s:
            wait_s = at_s - self._clock()
            raise TelegramUnavailable(f"Telegram takes the next message in {wait_s:.1f} s", retry_after_s=wait_s)

    async def _sleep_or_change(self, duration_s: float) -> None:
        change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changes.add(change)
        sleeping = asyncio.ensure_future(self._sleep(duration_s))
        try:
            await asyncio.wait((change, sleeping), return_when=asyncio.FIRST_COMPLETED)
            if sleeping.done():
                sleeping.result()
        finally:
            self._changes.discard(change)
            sleeping.cancel()
            await asyncio.gather(sleeping, return_exceptions=True)

    def _notify(self) -> None:
        for change in self._changes:
            if not change.done():
                change.set_result(None)
