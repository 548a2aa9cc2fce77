"""`tgstore drain`: until nothing waits on this machine's disk any more, so that the machine, or its disk, may go."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from addon.commands.output import say, say_json
from addon.commands.status import spool_lines
from addon.config import Config
from addon.storage import Storage, command_storage, spool_folder
from addon.store.retirement import PROXY_GONE_AFTER_S
from addon.store.spool import SpoolStatus, spool_status
from addon.store.spool_folder import SpoolFolder

# How often is looked what still waits, and how often it is said, in seconds.
LOOK_S = 0.5
SAY_EVERY_S = 5.0


async def drain(config: Config, *, as_json: bool) -> bool:
    """Wait until all that was acknowledged is in Telegram; send it where no proxy runs that does. False where some of it is
    lost."""
    async with command_storage(config) as storage:
        await storage.spool.recover(clears=False)
        try:
            status = await _drained(storage, spool_folder(config), as_json=as_json)
        finally:
            await storage.spool.stop()
    _say(status, as_json=as_json)
    return not status.lost


async def _drained(storage: Storage, folder: SpoolFolder, *, as_json: bool) -> SpoolStatus:
    """What is left in the end: nothing but what is lost."""
    sends, say_at_s = None, time.monotonic() + SAY_EVERY_S
    status = await spool_status(storage.index, folder)
    while status.backlog.documents > len(status.lost):
        sends = await _see_to_it(storage, sends, as_json=as_json)
        await asyncio.sleep(LOOK_S)
        status = replace(status, backlog=await storage.index.backlog())
        if status.backlog.documents <= len(status.lost):
            status = await spool_status(storage.index, folder)
        elif time.monotonic() >= say_at_s:
            say_at_s = time.monotonic() + SAY_EVERY_S
            _say(status, as_json=as_json)
    return status


async def _see_to_it(storage: Storage, sends: bool | None, *, as_json: bool) -> bool:
    """Whether this process sends: only while no proxy runs, which knows what else it has to send."""
    is_proxys = await storage.index.proxies_seen_since(time.time() - PROXY_GONE_AFTER_S) > 0
    if sends is not is_proxys and sends is not None:
        return sends
    if is_proxys:
        await storage.spool.stop()
    else:
        storage.spool.start()
    if not as_json:
        say(f"{'a' if is_proxys else 'no'} proxy runs on this index: {'it' if is_proxys else 'this command'} sends")
    return not is_proxys


def _say(status: SpoolStatus, *, as_json: bool) -> None:
    if as_json:
        say_json(status.as_json())
        return
    for line in spool_lines(status, now_s=time.time()):
        say(line)
