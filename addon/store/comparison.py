"""Whether an object here and the one at the origin are the same: pure comparison of what is known of both.

Not compared is what says where or how the origin keeps the object, which changes without the object: storage class, expiry,
replication. Nor the number of its tags, which only some answers tell; the tags themselves are, where they can be had.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from addon.s3.checksums import DIGEST_BYTES
from addon.s3.metadata import OriginCopyHeaders, headers_for_upload
from addon.s3.multipart_xml import iso_time
from addon.store.origin_parts import etag_is_certain
from addon.store.records import ObjectRecord

ENCRYPTION = "x-amz-server-side-encryption"
STORAGE_CLASS = "x-amz-storage-class"

_WHERE_IT_LIES = frozenset({STORAGE_CLASS, "x-amz-expiration", "x-amz-replication-status", "x-amz-tagging-count"})
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})


@dataclass(frozen=True, slots=True)
class Difference:
    """`what` is not the same: its value here and at the origin, None where there is none."""

    what: str
    here: str | None
    there: str | None

    def __str__(self) -> str:
        here, there = ("nothing" if value is None else value for value in (self.here, self.there))
        return f"{self.what}: here {here}, there {there}"


def missing_there(record: ObjectRecord) -> Difference:
    """The origin has no such object."""
    return Difference("object", f"{record.size} bytes", None)


def copy_differences(
    record: ObjectRecord, about: OriginCopyHeaders, tags: Mapping[str, str] | None
) -> list[Difference]:
    """In what a copy is another object than the one at the origin, of which `about` and `tags` (None: they cannot be had) tell."""
    return [
        *_differing("size", str(record.size), None if about.size is None else str(about.size)),
        *_differing("ETag", record.etag, about.etag),
        *_differing("Last-Modified", iso_time(record.last_modified_s), iso_time(about.last_modified_s)),
        *_differing_headers(_of_the_object(record.headers), _of_the_object(about.headers)),
        *_differing_checksums(record, about),
        *_differing_tags(record, tags),
    ]


def export_differences(
    record: ObjectRecord, about: OriginCopyHeaders, tags: Mapping[str, str] | None, *, just_written: bool
) -> list[Difference]:
    """In what the origin's object is another one than uploading `record` makes. Last-Modified is the origin's own.

    Where the ETag cannot come out the same (see `etag_is_certain`, or the origin encrypts with keys of its own) another ETag is no
    difference for an upload that has `just_written` it, whose bytes the origin acknowledged, nor beside an equal checksum.
    """
    return [
        *_differing("size", str(record.size), None if about.size is None else str(about.size)),
        *_differing_etag(record, about, just_written=just_written),
        *_differing_headers(_given(record.headers), _given(about.headers)),
        *_differing_checksums(record, about),
        *_differing_tags(record, tags),
    ]


def can_be_copied(about: OriginCopyHeaders) -> bool:
    """Whether the origin can give the object at once: not out of an archive tier."""
    return about.headers.get(STORAGE_CLASS) not in _ARCHIVES


def _differing(what: str, here: str | None, there: str | None) -> list[Difference]:
    return [] if here == there else [Difference(what, here, there)]


def _differing_headers(here: Mapping[str, str], there: Mapping[str, str]) -> list[Difference]:
    found = []
    for name in sorted({*here, *there}):
        found += _differing(f"header {name}", here.get(name), there.get(name))
    return found


def _of_the_object(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in _WHERE_IT_LIES}


def _given(headers: Mapping[str, str]) -> dict[str, str]:
    """What an uploader says of the object itself."""
    given = headers_for_upload(headers)
    return {name: value for name, value in given.items() if name not in (STORAGE_CLASS, ENCRYPTION)}


def _differing_etag(record: ObjectRecord, about: OriginCopyHeaders, *, just_written: bool) -> list[Difference]:
    certain = etag_is_certain(record) and about.headers.get(ENCRYPTION, "AES256") == "AES256"
    if not certain and (just_written or _common_checksums(record, about)):
        return []
    return _differing("ETag", record.etag, about.etag)


def _differing_checksums(record: ObjectRecord, about: OriginCopyHeaders) -> list[Difference]:
    found = []
    for algorithm in _common_checksums(record, about):
        found += _differing(f"checksum {algorithm}", record.checksums[algorithm], about.checksums[algorithm])
    return found


def _common_checksums(record: ObjectRecord, about: OriginCopyHeaders) -> list[str]:
    """The algorithms of which both have a value of the same type; a value without a type is of the whole object."""
    if record.checksums.get("type", "FULL_OBJECT") != about.checksums.get("type", "FULL_OBJECT"):
        return []
    return [name for name in DIGEST_BYTES if name in record.checksums and name in about.checksums]


def _differing_tags(record: ObjectRecord, tags: Mapping[str, str] | None) -> list[Difference]:
    if tags is None:
        return []
    found = []
    for name in sorted({*record.tags, *tags}):
        found += _differing(f"tag {name}", record.tags.get(name), tags.get(name))
    return found
