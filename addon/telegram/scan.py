"""The port `ChatScan` (addon/store/chat_scan.py) on the Bot API, which has no method that reads a message.

forwardMessage answers with the whole message, with a file_id for the forwarding bot, and leaves a copy, which is deleted
(https://core.telegram.org/bots/api#forwardmessage). Where content is protected it refuses; then an answer to the message
(sendMessage with reply_parameters) has it in `reply_to_message`, in the same chat only. Either way a message is used up, so all
bots take turns within their limits. What was deleted, and what the chat itself says ("… pinned a message"), is "not found".
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

from addon.store.chat_scan import MessageUnreadable, ScannedMessage
from addon.store.ports import TelegramUnavailable
from addon.store.records import Document
from addon.telegram.answers import FoundMessage, found_message
from addon.telegram.bots import Bots, Pair
from addon.telegram.client import BotApi
from addon.telegram.deletions import REFUSED_RETRY_AFTER_S, discard
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

logger = logging.getLogger(__name__)

# A scan is in no hurry: so long one message waits for its turn and between tries.
SCAN_WAIT_S_MAX = 900.0
CALLS_AT_ONCE_PER_BOT = 4
PROBE_TEXT = "tgstore: this message is deleted at once"

_HOLES = ("message to forward not found", "message to be replied not found", "message can't be forwarded")
_PROTECTED = "protected content"
_ABOUT_THE_CHAT = ("chat not found", "rights", "CHAT_")


class TelegramScan:
    """Implements `ChatScan`. Messages are forwarded into `scratch_chat_id`, or into their own chat."""

    def __init__(self, bots: Bots, time: Time, *, scratch_chat_id: int | None = None) -> None:
        self._bots, self._time, self._scratch_chat_id = bots, time, scratch_chat_id
        self._protected: set[int] = set()

    @property
    def chat_ids(self) -> Sequence[int]:
        """See the port."""
        return tuple(dict.fromkeys(pair.chat_id for pair in self._bots.pairs))

    @property
    def concurrency(self) -> int:
        """See the port."""
        return CALLS_AT_ONCE_PER_BOT * len(self._bots.bots)

    def messages_per_min(self, chat_id: int) -> float:
        """See the port."""
        target = self._target(chat_id)
        return 60 * sum(self._bots.limits.rate(bot.bot_id, target).per_s for bot in self._bots.bots)

    def _target(self, chat_id: int) -> int:
        return chat_id if self._scratch_chat_id is None or chat_id in self._protected else self._scratch_chat_id

    async def newest(self, chat_id: int) -> int:
        """See the port."""
        params = {"text": PROBE_TEXT, "disable_notification": True}
        sent, _ = await self._send(chat_id, "sendMessage", params)
        message_id = sent.get("message_id")
        if not isinstance(message_id, int):
            raise TelegramUnavailable(f"chat {chat_id} gives no number to a message")
        return message_id

    async def read(self, chat_id: int, message_id: int) -> ScannedMessage | None:
        """See the port."""
        try:
            found, bot_id = await self._found(chat_id, message_id)
        except BadRequest as error:
            if any(text in error.text for text in _HOLES):
                return None
            raise MessageUnreadable(f"message {message_id} of chat {chat_id} cannot be read: {error}") from error
        if found is None:
            raise MessageUnreadable(f"message {message_id} of chat {chat_id} cannot be read: no message came back")
        file, document = found.file, None
        if file is not None and file.size is not None:
            document = Document("", chat_id, message_id, bot_id, file.file_id, file.file_unique_id, file.size)
        return ScannedMessage(chat_id, message_id, found.sent_at_s, found.caption, document)

    async def _found(self, chat_id: int, message_id: int) -> tuple[FoundMessage | None, int]:
        if chat_id not in self._protected:
            params = {
                "from_chat_id": self._bots.current_chat(chat_id),
                "message_id": message_id,
                "disable_notification": True,
            }
            try:
                copy, bot_id = await self._send(self._target(chat_id), "forwardMessage", params)
                return found_message(copy), bot_id
            except BadRequest as error:
                if _PROTECTED not in error.text:
                    raise
                logger.warning("chat %d protects its content: its messages are read by answering them", chat_id)
                self._protected.add(chat_id)
        about = json.dumps({"message_id": message_id})
        answer, bot_id = await self._send(
            chat_id, "sendMessage", {"text": PROBE_TEXT, "reply_parameters": about, "disable_notification": True}
        )
        return found_message(answer.get("reply_to_message")), bot_id

    async def _send(self, chat_id: int, method: str, params: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """Call a method that sends a message to the chat, by the bot whose turn it is, and delete that message; returns the answer
        and who called. Raises a `BadRequest` that is about the message."""
        retries = Retries(self._time, wait_s_max=SCAN_WAIT_S_MAX)
        among = [pair for pair in self._bots.pairs if pair.chat_id == chat_id]
        among = among or [Pair(bot, chat_id) for bot in self._bots.bots]
        while True:
            pair: Pair | None = None
            try:
                async with self._bots.turn(upload_bytes=0, among=tuple(among), deadline_s=retries.deadline_s) as (
                    pair,
                    current_id,
                ):
                    answer = await pair.bot.call(method, {"chat_id": current_id, **params})
                    if not isinstance(answer, dict):
                        raise MalformedAnswer(method, "an answer that is no message")
                self._bots.worked(pair)
                await self._delete(pair.bot, current_id, answer)
                return answer, pair.bot.bot_id
            except (RateLimited, ChatMigrated) as error:
                retries.count(error)
            except (Unauthorized, Forbidden) as error:
                among = _without(among, pair, error)
            except BadRequest as error:
                if not any(text in error.text for text in _ABOUT_THE_CHAT):
                    raise
                among = _without(among, pair, error)
            except TRANSIENT as error:
                await retries.pause(error)

    async def _delete(self, bot: BotApi, chat_id: int, answer: dict[str, Any]) -> None:
        message_id = answer.get("message_id")
        if isinstance(message_id, int) and message_id > 0:
            await discard(self._bots, bot, chat_id, message_id)


def _without(among: list[Pair], pair: Pair | None, error: BotApiError) -> list[Pair]:
    left = [other for other in among if other is not pair]
    if not left:
        raise TelegramUnavailable(
            f"no bot may use the chat any more: {error}", retry_after_s=REFUSED_RETRY_AFTER_S
        ) from error
    return left
