"""What all processes that send through the same bots share: the port that keeps the account, and the arithmetic of its windows.

Telegram counts a bot's messages whichever process sends them. So each message is entered into the ledger before it starts, and its
end afterwards; what Telegram asked for (a pause, another address, fewer messages) is entered as well, and holds for everyone.

Times are lengths in seconds wherever they pass this port: each process has a clock of its own, and the ledger another.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

# A message that was entered and never ended (its process died) counts as long as it may last: so long without its upload, …
SEND_LASTS_S_MAX = 60.0
# … and longer by the upload at this rate, below which it is given up.
UPLOAD_BYTES_PER_S_MIN = 100_000

# Uploads of equal size above this are throttled per bot (limits.py of telegram/ has the source), for this long after one has ended.
EQUAL_SIZE_BYTES_MIN = 100_000
EQUAL_SIZE_WINDOW_S = 1.0

# Each 429 that is not the echo of another one lowers a pair's messages a minute to this share, and not below the floor; …
LOWER_FACTOR = 0.75
LEARNT_PER_MIN_MIN = 2.0
LOWER_AGAIN_S_MIN = 60.0
# … each of these spans of time without a 429 raises it by this factor, up to what it was at first.
RAISE_FACTOR = 1.1
RAISE_EVERY_S = 300.0

# A refused pair is set aside for the first time, and at most, this long; each time in a row twice as long.
SET_ASIDE_S_FIRST = 5.0
SET_ASIDE_S_MAX = 300.0

# A process that has not said for this long that it is there does not count when a budget is divided.
PROCESS_SEEN_S_MAX = 15.0


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` messages in any `window_s` seconds. The first `burst` of a window may start at once; the rest is spread
    over what is left of the window, so that a burst does not spend it and leave the next caller waiting for its end."""

    count: int
    window_s: float
    burst: int

    @property
    def per_s(self) -> float:
        """Messages a second in the long run."""
        return self.count / self.window_s

    @property
    def per_min(self) -> float:
        """Messages a minute in the long run."""
        return 60 * self.per_s


@dataclass(frozen=True, slots=True)
class Use:
    """What counts in a window: the messages under way, those that ended within it, when the oldest of these ended (`inf` for
    none), and when the last message started (`-inf`), on one clock."""

    in_flight: int = 0
    ended: int = 0
    oldest_end_s: float = math.inf
    last_start_s: float = -math.inf

    def earliest_s(self, rate: Rate, now_s: float) -> float:
        """When the next message may start; `inf` while only the end of one under way can tell."""
        used = self.in_flight + self.ended
        if used < rate.burst:
            return now_s
        if used >= rate.count:
            return self.oldest_end_s + rate.window_s
        oldest_s = self.oldest_end_s if self.ended else now_s
        spread_s = (oldest_s + rate.window_s - self.last_start_s) / (rate.count - used + 1)
        return max(now_s, self.last_start_s + spread_s)


