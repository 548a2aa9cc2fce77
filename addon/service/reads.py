"""GET and HEAD of objects."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping

from addon.s3.errors import S3Error
from addon.s3.ranges import ByteRange
from addon.s3.reads import PartOfObject, answer_read
from addon.service.absent import AbsentKeys, is_plain_read
from addon.service.authorize import Call
from addon.service.forward import Forwarder
from addon.service.missing import MissingAnswers
from addon.service.origin_writes import OriginWrites
from addon.service.request import Answer
from addon.store.freshness import Freshness
from addon.store.object_store import ObjectStore
from addon.store.ports import SourceChanged
from addon.store.records import ObjectPart, ObjectRecord, Provenance, Tombstone, is_ours_alone

NULL_VERSION = "null"

# An object may be replaced between two looks at it; after this many times the client is told.
READS_MAX = 3


class ReadHandlers:
    """GetObject and HeadObject: from here where the key is held or was deleted here, else from the origin."""

    def __init__(
        self,
        store: ObjectStore,
        forwarder: Forwarder,
        origin_writes: OriginWrites,
        missing: MissingAnswers,
        freshness: Freshness,
        absent: AbsentKeys,
    ) -> None:
        self._store, self._forwarder, self._origin_writes = store, forwarder, origin_writes
        self._missing, self._freshness, self._absent = missing, freshness, absent

    async def get(self, call: Call) -> Answer:
        """GetObject and HeadObject."""
        for _ in range(READS_MAX - 1):
            try:
                return await self._get(call)
            except SourceChanged:
                continue
        return await self._get(call)

    async def _get(self, call: Call) -> Answer:
        """Raises `SourceChanged` where the object was replaced before its parts were looked up."""
        state = await self._store.state(call.bucket.name, call.target.key)
        is_absent = isinstance(state, Tombstone) or (state is None and call.bucket.origin is None)
        if call.verified is None:
            if is_absent and call.target.version_id is None:
                raise await self._missing.refusal(call)
            record = readable_by_anyone(call, state)
            if call.target.version_id is not None or _parts_are_the_origins(call, record):
                raise S3Error("AccessDenied", "Access Denied")
            return await self._answer(call, record)
        if call.target.version_id is not None and not is_the_version(call, state):
            return await of_other_version(call, self._forwarder)
        if is_absent:
            raise await self._missing.refusal(call) if call.target.version_id is None else no_such_version(call)
        if not isinstance(state, ObjectRecord) or self._may_be_stale(state):
            return await self._miss(call, known_here=isinstance(state, ObjectRecord))
        if _parts_are_the_origins(call, state):
            return await self._forwarder.forward(call)
        return await self._answer(call, state)

    async def _miss(self, call: Call, *, known_here: bool) -> Answer:
        """A read of what only the origin has, unless it said a moment ago that it has nothing."""
        bucket, key = call.bucket.name, call.target.key
        if known_here or not is_plain_read(call.target, call.request.raw_query, call.headers):
            return await self._forwarder.read_miss(call)
        if self._absent.is_known(bucket, key, anonymous=False):
            raise no_such_key(key)
        question = self._absent.question()
        answer = await self._forwarder.read_miss(call)
        self._absent.answered(question, bucket, key, anonymous=False, status=answer.status, headers=answer.headers)
        return answer

    async def _answer(self, call: Call, record: ObjectRecord) -> Answer:
        self._freshness.served(record)
        part = None
        if call.target.part_number is not None:
            part = await self._part(record, call.target.part_number)
        answer = answer_read(
            record,
            call.request.method,
            call.headers,
            call.request.raw_query,
            signed=call.verified is not None,
            part=part,
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

    async def _part(self, record: ObjectRecord, number: int) -> PartOfObject:
        """One part of an object that is held here; one that was written in one piece is its own first part."""
        if not record.parts_count:
            if number != 1:
                raise _no_such_part(number, 1)
            return PartOfObject(ByteRange(0, record.size) if record.size else None, record.checksums)
        start = 0
        for part in await self._store.index.object_parts(record):
            if part.number == number:
                found = ByteRange(start, part.size) if part.size else None
                return PartOfObject(found, checksums_of_part(record, part), record.parts_count)
            start += part.size
        raise _no_such_part(number, record.parts_count)

    def _may_be_stale(self, record: ObjectRecord) -> bool:
        return record.provenance is Provenance.COPIED_FROM_ORIGIN and self._origin_writes.under_way(
            record.bucket, record.key
        )


def is_the_version(call: Call, state: ObjectRecord | Tombstone | None) -> bool:
    """Whether the version that is asked for is the current one here, be that an object or nothing.

    What was written or deleted here is the version `null`, as in a bucket without versioning. Which version a copy is, is the
    origin's to say as long as there is one.
    """
    if is_ours_alone(state):
        return call.target.version_id == NULL_VERSION
    if call.bucket.origin is not None:
        return False
    told = state.headers.get("x-amz-version-id") if isinstance(state, ObjectRecord) else None
    return call.target.version_id == (told or NULL_VERSION)


async def of_other_version(call: Call, forwarder: Forwarder) -> Answer:
    """A request for a version that is not held here: the origin may have it. Raises NoSuchVersion where there is none."""
    if call.bucket.origin is None:
        raise no_such_version(call)
    return await forwarder.forward(call)


def no_such_version(call: Call) -> S3Error:
    """404, with the key and the version."""
    return S3Error(
        "NoSuchVersion",
        "The specified version does not exist.",
        details={"Key": call.target.key, "VersionId": call.target.version_id or NULL_VERSION},
    )


def checksums_of_part(record: ObjectRecord, part: ObjectPart) -> Mapping[str, str]:
    """The part's values of the algorithms that the object has a checksum of, and the object's checksum type."""
    shown = {name: value for name, value in part.checksums.items() if name in record.checksums}
    return {**shown, "type": record.checksums["type"]} if shown and "type" in record.checksums else shown


def _parts_are_the_origins(call: Call, record: ObjectRecord) -> bool:
    """Whether a part is asked for, and only the origin knows of which parts the object was made."""
    if call.target.part_number is None:
        return False
    return record.provenance is Provenance.COPIED_FROM_ORIGIN and call.bucket.origin is not None


def _no_such_part(number: int, parts_count: int) -> S3Error:
    return S3Error(
        "InvalidPartNumber",
        "The requested partnumber is not satisfiable",
        details={"PartNumberRequested": str(number), "ActualPartCount": str(parts_count)},
    )


def readable_by_anyone(call: Call, state: ObjectRecord | Tombstone | None) -> ObjectRecord:
    """The object, if a stranger may have it from us; else the refusal that S3 would give somebody without rights."""
    if isinstance(state, ObjectRecord) and (state.anonymous_read or call.bucket.anonymous_read):
        return state
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
