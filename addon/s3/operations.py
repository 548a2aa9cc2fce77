"""What a request asks for: which bucket, which key, which operation.

This is the one place that reads a path and a query for their meaning; whoever authorizes, stores or forwards uses its result. In
doubt a request is `Operation.UNKNOWN`, which is never answered with, or stored as, the bytes of an object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from addon.s3.errors import S3Error
from addon.s3.handling import (
    HANDLING,
    HANDLING_REASON,
    KEY_IN_BODY,
    MULTIPART_STEPS,
    REPLACES_OBJECT,
    Handling,
)
from addon.s3.keys import decode_key, invalid_uri
from addon.s3.operation_names import Operation
from addon.s3.query import parameters, with_hoisted_headers
from addon.s3.subresources import (
    BUCKET_SUBRESOURCES,
    LISTED_WITHOUT_ID,
    LOOK_ALIKES,
    OBJECT_SUBRESOURCES,
    QUALIFIERS,
    SUBRESOURCES,
)

__all__ = [
    "HANDLING",
    "HANDLING_REASON",
    "KEY_IN_BODY",
    "MULTIPART_STEPS",
    "REPLACES_OBJECT",
    "Handling",
    "Operation",
    "Target",
    "parse_target",
    "split_path",
]

PART_NUMBER_MAX = 10_000

# These make a version. About one that there is they say nothing, and servers that pass over the parameter would replace the object.
_MAKES_A_VERSION = REPLACES_OBJECT - {Operation.DELETE_OBJECT}

_PLAIN_OBJECT = {
    "GET": Operation.GET_OBJECT,
    "HEAD": Operation.HEAD_OBJECT,
    "PUT": Operation.PUT_OBJECT,
    "DELETE": Operation.DELETE_OBJECT,
}
_PLAIN_BUCKET = {
    "GET": Operation.LIST_OBJECTS,
    "HEAD": Operation.HEAD_BUCKET,
    "PUT": Operation.CREATE_BUCKET,
    "DELETE": Operation.DELETE_BUCKET,
    "POST": Operation.POST_OBJECT,
}


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about.

    `bucket` is empty for a request to the service itself, `key` for one to the bucket. `raw_key` is the key as the path spells
    it. `version_id` and `part_number` are given only where they were asked for, and then the operation is about that version or
    part, not about the current whole object.
    """

    bucket: str
    key: str
    raw_key: str
    operation: Operation
    version_id: str | None = None
    part_number: int | None = None

    @property
    def replaces_object(self) -> bool:
        """Whether success makes the key's current object another one, or none: what was held of it before is out of date."""
        return self.operation in REPLACES_OBJECT and self.version_id is None


def split_path(raw_path: str) -> tuple[str, str]:
    """Bucket and raw key of a path-style path. Raises InvalidURI.

    The bucket is decoded like a key, because servers behind us decode it too: no spelling of it may slip past us.
    """
    raw_bucket, _, raw_key = _after_slash(raw_path).partition("/")
    return decode_key(raw_bucket), raw_key


