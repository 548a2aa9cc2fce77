"""When the next message may be sent: Telegram's limits of messages, the pauses that it asks for, and our own bounds.

Rules (sources: https://core.telegram.org/bots/faq "My bot is hitting limits", and the server's source, telegram-bot-api
`Client.cpp`):
- 20 messages in 60 s to a group; channels are not named there and are treated like groups (every negative chat id);
- 1 message a second to a private chat, short bursts allowed; 30 messages a second for one bot over all chats;
- after a 429, nothing for `retry_after` seconds: for the (bot, chat) of the call, or for the bot where the call had no chat;
- uploads of exactly equal size (above 100 000 bytes) are throttled per bot, and in the end answered with a 429 of 60 s.

Nobody tells when Telegram counts a message: it happens between the start of the request and its answer. So a message occupies its
place in the window from its start until the window has passed after its end, which is right wherever in between it counted.

Pure bookkeeping on an injected monotonic clock; nothing here waits (`bots.py` does).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

EQUAL_SIZE_BYTES_MIN = 100_000
EQUAL_SIZE_WINDOW_S = 1.0


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


PRIVATE_RATE = Rate(count=60, window_s=60.0, burst=5)
BOT_RATE = Rate(count=30, window_s=1.0, burst=30)
UPLOADS_IN_FLIGHT_MAX = 8


def group_rate(messages_per_min_max: int) -> Rate:
    """The rate to a channel or group, half of which may go out in a burst."""
    return Rate(count=messages_per_min_max, window_s=60.0, burst=messages_per_min_max // 2)


GROUP_RATE = group_rate(20)


class Window:
    """The messages of one sliding window: how many are under way, and when the others ended."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._in_flight = 0
        self._ended: deque[float] = deque()
        self._last_start_s = -math.inf

    def earliest_s(self, now_s: float) -> float:
        """When the next message may start; `inf` while only the end of one under way can tell."""
        rate, used = self._rate, self._used(now_s)
        if used < rate.burst:
            return now_s
        if used >= rate.count and not self._ended:
            return math.inf
        oldest_s = self._ended[0] if self._ended else now_s
        if used >= rate.count:
            return oldest_s + rate.window_s
        spread_s = (oldest_s + rate.window_s - self._last_start_s) / (rate.count - used + 1)
        return max(now_s, self._last_start_s + spread_s)

    def burst_left(self, now_s: float) -> int:
        """How many messages may start without any pause between them."""
        return max(0, self._rate.burst - self._used(now_s))

    def _used(self, now_s: float) -> int:
        while self._ended and self._ended[0] + self._rate.window_s <= now_s:
            self._ended.popleft()
        return self._in_flight + len(self._ended)

    def start(self, now_s: float) -> None:
        self._in_flight += 1
        self._last_start_s = now_s

    def end(self, now_s: float, *, counted: bool) -> None:
        """`counted` is false only where Telegram cannot have seen the message."""
        self._in_flight -= 1
        if counted:
            self._ended.append(now_s)


class SendLimits:
    """The limits of every bot and chat of one process. `clock` is monotonic, in seconds."""

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
        self._bot_rate = bot_rate
        self._uploads_in_flight_max = uploads_in_flight_max
        self._equal_sizes_wait = equal_sizes_wait
        self._chats: dict[tuple[int, int], Window] = {}
        self._bots: dict[int, Window] = {}
        self._uploads: dict[int, int] = {}
        self._paused_until_s: dict[tuple[int, int | None], float] = {}
        self._sizes: dict[tuple[int, int], float] = {}  # (bot, size) → free again from then on; `inf` while under way

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
            self._sizes.get((bot_id, upload_bytes), now_s),
        )

    def burst_left(self, bot_id: int, chat_id: int) -> int:
        """How many messages of this bot to this chat its window lets start without any pause between them."""
        return self._chat(bot_id, chat_id).burst_left(self._clock())

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

    def rate(self, chat_id: int) -> Rate:
        """What holds for one bot in this chat."""
        return self._group_rate if chat_id < 0 else self._private_rate

    def _chat(self, bot_id: int, chat_id: int) -> Window:
        return self._chats.setdefault((bot_id, chat_id), Window(self.rate(chat_id)))

    def _bot(self, bot_id: int) -> Window:
        return self._bots.setdefault(bot_id, Window(self._bot_rate))
