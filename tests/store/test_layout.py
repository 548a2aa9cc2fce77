from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.store.layout import (
    EQUAL_SIZE_THROTTLE_FLOOR_BYTES,
    PADDING_BYTES_MAX,
    blocks_of,
    caption,
    extent_bytes_max,
    padding_bytes,
)
from addon.store.records import BLOCK_BYTES, Document, Extent


def extents_of(lengths: list[int]) -> list[Extent]:
    """Extents whose n-th block has the n-th number, counted over the whole object, as its hash."""
    extents, number = [], 0
    for length in lengths:
        blocks = -(-length // BLOCK_BYTES)
        sha256s = b"".join(hashlib.sha256(str(number + block).encode()).digest() for block in range(blocks))
        number += blocks
        document = Document(f"document{len(extents)}", -1, len(extents) + 2, 1, "f", "u", length + 5)
        extents.append(Extent(document, 5, length, sha256s))
    return extents


@given(
    lengths=st.lists(st.integers(1, 3 * BLOCK_BYTES + 17), min_size=1, max_size=5),
    data=st.data(),
)
def test_blocks_cover_exactly_the_range(lengths: list[int], data: st.DataObject) -> None:
    size = sum(lengths)
    start = data.draw(st.integers(0, size))
    length = data.draw(st.integers(0, size - start))
    covered: list[int] = []
    positions = {f"document{index}": sum(lengths[:index]) for index in range(len(lengths))}
    for block in blocks_of(extents_of(lengths), start, length):
        first = positions[block.extent.document.document_id] + block.document_offset - block.extent.offset + block.skip
        covered += [first, first + block.take]
        assert block.skip + block.take <= block.length <= BLOCK_BYTES
        assert block.document_offset + block.length <= block.extent.offset + block.extent.length
        assert block.sha256 == block.extent.block_sha256s[32 * block.number : 32 * block.number + 32] != b""
    assert covered[:1] == ([start] if length else [])
    assert covered[1:-1:2] == covered[2::2]
    assert covered[-1:] == ([start + length] if length else [])


def test_a_range_touches_only_its_own_blocks() -> None:
    blocks = blocks_of(extents_of([2 * BLOCK_BYTES, BLOCK_BYTES + 1]), 2 * BLOCK_BYTES + 7, 10)
    assert [(block.extent.document.document_id, block.number, block.skip, block.take) for block in blocks] == [
        ("document1", 0, 7, 10)
    ]


def test_extents_that_do_not_reach_the_end_of_the_range_are_refused() -> None:
    with pytest.raises(ValueError, match="do not cover"):
        blocks_of(extents_of([10]), 5, 6)


@given(st.integers(1, 19 * BLOCK_BYTES), st.integers(0, 2**31))
def test_padding_never_leads_past_the_document_limit(length: int, chance: int) -> None:
    document_bytes_max = 20_000_000
    length = min(length, extent_bytes_max(document_bytes_max))
    padding = padding_bytes(length, lambda n: chance % n)
    assert 0 <= padding < PADDING_BYTES_MAX
    assert length + padding <= document_bytes_max
    if length <= EQUAL_SIZE_THROTTLE_FLOOR_BYTES:
        assert padding == 0


def test_equal_contents_get_different_document_sizes() -> None:
    sizes = iter(range(1000))
    assert len({padding_bytes(BLOCK_BYTES, lambda n: next(sizes) % n) for _ in range(1000)}) == 1000


def test_a_document_that_cannot_hold_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        extent_bytes_max(BLOCK_BYTES)


def test_a_caption_is_short_ascii_and_names_no_key() -> None:
    text = caption(
        document_id="0" * 32,
        bucket="images",
        key="geheim/ä\ud800.png",
        offset=2**43,
        length=2**30,
        block_sha256s=b"x" * 320,
    )
    assert text.isascii()
    assert len(text) < 300
    assert "geheim" not in text
    assert json.loads(text)["d"] == "0" * 32


def test_blocks_of_a_file_that_nobody_has_read_have_no_hash_and_a_list_that_is_too_short_has_none_that_fits() -> None:
    (whole,) = extents_of([2 * BLOCK_BYTES + 1])
    unknown = Extent(whole.document, whole.offset, whole.length, b"")
    assert [block.sha256 for block in blocks_of([unknown], 0, unknown.length)] == [None, None, None]
    too_short = Extent(whole.document, whole.offset, whole.length, whole.block_sha256s[:32])
    assert [block.sha256 for block in blocks_of([too_short], 0, unknown.length)] == [
        whole.block_sha256s[:32],
        b"",
        b"",
    ]
