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
from addon.storage import Storage, command_storage, garbage_collection, snapshots_of
from addon.store.cache import DiskCache
from addon.store.eraser import Erased
from addon.store.erasing import ErasurePlan, ErasureTerms
from addon.store.garbage import GarbageCollection, GarbageTerms
from addon.store.message_eraser import Ending
from addon.store.migration import Amount
from addon.store.records import Document
from addon.store.rewriter import Rewritten

# How often packs that are under way are looked at again, and the pause before it.
LOOKS_MAX, LOOK_S = 30, 1.0


@dataclass(frozen=True, slots=True)
class GcOrder:
    """What is wished: only to look, and whether snapshots within their time keep what they need."""

    dry_run: bool = False
    keep_snapshots: bool = False


async def gc(config: Config, order: GcOrder, *, as_json: bool) -> bool:
    """Erase, report, and sum up; whether nothing failed."""
    async with command_storage(config) as storage:
        # Nobody's reading is waited for: who reads what was deleted is broken off, and who reads what moves is led on.
        kept_since_s = time.time() - config.store.snapshot_keep_s if order.keep_snapshots else None
        terms = ErasureTerms(grace_s=0.0, kept_since_s=kept_since_s)
        plan = await storage.index.erasure_plan(terms, now_s=time.time())
        if order.dry_run:
            _say_plan(plan, as_json=as_json)
            return True
        is_clean = await _erase(config, storage, terms, plan, as_json=as_json)
        if not order.keep_snapshots and not await _renew_snapshots(config, storage, as_json=as_json):
            is_clean = False
        return is_clean


async def _renew_snapshots(config: Config, storage: Storage, *, as_json: bool) -> bool:
    """Snapshots that know of what is erased by now end, and a new one takes their place: last, so that it does not know of it
    either. Until then the former ones are as good, together with the states that Telegram was told. False where the new one is not
    pinned: then the others stay."""
    snapshots = snapshots_of(config, storage)
    known = await storage.index.snapshots()
    first_s = min((one.began_at_s for one in known), default=None)
    if first_s is None or not await storage.index.erased_after(first_s, "", limit=1):
        return True
    newest = await snapshots.take()
    if newest.pinned:
        ended = await snapshots.end_all_but(newest)
        if not as_json:
            say(f"the index was saved anew in Telegram, and {ended} older snapshots were erased")
        return True
    if as_json:
        say_json({"event": "snapshot_not_pinned", "reason": newest.held_back})
    else:
        say(f"the new snapshot is not pinned: {newest.held_back}; so the older ones stay")
    return False


async def _erase(config: Config, storage: Storage, terms: ErasureTerms, plan: ErasurePlan, *, as_json: bool) -> bool:
    cache = DiskCache(config.cache.dir, 0)

    async def forget(document_ids: Collection[str]) -> None:
        # The running proxy follows with what it has in memory.
        for document_id in document_ids:
            await asyncio.to_thread(cache.forget_document, document_id)

    garbage = garbage_collection(storage, forget)
    doomed = [plan.erasable, plan.failed, plan.partly_dead]
    expected = Amount(sum(one.objects for one in doomed), sum(one.size for one in doomed))
    counts = _Counts(Progress("gc", expected=expected, as_json=as_json, noun="documents"), plan, as_json=as_json)
    try:
        async with counts.progress.shown():
            await storage.index.end_rests(now_s=time.time())
            await _run(storage, garbage, terms, counts)
    except asyncio.CancelledError:
        counts.sum_up(stopped=True)
        raise
    counts.sum_up(stopped=False)
    return counts.clean


async def _run(storage: Storage, garbage: GarbageCollection, terms: ErasureTerms, counts: _Counts) -> None:
    """Again, for a while, where packs of running uploads held something up: they are settled in a moment."""
    for looks_left in reversed(range(LOOKS_MAX)):
        await garbage.run(GarbageTerms(terms, dead_share=0.0, thorough=True), counts.tell_rewritten, counts.tell_erased)
        counts.left = await storage.index.erasure_plan(terms, now_s=time.time())
        if not counts.left.in_packs.objects or not looks_left:
            return
        await asyncio.sleep(LOOK_S)


