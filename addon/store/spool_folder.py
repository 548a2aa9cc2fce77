"""The folder of what waits on this machine's disk to be sent to Telegram: one file a document, named by the document's id.

Rules, which make it safe to be killed at any instant:

- a file is whole and on the disk, with its name, before the index names it;
- a file goes only when the index does not name it any more as the place of its bytes;
- so what lies here without a name in the index was never acknowledged, or is in Telegram, or is not needed: a start clears it.

A file that somebody reads stays until he has done with it, and a while longer for who has looked its document up and not begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from addon.store.ports import TelegramUnavailable
from addon.store.records import Extent

# Between the lookup of an object and the first byte of its reading lies less than this.
GRACE_S = 10.0
# What is full is asked again after this long; a document or two have been sent by then.
RETRY_AFTER_S = 10.0


class SpoolFull(TelegramUnavailable):
    """No more bytes may wait on the local disk, or it takes no more: Telegram has to take some first."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after_s=RETRY_AFTER_S)


class SpoolFolder:
    """The files, of which no more than `bytes_max` bytes may be there. Methods that touch the disk block and belong into a worker
    thread; `holding`, `leave`, `abandon` and what they decide belong to the event loop."""

    def __init__(self, folder: Path, bytes_max: int) -> None:
        self._folder, self.bytes_max = folder, bytes_max
        self._sizes: dict[str, int] = {}
        self._bytes = 0
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()
        self._leaving: dict[str, float] = {}
        self._abandoned: set[str] = set()
        self._handle: int | None = None
        self.changed = asyncio.Event()
        """Set when there is something to send or to clear."""

    @property
    def upload_bytes_max(self) -> int:
        """What one upload may have here before it goes on to Telegram directly: so it cannot lock out the others, and one that is
        larger than all the room ends."""
        return self.bytes_max // 2

    @property
    def is_empty(self) -> bool:
        """Whether nothing is here, nor anything to be cleared."""
        return not (self._sizes or self._leaving or self._abandoned)

    @property
    def bytes_held(self) -> int:
        """How many bytes are here, with those of uploads under way."""
        return self._bytes

    def open(self) -> Mapping[str, int]:
        """Make the folder, and count what an earlier process left in it; returns sizes in bytes by document_id. Raises OSError
        where it cannot be used."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for folder in (self._folder.parent, self._folder.parent.parent):
            _sync_folder(folder)
        found = {}
        with os.scandir(self._folder) as entries:
            for entry in entries:
                found[entry.name] = entry.stat().st_size
        with self._lock:
            self._sizes, self._bytes = dict(found), sum(found.values())
        return found

    def claim(self) -> bool:
        """Say that this process fills the folder, until `close`. True where it is the only one: then, and until `share`, it may
        clear what nobody needs. Raises OSError."""
        self._handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.share()
            return False
        return True

    def share(self) -> None:
        """Let others fill it too."""
        if self._handle is not None:
            fcntl.flock(self._handle, fcntl.LOCK_SH)

    def close(self) -> None:
        """This process does not fill it any more."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def path(self, document_id: str) -> Path:
        """Where the document's bytes are, or will be."""
        return self._folder / document_id

    def reserve(self, document_id: str, count: int) -> None:
        """Make room for `count` more bytes of a document. Raises `SpoolFull`."""
        with self._lock:
            if self._bytes + count > self.bytes_max:
                raise SpoolFull(f"{self._bytes} bytes wait on the local disk already, of at most {self.bytes_max}")
            self._sizes[document_id] = self._sizes.get(document_id, 0) + count
            self._bytes += count

    def sync(self) -> None:
        """Have the names of the files on the disk. Raises OSError."""
        _sync_folder(self._folder)

    def discard(self, document_id: str) -> None:
        """Remove a file that nobody needs, if it is there. Raises OSError where the disk refuses."""
        (self._folder / document_id).unlink(missing_ok=True)
        with self._lock:
            self._bytes -= self._sizes.pop(document_id, 0)

    @contextlib.contextmanager
    def holding(self, extents: Sequence[Extent]) -> Iterator[None]:
        """Files of these extents stay where they are meanwhile."""
        held = [extent.document.document_id for extent in extents if extent.document.is_spooled]
        self._held.update(held)
        try:
            yield
        finally:
            self._held.subtract(held)
            for document_id in held:
                if not self._held[document_id]:
                    del self._held[document_id]

    def abandon(self, document_ids: Collection[str]) -> None:
        """The upload of these has ended without being acknowledged; whether the index names them nevertheless is to be asked."""
        self._abandoned.update(document_ids)
        self.changed.set()

    def abandoned(self) -> Sequence[str]:
        """What was abandoned and not yet judged by `leave` or `keep`."""
        return sorted(self._abandoned)

    def keep(self, document_ids: Collection[str]) -> None:
        """The index names them: they were not abandoned after all."""
        self._abandoned.difference_update(document_ids)

    def leave(self, document_ids: Collection[str], *, now_s: float) -> None:
        """The index does not name these any more: they go when nobody reads them. `now_s` is that of the clock given to
        `leavable`."""
        for document_id in document_ids:
            self._leaving.setdefault(document_id, now_s if document_id in self._abandoned else now_s + GRACE_S)
        self._abandoned.difference_update(document_ids)

    def leavable(self, *, now_s: float) -> Sequence[str]:
        """Which of those may go now."""
        return [
            document_id
            for document_id, at_s in self._leaving.items()
            if at_s <= now_s and document_id not in self._held
        ]

    def left(self, document_id: str) -> None:
        """It was discarded."""
        self._leaving.pop(document_id, None)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
