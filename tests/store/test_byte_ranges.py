"""Ranges of bytes, against sets of bytes."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from addon.store.byte_ranges import Range, contains, covered_bytes, merged, uncovered_bytes

ranges = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)), max_size=8)


def bytes_of(given: list[Range]) -> set[int]:
    return {number for offset, length in given for number in range(offset, offset + length)}


@given(ranges)
def test_merged_ranges_are_the_same_bytes_in_order_and_apart(some: list[Range]) -> None:
    found = merged(some)
    assert bytes_of(found) == bytes_of(some)
    assert all(length > 0 for _, length in found)
    assert all(offset + length < after for (offset, length), (after, _) in itertools.pairwise(found))


@given(ranges, ranges)
def test_what_others_cover_is_not_counted(some: list[Range], others: list[Range]) -> None:
    assert covered_bytes(some) == len(bytes_of(some))
    assert uncovered_bytes(some, others) == len(bytes_of(some) - bytes_of(others))


@given(ranges, st.integers(0, 40), st.integers(1, 12))
def test_a_range_is_contained_where_all_its_bytes_are(some: list[Range], offset: int, length: int) -> None:
    assert contains(merged(some), offset, length) == (set(range(offset, offset + length)) <= bytes_of(some))
