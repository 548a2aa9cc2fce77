"""The answers to ListObjects (V1) and ListObjectsV2 as XML, elements in the order in which AWS S3 gives them.

Rendered by joining strings: a page has up to 1000 entries, and most of them are the origin's, whose XML goes out as it came.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from functools import lru_cache

from addon.s3.keys import encode_key
from addon.s3.listing_request import ListingRequest
from addon.s3.listing_tokens import Place, marker_of, token_of
from addon.s3.origin_listing import Entry
from addon.s3.xml import NAMESPACE, xml_text

_HEAD = f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="{NAMESPACE}">'


def render_listing(request: ListingRequest, bucket: str, entries: Sequence[Entry], following: Place | None) -> bytes:
    """One page. `following` is where the next one begins, None where this is the last."""
    # "%20", never "+": every client decodes the first, and those that do not decode forms (JavaScript's among them) only that.
    spelt = encode_key if request.encode_url else xml_text
    contents: list[str] = []
    prefixes: list[str] = []
    for name, fields in entries:
        if fields is None:
            prefixes.append(f"<CommonPrefixes><Prefix>{spelt(name)}</Prefix></CommonPrefixes>")
        else:
            contents.append(f"<Contents><Key>{spelt(name)}</Key>{fields}</Contents>")
    pieces = [_HEAD, f"<Name>{xml_text(bucket)}</Name><Prefix>{spelt(request.prefix)}</Prefix>"]
    if request.v2:
        if request.start_after is not None:
            pieces.append(f"<StartAfter>{spelt(request.start_after)}</StartAfter>")
        if request.continuation_token is not None:
            pieces.append(f"<ContinuationToken>{xml_text(request.continuation_token)}</ContinuationToken>")
        if following is not None:
            pieces.append(f"<NextContinuationToken>{token_of(following)}</NextContinuationToken>")
        pieces.append(f"<KeyCount>{len(entries)}</KeyCount>")
    else:
        pieces.append(f"<Marker>{spelt(request.marker)}</Marker>")
        if following is not None:
            # AWS gives it only with a delimiter, because elsewhere the last key says as much; a short page has no such key.
            pieces.append(f"<NextMarker>{spelt(marker_of(following))}</NextMarker>")
    pieces.append(f"<MaxKeys>{request.max_keys}</MaxKeys>")
    if request.delimiter:
        pieces.append(f"<Delimiter>{spelt(request.delimiter)}</Delimiter>")
    if request.encode_url:
        pieces.append("<EncodingType>url</EncodingType>")
    pieces.append(f"<IsTruncated>{'false' if following is None else 'true'}</IsTruncated>")
    return "".join([*pieces, *contents, *prefixes, "</ListBucketResult>"]).encode()


def fields_of(
    *,
    size: int,
    etag: str,
    last_modified_s: int,
    storage_class: str,
    checksum_algorithm: str,
    checksum_type: str,
    owner: str,
) -> str:
    """What stands behind the key of an object that only we have. `owner` is the Owner element, or empty."""
    checksum = (
        f"<ChecksumAlgorithm>{xml_text(checksum_algorithm.upper())}</ChecksumAlgorithm>" if checksum_algorithm else ""
    )
    if checksum_algorithm and checksum_type:
        checksum += f"<ChecksumType>{xml_text(checksum_type)}</ChecksumType>"
    return (
        f"<LastModified>{_iso_time(last_modified_s)}</LastModified><ETag>&quot;{xml_text(etag)}&quot;</ETag>{checksum}"
        f"<Size>{size}</Size>{owner}<StorageClass>{xml_text(storage_class)}</StorageClass>"
    )


def owner_of(bucket: str) -> str:
    """The Owner element of what only we have: an id of the form that S3 gives, always the same for a bucket."""
    identity = hashlib.sha256(f"tgstore bucket owner {bucket}".encode()).hexdigest()
    return f"<Owner><ID>{identity}</ID><DisplayName>{xml_text(bucket)}</DisplayName></Owner>"


@lru_cache(maxsize=4096)
def _iso_time(time_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time_s))
