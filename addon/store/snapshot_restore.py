"""From a chat to the newest snapshot that can be read whole, and to the file that it holds."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from addon.store.captions import Caption
from addon.store.chat_scan import ChatScan, MessageUnreadable
from addon.store.ports import DocumentCorrupt, DocumentLost, Documents, KeyMissing, TelegramUnavailable
from addon.store.records import Document
from addon.store.seal_format import content_bytes
from addon.store.sealing import WrongSeal
from addon.store.snapshot_files import put_together
from addon.store.snapshot_format import Root, RootMark, Snapshot, SnapshotPart, places_of, read_mark, read_root
from addon.store.snapshots import Pins

logger = logging.getLogger(__name__)

# So many roots are tried, from the newest to older ones.
ROOTS_MAX = 12
ROOT_BYTES_MAX = 16 << 20
PARTS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Candidate:
    """A root that may be read: what its caption says, and its document."""

    mark: RootMark
    document: Document


@dataclass(frozen=True, slots=True)
class Restored:
    """A snapshot that was read: its root, what the index is to remember of it, and the file of the index."""

    root: Root
    snapshot: Snapshot
    path: Path


class SnapshotBroken(Exception):
    """It cannot be read whole. The text says why."""


class SnapshotSource:
    """Finds and reads snapshots. `read_caption` raises as `captions.open_caption` does."""

    def __init__(
        self,
        scan: ChatScan,
        pins: Pins,
        documents: Documents,
        read_caption: Callable[[str], Caption | None],
    ) -> None:
        self._scan, self._pins, self._documents, self._read_caption = scan, pins, documents, read_caption

    async def pinned(self) -> list[Candidate]:
        """The roots that are pinned in the chats, the newest first. Raises `TelegramUnavailable` where no chat can be asked."""
        found: list[Candidate] = []
        failure: TelegramUnavailable | None = None
        asked = 0
        for chat_id in self._pins.chat_ids:
            try:
                pinned = await self._pins.pinned(chat_id)
            except TelegramUnavailable as error:
                logger.warning("what is pinned in chat %d is not known: %s", chat_id, error)
                failure = error
                continue
            asked += 1
            if pinned is not None and (candidate := self._candidate(pinned.caption, pinned.document)):
                found.append(candidate)
        if failure is not None and not asked:
            raise failure
        return sorted(found, key=lambda one: one.mark.number, reverse=True)

    def _candidate(self, text: str, document: Document | None) -> Candidate | None:
        try:
            caption = self._read_caption(text)
        except WrongSeal as error:
            logger.warning("a message's caption cannot be read: %s", error)
            return None
        mark = read_mark(caption.about) if caption is not None else None
        if caption is None or document is None or not isinstance(mark, RootMark):
            return None
        ours = replace(
            document,
            document_id=mark.document_id,
            key_id=caption.key_id,
            segment_bytes=caption.segment_bytes,
        )
        return Candidate(mark, ours)

    async def restore(self, pinned: list[Candidate], folder: Path) -> Restored | None:
        """The newest snapshot that can be read whole, beginning with those that are pinned; None where there is none. Its file lies
        in `folder`. Raises `KeyMissing` where a root is sealed under a key that is not there."""
        waiting, tried = list(pinned), set[str]()
        while waiting and len(tried) < ROOTS_MAX:
            candidate = waiting.pop(0)
            if candidate.document.document_id in tried:
                continue
            tried.add(candidate.document.document_id)
            root: Root | None = None
            try:
                root = await self.root_of(candidate)
                return await self._restored(root, candidate, folder)
            except SnapshotBroken as error:
                logger.warning("snapshot %s cannot be used: %s", candidate.mark.snapshot_id, error)
            waiting += await self._former(candidate, root)
        return None

    async def root_of(self, candidate: Candidate) -> Root:
        """The root document. Raises `SnapshotBroken`."""
        try:
            length = content_bytes(candidate.document)
            if length > ROOT_BYTES_MAX:
                raise SnapshotBroken("its root document is too large")
            return read_root(await self._of_any_place(candidate.document, length))
        except KeyMissing:
            raise
        except (ValueError, DocumentLost, DocumentCorrupt) as error:
            raise SnapshotBroken(str(error)) from error

    async def content(self, document: Document, offset: int, length: int) -> bytes:
        """Some bytes of a document."""
        async with contextlib.aclosing(self._documents.read(document, offset=offset, length=length)) as pieces:
            return b"".join([piece async for piece in pieces])

    async def _of_any_place(self, document: Document, length: int) -> bytes:
        """The first bytes of a document, from whichever of its messages has them."""
        *others, last = places_of(document)
        for place in others:
            try:
                return await self.content(place, 0, length)
            except KeyMissing:
                raise
            except (TelegramUnavailable, DocumentLost, DocumentCorrupt) as error:
                logger.warning("document %s is read from another chat: %s", document.document_id, error)
        return await self.content(last, 0, length)

    async def _restored(self, root: Root, candidate: Candidate, folder: Path) -> Restored:
        slots = asyncio.Semaphore(PARTS_AT_ONCE)

        async def fetch(number: int, part: SnapshotPart) -> Path:
            async with slots:
                return await self._fetch(part, folder / f"{number}.part")

        fetches = [asyncio.create_task(fetch(number, part)) for number, part in enumerate(root.parts)]
        try:
            paths = await asyncio.gather(*fetches)
            path = folder / "index.db"
            await asyncio.to_thread(_put_together, paths, path, root.sha256)
        finally:
            for one in fetches:
                one.cancel()
            await asyncio.gather(*fetches, return_exceptions=True)
            for number in range(len(root.parts)):
                (folder / f"{number}.part").unlink(missing_ok=True)
        return Restored(root, _remembered(root, candidate), path)

    async def _fetch(self, part: SnapshotPart, path: Path) -> Path:
        try:
            content = await self._of_any_place(part.document, part.length)
        except KeyMissing:
            raise
        except (ValueError, DocumentLost, DocumentCorrupt) as error:
            raise SnapshotBroken(str(error)) from error
        if hashlib.sha256(content).hexdigest() != part.sha256:
            raise SnapshotBroken(f"document {part.document.document_id} has other bytes than were sent")
        await asyncio.to_thread(path.write_bytes, content)
        return path

    async def _former(self, candidate: Candidate, root: Root | None) -> list[Candidate]:
        """The roots before this one: those that it names, else the one that its caption names."""
        if root is not None:
            return [Candidate(_mark_of(root, document), document) for document in root.former]
        if candidate.mark.former is None:
            return []
        try:
            message = await self._scan.read(*candidate.mark.former)
        except MessageUnreadable as error:
            logger.warning("the root before it cannot be read: %s", error)
            return []
        former = self._candidate(message.caption, message.document) if message is not None else None
        return [former] if former is not None else []


def _put_together(paths: list[Path], path: Path, sha256: str) -> None:
    try:
        with path.open("wb") as file:
            put_together(paths, file, sha256=sha256)
    except ValueError as error:
        raise SnapshotBroken(str(error)) from error


def _mark_of(root: Root, document: Document) -> RootMark:
    """What is known of a former root before it is read: little."""
    return RootMark(document.document_id, f"before {root.snapshot_id}", root.identity, 0, 0, 0)


def _remembered(root: Root, candidate: Candidate) -> Snapshot:
    document = candidate.document
    return Snapshot(
        root.snapshot_id,
        root.taken_at_s,
        root.taken_at_s,
        root.objects,
        root.size,
        number=root.number,
        number_after=root.number,
        tombstones=root.tombstones,
        parts=root.parts,
        root=document,
        roots={document.chat_id: document.message_id},
        pinned=True,
    )
