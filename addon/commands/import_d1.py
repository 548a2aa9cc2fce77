"""`tgstore import d1`: what a worker kept in Telegram, with its links in a D1 table, becomes objects under the same URLs."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import typer

from addon.commands.d1_export import ExportColumns, ExportError, opened_export
from addon.commands.import_list import ImportList
from addon.commands.output import fail, printable, say, say_json, size_text
from addon.commands.progress import Progress
from addon.config import Config
from addon.s3.object_urls import ObjectUrls, without_secrets
from addon.storage import Storage, command_storage
from addon.store.importer import Fate, Importer, ImportWish, Link, Outcome
from addon.store.migration import Amount
from addon.store.work_folder import work_folder

READ_S_MAX = 900.0
_FOLDER_PREFIX = "import-"

_SAID = {
    Fate.TAKEN: "taken",
    Fate.COMPLETED: "completed",
    Fate.THERE: "taken before",
    Fate.KEPT: "left alone",
    Fate.AT_ORIGIN: "left to the origin",
    Fate.NOT_TAKEN: "not taken",
}


@dataclasses.dataclass
class Report:
    """What came of an import so far; each link or row that did not simply become an object is said at once."""

    as_json: bool
    counts: dict[Fate, int] = dataclasses.field(default_factory=lambda: dict.fromkeys(Fate, 0))
    size: int = 0
    lack_hashes: int = 0
    lack_messages: int = 0
    without_wished_message: int = 0

    def dropped(self, url: str, reason: str) -> None:
        """A row of the export gives no link."""
        self._count(Fate.NOT_TAKEN, url, reason)

    def outcome(self, outcome: Outcome) -> None:
        """A link was dealt with."""
        self._count(outcome.fate, outcome.link.url, outcome.reason)
        if outcome.fate in (Fate.TAKEN, Fate.COMPLETED):
            self.size += outcome.size
            self.without_wished_message += bool(outcome.reason)
        self.lack_hashes += outcome.lacks_hashes
        self.lack_messages += outcome.lacks_message

    def _count(self, fate: Fate, url: str, reason: str) -> None:
        self.counts[fate] += 1
        if not reason:
            return
        shown = printable(without_secrets(url))
        if self.as_json:
            say_json({"event": "link", "fate": fate.value, "url": shown, "reason": reason})
        else:
            say(f"{_SAID[fate]}: {shown}: {printable(reason)}")

    @property
    def is_complete(self) -> bool:
        """Whether everything came as it was wished."""
        return not self.counts[Fate.NOT_TAKEN] and not self.without_wished_message


async def import_d1(config: Config, path: Path, columns: ExportColumns, wish: ImportWish, *, as_json: bool) -> None:
    """Import, and say what came of it. Ends the command with status 1 where something could not be taken."""
    report = Report(as_json)
    with work_folder(config.service.spool_dir, _FOLDER_PREFIX) as made:
        links = ImportList(made, _urls(config), report.dropped)
        try:
            await _read_export(path, columns, links, made)
            progress = Progress("import d1", expected=Amount(len(links), 0), as_json=as_json)
            try:
                async with command_storage(config) as storage, progress.shown():
                    await _take_all(storage, links, wish, report, progress)
            finally:
                _summarize(report, links, wish)
        except ExportError as error:
            raise fail(str(error)) from None
        finally:
            links.close()
    if not report.is_complete:
        raise typer.Exit(1)


def _urls(config: Config) -> ObjectUrls:
    by_host = {host: bucket.name for bucket in config.buckets for host in bucket.hosts}
    by_path: dict[str, list[str]] = {}
    for bucket in config.buckets:
        for host in bucket.path_hosts:
            by_path.setdefault(host, []).append(bucket.name)
    return ObjectUrls(by_host, by_path)


async def _read_export(path: Path, columns: ExportColumns, links: ImportList, folder: Path) -> None:
    """Read it to its end in a worker thread, which stops when the command is stopped. Raises `ExportError`."""
    stopped = threading.Event()
    deadline_s = time.monotonic() + READ_S_MAX

    def is_over() -> bool:
        return stopped.is_set() or time.monotonic() > deadline_s

    def read() -> None:
        with opened_export(path, columns, folder=folder, is_over=is_over) as rows:
            for row in rows:
                if is_over():
                    raise ExportError(f"{path}: reading it takes too long")
                links.add(row)

    reading = asyncio.ensure_future(asyncio.to_thread(read))
    try:
        await asyncio.shield(reading)
    except asyncio.CancelledError:
        # The thread still uses the list: nothing is closed under it.
        stopped.set()
        await asyncio.gather(reading, return_exceptions=True)
        raise


async def _take_all(storage: Storage, links: ImportList, wish: ImportWish, report: Report, progress: Progress) -> None:
    retired = await storage.index.retired_buckets()
    importer = Importer(
        index=storage.index,
        documents=storage.documents,
        known_files=storage.known_files,
        origins={name: origin for name, origin in storage.origins.items() if name not in retired},
        wish=wish,
        now_s=storage.store.now_s,
    )

    async def all_links() -> AsyncGenerator[Link, None]:
        for link in links:
            yield link

    await importer.run(all_links(), _reporting(report, progress))


def _reporting(report: Report, progress: Progress) -> Callable[[Outcome], None]:
    def reported(outcome: Outcome) -> None:
        report.outcome(outcome)
        progress.did(size=outcome.size, failed=outcome.fate is Fate.NOT_TAKEN)

    return reported


def _summarize(report: Report, links: ImportList, wish: ImportWish) -> None:
    if report.as_json:
        say_json(_summary(report, links, wish))
        return
    counts = report.counts
    would = "would be " if wish.dry_run else ""
    say(
        f"{links.rows} rows, {len(links)} keys: {counts[Fate.TAKEN]} {would}taken, {counts[Fate.COMPLETED]} {would}completed "
        f"({size_text(report.size)}), {counts[Fate.THERE]} taken before, {counts[Fate.KEPT]} left alone, "
        f"{counts[Fate.AT_ORIGIN]} left to the origin, {counts[Fate.NOT_TAKEN]} not taken"
    )
    if links.repeated:
        say(f"{links.repeated} rows repeat an earlier one")
    if links.with_queries:
        say(f"{links.with_queries} URLs had a query or fragment, which says nothing of the object and was dropped")
    if report.lack_hashes:
        say(f"{report.lack_hashes} objects have no hashes, so damage to them would go unseen: run it again with --read")
    if report.lack_messages:
        say(
            f"{report.lack_messages} objects have no message of their own and are lost with their file_id: see --anchor"
        )


def _summary(report: Report, links: ImportList, wish: ImportWish) -> dict[str, Any]:
    return {
        "event": "summary",
        "dry_run": wish.dry_run,
        "rows": links.rows,
        "keys": len(links),
        **{fate.value: count for fate, count in report.counts.items()},
        "size": report.size,
        "repeated_rows": links.repeated,
        "queries_dropped": links.with_queries,
        "without_hashes": report.lack_hashes,
        "without_message": report.lack_messages,
    }