def learnt_rate(rate: Rate, learnt_per_min: float | None, limited_ago_s: float) -> Rate:
    """`rate`, lowered by what was learnt from the last 429, which came `limited_ago_s` ago, and raised again since."""
    if learnt_per_min is None:
        return rate
    raises = min(int(max(0.0, limited_ago_s) / RAISE_EVERY_S), 100)
    count = int(learnt_per_min * RAISE_FACTOR**raises / 60 * rate.window_s)
    if count >= rate.count:
        return rate
    return Rate(max(1, count), rate.window_s, max(1, min(rate.burst, count // 2)))


def lowered_per_min(rate: Rate) -> float:
    """What is learnt from a 429 at this rate: messages a minute."""
    return max(LEARNT_PER_MIN_MIN, rate.per_min * LOWER_FACTOR)


def send_lasts_s_max(upload_bytes: int) -> float:
    """How long a message with this upload may be under way."""
    return SEND_LASTS_S_MAX + upload_bytes / UPLOAD_BYTES_PER_S_MIN


def aside_s(since_s: float) -> float:
    """How long a pair is set aside that is refused, and has been set aside for `since_s` already: 5 s, 10 s, 20 s, …"""
    return min(SET_ASIDE_S_FIRST + max(0.0, since_s), SET_ASIDE_S_MAX)


@dataclass(frozen=True, slots=True)
class PairToAsk:
    """A bot and a chat by their ids, and the rate between them where nothing lower was learnt."""

    bot_id: int
    chat_id: int
    rate: Rate


@dataclass(frozen=True, slots=True)
class SendRequest:
    """The wish to send one message through the first of `pairs` that may; `upload_bytes` is 0 for a message without an upload."""

    process_id: str
    pairs: Sequence[PairToAsk]
    bot_rate: Rate
    upload_bytes: int


@dataclass(frozen=True, slots=True)
class EndedSend:
    """A message that ended `ago_s` ago. `counted` is false only where Telegram cannot have seen it."""

    number: int
    ago_s: float
    counted: bool


@dataclass(frozen=True, slots=True)
class PairFacts:
    """What is known of a bot in a chat (`chat_id` 0: of the bot in general): how much longer it pauses, what the last 429 taught
    and how long ago it came; how long it has been set aside (None: it is not), for how much longer at least, and why."""

    bot_id: int
    chat_id: int
    paused_s: float = 0.0
    learnt_per_min: float | None = None
    limited_ago_s: float = math.inf
    aside_for_s: float | None = None
    aside_left_s: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """What the ledger knows: the facts of pairs, how many messages of each (bot, chat) count that other processes sent, where chats
    went, and how many processes share it, the asking one included."""

    pairs: Sequence[PairFacts]
    of_others: Mapping[tuple[int, int], int]
    moved_chats: Mapping[int, int]
    processes: int


def counting_chats(account: Account, bot_ids: Collection[int], chat_ids: Collection[int]) -> frozenset[int]:
    """The present ids of those chats that at least one of the bots may send to, as far as the ledger knows."""
    aside = {(one.bot_id, one.chat_id) for one in account.pairs if one.aside_for_s is not None}
    working = (chat_id for chat_id in chat_ids if any((bot_id, chat_id) not in aside for bot_id in bot_ids))
    return frozenset(account.moved_chats.get(chat_id, chat_id) for chat_id in working)


@dataclass(frozen=True, slots=True)
class SendAnswer:
    """The number of the message that may start now and its pair; or None, and how long to wait: for each pair that was asked for,
    and by bot for uploads of the same size."""

    number: int | None
    bot_id: int
    chat_id: int
    waits_s: Mapping[tuple[int, int], float]
    size_waits_s: Mapping[int, float]
    account: Account


class SendLedger(Protocol):
    """The account of all processes on one index. Raises `IndexUnavailable` from every method."""

    async def begin_send(self, request: SendRequest, ended: Sequence[EndedSend]) -> SendAnswer:
        """Enter what has ended, and then the message, if it may start now by all that is known: in one transaction."""

    async def end_sends(self, process_id: str, ended: Sequence[EndedSend]) -> None:
        """Enter what has ended, and that the process is there."""

    async def account(self, process_id: str) -> Account:
        """What is known now. Reads only."""

    async def pauses(self) -> Sequence[PairFacts]:
        """Of that account, the pairs that pause: for calls that are not entered. Reads only."""

    async def leave(self, process_id: str) -> None:
        """The process stops: it is not counted any more."""

    async def pause_sends(self, bot_id: int, chat_id: int, duration_s: float, *, rate: Rate | None = None) -> None:
        """Telegram asked for a pause (`chat_id` 0: of the bot in general); never shortens one. With `rate`, the one that the pair
        had at first, less is sent from now on."""

    async def set_pair_aside(self, bot_id: int, chat_id: int, duration_s: float, reason: str) -> None:
        """The pair was refused: nobody uses it for so long, nor afterwards before it was found to work."""

    async def take_pair_up(self, bot_id: int, chat_id: int) -> None:
        """The pair works again."""

    async def chat_moved(self, chat_id: int, new_chat_id: int) -> None:
        """The chat has another id from now on."""
