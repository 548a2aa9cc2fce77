"""The port `Pins` (addon/store/snapshots.py) on the Bot API: what is pinned in a chat.

getChat tells the newest pinned message in full, with its document and a file_id for the asking bot, and produces no message
(https://core.telegram.org/bots/api#chatfullinfo). Pinning in a channel or group writes a service message of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from addon.store.ports import TelegramUnavailable
from addon.store.records import Document
from addon.store.snapshots import PinnedMessage
from addon.telegram.answers import found_message
from addon.telegram.bots import Bots, Pair
from addon.telegram.deletions import REFUSED_RETRY_AFTER_S
from addon.telegram.errors import (
    TRANSIENT,
    BadRequest,
    BotApiError,
    ChatMigrated,
    Forbidden,
    MalformedAnswer,
    RateLimited,
    Unauthorized,
)
from addon.telegram.retries import Retries, Time

T = TypeVar("T")

_NOT_PINNED = ("message to unpin not found", "CHAT_NOT_MODIFIED")


class TelegramPins:
    """Implements `Pins`. `wait_s_max` bounds how long each call waits for its turn and between tries."""

    def __init__(self, bots: Bots, time: Time, *, wait_s_max: float) -> None:
        self._bots, self._time, self._wait_s_max = bots, time, wait_s_max

    @property
    def chat_ids(self) -> Sequence[int]:
        """See the port."""
        return tuple(dict.fromkeys(pair.chat_id for pair in self._bots.pairs))

    async def pinned(self, chat_id: int) -> PinnedMessage | None:
        """See the port."""

        async def ask(pair: Pair, current_id: int) -> PinnedMessage | None:
            result = await pair.bot.call("getChat", {"chat_id": current_id})
            if not isinstance(result, dict):
                raise MalformedAnswer("getChat", "an answer that is no chat")
            found = found_message(result.get("pinned_message"))
            if found is None:
                return None
            document = None
            if found.file is not None and found.file.size is not None:
                file = found.file
                document = Document(
                    "",
                    current_id,
                    found.message_id,
                    pair.bot.bot_id,
                    file.file_id,
                    file.file_unique_id,
                    found.file.size,
                )
            return PinnedMessage(current_id, found.message_id, found.caption, document)

        return await self._as_any_bot(chat_id, ask)

    async def pin(self, chat_id: int, *, from_chat_id: int, message_id: int) -> int:
        """See the port."""
        if self._bots.current_chat(from_chat_id) != self._bots.current_chat(chat_id):
            message_id = await self._copy(chat_id, from_chat_id, message_id)

        async def do(pair: Pair, current_id: int) -> int:
            params = {"chat_id": current_id, "message_id": message_id, "disable_notification": True}
            await pair.bot.call("pinChatMessage", params)
            return message_id

        return await self._as_any_bot(chat_id, do)

    async def unpin(self, chat_id: int, message_id: int) -> None:
        """See the port."""

        async def do(pair: Pair, current_id: int) -> None:
            try:
                await pair.bot.call("unpinChatMessage", {"chat_id": current_id, "message_id": message_id})
            except BadRequest as error:
                if not any(text in error.text for text in _NOT_PINNED):
                    raise

        await self._as_any_bot(chat_id, do)

    async def _copy(self, chat_id: int, from_chat_id: int, message_id: int) -> int:
        """Copy a message with its document and caption, by any bot that is in both chats."""
        retries = Retries(self._time, wait_s_max=self._wait_s_max)
        among = [pair for pair in self._bots.pairs if pair.chat_id == chat_id]
        while True:
            pair: Pair | None = None
            try:
                async with self._bots.turn(upload_bytes=0, among=tuple(among), deadline_s=retries.deadline_s) as (
                    pair,
                    current_id,
                ):
                    source = {"from_chat_id": self._bots.current_chat(from_chat_id), "message_id": message_id}
                    params = {"chat_id": current_id, **source, "disable_notification": True}
                    result = await pair.bot.call("copyMessage", params)
                    copied = result.get("message_id") if isinstance(result, dict) else None
                    if not isinstance(copied, int):
                        raise MalformedAnswer("copyMessage", "an answer without a message_id")
                    return copied
            except (RateLimited, ChatMigrated) as error:
                retries.count(error)
            except (BadRequest, Unauthorized, Forbidden) as error:
                among = [other for other in among if other is not pair]
                if not among:
                    raise _refused("copy a message", error) from error
            except TRANSIENT as error:
                await retries.pause(error)

    async def _as_any_bot(self, chat_id: int, work: Callable[[Pair, int], Awaitable[T]]) -> T:
        """Do something that sends no message, by whichever bot may."""
        retries = Retries(self._time, wait_s_max=self._wait_s_max)
        refused: BotApiError | None = None
        for pair in [pair for pair in self._bots.pairs if pair.chat_id == chat_id]:
            while True:
                current_id = self._bots.current_chat(chat_id)
                try:
                    await retries.wait_out(self._bots.limits.paused_s(pair.bot.bot_id, current_id), "a call")
                    return await work(pair, current_id)
                except RateLimited as error:
                    self._bots.limits.pause(pair.bot.bot_id, current_id, error.retry_after_s)
                    await retries.pause(error)
                except ChatMigrated as error:
                    retries.count(error)
                    self._bots.migrated(current_id, error.chat_id)
                except TRANSIENT as error:
                    await retries.pause(error)
                except (BadRequest, Unauthorized, Forbidden) as error:
                    refused = error
                    break
        raise _refused(f"do it in chat {chat_id}", refused) from refused


def _refused(what: str, error: BotApiError | None) -> TelegramUnavailable:
    return TelegramUnavailable(f"no bot may {what}: {error}", retry_after_s=REFUSED_RETRY_AFTER_S)
