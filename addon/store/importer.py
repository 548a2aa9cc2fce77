"""Taking files into the index that are in Telegram already, known by their `file_id` alone.

Nothing is sent for it: getFile tells a file's size, and that is enough to serve it. What else there is to know is asked for:

- its bytes, read once: then the hashes of its blocks are known, its MD5 is the ETag, and its first bytes tell its type. Of a file
  that was not read nobody knows them: the reader checks lengths only, and the ETag looks like that of an upload in parts, so that
  no client takes it for an MD5.
- a message of ours, by sending the file again by its `file_id`: (chat, message) is the durable address that a lost `file_id` is won
  again from. Without it the file is lost with its `file_id`.

An import never replaces anything. What the index has under a key was written, copied or deleted since the site left its old way
of keeping files, and what the origin holds is the truth of that bucket, unless the import is preferred expressly. An object that an
earlier import took unread or without a message is completed where that is asked for now.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import hashlib
import json
import logging
import re
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Protocol, TypeVar

from addon.s3.content_types import FIRST_BYTES_MAX, type_by_first_bytes, type_by_name
from addon.s3.keys import encode_key
from addon.store import layout
from addon.store.extent_ranges import ExtentRange
from addon.store.known_files import FileRefused, FoundFile, KnownFiles
from addon.store.ports import (
    DocumentLost,
    Documents,
    IndexUnavailable,
    Origin,
    OriginRequest,
    OriginUnavailable,
    SourceChanged,
    TelegramUnavailable,
)
from addon.store.records import Document, Extent, NewObject, ObjectRecord, Provenance, Tombstone

logger = logging.getLogger(__name__)

CONCURRENCY_MAX = 10  # getFile calls at once; a bot gets into trouble from 15 a second on (tdlib/telegram-bot-api#755).
TRIES_MAX = 3
PAUSE_S_MAX = 120.0
# So many links in a row for which Telegram could not be had, and the import ends: it goes on where it was when it is run again.
UNAVAILABLE_IN_A_ROW_MAX = 10
LOOK_S = 0.25
# A file is sent again while more than this part of a burst is left: the rest is for uploads of clients, which so never wait for an
# import.
LEAVES_OF_BURST = 0.5

_FILE_ID = re.compile(r"[A-Za-z0-9_-]{10,256}")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Link:
    """A file to be taken: the object that it becomes, and the URL that stood for it. `uploaded_at_s` is whole UNIX seconds."""

    bucket: str
    key: str
    url: str
    file_id: str
    uploaded_at_s: int | None = None


@dataclass(frozen=True, slots=True)
class ImportWish:
    """How files are taken: see the head of this file. `anonymous_read`: anyone may read them, as the old site let them."""

    read: bool = False
    anchor: bool = False
    anonymous_read: bool = True
    prefer_import: bool = False
    dry_run: bool = False
    concurrency: int = 8


class Fate(enum.Enum):
    """What became of a link. `TAKEN`; `COMPLETED`: an earlier import had taken it, and now its hashes or its message are known;
    `THERE`: an earlier import took it; `KEPT`: the index has something else under the key; `AT_ORIGIN`: the origin holds the
    key; `NOT_TAKEN`: it could not be."""

    TAKEN = "taken"
    COMPLETED = "completed"
    THERE = "there"
    KEPT = "kept"
    AT_ORIGIN = "at_origin"
    NOT_TAKEN = "not_taken"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one link; `size` in bytes. `lacks_hashes` and `lacks_message` are of the object that is there now."""

    link: Link
    fate: Fate
    reason: str = ""
    size: int = 0
    lacks_hashes: bool = False
    lacks_message: bool = False


class ImportIndex(Protocol):
    """The index, as far as an import needs it; the terms are those of `ports.Index`."""

    async def key_state(self, bucket: str, key: str) -> ObjectRecord | Tombstone | None:
        """See `ports.Index`."""

    async def add_object(self, new: NewObject) -> ObjectRecord | None:
        """Make `new` the object of a key of which the index knows nothing; a copy job of it goes. None, and nothing changed, where
        it knows something by now, or a write to the origin is under way."""

    async def replace_object(self, record: ObjectRecord, new: NewObject) -> ObjectRecord:
        """Put `new` in the place of `record`. Raises `SourceChanged` where that is not the current object any more."""

    async def add_documents(self, documents: Sequence[Document], *, now_s: float) -> None:
        """See `ports.Index`."""


@dataclass(frozen=True, slots=True)
class _Content:
    """What reading a file's bytes tells; `content_type` is None where they do not show it."""

    block_sha256s: bytes
    md5_hex: str
    content_type: str | None


