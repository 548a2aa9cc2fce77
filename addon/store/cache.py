"""Blocks of documents close at hand: in memory, and on disk. What is kept is decided by `keeping.py`.

A block never changes (documents are immutable and have ids of their own), so nothing here can be stale; whoever reads from a
cache still checks the hash, because a disk may lie.
"""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
import re
import threading
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

from addon.store.keeping import Keeping

BlockKey = tuple[str, int, int]
"""(document_id, offset in the document, length): two objects may share a document and cut it differently."""

# A document is seldom kept in more pieces than this; beyond it only a piece's own name leads to it.
PIECES_LOOKED_THROUGH_MAX = 64
_ASIDE = ".new"
_FILE_NAME = re.compile(r"(.+)-([0-9]{1,18})-([0-9]{1,18})")


class MemoryCache:
    """Blocks in memory, up to `bytes_max` bytes. Used from the event loop only."""

    def __init__(self, bytes_max: int) -> None:
        self._keeping: Keeping[BlockKey] = Keeping(bytes_max)
        self._blocks: dict[BlockKey, bytes] = {}

    @property
    def bytes_held(self) -> int:
        return self._keeping.bytes_held

    def get(self, key: BlockKey) -> bytes | None:
        """The block, or None."""
        block = self._blocks.get(key)
        if block is not None:
            self._keeping.hit(key)
        return block

    def put(self, key: BlockKey, block: bytes) -> None:
        """Keep a block; others go for it."""
        if key in self._blocks:
            return
        self._blocks[key] = block
        for gone in self._keeping.add(key, len(block)):
            del self._blocks[gone]

    def forget(self, key: BlockKey) -> None:
        """Keep this block no longer."""
        if self._blocks.pop(key, None) is not None:
            self._keeping.remove(key)

    def forget_documents(self, document_ids: Collection[str]) -> None:
        """Drop every block of these documents."""
        for key in [key for key in self._blocks if key[0] in document_ids]:
            self.forget(key)


