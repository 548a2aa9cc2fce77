"""The x-amz-copy-source header of CopyObject and UploadPartCopy.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
"""

from __future__ import annotations

from dataclasses import dataclass

from addon.s3.errors import S3Error
from addon.s3.keys import KEY_BYTES_MAX, decode_key
from addon.s3.query import decode_component

# A bucket's name has at most 255 bytes (old ones in us-east-1); a slash follows it.
SOURCE_BYTES_MAX = 255 + 1 + KEY_BYTES_MAX


@dataclass(frozen=True, slots=True)
class CopySource:
    """The object that is to be copied; `version_id`, decoded as the key is, is None for its current version."""

    bucket: str
    key: str
    version_id: str | None


def parse_copy_source(header: str) -> CopySource:
    """Parse `[/]bucket/key[?versionId=id]`, URL-encoded.

    Raises InvalidArgument where it is no such thing, NotImplemented for access points (`arn:…`): which bucket is behind one cannot
    be seen. A raw `+` is refused too: readers of this header disagree whether it is a plus or a space, and so about the key.
    """
    path, _, query = header.strip(" \t").partition("?")
    if "+" in path:
        raise _invalid("Copy Source must be URL-encoded: write + as %2B and a space as %20")
    try:
        # The whole is decoded before it is split, as S3 does: any of its slashes may be escaped too.
        source = decode_key(path.replace(" ", "%20"), bytes_max=SOURCE_BYTES_MAX).removeprefix("/")
        # Decoded before anyone compares it: `%6Eull` is the version `null` wherever else it is read.
        version_id = _version_id(query) if query else None
    except S3Error as error:
        if error.code != "InvalidURI":
            raise
        raise _invalid("Invalid copy source encoding.") from None
    if source.lower().startswith("arn:"):
        raise S3Error("NotImplemented", "Access points as a copy source are not implemented by tgstore yet.")
    bucket, _, key = source.partition("/")
    if not bucket or not key:
        raise _invalid("Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
    if len(key.encode()) > KEY_BYTES_MAX:
        raise S3Error("KeyTooLongError", "Your key is too long")
    return CopySource(bucket, key, version_id)


def _version_id(query: str) -> str:
    """Raises InvalidArgument, and InvalidURI where it is not UTF-8."""
    name, _, value = query.partition("=")
    if name != "versionId" or not value or "&" in value:
        raise _invalid("Copy Source may have the query parameter versionId, and no other")
    return decode_component(value)


def _invalid(message: str) -> S3Error:
    return S3Error("InvalidArgument", message, details={"ArgumentName": "x-amz-copy-source"})
