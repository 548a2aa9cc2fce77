"""The port `Documents` (addon/store/ports.py) on the Bot API: sending with every check, reading with every way back."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

import httpx

from addon.store.ports import Deleted, DocumentToSend, TelegramUnavailable
from addon.store.records import Document
from addon.store.second_copies import Ways
from addon.store.send_ledger import Rate, SendLedger
from addon.telegram.answers import Rejected, SentFile, sent_file
from addon.telegram.bots import Bots, Pair
from addon.telegram.client import BotApi, Timeouts, public_authorities
from addon.telegram.deletions import REFUSED_RETRY_AFTER_S, delete, discard
from addon.telegram.downloads import download
from addon.telegram.errors import (
    TRANSIENT,
    BadRequest,
    BotApiError,
    ChatMigrated,
    FileUnreadable,
    Forbidden,
    MalformedAnswer,
    NetworkFailure,
    NotFound,
    RateLimited,
    Unauthorized,
)
from addon.telegram.known_files import TelegramKnownFiles
from addon.telegram.limits import (
    BOT_RATE,
    GROUP_RATE,
    PRIVATE_RATE,
    UPLOADS_IN_FLIGHT_MAX,
    SendLimits,
)
from addon.telegram.links import GET_FILE_IN_FLIGHT_MAX, Link, Links
from addon.telegram.local_files import local_file
from addon.telegram.multipart import FilePart
from addon.telegram.pins import TelegramPins
from addon.telegram.placeholders import blank
from addon.telegram.retries import Retries, Time
from addon.telegram.scan import TelegramScan
from addon.telegram.second_copies import TelegramCopies
from addon.telegram.slots import Slots
from addon.telegram.wide_reads import read_in_wide_pieces

DOCUMENT_BYTES_MAX = 20_000_000  # getFile refuses more than 20 MiB; this is inside every reading of "20 MB".
CAPTION_LENGTH_MAX = 1024
FILE_NAME_STEM_LENGTH_MAX = 64
# Of all bots and processes together. A download lasts as long as its reader takes: slow readers must not use up all of them.
DOWNLOADS_IN_FLIGHT_MAX = 64
OTHER_CALLS_IN_FLIGHT_MAX = 8  # Connections for each bot beside uploads, getFile and downloads: forwards and deletions.
KEEP_ALIVE_S = 30.0  # An idle connection is closed before a server or a firewall forgets it.
PROGRESS_BYTES_MIN = 65_536  # A failed download that brought at least this much does not use up the attempts.
LOCAL_MISSES_MAX = (
    1  # A local server's file that is not there is asked for once more; then it lies where we do not see it.
)
UNAUTHORIZED_LINKS_MAX = 2  # 401s on one bot's file links before another bot is asked (tdlib/telegram-bot-api#779).

logger = logging.getLogger(__name__)


class TelegramDocuments:
    """Documents in Telegram: every bot of `bot_tokens` may send to and read from every chat of `chat_ids`.

    `clock` is monotonic and `sleep` waits, both in seconds; `rng` gives the jitter. `send_wait_s_max` bounds how long a send waits
    for its turn and between attempts (transfers have their own limits, `timeouts`); `read_wait_s_max` the same for a read since
    its last progress. `scratch_chat_id` is where messages are forwarded to win a file_id again (default: the document's chat).
    With `ledger`, the limits hold for all processes that share it. Each document is put into `copies` (1 or 2) chats. With `local`
    the server is one of our own (`--local`), whose files are read from its disk. Raises `ValueError` for settings that cannot be.
    """

    def __init__(
        self,
        api_url: str,
        bot_tokens: Sequence[str],
        chat_ids: Sequence[int],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
        send_wait_s_max: float = 25.0,
        read_wait_s_max: float = 25.0,
        document_bytes_max: int = DOCUMENT_BYTES_MAX,
        scratch_chat_id: int | None = None,
        group_rate: Rate = GROUP_RATE,
        private_rate: Rate = PRIVATE_RATE,
        bot_rate: Rate = BOT_RATE,
        uploads_in_flight_max: int = UPLOADS_IN_FLIGHT_MAX,
        downloads_in_flight_max: int = DOWNLOADS_IN_FLIGHT_MAX,
        get_file_in_flight_max: int = GET_FILE_IN_FLIGHT_MAX,
        timeouts: Timeouts | None = None,
        local: bool = False,
        ledger: SendLedger | None = None,
        copies: int = 1,
    ) -> None:
        self._local = local
        jitter = rng or random.Random()  # noqa: S311 - jitter of pauses, nothing secret
        self._time = Time(clock, sleep, jitter)
        self._send_wait_s_max = send_wait_s_max
        self._read_wait_s_max = read_wait_s_max
        self._document_bytes_max = document_bytes_max
        of_each_bot = uploads_in_flight_max + get_file_in_flight_max + OTHER_CALLS_IN_FLIGHT_MAX
        self._transport = _transport(downloads_in_flight_max + of_each_bot * len(bot_tokens))
        bots = [BotApi(api_url, token, self._transport, timeouts or Timeouts()) for token in bot_tokens]
        limits = SendLimits(
            clock,
            group_rate=group_rate,
            private_rate=private_rate,
            bot_rate=bot_rate,
            uploads_in_flight_max=uploads_in_flight_max,
            equal_sizes_wait=not local,
        )
        self._bots = Bots(bots, chat_ids, limits, clock=clock, sleep=sleep, ledger=ledger)
        self._links = Links(
            self._bots,
            self._time,
            wait_s_max=read_wait_s_max,
            scratch_chat_id=scratch_chat_id,
            get_file_in_flight_max=get_file_in_flight_max,
        )
        self._downloads = Slots(
            lambda: max(1, downloads_in_flight_max // limits.processes),
            wait_s_max=read_wait_s_max,
            busy="too many downloads are under way",
        )
        self._ranges_ignored = False  # What the file host made of the last range that it was asked for.
        self.known_files = TelegramKnownFiles(
            self._bots, self._links, self._time, find_wait_s_max=read_wait_s_max, send_wait_s_max=send_wait_s_max
        )
        """The port `KnownFiles` of the same bots, within the same limits."""
        self.pins = TelegramPins(self._bots, self._time, wait_s_max=send_wait_s_max)
        """The port `Pins` of the same bots."""
        self.scan = TelegramScan(self._bots, self._time, scratch_chat_id=scratch_chat_id)
        """The port `ChatScan` of the same bots, within the same limits."""
        self._copies = copies
        self.copies = TelegramCopies(self._bots, self._time, wait_s_max=send_wait_s_max)
        """The port `Copying` of the same bots, within the same limits."""

    def start(self) -> None:
        """Begin to look, every few seconds, at what other processes do, and whether what was set aside works again."""
        self._bots.start()

    async def look(self) -> None:
        """Do that once, now."""
        await self._bots.look()

    @property
    def document_bytes_max(self) -> int:
        """The largest document that may be sent, in bytes."""
        return self._document_bytes_max

    def send_delay_s(self) -> float:
        """How long a document sent now would wait for its turn, in seconds: 0 where the way is free, `inf` where only the end of
        an upload can tell. For packing: what waits outside can still grow."""
        at_s, _ = self._bots.earliest_s(1, self._bots.pairs)
        return max(0.0, at_s - self._time.clock())

    def burst_share_left(self) -> float:
        """See the port."""
        return self._bots.burst_share_left()

    def ways(self) -> int:
        """See the port."""
        return self._bots.ways()

    def slot_s(self) -> float:
        """See the port."""
        return self._bots.slot_s() * self._copies

    async def send(self, document: DocumentToSend) -> Document:
        """See the port. Also raises `ValueError` for a document that breaks the port's terms, and `OSError` where its file
        cannot be read."""
        self._check(document)
        retries = Retries(self._time, wait_s_max=self._send_wait_s_max)
        deadline_s = retries.deadline_s
        pair, sent = await self._send_to(document, self._bots.pairs, retries)
        first = Document(
            document_id=document.document_id,
            chat_id=sent.chat_id,
            message_id=sent.message_id,
            bot_id=pair.bot.bot_id,
            file_id=sent.file_id,
            file_unique_id=sent.file_unique_id,
            size=document.size,
        )
        if self._copies < 2:
            return first
        further = await self.copies.of_sent(document, first, self._send_to, deadline_s=deadline_s)
        return replace(first, copies=further)

    async def _send_to(
        self, document: DocumentToSend, pairs: Sequence[Pair], retries: Retries
    ) -> tuple[Pair, SentFile]:
        """Upload it through one of the pairs."""
        among = list(pairs)
        while True:
            pair: Pair | None = None
            try:
                async with self._bots.turn(upload_bytes=document.size, among=among, deadline_s=retries.deadline_s) as (
                    pair,
                    chat_id,
                ):
                    sent = await self._send_once(pair.bot, chat_id, document, retries)
            except (RateLimited, ChatMigrated, Unauthorized, Forbidden) as error:
                retries.count(error)  # `turn` knows by now how long to wait, or which pair to take instead.
            except BadRequest as error:
                among = [other for other in among if other is not pair]
                if not among:
                    raise TelegramUnavailable(
                        f"Telegram refuses the document: {error}", retry_after_s=REFUSED_RETRY_AFTER_S
                    ) from error
            except TRANSIENT as error:
                if not isinstance(error, NetworkFailure) or error.ambiguous:
                    logger.warning("document %s may be in Telegram twice: %s", document.document_id, error)
                await retries.pause(error)
            else:
                self._bots.worked(pair)
                return pair, sent

    def _check(self, document: DocumentToSend) -> None:
        if not 1 <= document.size <= self._document_bytes_max:
            raise ValueError(f"a document has 1 … {self._document_bytes_max} bytes, not {document.size}")
        if len(document.caption) > CAPTION_LENGTH_MAX or not document.caption.isascii():
            raise ValueError(f"a caption is ASCII and has at most {CAPTION_LENGTH_MAX} characters")

    async def _send_once(self, bot: BotApi, chat_id: int, document: DocumentToSend, retries: Retries) -> SentFile:
        part = FilePart("document", file_name(document.document_id), document.content, document.size)
        params: dict[str, str | int | bool] = {
            "chat_id": chat_id,
            "caption": document.caption,
            "disable_content_type_detection": True,
            "disable_notification": True,
        }
        answer = sent_file(await bot.call("sendDocument", params, file=part), chat_id=chat_id, size=document.size)
        if isinstance(answer, SentFile) and answer.size is None:
            answer = await self._with_size(bot, answer, document.size, retries)
        if isinstance(answer, Rejected):
            if answer.message_id:
                await discard(self._bots, bot, answer.chat_id, answer.message_id)
            raise MalformedAnswer("sendDocument", answer.reason)
        return answer

    async def _with_size(self, bot: BotApi, sent: SentFile, size: int, retries: Retries) -> SentFile | Rejected:
        """The answer named no size: ask getFile for it."""
        try:
            link = await self._links.ask(bot, sent.file_id, retries)
        except (BotApiError, TelegramUnavailable) as error:
            return Rejected(f"the answer has no size, and {error}", sent.chat_id, sent.message_id)
        if link.size != size:
            return Rejected("neither the answer nor getFile confirm the size", sent.chat_id, sent.message_id)
        return sent

    def prepare(self, document: Document) -> None:
        """See the port."""
        if not document.is_spooled:
            self._links.prepare(document)

    def reads_from_start(self) -> bool:
        """See the port."""
        return self._ranges_ignored

    async def read(self, document: Document, *, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """See the port. Raises `ValueError` for a range that does not lie in the document."""
        if offset < 0 or length < 0 or offset + length > document.size:
            raise ValueError(f"bytes {offset}+{length} do not lie in a document of {document.size} bytes")
        retries = Retries(self._time, wait_s_max=self._read_wait_s_max)
        without: frozenset[int] = frozenset()
        unauthorized, missing, ask_for_range = 0, 0, True
        position, end = offset, offset + length
        while position < end:
            link = await self._links.link(document, without=without)
            await retries.wait_out(await self._bots.paused_s(link.bot.bot_id, None), "download")
            began = position
            error: BotApiError
            try:
                async with aclosing(self._download(document, link, position, end - position, ask_for_range)) as pieces:
                    async for piece in pieces:
                        position += len(piece)
                        yield piece
                continue
            except BotApiError as failure:
                error = failure
            await self._blame(document, link, error)
            missing += self._local and isinstance(error, NotFound)
            if isinstance(error, FileUnreadable) or missing > LOCAL_MISSES_MAX:
                raise TelegramUnavailable(str(error), retry_after_s=REFUSED_RETRY_AFTER_S) from error
            ask_for_range = ask_for_range and not isinstance(error, MalformedAnswer)
            if isinstance(error, Unauthorized):
                unauthorized += 1
                if unauthorized % UNAUTHORIZED_LINKS_MAX == 0 and len(without) + 1 < len(self._bots.bots):
                    without |= {link.bot.bot_id}
            if position - began >= PROGRESS_BYTES_MIN:
                retries.progress()
            await retries.pause(error)

    async def _blame(self, document: Document, link: Link, error: BotApiError) -> None:
        """What a failed download tells about its link."""
        logger.info("document %s: %s", document.document_id, error)
        if isinstance(error, RateLimited):
            await self._bots.pause(link.bot.bot_id, None, error.retry_after_s)
        elif isinstance(error, NotFound | Unauthorized | MalformedAnswer | FileUnreadable):
            self._links.forget(document, link)

    async def _download(
        self, document: Document, link: Link, offset: int, length: int, ask_for_range: bool
    ) -> AsyncGenerator[bytes, None]:
        pieces = (
            local_file(link.bot, link.path, size=document.size, offset=offset, length=length)
            if self._local
            else download(
                link.bot,
                link.path,
                size=document.size,
                offset=offset,
                length=length,
                clock=self._time.clock,
                ask_for_range=ask_for_range,
                tell_range=self._tell_range,
            )
        )
        async with self._downloads.one(), aclosing(pieces):
            async for piece in pieces:
                yield piece

    def _tell_range(self, is_honoured: bool) -> None:
        self._ranges_ignored = not is_honoured

    def look_up_ways(self, ways_to: Callable[[str], Awaitable[Ways]]) -> None:
        """Who is asked what else leads to a document, by its id, where what the document itself names does not."""
        self._links.look_up_ways(ways_to)

    def on_new_file_id(self, remember: Callable[[str, int, str], None]) -> None:
        """See the port."""
        self._links.on_new_file_id(remember)

    async def delete(self, document: Document) -> Deleted:
        """See the port. Raises `TelegramUnavailable` where no bot could tell."""
        return await delete(self._bots, document, Retries(self._time, wait_s_max=self._send_wait_s_max))

    async def blank(self, document: Document) -> bool:
        """See the port. Raises `TelegramUnavailable` where no bot could do it."""
        return await blank(self._bots, document, Retries(self._time, wait_s_max=self._send_wait_s_max))

    async def close(self) -> None:
        """Let go of every connection."""
        await self._links.close()
        await self._bots.close()
        await self._transport.aclose()


def file_name(document_id: str) -> str:
    """A neutral name: no type can be guessed from it, and nothing in it is changed by Telegram's cleaning of names."""
    stem = re.sub(r"[^A-Za-z0-9_-]", "_", document_id)[:FILE_NAME_STEM_LENGTH_MAX] or "document"
    return f"{stem}.bin"


def _transport(connections_max: int) -> httpx.AsyncHTTPTransport:
    read_in_wide_pieces()
    # No proxy from the environment: it might be the very proxy that this runs in.
    limits = httpx.Limits(
        max_connections=connections_max, max_keepalive_connections=connections_max, keepalive_expiry=KEEP_ALIVE_S
    )
    return httpx.AsyncHTTPTransport(trust_env=False, verify=public_authorities(), limits=limits)
