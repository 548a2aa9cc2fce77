"""404 or 403: what the origin says of a key that is not there.

S3 tells nobody that a key is absent who may not list the bucket: such callers get 403 (API_GetObject, "Permissions"). For keys that
were deleted here the origin's own answer would be wrong, so it is asked about a key that certainly is not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from addon.s3.errors import S3Error
from addon.service.authorize import Call
from addon.service.buckets import Bucket
from addon.store.ports import Origin, OriginRequest, OriginUnavailable

# How long an answer counts, in seconds: who may list a bucket seldom changes.
MISSING_ANSWER_S = 300.0
# After a question that got no answer the origin is left in peace for so long, and the last known answer stands.
MISSING_RETRY_S = 30.0
# A reader of a missing key does not wait longer than this for the origin.
MISSING_WAIT_S_MAX = 5.0


@dataclass(slots=True)
class _Remembered:
    """What the origin said last (None: nothing yet), and until when it is not asked again."""

    status: int | None = None
    valid_until_s: float = float("-inf")
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class MissingAnswers:
    """Knows, for each bucket, how the origin answers verified callers and strangers about a key that is not there."""

    def __init__(
        self,
        origins: Mapping[str, Origin | None],
        *,
        now_s: Callable[[], float] = time.monotonic,
        absent_key: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self._origins, self._now_s, self._absent_key = origins, now_s, absent_key
        self._remembered: dict[tuple[str, bool], _Remembered] = {}

    async def refusal(self, call: Call) -> S3Error:
        """NoSuchKey or AccessDenied, as the origin would answer this caller about a key that is not there."""
        anonymous = call.verified is None
        status = await self._status(call.bucket, anonymous=anonymous)
        if status is None:
            status = HTTPStatus.FORBIDDEN if anonymous and not call.bucket.anonymous_read else HTTPStatus.NOT_FOUND
        if status == HTTPStatus.FORBIDDEN:
            return S3Error("AccessDenied", "Access Denied")
        return S3Error("NoSuchKey", "The specified key does not exist.", details={"Key": call.target.key})

    async def _status(self, bucket: Bucket, *, anonymous: bool) -> int | None:
        """403 or 404; None where there is no origin, or it never answered."""
        origin = self._origins.get(bucket.name)
        if origin is None:
            return None
        remembered = self._remembered.setdefault((bucket.name, anonymous), _Remembered())
        async with remembered.asking:
            if self._now_s() >= remembered.valid_until_s:
                status = await self._ask(origin, anonymous=anonymous)
                remembered.status = status if status is not None else remembered.status
                remembered.valid_until_s = self._now_s() + (MISSING_RETRY_S if status is None else MISSING_ANSWER_S)
        return remembered.status

    async def _ask(self, origin: Origin, *, anonymous: bool) -> int | None:
        request = OriginRequest("HEAD", self._absent_key(), "", [("accept-encoding", "identity")], anonymous=anonymous)
        with contextlib.suppress(OriginUnavailable, TimeoutError):
            async with asyncio.timeout(MISSING_WAIT_S_MAX), origin.send(request) as answer:
                if answer.status in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND):
                    return answer.status
        return None
