"""One stand-in per folder: a second one would sweep away what the first is receiving."""

import fcntl
import os
from pathlib import Path


class FolderLock:
    """Holds the folder until `release`, or until the process ends, however it ends. Raises BlockingIOError where another does."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise BlockingIOError(f"another stand-in uses the folder {folder}") from None

    def release(self) -> None:
        os.close(self._descriptor)
