"""CRCs of a whole from those of its pieces, against computing over the whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.checksums import BodyDigests
from addon.s3.crc_combine import COMBINABLE, combined_crc


def crc(algorithm: str, body: bytes) -> str:
    digests = BodyDigests(want={algorithm})
    digests.update(body)
    return digests.checksum(algorithm)


@given(pieces=st.lists(st.binary(max_size=300), max_size=8), algorithm=st.sampled_from(sorted(COMBINABLE)))
def test_the_pieces_give_what_the_whole_has(pieces: list[bytes], algorithm: str) -> None:
    combined = combined_crc(algorithm, [(crc(algorithm, piece), len(piece)) for piece in pieces])
    assert combined == crc(algorithm, b"".join(pieces))


def test_order_and_length_matter() -> None:
    a, b = (crc("crc32", b"one"), 3), (crc("crc32", b"other"), 5)
    assert combined_crc("crc32", [a, b]) == crc("crc32", b"oneother")
    assert combined_crc("crc32", [b, a]) != combined_crc("crc32", [a, b])
    assert combined_crc("crc32", [a, (b[0], 6)]) != combined_crc("crc32", [a, b])


def test_pieces_of_five_gibibytes() -> None:
    """Their lengths do not fit into 32 bits. Zeros, whose CRC can be had from doubling."""
    length, zeros = 1, crc("crc32c", b"\0")
    while length < 5 << 30:
        zeros, length = combined_crc("crc32c", [(zeros, length), (zeros, length)]), 2 * length
    step = 1 << 20
    stepped = crc("crc32c", bytes(step))
    assert combined_crc("crc32c", [(stepped, step)] * (length // step)) == zeros


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "md5"])
def test_other_checksums_cannot_be_combined(algorithm: str) -> None:
    with pytest.raises(KeyError):
        combined_crc(algorithm, [])
