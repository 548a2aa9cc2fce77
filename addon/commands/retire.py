"""`tgstore retire` and `tgstore unretire`: the gate to switching the origin off, and the way back through it."""

from __future__ import annotations

import asyncio
import contextlib
import time

from addon.commands.origins import origin_to_ask
from addon.commands.output import fail, printable, say
from addon.config import Bucket, Config
from addon.index.sql_index import SqlIndex, open_index
from addon.storage import command_storage
from addon.store.bucket_status import obstacles
from addon.store.origin_walk import walk
from addon.store.ports import Origin
from addon.store.retirement import RETIREMENT_LEARNT_S

# So many keys that the origin lists and nobody knows here are named.
UNKNOWN_NAMED_MAX = 10


async def retire(config: Config, bucket: Bucket, *, leave_skipped: bool) -> None:
    """Make an end of the bucket's origin, once everything is here and was compared; else say what is missing, status 1."""
    async with command_storage(config) as storage:
        index = storage.index
        origin = await origin_to_ask(index, storage.origins, bucket.name)
        if isinstance(origin, str):
            raise fail(f"{origin}; there is nothing to retire")
        await _refuse_while_something_is_missing(index, bucket.name, leave_skipped=leave_skipped)
        await _refuse_unknown_keys(index, bucket.name, origin, leave_skipped=leave_skipped)
        if not await index.retire(bucket.name, now_s=time.time(), leave_skipped=leave_skipped):
            await _refuse_while_something_is_missing(index, bucket.name, leave_skipped=leave_skipped)
            raise fail("something changed while it was looked at; run it again")
        say(f"running proxies learn of it within {RETIREMENT_LEARNT_S:.0f} s …")
        await asyncio.sleep(RETIREMENT_LEARNT_S)
    say(
        f"the origin of {bucket.name} is retired: nothing asks it any more, and it may be switched off. "
        f"tgstore unretire {bucket.name} undoes this."
    )


async def unretire(config: Config, bucket: Bucket) -> None:
    """From now on the origin is asked again."""
    index = await open_index(config.index.url)
    try:
        if not await index.unretire(bucket.name):
            raise fail(f"the origin of {bucket.name} is not retired")
        await asyncio.sleep(RETIREMENT_LEARNT_S)
    finally:
        await index.close()
    say(f"the origin of {bucket.name} is asked again")


async def _refuse_while_something_is_missing(index: SqlIndex, bucket: str, *, leave_skipped: bool) -> None:
    totals, facts = await index.totals(bucket), await index.bucket_facts(bucket)
    found = obstacles(totals, facts, leave_skipped=leave_skipped)
    if found:
        raise fail(f"the origin of {bucket} is still needed:\n" + "\n".join(f"  {one}" for one in found))


async def _refuse_unknown_keys(index: SqlIndex, bucket: str, origin: Origin, *, leave_skipped: bool) -> None:
    """What was put into the origin past us since it was listed. Its listing is gone through once more, to its end."""
    unknown: list[str] = []
    async with contextlib.aclosing(walk(origin)) as pages:
        async for page in pages:
            here = await index.unknown_among(bucket, [walked.key for walked in page.keys])
            if leave_skipped:
                here -= await index.skipped_among(bucket, sorted(here))
            unknown += sorted(here)
            if len(unknown) > UNKNOWN_NAMED_MAX:
                break
    if unknown:
        named = "".join(f"\n  {printable(key)}" for key in unknown[:UNKNOWN_NAMED_MAX])
        more = " and more" if len(unknown) > UNKNOWN_NAMED_MAX else ""
        raise fail(f"the origin of {bucket} has keys that are not here{more}; run tgstore migrate {bucket}:{named}")
