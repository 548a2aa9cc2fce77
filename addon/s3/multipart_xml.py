"""The documents of multipart uploads: the list of parts that a client sends, and the answers. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import quote
from xml.etree.ElementTree import Element

from addon.s3.acl import OWNER, OWNER_ID, OWNER_NAME
from addon.s3.checksums import DIGEST_BYTES
from addon.s3.errors import S3Error
from addon.s3.multipart import PARTS_MAX, ChecksumPlan, HeldPart, ListedPart, is_checksum
from addon.s3.operations import PART_NUMBER_MAX
from addon.s3.query import parameters
from addon.s3.xml import Node, document, malformed_xml, parse_xml

COMPLETE_BODY_BYTES_MAX = 4 << 20
"""10 000 parts with a SHA-256, indented, take some 2.5 MB."""

# What 10 000 parts with everything that a part may say have of `<` (two an element) and of `=` (padding of base64), with room for
# more. Elements and attributes cost many times their bytes in memory.
_ANGLE_BRACKETS_MAX = 2 * (3 + len(DIGEST_BYTES)) * PARTS_MAX + 100
_EQUALS_SIGNS_MAX = 4 * PARTS_MAX + 100
PAGE_PARTS_MAX = 1000
COUNT_MAX = (1 << 31) - 1
_COUNT = re.compile(r"[0-9]{1,10}", re.ASCII)
_PART_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)

INITIATOR: Node = ("Initiator", [("ID", OWNER_ID), ("DisplayName", OWNER_NAME)])

_ELEMENT_BY_ALGORITHM: Mapping[str, str] = {algorithm: f"Checksum{algorithm.upper()}" for algorithm in DIGEST_BYTES}
_ALGORITHM_BY_ELEMENT: Mapping[str, str] = {element: algorithm for algorithm, element in _ELEMENT_BY_ALGORITHM.items()}
_PART_ELEMENTS = frozenset({"PartNumber", "ETag", *_ALGORITHM_BY_ELEMENT})


def parse_part_list(body: bytes) -> list[ListedPart]:
    """The parts of a CompleteMultipartUpload, in the order given. Raises MalformedXML, InvalidArgument or InvalidPart."""
    if body.count(b"<") > _ANGLE_BRACKETS_MAX or body.count(b"=") > _EQUALS_SIGNS_MAX:
        raise malformed_xml()
    parts = parse_xml(body, root="CompleteMultipartUpload").findall("Part")
    if not 1 <= len(parts) <= PARTS_MAX:
        raise malformed_xml()
    return [_listed_part(part) for part in parts]


def _listed_part(part: Element) -> ListedPart:
    told = _texts(part)
    number, etag = told.get("PartNumber", "").strip(), told.get("ETag")
    if etag is None or _PART_NUMBER.fullmatch(number) is None:
        raise malformed_xml()
    if not 1 <= int(number) <= PART_NUMBER_MAX:
        raise S3Error(
            "InvalidArgument",
            f"Part number must be an integer between 1 and {PART_NUMBER_MAX}, inclusive",
            details={"ArgumentName": "partNumber", "ArgumentValue": number},
        )
    checksums = {}
    for name, text in told.items():
        algorithm, value = _ALGORITHM_BY_ELEMENT.get(name), text.strip()
        if algorithm is not None and value:
            if not is_checksum(algorithm, value):
                raise _bad_checksum(name)
            checksums[algorithm] = value
    if len(checksums) > 1:
        raise _bad_checksum("PartList")
    return ListedPart(int(number), etag.strip().strip('"'), checksums)


def _texts(part: Element) -> dict[str, str]:
    """The texts of a part's elements by name, in one pass: a list has many parts. Elements that mean nothing here are left out."""
    texts: dict[str, str] = {}
    for child in part:
        if child.tag not in _PART_ELEMENTS:
            continue
        if child.tag in texts or len(child):
            raise malformed_xml()
        texts[child.tag] = child.text or ""
    return texts


def _bad_checksum(name: str) -> S3Error:
    return S3Error(
        "InvalidArgument",
        "Invalid Base64 or multiple checksums present in request",
        details={"ArgumentName": name},
    )


def initiated(bucket: str, key: str, upload_id: str) -> bytes:
    """The answer to CreateMultipartUpload."""
    return document("InitiateMultipartUploadResult", [("Bucket", bucket), ("Key", key), ("UploadId", upload_id)])


