"""The keys of the benchmark of listings: of one length, ten a folder, in the order of their numbers."""

from __future__ import annotations

KEYS_A_FOLDER = 10


def key(number: int) -> str:
    """The key of this number; the even ones have moved."""
    return f"photos/{number // KEYS_A_FOLDER:06d}/{number:07d}.jpg"
