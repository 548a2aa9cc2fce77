"""GetObjectAttributes: what is asked, and the document as boto3 reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import botocore.session
import pytest
from botocore.parsers import create_parser

from addon.s3.errors import S3Error
from addon.s3.object_attributes import AskedAttributes, attributes

ALL = "ETag,Checksum,ObjectParts,StorageClass,ObjectSize"


@dataclass(frozen=True)
class Stored:
    size: int = 30
    etag: str = "abc-3"
    last_modified_s: int = 784_111_777
    headers: Mapping[str, str] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=lambda: {"crc32": "AAAAAA==-3", "type": "COMPOSITE"})
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    number: int
    size: int


PARTS = [(Part(number, 10), {"crc32": "AQIDBA==", "type": "COMPOSITE"}) for number in (1, 3, 7)]


def asked(names: str = ALL, **more: str) -> AskedAttributes:
    headers = [(f"x-amz-{name.replace('_', '-')}", value) for name, value in more.items()]
    return AskedAttributes.from_headers([("x-amz-object-attributes", names), *headers])


def told(question: AskedAttributes, record: Stored | None = None, parts: Any = PARTS) -> dict[str, Any]:
    model = botocore.session.get_session().get_service_model("s3").operation_model("GetObjectAttributes")
    content = attributes(question, record or Stored(), parts)
    answer = {"body": content, "headers": {}, "status_code": 200}
    parsed: dict[str, Any] = create_parser("rest-xml").parse(answer, model.output_shape)
    parsed.pop("ResponseMetadata", None)
    return parsed


def test_everything() -> None:
    """The ETag has no quotes, and a composite checksum no number of parts."""
    parts = [{"PartNumber": part.number, "Size": part.size, "ChecksumCRC32": "AQIDBA=="} for part, _ in PARTS]
    assert told(asked()) == {
        "ETag": "abc-3",
        "Checksum": {"ChecksumCRC32": "AAAAAA==", "ChecksumType": "COMPOSITE"},
        "ObjectParts": {
            "TotalPartsCount": 3,
            "PartNumberMarker": 0,
            "NextPartNumberMarker": 7,
            "MaxParts": 1000,
            "IsTruncated": False,
            "Parts": parts,
        },
        "StorageClass": "STANDARD",
        "ObjectSize": 30,
    }


def test_only_what_is_asked_for() -> None:
    assert told(asked("ETag")) == {"ETag": "abc-3"}
    assert told(asked(" ObjectSize , StorageClass"), Stored(headers={"x-amz-storage-class": "STANDARD_IA"})) == {
        "ObjectSize": 30,
        "StorageClass": "STANDARD_IA",
    }
    repeated = AskedAttributes.from_headers(
        [("x-amz-object-attributes", "ETag"), ("x-amz-object-attributes", "ObjectSize")]
    )
    assert told(repeated) == {"ETag": "abc-3", "ObjectSize": 30}


def test_what_an_object_does_not_have_is_left_out() -> None:
    assert told(asked("Checksum,ObjectParts,ETag"), Stored(checksums={}), []) == {"ETag": "abc-3"}


@pytest.mark.parametrize(
    ("more", "numbers", "following", "truncated"),
    [
        ({"max_parts": "1"}, [1], 1, True),
        ({"max_parts": "2", "part_number_marker": "1"}, [3, 7], 7, False),
        ({"part_number_marker": "2"}, [3, 7], 7, False),
        ({"part_number_marker": "7"}, [], 7, False),
        ({"max_parts": "0"}, [], 0, True),
    ],
)
def test_pages_of_parts(more: dict[str, str], numbers: list[int], following: int, truncated: bool) -> None:
    page = told(asked("ObjectParts", **more))["ObjectParts"]
    assert [part["PartNumber"] for part in page.get("Parts", [])] == numbers
    assert (page["NextPartNumberMarker"], page["IsTruncated"], page["TotalPartsCount"]) == (following, truncated, 3)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("x-amz-object-attributes", "")],
        [("x-amz-object-attributes", " , ")],
        [("x-amz-object-attributes", "etag")],
        [("x-amz-object-attributes", "ETag,Size")],
        [("x-amz-object-attributes", "ETag"), ("x-amz-max-parts", "-1")],
        [("x-amz-object-attributes", "ETag"), ("x-amz-part-number-marker", "x")],
    ],
)
def test_what_cannot_be_asked(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(S3Error) as refused:
        AskedAttributes.from_headers(headers)
    assert refused.value.code == "InvalidArgument"
