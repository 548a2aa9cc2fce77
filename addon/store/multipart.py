"""Multipart uploads as the index remembers them: plain frozen values.

A part's bytes are documents in Telegram as soon as the part is acknowledged; completing an upload only writes the index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from addon.store.records import Extent


@dataclass(frozen=True, slots=True)
class MultipartUpload:
    """An upload that was begun and neither completed nor aborted.

    `headers`, `anonymous_read` and `tags` are what the object will have (see `ObjectRecord`). `checksum_algorithm` is a key of
    `s3.checksums.DIGEST_BYTES` or empty, `checksum_type` `COMPOSITE`, `FULL_OBJECT` or empty. `initiated_at_s` is whole UNIX
    seconds.
    """

    upload_id: str
    bucket: str
    key: str
    initiated_at_s: int
    headers: Mapping[str, str]
    anonymous_read: bool
    tags: Mapping[str, str] = field(default_factory=dict)
    checksum_algorithm: str = ""
    checksum_type: str = ""


@dataclass(frozen=True, slots=True)
class NewPart:
    """A part whose bytes are in Telegram. `md5_hex` is its ETag; `checksums` has its values by algorithm."""

    number: int
    size: int
    md5_hex: str
    checksums: Mapping[str, str]
    modified_at_s: int
    extents: Sequence[Extent]


@dataclass(frozen=True, slots=True)
class PartFacts:
    """A part without its extents. `generation` changes when the part is uploaded again."""

    number: int
    size: int
    md5_hex: str
    checksums: Mapping[str, str]
    modified_at_s: int
    generation: int


@dataclass(frozen=True, slots=True)
class Completion:
    """What an upload is to become: the chosen `parts` in ascending order, as they were when the ETag was computed.

    `request_sha256` identifies the list that the client sent, so that the same request is answered alike when it comes again.
    """

    upload_id: str
    parts: Sequence[PartFacts]
    etag: str
    checksums: Mapping[str, str]
    last_modified_s: int
    request_sha256: str


@dataclass(frozen=True, slots=True)
class CompletedUpload:
    """The trace of an upload that was completed, kept for a while."""

    bucket: str
    key: str
    etag: str
    checksums: Mapping[str, str]
    request_sha256: str
