"""mitmproxy's own commands: what someone at its console can ask of tgstore.

    tgstore.status           where all buckets stand on their way
    tgstore.status BUCKET    where one does

mitmproxy runs a command within its event loop and shows what it returns. So the index is read in a thread with an event loop and a
connection of its own; the proxy waits for it, no longer than `STATUS_WAIT_S_MAX`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from mitmproxy import command, exceptions

from addon.config import Config
from addon.store.ports import StoreError

# Requests wait as long as somebody waits for the status, in seconds.
STATUS_WAIT_S_MAX = 5.0

ReadStatus = Callable[[Config, Sequence[str]], Coroutine[Any, Any, str]]


class Commands:
    """The commands. `settings` gives the running settings, None where there are none; `read` the text about some buckets."""

    name = "tgstore_commands"

    def __init__(self, settings: Callable[[], Config | None], read: ReadStatus) -> None:
        self._settings, self._read = settings, read

    @command.command("tgstore.status")  # type: ignore[untyped-decorator]  # mitmproxy's is not typed
    def status(self, bucket: str = "") -> str:
        """Where buckets stand: what has moved, waits, failed or was skipped and why, and what was verified when."""
        config = self._settings()
        if config is None:
            raise exceptions.CommandError("tgstore has no settings: look into the log")
        known = [configured.name for configured in config.buckets]
        if bucket and bucket not in known:
            raise exceptions.CommandError(f"there is no bucket {bucket} in the settings; there are: {', '.join(known)}")
        try:
            return _in_a_thread(self._read(config, [bucket] if bucket else known))
        except TimeoutError:
            raise exceptions.CommandError(f"the index did not answer within {STATUS_WAIT_S_MAX:.0f} s") from None
        except StoreError as failure:
            raise exceptions.CommandError(str(failure)) from None


def _in_a_thread(work: Coroutine[Any, Any, str]) -> str:
    """Raises what `work` raises, and TimeoutError where it takes too long; it ends then by itself."""
    result: concurrent.futures.Future[str] = concurrent.futures.Future()

    def run() -> None:
        try:
            result.set_result(asyncio.run(work))
        except BaseException as failure:  # noqa: BLE001 -- it is carried to who waits
            result.set_exception(failure)

    threading.Thread(target=run, name="tgstore-status", daemon=True).start()
    return result.result(STATUS_WAIT_S_MAX)
