"""What `tgstore status` says of the index's snapshots in Telegram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from addon.commands.output import duration_text
from addon.store.snapshot_format import Snapshot


@dataclass(frozen=True)
class Saved:
    """The last snapshot that is pinned, and the last one where it could not be; None where there is none."""

    last: Snapshot | None
    held_back: Snapshot | None


def saved_of(snapshots: Sequence[Snapshot]) -> Saved:
    """What of these, the newest first, is worth telling."""
    ended = [one for one in snapshots if one.taken_at_s is not None]
    last = next((one for one in ended if one.pinned), None)
    return Saved(last, ended[0] if ended and ended[0].held_back else None)


def saved_json(saved: Saved) -> dict[str, Any] | None:
    """The index's last snapshot in Telegram, for machines."""
    if saved.last is None and saved.held_back is None:
        return None
    told: dict[str, Any] = {"held_back": saved.held_back.held_back if saved.held_back else ""}
    if saved.last is not None:
        told |= {"taken_at_s": saved.last.taken_at_s, "objects": saved.last.objects, "documents": len(saved.last.parts)}
    return told


def saved_line(saved: Saved, *, now_s: float) -> str:
    """The same for people."""
    if saved.last is None or saved.last.taken_at_s is None:
        text = "never"
    else:
        ago = duration_text(max(0.0, now_s - saved.last.taken_at_s)) + " ago"
        text = f"{ago}: {saved.last.objects} objects in {len(saved.last.parts)} documents"
    if saved.held_back is not None:
        text += f"; the last one is NOT pinned: {saved.held_back.held_back}"
    return f"index saved in Telegram: {text}"
