"""The port `KnownFiles` (addon/store/known_files.py) on the Bot API.

A file_id belongs to one bot, and getFile answers for that of another with the same text as for trouble that passes
(`wrong file_id or the file is temporarily unavailable`). So each bot is asked once before any is asked again, and the bot that had
the last file is asked first: an export is of one bot. Sending a file again by its file_id uploads nothing
(https://core.telegram.org/bots/api#sending-files) and counts as a message.
"""

from __future__ import annotations

import logging

from addon.store.known_files import FileRefused, FoundFile
from addon.store.ports import TelegramUnavailable
from addon.store.records import Document
from addon.telegram.answers import FileLink, Rejected, SentFile, sent_file
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
from addon.telegram.links import REFUSALS_MAX, Links
from addon.telegram.retries import Retries, Time

logger = logging.getLogger(__name__)

# What sendDocument says where the file_id, and not the chat, is the trouble. The wording is no contract: one that is not
# recognised only means that every chat is tried.
_FILE_REFUSALS = ("wrong remote file identifier", "wrong file identifier", "can't use file of type")


class TelegramKnownFiles:
    """Implements `KnownFiles`. `find_wait_s_max` and `send_wait_s_max` bound how long each waits for its turn and between tries."""

    def __init__(self, bots: Bots, links: Links, time: Time, *, find_wait_s_max: float, send_wait_s_max: float) -> None:
        self._bots, self._links, self._time = bots, links, time
        self._find_wait_s_max, self._send_wait_s_max = find_wait_s_max, send_wait_s_max
        self._last_bot_id = bots.bots[0].bot_id

    async def find(self, file_id: str) -> FoundFile:
        """See the port."""
        retries = Retries(self._time, wait_s_max=self._find_wait_s_max)
        asked = sorted(self._bots.bots, key=lambda bot: bot.bot_id != self._last_bot_id)
        refusal: BotApiError | None = None
        unavailable: BotApiError | None = None
        for turn in range(REFUSALS_MAX):
            if turn and refusal is not None:
                await retries.pause(refusal)
            for bot in list(asked):
                try:
                    return self._found(bot, file_id, await self._ask(bot, file_id, retries))
                except (Unauthorized, Forbidden) as error:
                    asked.remove(bot)
                    unavailable = error
                except BadRequest as error:
                    if "too big" in error.text:
                        raise FileRefused(
                            "it is larger than the 20 MiB that a bot may download (a local Bot API server has no such limit)"
                        ) from error
                    refusal = error
                    if "invalid file_id" in error.text:
                        asked.remove(bot)
            if not asked:
                break
        if unavailable is not None:
            raise TelegramUnavailable(
                f"a bot could not be asked for a file: {unavailable}", retry_after_s=REFUSED_RETRY_AFTER_S
            ) from unavailable
        raise FileRefused(f"none of the bots can read it by this file_id: {refusal}") from refusal

    def _found(self, bot: BotApi, file_id: str, link: FileLink) -> FoundFile:
        if link.size is None or not link.unique_id:
            raise FileRefused("Telegram does not tell its size, or whose file it is")
        self._last_bot_id = bot.bot_id
        return FoundFile(bot.bot_id, file_id, link.unique_id, link.size)

    async def _ask(self, bot: BotApi, file_id: str, retries: Retries) -> FileLink:
        """getFile, as often as it takes. Raises what a try again does not heal."""
        while True:
            try:
                return await self._links.ask(bot, file_id, retries)
            except RateLimited as error:
                await self._bots.pause(bot.bot_id, None, error.retry_after_s)
                await retries.pause(error)
            except TRANSIENT as error:
                await retries.pause(error)

    async def send_again(self, found: FoundFile, *, document_id: str, caption: str) -> Document:
        """See the port."""
        retries = Retries(self._time, wait_s_max=self._send_wait_s_max)
        among = [pair for pair in self._bots.pairs if pair.bot.bot_id == found.bot_id]
        while True:
            pair: Pair | None = None
            try:
                async with self._bots.turn(upload_bytes=0, among=tuple(among), deadline_s=retries.deadline_s) as (
                    pair,
                    chat_id,
                ):
                    sent = await self._send_once(pair.bot, chat_id, found, caption)
            except (RateLimited, ChatMigrated, Unauthorized, Forbidden) as error:
                retries.count(error)  # `turn` knows by now how long to wait, or which pair to take instead.
            except BadRequest as error:
                if any(text in error.text for text in _FILE_REFUSALS):
                    raise FileRefused(f"it cannot be sent again by its file_id: {error}") from error
                among = [other for other in among if other is not pair]
                if not among:
                    raise TelegramUnavailable(
                        f"Telegram refuses to send a file again: {error}", retry_after_s=REFUSED_RETRY_AFTER_S
                    ) from error
            except TRANSIENT as error:
                if not isinstance(error, NetworkFailure) or error.ambiguous:
                    logger.warning("document %s may have two messages: %s", document_id, error)
                await retries.pause(error)
            else:
                self._bots.worked(pair)
                return Document(
                    document_id=document_id,
                    chat_id=sent.chat_id,
                    message_id=sent.message_id,
                    bot_id=found.bot_id,
                    file_id=sent.file_id,
                    file_unique_id=sent.file_unique_id,
                    size=found.size,
                )

    async def _send_once(self, bot: BotApi, chat_id: int, found: FoundFile, caption: str) -> SentFile:
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
        if isinstance(answer, SentFile) and answer.file_unique_id != found.file_unique_id:
            answer = Rejected("the answer has another file", answer.chat_id, answer.message_id)
        if isinstance(answer, Rejected):
            if answer.message_id:
                await discard(self._bots, bot, answer.chat_id, answer.message_id)
            raise MalformedAnswer("sendDocument", answer.reason)
        return answer
