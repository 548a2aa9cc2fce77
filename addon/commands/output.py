"""How commands speak: coloured lines on a terminal, plain ones elsewhere, one JSON document or one a line for machines."""

from __future__ import annotations

import json
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

console = Console(highlight=False, soft_wrap=True)
errors = Console(highlight=False, soft_wrap=True, stderr=True)

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def fail(message: str) -> typer.Exit:
    """Say what is wrong; raise what this returns, and the command ends with status 1."""
    errors.print(escape(message), style="red")
    return typer.Exit(1)


def say(line: str) -> None:
    """One line, as it is."""
    console.print(escape(line))


def say_json(document: Any) -> None:
    """One JSON document in one line."""
    typer.echo(json.dumps(document, ensure_ascii=False))


def printable(key: str) -> str:
    """A key that cannot break a line or speak to the terminal."""
    return key.encode("unicode_escape").decode("ascii") if not key.isprintable() else key


def size_text(size: float) -> str:
    """A number of bytes for people."""
    unit = 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


def duration_text(duration_s: float) -> str:
    """A length of time for people."""
    seconds = round(duration_s)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    if seconds < 48 * 3600:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
    return f"{seconds // 86400} d {seconds % 86400 // 3600} h"
