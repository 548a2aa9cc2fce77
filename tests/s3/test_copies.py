"""Copies: what the headers ask for, what goes along with the bytes, and which ranges and sources are refused."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.copies import (
    SOURCE_BYTES_MAX,
    asked_range,
    check_self_copy,
    check_size,
    check_source,
    copy_result,
    copy_wish,
    source_of,
    within,
)
from addon.s3.copy_source import CopySource
from addon.s3.errors import S3Error
from addon.s3.http_dates import format_http_date
from addon.s3.ranges import ByteRange
from addon.s3.xml import parse_xml

SOURCE = ("x-amz-copy-source", "/b/k")
ETAG, MODIFIED_S = "9e107d9d372bb6826bd81d3542a419d6", 1_700_000_000

# What an object may have, and whether a copy of it takes it along.
OF_SOURCE = {
    "content-type": ("image/png", True),
    "cache-control": ("max-age=60", True),
    "content-disposition": ("inline", True),
    "content-encoding": ("gzip", True),
    "content-language": ("de", True),
    "expires": ("Tue, 14 Nov 2023 22:13:20 GMT", True),
    "x-amz-meta-a": ("1", True),
    "x-amz-storage-class": ("STANDARD_IA", False),
    "x-amz-website-redirect-location": ("/there", False),
    "x-amz-server-side-encryption": ("aws:kms", False),
    "x-amz-server-side-encryption-aws-kms-key-id": ("key", False),
    "x-amz-object-lock-mode": ("COMPLIANCE", False),
    "x-amz-version-id": ("v1", False),
    "x-amz-expiration": ('expiry-date="…"', False),
    "x-amz-replication-status": ("COMPLETED", False),
    "x-amz-tagging-count": ("1", False),
    "x-rgw-object-type": ("Normal", False),
}
STORED = {name: value for name, (value, _) in OF_SOURCE.items()}
CARRIED = {name: value for name, (value, carried) in OF_SOURCE.items() if carried}


def refused(error: pytest.ExceptionInfo[S3Error]) -> tuple[str, str | None]:
    return error.value.code, error.value.details.get("ArgumentName")


@pytest.mark.parametrize("directive", [[], [("x-amz-metadata-directive", "COPY")]])
def test_what_describes_the_bytes_goes_along_with_them(directive: list[tuple[str, str]]) -> None:
    asked = [("content-type", "text/plain"), ("x-amz-meta-b", "2"), ("x-amz-storage-class", "ONEZONE_IA")]
    wish = copy_wish([SOURCE, *directive, *asked, ("x-amz-website-redirect-location", "/here")])
    own = {"x-amz-storage-class": "ONEZONE_IA", "x-amz-website-redirect-location": "/here"}
    assert wish.headers_of_copy(STORED) == {**CARRIED, **own}


def test_a_source_without_content_type_gives_none() -> None:
    assert copy_wish([SOURCE]).headers_of_copy({"x-amz-meta-a": "1"}) == {"x-amz-meta-a": "1"}


def test_replaced_metadata_is_that_of_the_request_alone() -> None:
    wish = copy_wish([SOURCE, ("x-amz-metadata-directive", "REPLACE"), ("x-amz-meta-b", "2")])
    assert wish.headers_of_copy(STORED) == {"content-type": "binary/octet-stream", "x-amz-meta-b": "2"}


@pytest.mark.parametrize(
    ("headers", "tags"),
    [
        ([], {"of": "source"}),
        ([("x-amz-tagging", "a=1")], {"of": "source"}),
        ([("x-amz-tagging-directive", "COPY"), ("x-amz-tagging", "a=1")], {"of": "source"}),
        ([("x-amz-tagging-directive", "REPLACE"), ("x-amz-tagging", "a=1")], {"a": "1"}),
        ([("x-amz-tagging-directive", "REPLACE")], {}),
    ],
)
def test_tags(headers: list[tuple[str, str]], tags: dict[str, str]) -> None:
    assert copy_wish([SOURCE, *headers]).tags_of_copy({"of": "source"}) == tags


def test_the_acl_is_that_of_the_request() -> None:
    assert not copy_wish([SOURCE]).new.anonymous_read
    assert copy_wish([SOURCE, ("x-amz-acl", "public-read")]).new.anonymous_read


@pytest.mark.parametrize(
    ("algorithm", "held", "lacks"),
    [
        (None, {}, False),
        ("SHA256", {}, True),
        ("sha256", {"sha256": "x", "type": "FULL_OBJECT"}, False),
        ("SHA256", {"sha256": "x", "type": "COMPOSITE"}, True),
        ("SHA256", {"crc32": "x", "type": "FULL_OBJECT"}, True),
    ],
)
def test_which_checksum_has_to_be_computed(algorithm: str | None, held: dict[str, str], lacks: bool) -> None:
    named = [("x-amz-checksum-algorithm", algorithm)] if algorithm is not None else []
    assert copy_wish([SOURCE, *named]).lacks_checksum(held) is lacks


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (("x-amz-metadata-directive", "copy"), "InvalidArgument"),
        (("x-amz-metadata-directive", ""), "InvalidArgument"),
        (("x-amz-tagging-directive", "MERGE"), "InvalidArgument"),
        (("x-amz-checksum-algorithm", "SHA3"), "InvalidRequest"),
        (("x-amz-checksum-algorithm", "XXHASH64"), "NotImplemented"),
        (("x-amz-acl", "friends"), "InvalidArgument"),
        (("x-amz-storage-class", "GLACIER"), "NotImplemented"),
        (("x-amz-copy-source-server-side-encryption-customer-algorithm", "AES256"), "NotImplemented"),
        (("x-amz-server-side-encryption-customer-algorithm", "AES256"), "NotImplemented"),
        (("x-amz-object-lock-mode", "GOVERNANCE"), "NotImplemented"),
        (SOURCE, "InvalidArgument"),
    ],
)
def test_wishes_that_are_refused(header: tuple[str, str], code: str) -> None:
    with pytest.raises(S3Error) as error:
        copy_wish([SOURCE, header])
    assert error.value.code == code


@pytest.mark.parametrize(
    "name",
    [
        "x-amz-copy-source-range",
        "x-amz-copy-source-if-match",
        "x-amz-metadata-directive",
        "x-amz-tagging-directive",
        "x-amz-checksum-algorithm",
    ],
)
def test_what_stands_twice_is_refused(name: str) -> None:
    """As a header and in a presigned query, for one."""
    with pytest.raises(S3Error) as error:
        copy_wish([SOURCE, (name, "COPY"), (name, "REPLACE")])
    assert refused(error) == ("InvalidArgument", name)


def test_a_copy_without_a_source_is_refused() -> None:
    with pytest.raises(S3Error) as error:
        source_of([])
    assert refused(error) == ("InvalidArgument", "x-amz-copy-source")


@pytest.mark.parametrize(
    ("change", "legal"),
    [
        ([], False),
        ([("x-amz-metadata-directive", "COPY"), ("x-amz-meta-a", "2")], False),
        ([("x-amz-tagging-directive", "REPLACE"), ("x-amz-tagging", "a=1")], False),
        ([("x-amz-acl", "public-read")], False),
        ([("x-amz-metadata-directive", "REPLACE")], True),
        ([("x-amz-storage-class", "STANDARD")], True),
        ([("x-amz-website-redirect-location", "/x")], True),
        ([("x-amz-server-side-encryption", "AES256")], True),
        ([("x-amz-checksum-algorithm", "SHA256")], True),
    ],
)
@pytest.mark.parametrize("source", ["/b/k", "b/k?versionId=null", "b%2Fk"])
def test_a_copy_onto_itself_changes_something(source: str, change: list[tuple[str, str]], legal: bool) -> None:
    wish = copy_wish([("x-amz-copy-source", source), *change])
    for place in (("b", "k2"), ("c", "k")):
        check_self_copy(wish, *place)
    if legal:
        check_self_copy(wish, "b", "k")
        return
    with pytest.raises(S3Error) as error:
        check_self_copy(wish, "b", "k")
    assert error.value.code == "InvalidRequest"
    assert "trying to copy an object to itself without changing the object's metadata" in error.value.message


def test_an_older_version_may_take_the_place_of_the_current_one() -> None:
    check_self_copy(copy_wish([("x-amz-copy-source", "b/k?versionId=v1")]), "b", "k")


CONDITIONS = {
    "if-match": {True: f'"{ETAG}"', False: '"other"', None: None},
    "if-unmodified-since": {True: format_http_date(MODIFIED_S), False: format_http_date(MODIFIED_S - 1), None: None},
    "if-none-match": {True: '"other"', False: ETAG, None: None},
    "if-modified-since": {True: format_http_date(MODIFIED_S - 1), False: format_http_date(MODIFIED_S), None: None},
}


@pytest.mark.parametrize("truths", list(itertools.product([True, False, None], repeat=4)))
def test_conditions_of_the_source(truths: tuple[bool | None, ...]) -> None:
    """The two documented combinations: If-Match that holds outweighs If-Unmodified-Since, If-None-Match that does not hold fails
    whatever If-Modified-Since says."""
    match, unmodified, none_match, modified = truths
    headers = [
        (f"x-amz-copy-source-{name}", value)
        for (name, choice), truth in zip(CONDITIONS.items(), truths, strict=True)
        if (value := choice[truth]) is not None
    ]
    failed = None
    if match is False:
        failed = "If-Match"
    elif match is None and unmodified is False:
        failed = "If-Unmodified-Since"
    elif none_match is False:
        failed = "If-None-Match"
    elif none_match is None and modified is False:
        failed = "If-Modified-Since"
    if failed is None:
        check_source(headers, etag=ETAG, last_modified_s=MODIFIED_S)
        return
    with pytest.raises(S3Error) as error:
        check_source(headers, etag=ETAG, last_modified_s=MODIFIED_S)
    assert (error.value.code, error.value.details["Condition"]) == ("PreconditionFailed", f"x-amz-copy-source-{failed}")


def test_conditions_of_the_target_are_not_those_of_the_source() -> None:
    check_source([("if-match", '"other"'), ("if-none-match", "*")], etag=ETAG, last_modified_s=MODIFIED_S)


@pytest.mark.parametrize(
    ("header", "asked"),
    [("bytes=0-0", (0, 0)), ("bytes=5-9", (5, 9)), (" bytes=0-99999999999 ", (0, 99_999_999_999)), (None, None)],
)
def test_ranges(header: str | None, asked: tuple[int, int] | None) -> None:
    assert asked_range([("x-amz-copy-source-range", header)] if header is not None else []) == asked


@pytest.mark.parametrize(
    "header",
    [
        "",
        "5-9",
        "bytes=-5",
        "bytes=5-",
        "bytes=9-5",
        "bytes=0-1,3-4",
        "bytes= 0-1",
        "bytes=0 - 1",
        "Bytes=0-1",
        "bytes=+0-1",
        "bytes=0-0x9",
        "bytes=\u0660-9",
        "bytes=0-" + "9" * 20,
        "bytes=" + "0" * 100_000,
    ],
)
def test_ranges_that_are_none(header: str) -> None:
    with pytest.raises(S3Error) as error:
        asked_range([("x-amz-copy-source-range", header)])
    assert refused(error) == ("InvalidArgument", "x-amz-copy-source-range")


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_a_range_lies_within_the_source_or_is_refused(first: int, length: int, size: int) -> None:
    last = first + length
    if last < size:
        assert within((first, last), size) == ByteRange(first, length + 1)
        return
    with pytest.raises(S3Error) as error:
        within((first, last), size)
    assert refused(error) == ("InvalidArgument", "x-amz-copy-source-range")


def test_the_whole_is_a_range_too() -> None:
    assert (within(None, 7), within(None, 0)) == (ByteRange(0, 7), ByteRange(0, 0))


def test_a_source_of_more_than_5_gib_is_refused() -> None:
    check_size(SOURCE_BYTES_MAX, SOURCE_BYTES_MAX)
    with pytest.raises(S3Error) as error:
        check_size(SOURCE_BYTES_MAX + 1, SOURCE_BYTES_MAX)
    assert error.value.code == "InvalidRequest"
    assert error.value.message.endswith("maximum allowable size for a copy source: 5368709120")


@pytest.mark.parametrize("root", ["CopyObjectResult", "CopyPartResult"])
def test_the_answer(root: str) -> None:
    body = copy_result(
        root, etag=ETAG, last_modified_s=MODIFIED_S, checksums={"crc32": "AAAAAA==", "type": "FULL_OBJECT"}
    )
    found = {child.tag: child.text for child in parse_xml(body, root=root)}
    assert found.pop("ChecksumType", None) == ("FULL_OBJECT" if root == "CopyObjectResult" else None)
    assert found == {"LastModified": "2023-11-14T22:13:20.000Z", "ETag": f'"{ETAG}"', "ChecksumCRC32": "AAAAAA=="}


def test_the_source_is_taken_from_its_header() -> None:
    assert source_of([("x-amz-copy-source", "b/k?versionId=3")]) == CopySource("b", "k", "3")
