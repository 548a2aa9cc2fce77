"""The tags of an object at the origin, which come along when the object is copied."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from addon.s3.errors import S3Error
from addon.s3.keys import encode_key
from addon.s3.tags import TAGGING_BYTES_MAX, tags_as_told
from addon.store.ports import Origin, OriginChanged, OriginRefused, OriginRequest, OriginResponse, OriginUnavailable

_TRY_AGAIN_STATUSES = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


async def tags_at_origin(
    origin: Origin, key: str, *, count: int, version_id: str | None = None, anonymous: bool = False
) -> Mapping[str, str]:
    """The tags of `key`, of which the object's own answer told that there are `count`; none are not asked for.

    `version_id` is as the query spells it; with `anonymous` they are asked for as by nobody in particular.

    Raises `OriginChanged` where there are more or fewer by now, `OriginUnavailable`, `OriginRefused` where they may not be read.
    """
    if count == 0:
        return {}
    query = "tagging" if version_id is None else f"tagging&versionId={version_id}"
    request = OriginRequest("GET", encode_key(key), query, [("accept-encoding", "identity")], anonymous=anonymous)
    async with origin.send(request) as answer:
        status = answer.status
        if status == HTTPStatus.NOT_FOUND:
            raise OriginChanged("the object, or its tags, went away while it was copied")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRY_AGAIN_STATUSES:
            raise OriginUnavailable(f"the origin answered {status} to the question for the object's tags")
        if status != HTTPStatus.OK:
            raise OriginRefused(f"the origin answered {status} to the question for the object's tags", status=status)
        body = await _small_body(answer)
    try:
        tags = tags_as_told(body)
    except S3Error:
        raise OriginRefused("the origin's answer does not tell the object's tags", status=status) from None
    if len(tags) != count:
        raise OriginChanged(f"the origin told of {count} tags and gave {len(tags)}")
    return tags


async def _small_body(answer: OriginResponse) -> bytes:
    body = bytearray()
    async for piece in answer.body:
        body += piece
        if len(body) > TAGGING_BYTES_MAX:
            raise OriginRefused("the origin's answer about the object's tags is too long", status=answer.status)
    return bytes(body)
