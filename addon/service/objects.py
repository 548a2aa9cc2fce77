"""PUT, GET, HEAD and DELETE of objects."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterator

from addon.s3.errors import S3Error
from addon.s3.metadata import NewObjectHeaders, check_delete_headers, new_object_headers
from addon.s3.operations import Target
from addon.s3.ranges import ByteRange
from addon.s3.reads import answer_read
from addon.service.authorize import Call
from addon.service.body import VerifiedBody
from addon.service.forward import Forwarder
from addon.service.origin_writes import OriginWrites
from addon.service.request import Answer
from addon.store.object_store import Description, ObjectStore
from addon.store.records import ObjectRecord, Provenance, Tombstone


class ObjectHandlers:
    """The operations that the object store answers itself.

    `uploads_max` uploads run at once; more are told to slow down. Bodies above `object_bytes_max` bytes are refused unread.
    """

    def __init__(
        self,
        store: ObjectStore,
        forwarder: Forwarder,
        origin_writes: OriginWrites,
        *,
        object_bytes_max: int,
        uploads_max: int,
    ) -> None:
        self._store, self._forwarder, self._origin_writes = store, forwarder, origin_writes
        self._object_bytes_max, self._uploads_max = object_bytes_max, uploads_max
        self._uploads = 0

    async def get(self, call: Call) -> Answer:
        """GetObject and HeadObject."""
        key = call.target.key
        if call.verified is not None and not _is_about_the_current_whole(call.target):
            return await self._forwarder.forward(call)
        state = await self._store.state(call.bucket.name, key)
        if call.verified is None:
            if not _is_about_the_current_whole(call.target):
                raise S3Error("AccessDenied", "Access Denied")
            return await self._answer(call, readable_by_anyone(call, state))
        if isinstance(state, Tombstone) or (state is None and call.bucket.origin is None):
            raise no_such_key(key)
        if state is None or self._may_be_stale(state):
            return await self._forwarder.read_miss(call)
        return await self._answer(call, state)

    async def put(self, call: Call) -> Answer:
        """PutObject: verified, stored in Telegram, in the index; then acknowledged."""
        headers, body = self.check_headers(call)
        with self._upload_slot():
            return await self._store_body(call, headers, body)

    def check_headers(self, call: Call) -> tuple[NewObjectHeaders, VerifiedBody]:
        """Everything of a PutObject that can be judged before its body. Raises S3Error."""
        if call.verified is None:
            raise S3Error("AccessDenied", "Access Denied")
        headers = new_object_headers(call.headers)
        return headers, VerifiedBody(call.request, call.headers, call.verified, bytes_max=self._object_bytes_max)

    async def delete(self, call: Call) -> Answer:
        """DeleteObject: a tombstone, whether or not anything was there, as S3 does it."""
        if call.verified is None:
            raise S3Error("AccessDenied", "Access Denied")
        if not _is_about_the_current_whole(call.target):
            return await self._forwarder.forward(call)
        check_delete_headers(call.headers)
        await self._store.delete(call.bucket.name, call.target.key)
        return Answer(204)

    async def _store_body(self, call: Call, headers: NewObjectHeaders, body: VerifiedBody) -> Answer:
        bucket, key = call.bucket.name, call.target.key
        async with self._store.upload(bucket, key, body.digests.update) as upload:
            async with contextlib.aclosing(body.pieces()) as pieces:
                async for piece in pieces:
                    await upload.write(piece)
            await upload.seal()
            checksums = body.check()
            record = await self._store.commit(
                upload,
                bucket,
                key,
                Description(
                    etag=body.digests.md5_hex(),
                    last_modified_s=int(self._store.now_s()),
                    anonymous_read=headers.anonymous_read,
                    headers=headers.stored,
                    checksums=checksums,
                ),
            )
        given_back = [(f"x-amz-checksum-{name}", value) for name, value in record.checksums.items()]
        return Answer(200, [("etag", f'"{record.etag}"'), *given_back, ("content-length", "0")])

    async def _answer(self, call: Call, record: ObjectRecord) -> Answer:
        answer = answer_read(
            record,
            call.request.method,
            call.headers,
            call.request.raw_query,
            signed=call.verified is not None,
        )
        if answer.body_range is None:
            return Answer(answer.status, answer.headers)
        whole = self._store.in_memory(record)
        if whole is not None:
            return Answer(answer.status, answer.headers, _cut(whole, answer.body_range))
        pieces = self._store.read(record, answer.body_range.start, answer.body_range.length)
        # The first bytes are awaited here: what fails before them becomes an honest 503 instead of a broken transfer.
        first = await anext(pieces)
        return Answer(answer.status, answer.headers, _chain(first, pieces))

    def _may_be_stale(self, record: ObjectRecord) -> bool:
        return record.provenance is Provenance.COPIED_FROM_ORIGIN and self._origin_writes.under_way(
            record.bucket, record.key
        )

    @contextlib.contextmanager
    def _upload_slot(self) -> Iterator[None]:
        if self._uploads >= self._uploads_max:
            raise S3Error("SlowDown", "Please reduce your request rate.", headers={"Retry-After": "1"})
        self._uploads += 1
        try:
            yield
        finally:
            self._uploads -= 1


def _is_about_the_current_whole(target: Target) -> bool:
    """Versions and parts of an object are only the origin's to know."""
    return target.version_id is None and target.part_number is None


def readable_by_anyone(call: Call, state: ObjectRecord | Tombstone | None) -> ObjectRecord:
    """The object, if a stranger may have it from us; else the refusal that S3 would give somebody without rights."""
    if isinstance(state, ObjectRecord) and (state.anonymous_read or call.bucket.anonymous_read):
        return state
    if isinstance(state, Tombstone) and call.bucket.anonymous_read:
        raise no_such_key(call.target.key)
    raise S3Error("AccessDenied", "Access Denied")


def no_such_key(key: str) -> S3Error:
    """404, with the key."""
    return S3Error("NoSuchKey", "The specified key does not exist.", details={"Key": key})


def _cut(whole: bytes, part: ByteRange) -> bytes:
    return whole[part.start : part.start + part.length] if part.length != len(whole) else whole


async def _chain(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(rest):
        yield first
        async for piece in rest:
            yield piece
