"""Making the index again from nothing but the chats.

First the newest snapshot, then every message that it does not know: captions say what a document is, and packs tell the states of
keys and have objects that no state tells of. Nothing is decided before all of it was read, so the order of messages does not
matter (`recovered_keys.py` has the rules). Messages are read in chunks, each of which is remembered in one transaction, so that a
stop costs a chunk.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from addon.store.captions import Caption
from addon.store.chat_scan import ChatScan, MessageUnreadable, ScannedMessage
from addon.store.pack_format import TAIL_BYTES, ItemKind, NotAPack, Pack, manifest_place, read_manifest
from addon.store.ports import DocumentCorrupt, DocumentLost, KeyMissing, TelegramUnavailable
from addon.store.records import Document
from addon.store.recovered_keys import Baseline, UntoldItem
from addon.store.recovery_index import (
    ChatProgress,
    Chunk,
    FoundDocument,
    LostObject,
    Recovered,
    RecoveryIndex,
    RecoveryPlace,
    RecoveryPlan,
)
from addon.store.seal_format import content_bytes
from addon.store.sealing import WrongSeal
from addon.store.snapshot_format import read_mark
from addon.store.snapshot_restore import Candidate, Restored, SnapshotBroken, SnapshotSource
from addon.store.work_folder import work_folder

logger = logging.getLogger(__name__)

# So many messages are read, and remembered together.
CHUNK_MESSAGES = 100
# Below the newest message that a snapshot knows so many are looked at again: sends that were under way are among them.
MARGIN_MESSAGES = 256
# In channels and supergroups 1 is the message that says that there is a chat.
FIRST_MESSAGE = 2
# So many keys get their states in one transaction.
KEYS_AT_ONCE = 500
# A message that cannot be read now is tried again so often, after what Telegram asks for, this long at most.
TRIES_MAX = 5
PAUSE_S_MAX = 60.0
MANIFEST_BYTES_MAX = 64 << 20
# So much of a pack's end is read first: mostly it has all that the pack tells of itself.
TAIL_AT_ONCE_BYTES = 512 << 10


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: what it does, messages that were read in this run and those that are left, packs and documents found."""

    doing: str
    read: int = 0
    left: int = 0
    documents: int = 0
    packs: int = 0
    per_min: float = 0.0


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a recovery would have to do. `newest` and `to_read` by chat; `messages_per_min` is what Telegram's limits allow."""

    snapshot: Candidate | None
    to_read: Sequence[ChatProgress]
    messages_per_min: float


@dataclass(slots=True)
class _Looked:
    """What some messages had."""

    documents: list[FoundDocument] = field(default_factory=list)
    packs: list[Pack] = field(default_factory=list)
    foreign: int = 0
    holes: int = 0
    unreadable: list[str] = field(default_factory=list)


