"""Documents in more than one chat: the second copy of what is sent, and further ones later (`addon/store/second_copies.py`).

A second copy is never the reason to refuse a document: where no second chat takes it in time, the document has one place for now,
and `lacks_copies` tells whoever makes up for it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence

from addon.store.known_files import FileRefused, FoundFile
from addon.store.ports import DocumentLost, DocumentToSend, TelegramUnavailable
from addon.store.records import Document, DocumentCopy
from addon.store.second_copies import Kept, PlaceGone
from addon.telegram.answers import SentFile
from addon.telegram.bots import Bots, Pair
from addon.telegram.deletions import discard
from addon.telegram.resending import MessageGone, copy_message, send_by_file_id
from addon.telegram.retries import Retries, Time

SendTo = Callable[[DocumentToSend, Sequence[Pair], Retries], Awaitable[tuple[Pair, SentFile]]]

logger = logging.getLogger(__name__)


class TelegramCopies:
    """Implements `Copying`. `wait_s_max` bounds how long each message waits for its turn and between tries, in seconds."""

    def __init__(self, bots: Bots, time: Time, *, wait_s_max: float) -> None:
        self._bots, self._time, self._wait_s_max = bots, time, wait_s_max
        self.lacks_copies = asyncio.Event()
        """Set when a document was sent that has one place only."""

    def working_chats(self) -> frozenset[int]:
        """See the port."""
        return self._bots.working_chats()

    async def ask_all(self) -> None:
        """See the port."""
        await self._bots.ask_all()

    async def of_sent(
        self, document: DocumentToSend, first: Document, upload: SendTo, *, deadline_s: float
    ) -> tuple[DocumentCopy, ...]:
        """The second copy of a document that was just sent: by its file_id through the same bot, else uploaded again; none where no
        second chat takes it before `deadline_s` (on the clock)."""
        among = [
            pair
            for pair in self._bots.pairs
            if self._bots.current_chat(pair.chat_id) != first.chat_id and not self._bots.is_aside(pair)
        ]
        try:
            if among:
                retries = Retries(self._time, wait_s_max=max(0.0, deadline_s - self._time.clock()))
                return (await self._send_second(document, first, among, upload, retries),)
            reason = "no other chat works"
        except (TelegramUnavailable, FileRefused, OSError) as error:
            reason = str(error)
        logger.warning("document %s has no second copy for now: %s", document.document_id, reason)
        self.lacks_copies.set()
        return ()

    async def _send_second(
        self, document: DocumentToSend, first: Document, among: Sequence[Pair], upload: SendTo, retries: Retries
    ) -> DocumentCopy:
        found = FoundFile(first.bot_id, first.file_id, first.file_unique_id, first.size)
        of_bot = [pair for pair in among if pair.bot.bot_id == first.bot_id]
        if of_bot:
            try:
                sent = await send_by_file_id(
                    self._bots,
                    retries,
                    found,
                    of_bot,
                    document_id=first.document_id,
                    caption=document.caption,
                    waits_for_refused=False,
                )
                return DocumentCopy(sent.chat_id, sent.message_id, first.bot_id, sent.file_id)
            except (FileRefused, TelegramUnavailable) as refusal:
                left = [pair for pair in among if not self._bots.is_aside(pair)]
                if not left or (isinstance(refusal, TelegramUnavailable) and left == of_bot):
                    raise
                logger.warning("document %s is uploaded a second time: %s", first.document_id, refusal)
                among = left
        pair, sent = await upload(document, among, retries)
        return DocumentCopy(sent.chat_id, sent.message_id, pair.bot.bot_id, sent.file_id)

    async def copy(self, kept: Kept, *, chats: Collection[int], but_address: bool = False) -> DocumentCopy:
        """See the port."""
        targets = [
            pair
            for pair in self._bots.pairs
            if self._bots.current_chat(pair.chat_id) in chats and not self._bots.is_aside(pair)
        ]
        if not targets:
            raise TelegramUnavailable("no bot may send to any other chat")
        unavailable: TelegramUnavailable | None = None
        for place in kept.ways.copies if but_address else kept.places:
            among = self._that_see(place, targets)
            if among:
                try:
                    return await self._by_message(kept, place, among)
                except TelegramUnavailable as error:
                    unavailable = error
        for bot_id, file_id in self._file_ids(kept):
            try:
                return await self._by_file_id(kept.document, bot_id, file_id, targets)
            except FileRefused as refusal:
                logger.warning("document %s: %s", kept.document.document_id, refusal)
            except TelegramUnavailable as error:
                unavailable = error
        if unavailable is not None:
            raise unavailable
        raise DocumentLost(
            f"document {kept.document.document_id} is in no chat that works, and no bot has a file_id that leads to it"
        )

    def _that_see(self, place: DocumentCopy, targets: Sequence[Pair]) -> list[Pair]:
        """Of the pairs those whose bot is in the chat of the place, as far as is known."""
        seeing = {
            pair.bot.bot_id
            for pair in self._bots.pairs
            if self._bots.current_chat(pair.chat_id) == place.chat_id and not self._bots.is_aside(pair)
        }
        return [pair for pair in targets if pair.bot.bot_id in seeing]

    async def _by_message(self, kept: Kept, place: DocumentCopy, among: Sequence[Pair]) -> DocumentCopy:
        file_ids = dict(self._file_ids(kept))
        # One whose file_id is known can read the copy without forwarding it first.
        knowing = [pair for pair in among if pair.bot.bot_id in file_ids]
        retries = Retries(self._time, wait_s_max=self._wait_s_max)
        try:
            pair, chat_id, message_id = await copy_message(
                self._bots, retries, place, knowing or among, document_id=kept.document.document_id
            )
        except MessageGone:
            raise PlaceGone(place) from None
        bot_id = pair.bot.bot_id
        return DocumentCopy(chat_id, message_id, bot_id, file_ids.get(bot_id, ""))

    async def _by_file_id(self, document: Document, bot_id: int, file_id: str, targets: Sequence[Pair]) -> DocumentCopy:
        among = [pair for pair in targets if pair.bot.bot_id == bot_id]
        if not among:
            raise TelegramUnavailable(
                f"bot {bot_id}, which has a file_id of document {document.document_id}, may not send"
            )
        found = FoundFile(bot_id, file_id, document.file_unique_id, document.size)
        retries = Retries(self._time, wait_s_max=self._wait_s_max)
        # The caption went with the message that is lost.
        caption = json.dumps({"tgstore": 1, "d": document.document_id}, separators=(",", ":"))
        sent = await send_by_file_id(
            self._bots, retries, found, among, document_id=document.document_id, caption=caption
        )
        return DocumentCopy(sent.chat_id, sent.message_id, bot_id, sent.file_id)

    def _file_ids(self, kept: Kept) -> list[tuple[int, str]]:
        """Every file_id that is known, by the bot's id, without those of bots that are not ours any more."""
        document = kept.document
        known = [(document.bot_id, document.file_id), *((one.bot_id, one.file_id) for one in kept.ways.copies)]
        ours = {bot.bot_id for bot in self._bots.bots}
        return [(bot_id, file_id) for bot_id, file_id in (*known, *kept.ways.file_ids) if file_id and bot_id in ours]

    async def discard(self, copy: DocumentCopy) -> None:
        """See the port."""
        for bot in self._bots.bots_by_readiness(copy.bot_id)[:1]:
            await discard(self._bots, bot, copy.chat_id, copy.message_id)
