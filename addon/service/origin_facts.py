"""What the origin holds under a key, asked with our own credentials."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from addon.s3.errors import S3Error
from addon.s3.keys import encode_key
from addon.s3.metadata import NotAnObject, headers_from_origin
from addon.store.conditions import ObjectFacts
from addon.store.ports import Origin, OriginRequest, OriginUnavailable

# A HEAD's answer has no body with a code, and to whom may not list a bucket S3 says 403 of every absent key.
_EXISTENCE_UNTOLD = (
    "The origin does not tell whether the key exists: the access key that tgstore has for it needs s3:ListBucket."
)


async def facts_at_origin(origins: Mapping[str, Origin | None], bucket_name: str, key: str) -> ObjectFacts | None:
    """The object that the bucket's origin holds under `key`; None where it holds none, or the bucket has no origin.

    Raises AccessDenied where the origin does not tell (403), `OriginUnavailable` for every other answer.
    """
    origin = origins.get(bucket_name)
    if origin is None:
        return None
    request = OriginRequest("HEAD", encode_key(key), "", [("accept-encoding", "identity")])
    async with origin.send(request) as answer:
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        if answer.status == HTTPStatus.FORBIDDEN:
            raise S3Error("AccessDenied", _EXISTENCE_UNTOLD)
        if answer.status != HTTPStatus.OK:
            raise OriginUnavailable(f"the origin answered {answer.status} to the question for an object")
        try:
            about = headers_from_origin(answer.headers)
        except NotAnObject as reason:
            raise OriginUnavailable(f"the origin's answer describes no object: {reason}") from None
        if about.size is None:
            raise OriginUnavailable("the origin's answer describes an object without its size")
        return ObjectFacts(about.etag, about.size, about.last_modified_s)
