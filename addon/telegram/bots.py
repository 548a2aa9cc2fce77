"""The bots and the chats: which pair sends next, which is set aside, and where a chat went.

A pair that is refused (401, 403, chat gone) is set aside (`asides.py`), and used again once it was found to work. Where a ledger is
kept, all processes on one index share the limits, the pauses, and what is known of the pairs (`shared_budget.py`).
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from addon.store.ports import TelegramUnavailable
from addon.store.send_ledger import SET_ASIDE_S_FIRST, SET_ASIDE_S_MAX, Account, PairToAsk, SendLedger
from addon.telegram.asides import Asides, Pair, refusal
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
from addon.telegram.shared_budget import LOOK_INTERVAL_S, TELL_INTERVAL_S, SharedBudget

__all__ = ["SET_ASIDE_S_FIRST", "SET_ASIDE_S_MAX", "Bots", "Pair"]

PROBE_S_MAX = 5.0  # A pair that does not answer this long, when it is asked whether it works, is left alone for now.
SEND_QUEUE_LENGTH_MAX = 1000
HOLD_S_MIN = 0.01  # Two clocks agree no better than this on when a window has passed.
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


@dataclass(slots=True)
class _Queue:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    length: int = 0


@dataclass(frozen=True, slots=True)
class _Place:
    """A message's place within the limits; `number` is that of the ledger, None where none is kept."""

    pair: Pair
    chat_id: int
    number: int | None


