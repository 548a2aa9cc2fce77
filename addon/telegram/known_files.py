"""The port `KnownFiles` (addon/store/known_files.py) on the Bot API.

A file_id belongs to one bot, and getFile answers for that of another with the same text as for trouble that passes
(`wrong file_id or the file is temporarily unavailable`). So each bot is asked once before any is asked again, and the bot that had
the last file is asked first: an export is of one bot.
"""

from __future__ import annotations

from addon.store.known_files import FileRefused, FoundFile
from addon.store.ports import TelegramUnavailable
from addon.store.records import Document
from addon.telegram.answers import FileLink
from addon.telegram.bots import Bots
from addon.telegram.client import BotApi
from addon.telegram.deletions import REFUSED_RETRY_AFTER_S
from addon.telegram.errors import TRANSIENT, BadRequest, BotApiError, Forbidden, RateLimited, Unauthorized
from addon.telegram.links import REFUSALS_MAX, Links
from addon.telegram.resending import send_by_file_id
from addon.telegram.retries import Retries, Time


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
        sent = await send_by_file_id(self._bots, retries, found, among, document_id=document_id, caption=caption)
        return Document(
            document_id=document_id,
            chat_id=sent.chat_id,
            message_id=sent.message_id,
            bot_id=found.bot_id,
            file_id=sent.file_id,
            file_unique_id=sent.file_unique_id,
            size=found.size,
        )
