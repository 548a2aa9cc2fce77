"""`tgstore status`: where each bucket stands on its way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from addon.commands.output import console, duration_text, printable, say, say_json, size_text
from addon.commands.saved_status import Saved, saved_json, saved_line, saved_of
from addon.commands.telegram_status import TelegramStatus, telegram_status
from addon.config import Config
from addon.index.sql_index import SqlIndex, open_index
from addon.storage import spool_folder
from addon.store.bucket_status import NAMED_MAX, BucketStatus, bucket_status, obstacles
from addon.store.erasing import ERASED_KEPT_S
from addon.store.migration import Amount
from addon.store.spool import SpoolStatus, spool_status

UNFINISHED_NAMED_MAX = 20


@dataclass(frozen=True, slots=True)
class _Status:
    """All that is told of an index: its buckets, what waits on the local disk, documents that nothing uses, those that were erased,
    how much is encrypted under which key, the bots and chats, the newest snapshot."""

    buckets: Sequence[BucketStatus]
    spool: SpoolStatus
    orphans: Amount
    erased: Amount
    by_key: Mapping[str, Amount]
    telegram: TelegramStatus
    saved: Saved

    def as_json(self) -> dict[str, Any]:
        return {
            "buckets": [status.as_json() for status in self.buckets],
            "orphans": documents_json(self.orphans),
            "erased": documents_json(self.erased),
            "by_key": {key_id: documents_json(amount) for key_id, amount in self.by_key.items()},
            "telegram": self.telegram.as_json(),
            "snapshot": saved_json(self.saved),
            "spool": self.spool.as_json(),
        }

    def lines(self, *, now_s: float) -> list[str]:
        """The same for people."""
        return [
            *lines_of(self.buckets, self.spool, self.orphans, self.erased, now_s=now_s),
            *lines_of_keys(self.by_key),
            saved_line(self.saved, now_s=now_s),
            *self.telegram.lines(),
        ]


async def _status(config: Config, index: SqlIndex, buckets: Sequence[str], *, named_max: int) -> _Status:
    has_origin = {bucket.name: bucket.origin is not None for bucket in config.buckets}
    return _Status(
        [await bucket_status(index, index, name, has_origin=has_origin[name], named_max=named_max) for name in buckets],
        await spool_status(index, spool_folder(config)),
        await index.orphans(),
        await index.erased_amount(),
        await index.amounts_by_key(),
        await telegram_status(config, index),
        saved_of(await index.snapshots()),
    )


async def show_status(
    config: Config, buckets: Sequence[str], *, as_json: bool, watch_s: float | None, named_max: int
) -> None:
    """Say where these buckets stand, once or every `watch_s` seconds until the command is stopped."""
    index = await open_index(config.index.url)
    try:
        while True:
            status = await _status(config, index, buckets, named_max=named_max)
            if as_json:
                say_json(status.as_json())
            else:
                if watch_s is not None and console.is_terminal:
                    console.clear()
                for line in status.lines(now_s=time.time()):
                    say(line)
            if watch_s is None:
                return
            await asyncio.sleep(watch_s)
    finally:
        await index.close()


async def status_text(config: Config, buckets: Sequence[str]) -> str:
    """Where these buckets stand, for people. Raises `IndexUnavailable`."""
    index = await open_index(config.index.url)
    try:
        status = await _status(config, index, buckets, named_max=NAMED_MAX)
        return "\n".join(status.lines(now_s=time.time()))
    finally:
        await index.close()


def documents_json(amount: Amount) -> dict[str, int]:
    """An amount of documents, for machines."""
    return {"documents": amount.objects, "size": amount.size}


def lines_of(
    found: Sequence[BucketStatus], spool: SpoolStatus, orphans: Amount, erased: Amount, *, now_s: float
) -> list[str]:
    """The buckets, and what concerns all of them, for people."""
    lines: list[str] = []
    for status in found:
        lines += [*_lines_of_bucket(status, now_s), ""]
    lines += spool_lines(spool, now_s=now_s)
    within = duration_text(ERASED_KEPT_S)
    lines.append(f"documents that nothing uses: {_amount(orphans)}; erased within {within}: {_amount(erased)}")
    return lines


def lines_of_keys(by_key: Mapping[str, Amount]) -> list[str]:
    """How much is encrypted, for people; nothing where nothing is."""
    if not any(by_key):
        return []
    return [
        f"documents {f'encrypted under key {key_id}' if key_id else 'not encrypted'}: {_amount(amount)}"
        for key_id, amount in sorted(by_key.items())
    ]


def spool_lines(spool: SpoolStatus, *, now_s: float) -> list[str]:
    """What waits on this machine's disk to be sent, for people."""
    backlog = spool.backlog
    if backlog.oldest_at_s is None:
        return ["documents on this disk that wait to be sent: none"]
    waiting = f"{_amount(Amount(backlog.documents, backlog.size))}, the oldest since {_ago(backlog.oldest_at_s, now_s)}"
    lines = [f"documents on this disk that wait to be sent: {waiting}"]
    if spool.lost:
        lines.append(
            f"  {len(spool.lost)} of them are NOT on this disk, although they were acknowledged: they are lost"
        )
    return lines


def _lines_of_bucket(status: BucketStatus, now_s: float) -> list[str]:
    totals = status.totals
    rows = [
        ("moved", _amount(totals.moved)),
        ("written here", _amount(totals.written)),
        ("deleted here", str(totals.tombstones)),
        ("waiting", f"{_amount(totals.waiting)}, {totals.running} of them being copied"),
        ("failed", _amount(totals.failed)),
        ("skipped", _amount(totals.skipped)),
        ("open uploads", str(totals.uploads)),
        ("last sweep", _sweep(status, now_s)),
        ("verified", _verification(status, now_s)),
        ("origin", _origin(status, now_s)),
    ]
    lines = [f"bucket {status.bucket}", *(f"  {name:<13} {text}" for name, text in rows)]
    for job in status.unfinished:
        lines.append(f"  {job.state.value}: {printable(job.key)}: {job.reason}")
    return lines


def _sweep(status: BucketStatus, now_s: float) -> str:
    sweep = status.facts.sweep
    if sweep is None:
        return "never"
    listed = _amount(Amount(sweep.listed_objects, sweep.listed_bytes))
    if sweep.ended_at_s is None:
        return f"listed {listed} so far, up to {printable(sweep.after)}"
    return f"listed {listed}, to the end, {_ago(sweep.ended_at_s, now_s)}"


def _verification(status: BucketStatus, now_s: float) -> str:
    verification, unverified = status.facts.verification, status.totals.unverified.objects
    left = f"{unverified} moved keys never" if unverified else "all moved keys"
    if verification is None:
        return left
    depth = "bytes read back" if verification.deep else "headers compared"
    return (
        f"{left}; last {_ago(verification.at_s, now_s)}: {verification.compared} compared ({depth}), "
        f"{verification.differed} differed"
    )


def _origin(status: BucketStatus, now_s: float) -> str:
    if not status.has_origin:
        return "none"
    if status.facts.retired_at_s is not None:
        return f"retired {_ago(status.facts.retired_at_s, now_s)}"
    in_the_way = obstacles(status.totals, status.facts)
    return "asked; can be retired" if not in_the_way else f"asked; in the way of its end: {'; '.join(in_the_way)}"


def _amount(amount: Amount) -> str:
    return f"{amount.objects} ({size_text(amount.size)})"


def _ago(at_s: float, now_s: float) -> str:
    return f"{duration_text(max(0.0, now_s - at_s))} ago"