class Bots:
    """Every bot × every chat. `clock` is monotonic, in seconds; `sleep` takes seconds. With `ledger` all processes on one index
    share the limits; else this process has them for itself."""

    def __init__(
        self,
        bots: Sequence[BotApi],
        chat_ids: Sequence[int],
        limits: SendLimits,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        queue_length_max: int = SEND_QUEUE_LENGTH_MAX,
        ledger: SendLedger | None = None,
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
        self._asides = Asides(clock)
        self._shared = (
            None if ledger is None else SharedBudget(ledger, clock=clock, mark=self._asides.mark, learn=self._learn)
        )
        self._unauthorized: set[int] = set()
        self._probes: dict[Pair, asyncio.Task[None]] = {}
        self._looking: asyncio.Task[None] | None = None
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
        """The group `chat_id` became `new_chat_id`."""
        if self._moved.get(chat_id) == new_chat_id:
            return
        logger.warning(
            "chat %d was upgraded to the supergroup %d: put the new id into [telegram] chat_ids", chat_id, new_chat_id
        )
        self._moved[chat_id] = new_chat_id
        if self._shared is not None:
            self._shared.moved(chat_id, new_chat_id)
        self._notify()

    def set_aside(self, pair: Pair, reason: str) -> None:
        """Do not use `pair` for a while; each time in a row twice as long."""
        duration_s = self._asides.set_aside(pair, reason)
        if duration_s is not None and self._shared is not None:
            self._asides.is_being_told(pair)
            told = functools.partial(self._asides.told, pair)
            self._shared.set_aside(pair.bot.bot_id, pair.chat_id, duration_s, reason, told)

    def worked(self, pair: Pair) -> None:
        """`pair` was used with success: forget what was held against it."""
        self._unauthorized.discard(pair.bot.bot_id)
        if self._asides.worked(pair):
            self._tell_taken_up(pair)

    def _tell_taken_up(self, pair: Pair) -> None:
        if self._shared is not None:
            self._asides.is_being_told(pair)
            self._shared.take_up(pair.bot.bot_id, pair.chat_id, functools.partial(self._asides.told, pair))

    def usable_from_s(self, pair: Pair) -> float:
        """The moment until which `pair` is set aside; `-inf` where it is not."""
        return self._asides.until_s(pair)

    def is_aside(self, pair: Pair) -> bool:
        """Whether `pair` is set aside, or waits to be asked whether it works again."""
        return self._asides.until_s(pair) > -math.inf

    def may_send(self, bot: BotApi, chat_id: int) -> bool:
        """Whether nothing is known against this bot in the chat with this present id."""
        return not any(
            self.is_aside(pair)
            for pair in self.pairs
            if pair.bot is bot and self.current_chat(pair.chat_id) == self.current_chat(chat_id)
        )

    def working_chats(self) -> frozenset[int]:
        """The present ids of the chats to which at least one bot may send, as far as is known."""
        return frozenset(self.current_chat(pair.chat_id) for pair in self.pairs if not self.is_aside(pair))

    async def ask_all(self) -> None:
        """Ask each bot whether it may send to each chat; what may not is set aside."""
        await self.look()
        await asyncio.gather(*(self._ask(pair) for pair in self.pairs if pair not in self._probes))

    def unauthorized(self, bot: BotApi, reason: str) -> None:
        """The bot's token is refused: it is set aside in all chats."""
        self._unauthorized.add(bot.bot_id)
        for pair in self.pairs:
            if pair.bot is bot:
                self.set_aside(pair, reason)

    def is_unauthorized(self, bot: BotApi) -> bool:
        """Whether the bot's token was refused, and nothing has worked with it since: no call of it is of use."""
        return bot.bot_id in self._unauthorized

    def bots_by_readiness(self, first_bot_id: int) -> Sequence[BotApi]:
        """All bots: those that work before those that are set aside everywhere, and `first_bot_id` first of its kind."""
        working = {pair.bot.bot_id for pair in self.pairs if not self.is_aside(pair)}
        return sorted(self.bots, key=lambda bot: (bot.bot_id not in working, bot.bot_id != first_bot_id))

    def earliest_s(self, upload_bytes: int, among: Collection[Pair]) -> tuple[float, Pair]:
        """The pair that may send first, and when (`inf` where only the end of a message under way can tell). Of those that may send
        at once it is the one that has spent least: so messages are spread over all of them from the beginning."""
        return min(((self._earliest_of_s(pair, upload_bytes), pair) for pair in among), key=self._rank)

    def _rank(self, found: tuple[float, Pair]) -> tuple[float, int]:
        at_s, pair = found
        if at_s > self._clock():
            return at_s, 0
        return -math.inf, -self.limits.burst_left(pair.bot.bot_id, self.current_chat(pair.chat_id))

    def _earliest_of_s(self, pair: Pair, upload_bytes: int) -> float:
        if pair in self._probes:
            return math.inf
        chat_id = self.current_chat(pair.chat_id)
        return max(self.limits.earliest_s(pair.bot.bot_id, chat_id, upload_bytes), self.usable_from_s(pair))

    async def pause(self, bot_id: int, chat_id: int | None, duration_s: float) -> None:
        """A 429 to a call of this bot (to this chat): nothing for so long, and less from then on, in all processes."""
        self.limits.pause(bot_id, chat_id, duration_s)
        self.limits.lower(bot_id, chat_id or 0)
        if self._shared is not None:
            await self._shared.pause(bot_id, chat_id or 0, duration_s, self.limits.first_rate(chat_id or 0))

    async def paused_s(self, bot_id: int, chat_id: int | None) -> float:
        """How much longer calls of this bot (to this chat) pause, in seconds, by what all processes know; 0 for none."""
        if self._shared is not None:
            for facts in await self._shared.pauses():
                self.limits.pause(facts.bot_id, facts.chat_id or None, facts.paused_s)
        return self.limits.paused_s(bot_id, chat_id)

    async def refused(self, pair: Pair, chat_id: int, error: BotApiError) -> None:
        """Draw the consequences of a failed call of the pair to `chat_id`, for everyone who shares the pair, bot or chat."""
        if isinstance(error, RateLimited):
            await self.pause(pair.bot.bot_id, chat_id, error.retry_after_s)
        elif isinstance(error, ChatMigrated):
            self.migrated(chat_id, error.chat_id)
        elif isinstance(error, Unauthorized):
            self.unauthorized(pair.bot, error.detail)
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
        place = await self._reserve(upload_bytes, among, deadline_s)
        pair, chat_id = place.pair, place.chat_id
        counted = True
        try:
            yield pair, chat_id
        except BotApiError as error:
            counted = not isinstance(error, NetworkFailure) or error.ambiguous
            await self.refused(pair, chat_id, error)
            raise
        finally:
            self.limits.end(pair.bot.bot_id, chat_id, upload_bytes, counted=counted)
            if self._shared is not None and place.number is not None:
                self._shared.end(place.number, counted=counted)
            self._notify()

    async def _reserve(self, upload_bytes: int, among: Collection[Pair], deadline_s: float) -> _Place:
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
                if isinstance(found, _Place):
                    return found
                await self._sleep_or_change(found)
        finally:
            queue.length -= 1

    def burst_share_left(self) -> float:
        """Of the messages that may go out without any pause between them, the part that is left (0 … 1), over the pairs
        that work."""
        chats = [(pair.bot.bot_id, self.current_chat(pair.chat_id)) for pair in self._usable() or self.pairs]
        left = sum(self.limits.burst_left(bot_id, chat_id) for bot_id, chat_id in chats)
        return left / sum(self.limits.rate(bot_id, chat_id).burst for bot_id, chat_id in chats)

    def ways(self) -> int:
        """How many pairs are not set aside."""
        return len(self._usable())

    def slot_s(self) -> float:
        """The seconds between messages at the pace that these pairs may keep for ever; of all pairs where none is left."""
        pairs = self._usable() or self.pairs
        return 1 / sum(self.limits.rate(pair.bot.bot_id, self.current_chat(pair.chat_id)).per_s for pair in pairs)

    def _usable(self) -> list[Pair]:
        return [pair for pair in self.pairs if not self.is_aside(pair)]

    def _queue_s(self, waiting: int, among: Collection[Pair]) -> float:
        """An estimate of how long a queue takes, so that a crowd is told at once instead of being held for the whole wait."""
        chats = [(pair.bot.bot_id, self.current_chat(pair.chat_id)) for pair in among]
        at_once = sum(self.limits.burst_left(bot_id, chat_id) for bot_id, chat_id in chats)
        per_s = sum(self.limits.rate(bot_id, chat_id).per_s for bot_id, chat_id in chats)
        return max(0, waiting - at_once) / per_s

    async def _first_free(self, upload_bytes: int, among: Collection[Pair], deadline_s: float) -> _Place | float:
        """The first of a queue waits here, and takes its place. Where only this message is held up (by its size, or because few
        pairs are left for it) and others could go, it gets a time in seconds to wait in without stopping them."""
        while True:
            await self._ask_those_aside(upload_bytes, among)
            at_s, pair = self.earliest_s(upload_bytes, among)
            now_s = self._clock()
            if at_s <= now_s:
                place = await self._take(pair, upload_bytes, among)
                if place is not None:
                    return place
                continue  # By now it is known how long other processes leave no room.
            self._check_in_time(at_s, deadline_s)
            if now_s >= deadline_s:
                raise TelegramUnavailable("every upload that Telegram may take at once is under way")
            wait_s = min(at_s, deadline_s) - now_s
            if upload_bytes and self.earliest_s(1, self.pairs)[0] <= self._clock():
                return wait_s
            await self._sleep_or_change(wait_s)

    async def _take(self, first: Pair, upload_bytes: int, among: Collection[Pair]) -> _Place | None:
        """A place for a message through `first`, or another pair that may send now; None where other processes leave none."""
        if self._shared is None:
            place = _Place(first, self.current_chat(first.chat_id), None)
        else:
            now_s = self._clock()
            ready = [first, *(one for one in among if one != first and self._earliest_of_s(one, upload_bytes) <= now_s)]
            by_ids = {(pair.bot.bot_id, self.current_chat(pair.chat_id)): pair for pair in ready}
            asked_for = [PairToAsk(bot_id, chat_id, self.limits.first_rate(chat_id)) for bot_id, chat_id in by_ids]
            answer = await self._shared.begin(asked_for, self.limits.bot_rate, upload_bytes)
            if answer.number is None:
                for (bot_id, chat_id), wait_s in answer.waits_s.items():
                    self.limits.hold(bot_id, chat_id, max(wait_s, HOLD_S_MIN))
                for bot_id, wait_s in answer.size_waits_s.items():
                    self.limits.hold_size(bot_id, upload_bytes, max(wait_s, HOLD_S_MIN))
                return None
            place = _Place(by_ids[answer.bot_id, answer.chat_id], answer.chat_id, answer.number)
        self.limits.start(place.pair.bot.bot_id, place.chat_id, upload_bytes)
        return place

    async def _ask_those_aside(self, upload_bytes: int, among: Collection[Pair]) -> None:
        """Pairs whose time aside is over are asked whether they work: while another pair sends, or right now where none may."""
        waiting = [pair for pair in self._asides.to_be_asked(among) if pair not in self._probes]
        if not waiting:
            return
        others = [pair for pair in among if pair not in waiting]
        is_urgent = not others or self.earliest_s(upload_bytes, others)[0] > self._clock()
        for pair in waiting:
            self._ask_soon(pair)
        if is_urgent:
            await asyncio.wait([self._probes[pair] for pair in waiting], return_when=asyncio.FIRST_COMPLETED)

    def _ask_soon(self, pair: Pair) -> None:
        asking = asyncio.create_task(self._ask(pair))
        self._probes[pair] = asking
        asking.add_done_callback(lambda _: self._asked(pair))

    def _asked(self, pair: Pair) -> None:
        del self._probes[pair]
        self._notify()

    async def _ask(self, pair: Pair) -> None:
        """Find out whether a pair that is aside works again."""
        chat_id = self.current_chat(pair.chat_id)
        try:
            async with asyncio.timeout(PROBE_S_MAX):
                reason = await refusal(pair.bot, chat_id)
        except TimeoutError:
            reason = f"no answer within {PROBE_S_MAX:g} s"
        except BotApiError as error:
            await self.refused(pair, chat_id, error)
            reason = None if isinstance(error, ChatMigrated) else error.detail
        if reason is not None:
            self.set_aside(pair, reason)
            return
        self._unauthorized.discard(pair.bot.bot_id)
        if self._asides.found_to_work(pair):
            self._tell_taken_up(pair)

    def start(self) -> None:
        """Begin to look, every few seconds, at what other processes know, and whether what is set aside works again."""
        self._looking = asyncio.create_task(self._look_again_and_again())

    async def _look_again_and_again(self) -> None:
        looked_at_s = -math.inf
        while True:
            has_to_tell = self._shared is not None and self._shared.has_to_tell
            if has_to_tell or time.monotonic() - looked_at_s >= LOOK_INTERVAL_S:
                looked_at_s = time.monotonic()
                await self.look()
            await asyncio.sleep(TELL_INTERVAL_S)

    async def look(self) -> None:
        """Learn what other processes know, and ask the pairs whose time aside is over."""
        if self._shared is not None:
            await self._shared.look()
        for pair in self._asides.to_be_asked(self.pairs):
            if pair not in self._probes:
                self._ask_soon(pair)
        if self._probes:
            await asyncio.wait(list(self._probes.values()))

    def _learn(self, account: Account, mark: int) -> None:
        self.limits.learn(account)
        self._moved.update(account.moved_chats)
        facts = {(one.bot_id, one.chat_id): one for one in account.pairs}
        for pair in self.pairs:
            self._asides.learn(pair, facts.get((pair.bot.bot_id, pair.chat_id)), mark)

    async def close(self) -> None:
        """Stop what is under way, and tell other processes the rest."""
        tasks = [*self._probes.values(), *([self._looking] if self._looking is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._shared is not None:
            await self._shared.close()

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
