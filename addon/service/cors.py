"""Cross-origin answers: what a page of another origin may do with a bucket, told to its browser.

The rules are those of the settings, else those of the origin's bucket, learnt with GetBucketCors: so that an object answers the
same before and after it has moved. In doubt there are none, and browsers keep pages away. Nothing here gives a right to anything:
whoever asks is authorized as ever, and only a browser heeds these headers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus

from addon.s3.cors import (
    CONFIGURATION_BYTES_MAX,
    CorsRule,
    Headers,
    configuration_xml,
    has_cors,
    not_enabled,
    parse_configuration,
    preflight_headers,
    preflight_question,
    response_headers,
    with_cors,
)
from addon.s3.errors import S3Error
from addon.s3.query import without_signature
from addon.service.authorize import Call
from addon.service.buckets import Bucket
from addon.service.request import Answer
from addon.store.ports import Origin, OriginRequest, OriginResponse, OriginUnavailable

logger = logging.getLogger(__name__)

# How long the origin's rules hold before it is asked again, and how soon after it did not answer.
CORS_RULES_S = 300.0
CORS_RETRY_S = 30.0
# An answer that is ready waits no longer than this for the rules.
CORS_RULES_WAIT_S_MAX = 5.0
PREFLIGHT_ANSWER_BYTES_MAX = 64 * 1024

_PREFLIGHT_HEADERS = frozenset({"origin", "access-control-request-method", "access-control-request-headers"})


@dataclass(frozen=True, slots=True)
class _Learnt:
    """The origin's rules, and until when they need not be asked for again."""

    rules: Sequence[CorsRule]
    until_s: float


class Cors:
    """Cross-origin rules of all buckets. `monotonic_s` gives seconds that only grow."""

    def __init__(
        self, origins: Mapping[str, Origin | None], *, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._origins, self._monotonic_s = origins, monotonic_s
        self._learnt: dict[str, _Learnt] = {}
        self._learning: dict[str, asyncio.Task[_Learnt]] = {}

    async def stop(self) -> None:
        """End what is being asked."""
        tasks = list(self._learning.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def preflight(self, call: Call) -> Answer:
        """The answer to a browser's preflight, which asks no right: from the settings, else the origin's own."""
        if call.bucket.cors is not None:
            return Answer(200, [*preflight_headers(call.bucket.cors, call.request.headers), ("content-length", "0")])
        origin = self._origins.get(call.bucket.name)
        _, method, _ = preflight_question(call.request.headers)
        if origin is None:
            raise not_enabled(method)
        request = OriginRequest(
            method="OPTIONS",
            raw_key=call.target.raw_key,
            raw_query=without_signature(call.request.raw_query),
            headers=[pair for pair in call.request.headers if pair[0] in _PREFLIGHT_HEADERS],
            anonymous=True,
        )
        async with origin.send(request) as answer:
            body = await _whole(answer, PREFLIGHT_ANSWER_BYTES_MAX)
            headers = [pair for pair in answer.headers if pair[0] != "content-length"]
            return Answer(answer.status, [*headers, ("content-length", str(len(body)))], body)

    async def answered(self, bucket: Bucket, origin: str, method: str, answer: Answer) -> Answer:
        """An answer of ours, an error too, with the headers that let a page of `origin` see it, if the rules allow that."""
        if bucket.cors is None and (self._origins.get(bucket.name) is None or has_cors(answer.headers)):
            # The origin's own headers are the right ones.
            return answer
        rules = bucket.cors if bucket.cors is not None else await self._rules_of_origin(bucket.name)
        return replace(answer, headers=with_cors(answer.headers, response_headers(rules, origin=origin, method=method)))

    @staticmethod
    def passing_by(bucket: Bucket, origin: str, method: str, headers: Headers) -> Headers | None:
        """The headers of an origin's answer that passes by, as the settings want them; None where they want nothing."""
        if bucket.cors is None:
            return None
        return with_cors(headers, response_headers(bucket.cors, origin=origin, method=method))

    @staticmethod
    def configuration_xml(bucket: Bucket) -> bytes | None:
        """The answer to GetBucketCors from the settings; None where they say nothing. An empty list is NoSuchCORSConfiguration."""
        if bucket.cors is None:
            return None
        if not bucket.cors:
            raise S3Error(
                "NoSuchCORSConfiguration",
                "The CORS configuration does not exist",
                details={"BucketName": bucket.name},
            )
        return configuration_xml(bucket.cors)

    async def _rules_of_origin(self, bucket: str) -> Sequence[CorsRule]:
        """Those that were learnt lately, else asked for: by one for all who wait."""
        learnt = self._learnt.get(bucket)
        if learnt is not None and self._monotonic_s() < learnt.until_s:
            return learnt.rules
        task = self._learning.get(bucket)
        if task is None:
            task = asyncio.create_task(self._learn(bucket))
            self._learning[bucket] = task
            task.add_done_callback(lambda _: self._learning.pop(bucket, None))
        return (await asyncio.shield(task)).rules

    async def _learn(self, bucket: str) -> _Learnt:
        before = self._learnt.get(bucket)
        try:
            async with asyncio.timeout(CORS_RULES_WAIT_S_MAX):
                rules, hold_s = await self._ask(bucket), CORS_RULES_S
        except (OriginUnavailable, TimeoutError):
            # What it said last holds: its objects are served from here while it is down, also to pages.
            rules, hold_s = before.rules if before is not None else (), CORS_RETRY_S
            logger.warning("the origin of %s does not tell its cross-origin rules; asked again later", bucket)
        learnt = _Learnt(rules, self._monotonic_s() + hold_s)
        self._learnt[bucket] = learnt
        return learnt

    async def _ask(self, bucket: str) -> Sequence[CorsRule]:
        """The origin's rules; none where it has none, does not tell us, or was retired. Raises `OriginUnavailable`."""
        origin = self._origins.get(bucket)
        if origin is None:
            return ()
        async with origin.send(OriginRequest("GET", "", "cors", [])) as answer:
            if answer.status >= 500 or answer.status == HTTPStatus.TOO_MANY_REQUESTS:
                raise OriginUnavailable(f"the origin answered {answer.status}")
            if answer.status == HTTPStatus.NOT_FOUND:
                return ()
            if answer.status == HTTPStatus.OK:
                body = await _whole(answer, CONFIGURATION_BYTES_MAX)
                try:
                    return parse_configuration(body)
                except S3Error:
                    logger.warning("the origin of %s tells cross-origin rules that cannot be understood", bucket)
                    return ()
        logger.warning(
            "the origin of %s does not let us read its cross-origin rules (%d): pages of other origins cannot read what is "
            "here, unless [[buckets.cors]] says so",
            bucket,
            answer.status,
        )
        return ()


async def _whole(answer: OriginResponse, bytes_max: int) -> bytes:
    collected = bytearray()
    async for piece in answer.body:
        collected += piece
        if len(collected) > bytes_max:
            raise OriginUnavailable("the origin's answer is larger than such an answer can be")
    return bytes(collected)
