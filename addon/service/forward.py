"""Verified requests that the origin answers: signed anew with our credentials for it.

Two kinds: a read of a key that we do not hold (a miss, which also orders the copy), and an operation that is not built here yet.
The second is refused with NotImplemented where the origin's answer could not be right, because the key was written or deleted
here and the origin does not know of it.

A body is spooled to disk and verified whole before a byte of it goes to the origin, so the origin never receives a claim.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import BinaryIO
from urllib.parse import quote

from addon.s3.copy_source import CopySource, parse_copy_source
from addon.s3.errors import S3Error
from addon.s3.keys import encode_key
from addon.s3.metadata import without_aws_chunked
from addon.s3.multipart import ABOUT_THE_OBJECT
from addon.s3.operations import MULTIPART_STEPS, Operation
from addon.s3.query import without_hoisted_headers, without_signature
from addon.service.authorize import Call
from addon.service.body import VerifiedBody
from addon.service.buckets import Bucket, Directory
from addon.service.late_errors import is_accepted
from addon.service.origin_writes import OriginWrites
from addon.service.request import Answer
from addon.service.upload_slots import UploadSlots
from addon.store.copier import Copier
from addon.store.object_store import ObjectStore
from addon.store.ports import (
    Origin,
    OriginRequest,
    OriginResponse,
    OriginUnavailable,
    OriginUnreachable,
    WriteOutcome,
)
from addon.store.records import is_ours_alone

# The answer to a write is a small XML document; more than this is not waited for.
WRITE_ANSWER_BYTES_MAX = 1 << 20
SPOOL_READ_BYTES = 256 * 1024
COPY_SOURCE = "x-amz-copy-source"

# Set by our own signing and framing, or belonging to the client's connection; everything else passes.
NOT_FORWARDED = frozenset(
    {
        "authorization", "connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "x-amz-content-sha256", "x-amz-date",
        "x-amz-decoded-content-length", "x-amz-sdk-checksum-algorithm", "x-amz-security-token", "x-amz-trailer",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SpooledBody:
    """A verified body on disk."""

    file: BinaryIO
    size: int
    sha256_hex: str
    checksums: Mapping[str, str]

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Its bytes, from the beginning."""
        await asyncio.to_thread(self.file.seek, 0)
        while piece := await asyncio.to_thread(self.file.read, SPOOL_READ_BYTES):
            yield piece


Turn = Callable[[Call], contextlib.AbstractAsyncContextManager[Call]]