class DiskCache:
    """Pieces of documents on disk, up to `bytes_max` bytes: one file a piece, named by document, offset and length, never by
    anything that a client chose. A piece may be one block, or the beginning of a document that many blocks lie in.

    A file appears under its name only when it is complete (written aside, then renamed), and one whose size is not that of its
    name does not count, so a killed process leaves no half piece. `holds` is quick; the other methods block and belong into a
    worker thread. All may be called from several threads at once. A disk that refuses costs a download and nothing else, so `put`
    returns False then, and `get` None.
    """

    def __init__(self, folder: Path, bytes_max: int) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._keeping: Keeping[BlockKey] = Keeping(bytes_max)
        self._of_document: dict[str, set[BlockKey]] = {}

    @property
    def bytes_held(self) -> int:
        return self._keeping.bytes_held

    def open(self) -> None:
        """Make the folder, and learn what an earlier process left in it. Raises OSError where it cannot be used."""
        self._folder.mkdir(parents=True, exist_ok=True)
        found = []
        for path in self._folder.glob("*/*"):
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                key = _key_of(path.name)
                if key is None or key[2] != stat.st_size or self._path(key) != path:
                    path.unlink()
                else:
                    found.append((stat.st_mtime, key))
        with self._lock:
            for _, key in sorted(found):
                self._add(key, proven=True)

    def holds(self, key: BlockKey) -> bool:
        """Whether `get` would find the block, unless the disk fails."""
        with self._lock:
            return self._piece(key) is not None

    def get(self, key: BlockKey) -> bytes | None:
        """The block as the disk gives it (to be checked), or None."""
        with self._lock:
            piece = self._piece(key)
            if piece is None:
                return None
            self._keeping.hit(piece)
        try:
            with self._path(piece).open("rb", buffering=0) as file:
                file.seek(key[1] - piece[1])
                return file.read(key[2])
        except OSError:
            self.forget(key)
            return None

    def put(self, key: BlockKey, block: bytes) -> bool:
        """Keep a block; False where it was not kept."""
        if len(block) > self._keeping.bytes_max:
            return False
        aside = self.aside(key[0])
        aside.write(block)
        return aside.keep(key[1])

    def aside(self, document_id: str) -> Aside:
        """Begin to write a piece of a document."""
        return Aside(self, self._folder / document_id[:2], document_id)

    def forget(self, key: BlockKey) -> None:
        """Drop what `get` gave for this block: it proved wrong or unreadable."""
        with self._lock:
            piece = self._piece(key)
            if piece is not None:
                self._remove(piece)

    def forget_document(self, document_id: str) -> None:
        """Drop every piece of a document, also what another process, or none, knows of."""
        folder = self._folder / document_id[:2]
        with self._lock:
            for piece in tuple(self._of_document.get(document_id, ())):
                self._remove(piece)
            for path in folder.glob(f"{glob.escape(document_id)}-*"):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)

    def take(self, aside: Path, key: BlockKey) -> None:
        """Take in a complete file; what lay in the same place goes. Raises OSError."""
        # Files come and go under the lock: else one that is dropped while it is written anew would be counted and not there.
        with self._lock:
            os.replace(aside, self._path(key))
            for other in [other for other in self._of_document.get(key[0], ()) if _covers(key, other)]:
                self._keeping.remove(other)
                self._unnote(other)
                if other != key:
                    self._unlink(other)
            self._add(key)

    def _add(self, key: BlockKey, *, proven: bool = False) -> None:
        self._of_document.setdefault(key[0], set()).add(key)
        for gone in self._keeping.add(key, key[2], proven=proven):
            self._unnote(gone)
            self._unlink(gone)

    def _remove(self, piece: BlockKey) -> None:
        self._keeping.remove(piece)
        self._unnote(piece)
        self._unlink(piece)

    def _unnote(self, piece: BlockKey) -> None:
        pieces = self._of_document[piece[0]]
        pieces.discard(piece)
        if not pieces:
            del self._of_document[piece[0]]

    def _piece(self, key: BlockKey) -> BlockKey | None:
        """The piece that is the block, or holds it."""
        if key in self._keeping:
            return key
        pieces = itertools.islice(self._of_document.get(key[0], ()), PIECES_LOOKED_THROUGH_MAX)
        return next((piece for piece in pieces if _covers(piece, key)), None)

    def _unlink(self, piece: BlockKey) -> None:
        with contextlib.suppress(OSError):
            self._path(piece).unlink(missing_ok=True)

    def _path(self, key: BlockKey) -> Path:
        document_id, offset, length = key
        return self._folder / document_id[:2] / f"{document_id}-{offset}-{length}"


class Aside:
    """A piece of a document on its way into the disk cache. Methods block; after a failure they do nothing. `keep` or `drop` ends
    it, also while another thread still writes: what that writes does not count any more."""

    def __init__(self, disk: DiskCache, folder: Path, document_id: str) -> None:
        self._disk, self._document_id = disk, document_id
        self._path = folder / f"{uuid.uuid4().hex}{_ASIDE}"
        self._file: BinaryIO | None = None
        self._length = 0
        self._lock = threading.Lock()
        with contextlib.suppress(OSError):
            folder.mkdir(exist_ok=True)
            self._file = self._path.open("xb", buffering=0)

    def write(self, data: bytes) -> None:
        """The next bytes."""
        with self._lock:
            if self._file is None:
                return
            try:
                written = self._file.write(data)
            except OSError:
                written = None
            if written == len(data):
                self._length += len(data)
            else:
                self._drop()

    def keep(self, offset: int) -> bool:
        """Give the piece its place in the cache, at `offset` of the document; False where it is not kept."""
        with self._lock:
            if self._file is None:
                return False
            self._file.close()
            self._file = None
        try:
            self._disk.take(self._path, (self._document_id, offset, self._length))
        except OSError:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            return False
        return True

    def drop(self) -> None:
        """Throw it away."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._file is None:
            return
        self._file.close()
        self._file = None
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def _covers(outer: BlockKey, inner: BlockKey) -> bool:
    """Whether `inner` lies in `outer`; both are of one document."""
    return outer[1] <= inner[1] and inner[1] + inner[2] <= outer[1] + outer[2]


def _key_of(file_name: str) -> BlockKey | None:
    match = _FILE_NAME.fullmatch(file_name)
    return (match[1], int(match[2]), int(match[3])) if match else None
