"""The CRC of a whole from the CRCs of its pieces, without the bytes: what S3 calls a full object checksum of a multipart upload.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html, "Full object and composite checksum
types". Only linear checksums have this property, so there is none for SHA-1 and SHA-256.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from awscrt import checksums as crt  # type: ignore[import-untyped]  # awscrt ships no types

from addon.s3.checksums import DIGEST_BYTES

_COMBINE: Mapping[str, Callable[[int, int, int], int]] = MappingProxyType(
    {"crc32": crt.combine_crc32, "crc32c": crt.combine_crc32c, "crc64nvme": crt.combine_crc64nvme}
)

COMBINABLE = frozenset(_COMBINE)
"""The algorithms whose values can be combined."""


def combined_crc(algorithm: str, pieces: Iterable[tuple[str, int]]) -> str:
    """The checksum of all `pieces` one behind the other, in base64; each is (its checksum in base64, its length in bytes).

    Raises KeyError for an algorithm that is not in `COMBINABLE`.
    """
    combine = _COMBINE[algorithm]
    whole = 0  # the CRC of nothing
    for checksum, length in pieces:
        whole = combine(whole, int.from_bytes(base64.b64decode(checksum), "big"), length)
    return base64.b64encode(whole.to_bytes(DIGEST_BYTES[algorithm], "big")).decode("ascii")
