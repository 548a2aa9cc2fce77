"""In which parts an object goes to the origin."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.s3.multipart import PART_BYTES_MIN, PARTS_MAX
from addon.store.origin_parts import SINGLE_BYTES_MAX, etag_is_certain, planned_parts
from addon.store.records import ObjectPart, ObjectRecord, Provenance

MIB = 1 << 20
MD5 = "0cc175b9c0f1b6a831c399e269772661"


def record(size: int, etag: str = MD5, parts: int = 0, **headers: str) -> ObjectRecord:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ObjectRecord("b", "k", 1, size, etag, 0, Provenance.WRITTEN_HERE, False, headers=named, parts_count=parts)


def sizes(of: ObjectRecord, parts: Sequence[ObjectPart] = ()) -> list[int]:
    planned = planned_parts(of, parts)
    found = [part.size for part in planned]
    assert [part.start for part in planned] == list(accumulate([0, *found]))[: len(found)]
    return found


def test_known_parts_stay_as_they_are() -> None:
    parts = [ObjectPart(2, 6, {"crc32": "a"}), ObjectPart(7, 4, {}), ObjectPart(9, 0, {})]
    planned = planned_parts(record(10, f"{MD5}-3", parts=3), parts)
    assert [(part.number, part.start, part.size) for part in planned] == [(2, 0, 6), (7, 6, 4), (9, 10, 0)]
    assert planned[0].checksums == {"crc32": "a"}


def test_parts_of_another_object_are_refused() -> None:
    for of, parts in (
        (record(10, parts=1), [ObjectPart(1, 9, {})]),
        (record(10), [ObjectPart(1, 10, {})]),
        (record(10, f"{MD5}-2", parts=2), []),
    ):
        with pytest.raises(ValueError, match="not the parts"):
            planned_parts(of, parts)


@pytest.mark.parametrize(
    ("size", "etag", "expected"),
    [
        (0, MD5, []),
        (SINGLE_BYTES_MAX, MD5, []),
        (20 * MIB, f"{MD5}-3", [8 * MIB, 8 * MIB, 4 * MIB]),
        (13 * MIB, f"{MD5}-3", [5 * MIB, 5 * MIB, 3 * MIB]),
        (91 * MIB, f"{MD5}-7", [15 * MIB] * 6 + [1 * MIB]),
        (7, f"{MD5}-1", [7]),
        (0, f"{MD5}-1", [0]),
        (30, f"{MD5}-3", [30]),
    ],
)
def test_of_a_copy_the_etag_tells_how_many(size: int, etag: str, expected: list[int]) -> None:
    assert sizes(record(size, etag)) == expected


@settings(max_examples=50, deadline=None)
@given(size=st.integers(0, 5 << 40), count=st.integers(0, 99_999))
def test_parts_keep_within_the_limits_and_make_up_the_object(size: int, count: int) -> None:
    planned = sizes(record(size, f"{MD5}-{count}" if count else MD5))
    if planned:
        assert sum(planned) == size
        assert len(planned) <= PARTS_MAX
        assert max(planned) <= SINGLE_BYTES_MAX
        assert all(one >= PART_BYTES_MIN for one in planned[:-1])
    else:
        assert size <= SINGLE_BYTES_MAX


def test_which_etags_come_out_the_same() -> None:
    assert etag_is_certain(record(1))
    assert etag_is_certain(record(1, f"{MD5}-1", parts=1))
    assert not etag_is_certain(record(1, f"{MD5}-1"))
    assert not etag_is_certain(record(SINGLE_BYTES_MAX + 1))
    assert not etag_is_certain(record(1, x_amz_server_side_encryption="aws:kms"))
