"""`tgstore repair`: documents get back the places that they lost with a chat."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from addon.commands.output import fail, say, say_json, size_text
from addon.commands.progress import Progress
from addon.config import Config
from addon.storage import Storage, command_storage
from addon.store.copy_keeper import room_beside
from addon.store.migration import Amount
from addon.store.repairer import Ending, Repaired, Repairer
from addon.store.retirement import PROXY_GONE_AFTER_S
from addon.store.retrying import Retries


async def repair(config: Config, *, dry_run: bool, as_json: bool) -> bool:
    """Restore, report, and sum up; whether every document has all its places."""
    async with command_storage(config) as storage:
        await storage.copying.ask_all()
        chats = storage.copying.working_chats()
        if not chats:
            raise fail("no bot may send to any chat: tgstore check says why")
        # With one chat left there is no second place, but addresses can be brought there.
        wanted = min(config.store.copies, len(chats))
        repairer = Repairer(storage.index, storage.copying, wanted=wanted, room=await _room(storage), retries=Retries())
        expected = await repairer.expected()
        missing = config.store.copies - wanted
        if dry_run:
            _say_plan(expected, missing, as_json=as_json)
            return not expected.objects and not missing
        counts = await _run(repairer, expected, missing, as_json=as_json)
        return not counts[Ending.FAILED] and not missing


async def _room(storage: Storage) -> Callable[[], Awaitable[None]]:
    """Beside a running proxy, half of a burst is left to it; alone, all that the limits allow is used."""
    if await storage.index.proxies_seen_since(time.time() - PROXY_GONE_AFTER_S):
        return room_beside(storage.documents.burst_share_left, asyncio.sleep)

    async def at_once() -> None:
        """The limits alone set the pace."""

    return at_once


async def _run(repairer: Repairer, expected: Amount, missing: int, *, as_json: bool) -> Counter[Ending]:
    counts: Counter[Ending] = Counter()
    progress = Progress("repair", expected=expected, as_json=as_json)
    added = moved = 0

    def tell(repaired: Repaired) -> None:
        nonlocal added, moved
        counts[repaired.ending] += 1
        added, moved = added + repaired.added, moved + repaired.moved
        is_failure = repaired.ending is Ending.FAILED
        progress.did(size=repaired.document.size, failed=is_failure)
        if is_failure and as_json:
            say_json({"event": "failed", "document": repaired.document.document_id, "reason": repaired.reason})
        elif is_failure:
            say(f"failed: document {repaired.document.document_id}: {repaired.reason}")

    stopped = True
    try:
        async with progress.shown():
            await repairer.run(tell)
        stopped = False
    finally:
        _sum_up(counts, added, moved, missing, as_json=as_json, stopped=stopped)
    return counts


def _say_plan(expected: Amount, missing: int, *, as_json: bool) -> None:
    if as_json:
        say_json({"event": "plan", "documents": expected.objects, "size": expected.size, "chats_missing": missing})
        return
    say(f"{expected.objects} documents ({size_text(expected.size)}) would be restored")
    _say_missing(missing)


def _sum_up(counts: Counter[Ending], added: int, moved: int, missing: int, *, as_json: bool, stopped: bool) -> None:
    if as_json:
        say_json(
            {
                "event": "summary",
                "stopped": stopped,
                **{ending.value: counts[ending] for ending in Ending},
                "messages_added": added,
                "addresses_moved": moved,
                "chats_missing": missing,
            }
        )
        return
    say(
        f"{'stopped: ' if stopped else ''}{counts[Ending.RESTORED]} documents restored ({added} messages added, {moved} "
        f"addresses moved), {counts[Ending.UNUSED]} not in use any more, {counts[Ending.FAILED]} failed"
    )
    _say_missing(missing)


def _say_missing(missing: int) -> None:
    if missing:
        say(
            "only one chat works: put another one into [telegram] chat_ids, and every document gets its second copy there"
        )
