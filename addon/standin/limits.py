"""Flood control: how many messages a bot may send, and the throttle on uploads of equal size. Pure: time comes in as arguments.

Messages: https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this. Equal sizes: Client.cpp of
tdlib/telegram-bot-api, which keeps one queue for each total of file bytes in a request.
"""

import math
from dataclasses import dataclass

from addon.standin.failures import too_many_requests
from addon.standin.switches import Switches

GENEROUS_FACTOR = 40

EQUAL_SIZE_BYTES_MIN = 100_000
EQUAL_SIZE_QUEUE_S_MAX = 5.0
EQUAL_SIZE_RETRY_AFTER_S = 60
EQUAL_SIZE_REFUSAL_DELAY_S = 3.0
_EQUAL_SIZES_KEPT = 10_000

GET_FILE_BURST_MAX = 20.0


@dataclass(slots=True)
class Bucket:
    """A token bucket that starts full."""

    capacity: float
    per_s: float
    tokens: float
    filled_at: float

    def wait_s(self, count: int, now: float) -> float:
        """Seconds until `count` tokens are there, 0 if they are; more than fit in count as a full bucket."""
        self.tokens = min(self.capacity, self.tokens + max(0.0, now - self.filled_at) * self.per_s)
        self.filled_at = now
        missing = min(float(count), self.capacity) - self.tokens
        return missing / self.per_s if missing > 1e-9 else 0.0


@dataclass(slots=True)
class _Block:
    until: float
    retry_after_s: int


class Limits:
    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self._chats: dict[tuple[int, int], Bucket] = {}
        self._bots: dict[int, Bucket] = {}
        self._get_file: dict[int, Bucket] = {}
        self._blocks: dict[tuple[int, int, str], _Block] = {}
        self._equal_sizes: dict[tuple[int, int], float] = {}

    def take(self, bot_id: int, chat_id: int, chat_type: str, count: int, now: float) -> None:
        """Count `count` messages to the chat. Raises ApiError 429 while flood control says no, for a repeated call too."""
        if self._switches.rate_limits == "off":
            return
        self.check_block(bot_id, chat_id, "", now)
        chat = self._chats.setdefault((bot_id, chat_id), self._chat_bucket(chat_id, chat_type, now))
        bot = self._bots.setdefault(bot_id, self._bucket(30, 30.0, now))
        wait_s = max(chat.wait_s(count, now), bot.wait_s(count, now))
        if wait_s > 0:
            retry_after_s = max(1, math.ceil(wait_s))
            self.block(bot_id, chat_id, "", retry_after_s, now)
            raise too_many_requests(retry_after_s)
        chat.tokens -= count
        bot.tokens -= count

    def _chat_bucket(self, chat_id: int, chat_type: str, now: float) -> Bucket:
        as_private = chat_id > 0 or (chat_type == "channel" and self._switches.channel_limit == "private")
        return self._bucket(20, 1.0 if as_private else 20 / 60, now)

    def _bucket(self, capacity: int, per_s: float, now: float) -> Bucket:
        factor = GENEROUS_FACTOR if self._switches.rate_limits == "generous" else 1
        return Bucket(capacity * factor, per_s * factor, capacity * factor, now)

    def block(self, bot_id: int, chat_id: int, method: str, retry_after_s: int, now: float) -> None:
        """Answer 429 to this bot and chat (and `method`, where one is named) until `retry_after_s` have passed."""
        self._blocks[bot_id, chat_id, method] = _Block(now + retry_after_s, retry_after_s)

    def check_block(self, bot_id: int, chat_id: int, method: str, now: float) -> None:
        """Raises ApiError 429 when the wait that was asked for is not over; with `extend_on_repeat` it then starts again."""
        block = self._blocks.get((bot_id, chat_id, method))
        if block is None:
            return
        if now >= block.until:
            del self._blocks[bot_id, chat_id, method]
            return
        if self._switches.extend_on_repeat:
            block.until = now + block.retry_after_s
        raise too_many_requests(max(1, math.ceil(block.until - now)))

    def equal_size_delay_s(self, bot_id: int, file_bytes: int, now: float) -> float | None:
        """Seconds by which an upload of this total size is delayed; None when its queue is full and 429 is due.

        Raises ApiError 429 when the same size is tried again before the wait that was asked for is over.
        """
        if not self._switches.equal_size_throttle or self._switches.local or file_bytes <= EQUAL_SIZE_BYTES_MIN:
            return 0.0
        self.check_block(bot_id, 0, f"size:{file_bytes}", now)
        key = (bot_id, file_bytes)
        last = self._equal_sizes.get(key, 0.0)
        if last > now + EQUAL_SIZE_QUEUE_S_MAX:
            self.block(bot_id, 0, f"size:{file_bytes}", EQUAL_SIZE_RETRY_AFTER_S, now)
            return None
        if len(self._equal_sizes) >= _EQUAL_SIZES_KEPT:
            self._equal_sizes = {size: at for size, at in self._equal_sizes.items() if at > now - 1}
        step_s = min(max(file_bytes * 1e-7, 0.2), 0.9)
        last = max(last + step_s, now - 1)
        self._equal_sizes[key] = last
        return max(0.0, last - now)

    def get_file_allowed(self, bot_id: int, now: float) -> bool:
        """False when getFile is called more often than the switch allows; that shows as a 400, never as a 429."""
        per_s = self._switches.get_file_per_s_max
        if per_s <= 0:
            return True
        bucket = self._get_file.setdefault(bot_id, Bucket(GET_FILE_BURST_MAX, per_s, GET_FILE_BURST_MAX, now))
        if bucket.wait_s(1, now) > 0:
            return False
        bucket.tokens -= 1
        return True
