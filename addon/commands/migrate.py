"""`tgstore migrate`: move a whole bucket."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import typer

from addon.commands.origins import origin_to_ask
from addon.commands.output import fail, printable, say, say_json, size_text
from addon.commands.progress import Progress
from addon.config import Bucket, Config
from addon.storage import Storage, command_storage, copy_limits
from addon.store.copier import Copier
from addon.store.migration import NOTHING, Amount, Totals
from addon.store.ports import IndexUnavailable, Origin, TelegramUnavailable
from addon.store.records import CopyJob, CopyState
from addon.store.sweep import Sweeper, SweepLimits, SweepProgress

logger = logging.getLogger(__name__)

# So many keys that did not move are named at the end; `tgstore status --named` names more.
NAMED_MAX = 20
# How long the end of a run waits until Telegram has what a lost index would be made again from.
TELL_S_MAX = 120.0


async def migrate(
    config: Config, bucket: Bucket, limits: SweepLimits, *, retry: list[CopyState], dry_run: bool, as_json: bool
) -> None:
    """Walk the origin's listing and copy what has not moved. Ends with status 1 where something failed or was skipped."""
    with _alone(config.service.spool_dir, bucket.name):
        async with command_storage(config) as storage:
            origin = await origin_to_ask(storage.index, storage.origins, bucket.name)
            if isinstance(origin, str):
                raise fail(f"{origin}, so there is nothing to migrate")
            sweeper, display = _sweeper(config, storage, bucket.name, origin, limits, as_json=as_json)
            async with display.shown():
                if dry_run:
                    await sweeper.count()
                else:
                    await sweeper.prepare(retry)
                    await sweeper.run()
                    if not sweeper.progress.proxies:
                        await _tell_states(storage)
            if dry_run:
                _say_count(sweeper.progress, as_json=as_json)
            else:
                await _say_end(storage, bucket.name, sweeper.progress, as_json=as_json)


@contextlib.contextmanager
def _alone(folder: Path, bucket: str) -> Iterator[None]:
    """One sweep of a bucket at a time: then what is being copied while no proxy runs belongs to a process that has ended."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"migrate-{bucket}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise fail(f"another tgstore migrate works on {bucket} already") from None
        yield


def _sweeper(
    config: Config, storage: Storage, bucket: str, origin: Origin, limits: SweepLimits, *, as_json: bool
) -> tuple[Sweeper, Progress]:
    display = Progress(f"migrate {bucket}", expected=None, as_json=as_json)
    shown = _Shown(display, as_json=as_json)
    copier = Copier(storage.store, storage.origins, copy_limits(config))
    sweeper = Sweeper(
        bucket=bucket,
        index=storage.index,
        store=storage.store,
        origin=origin,
        copier=copier,
        limits=limits,
        changed=shown.changed,
    )
    return sweeper, display


class _Shown:
    """A sweep's progress as the display counts it."""

    def __init__(self, display: Progress, *, as_json: bool) -> None:
        self._display, self._as_json = display, as_json
        self._told, self._failed = NOTHING, 0
        self._proxies = 0

    def changed(self, progress: SweepProgress) -> None:
        if progress.proxies and not self._proxies and not self._as_json:
            say("a proxy runs on this index: it does the copying, within Telegram's limits, which are one for both")
        self._proxies = progress.proxies
        # A failure is known at once, and done with when it is next counted what still waits: it must not be told twice.
        failed = progress.failed + progress.skipped - self._failed
        self._display.did(failed, failed=True)
        self._failed += failed
        told = self._told.objects + failed
        objects, size = max(0, progress.done.objects - told), max(0, progress.done.size - self._told.size)
        self._display.did(objects, size=size)
        self._told = Amount(told + objects, self._told.size + size)
        self._display.expect(progress.total if progress.walked else None)


async def _tell_states(storage: Storage) -> None:
    """What was copied last is told in no document yet, and no proxy is there to do it."""
    try:
        async with asyncio.timeout(TELL_S_MAX):
            await storage.store.packer.flush_states()
    except (TelegramUnavailable, IndexUnavailable, TimeoutError) as failure:
        logger.warning("what moved last will be told in Telegram by a later document: %s", failure)


def _say_count(progress: SweepProgress, *, as_json: bool) -> None:
    if as_json:
        say_json(
            {"event": "end", "dry_run": True, "listed": asdict(progress.listed), "to_move": asdict(progress.ordered)}
        )
        return
    say(f"the origin lists {_amount(progress.listed)}; {_amount(progress.ordered)} of them have not moved")


async def _say_end(storage: Storage, bucket: str, progress: SweepProgress, *, as_json: bool) -> None:
    totals = await storage.index.totals(bucket)
    unfinished: list[CopyJob] = []
    for state in (CopyState.FAILED, CopyState.SKIPPED):
        unfinished += await storage.index.copy_jobs(bucket, states=[state], limit=NAMED_MAX)
    if as_json:
        say_json(
            {
                "event": "end",
                "dry_run": False,
                "listed": asdict(progress.listed),
                "ordered": asdict(progress.ordered),
                "copied": asdict(progress.copied),
                "left": asdict(progress.left),
                "failed": asdict(totals.failed),
                "skipped": asdict(totals.skipped),
            }
        )
    else:
        for line in _end_lines(bucket, progress, totals):
            say(line)
        for job in unfinished:
            say(f"  {job.state.value}: {printable(job.key)}: {job.reason}")
    if totals.failed.objects or totals.skipped.objects:
        raise typer.Exit(1)


def _end_lines(bucket: str, progress: SweepProgress, totals: Totals) -> list[str]:
    lines = [
        f"the origin lists {_amount(progress.listed)}; {_amount(totals.moved)} have moved, {_amount(totals.written)} "
        f"were written here"
    ]
    if progress.left.objects:
        lines.append(f"{_amount(progress.left)} wait; tgstore migrate {bucket} goes on with them")
    if totals.failed.objects or totals.skipped.objects:
        lines.append(
            f"{totals.failed.objects} failed and {totals.skipped.objects} were skipped; --retry-failed and --retry-skipped "
            "try them again:"
        )
    elif not progress.left.objects:
        lines.append(f"everything has moved; next: tgstore verify {bucket}")
    return lines


def _amount(amount: Amount) -> str:
    return f"{amount.objects} objects ({size_text(amount.size)})"
