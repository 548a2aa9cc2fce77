"""The headers of objects: which of an upload's are kept, and which of the origin's belong to a copy.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html. A request header that changes what happens, and is not
built here, is refused with NotImplemented: ignored, it would be a broken promise. `x-amz-expected-bucket-owner` and
`x-amz-request-payer` are ignored: the bucket is the configured one, and reading costs nobody anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from addon.s3.acl import CANNED, GRANTS_PREFIX, anonymous_read_from_headers
from addon.s3.checksums import CHECKSUM_PREFIX, DIGEST_BYTES
from addon.s3.errors import S3Error
from addon.s3.header_values import clean, is_clean
from addon.s3.http_dates import parse_http_date
from addon.s3.tags import tags_from_header

DEFAULT_CONTENT_TYPE = "binary/octet-stream"
META_PREFIX = "x-amz-meta-"
USER_METADATA_BYTES_MAX = 2048
STORED_HEADER_BYTES_MAX = 8192

_SINGLE = frozenset({"content-type", "content-disposition", "expires", "x-amz-website-redirect-location"})
_LISTS = frozenset({"cache-control", "content-encoding", "content-language"})

# Classes whose objects can be read at once, as all objects here can.
_STORAGE_CLASSES = frozenset(
    {"STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"}
)
_ARCHIVE_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})

_REFUSED_ON_PUT = frozenset({"if-modified-since", "if-unmodified-since", "x-amz-write-offset-bytes"})
_REFUSED_PREFIXES = ("x-amz-object-lock-", "x-amz-server-side-encryption-")

# What an origin says of an object, besides its metadata.
_ORIGIN_PROPERTIES = frozenset(
    {
        "x-amz-expiration",
        "x-amz-replication-status",
        "x-amz-storage-class",
        "x-amz-tagging-count",
        "x-amz-version-id",
        "x-rgw-object-type",
    }
)
_ORIGIN_PREFIXES = (META_PREFIX, "x-amz-object-lock-", "x-amz-server-side-encryption")
_MD5_HEX = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class NewObjectHeaders:
    """What a PutObject says of its object: `stored` (lower-case names) is given back on reads, `tags` are its object tags."""

    stored: Mapping[str, str]
    anonymous_read: bool
    tags: Mapping[str, str] = field(default_factory=dict)


def new_object_headers(headers: Sequence[tuple[str, str]]) -> NewObjectHeaders:
    """Read the headers of a PutObject, whose names are in lower case.

    For a presigned request pass `query.with_hoisted_headers`. Raises InvalidArgument, MetadataTooLarge, InvalidStorageClass,
    InvalidRedirectLocation, RequestHeaderSectionTooLarge, InvalidTag, BadRequest (more than ten tags), InvalidRequest (two ways to
    give an ACL), and NotImplemented for what is not built.
    """
    collected = _collect(headers)
    stored = {name: value for name, value in collected.items() if _is_kept(name)}
    if "content-encoding" in stored:
        encoding = _stored_encoding(stored.pop("content-encoding"))
        if encoding:
            stored["content-encoding"] = encoding
    stored.setdefault("content-type", DEFAULT_CONTENT_TYPE)
    if not stored["content-type"]:
        stored["content-type"] = DEFAULT_CONTENT_TYPE
    _check_sizes(stored)
    _check_redirect(stored.get("x-amz-website-redirect-location"))
    storage_class = collected.get("x-amz-storage-class", "STANDARD")
    _check_storage_class(storage_class)
    if storage_class != "STANDARD":
        stored["x-amz-storage-class"] = storage_class
    if "x-amz-server-side-encryption" in collected:
        stored["x-amz-server-side-encryption"] = _encryption(collected["x-amz-server-side-encryption"])
    return NewObjectHeaders(
        stored=stored,
        anonymous_read=anonymous_read_from_headers(collected) or False,
        tags=tags_from_header(collected.get("x-amz-tagging", "")),
    )


def headers_for_upload(stored: Mapping[str, str]) -> dict[str, str]:
    """The headers of a PutObject after which an object has these stored ones. What an origin says of its copy besides (version,
    expiration, locks, …) cannot be given to another, nor can an archive tier or keys of somebody's own."""
    headers = {name: value for name, value in stored.items() if _is_kept(name)}
    storage_class = stored.get("x-amz-storage-class", "STANDARD")
    if storage_class in _STORAGE_CLASSES - {"STANDARD"}:
        headers["x-amz-storage-class"] = storage_class
    if stored.get("x-amz-server-side-encryption") == "AES256":
        headers["x-amz-server-side-encryption"] = "AES256"
    return headers


