"""What the fields of a form mean, and which are refused because they would be ignored."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

import pytest

from addon.s3.errors import S3Error
from addon.s3.post_fields import expanded, post_response_xml, read_post_fields, redirect_location

MD5 = base64.b64encode(hashlib.md5(b"x").digest()).decode()
SHA256 = base64.b64encode(hashlib.sha256(b"x").digest()).decode()


def refusal(fields: Mapping[str, str]) -> str:
    with pytest.raises(S3Error) as refused:
        read_post_fields({"key": "k", **fields})
    return refused.value.code


@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("cat.png", "cat.png"),
        ("", ""),
        ("/home/me/cat.png", "cat.png"),
        ("C:\\Program Files\\folder\\cat.png", "cat.png"),
        ("a/b\\c/", ""),
        ("../../etc/passwd", "passwd"),
        ("..", ".."),
        ("${filename}", "${filename}"),
        ("żółw.png", "żółw.png"),
    ],
)
def test_the_files_name_without_its_folders_stands_for_the_variable(file_name: str, name: str) -> None:
    fields = {"key": "user/${filename}/${filename}", "x-amz-meta-a": "${filename}", "acl": "$filename"}
    assert expanded(fields, file_name) == {"key": f"user/{name}/{name}", "x-amz-meta-a": name, "acl": "$filename"}


def test_what_authenticates_is_not_expanded() -> None:
    fields = {"policy": "${filename}", "x-amz-credential": "${filename}", "x-amz-signature": "${filename}"}
    assert expanded(fields, "AKOTHER") == fields


def test_fields_become_the_objects_headers() -> None:
    upload = read_post_fields(
        {
            "key": "folder/żółw.png",
            "acl": "public-read",
            "cache-control": "max-age=60",
            "content-type": "image/png",
            "content-disposition": "inline",
            "content-encoding": "gzip",
            "expires": "Mon, 02 Nov 2026 10:00:00 GMT",
            "x-amz-meta-author": "Łukasz",
            "x-amz-storage-class": "STANDARD_IA",
            "x-amz-website-redirect-location": "/elsewhere",
            "x-amz-server-side-encryption": "AES256",
            "tagging": "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
            "submit": "a field of the page",
            "x-ignore-x": "y",
        }
    )
    assert upload.key == "folder/żółw.png"
    assert upload.headers.anonymous_read
    assert upload.headers.tags == {"a": "b"}
    assert upload.headers.stored == {
        "cache-control": "max-age=60",
        "content-type": "image/png",
        "content-disposition": "inline",
        "content-encoding": "gzip",
        "expires": "Mon, 02 Nov 2026 10:00:00 GMT",
        "x-amz-meta-author": "Łukasz".encode().decode("latin-1"),
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-website-redirect-location": "/elsewhere",
        "x-amz-server-side-encryption": "AES256",
    }
    assert (upload.redirect, upload.status) == (None, 204)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"key": ""}, "UserKeyMustBeSpecified"),
        ({"key": "k" * 1025}, "KeyTooLongError"),
        ({"key": "ż" * 513}, "KeyTooLongError"),
        ({"key": "a\0b"}, "InvalidURI"),
        ({"acl": "public-read-write"}, "NotImplemented"),
        ({"acl": "everyone"}, "InvalidArgument"),
        ({"cache-control": "a\r\nSet-Cookie: b"}, "InvalidArgument"),
        ({"x-amz-meta-a": "a\nb"}, "InvalidArgument"),
        ({"x-amz-meta-a": "a" * 2049}, "MetadataTooLarge"),
        ({"x-amz-storage-class": "GLACIER"}, "NotImplemented"),
        ({"x-amz-storage-class": "FAST"}, "InvalidStorageClass"),
        ({"x-amz-website-redirect-location": "elsewhere"}, "InvalidRedirectLocation"),
        ({"x-amz-server-side-encryption": "aws:kms"}, "NotImplemented"),
        ({"x-amz-server-side-encryption-customer-key": "a"}, "NotImplemented"),
        ({"x-amz-object-lock-mode": "GOVERNANCE"}, "NotImplemented"),
        ({"x-amz-grant-read": 'uri="x"'}, "NotImplemented"),
        ({"x-amz-acl": "public-read"}, "NotImplemented"),
        ({"x-amz-tagging": "a=b"}, "NotImplemented"),
        ({"x-amz-copy-source": "/images/secret"}, "NotImplemented"),
        ({"x-amz-trailer": "x-amz-checksum-crc32"}, "NotImplemented"),
        ({"x-amz-anything": ""}, "NotImplemented"),
        ({"if-none-match": "*"}, "NotImplemented"),
        ({"if-match": "e"}, "NotImplemented"),
        ({"tagging": "<Tagging>"}, "MalformedXML"),
        ({"tagging": ""}, "MalformedXML"),
        ({"content-md5": "no"}, "InvalidDigest"),
        ({"x-amz-checksum-sha256": "no"}, "InvalidRequest"),
        ({"x-amz-checksum-sha512": "no"}, "NotImplemented"),
        ({"x-amz-checksum-sha256": SHA256, "x-amz-checksum-algorithm": "CRC32"}, "InvalidRequest"),
        ({"x-amz-checksum-algorithm": "MD6"}, "InvalidRequest"),
    ],
)  # fmt: skip
def test_refused_fields(fields: Mapping[str, str], code: str) -> None:
    assert refusal(fields) == code


def test_a_form_without_a_key_is_refused() -> None:
    with pytest.raises(S3Error) as refused:
        read_post_fields({"acl": "private"})
    assert refused.value.code == "UserKeyMustBeSpecified"


@pytest.mark.parametrize(
    ("fields", "promised"),
    [
        ({}, (None, "crc64nvme", None)),
        ({"content-md5": MD5}, (MD5, "crc64nvme", None)),
        ({"x-amz-checksum-sha256": SHA256}, (None, "sha256", SHA256)),
        ({"x-amz-checksum-sha256": SHA256, "x-amz-checksum-algorithm": "SHA256"}, (None, "sha256", SHA256)),
        ({"x-amz-checksum-algorithm": "SHA256"}, (None, "sha256", None)),
    ],
)
def test_promises_about_the_file(fields: Mapping[str, str], promised: tuple[str | None, str, str | None]) -> None:
    expected = read_post_fields({"key": "k", **fields}).expected
    assert (expected.content_md5, expected.algorithm, expected.value) == promised


@pytest.mark.parametrize(
    ("status", "answered"),
    [("200", 200), ("201", 201), ("204", 204), ("404", 204), ("", 204), ("2O1", 204), ("٢٠١", 204)],
)
def test_statuses(status: str, answered: int) -> None:
    assert read_post_fields({"key": "k", "success_action_status": status}).status == answered


@pytest.mark.parametrize(
    ("location", "used"),
    [
        ("https://www.example.com/done?a=b#c", True),
        ("http://localhost:8080", True),
        ("HTTPS://example.com/", True),
        ("", False),
        ("/done", False),
        ("//example.com/done", False),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("ftp://example.com/", False),
        ("https://", False),
        ("https://[::1", False),
        ("https://example.com/a b", False),
        ("https://example.com/\r\nSet-Cookie: a=b", False),
    ],
)
def test_redirects_are_web_addresses(location: str, used: bool) -> None:
    for name in ("success_action_redirect", "redirect"):
        assert (read_post_fields({"key": "k", name: location}).redirect is not None) is used


@pytest.mark.parametrize(
    ("redirect", "location"),
    [
        ("https://e.test/done", "https://e.test/done?bucket=images&key=a%2Fb%20c&etag=%22e1%22"),
        ("https://e.test/?x=%2F", "https://e.test/?x=%2F&bucket=images&key=a%2Fb%20c&etag=%22e1%22"),
        ("https://e.test/#top", "https://e.test/?bucket=images&key=a%2Fb%20c&etag=%22e1%22#top"),
        ("https://e.test/ż", "https://e.test/%C5%BC?bucket=images&key=a%2Fb%20c&etag=%22e1%22"),
    ],
)
def test_where_a_redirect_leads(redirect: str, location: str) -> None:
    assert redirect_location(redirect, bucket="images", key="a/b c", etag="e1") == location


def test_the_answer_of_201() -> None:
    written = post_response_xml(location="http://h/images/a%26b", bucket="images", key="a&b", etag="e1")
    assert written.decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n<PostResponse><Location>http://h/images/a%26b</Location>'
        '<Bucket>images</Bucket><Key>a&amp;b</Key><ETag>"e1"</ETag></PostResponse>'
    )
