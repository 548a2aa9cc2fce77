"""Where a document can be downloaded: file links, and winning a lost file_id again.

(chat, message) is a document's durable address. A `file_id` belongs to one bot and is a cache; a `file_path` is good for an
hour. `400 wrong file_id or the file is temporarily unavailable` also stands for the server's own 5xx and 429, so it is tried again
before it is believed; then the message is forwarded, which brings a fresh file_id, and the copy is deleted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from addon.store.ports import DocumentLost, IndexUnavailable, TelegramUnavailable
from addon.store.records import Document, DocumentCopy
from addon.store.second_copies import Ways
from addon.telegram.answers import FileLink, Rejected, file_link, sent_file
from addon.telegram.bots import Bots, Pair
from addon.telegram.client import BotApi
from addon.telegram.deletions import discard
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
from addon.telegram.slots import Slots

LINK_LIFETIME_S = 50 * 60.0  # Telegram promises an hour.
LINKS_KEPT_MAX = 10_000
FILE_IDS_KEPT_MAX = 10_000
GET_FILE_IN_FLIGHT_MAX = (
    8  # Per bot, of all processes; trouble was reported from 15 a second on (tdlib/telegram-bot-api#755).
)
PREPARED_IN_FLIGHT_MAX = 16  # Links that nobody waits for yet are not asked for beside so many others.
REFUSALS_MAX = 3  # How often a 400 of getFile is answered with another try before the file_id counts as lost.

UNREADABLE_RETRY_AFTER_S = 60.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Link:
    """A file link of one bot, to be used until `until_s` on the clock."""

    bot: BotApi
    path: str
    until_s: float


class _FileIdLost(Exception):
    """This file_id does not lead to the file (any more)."""


class Links:
    """File links of documents, remembered for their lifetime; concurrent questions for one document are one getFile."""

    def __init__(
        self, bots: Bots, time: Time, *, wait_s_max: float, scratch_chat_id: int | None, get_file_in_flight_max: int
    ) -> None:
        self._bots = bots
        self._time = time
        self._wait_s_max = wait_s_max
        self._scratch_chat_id = scratch_chat_id
        self._slots = {
            bot.bot_id: Slots(
                lambda: max(1, get_file_in_flight_max // bots.limits.processes),
                wait_s_max=wait_s_max,
                busy="too many files are asked for at once",
            )
            for bot in bots.bots
        }
        self._links: OrderedDict[str, Link] = OrderedDict()
        self._file_ids: OrderedDict[tuple[str, int], str] = OrderedDict()
        self._asked: dict[tuple[str, frozenset[int]], asyncio.Task[Link]] = {}
        self._remember: Callable[[str, int, str], None] | None = None
        self._ways_to: Callable[[str], Awaitable[Ways]] | None = None

    def on_new_file_id(self, remember: Callable[[str, int, str], None]) -> None:
        self._remember = remember

    def look_up_ways(self, ways_to: Callable[[str], Awaitable[Ways]]) -> None:
        self._ways_to = ways_to

    async def link(self, document: Document, *, without: frozenset[int] = frozenset()) -> Link:
        """A link to the document by a bot whose id is not in `without`. Raises `TelegramUnavailable` or `DocumentLost`."""
        known = self._links.get(document.document_id)
        if known and known.until_s > self._time.clock() and known.bot.bot_id not in without:
            return known
        key = (document.document_id, without)
        task = self._asked.get(key)
        if task is None:
            task = self._begin(document, without)
        # A reader that goes away must not take the answer from the others.
        return await asyncio.shield(task)

    def prepare(self, document: Document) -> None:
        """Ask for a link that will be needed soon, unless it is known, or enough are asked for already."""
        known = self._links.get(document.document_id)
        key = (document.document_id, frozenset[int]())
        is_known = known is not None and known.until_s > self._time.clock()
        if not is_known and key not in self._asked and len(self._asked) < PREPARED_IN_FLIGHT_MAX:
            self._begin(document, frozenset())

    def _begin(self, document: Document, without: frozenset[int]) -> asyncio.Task[Link]:
        key = (document.document_id, without)
        task = asyncio.create_task(self._ask(document, without))
        self._asked[key] = task
        task.add_done_callback(lambda done: self._answered(key, done))
        return task

    def _answered(self, key: tuple[str, frozenset[int]], task: asyncio.Task[Link]) -> None:
        del self._asked[key]
        if not task.cancelled():
            task.exception()  # Marks it as seen: every reader may have gone away.

    def forget(self, document: Document, link: Link) -> None:
        """`link` does not work (any more)."""
        if self._links.get(document.document_id) is link:
            del self._links[document.document_id]

    async def close(self) -> None:
        """Stop what is under way."""
        tasks = list(self._asked.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, document: Document, without: frozenset[int]) -> Link:
        link = await self._resolve(document, without)
        self._links[document.document_id] = link
        self._links.move_to_end(document.document_id)
        while len(self._links) > LINKS_KEPT_MAX:
            self._links.popitem(last=False)
        return link

    async def _resolve(self, document: Document, without: frozenset[int]) -> Link:
        retries = Retries(self._time, wait_s_max=self._wait_s_max)
        unavailable: BotApiError | TelegramUnavailable | None = None
        async with aclosing(self._ways(document, without)) as ways:
            async for bot, way in ways:
                try:
                    if isinstance(way, str):
                        return await self._get_file(bot, way, document, retries)
                    file_id = await self._forward(bot, way, document, retries)
                    self._learn(document, bot, file_id)
                    return await self._get_file(bot, file_id, document, retries)
                except _FileIdLost:
                    pass
                except Unauthorized as error:
                    # A single 401 may be a passing one; where no other bot could read instead, forwarding tries it once more.
                    if any(not self._bots.is_unauthorized(other) for other in self._bots.bots if other is not bot):
                        self._bots.unauthorized(bot, error.detail)
                    unavailable = error
                except (Forbidden, TelegramUnavailable) as error:
                    unavailable = error
        if unavailable or without:
            raise TelegramUnavailable(
                f"no bot may read document {document.document_id}: {unavailable}",
                retry_after_s=getattr(unavailable, "retry_after_s", UNREADABLE_RETRY_AFTER_S),
            ) from unavailable
        if not document.has_message:
            raise DocumentLost(
                f"document {document.document_id} cannot be read by its file_id any more, and it was imported without a message "
                "that could be forwarded"
            )
        raise DocumentLost(
            f"document {document.document_id} (message {document.message_id} of chat {document.chat_id}) cannot be read "
            "by its file_id, nor by forwarding its message"
        )

    async def _ways(
        self, document: Document, without: frozenset[int]
    ) -> AsyncGenerator[tuple[BotApi, str | DocumentCopy], None]:
        """What to try, the cheapest first: what the document names, then what the index knows besides, then forwarding; bots that
        are set aside come last of each, and those whose token was refused last of all. The index is asked only where the first
        does not lead to the file."""
        bots = [bot for bot in self._bots.bots_by_readiness(document.bot_id) if bot.bot_id not in without]
        further: Ways | None = None
        for usable in (
            [bot for bot in bots if not self._bots.is_unauthorized(bot)],
            [bot for bot in bots if self._bots.is_unauthorized(bot)],
        ):
            tried: set[tuple[int, str]] = set()
            for bot in usable:
                file_id = self._known_file_id(document, bot)
                if file_id:
                    tried.add((bot.bot_id, file_id))
                    yield bot, file_id
            further = further or await self._further_ways(document)
            by_copies = [(copy.bot_id, copy.file_id) for copy in further.copies if copy.file_id]
            for bot in usable:
                for known in (*further.file_ids, *by_copies):
                    if known[0] == bot.bot_id and known not in tried:
                        tried.add(known)
                        yield bot, known[1]
            address = DocumentCopy(document.chat_id, document.message_id, document.bot_id, document.file_id)
            places = (*([address] if document.has_message else []), *further.copies)
            forwards = [(bot, place) for place in places for bot in usable]
            # Those through which nothing can be had now are waited for only where there are no others.
            forwards.sort(key=lambda way: not self._bots.may_send(way[0], self._target(way[1])))
            for bot, place in forwards:
                yield bot, place

    async def _further_ways(self, document: Document) -> Ways:
        if self._ways_to is None:
            return Ways(document.copies)
        try:
            return await self._ways_to(document.document_id)
        except IndexUnavailable as error:
            logger.warning("what else leads to document %s is not known: %s", document.document_id, error)
            return Ways(document.copies)

    def _known_file_id(self, document: Document, bot: BotApi) -> str | None:
        known = self._file_ids.get((document.document_id, bot.bot_id))
        return known or (document.file_id if bot.bot_id == document.bot_id else None)

    def _learn(self, document: Document, bot: BotApi, file_id: str) -> None:
        self._file_ids[document.document_id, bot.bot_id] = file_id
        while len(self._file_ids) > FILE_IDS_KEPT_MAX:
            self._file_ids.popitem(last=False)
        if self._remember:
            self._remember(document.document_id, bot.bot_id, file_id)

    async def _get_file(self, bot: BotApi, file_id: str, document: Document, retries: Retries) -> Link:
        refusals = 0
        while True:
            try:
                return self._checked(bot, await self.ask(bot, file_id, retries), document)
            except RateLimited as error:
                await self._bots.pause(bot.bot_id, None, error.retry_after_s)
                await retries.pause(error)
            except BadRequest as error:
                if "too big" in error.text:
                    raise DocumentLost(f"document {document.document_id} is too big for a file link") from error
                refusals += 1
                if "invalid file_id" in error.text or refusals >= REFUSALS_MAX:
                    logger.warning("bot %d lost its way to document %s: %s", bot.bot_id, document.document_id, error)
                    raise _FileIdLost from error
                await retries.pause(error)
            except TRANSIENT as error:
                await retries.pause(error)

    async def ask(self, bot: BotApi, file_id: str, retries: Retries) -> FileLink:
        """Ask getFile once. Raises a `BotApiError`, or `TelegramUnavailable` where its turn does not come in time."""
        await retries.wait_out(await self._bots.paused_s(bot.bot_id, None), "getFile")
        async with self._slots[bot.bot_id].one():
            while (wait_s := self._bots.limits.file_may_be_asked_for_s(bot.bot_id)) > 0:
                await retries.wait_out(wait_s, "getFile")
            link = file_link(await bot.call("getFile", {"file_id": file_id}))
        if link is None:
            raise MalformedAnswer("getFile", "an answer without a file_path")
        return link

    def _checked(self, bot: BotApi, link: FileLink, document: Document) -> Link:
        if link.size is not None and link.size != document.size:
            logger.warning(
                "document %s: getFile tells %d bytes, not %d", document.document_id, link.size, document.size
            )
            raise _FileIdLost
        return Link(bot, link.path, self._time.clock() + LINK_LIFETIME_S)

    def _target(self, place: DocumentCopy) -> int:
        """Where a message is forwarded to, to see what is in it."""
        return place.chat_id if self._scratch_chat_id is None else self._scratch_chat_id

    async def _forward(self, bot: BotApi, place: DocumentCopy, document: Document, retries: Retries) -> str:
        """A fresh file_id of `bot` for a message that holds the document."""
        pair = Pair(bot, self._target(place))
        # A reader is better served by another way, or a quick no, than by waiting for a bot that may come back.
        waits = self._bots.may_send(bot, pair.chat_id)
        while True:
            try:
                deadline_s = retries.deadline_s if waits else self._time.clock()
                async with self._bots.turn(upload_bytes=0, among=(pair,), deadline_s=deadline_s) as (
                    _,
                    chat_id,
                ):
                    return await self._forward_to(bot, chat_id, place, document)
            except (RateLimited, ChatMigrated) as error:
                retries.count(error)  # The pause, or the new chat, is known to `turn` now.
            except BadRequest as error:
                logger.warning("bot %d cannot forward document %s: %s", bot.bot_id, document.document_id, error)
                raise _FileIdLost from error
            except TRANSIENT as error:
                await retries.pause(error)

    async def _forward_to(self, bot: BotApi, chat_id: int, place: DocumentCopy, document: Document) -> str:
        result = await bot.call(
            "forwardMessage",
            {
                "chat_id": chat_id,
                "from_chat_id": place.chat_id,
                "message_id": place.message_id,
                "disable_notification": True,
            },
        )
        copy = sent_file(result, chat_id=chat_id, size=document.size)
        if copy.message_id:
            await discard(self._bots, bot, copy.chat_id, copy.message_id)
        if not isinstance(copy, Rejected):
            return copy.file_id
        if copy.message_id:
            logger.warning("document %s: its message holds something else: %s", document.document_id, copy.reason)
            raise _FileIdLost
        raise MalformedAnswer("forwardMessage", copy.reason)