def etag_is_md5(etag: str, headers: Mapping[str, str]) -> bool:
    """Whether the ETag of an object with these stored headers must be the MD5 of its bytes in hex: it is not after a multipart
    upload, nor with encryption by keys of KMS or of the customer."""
    encrypted = headers.get("x-amz-server-side-encryption", "AES256") != "AES256"
    customer_key = "x-amz-server-side-encryption-customer-algorithm" in headers
    return _MD5_HEX.fullmatch(etag) is not None and not encrypted and not customer_key


def without_aws_chunked(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers with Content-Encoding freed of the token that only describes the transfer; left out where it was alone."""
    freed = ((name, _stored_encoding(value) if name == "content-encoding" else value) for name, value in headers)
    return [(name, value) for name, value in freed if value or name != "content-encoding"]


def _stored_encoding(content_encoding: str) -> str:
    tokens = [token.strip(" \t") for token in content_encoding.split(",")]
    kept = [token for token in tokens if token.lower() != "aws-chunked"]
    return content_encoding if len(kept) == len(tokens) else ",".join(token for token in kept if token)


def _collect(headers: Sequence[tuple[str, str]]) -> dict[str, str]:
    """All headers that matter, cleaned; lists and user metadata that stand more than once are joined, as S3 does."""
    collected: dict[str, str] = {}
    for name, raw in headers:
        if name in _REFUSED_ON_PUT or name.startswith(_REFUSED_PREFIXES):
            raise _not_built(name)
        if not (_is_kept(name) or name in _DECIDING or name.startswith(GRANTS_PREFIX)):
            continue
        value = clean(name, raw)
        if name not in collected:
            collected[name] = value
        elif name in _LISTS or name.startswith(META_PREFIX):
            collected[name] += f",{value}"
        else:
            raise _invalid_argument(f"The header {name} was given more than once.", name, value)
    return collected


_DECIDING = frozenset({CANNED, "x-amz-storage-class", "x-amz-tagging", "x-amz-server-side-encryption"})


def _is_kept(name: str) -> bool:
    return name in _SINGLE or name in _LISTS or name.startswith(META_PREFIX)


def _check_sizes(stored: Mapping[str, str]) -> None:
    if META_PREFIX in stored:
        raise _invalid_argument("A user metadata header needs a name.", META_PREFIX, "")
    user_bytes = sum(
        len(name) - len(META_PREFIX) + len(value) for name, value in stored.items() if name.startswith(META_PREFIX)
    )
    if user_bytes > USER_METADATA_BYTES_MAX:
        raise S3Error(
            "MetadataTooLarge",
            "Your metadata headers exceed the maximum allowed metadata size",
            details={"Size": str(user_bytes), "MaxSizeAllowed": str(USER_METADATA_BYTES_MAX)},
        )
    if sum(len(name) + len(value) for name, value in stored.items()) > STORED_HEADER_BYTES_MAX:
        raise S3Error(
            "RequestHeaderSectionTooLarge",
            "Your request header section exceeds the maximum allowed request header size",
            details={"MaxSizeAllowed": str(STORED_HEADER_BYTES_MAX)},
        )


def _check_redirect(location: str | None) -> None:
    if location is not None and not location.startswith(("/", "http://", "https://")):
        raise S3Error(
            "InvalidRedirectLocation",
            "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
        )


def _check_storage_class(storage_class: str) -> None:
    if storage_class in _ARCHIVE_CLASSES:
        raise S3Error("NotImplemented", f"The storage class {storage_class} is not implemented by tgstore yet.")
    if storage_class not in _STORAGE_CLASSES:
        raise S3Error(
            "InvalidStorageClass",
            "The storage class you specified is not valid",
            details={"StorageClassRequested": storage_class},
        )


def _encryption(algorithm: str) -> str:
    """AES256 asks for encryption at rest with keys of the service, which Telegram's cloud does; keys of one's own it cannot."""
    if algorithm == "AES256":
        return algorithm
    if algorithm in ("aws:kms", "aws:kms:dsse", "aws:fsx"):
        raise S3Error("NotImplemented", f"The encryption {algorithm} is not implemented by tgstore yet.")
    raise _invalid_argument(
        "The encryption method specified is not supported", "x-amz-server-side-encryption", algorithm
    )


def _not_built(name: str) -> S3Error:
    return S3Error(
        "NotImplemented",
        "A header you provided implies functionality that is not implemented",
        details={"Header": name},
    )


def _invalid_argument(message: str, name: str, value: str) -> S3Error:
    return S3Error("InvalidArgument", message, details={"ArgumentName": name, "ArgumentValue": value})


class NotAnObject(ValueError):
    """The origin's answer does not describe one whole object in its stored form; the text says why."""


@dataclass(frozen=True, slots=True)
class OriginCopyHeaders:
    """What an answer of the origin to a GET says of the object.

    `size` is Content-Length in bytes, None where it was not given; `etag` has no quotes, and `etag_is_md5` says that it must equal
    the MD5 of the bytes (it does not after a multipart upload, nor with SSE-KMS). `headers` and `checksums` are to be kept, and
    `tags_count` tags, which the answer does not tell.
    """

    size: int | None
    etag: str
    etag_is_md5: bool
    last_modified_s: int
    headers: Mapping[str, str]
    checksums: Mapping[str, str]
    tags_count: int = 0


def headers_from_origin(headers: Sequence[tuple[str, str]]) -> OriginCopyHeaders:
    """Read the origin's headers for a copy; names are in lower case. Raises `NotAnObject`."""
    by_name: dict[str, str] = {}
    for name, value in headers:
        by_name[name] = f"{by_name[name]},{value}" if name in by_name else value
    size = by_name.get("content-length")
    if size is not None and not _is_count(size):
        raise NotAnObject("its Content-Length is no number")
    tags_count = by_name.get("x-amz-tagging-count", "0")
    if not _is_count(tags_count):
        raise NotAnObject("its x-amz-tagging-count is no number")
    etag = by_name.get("etag", "")
    if etag.startswith("W/"):
        raise NotAnObject("its ETag is weak: something on the way has transformed the bytes")
    etag = etag.strip('"')
    if not etag or '"' in etag or not etag.isprintable() or not etag.isascii():
        raise NotAnObject("it has no usable ETag")
    last_modified_s = parse_http_date(by_name.get("last-modified", ""))
    if last_modified_s is None:
        raise NotAnObject("it has no usable Last-Modified")
    kept = {name: value for name, value in by_name.items() if _belongs_to_copy(name)}
    if not all(is_clean(value) for value in kept.values()):
        raise NotAnObject("a header of it holds a character that no header may hold")
    return OriginCopyHeaders(
        size=None if size is None else int(size),
        etag=etag,
        etag_is_md5=etag_is_md5(etag, by_name),
        last_modified_s=last_modified_s,
        headers=kept,
        checksums=_checksums(by_name),
        tags_count=int(tags_count),
    )


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 19


def _belongs_to_copy(name: str) -> bool:
    return name in _SINGLE or name in _LISTS or name in _ORIGIN_PROPERTIES or name.startswith(_ORIGIN_PREFIXES)


def _checksums(by_name: Mapping[str, str]) -> dict[str, str]:
    found = {
        algorithm: value
        for algorithm in DIGEST_BYTES
        if (value := by_name.get(CHECKSUM_PREFIX + algorithm)) is not None and is_clean(value)
    }
    checksum_type = by_name.get("x-amz-checksum-type", "")
    if found and checksum_type in ("FULL_OBJECT", "COMPOSITE"):
        found["type"] = checksum_type
    return found
