"""A range of an object over the same documents: it reads as the range does, and each of its blocks has the right hash."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.store.extent_ranges import ExtentRange
from addon.store.layout import blocks_of
from addon.store.records import BLOCK_BYTES, Document, Extent

CONTENT = random.Random(1).randbytes(4 * BLOCK_BYTES)


def document(number: int) -> Document:
    return Document(str(number), -100, number, 1, "f", "u", len(CONTENT))


def hashes(data: bytes) -> bytes:
    return b"".join(hashlib.sha256(data[at : at + BLOCK_BYTES]).digest() for at in range(0, len(data), BLOCK_BYTES))


def cut(places: list[tuple[int, int]]) -> tuple[list[Extent], bytes]:
    """Extents at these (offset, length) of documents that all hold `CONTENT`, and the object that they make."""
    extents, body = [], b""
    for number, (offset, length) in enumerate(places):
        data = CONTENT[offset : offset + length]
        extents.append(Extent(document(number), offset, length, hashes(data)))
        body += data
    return extents, body


def read(extents: tuple[Extent, ...] | list[Extent], start: int, length: int) -> bytes:
    """As a reader does it: block by block, each checked."""
    read_bytes = b""
    for block in blocks_of(extents, start, length):
        data = CONTENT[block.document_offset : block.document_offset + block.length]
        assert hashlib.sha256(data).digest() == block.sha256
        read_bytes += data[block.skip : block.skip + block.take]
    return read_bytes


LENGTHS = st.one_of(
    st.sampled_from([1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1]), st.integers(1, 2 * BLOCK_BYTES)
)
PLACES = st.lists(st.tuples(st.integers(0, BLOCK_BYTES), LENGTHS), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(st.data(), PLACES)
def test_a_range_reads_as_the_object_does_there(data: st.DataObject, places: list[tuple[int, int]]) -> None:
    extents, body = cut(places)
    start = data.draw(st.integers(0, len(body) - 1))
    length = data.draw(st.integers(1, len(body) - start))
    ranged = ExtentRange(extents, start, length)
    wanted = body[start : start + length]
    at = 0
    while at < length:
        step = data.draw(st.integers(1, BLOCK_BYTES + 5))
        ranged.update(wanted[at : at + step])
        at += step
    made = ranged.extents()
    assert sum(extent.length for extent in made) == length
    assert read(made, 0, length) == wanted
    middle = length // 2
    assert read(made, middle, length - middle) == wanted[middle:]
    assert {extent.document.document_id for extent in made} <= {extent.document.document_id for extent in extents}


@pytest.mark.parametrize("start", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1])
@pytest.mark.parametrize("length", [1, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * BLOCK_BYTES, 3 * BLOCK_BYTES - 1])
@pytest.mark.parametrize("step", [BLOCK_BYTES // 4, BLOCK_BYTES, BLOCK_BYTES + 7])
def test_ranges_of_many_blocks(start: int, length: int, step: int) -> None:
    extents, body = cut([(3, 2 * BLOCK_BYTES + 5), (0, 2 * BLOCK_BYTES)])
    ranged = ExtentRange(extents, start, length)
    wanted = body[start : start + length]
    for at in range(0, length, step):
        ranged.update(wanted[at : at + step])
    assert read(ranged.extents(), 0, length) == wanted


def test_a_range_of_a_range() -> None:
    extents, body = cut([(7, 2 * BLOCK_BYTES)])
    first = ExtentRange(extents, 100, BLOCK_BYTES + 50)
    first.update(body[100 : 150 + BLOCK_BYTES])
    second = ExtentRange(first.extents(), 10, BLOCK_BYTES)
    second.update(body[110 : 110 + BLOCK_BYTES])
    assert second.extents() == (
        Extent(document(0), 117, BLOCK_BYTES, hashlib.sha256(body[110 : 110 + BLOCK_BYTES]).digest()),
    )


def test_an_empty_range_has_no_extents() -> None:
    assert ExtentRange([], 0, 0).extents() == ()


def test_too_few_and_too_many_bytes_are_noticed() -> None:
    extents, body = cut([(0, 100)])
    ranged = ExtentRange(extents, 10, 20)
    ranged.update(body[10:29])
    with pytest.raises(ValueError, match="missing"):
        ranged.extents()
    with pytest.raises(ValueError, match="more bytes"):
        ranged.update(body[29:31])


@pytest.mark.parametrize(("start", "length"), [(0, 101), (100, 1), (50, 51)])
def test_a_range_beyond_the_extents_is_refused(start: int, length: int) -> None:
    extents, _ = cut([(0, 100)])
    with pytest.raises(ValueError, match="do not cover"):
        ExtentRange(extents, start, length)
