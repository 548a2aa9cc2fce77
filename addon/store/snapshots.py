"""Saving the index in Telegram.

A snapshot is a consistent copy of the index. It counts once its root is pinned; until then the root before it stays where it is, so
a stop at any moment leaves a valid one. A root is never pinned over one that knows more: of another index (a new one, because
nobody recovered), of a later state of this one, or with far more objects than deletions explain. That waits until somebody says so.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from addon.store.captions import Caption
from addon.store.layout import PADDING_BYTES_MAX
from addon.store.message_eraser import MessageEraser
from addon.store.ports import Documents, DocumentToSend, TelegramUnavailable
from addon.store.records import Document
from addon.store.sealing import WrongSeal
from addon.store.snapshot_files import Compressed, Piece, compress
from addon.store.snapshot_format import (
    FORMER_ROOTS_MAX,
    PartMark,
    Root,
    RootMark,
    Snapshot,
    SnapshotPart,
    part_caption,
    places_of,
    read_mark,
    root_bytes,
    root_caption,
)
from addon.store.work_folder import work_folder

logger = logging.getLogger(__name__)

# A document that Telegram does not take now is sent again so often, each time after the pause that it asks for, this long at most.
SEND_TRIES_MAX = 30
SEND_PAUSE_S_MAX = 60.0
# A part has no more bytes than these, however large documents may be: parts are held in memory.
PART_BYTES_MAX = 20_000_000
# Fewer objects than the pinned root has are suspicious where more than these, and more than half of them, are gone unexplained.
MISSING_OBJECTS_MAX = 100
# So many of the newest snapshots are kept, however old they are.
KEPT_AT_LEAST = 2
# One that was begun so long ago and has not ended was given up: its process was stopped.
UNFINISHED_S_MAX = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class CopiedIndex:
    """What a copy of the index holds: the counter's value, keys with objects and their bytes, deleted keys, and the highest message
    id that it knows in each chat."""

    number: int
    objects: int
    tombstones: int
    size: int
    newest_messages: Mapping[int, int]


class SnapshotIndex(Protocol):
    """The index, as far as its own copies are concerned. Raises `IndexUnavailable` from every method."""

    async def identity(self) -> int:
        """A random number that this index keeps for its life, and its recovered self after it."""

    async def number(self) -> int:
        """The counter's present value: it grows with every change."""

    async def copy_to(self, path: Path) -> CopiedIndex:
        """Write a consistent copy of the index into a new file, without what is of no use there, and without holding anybody up."""

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        """Remember a snapshot, or what has become of it."""

    async def snapshots(self) -> Sequence[Snapshot]:
        """All that are remembered, the newest first."""

    async def forget_snapshot(self, snapshot_id: str) -> None:
        """Nothing of it is in Telegram any more."""


@dataclass(frozen=True, slots=True)
class PinnedMessage:
    """What is pinned in a chat: its caption, and its document where it has one."""

    chat_id: int
    message_id: int
    caption: str
    document: Document | None


class Pins(Protocol):
    """What is pinned in the chats. Raises `TelegramUnavailable` where no bot can tell or do it."""

    @property
    def chat_ids(self) -> Sequence[int]:
        """The chats, as configured."""

    async def pinned(self, chat_id: int) -> PinnedMessage | None:
        """The newest message that is pinned there."""

    async def pin(self, chat_id: int, *, from_chat_id: int, message_id: int) -> int:
        """Pin a message, or its copy where it lies in another chat; returns the id of what is pinned."""

    async def unpin(self, chat_id: int, message_id: int) -> None:
        """It is not pinned any more; nothing happens where it was not."""


def why_not_pinned(new: RootMark, pinned: RootMark) -> str:
    """What speaks against pinning a root in the place of another one; empty for nothing."""
    if new.identity != pinned.identity:
        return (
            f"the chat's pinned root ({pinned.objects} objects) belongs to another index: if this one is new because the former "
            "was lost, stop the proxy, put the new index aside and run `tgstore recover`"
        )
    if new.number < pinned.number:
        return (
            "the chat's pinned root is of a later state than this index, which was put back to an earlier one: stop the proxy, put "
            "the index aside and run `tgstore recover`"
        )
    missing = pinned.objects - new.objects - max(0, new.tombstones - pinned.tombstones)
    if missing > MISSING_OBJECTS_MAX and 2 * missing > pinned.objects:
        return (
            f"the index has {new.objects} objects where the pinned root has {pinned.objects}, and deletions do not explain it: if "
            "that is right, run `tgstore snapshot --accept-shrunken`"
        )
    return ""


