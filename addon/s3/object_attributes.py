"""GetObjectAttributes: what is asked, and the answer. Pure.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAttributes.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from addon.s3.errors import S3Error
from addon.s3.multipart_xml import PAGE_PARTS_MAX, checksum_nodes, count
from addon.s3.reads import ReadableObject
from addon.s3.xml import Node, document

ETAG, CHECKSUM, OBJECT_PARTS, STORAGE_CLASS, OBJECT_SIZE = (
    "ETag",
    "Checksum",
    "ObjectParts",
    "StorageClass",
    "ObjectSize",
)
_ATTRIBUTES = frozenset({ETAG, CHECKSUM, OBJECT_PARTS, STORAGE_CLASS, OBJECT_SIZE})
_ATTRIBUTES_HEADER, _MAX_PARTS, _MARKER = "x-amz-object-attributes", "x-amz-max-parts", "x-amz-part-number-marker"


class DescribedPart(Protocol):
    """What is shown of a part: the fields of `store.records.ObjectPart`."""

    @property
    def number(self) -> int: ...
    @property
    def size(self) -> int: ...


@dataclass(frozen=True, slots=True)
class AskedAttributes:
    """The attributes that are asked for, and of the parts those behind number `marker`, `parts_max` at most."""

    names: frozenset[str]
    parts_max: int
    marker: int

    @staticmethod
    def from_headers(headers: Sequence[tuple[str, str]]) -> AskedAttributes:
        """Read the headers, whose names are in lower case. Raises InvalidArgument."""
        names = [
            name.strip(" \t")
            for header, value in headers
            if header == _ATTRIBUTES_HEADER
            for name in value.split(",")
            if name.strip(" \t")
        ]
        if not names:
            raise _invalid(
                "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty",
                "",
            )
        for name in names:
            if name not in _ATTRIBUTES:
                raise _invalid("Invalid attribute name specified.", name)
        given = {name: value.strip(" \t") for name, value in headers if name in (_MAX_PARTS, _MARKER)}
        return AskedAttributes(
            names=frozenset(names),
            parts_max=min(count(given, _MAX_PARTS, default=PAGE_PARTS_MAX), PAGE_PARTS_MAX),
            marker=count(given, _MARKER, default=0),
        )


def attributes(
    asked: AskedAttributes,
    record: ReadableObject,
    parts: Sequence[tuple[DescribedPart, Mapping[str, str]]],
) -> bytes:
    """The answer for an object; `parts` are all of its parts with the checksums to show, none of an object in one piece."""
    nodes: list[Node] = []
    if ETAG in asked.names:
        nodes.append((ETAG, record.etag))
    if CHECKSUM in asked.names and (checksums := checksum_nodes(_without_count(record.checksums))):
        nodes.append((CHECKSUM, checksums))
    if OBJECT_PARTS in asked.names and parts:
        nodes.append((OBJECT_PARTS, list(_parts_nodes(asked, parts))))
    if STORAGE_CLASS in asked.names:
        nodes.append((STORAGE_CLASS, record.headers.get("x-amz-storage-class", "STANDARD")))
    if OBJECT_SIZE in asked.names:
        nodes.append((OBJECT_SIZE, record.size))
    return document("GetObjectAttributesResponse", nodes)


def _without_count(checksums: Mapping[str, str]) -> dict[str, str]:
    """Here S3 gives a composite checksum without the number of parts behind it."""
    return {name: value.partition("-")[0] for name, value in checksums.items()}


def _parts_nodes(asked: AskedAttributes, parts: Sequence[tuple[DescribedPart, Mapping[str, str]]]) -> Iterable[Node]:
    behind = [(part, checksums) for part, checksums in parts if part.number > asked.marker]
    shown = behind[: asked.parts_max]
    yield "PartsCount", len(parts)
    yield "PartNumberMarker", asked.marker
    yield "NextPartNumberMarker", shown[-1][0].number if shown else asked.marker
    yield "MaxParts", asked.parts_max
    yield "IsTruncated", "true" if len(behind) > len(shown) else "false"
    for part, checksums in shown:
        values = {name: value for name, value in checksums.items() if name != "type"}
        yield "Part", [("PartNumber", part.number), ("Size", part.size), *checksum_nodes(values)]


def _invalid(message: str, value: str) -> S3Error:
    return S3Error("InvalidArgument", message, details={"ArgumentName": _ATTRIBUTES_HEADER, "ArgumentValue": value})
