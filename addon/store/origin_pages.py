"""Pages of the origin's listing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus

from addon.s3.origin_listing import ORIGIN_PAGE_BYTES_MAX, MalformedPage, OriginPage, OriginQuery, parse_origin_page
from addon.store.ports import Origin, OriginRefused, OriginRequest, OriginResponse, OriginUnavailable

ERROR_BODY_BYTES_MAX = 8192
_ERROR_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")
_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


async def origin_page(
    origin: Origin, query: OriginQuery, *, headers: Sequence[tuple[str, str]] = (), anonymous: bool = False
) -> OriginPage:
    """One page. Raises `OriginRefused` (with the S3 error code, where there is one) for a refusal, and `OriginUnavailable` for
    everything else that is no page of the listing that was asked for: a page that is too long or malformed among them."""
    request = OriginRequest(
        "GET", "", query.raw_query, [("accept-encoding", "identity"), *headers], anonymous=anonymous
    )
    async with origin.send(request) as answer:
        if answer.status != HTTPStatus.OK:
            raise await _failure(answer)
        body = await _whole(answer)
    try:
        return parse_origin_page(body, query)
    except MalformedPage as reason:
        raise OriginUnavailable(str(reason)) from None


async def _whole(answer: OriginResponse) -> bytes:
    pieces = []
    size = 0
    async for piece in answer.body:
        pieces.append(piece)
        size += len(piece)
        if size > ORIGIN_PAGE_BYTES_MAX:
            raise OriginUnavailable(f"the origin's listing has more than {ORIGIN_PAGE_BYTES_MAX} bytes")
    return b"".join(pieces)


async def _failure(answer: OriginResponse) -> OriginRefused | OriginUnavailable:
    start = bytearray()
    async for piece in answer.body:
        start += piece
        if len(start) >= ERROR_BODY_BYTES_MAX:
            break
    found = _ERROR_CODE.search(start[:ERROR_BODY_BYTES_MAX])
    code = found[1].decode("ascii") if found is not None else ""
    said = f"the origin answered {answer.status}{f' {code}' if code else ''} to a listing"
    if 400 <= answer.status < 500 and answer.status not in _LATER:
        return OriginRefused(said, status=answer.status, code=code)
    return OriginUnavailable(said, retry_after_s=_retry_after_s(answer))


def _retry_after_s(answer: OriginResponse) -> float | None:
    value = (answer.header("retry-after") or "").strip()
    return float(value) if value.isascii() and value.isdigit() and len(value) <= 5 else None
