"""The rules of CopyObject and UploadPartCopy: what their headers say, which of an object's headers a copy takes along, the answers.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html and …/API_UploadPartCopy.html. Messages are the ones that S3
gives, as other servers' test suites recorded them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from addon.s3.checksums import DIGEST_BYTES, NOT_BUILT
from addon.s3.copy_source import CopySource, parse_copy_source
from addon.s3.errors import S3Error
from addon.s3.metadata import META_PREFIX, NewObjectHeaders, new_object_headers
from addon.s3.preconditions import check_read
from addon.s3.ranges import ByteRange
from addon.s3.xml import Node, document

SOURCE_BYTES_MAX = 5 << 30
"""The largest object that one CopyObject, and the longest range that one UploadPartCopy takes."""

NULL_VERSION = "null"
"""The version of an object that was written while its bucket had no versioning."""

COPY_SOURCE = "x-amz-copy-source"
_SOURCE_PREFIX = "x-amz-copy-source-"
_SOURCE_KEY_PREFIX = "x-amz-copy-source-server-side-encryption-"
_RANGE = "x-amz-copy-source-range"
_CHECKSUM_ALGORITHM = "x-amz-checksum-algorithm"
_METADATA_DIRECTIVE, _TAGGING_DIRECTIVE = "x-amz-metadata-directive", "x-amz-tagging-directive"
_REDIRECT, _STORAGE_CLASS = "x-amz-website-redirect-location", "x-amz-storage-class"
_ENCRYPTION = "x-amz-server-side-encryption"
_CONDITIONS: Mapping[str, str] = {
    _SOURCE_PREFIX + name: name for name in ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
}

_OF_COPIES = frozenset(
    {_METADATA_DIRECTIVE, _TAGGING_DIRECTIVE, _CHECKSUM_ALGORITHM, _STORAGE_CLASS, _REDIRECT, _ENCRYPTION}
)

# What describes the bytes: it goes along with them. Storage class, redirect, encryption, lock, version and expiry belong to the one
# object that they were given to.
_CARRIED = frozenset(
    {"cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires"}
)
_EXACT_RANGE = re.compile(r"bytes=(?P<first>[0-9]{1,19})-(?P<last>[0-9]{1,19})", re.ASCII)


@dataclass(frozen=True, slots=True)
class CopyWish:
    """What a CopyObject asks for.

    `new` is what its own headers say of the copy; with `keeps_metadata` and `keeps_tags` the source's take the place of `new`'s.
    `checksum_algorithm` is a key of `DIGEST_BYTES`, None where none is asked for. `changes` says that the copy differs from its
    source in something, so that it may lie in the source's place.
    """

    source: CopySource
    keeps_metadata: bool
    keeps_tags: bool
    checksum_algorithm: str | None
    changes: bool
    new: NewObjectHeaders

    def headers_of_copy(self, of_source: Mapping[str, str]) -> dict[str, str]:
        """The stored headers of the copy of an object that has the headers `of_source`."""
        if not self.keeps_metadata:
            return dict(self.new.stored)
        carried = {name: value for name, value in of_source.items() if _is_carried(name)}
        own = {name: value for name, value in self.new.stored.items() if not _is_carried(name)}
        return {**carried, **own}

    def tags_of_copy(self, of_source: Mapping[str, str]) -> dict[str, str]:
        """The tags of the copy of an object that has the tags `of_source`."""
        return dict(of_source if self.keeps_tags else self.new.tags)

    def lacks_checksum(self, of_source: Mapping[str, str]) -> bool:
        """Whether a checksum has to be computed that an object with the checksums `of_source` does not have."""
        algorithm = self.checksum_algorithm
        if algorithm is None:
            return False
        return algorithm not in of_source or of_source.get("type") != "FULL_OBJECT"


def copy_wish(headers: Sequence[tuple[str, str]]) -> CopyWish:
    """Read the headers of a CopyObject, whose names are in lower case (for a presigned request with the hoisted ones).

    Raises what `new_object_headers` and `parse_copy_source` raise, InvalidArgument for an unknown directive, InvalidRequest for an
    unknown checksum algorithm.
    """
    given = _once(headers)
    keeps_metadata = _keeps(given, _METADATA_DIRECTIVE, "Unknown metadata directive.")
    keeps_tags = _keeps(given, _TAGGING_DIRECTIVE, "Unknown tag directive.")
    algorithm = _checksum_algorithm(given.get(_CHECKSUM_ALGORITHM))
    return CopyWish(
        source=source_of(headers),
        keeps_metadata=keeps_metadata,
        keeps_tags=keeps_tags,
        checksum_algorithm=algorithm,
        changes=not keeps_metadata
        or algorithm is not None
        or not given.keys().isdisjoint({_STORAGE_CLASS, _REDIRECT, _ENCRYPTION}),
        # S3 reads of the rest what the directives leave to the request, and passes over what they do not.
        new=new_object_headers(
            [
                (name, value)
                for name, value in headers
                if not (keeps_metadata and _is_carried(name)) and not (keeps_tags and name == "x-amz-tagging")
            ]
        ),
    )


def source_of(headers: Sequence[tuple[str, str]]) -> CopySource:
    """The source that a CopyObject or UploadPartCopy names.

    Raises InvalidArgument, KeyTooLongError, and NotImplemented for access points and for keys of the client's own.
    """
    given = _once(headers)
    for name in given:
        if name.startswith(_SOURCE_KEY_PREFIX):
            raise S3Error(
                "NotImplemented",
                "A header you provided implies functionality that is not implemented",
                details={"Header": name},
            )
    return parse_copy_source(given.get(COPY_SOURCE, ""))


def check_source(headers: Sequence[tuple[str, str]], *, etag: str, last_modified_s: int) -> None:
    """Evaluate `x-amz-copy-source-if-*` against the source, in the precedence that S3 documents: that of conditional reads.

    Raises PreconditionFailed.
    """
    asked = {_CONDITIONS[name]: value for name, value in _once(headers).items() if name in _CONDITIONS}
    try:
        outcome = check_read(asked, etag=etag, last_modified_s=last_modified_s)
    except S3Error as error:
        raise _failed(error.details["Condition"]) from None
    if outcome == "not_modified":
        raise _failed("If-None-Match" if "if-none-match" in asked else "If-Modified-Since")


def check_size(size: int, bytes_max: int) -> None:
    """Raises InvalidRequest for a source, or a range of it, that is too large for one copy."""
    if size > bytes_max:
        raise S3Error(
            "InvalidRequest",
            f"The specified copy source is larger than the maximum allowable size for a copy source: {bytes_max}",
        )


def check_self_copy(wish: CopyWish, bucket: str, key: str) -> None:
    """Raises InvalidRequest for a copy that lies in its source's place and is the same."""
    source = wish.source
    if (source.bucket, source.key) == (bucket, key) and source.version_id in (None, NULL_VERSION) and not wish.changes:
        raise S3Error(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, "
            "storage class, website redirect location or encryption attributes.",
        )


