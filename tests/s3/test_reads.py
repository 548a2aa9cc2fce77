"""Whole answers to GET and HEAD."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from addon.s3.errors import S3Error
from addon.s3.http_dates import format_http_date
from addon.s3.ranges import ByteRange
from addon.s3.reads import OVERRIDES, PartOfObject, ReadAnswer, answer_read, object_headers


@dataclass(frozen=True)
class Stored:
    size: int = 20
    etag: str = "abc"
    last_modified_s: int = 784_111_777
    headers: Mapping[str, str] = field(
        default_factory=lambda: {"content-type": "image/png", "cache-control": "no-store", "x-amz-meta-a": "1"}
    )
    checksums: Mapping[str, str] = field(default_factory=lambda: {"crc32": "AAAAAA==", "type": "FULL_OBJECT"})
    tags: Mapping[str, str] = field(default_factory=dict)


WHOLE = [
    ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ("etag", '"abc"'),
    ("accept-ranges", "bytes"),
    ("content-type", "image/png"),
    ("cache-control", "no-store"),
    ("x-amz-meta-a", "1"),
    ("content-length", "20"),
]


def read(
    headers: dict[str, str] | None = None,
    query: str = "",
    *,
    method: str = "GET",
    signed: bool = True,
    stored: Stored | None = None,
) -> ReadAnswer:
    return answer_read(stored or Stored(), method, list((headers or {}).items()), query, signed=signed)


def test_a_plain_get_is_the_whole_object() -> None:
    assert read({"user-agent": "x", "accept": "*/*"}) == ReadAnswer(200, WHOLE, ByteRange(0, 20))
    assert object_headers(Stored()) == WHOLE


def test_a_head_has_the_headers_of_the_get_and_no_body() -> None:
    for headers in ({}, {"range": "bytes=5-9"}, {"x-amz-checksum-mode": "ENABLED"}):
        get, head = read(headers), read(headers, method="HEAD")
        assert (head.status, head.headers, head.body_range) == (get.status, get.headers, None)


def test_an_empty_object_has_no_body() -> None:
    answer = read(stored=Stored(size=0))
    assert (answer.status, answer.body_range) == (200, None)
    assert ("content-length", "0") in answer.headers
    with pytest.raises(S3Error) as refused:
        read({"range": "bytes=0-"}, stored=Stored(size=0))
    assert refused.value.status == 416


def test_a_range_is_answered_206() -> None:
    answer = read({"range": "bytes=5-9"})
    assert (answer.status, answer.body_range) == (206, ByteRange(5, 5))
    assert dict(answer.headers) == dict(WHOLE) | {"content-length": "5", "content-range": "bytes 5-9/20"}


@pytest.mark.parametrize(
    ("if_range", "status"),
    [('"abc"', 206), ('"old"', 200), ("Sun, 06 Nov 1994 08:49:37 GMT", 206), ("Sun, 06 Nov 1994 08:49:38 GMT", 200)],
)
def test_if_range(if_range: str, status: int) -> None:
    assert read({"range": "bytes=5-9", "if-range": if_range}).status == status


def test_if_range_of_another_version_also_saves_from_416() -> None:
    assert read({"range": "bytes=99-", "if-range": '"old"'}).status == 200


def test_not_modified_repeats_the_validators_only() -> None:
    answer = read({"if-none-match": '"abc"', "range": "bytes=0-1"})
    assert (answer.status, answer.body_range) == (304, None)
    assert dict(answer.headers) == {
        "last-modified": "Sun, 06 Nov 1994 08:49:37 GMT",
        "etag": '"abc"',
        "cache-control": "no-store",
    }


def test_a_failed_condition_comes_before_the_range() -> None:
    with pytest.raises(S3Error) as refused:
        read({"if-match": '"old"', "range": "bytes=99-"})
    assert refused.value.code == "PreconditionFailed"


def test_repeated_conditions_are_one_list() -> None:
    answer = answer_read(Stored(), "GET", [("if-none-match", '"x"'), ("if-none-match", '"abc"')], "", signed=False)
    assert answer.status == 304


def test_repeated_ranges_are_no_single_range() -> None:
    answer = answer_read(Stored(), "GET", [("range", "bytes=0-1"), ("range", "bytes=3-4")], "", signed=False)
    assert answer.status == 200


def test_checksums_are_given_on_request_and_for_the_whole_only() -> None:
    given = {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-type": "FULL_OBJECT"}
    assert dict(read({"x-amz-checksum-mode": "ENABLED"}).headers) == dict(WHOLE) | given
    for headers in ({}, {"x-amz-checksum-mode": "x"}, {"x-amz-checksum-mode": "ENABLED", "range": "bytes=0-1"}):
        assert not [name for name, _ in read(headers).headers if name.startswith("x-amz-checksum-")]


@pytest.mark.parametrize(("parameter", "header"), OVERRIDES.items())
def test_overrides_on_signed_requests(parameter: str, header: str) -> None:
    answer = read(query=f"{parameter}=text%2Fhtml%3B+a%3D%22%C3%A9%22&x-id=GetObject")
    assert dict(answer.headers)[header] == 'text/html; a="\u00e9"'
    assert Stored().headers == dict(WHOLE[3:6])
    partial = read({"range": "bytes=0-0"}, query=f"{parameter}=x")
    assert dict(partial.headers)[header] == "x"


@pytest.mark.parametrize("parameter", OVERRIDES)
def test_overrides_on_anonymous_requests_are_refused(parameter: str) -> None:
    for query in (f"{parameter}=x", f"a=b&{parameter}", parameter.replace("-", "%2D") + "=x"):
        with pytest.raises(S3Error) as refused:
            read(query=query, signed=False)
        assert refused.value.code == "InvalidRequest"


@pytest.mark.parametrize("value", ["a%0D%0ASet-Cookie:x", "a%0Ab", "a%00", "%E2%82%AC", "%7F"])
def test_overrides_cannot_split_a_header(value: str) -> None:
    with pytest.raises(S3Error) as refused:
        read(query=f"response-content-type={value}")
    assert refused.value.code == "InvalidArgument"


@pytest.mark.parametrize(
    "query", ["v=3", "x-id=GetObject&_=1", "response-foo=x", "Response-Expires=x", "response-expires="]
)
def test_other_parameters_change_nothing(query: str) -> None:
    assert read(query=query).headers == WHOLE


PART = PartOfObject(ByteRange(5, 10), {"crc32": "AQIDBA==", "type": "COMPOSITE"}, parts_count=3)


def read_part(headers: dict[str, str] | None = None, *, method: str = "GET", part: PartOfObject = PART) -> ReadAnswer:
    return answer_read(
        Stored(), method, list((headers or {}).items()), "partNumber=2&x-id=GetObject", signed=True, part=part
    )


def test_a_part_is_a_range_with_a_number() -> None:
    answer = read_part()
    told = dict(answer.headers)
    assert (answer.status, answer.body_range) == (206, ByteRange(5, 10))
    assert (told["content-length"], told["content-range"]) == ("10", "bytes 5-14/20")
    assert (told["x-amz-mp-parts-count"], told["etag"]) == ("3", '"abc"')
    assert "x-amz-checksum-crc32" not in told
    told = dict(read_part({"x-amz-checksum-mode": "enabled"}).headers)
    assert (told["x-amz-checksum-crc32"], told["x-amz-checksum-type"]) == ("AQIDBA==", "COMPOSITE")
    head = read_part(method="HEAD")
    assert (head.status, head.headers, head.body_range) == (206, answer.headers, None)


def test_the_first_part_of_an_object_in_one_piece_is_the_whole() -> None:
    answer = read_part(part=PartOfObject(ByteRange(0, 20), {}))
    assert (answer.status, answer.body_range) == (206, ByteRange(0, 20))
    assert "x-amz-mp-parts-count" not in dict(answer.headers)


def test_a_part_without_bytes_has_no_content_range() -> None:
    answer = read_part(part=PartOfObject(None, {}, 2))
    assert (answer.status, answer.body_range, dict(answer.headers)["content-length"]) == (200, None, "0")
    assert "content-range" not in dict(answer.headers)


def test_a_part_has_conditions_and_no_range() -> None:
    assert read_part({"if-none-match": '"abc"'}).status == 304
    for headers, code in (({"if-match": '"x"'}, "PreconditionFailed"), ({"range": "bytes=0-1"}, "InvalidRequest")):
        with pytest.raises(S3Error) as refused:
            read_part(headers)
        assert refused.value.code == code


def test_only_a_part_tells_how_many_there_are() -> None:
    """S3 gives x-amz-mp-parts-count only where partNumber was asked for."""
    assert all("x-amz-mp-parts-count" not in dict(read(headers).headers) for headers in ({}, {"range": "bytes=0-1"}))


def test_a_customer_key_does_not_fit() -> None:
    with pytest.raises(S3Error) as refused:
        read({"x-amz-server-side-encryption-customer-algorithm": "AES256"})
    assert refused.value.code == "InvalidRequest"


def test_last_modified_is_given_in_gmt() -> None:
    assert format_http_date(0) == "Thu, 01 Jan 1970 00:00:00 GMT"


@pytest.mark.parametrize(
    ("told", "tags", "signed", "count"),
    [
        (None, {}, True, None),
        (None, {"a": "1", "b": ""}, True, "2"),
        ("1", {"a": "1", "b": ""}, True, "2"),
        ("1", {}, True, None),
        ("1", {"a": "1"}, False, None),
    ],
)
def test_the_number_of_tags_is_the_present_one_and_for_signers(
    told: str | None, tags: dict[str, str], signed: bool, count: str | None
) -> None:
    stored = Stored(headers={} if told is None else {"x-amz-tagging-count": told}, tags=tags)
    for headers in ({}, {"range": "bytes=0-1"}):
        assert dict(read(headers, stored=stored, signed=signed).headers).get("x-amz-tagging-count") == count
    assert "x-amz-tagging-count" not in dict(object_headers(stored))