class _Counts:
    """What a run has done so far, told and counted."""

    def __init__(self, progress: Progress, plan: ErasurePlan, *, as_json: bool) -> None:
        self.progress, self.left, self._as_json = progress, plan, as_json
        self._endings: Counter[Ending] = Counter()
        self._bytes_erased = self._bytes_moved = self._rewritten = self._kept = 0

    @property
    def clean(self) -> bool:
        """Whether nothing failed."""
        return not self._kept and not self._endings[Ending.FAILED]

    def tell_rewritten(self, rewritten: Rewritten) -> None:
        if rewritten.reason:
            self._kept += 1
            self._fail(rewritten.document, f"it keeps its dead bytes: {rewritten.reason}")
            self.progress.did(failed=True)
        else:
            # It is counted as done when it is erased.
            self._rewritten += 1
            self._bytes_moved += rewritten.moved_bytes

    def tell_erased(self, erased: Erased) -> None:
        self._endings[erased.ending] += 1
        if erased.ending is Ending.FAILED:
            self._fail(erased.document, erased.reason)
        else:
            self._bytes_erased += erased.document.size
        self.progress.did(size=erased.document.size, failed=erased.ending is Ending.FAILED)

    def _fail(self, document: Document, reason: str) -> None:
        if self._as_json:
            say_json({"event": "failed", "document": document.document_id, "reason": reason})
        else:
            say(f"failed: document {document.document_id} in chat {document.chat_id}: {reason}")

    def sum_up(self, *, stopped: bool) -> None:
        """The last line, or the last lines."""
        endings, left = self._endings, self.left
        if self._as_json:
            say_json(
                {
                    "event": "summary",
                    "stopped": stopped,
                    **{ending.value.replace(" ", "_"): endings[ending] for ending in Ending},
                    "bytes_erased": self._bytes_erased,
                    "rewritten": self._rewritten,
                    "not_rewritten": self._kept,
                    "bytes_moved": self._bytes_moved,
                    "too_young": left.too_young.objects + left.in_packs.objects,
                    "for_snapshots": left.for_snapshots.objects,
                }
            )
            return
        say(
            f"{'stopped: ' if stopped else ''}{endings[Ending.DELETED]} documents were deleted, {endings[Ending.BLANKED]} replaced "
            f"by placeholders ({size_text(self._bytes_erased)}), {endings[Ending.NOT_FOUND]} were not there any more, "
            f"{endings[Ending.NO_MESSAGE]} had no message of ours, {endings[Ending.FAILED] + self._kept} failed; "
            f"{size_text(self._bytes_moved)} that live were moved out of {self._rewritten} of them before"
        )
        young = left.too_young.objects + left.in_packs.objects
        if young or left.for_snapshots.objects:
            say(f"left: {young} that an upload under way may use, {left.for_snapshots.objects} that a snapshot needs")


def plan_json(plan: ErasurePlan) -> Mapping[str, Any]:
    """A plan for machines: documents, and bytes."""
    amounts = {
        "erasable": plan.erasable,
        "too_young": plan.too_young,
        "in_packs": plan.in_packs,
        "for_snapshots": plan.for_snapshots,
        "failed": plan.failed,
        "for_states": plan.for_states,
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
        ("stay for a moment: they are as young as a pack that is under way", plan.in_packs),
        ("stay: a snapshot needs them", plan.for_snapshots),
        ("stay while what they tell of keys is true: only such states", plan.for_states),
        ("in use, with bytes that belong to nothing any more", plan.partly_dead),
    ]
    for name, amount in rows:
        say(f"{name}: {amount.objects} documents ({size_text(amount.size)})")
    say(
        f"  of those in use {size_text(plan.dead_bytes)} would be erased, and up to {size_text(plan.live_bytes)} moved "
        "into other documents before"
    )
