"""What the origin tells of an object without its bytes: its headers with checksums, and its tags."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from addon.s3.keys import encode_key
from addon.s3.metadata import NotAnObject, OriginCopyHeaders, headers_from_origin
from addon.store.origin_tags import tags_at_origin
from addon.store.ports import Origin, OriginChanged, OriginRefused, OriginRequest
from addon.store.records import ObjectRecord


async def head_at_origin(origin: Origin, key: str) -> OriginCopyHeaders | None:
    """The object's headers, None where there is no object. Raises `OriginUnavailable`, and `OriginRefused` where the origin does
    not tell (who may not list the bucket gets 403 for absent keys too), or its answer describes no object."""
    headers = [("accept-encoding", "identity"), ("x-amz-checksum-mode", "ENABLED")]
    async with origin.send(OriginRequest("HEAD", encode_key(key), "", headers)) as answer:
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        if answer.status != HTTPStatus.OK:
            raise await origin.failure(answer)
        try:
            about = headers_from_origin(answer.headers)
        except NotAnObject as reason:
            raise OriginRefused(f"the origin's answer is no object: {reason}", status=answer.status) from None
        if about.size is None:
            raise OriginRefused("the origin's answer is no object: it has no Content-Length", status=answer.status)
        return about


async def known_tags(origin: Origin, record: ObjectRecord, about: OriginCopyHeaders) -> Mapping[str, str] | None:
    """The tags of the origin's object that `about` tells of, None where they may not be read.

    They are asked for where it has some, or should have. Raises `OriginChanged` and `OriginUnavailable`.
    """
    try:
        if about.tags_count or not record.tags:
            return await tags_at_origin(origin, record.key, count=about.tags_count)
        return await _tags_that_were_not_told_of(origin, record)
    except OriginRefused:
        return None


async def _tags_that_were_not_told_of(origin: Origin, record: ObjectRecord) -> Mapping[str, str]:
    """Not every server names the number of tags. Where it is another one than here, that is all there is to know."""
    try:
        return await tags_at_origin(origin, record.key, count=len(record.tags))
    except OriginChanged:
        return {}
