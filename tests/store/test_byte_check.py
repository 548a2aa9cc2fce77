"""An object's bytes against its own hashes, however they are cut."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.checksums import BodyDigests
from addon.s3.multipart import COMPOSITE, composite_checksum, multipart_etag
from addon.store.byte_check import ByteHashes
from addon.store.multipart import PartFacts
from addon.store.records import ObjectPart, ObjectRecord, Provenance


def record(body: bytes, etag: str = "", parts: int = 0, **checksums: str) -> ObjectRecord:
    etag = etag or hashlib.md5(body).hexdigest()
    return ObjectRecord(
        "b", "k", 1, len(body), etag, 0, Provenance.WRITTEN_HERE, False, checksums=checksums, parts_count=parts
    )


def checksum(algorithm: str, body: bytes) -> str:
    digests = BodyDigests({algorithm})
    digests.update(body)
    return digests.checksum(algorithm)


def whats(of: ObjectRecord, pieces: Sequence[bytes], parts: Sequence[ObjectPart] = ()) -> list[str]:
    hashes = ByteHashes(of, parts)
    for piece in pieces:
        hashes.update(piece)
    return [difference.what for difference in hashes.differences()]


def in_parts(bodies: Sequence[bytes]) -> tuple[ObjectRecord, list[ObjectPart]]:
    """An object of these parts with composite checksums."""
    parts = [
        ObjectPart(number, len(body), {"crc32c": checksum("crc32c", body)}) for number, body in enumerate(bodies, 1)
    ]
    facts = [
        PartFacts(part.number, part.size, hashlib.md5(body).hexdigest(), part.checksums, 0, 0)
        for part, body in zip(parts, bodies, strict=True)
    ]
    composite = composite_checksum("crc32c", [part.checksums["crc32c"] for part in parts])
    whole = record(b"".join(bodies), multipart_etag(facts), len(parts), crc32c=composite, type=COMPOSITE)
    return whole, parts


@pytest.mark.parametrize(
    ("of", "body", "expected"),
    [
        (record(b"abc"), b"abc", []),
        (record(b"abc"), b"abd", ["MD5 of the bytes"]),
        (record(b"abc"), b"ab", ["length", "MD5 of the bytes"]),
        (record(b""), b"", []),
        (record(b"abc", "etag-of-kms"), b"abd", []),
        (record(b"abc", "x-3", sha256=checksum("sha256", b"abc"), type="FULL_OBJECT"), b"abc", []),
        (record(b"abc", "x-3", sha256=checksum("sha256", b"abc")), b"abd", ["sha256 of the bytes"]),
        (record(b"abc", "x-3", crc32="AAAAAA==-3", type="COMPOSITE"), b"abc", []),
    ],
)
def test_every_hash_that_the_object_has_is_compared(of: ObjectRecord, body: bytes, expected: list[str]) -> None:
    assert whats(of, [body]) == expected


@given(bodies=st.lists(st.binary(max_size=9), min_size=1, max_size=5), cuts=st.lists(st.integers(0, 45), max_size=6))
def test_parts_are_found_however_the_bytes_are_cut(bodies: list[bytes], cuts: list[int]) -> None:
    whole, parts = in_parts(bodies)
    body = b"".join(bodies)
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    pieces = [body[start:end] for start, end in itertools.pairwise(places)]
    assert whats(whole, pieces, parts) == []


def test_a_damaged_part_is_named() -> None:
    whole, parts = in_parts([b"first", b"second"])
    assert whats(whole, [b"firstSecond"], parts) == ["ETag of the bytes", "crc32c of part 2", "crc32c of the parts"]
