"""Sending again what Telegram has: by its file_id, or by copying the message that holds it. Nothing is uploaded, and each counts as
one message (https://core.telegram.org/bots/api#sending-files, #copymessage).

A copied message keeps its caption, and is ours to edit later, which a forwarded one is not; its answer names the message only.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

from addon.store.known_files import FileRefused, FoundFile
from addon.store.ports import TelegramUnavailable
from addon.store.records import DocumentCopy
from addon.telegram.answers import Rejected, SentFile, sent_file
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
    NetworkFailure,
    RateLimited,
    Unauthorized,
)
from addon.telegram.retries import Retries

logger = logging.getLogger(__name__)

# What sendDocument says where the file_id, and not the chat, is the trouble. The wording is no contract: one that is not
# recognised only means that every chat is tried.
_FILE_REFUSALS = ("wrong remote file identifier", "wrong file identifier", "can't use file of type", "invalid file_id")
_NOT_FOUND = "message to copy not found"


class MessageGone(Exception):
    """There is no such message to be copied."""


async def send_by_file_id(
    bots: Bots,
    retries: Retries,
    found: FoundFile,
    among: Sequence[Pair],
    *,
    document_id: str,
    caption: str,
    waits_for_refused: bool = True,
) -> SentFile:
    """Send the file through one of the pairs `among`, which are of its bot. A pair that is refused is waited for, or left out.
    Raises `FileRefused` where Telegram does not send the file again, `TelegramUnavailable`."""
    left = list(among)
    while True:
        pair: Pair | None = None
        try:
            async with bots.turn(upload_bytes=0, among=tuple(left), deadline_s=retries.deadline_s) as (pair, chat_id):
                sent = await _send_once(bots, pair.bot, chat_id, found, caption)
        except (RateLimited, ChatMigrated, Unauthorized, Forbidden) as error:
            retries.count(error)  # `turn` knows by now how long to wait, or which pair to take instead.
            if isinstance(error, Unauthorized | Forbidden) and not waits_for_refused:
                left = _without(left, pair, error)
        except BadRequest as error:
            if any(text in error.text for text in _FILE_REFUSALS):
                raise FileRefused(f"it cannot be sent again by its file_id: {error}") from error
            left = _without(left, pair, error)
        except TRANSIENT as error:
            _warn_of_two(document_id, error)
            await retries.pause(error)
        else:
            bots.worked(pair)
            return sent


async def copy_message(
    bots: Bots, retries: Retries, source: DocumentCopy, among: Collection[Pair], *, document_id: str
) -> tuple[Pair, int, int]:
    """Copy the message through one of the pairs, whose bots are in its chat; the pair, and the new message's chat and number.
    Raises `MessageGone`, `TelegramUnavailable`."""
    left = list(among)
    while True:
        pair: Pair | None = None
        try:
            async with bots.turn(upload_bytes=0, among=tuple(left), deadline_s=retries.deadline_s) as (pair, chat_id):
                message_id = await _copy_once(pair.bot, chat_id, source)
        except (RateLimited, ChatMigrated) as error:
            retries.count(error)
        except (Unauthorized, Forbidden) as error:
            # It may be the message's chat that the bot may not see; then it will not do for any chat.
            bot = pair.bot if pair is not None else None
            left = [other for other in left if other.bot is not bot]
            if not left:
                raise _refused(error) from error
        except BadRequest as error:
            if _NOT_FOUND in error.text:
                raise MessageGone from error
            left = _without(left, pair, error)
        except TRANSIENT as error:
            _warn_of_two(document_id, error)
            await retries.pause(error)
        else:
            bots.worked(pair)
            return pair, chat_id, message_id


def _without(left: Sequence[Pair], pair: Pair | None, error: BotApiError) -> list[Pair]:
    others = [other for other in left if other != pair]
    if not others:
        raise _refused(error) from error
    return others


def _refused(error: BotApiError) -> TelegramUnavailable:
    return TelegramUnavailable(f"Telegram refuses to send a file again: {error}", retry_after_s=REFUSED_RETRY_AFTER_S)


def _warn_of_two(document_id: str, error: BotApiError) -> None:
    if not isinstance(error, NetworkFailure) or error.ambiguous:
        logger.warning("document %s may have a message too many: %s", document_id, error)


async def _send_once(bots: Bots, bot: BotApi, chat_id: int, found: FoundFile, caption: str) -> SentFile:
    result = await bot.call(
        "sendDocument",
        {
            "chat_id": chat_id,
            "document": found.file_id,
            "caption": caption,
            "disable_content_type_detection": True,
            "disable_notification": True,
        },
    )
    answer = sent_file(result, chat_id=chat_id, size=found.size)
    if isinstance(answer, SentFile) and found.file_unique_id and answer.file_unique_id != found.file_unique_id:
        answer = Rejected("the answer has another file", answer.chat_id, answer.message_id)
    if isinstance(answer, Rejected):
        if answer.message_id:
            await discard(bots, bot, answer.chat_id, answer.message_id)
        raise MalformedAnswer("sendDocument", answer.reason)
    return answer


async def _copy_once(bot: BotApi, chat_id: int, source: DocumentCopy) -> int:
    result = await bot.call(
        "copyMessage",
        {
            "chat_id": chat_id,
            "from_chat_id": source.chat_id,
            "message_id": source.message_id,
            "disable_notification": True,
        },
    )
    message_id = result.get("message_id") if isinstance(result, Mapping) else None
    if not isinstance(message_id, int) or isinstance(message_id, bool) or message_id <= 0:
        raise MalformedAnswer("copyMessage", "the answer has no message_id")
    return message_id