def parse_target(
    method: str, host_bucket: str | None, raw_path: str, raw_query: str, headers: Sequence[tuple[str, str]]
) -> Target:
    """Identify the operation as S3 does: by method, sub-resource parameters and headers.

    `host_bucket` is the bucket that the Host header names (virtual-host style), None where the path begins with the bucket.
    `raw_path` and `raw_query` are the request target's bytes as Latin-1 text; `headers` has lower-case names. Raises InvalidURI,
    KeyTooLongError, InvalidArgument or NoSuchUpload.
    """
    if host_bucket is None:
        bucket, raw_key = split_path(raw_path)
    else:
        bucket, raw_key = host_bucket, _after_slash(raw_path)
    key = decode_key(raw_key)
    if method == "OPTIONS":
        return Target(bucket, key, raw_key, Operation.CORS_PREFLIGHT)
    asked = _Asked.of(raw_query)
    if not bucket:
        operation = Operation.LIST_BUCKETS if method == "GET" and not asked.subresources else Operation.UNKNOWN
        return Target(bucket, key, raw_key, operation)
    if not key:
        return Target(bucket, key, raw_key, _bucket_operation(method, asked))
    operation = _object_operation(method, asked, with_hoisted_headers(headers, raw_query))
    if operation in _MAKES_A_VERSION and asked.version_id is not None:
        raise _invalid_argument("This operation does not accept a version-id.", "versionId")
    return Target(bucket, key, raw_key, operation, asked.version_id, asked.part_number)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the query says that matters for the operation."""

    subresources: tuple[str, ...] = ()
    version_id: str | None = None
    part_number: int | None = None
    list_type: str | None = None
    has_id: bool = False
    has_annotation_name: bool = False

    @staticmethod
    def of(raw_query: str) -> _Asked:
        """Raises InvalidArgument for qualifiers that are malformed or stand twice, NoSuchUpload for an empty upload id."""
        if not raw_query:
            return _NOTHING_ASKED
        subresources: list[str] = []
        qualifiers: dict[str, str] = {}
        names = set()
        for name, value in parameters(raw_query):
            names.add(name)
            if name in QUALIFIERS or name == "uploadId":
                if name in qualifiers:
                    raise _invalid_argument(f"The parameter {name} was given more than once.", name)
                qualifiers[name] = value
            if name in SUBRESOURCES:
                subresources.append(name)
            elif name not in QUALIFIERS and name.lower() in LOOK_ALIKES:
                subresources.append(_LOOK_ALIKE)
        if qualifiers.get("versionId") == "":
            raise _invalid_argument("Version id cannot be the empty string", "versionId")
        if qualifiers.get("uploadId") == "":
            # Nobody's upload. To a server that takes an empty parameter for none this would be a PUT or DELETE of the object.
            raise S3Error("NoSuchUpload", "The specified upload does not exist.", details={"UploadId": ""})
        part_number = qualifiers.get("partNumber")
        return _Asked(
            subresources=tuple(subresources),
            version_id=qualifiers.get("versionId"),
            part_number=None if part_number is None else _part_number(part_number),
            list_type=qualifiers.get("list-type"),
            has_id="id" in names,
            has_annotation_name="annotationName" in names,
        )


# Stands for a parameter that is a sub-resource but for its case; no table has it.
_LOOK_ALIKE = ""
_NOTHING_ASKED = _Asked()


def _bucket_operation(method: str, asked: _Asked) -> Operation:
    if asked.version_id is not None or asked.part_number is not None:
        return Operation.UNKNOWN
    subresource = _only(asked.subresources)
    if asked.list_type is not None:
        v2 = method == "GET" and subresource is None and asked.list_type == "2"
        return Operation.LIST_OBJECTS_V2 if v2 else Operation.UNKNOWN
    if subresource is None:
        return _PLAIN_BUCKET.get(method, Operation.UNKNOWN)
    if method == "GET" and not asked.has_id and subresource in LISTED_WITHOUT_ID:
        return LISTED_WITHOUT_ID[subresource]
    return BUCKET_SUBRESOURCES.get(subresource, {}).get(method, Operation.UNKNOWN)


def _object_operation(method: str, asked: _Asked, headers: Sequence[tuple[str, str]]) -> Operation:
    subresource = _only(asked.subresources)
    copies = any(name == "x-amz-copy-source" for name, _ in headers)
    if asked.list_type is not None:
        return Operation.UNKNOWN
    if subresource is None:
        if asked.part_number is not None and method not in ("GET", "HEAD"):
            raise _invalid_argument("A partNumber needs an uploadId.", "partNumber")
        if copies:
            return Operation.COPY_OBJECT if method == "PUT" else Operation.UNKNOWN
        return _PLAIN_OBJECT.get(method, Operation.UNKNOWN)
    if subresource == "uploadId" and method == "PUT":
        if asked.part_number is None:
            raise _invalid_argument("An upload of a part needs a partNumber.", "partNumber")
        return Operation.UPLOAD_PART_COPY if copies else Operation.UPLOAD_PART
    if subresource == "annotation" and method == "GET" and not asked.has_annotation_name:
        return Operation.LIST_OBJECT_ANNOTATIONS
    return OBJECT_SUBRESOURCES.get(subresource, {}).get(method, Operation.UNKNOWN)


def _only(subresources: tuple[str, ...]) -> str | None:
    if len(subresources) > 1:
        named = ", ".join(sorted(name for name in subresources if name))
        raise _invalid_argument(f"Conflicting query string parameters: {named}", "ResourceType")
    return subresources[0] if subresources else None


def _part_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= PART_NUMBER_MAX):
        raise _invalid_argument(
            f"Part number must be an integer between 1 and {PART_NUMBER_MAX}, inclusive", "partNumber"
        )
    return int(text)


def _after_slash(raw_path: str) -> str:
    if raw_path and raw_path[0] != "/":
        # `*` of OPTIONS, or no path at all.
        raise invalid_uri()
    return raw_path[1:]


def _invalid_argument(message: str, name: str) -> S3Error:
    return S3Error("InvalidArgument", message, details={"ArgumentName": name})
