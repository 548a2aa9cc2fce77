"""How far a long command is, on a terminal, in a log and for machines."""

from __future__ import annotations

import asyncio
import io
import json

import pytest
from rich.console import Console

from addon.commands.progress import RATE_WINDOW_S, Progress, time_left_s
from addon.store.migration import Amount
from tests.standin_fixture import SettableClock


def test_a_line_has_objects_bytes_rate_time_left_and_failures() -> None:
    clock = SettableClock()
    progress = Progress("verify", expected=Amount(10, 10 << 20), as_json=False, now_s=clock)
    clock.now += 2
    for _ in range(3):
        progress.did(size=1 << 20)
    progress.did(failed=True)
    assert progress.snapshot().line() == (
        "verify: 4/10 objects, 3.0 MiB of 10.0 MiB, 2.0 objects/s, 1.5 MiB/s, 5 s left, 1 failed"
    )


def test_the_rate_is_that_of_the_last_minute() -> None:
    clock = SettableClock()
    progress = Progress("export", expected=Amount(200, 0), as_json=False, now_s=clock)
    progress.did(100)
    for _ in range(int(RATE_WINDOW_S) * 2):
        clock.now += 1
        progress.snapshot()
    assert progress.snapshot().objects_per_s == 0
    assert progress.snapshot().time_left_s is None
    progress.did(60)
    assert progress.snapshot().objects_per_s == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize(
    ("done", "expected", "left_s"),
    [
        (Amount(1, 10), None, None),
        (Amount(5, 50), Amount(5, 50), 0.0),
        (Amount(5, 50), Amount(15, 50), 5.0),
        (Amount(5, 50), Amount(6, 350), 30.0),
        (Amount(7, 90), Amount(5, 50), 0.0),
    ],
)
def test_the_time_left_is_by_objects_or_bytes_whichever_is_longer(
    done: Amount, expected: Amount | None, left_s: float | None
) -> None:
    assert time_left_s(done, expected, objects_per_s=2.0, bytes_per_s=10.0) == left_s


async def test_lines_come_by_themselves_and_once_more_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("migrate", expected=None, as_json=True, interval_s=0.001)
    lines: list[str] = []
    async with progress.shown():
        async with asyncio.timeout(10):
            while len(lines) < 2:
                await asyncio.sleep(0)
                lines += capsys.readouterr().out.splitlines()
        progress.did(size=5)
    lines += capsys.readouterr().out.splitlines()
    first, last = json.loads(lines[0]), json.loads(lines[-1])
    assert (first["event"], first["objects"], first["expected_objects"]) == ("progress", 0, None)
    assert (last["objects"], last["size"], last["failed"], last["time_left_s"]) == (1, 5, 0, None)


async def test_a_terminal_has_one_live_line_with_a_bar() -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=200)
    progress = Progress("verify", expected=Amount(2, 0), as_json=False, interval_s=60, out=terminal)
    async with progress.shown():
        progress.did()
        progress.show()
        terminal.print("said meanwhile")
    assert "█" * 12 + "░" * 12 in screen.getvalue()
    assert "said meanwhile" in screen.getvalue()
    assert "verify: 1/2 objects" in screen.getvalue()
