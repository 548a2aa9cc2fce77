"""Digests of bodies: what a request promises of its body, and what the body has.

Which headers and trailers there are: https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from awscrt import checksums as crt  # type: ignore[import-untyped]  # awscrt ships no types

from addon.s3.errors import S3Error

DIGEST_BYTES: Mapping[str, int] = MappingProxyType({"crc32": 4, "crc32c": 4, "crc64nvme": 8, "sha1": 20, "sha256": 32})
"""The checksum algorithms that are built here, and the length of their values in bytes."""

# What S3 knows besides. They are refused: accepted and not checked would be a broken promise.
NOT_BUILT = frozenset({"sha512", "md5", "xxhash64", "xxhash3", "xxhash128"})

# S3 computes this one for every upload that brings no checksum of its own.
DEFAULT_ALGORITHM = "crc64nvme"

CHECKSUM_PREFIX = "x-amz-checksum-"
_NOT_A_DIGEST = frozenset({"x-amz-checksum-mode", "x-amz-checksum-type", "x-amz-checksum-algorithm"})


class _Hash(Protocol):
    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc:
    """A CRC of awscrt in the shape of hashlib's objects."""

    _FUNCTIONS = MappingProxyType({"crc32": crt.crc32, "crc32c": crt.crc32c, "crc64nvme": crt.crc64nvme})

    def __init__(self, algorithm: str) -> None:
        self._function, self._bytes = self._FUNCTIONS[algorithm], DIGEST_BYTES[algorithm]
        self._value = 0

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._bytes, "big")


