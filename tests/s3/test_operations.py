"""Operations: botocore's model of S3 and its serializer are the oracle; and nothing odd becomes a plain read or write."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.errors import S3Error
from addon.s3.operations import (
    HANDLING,
    HANDLING_REASON,
    KEY_IN_BODY,
    MULTIPART_STEPS,
    REPLACES_OBJECT,
    Handling,
    Operation,
    parse_target,
    split_path,
)
from addon.s3.subresources import SUBRESOURCES
from tests.operation_samples import ELSEWHERE, MODEL, SAME_REQUEST, smallest_request

PLAIN = frozenset({Operation.GET_OBJECT, Operation.HEAD_OBJECT, Operation.PUT_OBJECT, Operation.DELETE_OBJECT})


def operation(method: str, path: str, query: str = "", headers: list[tuple[str, str]] | None = None) -> Operation:
    return parse_target(method, None, path, query, headers or []).operation


def test_every_operation_of_aws_has_a_name_and_nothing_else_has() -> None:
    ours = {member.value for member in Operation} - {"CORSPreflight", "Unknown", "PostObject"}
    assert ours == set(MODEL.operation_names) - set(SAME_REQUEST) - ELSEWHERE | {"ListDirectoryBuckets"}


@pytest.mark.parametrize("name", sorted(set(MODEL.operation_names) - ELSEWHERE))
def test_a_request_as_botocore_builds_it_is_recognised(name: str) -> None:
    request = smallest_request(name)
    found = operation(request.method, request.path, request.query, list(request.headers))
    assert found.value == SAME_REQUEST.get(name, name)


@pytest.mark.parametrize("member", Operation)
def test_every_operation_has_one_handling_with_a_reason(member: Operation) -> None:
    assert isinstance(HANDLING[member], Handling)
    assert HANDLING_REASON[member]


def test_what_cannot_be_superseded_is_not_forwarded() -> None:
    assert Handling.FORWARD not in {HANDLING[member] for member in KEY_IN_BODY}
    assert not KEY_IN_BODY & (REPLACES_OBJECT | MULTIPART_STEPS)
    assert not REPLACES_OBJECT & MULTIPART_STEPS


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "expected"),
    [
        ("GET", "/b/k", "x-id=GetObject", [], "GetObject"),
        ("PUT", "/b/k", "x-id=PutObject", [("x-amz-acl", "public-read")], "PutObject"),
        ("GET", "/b/k", "response-content-type=image%2Fpng&v=3&_=17&utm_source=x", [], "GetObject"),
        ("GET", "/b/k", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0", [], "GetObject"),
        ("HEAD", "/b/k", "", [], "HeadObject"),
        ("DELETE", "/b/k", "versionId=null", [], "DeleteObject"),
        ("GET", "/b/k", "%61cl", [], "GetObjectAcl"),
        ("GET", "/b/k", "acl=", [], "GetObjectAcl"),
        ("GET", "/b/k", "v=1&acl&versionId=x", [], "GetObjectAcl"),
        ("PUT", "/b/k", "", [("x-amz-copy-source", "/b/o")], "CopyObject"),
        ("PUT", "/b/k", "x-amz-copy-source=%2Fb%2Fo&X-Amz-Signature=0", [], "CopyObject"),
        ("PUT", "/b/k", "X-Amz-Copy-Source=%2Fb%2Fo&X-Amz-Signature=0", [], "CopyObject"),
        ("PUT", "/b/k", "partNumber=3&uploadId=u", [], "UploadPart"),
        ("PUT", "/b/k", "uploadId=u&partNumber=3", [("x-amz-copy-source", "/b/o")], "UploadPartCopy"),
        ("POST", "/b/k", "uploads", [], "CreateMultipartUpload"),
        ("GET", "/b/k", "uploadId=u&part-number-marker=3", [], "ListParts"),
        ("GET", "/b", "", [], "ListObjects"),
        ("GET", "/b/", "prefix=a&delimiter=%2F", [], "ListObjects"),
        ("GET", "/b", "list-type=2", [], "ListObjectsV2"),
        ("GET", "/b", "inventory", [], "ListBucketInventoryConfigurations"),
        ("GET", "/b", "inventory&id=x", [], "GetBucketInventoryConfiguration"),
        ("POST", "/b", "delete", [], "DeleteObjects"),
        ("POST", "/b", "", [("content-type", "multipart/form-data; boundary=x")], "PostObject"),
        ("GET", "/", "", [], "ListBuckets"),
        ("OPTIONS", "/b/k", "", [("origin", "https://x")], "CORSPreflight"),
    ],
)
def test_known_requests(method: str, path: str, query: str, headers: list[tuple[str, str]], expected: str) -> None:
    assert operation(method, path, query, headers).value == expected


@pytest.mark.parametrize(
    ("method", "query"),
    [
        ("GET", "policy"),
        ("GET", "location"),
        ("GET", "uploads"),
        ("GET", "delete"),
        ("GET", "restore"),
        ("GET", "list-type=2"),
        ("GET", "ACL"),
        ("GET", "versionid=3"),
        ("HEAD", "acl"),
        ("HEAD", "uploadId=u"),
        ("PUT", "Tagging"),
        ("PUT", "uploads"),
        ("PUT", "append&position=0"),
        ("PUT", "torrent"),
        ("DELETE", "acl"),
        ("POST", ""),
        ("PATCH", ""),
        ("get", ""),
        ("", ""),
        ("TRACE", ""),
        ("CONNECT", ""),
    ],
)
def test_what_s3_would_not_do_with_an_object_is_unknown(method: str, query: str) -> None:
    assert operation(method, "/b/k", query) is Operation.UNKNOWN


@given(
    method=st.sampled_from(["GET", "HEAD", "PUT", "DELETE", "POST"]),
    subresource=st.sampled_from(sorted(SUBRESOURCES)),
    value=st.sampled_from(["", "=", "=1", "=%00"]),
    harmless=st.lists(st.sampled_from(["v=3", "x-id=GetObject", "response-expires=x", "a=b=c", "%26=x"]), max_size=3),
    spell=st.randoms(use_true_random=False),
)
def test_a_subresource_never_becomes_a_plain_operation(
    method: str, subresource: str, value: str, harmless: list[str], spell: Any
) -> None:
    name = "".join(f"%{ord(char):02X}" if spell.random() < 0.2 else char for char in subresource)
    name = name if spell.random() < 0.7 else name.upper()
    pieces = [f"{name}{value}", *harmless]
    spell.shuffle(pieces)
    try:
        found = operation(method, "/b/k", "&".join(pieces))
    except S3Error:
        return
    assert found not in PLAIN


@pytest.mark.parametrize(
    ("method", "query"),
    [
        ("GET", "versionId="),
        ("GET", "versionId=a&versionId=b"),
        ("GET", "versionId=a&version%49d=b"),
        ("GET", "partNumber=0"),
        ("GET", "partNumber=10001"),
        ("GET", "partNumber=1e3"),
        ("GET", "partNumber=+1"),
        ("GET", "partNumber="),
        ("GET", "partNumber=\u00b2"),
        ("GET", "acl&tagging"),
        ("GET", "acl&acl"),
        ("PUT", "partNumber=1"),
        ("PUT", "uploadId=u"),
        ("PUT", "uploadId=u&uploadId=v&partNumber=1"),
        ("PUT", "versionId=x"),
        ("PUT", "versionId=x&x-amz-copy-source=b%2Fk"),
        ("POST", "uploadId=u&versionId=x"),
    ],
)
def test_malformed_qualifiers_are_refused(method: str, query: str) -> None:
    with pytest.raises(S3Error) as refused:
        operation(method, "/b/k", query)
    assert refused.value.status == 400


def test_version_and_part_are_reported() -> None:
    target = parse_target("GET", "b", "/k", "versionId=3%2F4&partNumber=17", [])
    assert (target.operation, target.version_id, target.part_number) == (Operation.GET_OBJECT, "3/4", 17)


def test_deleting_one_version_replaces_nothing() -> None:
    assert parse_target("DELETE", "b", "/k", "", []).replaces_object
    assert not parse_target("DELETE", "b", "/k", "versionId=1", []).replaces_object
    assert not parse_target("GET", "b", "/k", "", []).replaces_object


@pytest.mark.parametrize(
    ("host_bucket", "path", "bucket", "raw_key", "key"),
    [
        (None, "/b/k", "b", "k", "k"),
        (None, "/b", "b", "", ""),
        (None, "/b/", "b", "", ""),
        (None, "/b//k", "b", "/k", "/k"),
        (None, "/b/a%2Fb", "b", "a%2Fb", "a/b"),
        (None, "/im%61ges/k", "images", "k", "k"),
        (None, "/b/../c/k", "b", "../c/k", "../c/k"),
        (None, "/", "", "", ""),
        (None, "", "", "", ""),
        ("b", "/", "b", "", ""),
        ("b", "", "b", "", ""),
        ("b", "/k", "b", "k", "k"),
        ("b", "//k", "b", "/k", "/k"),
        ("b", "/b/k", "b", "b/k", "b/k"),
        ("b", "/a/./b/", "b", "a/./b/", "a/./b/"),
        ("b", "/caf\u00c3\u00a9", "b", "caf\u00c3\u00a9", "caf\u00e9"),
    ],
)
def test_paths(host_bucket: str | None, path: str, bucket: str, raw_key: str, key: str) -> None:
    target = parse_target("GET", host_bucket, path, "", [])
    assert (target.bucket, target.raw_key, target.key) == (bucket, raw_key, key)


def test_path_style_and_virtual_host_style_mean_the_same_key() -> None:
    assert split_path("/b//a%20b") == ("b", "/a%20b")


@pytest.mark.parametrize("path", ["*", "b/k", "http://h/k"])
def test_a_target_that_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(S3Error) as refused:
        parse_target("GET", "b", path, "", [])
    assert refused.value.code == "InvalidURI"


def test_many_parameters_take_linear_time() -> None:
    assert operation("GET", "/b/k", "&" * 500_000 + "a&" * 50_000) is Operation.GET_OBJECT
