"""Deleting messages: on order, and the quiet removal of what we left behind ourselves.

A bot may delete a message for 48 hours, in channels too (https://core.telegram.org/bots/api#deletemessage).
"""

from __future__ import annotations

import logging

from addon.store.ports import Deleted, TelegramUnavailable
from addon.store.records import Document
from addon.telegram.bots import Bots
from addon.telegram.client import BotApi
from addon.telegram.errors import (
    TRANSIENT,
    BadRequest,
    BotApiError,
    ChatMigrated,
    Forbidden,
    RateLimited,
    Unauthorized,
)
from addon.telegram.retries import Retries

REFUSED_RETRY_AFTER_S = 60.0

_NOT_FOUND = "message to delete not found"
# Telegram says so of a message that is too old, and of one that this bot has no right to delete.
_NOT_DELETED = "message can't be deleted"

logger = logging.getLogger(__name__)


async def delete(bots: Bots, document: Document, retries: Retries) -> Deleted:
    """Delete a document's message by whichever bot may. A document whose message is not known has none that could be found.

    Raises `TelegramUnavailable` where no bot could tell.
    """
    if not document.has_message:
        return Deleted.NOT_FOUND
    refused: BotApiError | None = None
    is_too_old = False
    for bot in sorted(bots.bots, key=lambda bot: bot.bot_id != document.bot_id):  # The bot that sent it first.
        try:
            outcome = await _delete_as(bots, bot, document, retries)
        except (BadRequest, Unauthorized, Forbidden, ChatMigrated) as error:
            refused = error
            continue
        if outcome is not Deleted.TOO_OLD:
            return outcome
        is_too_old = True
    if is_too_old:
        return Deleted.TOO_OLD
    raise TelegramUnavailable(
        f"no bot may delete document {document.document_id}: {refused}", retry_after_s=REFUSED_RETRY_AFTER_S
    ) from refused


async def _delete_as(bots: Bots, bot: BotApi, document: Document, retries: Retries) -> Deleted:
    while True:
        try:
            await retries.wait_out(await bots.paused_s(bot.bot_id, document.chat_id), "deleteMessage")
            await bot.call("deleteMessage", {"chat_id": document.chat_id, "message_id": document.message_id})
            return Deleted.GONE
        except RateLimited as error:
            await bots.pause(bot.bot_id, document.chat_id, error.retry_after_s)
            await retries.pause(error)
        except BadRequest as error:
            if _NOT_FOUND in error.text:
                return Deleted.NOT_FOUND
            if _NOT_DELETED in error.text:
                return Deleted.TOO_OLD
            raise
        except TRANSIENT as error:
            await retries.pause(error)


async def discard(bots: Bots, bot: BotApi, chat_id: int, message_id: int) -> None:
    """Delete a message of ours that nothing refers to. One attempt: where it fails, the message stays as an orphan that its
    caption marks, and the log says so."""
    try:
        paused_s = await bots.paused_s(bot.bot_id, chat_id)
        if paused_s > 0:
            raise RateLimited("deleteMessage", paused_s)
        await bot.call("deleteMessage", {"chat_id": chat_id, "message_id": message_id})
    except BotApiError as error:
        if isinstance(error, RateLimited):
            await bots.pause(bot.bot_id, chat_id, error.retry_after_s)
        logger.warning("message %d of chat %d stays behind as an orphan: %s", message_id, chat_id, error)
