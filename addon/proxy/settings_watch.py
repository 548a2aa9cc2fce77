"""Looks at the settings file while the proxy runs, and hands on what may change without a restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from addon.config import Config, ConfigError, load_config, needing_restart

logger = logging.getLogger(__name__)

# How often the file is looked at, in seconds. It is read only when its time, size or place on the disk has changed.
LOOK_S = 2.0

_Looks = tuple[int, int, int] | None


class SettingsWatch:
    """Calls `take_over` with the settings of a changed file that is right as a whole; a wrong one changes nothing.

    `running` are the settings that the proxy started with, from the file at `path`, with `environ` as the environment.
    """

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str],
        running: Config,
        take_over: Callable[[Config], None],
        *,
        look_s: float | None = None,
    ) -> None:
        self._path, self._environ, self._running = path, environ, running
        self._take_over = take_over
        self._look_s = LOOK_S if look_s is None else look_s
        # Nobody knows what the file was like when the settings were read, so it is read once more.
        self._looked: _Looks = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def look(self) -> None:
        """Look once."""
        looks = await asyncio.to_thread(self._look)
        if looks == self._looked:
            return
        self._looked = looks
        try:
            found = await asyncio.to_thread(load_config, self._path, self._environ)
        except ConfigError as error:
            logger.error("the changed settings are wrong, and nothing of them is taken over: %s", error)
            return
        self._take_over(found)
        if needing := list(needing_restart(self._running, found)):
            logger.warning("the settings have changed; only a restart takes over: %s", ", ".join(needing))

    async def _follow(self) -> None:
        while True:
            try:
                await self.look()
            except Exception:  # the task must outlive a defect
                logger.exception("the settings could not be looked at")
            await asyncio.sleep(self._look_s)

    def _look(self) -> _Looks:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
