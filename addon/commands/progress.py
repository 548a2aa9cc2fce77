"""How long commands say how far they are: a live line on a terminal, plain lines elsewhere, JSON lines for machines.

    progress = Progress("verify", expected=Amount(5000, 1 << 30), as_json=False)
    async with progress.shown():
        progress.did(size=1024)             # one object, its bytes
        progress.did(failed=True)           # one that failed

Lines that are said meanwhile (`output.say`) appear above the live one.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from addon.commands.output import console, duration_text, say, say_json, size_text
from addon.store.migration import Amount

# A live line moves so often, in seconds; lines of a log, and for machines, come less often.
LIVE_INTERVAL_S = 0.25
LINE_INTERVAL_S = 5.0

# The rate is that of the last so many seconds, so that it follows a limit that sets in.
RATE_WINDOW_S = 60.0
RATE_SAMPLES_MAX = 256

BAR_CELLS = 24


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How far a command is. `expected` is what it will have done in the end, None where nobody knows; `time_left_s` likewise."""

    what: str
    done: Amount
    failed: int
    expected: Amount | None
    elapsed_s: float
    objects_per_s: float
    bytes_per_s: float
    time_left_s: float | None
    noun: str = "objects"

    def as_json(self) -> Mapping[str, Any]:
        """For machines: sizes in bytes, times in seconds."""
        return {
            "event": "progress",
            "command": self.what,
            "objects": self.done.objects,
            "size": self.done.size,
            "failed": self.failed,
            "expected_objects": None if self.expected is None else self.expected.objects,
            "expected_size": None if self.expected is None else self.expected.size,
            "elapsed_s": round(self.elapsed_s, 3),
            "objects_per_s": round(self.objects_per_s, 3),
            "bytes_per_s": round(self.bytes_per_s, 1),
            "time_left_s": None if self.time_left_s is None else round(self.time_left_s, 1),
        }

    def line(self) -> str:
        """For people."""
        objects, size = f"{self.done.objects}", size_text(self.done.size)
        if self.expected is not None:
            objects = f"{objects}/{self.expected.objects}"
            size = f"{size} of {size_text(self.expected.size)}" if self.expected.size else size
        parts = [
            f"{self.what}: {objects} {self.noun}",
            size,
            f"{self.objects_per_s:.1f} {self.noun}/s, {size_text(self.bytes_per_s)}/s",
            "time left unknown" if self.time_left_s is None else f"{duration_text(self.time_left_s)} left",
            f"{self.failed} failed",
        ]
        return ", ".join(parts)

    def bar(self) -> str:
        """The share that is done, as cells."""
        if self.expected is None or not self.expected.objects:
            return ""
        filled = BAR_CELLS * min(self.done.objects, self.expected.objects) // self.expected.objects
        return f"{'█' * filled}{'░' * (BAR_CELLS - filled)} "


class Progress:
    """What a command has done so far, and its display. Use it on one event loop.

    `noun` is what is counted, for people. `interval_s` (else the one that suits the form) and the clock `now_s` are arguments, so
    that a test need not wait; `out` is where people read.
    """

    def __init__(
        self,
        what: str,
        *,
        expected: Amount | None,
        as_json: bool,
        noun: str = "objects",
        interval_s: float | None = None,
        now_s: Callable[[], float] = time.monotonic,
        out: Console = console,
    ) -> None:
        self.what, self.expected, self._noun = what, expected, noun
        self._as_json, self._out, self._now_s = as_json, out, now_s
        self._is_live = out.is_terminal and not as_json
        self._interval_s = interval_s or (LIVE_INTERVAL_S if self._is_live else LINE_INTERVAL_S)
        self._objects = self._size = self._failed = 0
        self._began_at_s = now_s()
        self._samples: deque[tuple[float, int, int]] = deque([(self._began_at_s, 0, 0)], maxlen=RATE_SAMPLES_MAX)
        self._live: Live | None = None

    def did(self, objects: int = 1, *, size: int = 0, failed: bool = False) -> None:
        """So many more objects are done with, and so many bytes; `failed` counts them as failures too."""
        self._objects += objects
        self._size += size
        if failed:
            self._failed += objects

    def expect(self, expected: Amount | None) -> None:
        """By now it is known how much there will be."""
        self.expected = expected

    def snapshot(self) -> Snapshot:
        """How far it is now."""
        now_s = self._now_s()
        if now_s > self._samples[-1][0]:
            self._samples.append((now_s, self._objects, self._size))
        while len(self._samples) > 2 and self._samples[1][0] <= now_s - RATE_WINDOW_S:
            self._samples.popleft()
        since_s, objects, size = self._samples[0]
        passed_s = max(now_s - since_s, 1e-9)
        objects_per_s, bytes_per_s = (self._objects - objects) / passed_s, (self._size - size) / passed_s
        return Snapshot(
            what=self.what,
            done=Amount(self._objects, self._size),
            failed=self._failed,
            expected=self.expected,
            elapsed_s=now_s - self._began_at_s,
            objects_per_s=objects_per_s,
            bytes_per_s=bytes_per_s,
            time_left_s=time_left_s(
                Amount(self._objects, self._size), self.expected, objects_per_s=objects_per_s, bytes_per_s=bytes_per_s
            ),
            noun=self._noun,
        )

    @contextlib.asynccontextmanager
    async def shown(self) -> AsyncGenerator[None, None]:
        """Show it until the block ends, and once more then."""
        with contextlib.ExitStack() as stack:
            if self._is_live:
                self._live = stack.enter_context(Live(Text(), console=self._out, auto_refresh=False, transient=False))
            showing = asyncio.create_task(self._show_again_and_again())
            try:
                yield
            finally:
                showing.cancel()
                await asyncio.wait([showing])
                self.show()
                self._live = None

    async def _show_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            self.show()

    def show(self) -> None:
        """Say how far it is, in the form that was chosen."""
        snapshot = self.snapshot()
        if self._as_json:
            say_json(snapshot.as_json())
        elif self._live is not None:
            self._live.update(Text(f"{snapshot.bar()}{snapshot.line()}", overflow="ellipsis", no_wrap=True))
            self._live.refresh()
        else:
            say(snapshot.line())


def time_left_s(done: Amount, expected: Amount | None, *, objects_per_s: float, bytes_per_s: float) -> float | None:
    """How long the rest takes at these rates, by objects or by bytes, whichever takes longer; None where nobody can tell."""
    if expected is None:
        return None
    left = Amount(max(0, expected.objects - done.objects), max(0, expected.size - done.size))
    if not left.objects:
        return 0.0
    if objects_per_s <= 0:
        return None
    by_bytes = left.size / bytes_per_s if bytes_per_s > 0 else 0.0
    return max(left.objects / objects_per_s, by_bytes)
