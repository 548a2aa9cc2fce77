"""`tgstore snapshot`: save the index in Telegram now."""

from __future__ import annotations

from addon.commands.output import errors, say, say_json, size_text
from addon.config import Config
from addon.storage import command_storage, snapshots_of
from addon.store.snapshot_format import Snapshot


async def take_snapshot(config: Config, *, accept: bool, as_json: bool) -> bool:
    """Take a snapshot, clear old ones away, and say what came of it. False where it was not pinned."""
    async with command_storage(config) as storage:
        snapshots = snapshots_of(config, storage)
        snapshot = await snapshots.take(accept=accept)
        cleared = await snapshots.clear_away()
    length = sum(part.length for part in snapshot.parts)
    if as_json:
        say_json(_json(snapshot, length, cleared))
    else:
        say(
            f"The index is saved in Telegram: {snapshot.objects} objects, {len(snapshot.parts)} documents "
            f"({size_text(length)})."
        )
        if not snapshot.pinned:
            errors.print(f"It is not pinned: {snapshot.held_back}.", style="red", markup=False)
    return snapshot.pinned


def _json(snapshot: Snapshot, length: int, cleared: int) -> dict[str, object]:
    return {
        "snapshot": snapshot.snapshot_id,
        "objects": snapshot.objects,
        "documents": len(snapshot.parts),
        "bytes": length,
        "pinned": snapshot.pinned,
        "held_back": snapshot.held_back,
        "cleared_away": cleared,
    }
