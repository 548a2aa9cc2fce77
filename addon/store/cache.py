"""Blocks of documents close at hand: in memory, and on disk.

A block never changes (documents are immutable and have ids of their own), so nothing here can be stale; whoever reads from a
cache still checks the hash, because a disk may lie.
"""

from __future__ import annotations

import contextlib
import glob
import os
import threading
import uuid
from collections import OrderedDict
from collections.abc import Collection
from pathlib import Path

BlockKey = tuple[str, int, int]
"""(document_id, offset in the document, length): two objects may share a document and cut it differently."""


class MemoryCache:
    """The blocks used last, up to `bytes_max` bytes. Used from the event loop only."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._blocks: OrderedDict[BlockKey, bytes] = OrderedDict()
        self.bytes_held = 0

    def get(self, key: BlockKey) -> bytes | None:
        """The block, now the one used last, or None."""
        block = self._blocks.get(key)
        if block is not None:
            self._blocks.move_to_end(key)
        return block

    def put(self, key: BlockKey, block: bytes) -> None:
        """Keep a block; the ones unused for longest go."""
        if len(block) > self._bytes_max or key in self._blocks:
            return
        self._blocks[key] = block
        self.bytes_held += len(block)
        while self.bytes_held > self._bytes_max:
            _, old = self._blocks.popitem(last=False)
            self.bytes_held -= len(old)

    def forget_documents(self, document_ids: Collection[str]) -> None:
        """Drop every block of these documents."""
        for key in [key for key in self._blocks if key[0] in document_ids]:
            self.bytes_held -= len(self._blocks.pop(key))


class DiskCache:
    """The same on disk: one file a block, named by document and offset, never by anything that a client chose.

    A file appears under its name only when it is complete (written aside, then renamed), so a killed process leaves no half
    block. Methods block and belong into a worker thread; they may be called from several at once. A disk that refuses costs a
    download and nothing else, so `put` returns False then, and `get` None.
    """

    def __init__(self, folder: Path, bytes_max: int) -> None:
        self._folder, self._bytes_max = folder, bytes_max
        self._lock = threading.Lock()
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self.bytes_held = 0

    def open(self) -> None:
        """Make the folder, and learn what an earlier process left in it. Raises OSError where it cannot be used."""
        self._folder.mkdir(parents=True, exist_ok=True)
        found = []
        for path in self._folder.glob("*/*"):
            if path.suffix == ".new":
                path.unlink(missing_ok=True)
                continue
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                found.append((stat.st_mtime, f"{path.parent.name}/{path.name}", stat.st_size))
        for _, name, size in sorted(found):
            self._sizes[name] = size
            self.bytes_held += size
        self._evict()

    def get(self, key: BlockKey) -> bytes | None:
        """The block as the disk gives it (to be checked), or None."""
        name = self._name(key)
        with self._lock:
            if name not in self._sizes:
                return None
            self._sizes.move_to_end(name)
        try:
            return (self._folder / name).read_bytes()
        except OSError:
            self.forget(key)
            return None

    def put(self, key: BlockKey, block: bytes) -> bool:
        """Keep a block; False where it was not kept."""
        name = self._name(key)
        if len(block) > self._bytes_max:
            return False
        path = self._folder / name
        aside = path.with_name(f"{uuid.uuid4().hex}.new")
        try:
            path.parent.mkdir(exist_ok=True)
            aside.write_bytes(block)
            # Files come and go under the lock: else one that is evicted while it is written anew would be counted and not there.
            with self._lock:
                os.replace(aside, path)
                self.bytes_held += len(block) - self._sizes.pop(name, 0)
                self._sizes[name] = len(block)
        except OSError:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
            return False
        self._evict()
        return True

    def forget(self, key: BlockKey) -> None:
        """Drop a block that proved wrong or unreadable."""
        name = self._name(key)
        with self._lock:
            self.bytes_held -= self._sizes.pop(name, 0)
            self._unlink(name)

    def forget_document(self, document_id: str) -> None:
        """Drop every block of a document, also what another process, or none, knows of."""
        folder = self._folder / document_id[:2]
        with self._lock:
            for path in folder.glob(f"{glob.escape(document_id)}-*"):
                self.bytes_held -= self._sizes.pop(f"{folder.name}/{path.name}", 0)
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)

    def _evict(self) -> None:
        while True:
            with self._lock:
                if self.bytes_held <= self._bytes_max or not self._sizes:
                    return
                name, size = self._sizes.popitem(last=False)
                self.bytes_held -= size
                self._unlink(name)

    def _unlink(self, name: str) -> None:
        with contextlib.suppress(OSError):
            (self._folder / name).unlink(missing_ok=True)

    @staticmethod
    def _name(key: BlockKey) -> str:
        document_id, offset, length = key
        return f"{document_id[:2]}/{document_id}-{offset}-{length}"
