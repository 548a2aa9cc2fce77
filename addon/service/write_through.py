"""Writes that the origin has to have as well (`writes = "both"`), or it alone (`writes = "origin"`).

It stands where writes become current, in front of the index. What is to be written is in Telegram by then and verified; it goes to
the origin, and only then does the index take it. The rules:

- one write of a key at a time, and its condition is judged when its turn has come;
- the index is told beforehand that the origin is being written: no copy of the key commits meanwhile, and a crash is noticed;
- what the origin did not take changes nothing here. Where nobody knows whether it took it, or where the index fails after it, a
  copy is forgotten, because the origin has the truth, and an object written here stays what it was;
- where another write went past us to the same key meanwhile, nobody knows which came last: what is held of the key is forgotten.
  The origin has all of it, so nothing is lost;
- with `writes = "origin"` the index forgets the key in the end as well.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import TypeVar

from addon.s3.acl import CANNED
from addon.s3.errors import S3Error
from addon.s3.keys import encode_key
from addon.s3.tags import tagging_xml
from addon.service.origin_facts import facts_at_origin
from addon.service.origin_writes import OriginWrites
from addon.store.conditions import Verdict, WriteCondition, judge
from addon.store.listed import Deletion
from addon.store.multipart import Completion
from addon.store.object_store import ObjectStore
from addon.store.origin_upload import upload_to_origin
from addon.store.policies import BucketPolicies, Writes
from addon.store.ports import (
    Origin,
    OriginRefused,
    OriginRequest,
    OriginUnavailable,
    OriginUnreachable,
    SourceChanged,
    StoreError,
    UploadGone,
    WriteOutcome,
    WriteRefused,
)
from addon.store.records import Extent, NewObject, ObjectPart, ObjectRecord, Provenance, Tombstone, is_ours_alone

logger = logging.getLogger(__name__)

# A write waits no longer than this for others of the same key.
TURN_WAIT_S_MAX = 60.0
# Deletes at the origin at once for one DeleteObjects.
DELETES_AT_ONCE_MAX = 16

T = TypeVar("T")


class Turns:
    """One write of a key at a time."""

    def __init__(self) -> None:
        self._locks: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}

    @contextlib.asynccontextmanager
    async def of(self, bucket: str, key: str) -> AsyncGenerator[None, None]:
        """Hold the key's turn. Raises `OriginUnavailable` where it does not come within `TURN_WAIT_S_MAX`."""
        place = bucket, key
        lock, users = self._locks.get(place, (asyncio.Lock(), 0))
        self._locks[place] = lock, users + 1
        try:
            try:
                async with asyncio.timeout(TURN_WAIT_S_MAX):
                    await lock.acquire()
            except TimeoutError:
                raise OriginUnavailable("other writes of the key take too long") from None
            try:
                yield
            finally:
                lock.release()
        finally:
            lock, users = self._locks[place]
            if users == 1:
                del self._locks[place]
            else:
                self._locks[place] = lock, users - 1


