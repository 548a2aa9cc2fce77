"""Folders that go with the process that made them, also where it was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def work_folder(within: Path, prefix: str) -> Iterator[Path]:
    """A folder of one's own, whose name begins with `prefix`; it is removed at the end.

    It is locked while it is in use, so that those of processes that were killed can be told, and are cleared away here.
    """
    within.mkdir(parents=True, exist_ok=True)
    for left_over in within.glob(f"{prefix}*"):
        with contextlib.suppress(OSError), _locked(left_over):
            shutil.rmtree(left_over)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=within) as made, _locked(Path(made)):
        yield Path(made)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Raises OSError where another process has it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)
