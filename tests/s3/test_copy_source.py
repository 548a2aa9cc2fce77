"""Copy sources: which object a CopyObject reads is seen as the origin would see it, or the request is refused."""

from __future__ import annotations

import pytest

from addon.s3.copy_source import CopySource, parse_copy_source
from addon.s3.errors import S3Error


@pytest.mark.parametrize(
    ("header", "bucket", "key", "version_id"),
    [
        ("/b/k", "b", "k", None),
        ("b/k", "b", "k", None),
        ("b/a/b%2Fc", "b", "a/b/c", None),
        ("b%2Fk", "b", "k", None),
        ("%2Fb%2Fk", "b", "k", None),
        ("b//k", "b", "/k", None),
        ("b/../c/k", "b", "../c/k", None),
        ("b/a b", "b", "a b", None),
        ("b/a%2Bb", "b", "a+b", None),
        ("b/caf\u00c3\u00a9", "b", "caf\u00e9", None),
        ("b/k%3FversionId=x", "b", "k?versionId=x", None),
        ("b/k?versionId=3.a-b", "b", "k", "3.a-b"),
        ("b/k?versionId=%6Eull", "b", "k", "null"),
        ("b/k?versionId=a%26b", "b", "k", "a&b"),
    ],
)
def test_sources(header: str, bucket: str, key: str, version_id: str | None) -> None:
    assert parse_copy_source(header) == CopySource(bucket, key, version_id)


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "InvalidArgument"),
        ("b", "InvalidArgument"),
        ("/b/", "InvalidArgument"),
        ("//k", "InvalidArgument"),
        ("b/k?versionId=", "InvalidArgument"),
        ("b/k?acl", "InvalidArgument"),
        ("b/k?versionId=1&acl", "InvalidArgument"),
        ("b/k?versionId=%FF", "InvalidArgument"),
        ("b/a+b", "InvalidArgument"),
        ("b/%FF", "InvalidArgument"),
        ("b/%zz", "InvalidArgument"),
        ("b/" + "k" * 1025, "KeyTooLongError"),
        ("b/" + "k" * 9999, "KeyTooLongError"),
        ("arn:aws:s3:eu-west-1:123456789012:accesspoint/p/object/k", "NotImplemented"),
        ("arn%3Aaws%3As3:eu-west-1:123456789012:accesspoint/p/object/k", "NotImplemented"),
    ],
)
def test_sources_that_are_refused(header: str, code: str) -> None:
    with pytest.raises(S3Error) as refused:
        parse_copy_source(header)
    assert refused.value.code == code


def test_a_key_of_the_greatest_length_fits() -> None:
    assert parse_copy_source("bucket/" + "k" * 1024).key == "k" * 1024