def asked_range(headers: Sequence[tuple[str, str]]) -> tuple[int, int] | None:
    """First and last byte of x-amz-copy-source-range; None where the whole is asked for. Raises InvalidArgument."""
    value = _once(headers).get(_RANGE)
    if value is None:
        return None
    match = _EXACT_RANGE.fullmatch(value)
    first, last = (int(match["first"]), int(match["last"])) if match is not None else (1, 0)
    if last < first:
        raise _invalid(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based "
            "offsets of the first and last bytes to copy",
            _RANGE,
            value,
        )
    return first, last


def within(asked: tuple[int, int] | None, size: int) -> ByteRange:
    """The bytes to copy of a source of `size` bytes (the length is 0 for an empty one). Raises InvalidArgument beyond its end."""
    if asked is None:
        return ByteRange(0, size)
    first, last = asked
    if last >= size:
        raise beyond_the_end(asked, f" of size: {size}")
    return ByteRange(first, last - first + 1)


def beyond_the_end(asked: tuple[int, int], of: str = "") -> S3Error:
    """The refusal of a range that does not lie within its source."""
    return _invalid(f"Range specified is not valid for source object{of}", _RANGE, f"bytes={asked[0]}-{asked[1]}")


def copy_result(root: str, *, etag: str, last_modified_s: int, checksums: Mapping[str, str]) -> bytes:
    """The answer `CopyObjectResult` or `CopyPartResult` (`root`)."""
    modified = datetime.fromtimestamp(last_modified_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    nodes: list[Node] = [("LastModified", modified), ("ETag", f'"{etag}"')]
    nodes += [(f"Checksum{name.upper()}", value) for name, value in checksums.items() if name in DIGEST_BYTES]
    if root == "CopyObjectResult" and "type" in checksums:
        nodes.append(("ChecksumType", checksums["type"]))
    return document(root, nodes)


def _is_carried(name: str) -> bool:
    return name in _CARRIED or name.startswith(META_PREFIX)


def _once(headers: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The headers that only copies have. Raises InvalidArgument for one that stands twice: readers could see two different ones."""
    given: dict[str, str] = {}
    for name, raw in headers:
        if name.startswith(COPY_SOURCE) or name in _OF_COPIES:
            value = raw.strip(" \t")
            if name in given:
                raise _invalid(f"The header {name} was given more than once.", name, value)
            given[name] = value
    return given


def _keeps(given: Mapping[str, str], name: str, refusal: str) -> bool:
    directive = given.get(name, "COPY")
    if directive not in ("COPY", "REPLACE"):
        raise _invalid(refusal, name, directive)
    return directive == "COPY"


def _checksum_algorithm(name: str | None) -> str | None:
    if name is None:
        return None
    algorithm = name.lower()
    if algorithm in NOT_BUILT:
        raise S3Error(
            "NotImplemented", f"The checksum algorithm {algorithm.upper()} is not implemented by tgstore yet."
        )
    if algorithm not in DIGEST_BYTES:
        valid = ", ".join(known.upper() for known in DIGEST_BYTES)
        raise S3Error(
            "InvalidRequest",
            f"Checksum algorithm provided is unsupported. Please try again with any of the valid types: [{valid}]",
        )
    return algorithm


def _failed(condition: str) -> S3Error:
    return S3Error(
        "PreconditionFailed",
        "At least one of the pre-conditions you specified did not hold",
        details={"Condition": _SOURCE_PREFIX + condition},
    )


def _invalid(message: str, name: str, value: str) -> S3Error:
    return S3Error("InvalidArgument", message, details={"ArgumentName": name, "ArgumentValue": value})