class Forwarder:
    """Forwards verified calls to their bucket's origin. Bodies above `body_bytes_max` bytes are refused, and one that is spooled
    takes one of `slots`."""

    def __init__(
        self,
        store: ObjectStore,
        origins: Mapping[str, Origin | None],
        copier: Copier,
        origin_writes: OriginWrites,
        directory: Directory,
        slots: UploadSlots,
        *,
        body_bytes_max: int,
    ) -> None:
        self._store, self._origins, self._copier = store, origins, copier
        self._origin_writes, self._directory, self._slots = origin_writes, directory, slots
        self._body_bytes_max = body_bytes_max

    async def read_miss(self, call: Call) -> Answer:
        """GetObject or HeadObject of a key that only the origin has; a GET that succeeds orders the copy."""

        def order_copy(answer: OriginResponse) -> None:
            if answer.status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
                self._copier.order(call.bucket.name, call.target.key, anonymous_read=False)

        return await self._send(call, None, order_copy if call.target.operation is Operation.GET_OBJECT else None)

    async def forward(self, call: Call, *, turn: Turn | None = None) -> Answer:
        """Any other operation. Raises NotImplemented where the origin cannot know the right answer, SlowDown where too many bodies
        are on their way already.

        A write is sent within `turn`, as the call that this gives, once its body is here and verified."""
        await self._refuse_what_the_origin_cannot_know(call)
        async with contextlib.AsyncExitStack() as stack:
            spooled = None
            if call.request.has_body:
                stack.enter_context(self._slots.one())
                spooled = await stack.enter_async_context(self._spool(call))
            if (
                call.request.method in ("GET", "HEAD")
                or call.target.operation in MULTIPART_STEPS
                or not call.target.key
            ):
                return await self._send(call, spooled)
            if turn is None:
                return await self._write(call, call.target.key, spooled)
            async with turn(call) as judged:
                return await self._write(judged, judged.target.key, spooled)

    async def send_part(self, call: Call, pieces: AsyncIterator[bytes], size: int) -> str:
        """Verified bytes as the part of an upload at the origin that the call names; returns its ETag. Raises NoSuchUpload."""
        origin = self._origins.get(call.bucket.name)
        if origin is None:
            raise S3Error("NotImplemented", "The upload was begun at an origin that this bucket has not any more.")
        query = without_hoisted_headers(call.request.raw_query)
        request = OriginRequest(
            "PUT", call.target.raw_key, query, [], body=pieces if size else None, content_length=size
        )
        async with origin.send(request) as answer:
            if answer.status == HTTPStatus.NOT_FOUND:
                raise S3Error("NoSuchUpload", "The specified upload does not exist.")
            if answer.status != HTTPStatus.OK:
                raise await origin.failure(answer)
            return (answer.header("etag") or "").strip('"')

    def reaches(self, call: Call, source: CopySource) -> bool:
        """Whether the origin can copy this source itself, with our credentials and by the caller's right."""
        try:
            self._source_at_origin(call, source)
        except S3Error:
            return False
        return True

    async def _write(self, call: Call, key: str, spooled: SpooledBody | None) -> Answer:
        """A write of one key at the origin: marked before, superseding what we hold where the origin accepted it."""
        write = await self._origin_writes.begin(call.bucket.name, key)
        outcome = WriteOutcome.UNKNOWN
        try:
            answer = await self._send(call, spooled)
            body = await _whole(answer)
            outcome = _outcome(call, accepted=is_accepted(answer.status, body))
            return Answer(answer.status, answer.headers, body)
        except OriginUnreachable:
            outcome = WriteOutcome.REFUSED
            raise
        finally:
            await self._origin_writes.end(write, outcome)

    async def _refuse_what_the_origin_cannot_know(self, call: Call) -> None:
        asked_about = []
        if call.target.key and not _right_whatever_is_here(call):
            asked_about.append((call.bucket.name, call.target.key))
        source = _copy_source(call)
        if source is not None:
            # Before anything is looked up: who may not read the source shall not learn either whether it is here.
            self._source_at_origin(call, source)
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
        on_answer: Callable[[OriginResponse], None] | None = None,
    ) -> Answer:
        origin = self._origins.get(call.bucket.name)
        if origin is None and call.bucket.origin is not None:
            raise S3Error("ServiceUnavailable", "The origin was retired a moment ago.", headers={"Retry-After": "1"})
        if origin is None:
            raise S3Error("NotImplemented", f"{call.target.operation.value} needs an origin, and this bucket has none.")
        request = OriginRequest(
            method=call.request.method,
            raw_key=call.target.raw_key or "",
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
                on_answer(answer)
        except BaseException:
            await stack.aclose()
            raise
        return Answer(answer.status, answer.headers, _streamed(answer, stack))

    def _headers(self, call: Call, spooled: SpooledBody | None) -> list[tuple[str, str]]:
        headers = [(name, value) for name, value in call.request.headers if name not in NOT_FORWARDED]
        if spooled is not None:
            replaced = _CHECKSUM_HEADERS - _about_the_object(call)
            headers = [pair for pair in without_aws_chunked(headers) if pair[0] not in replaced]
            headers += [
                (f"x-amz-checksum-{name}", value) for name, value in spooled.checksums.items() if name != "type"
            ]
        source = _copy_source(call)
        if source is not None:
            if all(name != COPY_SOURCE for name, _ in headers):
                raise S3Error("NotImplemented", "A copy source in a presigned query is not implemented by tgstore yet.")
            spelling = self._source_at_origin(call, source)
            headers = [(name, spelling if name == COPY_SOURCE else value) for name, value in headers]
        return headers

    def _source_at_origin(self, call: Call, source: CopySource) -> str:
        """The copy source as the origin calls it. Our credentials will read it, so the caller must have a right to it here."""
        bucket = self._directory.buckets.get(source.bucket)
        verified = call.verified
        if bucket is None or bucket.origin_bucket is None or verified is None:
            raise S3Error("AccessDenied", "Access Denied")
        if verified.access_key_id not in bucket.credentials:
            raise S3Error("AccessDenied", "Access Denied")
        if _endpoint(bucket) != _endpoint(call.bucket):
            # The name means another bucket there, or none.
            raise S3Error("NotImplemented", "A copy from another origin is not implemented by tgstore yet.")
        version = f"?versionId={quote(source.version_id, safe='~')}" if source.version_id is not None else ""
        return f"/{bucket.origin_bucket}/{encode_key(source.key)}{version}"

    @contextlib.asynccontextmanager
    async def _spool(self, call: Call) -> AsyncGenerator[SpooledBody, None]:
        """The whole body on disk, verified."""
        assert call.verified is not None  # noqa: S101 -- only verified calls are forwarded
        promises = [(name, value) for name, value in call.headers if name not in _about_the_object(call)]
        body = VerifiedBody(
            call.request, promises, call.verified, bytes_max=self._body_bytes_max, want=frozenset({"sha256"})
        )
        with tempfile.TemporaryFile(dir=self._store.spool_dir) as file:
            async with contextlib.aclosing(body.pieces()) as pieces:
                async for piece in pieces:
                    await asyncio.to_thread(_keep, file, body, piece)
            checksums = body.check()
            if not body.promises_checksum:
                # Ours, which the client never named: an upload that was begun with another algorithm would not take it.
                checksums = {}
            yield SpooledBody(file, file.tell(), body.digests.sha256_hex(), checksums)


_CHECKSUM_HEADERS = frozenset(
    {f"x-amz-checksum-{name}" for name in ("crc32", "crc32c", "crc64nvme", "sha1", "sha256")} | {"content-md5"}
)


def _about_the_object(call: Call) -> frozenset[str]:
    """Checksum headers that promise nothing of the body, because it is only a document about the object."""
    return ABOUT_THE_OBJECT if call.target.operation is Operation.COMPLETE_MULTIPART_UPLOAD else frozenset()


def _copy_source(call: Call) -> CopySource | None:
    header = call.header(COPY_SOURCE)
    return parse_copy_source(header) if header is not None else None


def _right_whatever_is_here(call: Call) -> bool:
    """Whether the origin can do this rightly although its current version of the key may be out of date.

    It can replace the object; steps of an upload leave it as it is; and its other versions never change. Its version `null` is what
    it holds of an object of a bucket without versioning, so that is out of date with it.
    """
    target = call.target
    if target.replaces_object or target.operation in MULTIPART_STEPS:
        return True
    return target.version_id not in (None, "null")


def _outcome(call: Call, *, accepted: bool) -> WriteOutcome:
    """What a write at the origin means for what is held here.

    Another version may be the current one there after a version was deleted or described anew, so a copy is out of date; but what
    was written or deleted here has nothing to do with the origin's versions.
    """
    if not accepted:
        return WriteOutcome.REFUSED
    return WriteOutcome.ACCEPTED if call.target.version_id is None else WriteOutcome.UNKNOWN


def _endpoint(bucket: Bucket) -> tuple[str, str, int] | None:
    """The server that a bucket's origin is at: scheme, host and port."""
    address = bucket.origin
    if address is None:
        return None
    host = address.host if address.path_prefix else address.host.removeprefix(f"{bucket.origin_bucket}.")
    return address.scheme, host, address.port


def _keep(file: BinaryIO, body: VerifiedBody, piece: bytes) -> None:
    body.digests.update(piece)
    file.write(piece)


async def _streamed(answer: OriginResponse, stack: contextlib.AsyncExitStack) -> AsyncGenerator[bytes, None]:
    """The origin's body as it comes; its connection is released when the stream ends, however it ends."""
    async with stack:
        async for piece in answer.body:
            yield piece


async def _whole(answer: Answer) -> bytes:
    """The answer to a write. Raises `OriginUnavailable` where it does not end."""
    if isinstance(answer.body, bytes):
        return answer.body
    body = bytearray()
    async with contextlib.aclosing(answer.body) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) > WRITE_ANSWER_BYTES_MAX:
                raise OriginUnavailable("the origin's answer to a write is too long")
    return bytes(body)