class Recovery:
    """Recovers an index into `place`. `report` is told how far it is; `with_snapshots` false makes nothing of them; `take_untold`
    makes objects also of what packs have and no state tells of, where nothing is known of the key."""

    def __init__(
        self,
        scan: ChatScan,
        source: SnapshotSource,
        read_caption: Callable[[str], Caption | None],
        place: RecoveryPlace,
        *,
        with_snapshots: bool = True,
        take_untold: bool = False,
        report: Callable[[Progress], None] = lambda _: None,
        now_s: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._scan, self._source, self._read_caption, self._place = scan, source, read_caption, place
        self._with_snapshots, self._take_untold, self._report = with_snapshots, take_untold, report
        self._now_s, self._sleep = now_s, sleep
        self._read = self._documents = self._packs = 0

    async def look(self) -> Outlook:
        """What would have to be done; one message is sent to each chat, and deleted. Of a snapshot only the root is read."""
        pinned = await self._source.pinned() if self._with_snapshots else []
        newest = await self._newest_of_chats()
        known: Mapping[int, int] = {}
        if pinned:
            try:
                known = (await self._source.root_of(pinned[0])).newest_messages
            except SnapshotBroken as error:
                logger.warning("snapshot %s cannot be used: %s", pinned[0].mark.snapshot_id, error)
                pinned = []
        chats = [_to_read(chat_id, last, known.get(chat_id)) for chat_id, last in newest.items()]
        per_min = sum(self._scan.messages_per_min(chat.chat_id) for chat in chats)
        return Outlook(pinned[0] if pinned else None, chats, per_min)

    async def run(self) -> Recovered:
        """Recover, or go on with it. The index is there, complete, when this returns.

        Raises `IndexUnavailable` where something is there already, `TelegramUnavailable` where Telegram does not answer, and
        `KeyMissing`. Run it again, and it goes on."""
        index = await self._place.resume()
        try:
            index = index or await self._begin()
            plan = await index.plan()
            if plan is None:
                raise RuntimeError("a recovery that was begun has no plan")
            await self._read_chats(index, plan)
            return await self._finish(index, plan)
        finally:
            if index is not None:
                await index.close()

    async def _begin(self) -> RecoveryIndex:
        self._report(Progress("looking for a saved index"))
        pinned = await self._source.pinned()
        restored: Restored | None = None
        with work_folder(self._place.folder, "recovery-") as folder:
            if self._with_snapshots and pinned:
                restored = await self._source.restore(pinned, folder)
            baseline = Baseline()
            if restored is not None:
                baseline = Baseline(restored.root.number, await self._place.unsettled_packs(restored.path))
            newest = await self._newest_of_chats()
            index = await self._place.begin(restored.path if restored is not None else None)
        known = restored.root.newest_messages if restored is not None else {}
        plan = RecoveryPlan(
            snapshot=restored.snapshot if restored is not None else None,
            baseline=baseline,
            identity=pinned[0].mark.identity if pinned else None,
            chats=[_to_read(chat_id, last, known.get(chat_id)) for chat_id, last in newest.items()],
            number_floor=pinned[0].mark.number if pinned else 0,
        )
        await index.begin(plan)
        return index

    async def _newest_of_chats(self) -> dict[int, int]:
        found: dict[int, int] = {}
        failure: TelegramUnavailable | None = None
        for chat_id in self._scan.chat_ids:
            try:
                found[chat_id] = await self._scan.newest(chat_id)
            except TelegramUnavailable as error:
                logger.error("chat %d cannot be read: %s", chat_id, error)
                failure = error
        if failure is not None and not found:
            raise failure
        return found

    async def _read_chats(self, index: RecoveryIndex, plan: RecoveryPlan) -> None:
        began_s = self._now_s()
        left = {chat.chat_id: chat.left for chat in plan.chats}

        def tell(chat: ChatProgress) -> None:
            left[chat.chat_id] = chat.left
            per_min = 60 * self._read / max(self._now_s() - began_s, 1e-3)
            self._report(Progress("reading", self._read, sum(left.values()), self._documents, self._packs, per_min))

        configured = [chat for chat in plan.chats if chat.chat_id in self._scan.chat_ids]
        for chat in configured:
            tell(chat)
        scans = [asyncio.create_task(self._read_chat(index, chat, tell)) for chat in configured]
        try:
            await asyncio.gather(*scans)
        finally:
            for scan in scans:
                scan.cancel()
            await asyncio.gather(*scans, return_exceptions=True)

    async def _read_chat(self, index: RecoveryIndex, chat: ChatProgress, tell: Callable[[ChatProgress], None]) -> None:
        slots = asyncio.Semaphore(self._scan.concurrency)
        while chat.left:
            end = min(chat.next + CHUNK_MESSAGES - 1, chat.last)
            known = await index.known_messages(chat.chat_id, chat.next, end)
            looked = _Looked()
            reads = [
                asyncio.create_task(self._look_at(index, chat.chat_id, number, slots, looked))
                for number in range(chat.next, end + 1)
                if number not in known
            ]
            try:
                await asyncio.gather(*reads)
            finally:
                for read in reads:
                    read.cancel()
                await asyncio.gather(*reads, return_exceptions=True)
            looked.documents.sort(key=lambda found: found.document.message_id)
            await index.add(
                Chunk(
                    chat.chat_id,
                    end + 1,
                    looked.documents,
                    looked.packs,
                    looked.foreign,
                    looked.holes,
                    looked.unreadable,
                )
            )
            self._read += len(reads)
            self._documents += len(looked.documents)
            self._packs += len(looked.packs)
            chat = replace(chat, next=end + 1)
            tell(chat)

    async def _look_at(
        self, index: RecoveryIndex, chat_id: int, message_id: int, slots: asyncio.Semaphore, looked: _Looked
    ) -> None:
        async with slots:
            try:
                message = await self._message(chat_id, message_id)
                caption = self._read_caption(message.caption) if message is not None else None
            except (MessageUnreadable, WrongSeal) as error:
                looked.unreadable.append(f"message {message_id} of chat {chat_id}: {error}")
                return
            if message is None or (caption is not None and "placeholder" in caption.about):
                looked.holes += 1
                return
            found = _document_of(message, caption)
            if found is None or caption is None:
                looked.foreign += 1
                return
            looked.documents.append(found)
            if found.mark is None and "p" in caption.about and not await index.has_pack(found.document.document_id):
                try:
                    looked.packs.append(await self._pack(found.document))
                except KeyMissing:
                    raise
                except (NotAPack, DocumentLost, DocumentCorrupt) as error:
                    looked.unreadable.append(f"the pack in message {message_id} of chat {chat_id}: {error}")

    async def _message(self, chat_id: int, message_id: int) -> ScannedMessage | None:
        for tries_left in reversed(range(TRIES_MAX)):
            try:
                return await self._scan.read(chat_id, message_id)
            except TelegramUnavailable as failure:
                if not tries_left:
                    raise
                await self._sleep(min(max(failure.retry_after_s, 1.0), PAUSE_S_MAX))
        raise AssertionError("unreachable")

    async def _pack(self, document: Document) -> Pack:
        """What a pack tells of itself; only its end is read where the file host allows that. Raises `NotAPack` and what reading
        raises."""
        try:
            whole = content_bytes(document)
        except ValueError as error:
            raise NotAPack(str(error)) from error
        if whole < TAIL_BYTES:
            raise NotAPack("too short")
        start = max(0, whole - TAIL_AT_ONCE_BYTES)
        tail = await self._source.content(document, start, whole - start)
        offset, length = manifest_place(tail[-TAIL_BYTES:])
        if length > MANIFEST_BYTES_MAX or offset + length > whole:
            raise NotAPack("what it tells of itself does not lie in it")
        if offset >= start:
            manifest = tail[offset - start : offset - start + length]
        else:
            manifest = await self._source.content(document, offset, length)
        pack = read_manifest(manifest)
        if pack.head.document_id != document.document_id:
            raise NotAPack("it is another document's")
        return pack

    async def _finish(self, index: RecoveryIndex, plan: RecoveryPlan) -> Recovered:
        self._report(Progress("making the index", self._read, 0, self._documents, self._packs))
        await index.continue_numbers()
        lost: list[LostObject] = []
        after: tuple[str, bytes] | None = None
        while True:
            placed = await index.place_states(after, limit=KEYS_AT_ONCE, now_s=self._now_s())
            lost += placed.lost
            if placed.last is None:
                break
            after = placed.last
        await self._place_items(index)
        unread = [
            f"chat {chat.chat_id} is not in the settings"
            for chat in plan.chats
            if chat.chat_id not in self._scan.chat_ids
        ]
        planned = {chat.chat_id for chat in plan.chats}
        unread += [f"chat {chat_id} could not be reached" for chat_id in self._scan.chat_ids if chat_id not in planned]
        summary = await index.summary(lost)
        summary = replace(summary, unreadable=(*unread, *summary.unreadable))
        await index.finish(now_s=self._now_s(), complete=not summary.unreadable)
        return summary

    async def _place_items(self, index: RecoveryIndex) -> None:
        """What was acknowledged and could not be told any more: it is in the last packs."""
        by_key: dict[tuple[str, str], list[UntoldItem]] = {}
        for unsettled in await index.unsettled_packs(take_untold=self._take_untold):
            pack = await self._pack(unsettled.document)
            for position, item in enumerate(pack.items):
                if item.about.kind is ItemKind.OBJECT:
                    untold = UntoldItem(unsettled.number, position, unsettled.document.document_id, item)
                    by_key.setdefault((item.about.bucket, item.about.key), []).append(untold)
        keys = sorted(by_key)
        for start in range(0, len(keys), KEYS_AT_ONCE):
            together = [one for key in keys[start : start + KEYS_AT_ONCE] for one in by_key[key]]
            await index.place_items(together, take_untold=self._take_untold, now_s=self._now_s())


def _to_read(chat_id: int, last: int, known: int | None) -> ChatProgress:
    """What is to be read of a chat in which the snapshot knows messages up to `known`."""
    first = FIRST_MESSAGE if known is None else max(FIRST_MESSAGE, known - MARGIN_MESSAGES)
    return ChatProgress(chat_id, first, first, last)


def _document_of(message: ScannedMessage, caption: Caption | None) -> FoundDocument | None:
    document_id = caption.about.get("d") if caption is not None else None
    if caption is None or message.document is None or not isinstance(document_id, str) or not document_id:
        return None
    document = replace(
        message.document, document_id=document_id, key_id=caption.key_id, segment_bytes=caption.segment_bytes
    )
    return FoundDocument(document, message.sent_at_s, read_mark(caption.about))
