"""The rules of multipart uploads: checksum types, which parts make an object, its ETag and its checksums. Pure.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html and qfacts.html (the limits),
…/checking-object-integrity-upload.html (which checksum types there are), the API reference of the operations for the headers. The
messages are the ones that S3 gives, as other servers' test suites recorded them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from addon.s3.checksums import CHECKSUM_PREFIX, DEFAULT_ALGORITHM, DIGEST_BYTES, NOT_BUILT, BodyDigests
from addon.s3.crc_combine import COMBINABLE, combined_crc
from addon.s3.errors import S3Error
from addon.s3.operations import PART_NUMBER_MAX

PART_BYTES_MIN = 5 << 20
"""Every part but the last has at least this many bytes."""

PARTS_MAX = PART_NUMBER_MAX
OBJECT_BYTES_MAX = 5 << 40

COMPOSITE, FULL_OBJECT = "COMPOSITE", "FULL_OBJECT"
CHECKSUM_TYPE = "x-amz-checksum-type"

# Headers that say something of the upload or its object; in a request whose body is a document they promise nothing of the body.
ABOUT_THE_OBJECT = frozenset(
    {
        CHECKSUM_TYPE,
        "x-amz-checksum-algorithm",
        *(CHECKSUM_PREFIX + algorithm for algorithm in (*DIGEST_BYTES, *NOT_BUILT)),
    }
)

_UPLOAD_ID_BYTES = 32
_UPLOAD_ID = re.compile(r"[0-9a-f]{12}\.[A-Za-z0-9_-]{43}", re.ASCII)
_SIZE = re.compile(r"[0-9]{1,19}", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,5}", re.ASCII)


class HeldPart(Protocol):
    """What must be known of a part that was uploaded: the fields of `store.multipart.PartFacts`."""

    @property
    def number(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def md5_hex(self) -> str: ...
    @property
    def checksums(self) -> Mapping[str, str]: ...


Held = TypeVar("Held", bound=HeldPart)


@dataclass(frozen=True, slots=True)
class ChecksumPlan:
    """Which checksum an upload's object will have; both are empty where the client named none."""

    algorithm: str = ""
    type: str = ""

    @property
    def computed(self) -> str:
        """The algorithm that is computed of each part: S3 adds CRC64NVME where none was named."""
        return self.algorithm or DEFAULT_ALGORITHM

    @property
    def computed_type(self) -> str:
        """The type that belongs to `computed`."""
        return self.type or FULL_OBJECT

    @property
    def headers(self) -> list[tuple[str, str]]:
        """What the answer to the request that begins the upload says of it."""
        if not self.algorithm:
            return []
        return [("x-amz-checksum-algorithm", self.algorithm.upper()), (CHECKSUM_TYPE, self.type)]


@dataclass(frozen=True, slots=True)
class ListedPart:
    """A part as the client lists it; `etag` has no quotes, `checksums` are base64 by algorithm."""

    number: int
    etag: str
    checksums: Mapping[str, str] = field(default_factory=dict)


def checksum_plan(headers: Sequence[tuple[str, str]]) -> ChecksumPlan:
    """The checksum headers of a CreateMultipartUpload. Raises InvalidRequest, InvalidArgument or NotImplemented."""
    algorithm = (_only(headers, "x-amz-checksum-algorithm") or "").lower()
    checksum_type = _checksum_type(headers)
    if not algorithm:
        if checksum_type is not None:
            raise _invalid_request(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
            )
        return ChecksumPlan()
    if algorithm in NOT_BUILT:
        raise S3Error(
            "NotImplemented", f"The checksum algorithm {algorithm.upper()} is not implemented by tgstore yet."
        )
    if algorithm not in DIGEST_BYTES:
        valid = ", ".join(name.upper() for name in DIGEST_BYTES)
        raise _invalid_request(
            f"Checksum algorithm provided is unsupported. Please try again with any of the valid types: [{valid}]"
        )
    if checksum_type is None:
        checksum_type = FULL_OBJECT if algorithm == "crc64nvme" else COMPOSITE
    if (checksum_type == FULL_OBJECT and algorithm not in COMBINABLE) or (
        checksum_type == COMPOSITE and algorithm == "crc64nvme"
    ):
        raise _invalid_request(
            f"The {checksum_type} checksum type cannot be used with the {algorithm} checksum algorithm."
        )
    return ChecksumPlan(algorithm, checksum_type)


