"""Ranges of bytes: what several of them cover together, and what is left of some without others. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Range = tuple[int, int]
"""(offset, length), in bytes."""


def merged(ranges: Iterable[Range]) -> list[Range]:
    """The same bytes as few ranges in ascending order: what overlaps or touches is one. Empty ranges are left out."""
    found: list[Range] = []
    for offset, length in sorted(ranges):
        if not length:
            continue
        if found and offset <= sum(found[-1]):
            first, known = found[-1]
            found[-1] = (first, max(known, offset + length - first))
        else:
            found.append((offset, length))
    return found


def uncovered_bytes(ranges: Iterable[Range], by: Iterable[Range]) -> int:
    """How many bytes of `ranges` lie in none of `by`."""
    others = list(by)
    return covered_bytes([*ranges, *others]) - covered_bytes(others)


def covered_bytes(ranges: Iterable[Range]) -> int:
    """How many bytes the ranges cover together."""
    return sum(length for _, length in merged(ranges))


def contains(outer: Sequence[Range], offset: int, length: int) -> bool:
    """Whether one of the ranges holds all of these bytes."""
    return any(first <= offset and offset + length <= first + known for first, known in outer)