class WriteThrough:
    """Implements `store.ports.Commits`. Buckets whose writes go to Telegram alone are the index's affair as ever."""

    def __init__(
        self,
        store: ObjectStore,
        origins: Mapping[str, Origin | None],
        policies: BucketPolicies,
        origin_writes: OriginWrites,
    ) -> None:
        self._store, self._index = store, store.index
        self._origins, self._policies, self._origin_writes = origins, policies, origin_writes
        self.turns = Turns()

    async def put_object(self, new: NewObject, *, condition: WriteCondition | None = None) -> ObjectRecord:
        """See `Index.put_object`."""
        origin = self._origin_for_writes(new.bucket)
        if origin is None:
            return await self._index.put_object(new, condition=condition)
        return await self._through(
            (new.bucket, new.key),
            condition,
            at_origin=lambda: self._upload(origin, _record_of(new), ()),
            commit=lambda: self._index.put_object(new),
        )

    async def copy_object(
        self, source: ObjectRecord, new: NewObject, *, condition: WriteCondition | None = None
    ) -> ObjectRecord:
        """See `Index.copy_object`."""
        origin = self._origin_for_writes(new.bucket)
        if origin is None:
            return await self._index.copy_object(source, new, condition=condition)
        made = replace(_record_of(new), size=source.size, extents=source.extents, parts_count=source.parts_count)

        async def at_origin() -> None:
            await self._upload(origin, made, await self._parts_of(source))

        return await self._through(
            (new.bucket, new.key),
            condition,
            at_origin=at_origin,
            commit=lambda: self._index.copy_object(source, new),
        )

    async def change_object(
        self, record: ObjectRecord, *, tags: Mapping[str, str] | None = None, anonymous_read: bool | None = None
    ) -> ObjectRecord:
        """See `Index.change_object`. An object that the origin does not have goes there with its new description."""
        origin = self._origin_for_writes(record.bucket)
        if origin is None:
            return await self._index.change_object(record, tags=tags, anonymous_read=anonymous_read)
        return await self._through(
            (record.bucket, record.key),
            None,
            at_origin=lambda: self._describe(origin, record, tags, anonymous_read),
            commit=lambda: self._index.change_object(record, tags=tags, anonymous_read=anonymous_read),
        )

    async def delete_object(
        self, bucket: str, key: str, *, now_s: float, condition: WriteCondition | None = None
    ) -> Tombstone:
        """See `Index.delete_object`."""
        origin = self._origin_for_writes(bucket)
        if origin is None:
            return await self._index.delete_object(bucket, key, now_s=now_s, condition=condition)
        return await self._through(
            (bucket, key),
            condition,
            at_origin=lambda: _delete(origin, key),
            commit=lambda: self._index.delete_object(bucket, key, now_s=now_s),
        )

    async def delete_objects(
        self, bucket: str, deletions: Sequence[Deletion], *, now_s: float
    ) -> Sequence[Tombstone | StoreError | S3Error]:
        """See `Index.delete_objects`; but each key is a write of its own, which may fail by itself."""
        if self._origin_for_writes(bucket) is None:
            return await self._index.delete_objects(bucket, deletions, now_s=now_s)
        outcomes: dict[int, Tombstone | StoreError | S3Error] = {}
        left = iter(enumerate(deletions))

        async def worker() -> None:
            for place, deletion in left:
                try:
                    outcomes[place] = await self.delete_object(
                        bucket, deletion.key, now_s=now_s, condition=deletion.condition
                    )
                except (StoreError, S3Error) as failure:
                    outcomes[place] = failure

        async with asyncio.TaskGroup() as workers:
            for _ in range(min(DELETES_AT_ONCE_MAX, len(deletions))):
                workers.create_task(worker())
        return [outcomes[place] for place in range(len(deletions))]

    async def complete_upload(self, completion: Completion, *, condition: WriteCondition | None = None) -> ObjectRecord:
        """See `Index.complete_upload`. The origin gets the same parts, so the object has the same ETag there."""
        upload = await self._index.upload(completion.upload_id)
        if upload is None:
            raise UploadGone("there is no such upload")
        origin = self._origin_for_writes(upload.bucket)
        if origin is None:
            return await self._index.complete_upload(completion, condition=condition)
        extents: list[Extent] = []
        for part in completion.parts:
            extents += await self._index.part_extents(completion.upload_id, part.number)
        made = ObjectRecord(
            bucket=upload.bucket,
            key=upload.key,
            generation=0,
            size=sum(part.size for part in completion.parts),
            etag=completion.etag,
            last_modified_s=completion.last_modified_s,
            provenance=Provenance.WRITTEN_HERE,
            anonymous_read=upload.anonymous_read,
            headers=upload.headers,
            checksums=completion.checksums,
            extents=tuple(extents),
            tags=upload.tags,
            parts_count=len(completion.parts),
        )
        parts = [ObjectPart(part.number, part.size, part.checksums) for part in completion.parts]
        return await self._through(
            (upload.bucket, upload.key),
            condition,
            at_origin=lambda: self._upload(origin, made, parts),
            commit=lambda: self._index.complete_upload(completion),
        )

    def _origin_for_writes(self, bucket: str) -> Origin | None:
        """The origin that has to have a write of this bucket now; None where the index alone has it."""
        if self._policies.of(bucket).writes_now is Writes.TELEGRAM:
            return None
        return self._origins.get(bucket)

    async def _through(
        self,
        place: tuple[str, str],
        condition: WriteCondition | None,
        *,
        at_origin: Callable[[], Awaitable[None]],
        commit: Callable[[], Awaitable[T]],
    ) -> T:
        """One write: its turn, its condition, the origin, the index."""
        bucket, key = place
        async with self.turns.of(bucket, key):
            await self._judge(bucket, key, condition)
            write = await self._origin_writes.begin(bucket, key)
            # Of a write that the index took in the end nothing is left to be decided: see `Index.end_origin_write`.
            outcome = WriteOutcome.UNKNOWN
            try:
                try:
                    await at_origin()
                except (OriginRefused, OriginUnreachable):
                    outcome = WriteOutcome.REFUSED
                    raise
                result = await commit()
                if self._policies.of(bucket).writes_now is Writes.ORIGIN or self._origin_writes.was_crossed(write):
                    await self._index.supersede(bucket, key)
                return result
            finally:
                await self._origin_writes.end(write, outcome)

    async def _judge(self, bucket: str, key: str, condition: WriteCondition | None) -> None:
        """Raises `WriteRefused` where the condition does not hold now."""
        if condition is None:
            return
        if await self._index.has_origin_write(bucket, key):
            raise WriteRefused(Verdict.CONFLICT)
        state = await self._index.key_state(bucket, key)
        if state is None:
            condition = replace(condition, at_origin=await facts_at_origin(self._origins, bucket, key))
        verdict = judge(condition, state)
        if verdict is not Verdict.HOLDS:
            raise WriteRefused(verdict)

    async def _upload(self, origin: Origin, record: ObjectRecord, parts: Sequence[ObjectPart]) -> None:
        for left_out in await upload_to_origin(self._store, origin, record, parts):
            printable_key = record.key.encode("unicode_escape").decode()
            logger.warning("%s/%s is at the origin without %s", record.bucket, printable_key, left_out)

    async def _parts_of(self, record: ObjectRecord) -> Sequence[ObjectPart]:
        return await self._index.object_parts(record) if record.parts_count else ()

    async def _describe(
        self, origin: Origin, record: ObjectRecord, tags: Mapping[str, str] | None, anonymous_read: bool | None
    ) -> None:
        """Raises `SourceChanged` where the origin holds another object than our copy of it."""
        there = await facts_at_origin(self._origins, record.bucket, record.key)
        if there is None or (there.etag, there.size) != (record.etag, record.size):
            if not is_ours_alone(record):
                raise SourceChanged("the origin holds another object than the copy")
            described = replace(
                record,
                tags=record.tags if tags is None else tags,
                anonymous_read=record.anonymous_read if anonymous_read is None else anonymous_read,
            )
            await self._upload(origin, described, await self._parts_of(record))
            return
        if tags is not None:
            await _put_tags(origin, record.key, tags)
        if anonymous_read is not None:
            acl = "public-read" if anonymous_read else "private"
            await _send(origin, OriginRequest("PUT", encode_key(record.key), "acl", [(CANNED, acl)]))