def check_part_algorithm(plan: ChecksumPlan, declared: str | None) -> None:
    """A part brings the upload's checksum or none (`declared` is its algorithm). Raises InvalidRequest."""
    if plan.algorithm and declared is not None and declared != plan.algorithm:
        raise _type_mismatch(plan.algorithm, declared)


def new_upload_id(now_s: float, token_urlsafe: Callable[[int], str]) -> str:
    """An upload id: unguessable, safe in URLs, and of one key's ids the later one is the greater.

    `now_s` in UNIX seconds; `token_urlsafe(n)` gives a text with `n` random bytes, as `secrets.token_urlsafe` does.
    """
    return f"{int(now_s * 1000):012x}.{token_urlsafe(_UPLOAD_ID_BYTES)}"


def is_made_here(upload_id: str) -> bool:
    """Whether an upload id has the form of those of `new_upload_id`. Such an upload was begun here and nowhere else."""
    return _UPLOAD_ID.fullmatch(upload_id) is not None


def chosen_parts(
    listed: Sequence[ListedPart], held: Mapping[int, Held], plan: ChecksumPlan, *, upload_id: str, part_bytes_min: int
) -> list[Held]:
    """The parts that a CompleteMultipartUpload lists, as they are held (by number).

    Raises InvalidPartOrder, InvalidPart, InvalidRequest (a checksum is missing), EntityTooSmall and EntityTooLarge.
    """
    if any(after.number <= before.number for before, after in itertools.pairwise(listed)):
        raise S3Error(
            "InvalidPartOrder",
            "The list of parts was not in ascending order. The parts list must be specified in order by part number.",
            details={"UploadId": upload_id},
        )
    chosen = [_held(part, held, plan, upload_id) for part in listed]
    for part in chosen[:-1]:
        if part.size < part_bytes_min:
            raise S3Error(
                "EntityTooSmall",
                "Your proposed upload is smaller than the minimum allowed size",
                details={
                    "ProposedSize": str(part.size),
                    "MinSizeAllowed": str(part_bytes_min),
                    "PartNumber": str(part.number),
                    "ETag": part.md5_hex,
                },
            )
    size = sum(part.size for part in chosen)
    if size > OBJECT_BYTES_MAX:
        raise S3Error(
            "EntityTooLarge",
            "Your proposed upload exceeds the maximum allowed object size.",
            details={"ProposedSize": str(size), "MaxSizeAllowed": str(OBJECT_BYTES_MAX)},
        )
    return chosen


def _held(listed: ListedPart, held: Mapping[int, Held], plan: ChecksumPlan, upload_id: str) -> Held:
    part = held.get(listed.number)
    if part is None or part.md5_hex != listed.etag or not _checksums_match(listed, part):
        raise S3Error(
            "InvalidPart",
            "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified "
            "entity tag may not match the part's entity tag.",
            details={"UploadId": upload_id, "PartNumber": str(listed.number), "ETag": listed.etag},
        )
    if plan.type == COMPOSITE and plan.algorithm not in listed.checksums:
        raise _invalid_request(
            f"The upload was created using a {plan.algorithm} checksum. The complete request must include the checksum for "
            f"each part. It was missing for part {listed.number} in the request."
        )
    return part


def _checksums_match(listed: ListedPart, part: HeldPart) -> bool:
    return all(part.checksums.get(algorithm) == value for algorithm, value in listed.checksums.items())


def multipart_etag(parts: Sequence[HeldPart]) -> str:
    """The ETag of an object of these parts: the MD5 of their MD5s, and how many there are."""
    md5s = b"".join(bytes.fromhex(part.md5_hex) for part in parts)
    return f"{hashlib.md5(md5s, usedforsecurity=False).hexdigest()}-{len(parts)}"


def object_checksums(parts: Sequence[HeldPart], plan: ChecksumPlan) -> dict[str, str]:
    """The checksums of an object of these parts, with `type`; empty where a part does not have the value that it takes."""
    algorithm, checksum_type = plan.computed, plan.computed_type
    if not all(algorithm in part.checksums for part in parts):
        return {}
    if checksum_type == COMPOSITE:
        value = composite_checksum(algorithm, [part.checksums[algorithm] for part in parts])
    else:
        value = combined_crc(algorithm, ((part.checksums[algorithm], part.size) for part in parts))
    return {algorithm: value, "type": checksum_type}


def composite_checksum(algorithm: str, values: Sequence[str]) -> str:
    """The checksum of the parts' checksums (base64), and how many there are."""
    digests = BodyDigests(want={algorithm})
    digests.update(b"".join(base64.b64decode(value) for value in values))
    return f"{digests.checksum(algorithm)}-{len(values)}"