class BodyDigests:
    """All digests of one body in one pass: MD5 always (it is the ETag), and those in `want` (keys of `DIGEST_BYTES`).

    `update` blocks for as long as hashing takes and may be called in a worker thread, one call at a time: hashlib lets other
    threads run meanwhile. Blocks of 256 KiB to 1 MiB suit it. The finalisers may be called at any time and more than once.
    """

    def __init__(self, want: Iterable[str] = frozenset()) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._wanted: dict[str, _Hash] = {algorithm: _new_hash(algorithm) for algorithm in want}

    def update(self, block: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the body."""
        self._md5.update(block)
        for wanted in self._wanted.values():
            wanted.update(block)

    def md5_hex(self) -> str:
        """The MD5 in lower-case hex, as in an ETag."""
        return self._md5.hexdigest()

    def md5_base64(self) -> str:
        """The MD5 as in Content-MD5."""
        return base64.b64encode(self._md5.digest()).decode("ascii")

    def sha256_hex(self) -> str:
        """The SHA-256 in lower-case hex, as in x-amz-content-sha256. Raises KeyError where it was not wanted."""
        return self._wanted["sha256"].digest().hex()

    def checksum(self, algorithm: str) -> str:
        """One digest in base64, as in x-amz-checksum-*. Raises KeyError where it was not wanted."""
        return base64.b64encode(self._wanted[algorithm].digest()).decode("ascii")


def _new_hash(algorithm: str) -> _Hash:
    if algorithm == "sha256":
        return hashlib.sha256()
    if algorithm == "sha1":
        return hashlib.sha1(usedforsecurity=False)
    return _Crc(algorithm)


@dataclass(frozen=True, slots=True)
class ExpectedDigests:
    """What the headers of an upload promise: `content_md5` and `value` in base64, None where nothing is promised.

    `algorithm` is the one to store; with `in_trailer` its value comes behind the body.
    """

    content_md5: str | None
    algorithm: str
    value: str | None
    in_trailer: bool

    @staticmethod
    def from_headers(headers: Sequence[tuple[str, str]]) -> ExpectedDigests:
        """Read the promises. Raises InvalidDigest, InvalidRequest, InvalidArgument or NotImplemented as S3 does, before the body.

        `headers` has lower-case names.
        """
        relevant = _relevant(headers)
        content_md5 = relevant.get("content-md5")
        if content_md5 is not None and _decoded_length(content_md5) != 16:
            raise S3Error(
                "InvalidDigest", "The Content-MD5 you specified was invalid.", details={"Content-MD5": content_md5}
            )
        declared = _declared(relevant)
        _check_declared_algorithm(relevant.get("x-amz-sdk-checksum-algorithm"), declared)
        if relevant.get("x-amz-checksum-type", "FULL_OBJECT").upper() != "FULL_OBJECT":
            raise S3Error("InvalidRequest", "Value for x-amz-checksum-type header is invalid.")
        if declared is None:
            return ExpectedDigests(content_md5, DEFAULT_ALGORITHM, None, in_trailer=False)
        algorithm, value = declared
        return ExpectedDigests(content_md5, algorithm, value, in_trailer=value is None)

    @property
    def algorithms(self) -> frozenset[str]:
        """What `BodyDigests` must want, so that `verify` can compare."""
        return frozenset({self.algorithm})

    def verify(self, digests: BodyDigests, trailers: Mapping[str, str]) -> Mapping[str, str]:
        """Compare the whole body's digests; returns the checksums to store with the object.

        `trailers` has lower-case names. The result has the algorithm's name (base64 value) and `type`. Raises BadDigest where
        something differs, MalformedTrailerError where the trailers are not the ones that were declared, InvalidRequest for a
        value that is no digest.
        """
        if self.content_md5 is not None and not _equal(self.content_md5, digests.md5_base64()):
            raise S3Error(
                "BadDigest",
                "The Content-MD5 you specified did not match what we received.",
                details={"ExpectedDigest": self.content_md5, "CalculatedDigest": digests.md5_base64()},
            )
        expected = self._trailing(trailers) if self.in_trailer or trailers else self.value
        calculated = digests.checksum(self.algorithm)
        if expected is not None and not _equal(expected, calculated):
            raise S3Error(
                "BadDigest", f"The {self.algorithm.upper()} you specified did not match the calculated checksum."
            )
        return {self.algorithm: calculated, "type": "FULL_OBJECT"}

    def _trailing(self, trailers: Mapping[str, str]) -> str | None:
        """The value from the trailers, of which each checksum must have been declared, and each declared one be there."""
        digests = {name for name in trailers if name.startswith(CHECKSUM_PREFIX)}
        if digests != ({CHECKSUM_PREFIX + self.algorithm} if self.in_trailer else set()):
            raise S3Error(
                "MalformedTrailerError",
                "The request contained trailing data that was not well-formed or did not conform to our published schema.",
            )
        if not self.in_trailer:
            return self.value
        value = trailers[CHECKSUM_PREFIX + self.algorithm].strip(" \t")
        if _decoded_length(value) != DIGEST_BYTES[self.algorithm]:
            raise S3Error("InvalidRequest", f"Value for {CHECKSUM_PREFIX}{self.algorithm} trailing header is invalid.")
        return value


def _relevant(headers: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The headers that matter here. Raises InvalidArgument for one that stands twice."""
    relevant: dict[str, str] = {}
    for name, value in headers:
        if name in ("content-md5", "x-amz-trailer", "x-amz-sdk-checksum-algorithm") or name.startswith(CHECKSUM_PREFIX):
            if name in relevant:
                raise S3Error("InvalidArgument", f"The header {name} was given more than once.")
            relevant[name] = value.strip(" \t")
    return relevant


def _declared(relevant: Mapping[str, str]) -> tuple[str, str | None] | None:
    """The one checksum that is promised: (algorithm, value), without value where it will trail."""
    found: list[tuple[str, str | None]] = []
    for name, value in relevant.items():
        if name.startswith(CHECKSUM_PREFIX) and name not in _NOT_A_DIGEST:
            algorithm = _known_algorithm(
                name.removeprefix(CHECKSUM_PREFIX),
                "The algorithm type you specified in x-amz-checksum- header is invalid.",
            )
            if _decoded_length(value) != DIGEST_BYTES[algorithm]:
                raise S3Error("InvalidRequest", f"Value for {name} header is invalid.")
            found.append((algorithm, value))
    for trailer in relevant.get("x-amz-trailer", "").split(","):
        if name := trailer.strip(" \t").lower():
            unsupported = "The value specified in the x-amz-trailer header is not supported"
            if not name.startswith(CHECKSUM_PREFIX):
                raise S3Error("InvalidRequest", unsupported)
            found.append((_known_algorithm(name.removeprefix(CHECKSUM_PREFIX), unsupported), None))
    if len(found) > 1:
        raise S3Error(
            "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        )
    return found[0] if found else None


def _check_declared_algorithm(name: str | None, declared: tuple[str, str | None] | None) -> None:
    """x-amz-sdk-checksum-algorithm must name what is there."""
    if name is None:
        return
    valid = ", ".join(algorithm.upper() for algorithm in DIGEST_BYTES)
    algorithm = _known_algorithm(
        name.lower(),
        f"Checksum algorithm provided is unsupported. Please try again with any of the valid types: [{valid}]",
    )
    if declared is None:
        raise S3Error(
            "InvalidRequest",
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.",
        )
    if declared[0] != algorithm:
        raise S3Error("InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid.")


def _known_algorithm(name: str, refusal: str) -> str:
    if name in DIGEST_BYTES:
        return name
    if name in NOT_BUILT:
        raise S3Error("NotImplemented", f"The checksum algorithm {name.upper()} is not implemented by tgstore yet.")
    raise S3Error("InvalidRequest", refusal)


def _decoded_length(value: str) -> int | None:
    """How many bytes a base64 text holds; None where it is none, or not in its one canonical spelling."""
    try:
        decoded = base64.b64decode(value.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return None
    return len(decoded) if base64.b64encode(decoded).decode("ascii") == value else None


def _equal(expected: str, calculated: str) -> bool:
    return hmac.compare_digest(expected.encode("ascii"), calculated.encode("ascii"))