def completed(location: str, bucket: str, key: str, etag: str, checksums: Mapping[str, str]) -> bytes:
    """The answer to CompleteMultipartUpload; `etag` without quotes."""
    children: list[Node] = [("Location", location), ("Bucket", bucket), ("Key", key), ("ETag", f'"{etag}"')]
    return document("CompleteMultipartUploadResult", [*children, *checksum_nodes(checksums)])


def checksum_nodes(checksums: Mapping[str, str]) -> list[Node]:
    """Checksums by algorithm, and their `type`, as elements."""
    nodes: list[Node] = [
        (element, checksums[algorithm])
        for algorithm, element in _ELEMENT_BY_ALGORITHM.items()
        if algorithm in checksums
    ]
    if nodes and "type" in checksums:
        nodes.append(("ChecksumType", checksums["type"]))
    return nodes


class ListablePart(HeldPart, Protocol):
    """What a list of parts shows of each."""

    @property
    def modified_at_s(self) -> int: ...


@dataclass(frozen=True, slots=True)
class PartsPage:
    """What was asked of ListParts: parts after number `marker`, `parts_max` at most; with `url_encoded` keys are escaped."""

    marker: int
    parts_max: int
    url_encoded: bool

    @staticmethod
    def asked(raw_query: str) -> PartsPage:
        """Read the query. Raises InvalidArgument."""
        given = dict(parameters(raw_query))
        return PartsPage(
            marker=count(given, "part-number-marker", default=0),
            parts_max=min(count(given, "max-parts", default=PAGE_PARTS_MAX), PAGE_PARTS_MAX),
            url_encoded=wants_url_encoding(given),
        )


def count(given: Mapping[str, str], name: str, *, default: int) -> int:
    """A number of 0 … 2^31-1 among parameters or headers; `default` where it is not given or empty. Raises InvalidArgument."""
    text = given.get(name) or str(default)
    if _COUNT.fullmatch(text) is None or int(text) > COUNT_MAX:
        raise S3Error(
            "InvalidArgument",
            f"Provided {name} not an integer or within integer range",
            details={"ArgumentName": name, "ArgumentValue": text},
        )
    return int(text)


def wants_url_encoding(given: Mapping[str, str]) -> bool:
    """Whether `encoding-type` asks for escaped keys. Raises InvalidArgument for another encoding."""
    encoding = given.get("encoding-type", "")
    if encoding not in ("", "url"):
        raise S3Error(
            "InvalidArgument",
            "Invalid Encoding Method specified in Request",
            details={"ArgumentName": "encoding-type", "ArgumentValue": encoding},
        )
    return encoding == "url"


def part_list(
    page: PartsPage,
    parts: Sequence[ListablePart],
    *,
    truncated: bool,
    bucket: str,
    key: str,
    upload_id: str,
    storage_class: str,
    plan: ChecksumPlan,
) -> bytes:
    """The answer to ListParts."""
    encoding: list[Node] = [("EncodingType", "url")] if page.url_encoded else []
    named: list[Node] = []
    if plan.algorithm:
        named = [("ChecksumAlgorithm", plan.algorithm.upper()), ("ChecksumType", plan.type)]
    return document(
        "ListPartsResult",
        [
            ("Bucket", bucket),
            *encoding,
            ("Key", url_encoded(key) if page.url_encoded else key),
            ("UploadId", upload_id),
            INITIATOR,
            OWNER,
            ("StorageClass", storage_class),
            ("PartNumberMarker", page.marker),
            ("NextPartNumberMarker", parts[-1].number if parts else page.marker),
            ("MaxParts", page.parts_max),
            ("IsTruncated", "true" if truncated else "false"),
            *named,
            *_part_nodes(parts, plan),
        ],
    )


def _part_nodes(parts: Iterable[ListablePart], plan: ChecksumPlan) -> Iterable[Node]:
    for part in parts:
        shown = {name: value for name, value in part.checksums.items() if name == plan.algorithm or not plan.algorithm}
        yield (
            "Part",
            [
                ("PartNumber", part.number),
                ("LastModified", iso_time(part.modified_at_s)),
                ("ETag", f'"{part.md5_hex}"'),
                ("Size", part.size),
                *checksum_nodes(shown),
            ],
        )


def iso_time(time_s: int) -> str:
    """A time in UNIX seconds as S3 writes it in documents."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def url_encoded(text: str) -> str:
    """A key as S3 writes it under `encoding-type=url`."""
    return quote(text, safe="/~")