class Importer:
    """Takes links. `origins` gives the buckets' origins that are still asked."""

    def __init__(
        self,
        *,
        index: ImportIndex,
        documents: Documents,
        known_files: KnownFiles,
        origins: Mapping[str, Origin | None],
        wish: ImportWish,
        now_s: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._index, self._documents, self._known_files = index, documents, known_files
        self._origins, self._wish = origins, wish
        self._now_s, self._sleep = now_s, sleep
        self._anchoring = asyncio.Lock()
        self._unavailable_in_a_row = 0

    async def run(self, links: AsyncGenerator[Link, None], report: Callable[[Outcome], None]) -> None:
        """Take them all, several at once. Raises `IndexUnavailable`, and `TelegramUnavailable` where Telegram cannot be had."""
        turn = asyncio.Lock()

        async def work() -> None:
            while True:
                async with turn:
                    link = await anext(links, None)
                if link is None:
                    return
                report(await self.take(link))

        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(min(self._wish.concurrency, CONCURRENCY_MAX)):
                    workers.create_task(work())
        except* (IndexUnavailable, TelegramUnavailable) as failures:
            raise _first(failures) from None

    async def take(self, link: Link) -> Outcome:
        """Take one link. Raises as `run`."""
        try:
            outcome = await self._take(link)
        except TelegramUnavailable as failure:
            self._unavailable_in_a_row += 1
            if self._unavailable_in_a_row >= UNAVAILABLE_IN_A_ROW_MAX:
                raise
            return Outcome(link, Fate.NOT_TAKEN, f"Telegram could not be had: {failure}")
        except (FileRefused, DocumentLost, OriginUnavailable, _OriginDoesNotTell) as reason:
            outcome = Outcome(link, Fate.NOT_TAKEN, str(reason))
        self._unavailable_in_a_row = 0
        return outcome

    async def _take(self, link: Link) -> Outcome:
        state = await self._index.key_state(link.bucket, link.key)
        if isinstance(state, Tombstone):
            return Outcome(link, Fate.KEPT, "it was deleted here")
        if state is not None:
            return await self._of_object(link, state)
        if not _FILE_ID.fullmatch(link.file_id):
            return Outcome(link, Fate.NOT_TAKEN, "this is no file_id")
        if not self._wish.prefer_import and await self._is_at_origin(link):
            return Outcome(link, Fate.AT_ORIGIN, "the origin holds this key (--prefer-import takes the import's file)")
        found = await self._patiently(lambda: self._known_files.find(link.file_id))
        if self._wish.dry_run:
            return Outcome(link, Fate.TAKEN, size=found.size)
        document = found.as_document(_document_id(link))
        content = await self._read(document) if self._wish.read else None
        headers = {"content-type": (content and content.content_type) or type_by_name(link.key)}
        new = NewObject(
            bucket=link.bucket,
            key=link.key,
            size=found.size,
            etag=content.md5_hex if content is not None else etag_unread(document),
            last_modified_s=int(self._now_s()) if link.uploaded_at_s is None else link.uploaded_at_s,
            provenance=Provenance.WRITTEN_HERE,
            anonymous_read=self._wish.anonymous_read,
            headers=headers,
            checksums={},
            extents=(Extent(document, 0, found.size, content.block_sha256s if content is not None else b""),),
        )

        async def add(described: NewObject) -> bool:
            return await self._index.add_object(described) is not None

        return await self._commit(link, new, Fate.TAKEN, add, anchor=found if self._wish.anchor else None)

    async def _of_object(self, link: Link, record: ObjectRecord) -> Outcome:
        """The key has an object: where an earlier import took it, see whether more can be known of it now."""
        extent = record.extents[0] if len(record.extents) == 1 else None
        if extent is None or not extent.document.document_id.startswith(_id_of_link(link)):
            return Outcome(link, Fate.KEPT, "the key has an object already")
        document = extent.document
        wants_hashes = self._wish.read and not extent.has_hashes
        wants_message = self._wish.anchor and not document.has_message
        if not wants_hashes and not wants_message:
            return _outcome(link, Fate.THERE, extent)
        if self._wish.dry_run:
            return Outcome(link, Fate.COMPLETED, size=record.size)
        new = _as_new(record)
        if wants_hashes:
            content = await self._read(document)
            new = replace(new, extents=(replace(extent, block_sha256s=content.block_sha256s),))
            if record.etag == etag_unread(document):
                new = replace(new, etag=content.md5_hex)
            if content.content_type is not None and record.headers == {"content-type": type_by_name(record.key)}:
                new = replace(new, headers={"content-type": content.content_type})
        found = FoundFile(document.bot_id, document.file_id, document.file_unique_id, document.size)

        async def put_in_its_place(described: NewObject) -> bool:
            try:
                await self._index.replace_object(record, described)
            except SourceChanged:
                return False
            return True

        return await self._commit(link, new, Fate.COMPLETED, put_in_its_place, anchor=found if wants_message else None)

    async def _commit(
        self,
        link: Link,
        new: NewObject,
        fate: Fate,
        commit: Callable[[NewObject], Awaitable[bool]],
        *,
        anchor: FoundFile | None,
    ) -> Outcome:
        """Put `new` into the index, over a message of ours where `anchor` is a file to be sent again. What was sent in vain is
        recorded as garbage, whatever ended this."""
        refusal, sent = "", None
        if anchor is not None:
            try:
                sent = await self._send_again(link, anchor, new.extents[0].block_sha256s)
            except FileRefused as reason:
                refusal = f"taken, but without a message of its own: {reason}"
            else:
                new = replace(new, extents=(replace(new.extents[0], document=sent),))
        is_committed = False
        try:
            is_committed = await commit(new)
        finally:
            if sent is not None and not is_committed:
                await self._leave_behind(sent)
        if not is_committed:
            return Outcome(link, Fate.KEPT, "the key was written or deleted meanwhile")
        return _outcome(link, fate, new.extents[0], refusal)

    async def _send_again(self, link: Link, found: FoundFile, block_sha256s: bytes) -> Document:
        document_id = _document_id(link)
        caption = layout.caption(
            document_id=document_id,
            bucket=link.bucket,
            key=link.key,
            offset=0,
            length=found.size,
            block_sha256s=block_sha256s,
        )
        # One after the other, in what others leave of Telegram's messages, as a sweep does it.
        async with self._anchoring:
            while self._documents.burst_share_left() <= LEAVES_OF_BURST:
                await self._sleep(LOOK_S)
            return await self._patiently(
                lambda: self._known_files.send_again(found, document_id=document_id, caption=caption)
            )

    async def _leave_behind(self, document: Document) -> None:
        try:
            await self._index.add_documents([document], now_s=self._now_s())
        except IndexUnavailable:
            # The log is the only place left that names it.
            logger.error("orphan: chat %d message %d", document.chat_id, document.message_id)

    async def _read(self, document: Document) -> _Content:
        """Read the whole file once. Raises `DocumentLost` and `TelegramUnavailable`."""
        return await self._patiently(lambda: self._read_once(document))

    async def _read_once(self, document: Document) -> _Content:
        hashed = ExtentRange([Extent(document, 0, document.size, b"")], 0, document.size)
        md5, first = hashlib.md5(usedforsecurity=False), b""

        def observe(piece: bytes) -> None:
            hashed.update(piece)
            md5.update(piece)

        stream = self._documents.read(document, offset=0, length=document.size)
        async with contextlib.aclosing(stream) as pieces:
            async for piece in pieces:
                if len(first) < FIRST_BYTES_MAX:
                    first = (first + piece[:FIRST_BYTES_MAX])[:FIRST_BYTES_MAX]
                await asyncio.to_thread(observe, piece)
        (extent,) = hashed.extents()
        return _Content(extent.block_sha256s, md5.hexdigest(), type_by_first_bytes(first))

    async def _is_at_origin(self, link: Link) -> bool:
        """Raises `OriginUnavailable`, `_OriginDoesNotTell`."""
        origin = self._origins.get(link.bucket)
        if origin is None:
            return False
        request = OriginRequest("HEAD", encode_key(link.key), "", [("accept-encoding", "identity")])

        async def ask() -> HTTPStatus | int:
            async with origin.send(request) as answer:
                if answer.status not in (HTTPStatus.OK, HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN):
                    raise OriginUnavailable(f"the origin answered {answer.status} to the question for this key")
                return answer.status

        status = await self._patiently(ask)
        if status == HTTPStatus.FORBIDDEN:
            raise _OriginDoesNotTell(
                "the origin does not tell whether it holds this key (403): its access key needs s3:ListBucket; or take the "
                "import's file with --prefer-import"
            )
        return status == HTTPStatus.OK

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try again where the time will help, as long after it as was said."""
        for _ in range(TRIES_MAX - 1):
            try:
                return await attempt()
            except (TelegramUnavailable, OriginUnavailable) as failure:
                retry_after_s = failure.retry_after_s if failure.retry_after_s is not None else LOOK_S
                await self._sleep(min(retry_after_s, PAUSE_S_MAX))
        return await attempt()


class _OriginDoesNotTell(Exception):
    """Nobody can say whether the origin holds the key; the text says what to do."""


def etag_unread(document: Document) -> str:
    """An ETag of a file whose bytes nobody has read: the same for the same file, and no MD5 to anyone, because it ends like that
    of an upload in parts."""
    named = f"{document.file_unique_id}/{document.size}".encode()
    return f"{hashlib.md5(named, usedforsecurity=False).hexdigest()}-1"


def _id_of_link(link: Link) -> str:
    """What the ids of a link's documents begin with, so that a later import knows what an earlier one took."""
    named = json.dumps([link.bucket, link.key, link.file_id])
    return hashlib.sha256(named.encode()).hexdigest()[:16]


def _document_id(link: Link) -> str:
    return _id_of_link(link) + uuid.uuid4().hex[:16]


def _as_new(record: ObjectRecord) -> NewObject:
    return NewObject(
        bucket=record.bucket,
        key=record.key,
        size=record.size,
        etag=record.etag,
        last_modified_s=record.last_modified_s,
        provenance=record.provenance,
        anonymous_read=record.anonymous_read,
        headers=record.headers,
        checksums=record.checksums,
        extents=record.extents,
        tags=record.tags,
    )


def _outcome(link: Link, fate: Fate, extent: Extent, reason: str = "") -> Outcome:
    return Outcome(
        link,
        fate,
        reason,
        size=extent.length,
        lacks_hashes=not extent.has_hashes,
        lacks_message=not extent.document.has_message,
    )


def _first(failures: BaseExceptionGroup[Exception]) -> BaseException:
    """One of several failures of the same kind."""
    failure: BaseException = failures
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
