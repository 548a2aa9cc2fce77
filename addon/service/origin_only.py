"""Writes that the origin alone has to have: verified here, then forwarded signed anew, and what is held of their key is superseded.

A condition is judged here too, because of a key that only we hold the origin knows nothing right; then the origin is not asked to
judge it again. Of all other keys it has the last word.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from http import HTTPStatus

from addon.s3.acl import CANNED
from addon.s3.errors import S3Error
from addon.s3.keys import encode_key
from addon.s3.metadata import NewObjectHeaders, headers_for_upload
from addon.s3.query import without_hoisted_headers
from addon.s3.tags import tagging_header
from addon.service.authorize import Call
from addon.service.conditions import Conditions
from addon.service.forward import Forwarder, SpooledBody
from addon.service.origin_writes import OriginWrites
from addon.service.request import Answer
from addon.service.write_through import Turns
from addon.store.object_store import ObjectStore
from addon.store.policies import Writes
from addon.store.ports import Origin, OriginRequest, OriginUnreachable, WriteOutcome
from addon.store.records import is_ours_alone

_CONDITIONS = frozenset({"if-match", "if-none-match"})


class OriginOnly:
    """Takes such writes. `turns` are those of `WriteThrough`: one write of a key at a time, whichever way it goes."""

    def __init__(
        self,
        store: ObjectStore,
        origins: Mapping[str, Origin | None],
        forwarder: Forwarder,
        conditions: Conditions,
        origin_writes: OriginWrites,
        turns: Turns,
    ) -> None:
        self._store, self._origins, self._forwarder = store, origins, forwarder
        self._conditions, self._origin_writes, self._turns = conditions, origin_writes, turns

    @staticmethod
    def takes(call: Call) -> bool:
        """Whether writes of the call's bucket go to the origin alone now."""
        return call.bucket.policy.writes_now is Writes.ORIGIN and call.bucket.origin is not None

    async def write(self, call: Call) -> Answer:
        """A write that replaces the object of one key (PutObject, CopyObject, CompleteMultipartUpload). The body is verified as a
        whole before it goes on. Raises AccessDenied for who is not verified, and what the condition comes to."""
        if call.verified is None:
            raise S3Error("AccessDenied", "Access Denied")
        call = in_headers(call)
        await self._conditions.of_write(call)
        return await self._forwarder.forward(call, turn=self._turn)

    @contextlib.asynccontextmanager
    async def _turn(self, call: Call) -> AsyncGenerator[Call, None]:
        """The call as it is to be sent, while no other write of its key is under way through us."""
        bucket, key = call.bucket.name, call.target.key
        async with self._turns.of(bucket, key):
            await self._conditions.of_write(call)
            if is_ours_alone(await self._store.state(bucket, key)):
                kept = [pair for pair in call.request.headers if pair[0] not in _CONDITIONS]
                call = replace(call, request=replace(call.request, headers=kept))
            yield call

    async def put_file(self, call: Call, key: str, new: NewObjectHeaders, spooled: SpooledBody) -> str:
        """Write the verified file of a form; returns the ETag that the origin gave it. Raises `OriginUnavailable`,
        `OriginRefused`."""
        bucket = call.bucket.name
        origin = self._origins.get(bucket)
        if origin is None:
            raise S3Error("ServiceUnavailable", "The bucket has no origin any more.", headers={"Retry-After": "1"})
        headers = [
            *headers_for_upload(new.stored).items(),
            *([("x-amz-tagging", tagging_header(new.tags))] if new.tags else []),
            *([(CANNED, "public-read")] if new.anonymous_read else []),
            *((f"x-amz-checksum-{name}", value) for name, value in spooled.checksums.items() if name != "type"),
        ]
        request = OriginRequest(
            "PUT",
            encode_key(key),
            "",
            headers,
            body=spooled.pieces(),
            content_length=spooled.size,
            payload_sha256=spooled.sha256_hex,
        )
        async with self._turns.of(bucket, key):
            write = await self._origin_writes.begin(bucket, key)
            outcome = WriteOutcome.UNKNOWN
            try:
                async with origin.send(request) as answer:
                    if answer.status != HTTPStatus.OK:
                        outcome = WriteOutcome.REFUSED
                        raise await origin.failure(answer)
                    outcome = WriteOutcome.ACCEPTED
                    return (answer.header("etag") or "").strip('"')
            except OriginUnreachable:
                outcome = WriteOutcome.REFUSED
                raise
            finally:
                await self._origin_writes.end(write, outcome)


def in_headers(call: Call) -> Call:
    """The call with what a presigned URL carried in its query where the origin looks for it: it gets another signature."""
    request = replace(call.request, headers=call.headers, raw_query=without_hoisted_headers(call.request.raw_query))
    return replace(call, request=request)