@dataclass(frozen=True, slots=True)
class Expected:
    """What the headers of a CompleteMultipartUpload say that the object will be; None where they do not.

    `checksum` is an algorithm and its value in base64, with the number of parts behind it or not where it is composite.
    """

    checksum: tuple[str, str] | None = None
    checksum_type: str | None = None
    size: int | None = None

    @staticmethod
    def from_headers(headers: Sequence[tuple[str, str]]) -> Expected:
        """Read them; names are in lower case. Raises InvalidRequest, InvalidArgument or NotImplemented."""
        size = _only(headers, "x-amz-mp-object-size")
        if size is not None and _SIZE.fullmatch(size) is None:
            raise _invalid_request("Value for x-amz-mp-object-size header is invalid.")
        found = []
        for algorithm in (*DIGEST_BYTES, *sorted(NOT_BUILT)):
            value = _only(headers, CHECKSUM_PREFIX + algorithm)
            if value is not None:
                found.append((algorithm, value))
        if len(found) > 1:
            raise _invalid_request(
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
            )
        for algorithm, value in found:
            if algorithm in NOT_BUILT:
                raise S3Error(
                    "NotImplemented", f"The checksum algorithm {algorithm.upper()} is not implemented by tgstore yet."
                )
            digest, dash, count = value.partition("-")
            if not is_checksum(algorithm, digest) or (dash and _COUNT.fullmatch(count) is None):
                raise _invalid_request(f"Value for {CHECKSUM_PREFIX}{algorithm} header is invalid.")
        return Expected(found[0] if found else None, _checksum_type(headers), None if size is None else int(size))

    def check(self, parts: Sequence[HeldPart], plan: ChecksumPlan, checksums: Mapping[str, str]) -> None:
        """Compare with the object of these parts that has these checksums. Raises InvalidRequest or BadDigest."""
        size = sum(part.size for part in parts)
        if self.size is not None and self.size != size:
            raise _invalid_request(
                f"The provided 'x-amz-mp-object-size' header value {self.size} does not match what was computed: {size}"
            )
        if self.checksum_type is not None and self.checksum_type != plan.computed_type:
            raise _invalid_request(
                f"The upload was created using the {plan.computed_type} checksum mode. The complete request must use the same "
                "checksum mode."
            )
        if self.checksum is None:
            return
        algorithm, value = self.checksum
        if algorithm not in checksums and not plan.algorithm and algorithm in COMBINABLE:
            # No checksum was named at the beginning, but the parts may all have brought this one.
            checksums = object_checksums(parts, ChecksumPlan(algorithm, FULL_OBJECT))
        if algorithm not in checksums:
            raise _type_mismatch(plan.computed, algorithm)
        calculated = checksums[algorithm]
        if plan.computed_type == COMPOSITE and "-" not in value:
            calculated = calculated.partition("-")[0]
        if not hmac.compare_digest(value.encode("ascii"), calculated.encode("ascii")):
            raise S3Error("BadDigest", f"The {algorithm.upper()} you specified did not match the calculated checksum.")


def is_checksum(algorithm: str, value: str) -> bool:
    """Whether `value` is base64, in its one canonical spelling, of as many bytes as a checksum of `algorithm` has."""
    try:
        decoded = base64.b64decode(value.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return False
    return len(decoded) == DIGEST_BYTES[algorithm] and base64.b64encode(decoded).decode("ascii") == value


def request_sha256(listed: Sequence[ListedPart]) -> str:
    """Identifies a list of parts, however it was spelt: the same list completes an upload once and is answered alike again."""
    lines = (f"{part.number} {part.etag} {sorted(part.checksums.items())}\n" for part in listed)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def _checksum_type(headers: Sequence[tuple[str, str]]) -> str | None:
    value = _only(headers, CHECKSUM_TYPE)
    if value is None:
        return None
    if value.upper() not in (COMPOSITE, FULL_OBJECT):
        raise _invalid_request("Value for x-amz-checksum-type header is invalid.")
    return value.upper()


def _only(headers: Sequence[tuple[str, str]], name: str) -> str | None:
    values = [value.strip(" \t") for header, value in headers if header == name]
    if len(values) > 1:
        raise S3Error("InvalidArgument", f"The header {name} was given more than once.")
    return values[0] if values else None


def _type_mismatch(expected: str, actual: str) -> S3Error:
    return _invalid_request(
        f"Checksum Type mismatch occurred, expected checksum Type: {expected}, actual checksum Type: {actual}"
    )


def _invalid_request(message: str) -> S3Error:
    return S3Error("InvalidRequest", message)
