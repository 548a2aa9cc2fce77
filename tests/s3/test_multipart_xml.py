"""The documents of multipart uploads: what clients send, and what they get."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import Any

import botocore.session
import pytest
from botocore.parsers import create_parser
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.errors import S3Error
from addon.s3.multipart import PARTS_MAX, ChecksumPlan, ListedPart
from addon.s3.multipart_xml import (
    COMPLETE_BODY_BYTES_MAX,
    PartsPage,
    completed,
    initiated,
    parse_part_list,
    part_list,
)

MD5 = hashlib.md5(b"x").hexdigest()
CRC32 = "AAAAAA=="
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


def body(parts: str, namespace: str = "") -> bytes:
    attribute = f' xmlns="{namespace}"' if namespace else ""
    return f"<CompleteMultipartUpload{attribute}>{parts}</CompleteMultipartUpload>".encode()


def one(number: object = 1, etag: str = MD5, more: str = "") -> str:
    return f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag>{more}</Part>"


def as_botocore_reads(operation: str, content: bytes) -> dict[str, Any]:
    """The document as boto3 would give it to its caller."""
    model = botocore.session.get_session().get_service_model("s3").operation_model(operation)
    answer = {"body": content, "headers": {}, "status_code": 200}
    parsed: dict[str, Any] = create_parser("rest-xml").parse(answer, model.output_shape)
    return parsed


@pytest.mark.parametrize(
    "content",
    [
        body(one()),
        body(one(), NAMESPACE),
        body(one(), "http://another/"),
        body(one(etag=f'"{MD5}"')),
        body(one(etag=f"&quot;{MD5}&quot;")),
        body(one(etag=f"&#34;{MD5}&#34;")),
        b'<?xml version="1.0" encoding="UTF-8"?>\n' + body(f"\n  {one(number=' 1 ', etag=f' {MD5} ')}\n  <Other/>\n"),
        body(one()).decode().encode("utf-16"),
    ],
)
def test_spellings_of_a_list(content: bytes) -> None:
    assert parse_part_list(content) == [ListedPart(1, MD5)]


def test_checksums_of_a_list() -> None:
    content = body(one(more=f"<ChecksumCRC32>{CRC32}</ChecksumCRC32>") + one(2, more="<ChecksumSHA1></ChecksumSHA1>"))
    assert parse_part_list(content) == [ListedPart(1, MD5, {"crc32": CRC32}), ListedPart(2, MD5)]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "MalformedXML"),
        (b"no xml", "MalformedXML"),
        (b"<CompleteMultipartUpload/>", "MalformedXML"),
        (b"<Delete><Part/></Delete>", "MalformedXML"),
        (body("<Part/>"), "MalformedXML"),
        (body("<Part><PartNumber>1</PartNumber></Part>"), "MalformedXML"),
        (body(f"<Part><ETag>{MD5}</ETag></Part>"), "MalformedXML"),
        (body(one("one")), "MalformedXML"),
        (body(one("")), "MalformedXML"),
        (body(one("-1")), "MalformedXML"),
        (body(one("\N{ARABIC-INDIC DIGIT ONE}")), "MalformedXML"),
        (body(one("1" * 5000)), "MalformedXML"),
        (body(one("1<b/>")), "MalformedXML"),
        (body(one(more="<ETag>x</ETag>")), "MalformedXML"),
        (body(one() * 2).replace(b"</Part>", b"", 1), "MalformedXML"),
        (body("".join(one(number % 10_000 + 1) for number in range(PARTS_MAX + 1))), "MalformedXML"),
        (body(one(0)), "InvalidArgument"),
        (body(one(10_001)), "InvalidArgument"),
        (body(one(more="<ChecksumCRC32>AAAA</ChecksumCRC32>")), "InvalidArgument"),
        (body(one(more="<ChecksumCRC32>\u00e9</ChecksumCRC32>")), "InvalidArgument"),
        (
            body(one(more=f"<ChecksumCRC32>{CRC32}</ChecksumCRC32><ChecksumCRC32C>{CRC32}</ChecksumCRC32C>")),
            "InvalidArgument",
        ),
        (b'<!DOCTYPE x [<!ENTITY a "b">]>' + body(one(etag="&a;")), "MalformedXML"),
        (b'<?xml version="1.0" encoding="no-such-thing"?>' + body(one()), "MalformedXML"),
    ],
)
def test_what_is_no_list(content: bytes, code: str) -> None:
    with pytest.raises(S3Error) as refused:
        parse_part_list(content)
    assert refused.value.code == code


@given(content=st.binary(max_size=300))
def test_any_bytes_give_a_list_or_an_s3_error(content: bytes) -> None:
    with pytest.raises(S3Error):
        parse_part_list(content)


def test_ten_thousand_parts_with_everything_fit_and_are_quick() -> None:
    sha256 = "A" * 43 + "="
    indented = "".join(
        f"\n  <Part>\n    <ChecksumSHA256>{sha256}</ChecksumSHA256>\n    <ETag>&quot;{MD5}&quot;</ETag>\n"
        f"    <PartNumber>{number}</PartNumber>\n  </Part>"
        for number in range(1, PARTS_MAX + 1)
    )
    content = body(indented, NAMESPACE)
    assert len(content) < COMPLETE_BODY_BYTES_MAX
    began_s = time.perf_counter()
    parts = parse_part_list(content)
    assert time.perf_counter() - began_s < 2
    assert parts[-1] == ListedPart(PARTS_MAX, MD5, {"sha256": sha256})


@pytest.mark.parametrize("filling", [b"<a/>", b"&", b"<a b=''/>", b"<", b"<!-- -->", b"&amp;", b"<![CDATA[]]>"])
def test_a_body_full_of_it_is_refused_quickly(filling: bytes) -> None:
    content = body("FILLING").replace(b"FILLING", filling * (COMPLETE_BODY_BYTES_MAX // len(filling)))
    began_s = time.perf_counter()
    with pytest.raises(S3Error) as refused:
        parse_part_list(content)
    assert time.perf_counter() - began_s < 1
    assert refused.value.code == "MalformedXML"


def test_a_million_attributes_are_refused() -> None:
    attributes = "".join(f' a{number}=""' for number in range(300_000))
    with pytest.raises(S3Error) as refused:
        parse_part_list(f"<CompleteMultipartUpload{attributes}/>".encode())
    assert refused.value.code == "MalformedXML"


KEY = "a<b>&\u00e9/\x01\x7f"


def test_the_answers_as_boto3_reads_them() -> None:
    begun = as_botocore_reads("CreateMultipartUpload", initiated("images", "a<b>&\u00e9", "id"))
    assert (begun["Bucket"], begun["Key"], begun["UploadId"]) == ("images", "a<b>&\u00e9", "id")
    done = as_botocore_reads(
        "CompleteMultipartUpload",
        completed("https://h/images/k", "images", "k", f"{MD5}-2", {"crc32": f"{CRC32}-2", "type": "COMPOSITE"}),
    )
    assert done["ETag"] == f'"{MD5}-2"'
    assert (done["Location"], done["Bucket"], done["Key"]) == ("https://h/images/k", "images", "k")
    assert (done["ChecksumCRC32"], done["ChecksumType"]) == (f"{CRC32}-2", "COMPOSITE")


@dataclass(frozen=True)
class Part:
    number: int
    size: int
    md5_hex: str
    modified_at_s: int
    checksums: dict[str, str] = field(default_factory=dict)


def listed(page: PartsPage, parts: list[Part], *, truncated: bool, key: str = "k", algorithm: str = "crc32") -> bytes:
    return part_list(
        page,
        parts,
        truncated=truncated,
        bucket="images",
        key=key,
        upload_id="id",
        storage_class="STANDARD_IA",
        plan=ChecksumPlan(algorithm, "COMPOSITE" if algorithm else ""),
    )


def test_a_list_of_parts_as_boto3_reads_it() -> None:
    parts = [
        Part(number, 5 + number, MD5, 1_800_000_000, {"crc32": CRC32, "crc64nvme": "A" * 11 + "="}) for number in (3, 7)
    ]
    told = as_botocore_reads("ListParts", listed(PartsPage(2, 2, False), parts, truncated=True))
    assert (told["PartNumberMarker"], told["NextPartNumberMarker"], told["MaxParts"]) == (2, 7, 2)
    assert (told["IsTruncated"], told["StorageClass"], told["UploadId"]) == (True, "STANDARD_IA", "id")
    assert (told["ChecksumAlgorithm"], told["ChecksumType"]) == ("CRC32", "COMPOSITE")
    assert told["Owner"]["ID"] == told["Initiator"]["ID"]
    first = told["Parts"][0]
    assert (first["PartNumber"], first["Size"], first["ETag"], first["ChecksumCRC32"]) == (3, 8, f'"{MD5}"', CRC32)
    assert first["LastModified"].timestamp() == 1_800_000_000
    assert "ChecksumCRC64NVME" not in first, "the upload's own checksum, no other"
    unnamed = as_botocore_reads("ListParts", listed(PartsPage(0, 1000, False), [], truncated=False, algorithm=""))
    assert (unnamed["NextPartNumberMarker"], unnamed["IsTruncated"], unnamed.get("Parts")) == (0, False, None)
    assert "ChecksumAlgorithm" not in unnamed


def test_keys_are_escaped_where_that_was_asked_for() -> None:
    told = listed(PartsPage(0, 1000, True), [], truncated=False, key="a b/\n\u00e9+")
    assert b"<EncodingType>url</EncodingType><Key>a%20b/%0A%C3%A9%2B</Key>" in told


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ("uploadId=u", PartsPage(0, 1000, False)),
        ("max-parts=3&part-number-marker=7&encoding-type=url", PartsPage(7, 3, True)),
        ("max-parts=0", PartsPage(0, 0, False)),
        ("max-parts=5000", PartsPage(0, 1000, False)),
        ("max-parts=&part-number-marker=", PartsPage(0, 1000, False)),
        ("part-number-marker=2147483647", PartsPage(2_147_483_647, 1000, False)),
    ],
)
def test_pages_that_are_asked_for(query: str, page: PartsPage) -> None:
    assert PartsPage.asked(query) == page


@pytest.mark.parametrize(
    "query",
    ["max-parts=-1", "max-parts=x", "part-number-marker=-1", "part-number-marker=2147483648", "encoding-type=base64",
     f"max-parts={'9' * 5000}", "max-parts=%D9%A1"],
)  # fmt: skip
def test_pages_that_cannot_be(query: str) -> None:
    with pytest.raises(S3Error) as refused:
        PartsPage.asked(query)
    assert refused.value.code == "InvalidArgument"
