"""The object store: what keeping an object means, on top of the ports.

Order of every write (design, promises 1 and 2): bytes into Telegram, then one index transaction that makes them current, then
the acknowledgement. Whatever fails before that transaction leaves the former object as it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path

from addon.s3.keys import encode_key
from addon.store.conditions import WriteCondition
from addon.store.multipart import NewPart
from addon.store.pack_format import ItemAbout, ItemKind
from addon.store.packer import Packer, Urgency
from addon.store.ports import (
    Commits,
    DocumentCorrupt,
    DocumentLost,
    Documents,
    Index,
    Origin,
    OriginRequest,
    OriginUnavailable,
    StoreError,
    TelegramUnavailable,
)
from addon.store.reader import Reader
from addon.store.records import CopyJob, NewObject, ObjectRecord, Provenance, Tombstone
from addon.store.spool_folder import SpoolFolder
from addon.store.spooled_documents import DocumentMoved
from addon.store.writer import Upload

logger = logging.getLogger(__name__)

# A pack ends the waiting of thousands of copies at once; so many at most stand in the index's queue before what clients do.
COPY_COMMITS_MAX = 64

# So often a read goes on at another place because the object's bytes were moved under it.
MOVES_FOLLOWED_MAX = 8


@dataclass(frozen=True, slots=True)
class Description:
    """What a new object is besides its bytes; the fields of `ObjectRecord` of the same names."""

    etag: str
    last_modified_s: int
    anonymous_read: bool
    headers: Mapping[str, str]
    checksums: Mapping[str, str]
    tags: Mapping[str, str] = field(default_factory=dict)


class ObjectStore:
    """Objects in Telegram, found through the index.

    `origins` gives each bucket's origin (None where it has none): where Telegram fails, an object that is only a copy is read
    there, as long as it is the same one. Uploads are sent from `spool_dir`; with `keeps_writes_here` what is acknowledged waits in
    `spool` instead, from where all that waits is read.
    """

    def __init__(
        self,
        *,
        index: Index,
        documents: Documents,
        packer: Packer,
        reader: Reader,
        origins: Mapping[str, Origin | None],
        spool_dir: Path,
        spool: SpoolFolder,
        keeps_writes_here: bool = False,
        now_s: Callable[[], float] = time.time,
        randbelow: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        self.index = index
        self.commits: Commits = index
        """Where writes become current; see `commit_through`."""
        self._documents, self._reader, self._origins = documents, reader, origins
        self._copy_commits = asyncio.Semaphore(COPY_COMMITS_MAX)
        self.packer = packer
        """What sends small documents together, and tells the states of keys."""
        self.spool_dir = spool_dir
        self._spool, self._keeps_writes_here = spool, keeps_writes_here
        self.now_s, self._randbelow = now_s, randbelow

    def open(self) -> None:
        """Make the spool folder and clear what a killed process left there. Raises OSError where it cannot be used."""
        self.spool_dir.mkdir(parents=True, exist_ok=True)
        for left_over in self.spool_dir.glob("*.part"):
            left_over.unlink(missing_ok=True)

    def commit_through(self, commits: Commits) -> None:
        """Let writes become current there instead of in the index at once."""
        self.commits = commits

    async def state(self, bucket: str, key: str) -> ObjectRecord | Tombstone | None:
        """See `Index.key_state`."""
        return await self.index.key_state(bucket, key)

    def upload(
        self, bucket: str, key: str, observe: Callable[[bytes], None], *, urgency: Urgency = Urgency.LIVE
    ) -> Upload:
        """Begin to take an object's bytes; `commit` or `commit_copy` ends it. What nobody waits for is sent to Telegram always."""
        return Upload(
            bucket=bucket,
            key=key,
            documents=self._documents,
            packer=self.packer,
            index=self.index,
            spool_dir=self.spool_dir,
            urgency=urgency,
            observe=observe,
            now_s=self.now_s,
            randbelow=self._randbelow,
            spool=self._spool if self._keeps_writes_here and urgency is Urgency.LIVE else None,
        )

    async def send(self, upload: Upload, bucket: str, key: str, description: Description) -> None:
        """Send what is left of a verified upload, of which `commit` then only has to make the object."""
        new = _new_object(bucket, key, upload.size, Provenance.WRITTEN_HERE, description)
        await upload.finish(_about(new))

    async def commit(
        self,
        upload: Upload,
        bucket: str,
        key: str,
        description: Description,
        *,
        condition: WriteCondition | None = None,
    ) -> ObjectRecord:
        """Make a verified upload the current object. Durable when it returns. Raises `WriteRefused` where `condition` does not
        hold."""
        new = _new_object(bucket, key, upload.size, Provenance.WRITTEN_HERE, description)
        new = replace(new, extents=await upload.finish(_about(new)))
        # First, because what is committed elsewhere too is read for that.
        self._keep(new, upload)
        record = await self.commits.put_object(new, condition=condition)
        upload.committed()
        return record

    async def commit_part(
        self, upload: Upload, upload_id: str, number: int, *, md5_hex: str, checksums: Mapping[str, str]
    ) -> NewPart:
        """Make a verified upload a part of a multipart upload. Durable when it returns. Raises `UploadGone`."""
        extents = await upload.finish(
            ItemAbout(
                bucket=upload.bucket,
                key=upload.key,
                kind=ItemKind.PART,
                size=upload.size,
                etag=md5_hex,
                checksums=checksums,
                upload_id=upload_id,
                part_number=number,
            )
        )
        part = NewPart(number, upload.size, md5_hex, checksums, int(self.now_s()), extents)
        await self.index.put_part(upload_id, part)
        upload.committed()
        return part

    async def commit_copy(
        self, upload: Upload, job: CopyJob, description: Description, *, queued: Callable[[], None] = lambda: None
    ) -> ObjectRecord | None:
        """Make a verified copy the current object; None where a newer write or delete won. `queued` is called when nothing is left
        of it but what waits for its pack."""
        new = _new_object(job.bucket, job.key, upload.size, Provenance.COPIED_FROM_ORIGIN, description)
        new = replace(new, extents=await upload.finish(_about(new), queued=queued))
        async with self._copy_commits:
            record = await self.index.commit_copy(job, new)
        upload.committed()
        if record is not None:
            self._keep(record, upload)
        return record

    async def delete(self, bucket: str, key: str, *, condition: WriteCondition | None = None) -> Tombstone:
        """Put a tombstone in the place of the key. Durable when it returns. Raises `WriteRefused`."""
        return await self.commits.delete_object(bucket, key, now_s=self.now_s(), condition=condition)

    async def forget_documents(self, document_ids: Collection[str]) -> None:
        """These documents are erased: no cache is to have anything of them any more."""
        await self._reader.forget(document_ids)

    def in_memory(self, record: ObjectRecord) -> bytes | None:
        """The whole object's bytes where they are in memory."""
        return self._reader.in_memory(record)

    async def read(self, record: ObjectRecord, start: int, length: int) -> AsyncGenerator[bytes, None]:
        """`length` bytes from `start`. Raises `StoreError` where they cannot be had right now; never gives wrong bytes."""
        given = 0
        try:
            async with contextlib.aclosing(self.read_here(record, start, length)) as pieces:
                async for piece in pieces:
                    given += len(piece)
                    yield piece
        except (TelegramUnavailable, DocumentLost, DocumentCorrupt) as failure:
            if record.provenance is not Provenance.COPIED_FROM_ORIGIN:
                raise
            async for piece in self._read_at_origin(record, start + given, length - given, failure):
                yield piece

    async def read_here(self, record: ObjectRecord, start: int, length: int) -> AsyncGenerator[bytes, None]:
        """The same without the origin's help: for who makes something new of the documents, or wants to know what is here. Where
        the object's bytes are moved to other documents meanwhile, it goes on there."""
        given = 0
        for moves_left in reversed(range(MOVES_FOLLOWED_MAX + 1)):
            try:
                with self.holding(record):
                    pieces = self._reader.read(record, start + given, length - given)
                    async with contextlib.aclosing(pieces):
                        async for piece in pieces:
                            given += len(piece)
                            yield piece
                return
            except DocumentLost as failure:
                if not moves_left:
                    raise
                record = await self._where_it_is_now(record, failure)

    def holding(self, record: ObjectRecord) -> contextlib.AbstractContextManager[None]:
        """Where bytes of the object wait on the local disk, they stay there meanwhile."""
        return self._spool.holding(record.extents)

    async def _where_it_is_now(self, record: ObjectRecord, failure: DocumentLost) -> ObjectRecord:
        """The same object, some of whose bytes were moved to other documents since `record` was read; else `failure`."""
        current = await self.state(record.bucket, record.key)
        if not isinstance(current, ObjectRecord) or current.generation != record.generation:
            raise failure
        if list(current.extents) == list(record.extents):
            if isinstance(failure, DocumentMoved):
                logger.error("document of %s: %s", _printable(record), failure)
            raise failure
        return current

    async def _read_at_origin(
        self, record: ObjectRecord, start: int, length: int, failure: StoreError
    ) -> AsyncGenerator[bytes, None]:
        """The same bytes from the origin, where it still holds the same object; else `failure`."""
        origin = self._origins.get(record.bucket)
        if origin is None:
            raise failure
        entity_tag = f'"{record.etag}"'
        asked_for = f"{start}-{start + length - 1}"
        request = OriginRequest(
            method="GET",
            raw_key=encode_key(record.key),
            raw_query="",
            headers=[
                ("accept-encoding", "identity"),
                ("if-match", entity_tag),
                ("range", f"bytes={asked_for}"),
            ],
        )
        try:
            async with origin.send(request) as answer:
                if answer.status != HTTPStatus.PARTIAL_CONTENT or answer.header("etag") != entity_tag:
                    raise failure
                if answer.header("content-range") != f"bytes {asked_for}/{record.size}":
                    raise failure
                logger.warning("serving %s from the origin: %s", _printable(record), failure)
                async for piece in answer.body:
                    yield piece
        except OriginUnavailable:
            raise failure from None

    def _keep(self, record: ObjectRecord | NewObject, upload: Upload) -> None:
        if upload.only_block is not None:
            self._reader.keep(record, upload.only_block)


def _printable(record: ObjectRecord) -> str:
    return f"{record.bucket}/{record.key.encode('unicode_escape').decode()}"


def _new_object(bucket: str, key: str, size: int, provenance: Provenance, about: Description) -> NewObject:
    """Without its extents."""
    return NewObject(
        bucket=bucket,
        key=key,
        size=size,
        etag=about.etag,
        last_modified_s=about.last_modified_s,
        provenance=provenance,
        anonymous_read=about.anonymous_read,
        headers=about.headers,
        checksums=about.checksums,
        extents=(),
        tags=about.tags,
    )


def _about(new: NewObject) -> ItemAbout:
    return ItemAbout(
        bucket=new.bucket,
        key=new.key,
        kind=ItemKind.OBJECT,
        size=new.size,
        etag=new.etag,
        last_modified_s=new.last_modified_s,
        provenance=new.provenance,
        anonymous_read=new.anonymous_read,
        headers=new.headers,
        checksums=new.checksums,
        tags=new.tags,
    )
