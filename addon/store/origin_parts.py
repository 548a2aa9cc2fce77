"""In which parts an object is uploaded to the origin: pure arithmetic, no I/O.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html has the limits. Where the parts are known, they are the same ones.
Of an object that was copied here only its ETag tells how many there were, so the size that common clients would have used for
that number is taken, and the ETag mostly comes out the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from addon.s3.metadata import etag_is_md5
from addon.s3.multipart import PART_BYTES_MIN, PARTS_MAX
from addon.store.records import ObjectPart, ObjectRecord

# The most that one PutObject or one part takes.
SINGLE_BYTES_MAX = 5 << 30
# Of an object that must go in parts and never had any.
PART_BYTES_DEFAULT = 64 << 20

_COMPOSITE = re.compile(r"[0-9a-f]{32}-([0-9]{1,5})", re.ASCII)
# In MiB: aws-cli and boto3; rclone, minio-js and AWS's other SDKs; minio; s3cmd; and round ones.
_COMMON_PART_MIB = (8, 5, 16, 15, 64, 10, 20, 25, 32, 50, 100, 128, 256, 512, 1024)


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """`size` bytes from `start` of the object; `etag` is the origin's, once it has the part."""

    number: int
    start: int
    size: int
    checksums: Mapping[str, str]
    etag: str = ""


def planned_parts(record: ObjectRecord, parts: Sequence[ObjectPart]) -> list[PlannedPart]:
    """The parts that the object goes in; none where it goes at once.

    Raises ValueError where `parts` are not all of the object: those of another one, or left out for one that has some.
    """
    if sum(part.size for part in parts) != (record.size if parts else 0) or len(parts) != record.parts_count:
        raise ValueError("these are not the parts of the object")
    if parts and max(part.size for part in parts) <= SINGLE_BYTES_MAX:
        planned, start = [], 0
        for part in parts:
            planned.append(PlannedPart(part.number, start, part.size, part.checksums))
            start += part.size
        return planned
    found = _COMPOSITE.fullmatch(record.etag)
    if found is None and record.size <= SINGLE_BYTES_MAX:
        return []
    part_bytes = _part_bytes(record.size, int(found[1]) if found is not None else 0)
    starts = range(0, max(record.size, 1), part_bytes)
    return [
        PlannedPart(number, start, min(part_bytes, record.size - start), {})
        for number, start in enumerate(starts, start=1)
    ]


def etag_is_certain(record: ObjectRecord) -> bool:
    """Whether the object gets the same ETag again at an origin that encrypts with no keys of its own."""
    if record.parts_count:
        return True
    return record.size <= SINGLE_BYTES_MAX and etag_is_md5(record.etag, record.headers)


def _part_bytes(size: int, count: int) -> int:
    """A size of parts of which `count` (0: it does not matter) make up the object, as far as the limits allow."""
    if 1 <= count <= PARTS_MAX:
        for mebibytes in _COMMON_PART_MIB:
            if -(-size // (mebibytes << 20)) == count:
                return mebibytes << 20
        even = -(-size // count)
        if PART_BYTES_MIN <= even <= SINGLE_BYTES_MAX or (count == 1 and size <= SINGLE_BYTES_MAX):
            return max(even, 1)
    return max(PART_BYTES_DEFAULT, -(-size // PARTS_MAX))
