"""Putting an empty placeholder in the place of a document: what is left where a message is too old to be deleted.

No limit of age is known for it (https://core.telegram.org/bots/api#editmessagemedia names one for business messages only). It
counts as a message to the chat, so it waits for its turn. Whether Telegram forgets the file that it took out of the message is
nowhere promised: whoever noted down its file_id may be given it for a while.
"""

from __future__ import annotations

import json

from addon.store.ports import TelegramUnavailable
from addon.store.records import Document
from addon.telegram.answers import Rejected, sent_file
from addon.telegram.bots import Bots, Pair
from addon.telegram.client import BotApi
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
from addon.telegram.multipart import FilePart
from addon.telegram.retries import Retries

PLACEHOLDER = b"What was stored here was erased. This is a placeholder.\n"
PLACEHOLDER_CAPTION = '{"tgstore":1,"placeholder":"erased"}'

_NOT_FOUND = "message to edit not found"
_NOT_MODIFIED = "message is not modified"


async def blank(bots: Bots, document: Document, retries: Retries) -> bool:
    """Replace the document in its message, by whichever bot may; False where there is no such message, or none is known.

    Raises `TelegramUnavailable` where no bot could do it or tell.
    """
    if not document.has_message:
        return False
    refused: BotApiError | None = None
    for bot in sorted(bots.bots, key=lambda bot: bot.bot_id != document.bot_id):  # Nobody else may edit it in a group.
        try:
            return await _blank_as(bots, bot, document, retries)
        except (BadRequest, Unauthorized, Forbidden) as error:
            refused = error
    raise TelegramUnavailable(
        f"no bot may edit the message of document {document.document_id}: {refused}",
        retry_after_s=REFUSED_RETRY_AFTER_S,
    ) from refused


async def _blank_as(bots: Bots, bot: BotApi, document: Document, retries: Retries) -> bool:
    pair = Pair(bot, document.chat_id)
    while True:
        try:
            async with bots.turn(upload_bytes=0, among=(pair,), deadline_s=retries.deadline_s) as (_, chat_id):
                await _edit(bot, chat_id, document.message_id)
            return True
        except (RateLimited, ChatMigrated) as error:
            retries.count(error)  # The pause, or the new chat, is known to `turn` now.
        except BadRequest as error:
            if _NOT_FOUND in error.text:
                return False
            if _NOT_MODIFIED in error.text:
                return True
            raise
        except TRANSIENT as error:
            await retries.pause(error)


async def _edit(bot: BotApi, chat_id: int, message_id: int) -> None:
    media = {
        "type": "document",
        "media": "attach://placeholder",
        "caption": PLACEHOLDER_CAPTION,
        "disable_content_type_detection": True,
    }
    part = FilePart("placeholder", "placeholder.bin", PLACEHOLDER, len(PLACEHOLDER))
    params: dict[str, str | int | bool] = {"chat_id": chat_id, "message_id": message_id, "media": json.dumps(media)}
    answer = sent_file(await bot.call("editMessageMedia", params, file=part), chat_id=chat_id, size=len(PLACEHOLDER))
    if isinstance(answer, Rejected):
        raise MalformedAnswer("editMessageMedia", answer.reason)
