"""`tgstore gc`: what nothing needs any more is erased now."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from addon.commands.output import say, say_json, size_text
from addon.commands.progress import Progress
from addon.config import Config
from addon.storage import Storage, command_storage
from addon.store.cache import DiskCache
from addon.store.eraser import Ending, Erased, Eraser
from addon.store.erasing import ErasurePlan, ErasureTerms
from addon.store.migration import Amount


@dataclass(frozen=True, slots=True)
class GcOrder:
    """What is wished: only to look, and whether snapshots within their time keep what they need."""

    dry_run: bool = False
    keep_snapshots: bool = False


async def gc(config: Config, order: GcOrder, *, as_json: bool) -> bool:
    """Erase, report, and sum up; whether nothing failed."""
    async with command_storage(config) as storage:
        terms = _terms(config, order)
        plan = await storage.index.erasure_plan(terms, now_s=time.time())
        if order.dry_run:
            _say_plan(plan, as_json=as_json)
            return True
        return await _erase(config, storage, terms, plan, as_json=as_json)


def _terms(config: Config, order: GcOrder) -> ErasureTerms:
    """Nobody's reading is waited for: who reads what was deleted is broken off, and who reads what moves is led on."""
    kept_since_s = time.time() - config.store.snapshot_keep_s if order.keep_snapshots else None
    return ErasureTerms(grace_s=0.0, kept_since_s=kept_since_s)


async def _erase(config: Config, storage: Storage, terms: ErasureTerms, plan: ErasurePlan, *, as_json: bool) -> bool:
    cache = DiskCache(config.cache.dir, 0)

    async def forget(document_ids: Collection[str]) -> None:
        # The running proxy follows with what it has in memory.
        for document_id in document_ids:
            await asyncio.to_thread(cache.forget_document, document_id)

    eraser = Eraser(storage.index, storage.documents, forget=forget)
    progress = Progress("gc", expected=_sum(plan.erasable, plan.failed), as_json=as_json)
    counts: Counter[Ending] = Counter()
    sizes: Counter[Ending] = Counter()

    def tell(erased: Erased) -> None:
        counts[erased.ending] += 1
        sizes[erased.ending] += erased.document.size
        progress.did(size=erased.document.size, failed=erased.ending is Ending.FAILED)
        if erased.ending is not Ending.FAILED:
            return
        document = erased.document
        if as_json:
            say_json({"event": "failed", "document": document.document_id, "reason": erased.reason})
        else:
            say(f"failed: document {document.document_id} in chat {document.chat_id}: {erased.reason}")

    try:
        async with progress.shown():
            await storage.index.end_rests(now_s=time.time())
            await eraser.erase(terms, tell)
    except asyncio.CancelledError:
        _sum_up(counts, sizes, plan, as_json=as_json, stopped=True)
        raise
    _sum_up(counts, sizes, plan, as_json=as_json, stopped=False)
    return not counts[Ending.FAILED]


def plan_json(plan: ErasurePlan) -> Mapping[str, Any]:
    """A plan for machines: documents, and bytes."""
    amounts = {
        "erasable": plan.erasable,
        "too_young": plan.too_young,
        "for_snapshots": plan.for_snapshots,
        "failed": plan.failed,
        "partly_dead": plan.partly_dead,
    }
    told: dict[str, Any] = {name: {"documents": one.objects, "size": one.size} for name, one in amounts.items()}
    return told | {"dead_bytes": plan.dead_bytes, "live_bytes": plan.live_bytes}


def _say_plan(plan: ErasurePlan, *, as_json: bool) -> None:
    if as_json:
        say_json({"event": "plan", **plan_json(plan)})
        return
    rows = [
        ("would be erased", plan.erasable),
        ("failed before, would be tried again", plan.failed),
        ("stay: an upload that is under way may use them", plan.too_young),
        ("stay: a snapshot needs them", plan.for_snapshots),
        ("in use, with bytes that belong to nothing any more", plan.partly_dead),
    ]
    for name, amount in rows:
        say(f"{name}: {amount.objects} documents ({size_text(amount.size)})")
    say(
        f"  of those in use {size_text(plan.dead_bytes)} would be erased, and up to {size_text(plan.live_bytes)} moved "
        "into other documents before"
    )


def _sum_up(
    counts: Counter[Ending], sizes: Counter[Ending], plan: ErasurePlan, *, as_json: bool, stopped: bool
) -> None:
    erased = sum(size for ending, size in sizes.items() if ending is not Ending.FAILED)
    if as_json:
        say_json(
            {
                "event": "summary",
                "stopped": stopped,
                **{ending.value.replace(" ", "_"): counts[ending] for ending in Ending},
                "bytes_erased": erased,
                "too_young": plan.too_young.objects,
                "for_snapshots": plan.for_snapshots.objects,
            }
        )
        return
    say(
        f"{'stopped: ' if stopped else ''}{counts[Ending.DELETED]} documents were deleted, {counts[Ending.BLANKED]} replaced "
        f"by placeholders ({size_text(erased)}), {counts[Ending.NOT_FOUND]} were not there any more, "
        f"{counts[Ending.NO_MESSAGE]} had no message of ours, {counts[Ending.FAILED]} failed"
    )
    if plan.too_young.objects or plan.for_snapshots.objects:
        say(
            f"left: {plan.too_young.objects} that an upload under way may use, {plan.for_snapshots.objects} that a "
            "snapshot needs"
        )


def _sum(one: Amount, other: Amount) -> Amount:
    return Amount(one.objects + other.objects, one.size + other.size)
