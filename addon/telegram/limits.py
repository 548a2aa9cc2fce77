"""When the next message may be sent: Telegram's limits of messages, the pauses that it asks for, and our own bounds.

Rules (sources: https://core.telegram.org/bots/faq "My bot is hitting limits", and the server's source, telegram-bot-api
`Client.cpp`):
- 20 messages in 60 s to a group; channels are not named there and are treated like groups (every negative chat id);
- 1 message a second to a private chat, short bursts allowed; 30 messages a second for one bot over all chats;
- after a 429, nothing for `retry_after` seconds: for the (bot, chat) of the call, or for the bot where the call had no chat;
- uploads of exactly equal size (above 100 000 bytes) are throttled per bot, and in the end answered with a 429 of 60 s;
- getFile and downloads have no documented limit; trouble was reported from 15 getFile a second on (tdlib/telegram-bot-api#755). So
  there are so many at once, and a rate only after a 429.

Nobody tells when Telegram counts a message: it happens between the start of the request and its answer. So a message occupies its
place in the window from its start until the window has passed after its end, which is right wherever in between it counted.

Pure bookkeeping on an injected monotonic clock; nothing here waits (`bots.py` does), and nothing here knows of other processes but
what `bots.py` tells from the ledger that all of them keep: `learn` and `hold`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from addon.store.send_ledger import (
    EQUAL_SIZE_BYTES_MIN,
    EQUAL_SIZE_WINDOW_S,
    LOWER_AGAIN_S_MIN,
    Account,
    Rate,
    Use,
    learnt_rate,
    lowered_per_min,
)

PRIVATE_RATE = Rate(count=60, window_s=60.0, burst=5)
BOT_RATE = Rate(count=30, window_s=1.0, burst=30)
GET_FILE_RATE = Rate(count=15, window_s=1.0, burst=15)  # Of one bot, to begin with when a 429 has come.
UPLOADS_IN_FLIGHT_MAX = 8


def group_rate(messages_per_min_max: int) -> Rate:
    """The rate to a channel or group, half of which may go out in a burst."""
    return Rate(count=messages_per_min_max, window_s=60.0, burst=messages_per_min_max // 2)


GROUP_RATE = group_rate(20)


class Window:
    """The messages of one sliding window: how many are under way, and when the others ended."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._in_flight = 0
        self._ended: deque[float] = deque()
        self._last_start_s = -math.inf

    def earliest_s(self, now_s: float) -> float:
        """When the next message may start; `inf` while only the end of one under way can tell."""
        self._forget(now_s)
        oldest_s = self._ended[0] if self._ended else math.inf
        return Use(self._in_flight, len(self._ended), oldest_s, self._last_start_s).earliest_s(self.rate, now_s)

    def burst_left(self, now_s: float) -> int:
        """How many messages may start without any pause between them."""
        self._forget(now_s)
        return max(0, self.rate.burst - self._in_flight - len(self._ended))

    def _forget(self, now_s: float) -> None:
        while self._ended and self._ended[0] + self.rate.window_s <= now_s:
            self._ended.popleft()

    def start(self, now_s: float) -> None:
        self._in_flight += 1
        self._last_start_s = now_s

    def end(self, now_s: float, *, counted: bool) -> None:
        """`counted` is false only where Telegram cannot have seen the message."""
        self._in_flight -= 1
        if counted:
            self._ended.append(now_s)


