"""Verified requests that the origin answers: signed anew with our credentials for it.

Two kinds: a read of a key that we do not hold (a miss, which also orders the copy), and an operation that is not built here yet.
The second is refused with NotImplemented where the origin's answer could not be right, because the key was written or deleted
here and the origin does not know of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from http import HTTPStatus

from addon.s3.copy_source import CopySource, parse_copy_source
from addon.s3.errors import S3Error
from addon.s3.operations import Operation
from addon.s3.query import without_signature
from addon.service.authorize import Call
from addon.service.body import VerifiedBody
from addon.service.origin_writes import OriginWrites
from addon.service.request import Answer
from addon.store.copier import Copier
from addon.store.object_store import ObjectStore
from addon.store.ports import Origin, OriginRequest, OriginResponse, OriginUnavailable
from addon.store.records import ObjectRecord, Provenance, Tombstone

# The answers of operations that may say 200 and then fail (CompleteMultipartUpload, CopyObject) are small; this much is looked at.
LATE_ERROR_BYTES_MAX = 64 * 1024

# Set by our own signing and framing, or belonging to the client's connection; everything else passes.
NOT_FORWARDED = frozenset(
    {
        "authorization", "connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "x-amz-content-sha256", "x-amz-date",
        "x-amz-decoded-content-length", "x-amz-security-token", "x-amz-trailer",
    }
)  # fmt: skip


class Forwarder:
    """Forwards verified calls to their bucket's origin."""

    def __init__(
        self,
        store: ObjectStore,
        origins: Callable[[str], Origin | None],
        copier: Copier,
        origin_writes: OriginWrites,
        *,
        body_bytes_max: int,
    ) -> None:
        self._store, self._origins, self._copier = store, origins, copier
        self._origin_writes, self._body_bytes_max = origin_writes, body_bytes_max

    async def read_miss(self, call: Call) -> Answer:
        """GetObject or HeadObject of a key that only the origin has; a GET that succeeds orders the copy."""

        async def order_copy(answer: OriginResponse) -> None:
            if call.target.operation is Operation.GET_OBJECT and answer.status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
                await self._copier.order(call.bucket.name, call.target.key, anonymous_read=False)

        return await self._send(call, None, order_copy)

    async def forward(self, call: Call) -> Answer:
        """Any other operation. Raises NotImplemented where the origin cannot know the right answer."""
        await self._refuse_what_the_origin_cannot_know(call)
        async with contextlib.AsyncExitStack() as stack:
            spooled = None
            if call.request.has_body:
                spooled = await stack.enter_async_context(self._spool(call))
            if call.request.method in ("GET", "HEAD") or call.target.operation in LEAVES_OBJECT or not call.target.key:
                return await self._send(call, spooled)
            return await self._write(call, spooled)

    async def _write(self, call: Call, spooled: SpooledBody | None) -> Answer:
        """A write of one key at the origin: marked before, superseding what we hold where the origin accepted it."""
        write = await self._origin_writes.begin(call.bucket.name, call.target.key)
        outcome = WriteOutcome.UNKNOWN
        try:
            answer = await _whole(await self._send(call, spooled))
            outcome = WriteOutcome.ACCEPTED if is_accepted(answer.status, answer.body) else WriteOutcome.REFUSED
            return Answer(answer.status, answer.headers, answer.body)
        finally:
            await self._origin_writes.end(write, outcome)

    async def _refuse_what_the_origin_cannot_know(self, call: Call) -> None:
        asked_about = []
        if call.target.key and call.target.operation not in REPLACES_OBJECT | LEAVES_OBJECT:
            asked_about.append((call.bucket.name, call.target.key))
        source = copy_source(call.request.headers)
        if source is not None:
            asked_about.append((source.bucket, source.key))
        for bucket, key in asked_about:
            if is_ours_alone(await self._store.state(bucket, key)):
                raise S3Error(
                    "NotImplemented",
                    f"{call.target.operation.value} of a key that was written or deleted here is not implemented by tgstore yet.",
                    details={"Key": key},
                )

    async def _send(
        self,
        call: Call,
        spooled: SpooledBody | None,
        on_answer: Callable[[OriginResponse], Awaitable[None]] | None = None,
    ) -> Answer:
        origin = self._origins.get(call.bucket.name)
        if origin is None:
            raise S3Error("NotImplemented", f"{call.target.operation.value} needs an origin, and this bucket has none.")
        request = OriginRequest(
            method=call.request.method,
            raw_key=call.target.raw_key,
            raw_query=without_signature(call.request.raw_query),
            headers=self._headers(call, spooled),
            body=spooled.pieces() if spooled is not None else None,
            content_length=spooled.size if spooled is not None else 0,
            payload_sha256=spooled.sha256_hex if spooled is not None else None,
        )
        stack = contextlib.AsyncExitStack()
        try:
            answer = await stack.enter_async_context(origin.send(request))
            if on_answer is not None:
                await on_answer(answer)
        except BaseException:
            await stack.aclose()
            raise
        return Answer(answer.status, answer.headers, _streamed(answer, stack))

    def _headers(self, call: Call, spooled: SpooledBody | None) -> list[tuple[str, str]]:
        headers = [(name, value) for name, value in call.request.headers if name not in NOT_FORWARDED]
        if spooled is not None:
            headers = [(name, value) for name, value in headers if not name.startswith("x-amz-checksum-")]
            headers = without_aws_chunked(headers)
            headers += [(f"x-amz-checksum-{name}", value) for name, value in spooled.checksums.items() if name != "type"]
        source = copy_source(headers)
        if source is not None:
            headers = with_copy_source(headers, self._origin_bucket(source.bucket), source)
        return headers

    @contextlib.asynccontextmanager
    async def _spool(self, call: Call) -> AsyncGenerator[SpooledBody, None]:
        """The whole body on disk, verified: only then does a byte of it go to the origin."""
        assert call.verified is not None  # noqa: S101 -- only verified calls are forwarded
        body = VerifiedBody(call.request, call.verified, bytes_max=self._body_bytes_max, want=frozenset({"sha256"}))
        with tempfile.TemporaryFile(dir=self._store.spool_dir) as file:
            async with contextlib.aclosing(body.pieces()) as pieces:
                async for piece in pieces:
                    await asyncio.to_thread(_keep, file, body, piece)
            checksums = body.check()
            yield SpooledBody(file, file.tell(), body.digests.sha256_hex(), checksums)