def _record_of(new: NewObject) -> ObjectRecord:
    """What is to be written, before the index has it."""
    return ObjectRecord(
        bucket=new.bucket,
        key=new.key,
        generation=0,
        size=new.size,
        etag=new.etag,
        last_modified_s=new.last_modified_s,
        provenance=new.provenance,
        anonymous_read=new.anonymous_read,
        headers=new.headers,
        checksums=new.checksums,
        extents=new.extents,
        tags=new.tags,
    )


async def _delete(origin: Origin, key: str) -> None:
    """A key that is not there is deleted."""
    await _send(origin, OriginRequest("DELETE", encode_key(key), "", []), also=frozenset({HTTPStatus.NOT_FOUND}))


async def _put_tags(origin: Origin, key: str, tags: Mapping[str, str]) -> None:
    if not tags:
        await _send(origin, OriginRequest("DELETE", encode_key(key), "tagging", []))
        return
    body = tagging_xml(tags)

    async def once() -> AsyncGenerator[bytes, None]:
        yield body

    headers = [
        ("content-type", "application/xml"),
        ("content-md5", base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()),
    ]
    await _send(
        origin,
        OriginRequest(
            "PUT",
            encode_key(key),
            "tagging",
            headers,
            body=once(),
            content_length=len(body),
            payload_sha256=hashlib.sha256(body).hexdigest(),
        ),
    )


async def _send(origin: Origin, request: OriginRequest, *, also: frozenset[int] = frozenset()) -> None:
    """Raises what an answer means that is neither a success nor one of `also`."""
    async with origin.send(request) as answer:
        if not (200 <= answer.status < 300 or answer.status in also):
            raise await origin.failure(answer)
