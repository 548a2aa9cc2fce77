"""`tgstore export`: what only Telegram holds goes back to the origin."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from addon.commands.origins import origin_to_ask
from addon.commands.output import fail, printable, say, say_json, size_text
from addon.commands.progress import Progress
from addon.config import Config
from addon.storage import command_storage
from addon.store.exporter import Ending, Exported, Exporter, ExportOrder
from addon.store.ports import Origin

# What is said of each key; nothing is said of the others one by one.
_SAID = frozenset({Ending.KEPT_THEIRS, Ending.FAILED, Ending.STILL_THERE, Ending.DELETED})
_OF_TOMBSTONES = frozenset({Ending.STILL_THERE, Ending.DELETED, Ending.GONE})


async def export(config: Config, order: ExportOrder, *, although_retired: bool, as_json: bool) -> bool:
    """Export, report, and sum up; whether nothing failed. A retired origin is written to where that is asked for: it may be another
    bucket by now."""
    async with command_storage(config) as storage:
        origin: Origin | str | None = storage.origins[order.bucket]
        if origin is None or not although_retired:
            origin = await origin_to_ask(storage.index, storage.origins, order.bucket)
        if isinstance(origin, str):
            raise fail(
                f"{origin}. Where [buckets.origin] names the bucket to be written to, --although-retired writes to it"
            )
        exporter = Exporter(storage.store, storage.index, origin, order)
        progress = Progress("export", expected=await exporter.expected(), as_json=as_json)

        def tell(exported: Exported) -> None:
            if exported.ending not in _OF_TOMBSTONES:
                progress.did(size=exported.size, failed=exported.ending is Ending.FAILED)
            is_plan = order.dry_run and exported.ending is Ending.WRITTEN
            if as_json and (exported.ending in _SAID or exported.left_out or is_plan):
                say_json(exported_json(order, exported))
            elif not as_json:
                for line in exported_lines(order, exported):
                    say(line)

        try:
            async with progress.shown():
                await exporter.run(tell)
        except asyncio.CancelledError:
            _sum_up(exporter, as_json=as_json, stopped=True)
            raise
        _sum_up(exporter, as_json=as_json, stopped=False)
        return exporter.clean


def exported_json(order: ExportOrder, exported: Exported) -> Mapping[str, Any]:
    """What came of one key, for machines."""
    return {
        "event": exported.ending.value.replace(" ", "_"),
        "bucket": order.bucket,
        "key": exported.key,
        "size": exported.size,
        "reason": exported.reason,
        "differences": [
            {"what": difference.what, "here": difference.here, "there": difference.there}
            for difference in exported.differences
        ],
        "left_out": list(exported.left_out),
    }


def exported_lines(order: ExportOrder, exported: Exported) -> list[str]:
    """The same for people; none for what needs no word."""
    key, differences = printable(exported.key), "; ".join(printable(str(one)) for one in exported.differences)
    lines = [f"written without: {key}: {said}" for said in exported.left_out]
    match exported.ending:
        case Ending.FAILED:
            lines.append(f"failed: {key}: {exported.reason}" + (f": {differences}" if differences else ""))
        case Ending.KEPT_THEIRS:
            lines.append(f"the origin's object is kept: {key}: {differences}")
        case Ending.STILL_THERE:
            lines.append(f"deleted here, still there: {key}")
        case Ending.DELETED:
            lines.append(f"{'would be deleted' if order.dry_run else 'deleted'} there as well: {key}")
        case Ending.WRITTEN if order.dry_run:
            lines.append(f"would be written: {key}: {size_text(exported.size)}")
    return lines


def _sum_up(exporter: Exporter, *, as_json: bool, stopped: bool) -> None:
    order, counts = exporter.order, exporter.counts
    if as_json:
        say_json(
            {
                "event": "summary",
                "bucket": order.bucket,
                "prefix": order.prefix,
                "dry_run": order.dry_run,
                "stopped": stopped,
                **{ending.value.replace(" ", "_"): count for ending, count in counts.items()},
                "bytes_written": exporter.bytes_written,
            }
        )
        return
    say(
        f"{'stopped: ' if stopped else ''}{order.bucket}: {counts[Ending.WRITTEN]} "
        f"{'would be written' if order.dry_run else 'written and proved'} ({size_text(exporter.bytes_written)}), "
        f"{counts[Ending.ALREADY_THERE]} were already there, {counts[Ending.KEPT_THEIRS]} of the origin's were kept, "
        f"{counts[Ending.CHANGED]} changed meanwhile, {counts[Ending.FAILED]} failed"
    )
    say(f"deleted here: {counts[Ending.DELETED]} deleted there as well, {counts[Ending.STILL_THERE]} still there")
