"""What all commands share: their settings, their exit status, how they are stopped."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import typer

from addon.commands.output import fail
from addon.config import Bucket, Config, ConfigError, byte_count, find_config_path, load_config
from addon.store.ports import StoreError

T = TypeVar("T")

# What a shell reports of a program that Ctrl-C ended (128 and the signal's number).
EXIT_STATUS_INTERRUPTED = 130


def settings(path: str | None) -> Config:
    """The settings, from where the proxy has them. Ends the command with status 1 where they are wrong."""
    try:
        return load_config(find_config_path(path, os.environ, Path.cwd()), os.environ)
    except ConfigError as error:
        raise fail(str(error)) from None


def bucket_of(config: Config, name: str) -> Bucket:
    """The configured bucket of this name. Ends the command with status 1 where there is none."""
    for bucket in config.buckets:
        if bucket.name == name:
            return bucket
    known = ", ".join(bucket.name for bucket in config.buckets)
    raise fail(f"there is no bucket {name} in the settings; there are: {known}")


def size_of(text: str | None) -> int | None:
    """A number of bytes as the settings spell it. Ends the command with status 1 for anything else."""
    if text is None:
        return None
    try:
        return byte_count(text)
    except ValueError as error:
        raise fail(f"{text}: {error}") from None


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command to its end. Ctrl-C and SIGTERM cancel it, so that it can put things in order; status 130 then.

    What the store cannot do ends it with status 1 and what was said about it.
    """
    try:
        return asyncio.run(_cancelled_by_signals(work))
    except asyncio.CancelledError:
        raise typer.Exit(EXIT_STATUS_INTERRUPTED) from None
    except StoreError as failure:
        raise fail(str(failure)) from None


async def _cancelled_by_signals(work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    return await task