class SendLimits:
    """The limits of every bot and chat, as one process knows them. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        group_rate: Rate = GROUP_RATE,
        private_rate: Rate = PRIVATE_RATE,
        bot_rate: Rate = BOT_RATE,
        uploads_in_flight_max: int = UPLOADS_IN_FLIGHT_MAX,
        equal_sizes_wait: bool = True,
    ) -> None:
        """`equal_sizes_wait` false: a local server does not throttle uploads of equal size."""
        self._clock = clock
        self._group_rate = group_rate
        self._private_rate = private_rate
        self.bot_rate = bot_rate
        self._uploads_in_flight_max = uploads_in_flight_max
        self._equal_sizes_wait = equal_sizes_wait
        self._chats: dict[tuple[int, int], Window] = {}
        self._bots: dict[int, Window] = {}
        self._uploads: dict[int, int] = {}
        self._paused_until_s: dict[tuple[int, int | None], float] = {}
        self._sizes: dict[tuple[int, int], float] = {}  # (bot, size) → free again from then on; `inf` while under way
        self._learnt: dict[tuple[int, int], tuple[float, float]] = {}  # (bot, chat) → messages a minute, learnt when
        self._held_until_s: dict[tuple[int, int], float] = {}
        self._of_others: dict[tuple[int, int], int] = {}
        self._files_asked: dict[int, Window] = {}
        self.processes = 1
        """How many processes share the limits that are divided."""

    def earliest_s(self, bot_id: int, chat_id: int, upload_bytes: int = 0) -> float:
        """When a message with this upload (0: none) may start: the present moment, a later one, or `inf` where only the end of
        a message under way can tell."""
        now_s = self._clock()
        if upload_bytes and self._uploads.get(bot_id, 0) >= self._uploads_in_flight_max:
            return math.inf
        return max(
            self._chat(bot_id, chat_id).earliest_s(now_s),
            self._bot(bot_id).earliest_s(now_s),
            self.paused_until_s(bot_id, chat_id),
            self._held_until_s.get((bot_id, chat_id), -math.inf),
            self._sizes.get((bot_id, upload_bytes), now_s),
        )

    def burst_left(self, bot_id: int, chat_id: int) -> int:
        """How many messages of this bot to this chat its window lets start without any pause between them."""
        now_s = self._clock()
        if self._held_until_s.get((bot_id, chat_id), -math.inf) > now_s:
            return 0
        return max(0, self._chat(bot_id, chat_id).burst_left(now_s) - self._of_others.get((bot_id, chat_id), 0))

    def start(self, bot_id: int, chat_id: int, upload_bytes: int = 0) -> None:
        """A message starts now; `end` must follow, whatever happens."""
        now_s = self._clock()
        self._chat(bot_id, chat_id).start(now_s)
        self._bot(bot_id).start(now_s)
        if upload_bytes:
            self._uploads[bot_id] = self._uploads.get(bot_id, 0) + 1
        if self._equal_sizes_wait and upload_bytes > EQUAL_SIZE_BYTES_MIN:
            self._sizes = {key: free_s for key, free_s in self._sizes.items() if free_s > now_s}
            self._sizes[bot_id, upload_bytes] = math.inf

    def end(self, bot_id: int, chat_id: int, upload_bytes: int = 0, *, counted: bool = True) -> None:
        """It ended, answered or not. `counted` is false only where Telegram cannot have seen the whole request."""
        now_s = self._clock()
        self._chat(bot_id, chat_id).end(now_s, counted=counted)
        self._bot(bot_id).end(now_s, counted=counted)
        if upload_bytes:
            self._uploads[bot_id] -= 1
        if self._equal_sizes_wait and upload_bytes > EQUAL_SIZE_BYTES_MIN:
            self._sizes[bot_id, upload_bytes] = now_s + EQUAL_SIZE_WINDOW_S

    def pause(self, bot_id: int, chat_id: int | None, duration_s: float) -> None:
        """A 429: nothing for `duration_s` from now. `chat_id` None pauses the bot in all chats. Never shortens a pause."""
        key = (bot_id, chat_id)
        self._paused_until_s[key] = max(self._paused_until_s.get(key, -math.inf), self._clock() + duration_s)

    def paused_until_s(self, bot_id: int, chat_id: int | None) -> float:
        """The end of the pauses that hold for calls of this bot to this chat (None: calls without a chat); `-inf` for none."""
        bot_s = self._paused_until_s.get((bot_id, None), -math.inf)
        return max(bot_s, self._paused_until_s.get((bot_id, chat_id), -math.inf))

    def paused_s(self, bot_id: int, chat_id: int | None) -> float:
        """How much longer the pauses last, in seconds; 0 for none."""
        return max(0.0, self.paused_until_s(bot_id, chat_id) - self._clock())

    def lower(self, bot_id: int, chat_id: int) -> None:
        """A message within the limits (`chat_id` 0: a getFile or download) was answered with a 429: less is sent from now on. What
        was refused together with another one taught that already."""
        now_s = self._clock()
        if now_s - self._learnt.get((bot_id, chat_id), (0.0, -math.inf))[1] >= LOWER_AGAIN_S_MIN:
            self._learnt[bot_id, chat_id] = (lowered_per_min(self.rate(bot_id, chat_id)), now_s)

    def hold(self, bot_id: int, chat_id: int, duration_s: float) -> None:
        """Other processes' messages leave this pair no room for so long."""
        self._held_until_s[bot_id, chat_id] = self._clock() + duration_s

    def hold_size(self, bot_id: int, upload_bytes: int, duration_s: float) -> None:
        """Another process sends an upload of this size."""
        key = (bot_id, upload_bytes)
        self._sizes[key] = max(self._sizes.get(key, -math.inf), self._clock() + duration_s)

    def learn(self, account: Account) -> None:
        """What all processes know by now."""
        now_s = self._clock()
        self._of_others, self.processes = dict(account.of_others), account.processes
        for facts in account.pairs:
            if facts.paused_s > 0:
                self.pause(facts.bot_id, facts.chat_id or None, facts.paused_s)
            if facts.learnt_per_min is not None:
                learnt_at_s = now_s - facts.limited_ago_s
                self._learnt[facts.bot_id, facts.chat_id] = (facts.learnt_per_min, learnt_at_s)

    def file_may_be_asked_for_s(self, bot_id: int) -> float:
        """How much longer a getFile of this bot has to wait; where it is 0, it counts from now on."""
        if (bot_id, 0) not in self._learnt:
            return 0.0
        now_s = self._clock()
        learnt_per_min, learnt_at_s = self._learnt[bot_id, 0]
        window = self._files_asked.setdefault(bot_id, Window(GET_FILE_RATE))
        window.rate = learnt_rate(GET_FILE_RATE, learnt_per_min / self.processes, now_s - learnt_at_s)
        wait_s = window.earliest_s(now_s) - now_s
        if wait_s <= 0:
            window.start(now_s)
            window.end(now_s, counted=True)
        return max(0.0, wait_s)

    def first_rate(self, chat_id: int) -> Rate:
        """What holds for one bot in this chat (0: for its getFile), where nothing lower was learnt."""
        if chat_id == 0:
            return GET_FILE_RATE
        return self._group_rate if chat_id < 0 else self._private_rate

    def rate(self, bot_id: int, chat_id: int) -> Rate:
        """What holds for this bot in this chat now."""
        rate = self.first_rate(chat_id)
        if (bot_id, chat_id) not in self._learnt:
            return rate
        learnt_per_min, learnt_at_s = self._learnt[bot_id, chat_id]
        return learnt_rate(rate, learnt_per_min, self._clock() - learnt_at_s)

    def _chat(self, bot_id: int, chat_id: int) -> Window:
        rate = self.rate(bot_id, chat_id)
        window = self._chats.setdefault((bot_id, chat_id), Window(rate))
        window.rate = rate
        return window

    def _bot(self, bot_id: int) -> Window:
        return self._bots.setdefault(bot_id, Window(self.bot_rate))
