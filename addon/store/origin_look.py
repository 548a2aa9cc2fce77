"""Whether the origin still holds a version of an object, by a conditional HEAD that moves no bytes."""

from __future__ import annotations

import enum
from http import HTTPStatus

from addon.s3.keys import encode_key
from addon.s3.metadata import NotAnObject, headers_from_origin
from addon.store.ports import Origin, OriginRefused, OriginRequest, OriginResponse, OriginUnavailable

_BUSY = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


class Finding(enum.Enum):
    """What an answer says of the copy. `REFUSED`: nothing about the key, and asking again soon will not help."""

    SAME = "same"
    CHANGED = "changed"
    MISSING = "missing"
    REFUSED = "refused"


async def look(origin: Origin, key: str, etag: str, *, anonymous: bool = False) -> tuple[Finding, str]:
    """What the origin says of the version with this ETag, and the ETag that it has now. Raises `OriginUnavailable`, and
    `OriginRefused` for an answer that says nothing of the key, unless `anonymous`: then that is the finding."""
    headers = [("accept-encoding", "identity"), ("if-none-match", f'"{etag}"')]
    request = OriginRequest("HEAD", encode_key(key), "", headers, anonymous=anonymous)
    async with origin.send(request) as answer:
        finding, now = finding_of(answer, etag)
    if finding is Finding.REFUSED and not anonymous:
        raise OriginRefused(
            f"the origin's answer {answer.status} to a HEAD says nothing of the object", status=answer.status
        )
    return finding, now


def finding_of(answer: OriginResponse, held_etag: str) -> tuple[Finding, str]:
    """What an answer to a conditional HEAD says of a copy with this ETag, and the ETag that the origin has now: pure. Raises
    `OriginUnavailable` for an answer that comes of the origin's state, not of the object's."""
    status = answer.status
    if status == HTTPStatus.NOT_MODIFIED:
        return Finding.SAME, held_etag
    if status == HTTPStatus.OK:
        try:
            etag = headers_from_origin(answer.headers).etag
        except NotAnObject:
            # A page that something on the way has put there.
            return Finding.REFUSED, ""
        return (Finding.SAME if etag == held_etag else Finding.CHANGED), etag
    if status == HTTPStatus.NOT_FOUND:
        return Finding.MISSING, ""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _BUSY:
        raise OriginUnavailable(f"the origin answered {status}", retry_after_s=_retry_after_s(answer))
    return Finding.REFUSED, ""


def _retry_after_s(answer: OriginResponse) -> float | None:
    value = (answer.header("retry-after") or "").strip()
    return float(value) if value.isascii() and value.isdigit() and len(value) <= 5 else None
