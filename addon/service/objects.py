"""PUT and DELETE of objects."""

from __future__ import annotations

import contextlib

from addon.s3.errors import S3Error
from addon.s3.metadata import NewObjectHeaders, new_object_headers
from addon.service.authorize import Call
from addon.service.body import VerifiedBody
from addon.service.conditions import Conditions, refusal
from addon.service.forward import Forwarder
from addon.service.origin_only import OriginOnly
from addon.service.reads import is_the_version, of_other_version
from addon.service.request import Answer
from addon.service.upload_slots import UploadSlots
from addon.store.conditions import Verdict
from addon.store.object_store import Description, ObjectStore
from addon.store.ports import WriteRefused
from addon.store.records import ObjectRecord
from addon.store.writer import Upload


class ObjectHandlers:
    """The operations that the object store answers itself.

    Bodies above `object_bytes_max` bytes are refused unread.
    """

    def __init__(
        self,
        store: ObjectStore,
        forwarder: Forwarder,
        slots: UploadSlots,
        conditions: Conditions,
        origin_only: OriginOnly,
        *,
        object_bytes_max: int,
    ) -> None:
        self._store, self._forwarder, self._slots = store, forwarder, slots
        self._conditions, self._origin_only = conditions, origin_only
        self._object_bytes_max = object_bytes_max

    async def put(self, call: Call) -> Answer:
        """PutObject: verified, stored in Telegram, in the index; then acknowledged."""
        if self._origin_only.takes(call):
            with self._slots.one():
                return await self._origin_only.write(call)
        headers, body = self.check_headers(call)
        with self._slots.one():
            await self._conditions.of_write(call)
            return await self._store_body(call, headers, body)

    def check_headers(self, call: Call) -> tuple[NewObjectHeaders, VerifiedBody]:
        """Everything of a PutObject that can be judged before its body. Raises S3Error."""
        if call.verified is None:
            raise S3Error("AccessDenied", "Access Denied")
        self._conditions.has_condition(call)
        headers = new_object_headers(call.headers)
        return headers, VerifiedBody(call.request, call.headers, call.verified, bytes_max=self._object_bytes_max)

    async def delete(self, call: Call) -> Answer:
        """DeleteObject: a tombstone, whether or not anything was there, as S3 does it."""
        if call.verified is None:
            raise S3Error("AccessDenied", "Access Denied")
        bucket, key = call.bucket.name, call.target.key
        if call.target.version_id is not None and not is_the_version(call, await self._store.state(bucket, key)):
            return await of_other_version(call, self._forwarder)
        condition = await self._conditions.of_delete(call)
        try:
            await self._store.delete(bucket, key, condition=condition)
        except WriteRefused as error:
            # What is not there needs no deleting: S3 says 204 to that, whatever the condition.
            if error.verdict is not Verdict.MISSING:
                raise refusal(error, key, condition) from None
        return Answer(204)

    async def _store_body(self, call: Call, headers: NewObjectHeaders, body: VerifiedBody) -> Answer:
        bucket, key = call.bucket.name, call.target.key
        async with self._store.upload(bucket, key, body.digests.update) as upload:
            async with contextlib.aclosing(body.pieces()) as pieces:
                async for piece in pieces:
                    await upload.write(piece)
            await upload.seal()
            checksums = body.check()
            description = Description(
                etag=body.digests.md5_hex(),
                last_modified_s=int(self._store.now_s()),
                anonymous_read=headers.anonymous_read,
                headers=headers.stored,
                checksums=checksums,
                tags=headers.tags,
            )
            record = await commit_conditionally(self._store, self._conditions, call, upload, description)
        given_back = [(f"x-amz-checksum-{name}", value) for name, value in record.checksums.items()]
        return Answer(200, [("etag", f'"{record.etag}"'), *given_back, ("content-length", "0")])


async def commit_conditionally(
    store: ObjectStore, conditions: Conditions, call: Call, upload: Upload, description: Description
) -> ObjectRecord:
    """Make a verified upload the current object of the call's key, if the call's condition holds. Raises S3Error where not."""
    bucket, key = call.bucket.name, call.target.key
    if not conditions.has_condition(call):
        return await store.commit(upload, bucket, key, description)
    # The last document first: it may wait for its turn, and what the origin is asked must not be old when the index commits.
    await store.send(upload, bucket, key, description)
    condition = await conditions.of_write(call)
    try:
        return await store.commit(upload, bucket, key, description, condition=condition)
    except WriteRefused as error:
        raise refusal(error, key, condition) from None
