"""CopyObject and UploadPartCopy.

A copy of what is held here writes the index and nothing else: the same documents in Telegram hold both. What only the origin has is
read there, verified as a background copy is, and stored here. Who may read the source is decided in `copy_sources`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TypeVar

from addon.s3.checksums import BodyDigests
from addon.s3.copies import (
    SOURCE_BYTES_MAX,
    CopyWish,
    asked_range,
    check_self_copy,
    check_size,
    check_source,
    copy_result,
    copy_wish,
    source_of,
    within,
)
from addon.s3.copy_source import CopySource
from addon.s3.errors import S3Error
from addon.s3.ranges import ByteRange
from addon.service.authorize import Call
from addon.service.body import whole_body
from addon.service.conditions import Conditions, refusal
from addon.service.copy_sources import CopySources, OpenedSource
from addon.service.forward import Forwarder
from addon.service.multipart import may_be_at_origin, no_such_upload, plan_of, upload_id_of
from addon.service.objects import commit_conditionally
from addon.service.origin_only import OriginOnly
from addon.service.request import Answer
from addon.service.slow_answers import answer_when_done
from addon.service.upload_slots import UploadSlots
from addon.store.conditions import ObjectFacts, Verdict, WriteCondition
from addon.store.extent_ranges import ExtentRange
from addon.store.multipart import MultipartUpload, NewPart
from addon.store.object_store import Description, ObjectStore
from addon.store.ports import OriginChanged, SourceChanged, WriteRefused
from addon.store.records import NewObject, ObjectRecord, Provenance, is_ours_alone
from addon.store.whole_object import check_whole, told_checksums
from addon.store.writer import Upload

# How often a source that is replaced while it is copied is looked at anew, before the client is told to try again.
LOOKS_MAX = 4

Made = TypeVar("Made")


class CopyHandlers:
    """The two operations. Of the origin's objects at most `object_bytes_max` bytes are taken at once."""

    def __init__(
        self,
        store: ObjectStore,
        sources: CopySources,
        conditions: Conditions,
        slots: UploadSlots,
        forwarder: Forwarder,
        origin_only: OriginOnly,
        *,
        object_bytes_max: int,
    ) -> None:
        self._origin_only = origin_only
        self._store, self._sources, self._conditions = store, sources, conditions
        self._slots, self._forwarder = slots, forwarder
        self._fetch_bytes_max = min(SOURCE_BYTES_MAX, object_bytes_max)

    async def copy_object(self, call: Call) -> Answer:
        """CopyObject, onto itself too."""
        wish = self.check_copy_headers(call)
        await _check_body(call)
        if self._origin_only.takes(call) and await self._is_at_origin(call, wish.source):
            return await self._origin_only.write(call)

        async def copied() -> bytes:
            record = await _while_it_changes(lambda: self._copy(call, wish))
            return copy_result(
                "CopyObjectResult",
                etag=record.etag,
                last_modified_s=record.last_modified_s,
                checksums=record.checksums,
            )

        return await answer_when_done(call.request, copied)

    def check_copy_headers(self, call: Call) -> CopyWish:
        """Everything of a CopyObject that its headers alone show to be wrong. Raises S3Error."""
        _check_caller(call)
        self._conditions.has_condition(call)
        return copy_wish(call.headers)

    async def upload_part_copy(self, call: Call) -> Answer:
        """UploadPartCopy: a part made of an object, or of a range of its bytes."""
        source, asked = self.check_part_headers(call)
        await _check_body(call)
        index, upload_id = self._store.index, upload_id_of(call)
        upload = await index.upload(upload_id)
        if upload is None:
            if not may_be_at_origin(call):
                raise no_such_upload(call)
            return await self._part_at_origin(call, source, asked)
        if (upload.bucket, upload.key) != (call.bucket.name, call.target.key):
            raise no_such_upload(call)

        async def copied() -> bytes:
            part = await _while_it_changes(lambda: self._copy_part(call, upload, source, asked))
            return copy_result(
                "CopyPartResult", etag=part.md5_hex, last_modified_s=part.modified_at_s, checksums=part.checksums
            )

        return await answer_when_done(call.request, copied)

    def check_part_headers(self, call: Call) -> tuple[CopySource, tuple[int, int] | None]:
        """Everything of an UploadPartCopy that its headers alone show to be wrong. Raises S3Error."""
        _check_caller(call)
        return source_of(call.headers), asked_range(call.headers)

    async def _is_at_origin(self, call: Call, source: CopySource) -> bool:
        """Whether the origin has the source, as it is here, and can copy it itself. Raises what the caller may not read."""
        held = await self._sources.held(call, source)
        return not is_ours_alone(held) and self._forwarder.reaches(call, source)

    async def _part_at_origin(self, call: Call, source: CopySource, asked: tuple[int, int] | None) -> Answer:
        """A part of an upload that was begun at the origin. A source that only we hold goes there as the part's bytes."""
        held = await self._sources.held(call, source)
        if held is None or (not is_ours_alone(held) and self._forwarder.reaches(call, source)):
            return await self._forwarder.forward(call)
        check_source(call.headers, etag=held.etag, last_modified_s=held.last_modified_s)
        part = within(asked, held.size)

        async def sent() -> bytes:
            with self._slots.one():
                async with contextlib.aclosing(self._store.read(held, part.start, part.length)) as pieces:
                    etag = await self._forwarder.send_part(call, pieces, part.length)
            now_s = int(self._store.now_s())
            return copy_result("CopyPartResult", etag=etag, last_modified_s=now_s, checksums={})

        return await answer_when_done(call.request, sent)

    async def _copy(self, call: Call, wish: CopyWish) -> ObjectRecord:
        held = await self._sources.held(call, wish.source)
        if held is None:
            return await self._copy_from_origin(call, wish)
        check_source(call.headers, etag=held.etag, last_modified_s=held.last_modified_s)
        check_self_copy(wish, call.bucket.name, call.target.key)
        check_size(held.size, SOURCE_BYTES_MAX)
        tags = self._sources.tags_here(call, wish.source, held) if wish.keeps_tags else {}
        checksums = held.checksums
        if wish.checksum_algorithm is not None and wish.lacks_checksum(checksums):
            checksums = await self._computed_checksum(held, wish.checksum_algorithm)
        new = NewObject(
            bucket=call.bucket.name,
            key=call.target.key,
            size=held.size,
            etag=held.etag,
            last_modified_s=int(self._store.now_s()),
            provenance=Provenance.WRITTEN_HERE,
            anonymous_read=wish.new.anonymous_read,
            headers=wish.headers_of_copy(held.headers),
            checksums=checksums,
            extents=(),
            tags=wish.tags_of_copy(tags),
        )
        condition = await self._conditions.of_write(call)
        try:
            return await self._store.commits.copy_object(held, new, condition=condition)
        except WriteRefused as error:
            raise refusal(error, new.key, condition) from None

    async def _copy_from_origin(self, call: Call, wish: CopyWish) -> ObjectRecord:
        await self._conditions.of_write(call)
        with self._slots.one():
            async with self._sources.at_origin(call, wish.source) as source:
                about = source.about
                check_source(call.headers, etag=about.etag, last_modified_s=about.last_modified_s)
                check_self_copy(wish, call.bucket.name, call.target.key)
                check_size(source.size, self._fetch_bytes_max)
                tags: Mapping[str, str] = {}
                if wish.keeps_tags:
                    tags = await self._sources.tags_at_origin(call, wish.source, source)
                wanted = wish.checksum_algorithm if wish.lacks_checksum(about.checksums) else None
                digests = BodyDigests(told_checksums(about) | ({wanted} if wanted is not None else set()))
                async with self._taken(call, source, digests) as upload:
                    check_whole(about, upload, digests)
                    checksums = about.checksums
                    if wanted is not None:
                        checksums = {wanted: digests.checksum(wanted), "type": "FULL_OBJECT"}
                    description = Description(
                        etag=about.etag,
                        last_modified_s=int(self._store.now_s()),
                        anonymous_read=wish.new.anonymous_read,
                        headers=wish.headers_of_copy(about.headers),
                        checksums=checksums,
                        tags=wish.tags_of_copy(tags),
                    )
                    return await self._commit(call, wish, source, upload, description)

    async def _commit(
        self, call: Call, wish: CopyWish, source: OpenedSource, upload: Upload, description: Description
    ) -> ObjectRecord:
        bucket, key = call.bucket.name, call.target.key
        if wish.source != CopySource(bucket, key, None):
            return await commit_conditionally(self._store, self._conditions, call, upload, description)
        # In its source's place a copy may only replace what it was made of: a write that came in between must not be undone.
        await self._store.send(upload, bucket, key, description)
        about = source.about
        unchanged = WriteCondition(
            etag=about.etag, at_origin=ObjectFacts(about.etag, source.size, about.last_modified_s)
        )
        condition = await self._conditions.of_write(call)
        if condition is not None and condition.etag != about.etag:
            raise refusal(WriteRefused(Verdict.CONFLICT), key, condition)
        try:
            return await self._store.commit(upload, bucket, key, description, condition=unchanged)
        except WriteRefused:
            raise SourceChanged("the object was replaced while it was copied onto itself") from None

    async def _copy_part(
        self, call: Call, upload: MultipartUpload, source: CopySource, asked: tuple[int, int] | None
    ) -> NewPart:
        held = await self._sources.held(call, source)
        if held is None:
            return await self._copy_part_from_origin(call, upload, source, asked)
        check_source(call.headers, etag=held.etag, last_modified_s=held.last_modified_s)
        part = within(asked, held.size)
        check_size(part.length, SOURCE_BYTES_MAX)
        algorithm = plan_of(upload).computed
        digests, extents = BodyDigests({algorithm}), ExtentRange(held.extents, part.start, part.length)

        def observe(piece: bytes) -> None:
            digests.update(piece)
            extents.update(piece)

        await self._read(held, part, observe)
        new = NewPart(
            number=_part_number(call),
            size=part.length,
            md5_hex=digests.md5_hex(),
            checksums={algorithm: digests.checksum(algorithm)},
            modified_at_s=int(self._store.now_s()),
            extents=extents.extents(),
        )
        # In the same transaction the source must still be there: the documents of one that is gone may be cleared away.
        await self._store.index.put_part(upload.upload_id, new, source=held)
        return new

    async def _copy_part_from_origin(
        self, call: Call, upload: MultipartUpload, source: CopySource, asked: tuple[int, int] | None
    ) -> NewPart:
        algorithm = plan_of(upload).computed
        with self._slots.one():
            async with self._sources.at_origin(call, source, asked) as opened:
                about = opened.about
                check_source(call.headers, etag=about.etag, last_modified_s=about.last_modified_s)
                check_size(opened.part.length, self._fetch_bytes_max)
                is_whole = opened.part.length == opened.size
                digests = BodyDigests({algorithm} | (told_checksums(about) if is_whole else set()))
                async with self._taken(call, opened, digests) as taken:
                    if is_whole:
                        check_whole(about, taken, digests)
                    return await self._store.commit_part(
                        taken,
                        upload.upload_id,
                        _part_number(call),
                        md5_hex=digests.md5_hex(),
                        checksums={algorithm: digests.checksum(algorithm)},
                    )

    @contextlib.asynccontextmanager
    async def _taken(self, call: Call, source: OpenedSource, digests: BodyDigests) -> AsyncIterator[Upload]:
        """The source's bytes on their way into Telegram, all of them observed and as many as were announced. Raises `OriginChanged`
        where they are not: a length beside chunks binds nobody below."""
        async with self._store.upload(call.bucket.name, call.target.key, digests.update) as upload:
            async for piece in source.body:
                await upload.write(piece)
            await upload.seal()
            if upload.size != source.part.length:
                raise OriginChanged(f"the origin announced {source.part.length} bytes and sent {upload.size}")
            yield upload

    async def _computed_checksum(self, record: ObjectRecord, algorithm: str) -> Mapping[str, str]:
        digests = BodyDigests({algorithm})
        await self._read(record, ByteRange(0, record.size), digests.update)
        return {algorithm: digests.checksum(algorithm), "type": "FULL_OBJECT"}

    async def _read(self, record: ObjectRecord, part: ByteRange, observe: Callable[[bytes], None]) -> None:
        """Give bytes that are held here to `observe`, in order, in a worker thread. What is made of them shares their documents, so
        it is these that are read, although the origin may have the same bytes."""
        if not part.length:
            return
        with self._slots.one():
            async with contextlib.aclosing(self._store.read_here(record, part.start, part.length)) as pieces:
                async for piece in pieces:
                    await asyncio.to_thread(observe, piece)


def _check_caller(call: Call) -> None:
    if call.verified is None:
        raise S3Error("AccessDenied", "Access Denied")


async def _check_body(call: Call) -> None:
    """A copy has no body; one that only announces itself (chunked, and nothing comes) is none. Raises InvalidRequest."""
    try:
        await whole_body(call, bytes_max=0)
    except S3Error as error:
        if error.code != "EntityTooLarge":
            raise
        raise S3Error("InvalidRequest", "A copy takes no body: its bytes are those of the source.") from None


def _part_number(call: Call) -> int:
    number = call.target.part_number
    assert number is not None  # noqa: S101 -- without it the target is no UploadPartCopy
    return number


async def _while_it_changes(attempt: Callable[[], Awaitable[Made]]) -> Made:
    """Try again while the source is replaced under the copy. Raises `SourceChanged` where it never stays the same."""
    for _ in range(LOOKS_MAX - 1):
        with contextlib.suppress(SourceChanged):
            return await attempt()
    return await attempt()
