"""Which headers of an upload are kept, which are refused, and what of the origin's headers belongs to a copy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.errors import S3Error
from addon.s3.metadata import (
    NotAnObject,
    headers_for_upload,
    headers_from_origin,
    new_object_headers,
    without_aws_chunked,
)

PICGO = [
    ("host", "s3.example.com"),
    ("content-type", "image/png"),
    ("content-length", "17"),
    ("x-amz-acl", "public-read"),
    ("x-amz-content-sha256", "0" * 64),
    ("x-amz-date", "20260101T000000Z"),
    ("x-amz-user-agent", "aws-sdk-js/3.729.0"),
    ("amz-sdk-invocation-id", "x"),
    ("authorization", "AWS4-HMAC-SHA256 …"),
    ("expect", "100-continue"),
]


def test_an_upload_of_picgo() -> None:
    headers = new_object_headers(PICGO)
    assert dict(headers.stored) == {"content-type": "image/png"}
    assert headers.anonymous_read


def test_all_that_s3_keeps_is_kept_and_nothing_else() -> None:
    kept = {
        "content-type": "text/html; charset=utf-8",
        "cache-control": "max-age=60, public",
        "content-disposition": 'attachment; filename="a b.html"',
        "content-language": "de, en",
        "expires": "Thu, 01 Dec 1994 16:00:00 GMT",
        "x-amz-meta-a": "1",
        "x-amz-meta-caf\u00c3": "caf\u00c3\u00a9  two  spaces",
        "x-amz-website-redirect-location": "/other",
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-server-side-encryption": "AES256",
        "content-encoding": "gzip",
    }
    dropped = [("accept", "*/*"), ("x-tgstore-internal", "1"), ("x-amz-sdk-checksum-algorithm", "CRC32"), ("via", "1")]
    headers = new_object_headers([*kept.items(), *dropped])
    assert dict(headers.stored) == kept
    assert not headers.anonymous_read


def test_defaults_are_those_of_s3() -> None:
    assert dict(new_object_headers([]).stored) == {"content-type": "binary/octet-stream"}
    assert dict(new_object_headers([("content-type", "")]).stored) == {"content-type": "binary/octet-stream"}
    assert "x-amz-storage-class" not in new_object_headers([("x-amz-storage-class", "STANDARD")]).stored


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("aws-chunked", None),
        ("AWS-Chunked", None),
        ("aws-chunked,gzip", "gzip"),
        ("gzip, aws-chunked", "gzip"),
        ("aws-chunked, gzip, br", "gzip,br"),
        ("aws-chunked,", None),
        ("gzip", "gzip"),
        ("gzip , br", "gzip , br"),
        ("base64", "base64"),
        ("x-aws-chunked", "x-aws-chunked"),
        ("", None),
    ],
)
def test_content_encoding_loses_the_token_of_the_transfer(sent: str, kept: str | None) -> None:
    assert new_object_headers([("content-encoding", sent)]).stored.get("content-encoding") == kept
    forwarded = without_aws_chunked([("a", ""), ("content-encoding", sent)])
    assert forwarded == [("a", ""), *([("content-encoding", kept)] if kept is not None else [])]


@pytest.mark.parametrize(
    ("acl", "anonymous_read"),
    [("private", False), ("public-read", True), ("bucket-owner-full-control", False), ("bucket-owner-read", False)],
)
def test_acls(acl: str, anonymous_read: bool) -> None:
    assert new_object_headers([("x-amz-acl", acl)]).anonymous_read is anonymous_read


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("x-amz-acl", "public-read-write", "NotImplemented"),
        ("x-amz-acl", "authenticated-read", "NotImplemented"),
        ("x-amz-acl", "aws-exec-read", "NotImplemented"),
        ("x-amz-acl", "Public-Read", "InvalidArgument"),
        ("x-amz-acl", "", "InvalidArgument"),
        ("x-amz-grant-read", 'uri="x"', "NotImplemented"),
        ("x-amz-grant-full-control", 'id="x"', "NotImplemented"),
        ("x-amz-grant-anything", 'id="x"', "InvalidArgument"),
        ("x-amz-server-side-encryption-customer-algorithm", "AES256", "NotImplemented"),
        ("x-amz-server-side-encryption-customer-key", "k", "NotImplemented"),
        ("x-amz-server-side-encryption-aws-kms-key-id", "k", "NotImplemented"),
        ("x-amz-server-side-encryption", "aws:kms", "NotImplemented"),
        ("x-amz-server-side-encryption", "aes256", "InvalidArgument"),
        ("x-amz-object-lock-mode", "GOVERNANCE", "NotImplemented"),
        ("x-amz-object-lock-legal-hold", "ON", "NotImplemented"),
        ("x-amz-tagging", "a=1&a=2", "InvalidArgument"),
        ("x-amz-tagging", "a=b\u20ac", "InvalidArgument"),
        ("x-amz-tagging", "aws:a=b", "InvalidTag"),
        ("x-amz-tagging", "&".join(f"k{number}=v" for number in range(11)), "BadRequest"),
        ("if-modified-since", "Thu, 01 Jan 2026 00:00:00 GMT", "NotImplemented"),
        ("if-unmodified-since", "Thu, 01 Jan 2026 00:00:00 GMT", "NotImplemented"),
        ("x-amz-write-offset-bytes", "5", "NotImplemented"),
        ("x-amz-storage-class", "GLACIER", "NotImplemented"),
        ("x-amz-storage-class", "CHEAP", "InvalidStorageClass"),
        ("x-amz-website-redirect-location", "javascript:alert(1)", "InvalidRedirectLocation"),
        ("x-amz-meta-", "x", "InvalidArgument"),
        ("x-amz-meta-a", "1\r\nset-cookie: x", "InvalidArgument"),
        ("x-amz-meta-a", "1\x00", "InvalidArgument"),
        ("content-type", "text/html\nx: y", "InvalidArgument"),
        ("content-disposition", "a\x7f", "InvalidArgument"),
        ("x-amz-meta-a", "\u20ac", "InvalidArgument"),
        ("x-amz-meta-a", "x" * 2048, "MetadataTooLarge"),
        ("cache-control", "x" * 8192, "RequestHeaderSectionTooLarge"),
    ],
)
def test_what_cannot_be_done_is_refused(name: str, value: str, code: str) -> None:
    with pytest.raises(S3Error) as refused:
        new_object_headers([(name, value)])
    assert refused.value.code == code


def test_harmless_headers_are_not_refused() -> None:
    new_object_headers(
        [("x-amz-tagging", ""), ("x-amz-expected-bucket-owner", "1"), ("x-amz-request-payer", "requester")]
    )


def test_tags_and_grants_are_read() -> None:
    headers = new_object_headers(
        [
            ("x-amz-tagging", "colour=light+blue&caf%C3%A9=1"),
            ("x-amz-grant-read", 'uri="http://acs.amazonaws.com/groups/global/AllUsers"'),
        ]
    )
    assert (headers.tags, headers.anonymous_read) == ({"colour": "light blue", "caf\u00e9": "1"}, True)
    assert "x-amz-tagging" not in headers.stored
    assert new_object_headers([]).tags == {}


def test_conditions_are_not_the_headers_of_the_object() -> None:
    assert set(new_object_headers([("if-match", '"x"'), ("if-none-match", "*")]).stored) == {"content-type"}


def test_user_metadata_counts_names_and_values_up_to_2048_bytes() -> None:
    assert new_object_headers([("x-amz-meta-ab", "x" * 2046)]).stored["x-amz-meta-ab"] == "x" * 2046
    halves = [("x-amz-meta-a", "x" * 1023), ("x-amz-meta-b", "\u00e9" * 1024)]
    with pytest.raises(S3Error) as refused:
        new_object_headers(halves)
    assert refused.value.details == {"Size": "2049", "MaxSizeAllowed": "2048"}


def test_what_stands_more_than_once_is_joined_or_refused() -> None:
    stored = new_object_headers([("x-amz-meta-a", "1"), ("x-amz-meta-a", "2"), ("cache-control", "a")]).stored
    assert stored["x-amz-meta-a"] == "1,2"
    for name in ("content-type", "x-amz-acl", "x-amz-storage-class", "x-amz-tagging", "x-amz-grant-read", "expires"):
        with pytest.raises(S3Error) as refused:
            new_object_headers([(name, "private"), (name, "private")])
        assert refused.value.code == "InvalidArgument"


@given(value=st.binary(max_size=100).map(lambda data: data.decode("latin-1")))
def test_a_value_is_kept_byte_for_byte_or_refused(value: str) -> None:
    forbidden = any((char < " " and char != "\t") or char == "\x7f" for char in value)
    try:
        stored = new_object_headers([("x-amz-meta-a", value)]).stored["x-amz-meta-a"]
    except S3Error:
        assert forbidden
        return
    assert not forbidden
    assert stored == value.strip(" \t")


ORIGIN = {
    "date": "Thu, 01 Jan 2026 00:00:00 GMT",
    "x-amz-request-id": "R",
    "x-amz-id-2": "I",
    "server": "AmazonS3",
    "content-length": "17",
    "last-modified": "Sun, 06 Nov 1994 08:49:37 GMT",
    "etag": '"9e107d9d372bb6826bd81d3542a419d6"',
    "accept-ranges": "bytes",
}
KEPT = {
    "content-type": "image/png",
    "cache-control": "max-age=60",
    "content-encoding": "gzip",
    "content-language": "en",
    "content-disposition": "inline",
    "expires": "0",
    "x-amz-meta-a": "caf\u00c3\u00a9",
    "x-amz-storage-class": "STANDARD_IA",
    "x-amz-version-id": "v1",
    "x-amz-server-side-encryption": "AES256",
    "x-amz-website-redirect-location": "/x",
}


def test_an_upload_says_what_an_uploader_may_say() -> None:
    only_the_origin = {
        "x-amz-version-id": "v1",
        "x-amz-expiration": "soon",
        "x-amz-object-lock-mode": "COMPLIANCE",
        "x-amz-tagging-count": "2",
        "x-rgw-object-type": "Normal",
    }
    given = {name: value for name, value in KEPT.items() if name not in only_the_origin}
    assert headers_for_upload(KEPT | only_the_origin) == given
    collected = new_object_headers(list(headers_for_upload(given).items()))
    assert dict(collected.stored) == given, "and they make the same object"


@pytest.mark.parametrize(
    "stored",
    [
        {"x-amz-storage-class": "STANDARD"},
        {"x-amz-storage-class": "GLACIER"},
        {"x-amz-storage-class": "ARCTIC"},
        {"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": "k"},
        {"x-amz-server-side-encryption-customer-algorithm": "AES256"},
    ],
)
def test_archive_tiers_and_keys_of_somebodys_own_are_not_asked_for(stored: dict[str, str]) -> None:
    assert headers_for_upload(stored) == {}


def test_a_copy_keeps_what_belongs_to_the_object() -> None:
    checksums = {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-type": "FULL_OBJECT"}
    about = headers_from_origin([*ORIGIN.items(), *KEPT.items(), *checksums.items(), ("set-cookie", "a=b")])
    assert dict(about.headers) == KEPT
    assert (about.size, about.etag, about.etag_is_md5) == (17, "9e107d9d372bb6826bd81d3542a419d6", True)
    assert about.last_modified_s == 784_111_777
    assert dict(about.checksums) == {"crc32": "AAAAAA==", "type": "FULL_OBJECT"}


@pytest.mark.parametrize(
    ("changed", "is_md5"),
    [
        ({"etag": '"9e107d9d372bb6826bd81d3542a419d6-3"'}, False),
        ({"etag": "9e107d9d372bb6826bd81d3542a419d6"}, True),
        ({"x-amz-server-side-encryption": "aws:kms"}, False),
        ({"x-amz-server-side-encryption": "AES256"}, True),
        ({"x-amz-server-side-encryption-customer-algorithm": "AES256"}, False),
    ],
)
def test_when_the_etag_is_the_md5(changed: dict[str, str], is_md5: bool) -> None:
    assert headers_from_origin(list((ORIGIN | changed).items())).etag_is_md5 is is_md5


@pytest.mark.parametrize(
    "changed",
    [
        {"etag": ""},
        {"etag": '""'},
        {"etag": 'W/"9e107d9d372bb6826bd81d3542a419d6"'},
        {"etag": "W/9e107d9d372bb6826bd81d3542a419d6"},
        {"etag": '"a" "b"'},
        {"last-modified": ""},
        {"last-modified": "yesterday"},
        {"content-length": "x"},
        {"content-length": "-1"},
        {"x-amz-tagging-count": "many"},
        {"content-length": "9" * 30},
        {"x-amz-meta-a": "a\x00"},
    ],
)
def test_what_is_no_stored_object_is_not_copied(changed: dict[str, str]) -> None:
    with pytest.raises(NotAnObject):
        headers_from_origin(list((ORIGIN | changed).items()))


def test_how_many_tags_there_are_is_told() -> None:
    assert headers_from_origin(list(ORIGIN.items())).tags_count == 0
    assert headers_from_origin([*ORIGIN.items(), ("x-amz-tagging-count", "3")]).tags_count == 3


def test_a_missing_length_is_reported() -> None:
    assert headers_from_origin([pair for pair in ORIGIN.items() if pair[0] != "content-length"]).size is None