class Snapshots:
    """Takes snapshots and clears old ones away. `work_dir` is where the copy lies meanwhile; `keep_s` how long one is kept."""

    def __init__(
        self,
        index: SnapshotIndex,
        documents: Documents,
        pins: Pins,
        *,
        read_caption: Callable[[str], Caption | None],
        work_dir: Path,
        keep_s: float,
        now_s: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        randbelow: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        self._index, self._documents, self._pins = index, documents, pins
        self._work_dir, self._keep_s = work_dir, keep_s
        self._read_caption = read_caption
        self._messages = MessageEraser(documents, sleep=sleep)
        self._now_s, self._sleep, self._randbelow = now_s, sleep, randbelow

    @property
    def index(self) -> SnapshotIndex:
        """What is saved."""
        return self._index

    async def take(self, *, accept: bool = False) -> Snapshot:
        """Take a snapshot, and pin it unless something speaks against it (and `accept` does not overrule that).

        Raises what stands in the way (`TelegramUnavailable`, `IndexUnavailable`, OSError where there is no room for the copy)."""
        identity = await self._index.identity()
        snapshot = Snapshot(uuid.uuid4().hex, self._now_s(), None, 0, 0)
        with work_folder(self._work_dir, "snapshot-") as folder:
            copied = await self._index.copy_to(folder / "index.db")
            compressed = await asyncio.to_thread(self._compress, folder)
            snapshot = replace(
                snapshot,
                objects=copied.objects,
                size=copied.size,
                number=copied.number,
                tombstones=copied.tombstones,
            )
            await self._index.save_snapshot(snapshot)
            for number, piece in enumerate(compressed.pieces):
                part = await self._send_part(snapshot.snapshot_id, number, piece)
                snapshot = replace(snapshot, parts=[*snapshot.parts, part])
                await self._index.save_snapshot(snapshot)
        mark, snapshot = await self._send_root(snapshot, identity, copied, compressed)
        snapshot = await self._pin(mark, snapshot, accept=accept)
        snapshot = replace(snapshot, taken_at_s=self._now_s(), number_after=await self._index.number())
        await self._index.save_snapshot(snapshot)
        if snapshot.pinned:
            await self._unpin_others(snapshot)
        return snapshot

    def _compress(self, folder: Path) -> Compressed:
        try:
            return compress(folder / "index.db", folder, self._next_length)
        finally:
            (folder / "index.db").unlink()

    def _next_length(self) -> int:
        # Documents of equal size are throttled.
        return min(self._documents.document_bytes_max, PART_BYTES_MAX) - 1 - self._randbelow(PADDING_BYTES_MAX)

    async def _send_part(self, snapshot_id: str, number: int, piece: Piece) -> SnapshotPart:
        document_id = uuid.uuid4().hex
        caption = part_caption(PartMark(document_id, snapshot_id, number))
        document = await self._send(DocumentToSend(document_id, piece.path, piece.length, caption))
        return SnapshotPart(document, piece.length, piece.sha256)

    async def _send_root(
        self, snapshot: Snapshot, identity: int, copied: CopiedIndex, compressed: Compressed
    ) -> tuple[RootMark, Snapshot]:
        earlier = [one.root for one in await self._index.snapshots() if one.pinned and one.root]
        root = Root(
            snapshot_id=snapshot.snapshot_id,
            identity=identity,
            number=copied.number,
            taken_at_s=snapshot.began_at_s,
            objects=copied.objects,
            tombstones=copied.tombstones,
            size=copied.size,
            length=compressed.length,
            sha256=compressed.sha256,
            parts=snapshot.parts,
            newest_messages=copied.newest_messages,
            former=earlier[:FORMER_ROOTS_MAX],
        )
        former = (earlier[0].chat_id, earlier[0].message_id) if earlier else None
        mark = RootMark(
            uuid.uuid4().hex, root.snapshot_id, identity, root.number, root.objects, root.tombstones, former
        )
        content = root_bytes(root)
        document = await self._send(DocumentToSend(mark.document_id, content, len(content), root_caption(mark)))
        snapshot = replace(
            snapshot, root=document, roots={place.chat_id: place.message_id for place in places_of(document)}
        )
        await self._index.save_snapshot(snapshot)
        return mark, snapshot

    async def _send(self, document: DocumentToSend) -> Document:
        """Send with patience: a snapshot is in no hurry."""
        for tries_left in reversed(range(SEND_TRIES_MAX)):
            try:
                return await self._documents.send(document)
            except TelegramUnavailable as failure:
                if not tries_left:
                    raise
                await self._sleep(min(max(failure.retry_after_s, 1.0), SEND_PAUSE_S_MAX))
        raise AssertionError("unreachable")

    async def look(self) -> Mapping[int, RootMark]:
        """The roots that are pinned, by chat. A chat that does not answer is left out, and the log says so."""
        found: dict[int, RootMark] = {}
        for chat_id in self._pins.chat_ids:
            try:
                pinned = await self._pins.pinned(chat_id)
            except TelegramUnavailable as failure:
                logger.warning("what is pinned in chat %d is not known: %s", chat_id, failure)
                continue
            try:
                caption = self._read_caption(pinned.caption) if pinned is not None else None
            except WrongSeal as failure:
                logger.warning("what is pinned in chat %d is not ours: %s", chat_id, failure)
                continue
            mark = read_mark(caption.about) if caption is not None else None
            if isinstance(mark, RootMark):
                found[chat_id] = mark
        return found

    async def _pin(self, mark: RootMark, snapshot: Snapshot, *, accept: bool) -> Snapshot:
        assert snapshot.root is not None  # noqa: S101 -- it was sent just now
        reasons = [reason for pinned in (await self.look()).values() if (reason := why_not_pinned(mark, pinned))]
        if reasons and not accept:
            logger.error("snapshot %s is in Telegram but not pinned: %s", snapshot.snapshot_id, reasons[0])
            return replace(snapshot, held_back=reasons[0])
        failure: TelegramUnavailable | None = None
        for chat_id in self._pins.chat_ids:
            # A crash between pinning and here leaves a second pinned message; the newest is the one that counts.
            try:
                place = next((one for one in places_of(snapshot.root) if one.chat_id == chat_id), snapshot.root)
                message_id = await self._pins.pin(chat_id, from_chat_id=place.chat_id, message_id=place.message_id)
            except TelegramUnavailable as error:
                logger.error("snapshot %s cannot be pinned in chat %d: %s", snapshot.snapshot_id, chat_id, error)
                failure = error
                continue
            snapshot = replace(snapshot, roots={**snapshot.roots, chat_id: message_id}, pinned=True)
            await self._index.save_snapshot(snapshot)
        if failure is not None and not snapshot.pinned:
            raise failure
        return snapshot

    async def _unpin_others(self, newest: Snapshot) -> None:
        """Ours only, and where it fails nothing is lost: the newest of several pinned roots counts."""
        for other in await self._index.snapshots():
            if other.snapshot_id == newest.snapshot_id or not other.pinned:
                continue
            for chat_id, message_id in other.roots.items():
                if chat_id not in newest.roots or newest.roots[chat_id] == message_id:
                    continue
                try:
                    await self._pins.unpin(chat_id, message_id)
                except TelegramUnavailable as failure:
                    logger.warning("the former root in chat %d stays pinned: %s", chat_id, failure)

    async def clear_away(self) -> int:
        """Erase the messages of snapshots that are not kept any longer; returns of how many. Where Telegram does not answer,
        the rest waits for the next time."""
        snapshots = await self._index.snapshots()
        kept = [one for one in snapshots if one.taken_at_s is not None and one.pinned][:KEPT_AT_LEAST]
        cleared = 0
        for one in snapshots:
            old_s = self._now_s() - (one.began_at_s if one.taken_at_s is None else one.taken_at_s)
            if one in kept or old_s < (UNFINISHED_S_MAX if one.taken_at_s is None else self._keep_s):
                continue
            try:
                await self._clear(one)
            except TelegramUnavailable as failure:
                logger.warning("old copies of the index are cleared away later: %s", failure)
                break
            cleared += 1
        return cleared

    async def end_all_but(self, newest: Snapshot) -> int:
        """The time of all other snapshots is over: their messages are erased; returns of how many. Raises `TelegramUnavailable`."""
        others = [one for one in await self._index.snapshots() if one.snapshot_id != newest.snapshot_id]
        for one in others:
            await self._clear(one)
        return len(others)

    async def _clear(self, snapshot: Snapshot) -> None:
        """Raises `TelegramUnavailable`."""
        for document in snapshot.documents:
            await self._messages.erase(document)
        await self._index.forget_snapshot(snapshot.snapshot_id)
