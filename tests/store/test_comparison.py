"""What makes a copy, or an exported object, another one than the origin's; and what does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.metadata import OriginCopyHeaders
from addon.store.comparison import Difference, can_be_copied, copy_differences, export_differences, missing_there
from addon.store.records import ObjectRecord, Provenance

MD5, OTHER_MD5 = "0cc175b9c0f1b6a831c399e269772661", "92eb5ffee6ae2fec3ad71c777531578f"
HEADERS = {"content-type": "image/png", "cache-control": "no-cache", "x-amz-meta-a": "1"}
CHECKSUMS = {"crc32": "6Le+Qw==", "type": "FULL_OBJECT"}


def record(**changed: object) -> ObjectRecord:
    whole = ObjectRecord(
        "b", "k", 1, 10, MD5, 1000, Provenance.COPIED_FROM_ORIGIN, False, HEADERS, CHECKSUMS, tags={"a": "1"}
    )
    return replace(whole, **changed)  # type: ignore[arg-type]


def about(**changed: object) -> OriginCopyHeaders:
    return replace(OriginCopyHeaders(10, MD5, True, 1000, HEADERS, CHECKSUMS, 1), **changed)  # type: ignore[arg-type]


def whats(differences: list[Difference]) -> list[str]:
    return [difference.what for difference in differences]


def of_copy(here: ObjectRecord, there: OriginCopyHeaders, tags: Mapping[str, str] | None = {"a": "1"}) -> list[str]:
    return whats(copy_differences(here, there, tags))


def of_export(
    here: ObjectRecord,
    there: OriginCopyHeaders,
    tags: Mapping[str, str] | None = {"a": "1"},
    *,
    just_written: bool = False,
) -> list[str]:
    return whats(export_differences(here, there, tags, just_written=just_written))


@pytest.mark.parametrize(
    ("there", "what"),
    [
        (about(size=11), ["size"]),
        (about(etag=OTHER_MD5), ["ETag"]),
        (about(last_modified_s=1001), ["Last-Modified"]),
        (about(headers={**HEADERS, "content-type": "image/jpeg"}), ["header content-type"]),
        (about(headers={**HEADERS, "x-amz-meta-b": "2"}), ["header x-amz-meta-b"]),
        (about(headers={"content-type": "image/png"}), ["header cache-control", "header x-amz-meta-a"]),
        (about(headers={**HEADERS, "x-amz-version-id": "v2"}), ["header x-amz-version-id"]),
        (about(checksums={"crc32": "AAAAAA==", "type": "FULL_OBJECT"}), ["checksum crc32"]),
    ],
)
def test_each_part_of_a_copy_counts(there: OriginCopyHeaders, what: list[str]) -> None:
    assert of_copy(record(), there) == what


def test_tags_count_where_they_are_known() -> None:
    assert of_copy(record(), about(), {"a": "2", "b": "3"}) == ["tag a", "tag b"]
    assert of_copy(record(), about(), {}) == ["tag a"]
    assert of_copy(record(), about(), None) == []


@pytest.mark.parametrize(
    "there",
    [
        about(),
        about(headers={**HEADERS, "x-amz-storage-class": "STANDARD_IA"}),
        about(headers={**HEADERS, "x-amz-expiration": "soon", "x-amz-replication-status": "PENDING"}),
        about(headers={**HEADERS, "x-amz-tagging-count": "1"}),
        about(checksums={}),
        about(checksums={"sha1": "x", "type": "FULL_OBJECT"}),
        about(checksums={"crc32": "AAAAAA==-2", "type": "COMPOSITE"}),
    ],
)
def test_where_the_origin_keeps_it_and_what_only_one_knows_do_not_count(there: OriginCopyHeaders) -> None:
    assert of_copy(record(), there) == []


@given(
    change=st.sampled_from(["size", "last_modified_s", "etag"]),
    by=st.integers(1, 99),
    headers=st.dictionaries(st.sampled_from(["content-type", "expires", "x-amz-meta-z"]), st.text(max_size=3)),
)
def test_what_differs_is_always_found_and_what_equals_never(change: str, by: int, headers: dict[str, str]) -> None:
    here, there = record(headers=headers), about(headers=headers)
    assert of_copy(here, there) == []
    value = getattr(there, change)
    changed = replace(there, **{change: f"{value}-{by}" if isinstance(value, str) else value + by})
    assert len(of_copy(here, changed)) == 1


def test_an_export_is_compared_by_what_an_uploader_says() -> None:
    here = record(provenance=Provenance.WRITTEN_HERE)
    added = {"x-amz-version-id": "v", "x-amz-server-side-encryption": "AES256", "x-amz-storage-class": "ONEZONE_IA"}
    assert of_export(here, about(headers={**HEADERS, **added}, last_modified_s=5)) == []
    assert of_export(here, about(headers={**HEADERS, "x-amz-meta-b": "2"})) == ["header x-amz-meta-b"]
    assert of_export(here, about(size=9, etag=OTHER_MD5), {}) == ["size", "ETag", "tag a"]


KMS = {**HEADERS, "x-amz-server-side-encryption": "aws:kms"}


@pytest.mark.parametrize(
    ("here", "there", "just_written", "what"),
    [
        (record(), about(etag=OTHER_MD5), True, ["ETag"]),
        (record(etag=f"{MD5}-2", parts_count=2), about(etag=f"{MD5}-3"), True, ["ETag"]),
        # The ETag cannot come out the same for sure:
        (record(etag=f"{MD5}-2"), about(etag=f"{MD5}-3", checksums={}), True, []),
        (record(etag=f"{MD5}-2"), about(etag=f"{MD5}-3", checksums={}), False, ["ETag"]),
        (record(etag=f"{MD5}-2"), about(etag=f"{MD5}-3"), False, []),
        (record(checksums={}), about(etag=OTHER_MD5, headers=KMS), True, []),
        (record(checksums={}), about(etag=OTHER_MD5, headers=KMS), False, ["ETag"]),
    ],
)
def test_another_etag_after_an_export(
    here: ObjectRecord, there: OriginCopyHeaders, just_written: bool, what: list[str]
) -> None:
    assert of_export(here, there, just_written=just_written) == what


def test_a_difference_says_what_is_here_and_there() -> None:
    (difference,) = copy_differences(record(), about(headers={"content-type": "image/png", "x-amz-meta-a": "1"}), None)
    assert str(difference) == "header cache-control: here no-cache, there nothing"
    assert str(missing_there(record())) == "object: here 10 bytes, there nothing"


@pytest.mark.parametrize(("storage_class", "can"), [("GLACIER", False), ("DEEP_ARCHIVE", False), ("STANDARD_IA", True)])
def test_what_can_take_the_place_of_a_copy(storage_class: str, can: bool) -> None:
    assert can_be_copied(about(headers={"x-amz-storage-class": storage_class})) is can
    assert can_be_copied(about())
