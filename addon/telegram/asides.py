"""Pairs of a bot and a chat that were refused: set aside, asked cheaply whether they work, and taken up again.

Revoked tokens stay revoked, but Telegram has also been seen to refuse good ones for a while, and a bot that was thrown out may be
let in again. So a pair that is set aside is asked after a growing, bounded time; what asks costs no message and no upload.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from addon.store.send_ledger import PairFacts, aside_s
from addon.telegram.client import BotApi
from addon.telegram.errors import BadRequest

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pair:
    """One bot and the chat that it sends to (as configured; `Bots.current_chat` follows its migrations)."""

    bot: BotApi
    chat_id: int


@dataclass(slots=True)
class _Aside:
    """`until_s` None: it was found to work, which no message has shown yet."""

    since_s: float
    until_s: float | None
    reason: str


class Asides:
    """Which pairs are set aside. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._asides: dict[Pair, _Aside] = {}
        # What other processes know of a pair counts only where it was asked for after they were told what this one found out: the
        # count of tellings then, None while one is under way.
        self._told: dict[Pair, int | None] = {}
        self._tellings = 0

    def set_aside(self, pair: Pair, reason: str) -> float | None:
        """Do not use `pair` for a while, each time in a row twice as long; how long in seconds. None where it is aside already:
        calls that were under way together are refused together, which is one refusal."""
        now_s = self._clock()
        former = self._asides.get(pair)
        if former and former.until_s is not None and former.until_s > now_s:
            return None
        since_s = former.since_s if former else now_s
        duration_s = aside_s(now_s - since_s)
        self._asides[pair] = _Aside(since_s, now_s + duration_s, reason)
        # Once for each time that it fails: what follows only says that it still does.
        level = logging.INFO if former and former.until_s is not None else logging.WARNING
        bot_id = pair.bot.bot_id
        logger.log(level, "bot %d in chat %d is set aside for %g s: %s", bot_id, pair.chat_id, duration_s, reason)
        return duration_s

    def mark(self) -> int:
        """What `learn` is to be given of what is asked for now."""
        return self._tellings

    def is_being_told(self, pair: Pair) -> None:
        """Other processes are about to be told of a change; `told` follows."""
        self._told[pair] = None

    def told(self, pair: Pair) -> None:
        """They know by now, or could not be told."""
        self._tellings += 1
        self._told[pair] = self._tellings

    def found_to_work(self, pair: Pair) -> bool:
        """It was asked, and may be used again; false where it was not aside. The next refusal counts as one more in a row."""
        aside = self._asides.get(pair)
        if aside is None or aside.until_s is None:
            return False
        aside.until_s = None
        logger.warning("bot %d works again in chat %d", pair.bot.bot_id, pair.chat_id)
        return True

    def worked(self, pair: Pair) -> bool:
        """It was used with success: forget what was held against it; false where it was not aside."""
        was_aside = self.found_to_work(pair)
        self._asides.pop(pair, None)
        return was_aside

    def until_s(self, pair: Pair) -> float:
        """Until when it is not to be used, nor asked; `-inf` where it is not aside."""
        aside = self._asides.get(pair)
        return -math.inf if aside is None or aside.until_s is None else aside.until_s

    def to_be_asked(self, among: Collection[Pair]) -> Sequence[Pair]:
        """Those whose time is over: they may be used only after they were found to work."""
        now_s = self._clock()
        return [pair for pair in among if -math.inf < self.until_s(pair) <= now_s]

    def learn(self, pair: Pair, facts: PairFacts | None, mark: int) -> None:
        """What all processes know of it (None: nothing), as it was asked for at `mark`."""
        told_at = self._told.get(pair, 0)
        if told_at is None or told_at > mark:
            return
        now_s = self._clock()
        former = self._asides.get(pair)
        is_aside = former is not None and former.until_s is not None
        if facts is None or facts.aside_for_s is None:
            if former is not None:
                former.until_s = None
            return
        if not is_aside:
            logger.info("bot %d in chat %d is set aside: %s", pair.bot.bot_id, pair.chat_id, facts.reason)
        since_s = former.since_s if former is not None else now_s - facts.aside_for_s
        self._asides[pair] = _Aside(since_s, now_s + facts.aside_left_s, facts.reason)


async def refusal(bot: BotApi, chat_id: int) -> str | None:
    """Ask whether the bot may send to the chat; why not, where it may not. Raises a `BotApiError` where the answer is one.

    https://core.telegram.org/bots/api#getchat, #getchatmember."""
    chat = await bot.call("getChat", {"chat_id": chat_id})
    try:
        member = await bot.call("getChatMember", {"chat_id": chat_id, "user_id": bot.bot_id})
    except BadRequest:
        return None  # Not every compatible server has this method; the next message shows it then.
    if not isinstance(member, Mapping):
        return None
    status = member.get("status")
    if status in ("left", "kicked"):
        return f"the bot is {status}"
    in_channel = isinstance(chat, Mapping) and chat.get("type") == "channel"
    may_post = status == "creator" or (status == "administrator" and member.get("can_post_messages") is not False)
    return "the bot may not post in the channel" if in_channel and not may_post else None
