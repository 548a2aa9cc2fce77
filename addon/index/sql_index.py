"""The port `Index` on a SQL database."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sqlalchemy import Connection

from addon.index import copies, imports, listings, objects, origin_writes, queries, schema, upload_queries, uploads
from addon.index.deletions import delete_object, delete_objects
from addon.index.documents import add_documents, give_up, update_file_id
from addon.index.erasure_calls import ErasureCalls
from addon.index.errors import mapped
from addon.index.ledger_calls import LedgerCalls
from addon.index.numbers import next_number
from addon.index.pack_calls import PackCalls
from addon.index.reader import Reader
from addon.index.relocations import relocate
from addon.index.second_copy_calls import SecondCopyCalls
from addon.index.snapshot_calls import SnapshotCalls
from addon.index.snapshots import copy_to
from addon.index.spool_calls import SpoolCalls
from addon.index.sqlite import (
    FileIdentity,
    connect_to_write,
    create_folder,
    create_sqlite_engine,
    is_transaction_lost,
    path_of,
    refuse_while_recovering,
    turn_on_write_ahead_log,
)
from addon.index.tables import UPLOAD_COMPLETED, UPLOAD_OPEN
from addon.index.writer import Writer
from addon.store.conditions import WriteCondition
from addon.store.listed import Deletion, ListedObject, ListedPrefix
from addon.store.multipart import CompletedUpload, Completion, MultipartUpload, NewPart, PartFacts
from addon.store.ports import WriteOutcome, WriteRefused
from addon.store.records import (
    CopyJob,
    CopyOrder,
    CopyState,
    Document,
    Extent,
    Move,
    NewObject,
    ObjectPart,
    ObjectRecord,
    Tombstone,
)
from addon.store.snapshots import CopiedIndex


async def open_index(
    url: str,
    *,
    now_s: Callable[[], float] = time.time,
    busy_timeout_s: float = 10.0,
    reader_threads: int = 2,
    read_queue_length_max: int = 256,
    write_queue_length_max: int = 1024,
    write_group_length_max: int = 128,
) -> SqlIndex:
    """Open the index at `sqlite:///path/to/file.db` (a relative path starts at the current folder).

    A missing file is made together with its folder, and an older one is brought up to date. `now_s` stamps documents (UNIX
    seconds); `busy_timeout_s` is how long another process's write is waited for. Raises ValueError for a URL of another form,
    `IndexUnavailable` where the file cannot be opened or written, is no index, or was written by a newer version.
    """
    path = path_of(url)
    return await asyncio.to_thread(
        _open,
        path,
        now_s=now_s,
        busy_timeout_s=busy_timeout_s,
        reader_threads=reader_threads,
        read_queue_length_max=read_queue_length_max,
        write_queue_length_max=write_queue_length_max,
        write_group_length_max=write_group_length_max,
    )


def _open(
    path: Path,
    *,
    now_s: Callable[[], float],
    busy_timeout_s: float,
    reader_threads: int,
    read_queue_length_max: int,
    write_queue_length_max: int,
    write_group_length_max: int,
) -> SqlIndex:
    engine = create_sqlite_engine(path, busy_timeout_s=busy_timeout_s)
    with mapped("opened"):
        refuse_while_recovering(path)
        create_folder(path)
        turn_on_write_ahead_log(engine)
        with connect_to_write(engine) as connection:
            with connection.begin():
                schema.upgrade(connection)
                with connection.begin_nested() as attempt:  # a file that may only be read opens without complaint
                    next_number(connection)
                    attempt.rollback()
            # From here to the end one connection at least stays open: only the first one to a file has to wait for its set-up.
            point_connection = create_sqlite_engine(path, busy_timeout_s=0.0).connect()
            queries.short_key_state(point_connection, "", "")
        identity = FileIdentity(path)
    reader = Reader(
        point_connection=point_connection,
        engine=engine,
        threads=reader_threads,
        queue_length_max=read_queue_length_max,
    )
    writer = Writer(
        connect=lambda: connect_to_write(engine),
        check=identity.check,
        is_lost=is_transaction_lost,
        queue_length_max=write_queue_length_max,
        group_length_max=write_group_length_max,
    )
    return SqlIndex(reader=reader, writer=writer, now_s=now_s, copy_to=functools.partial(copy_to, engine))


class SqlIndex(PackCalls, LedgerCalls, ErasureCalls, SecondCopyCalls, SnapshotCalls, SpoolCalls):
    """Implements `addon.store.ports.Index`; see there for what each method promises. Made by `open_index`."""

    def __init__(
        self,
        *,
        reader: Reader,
        writer: Writer,
        now_s: Callable[[], float],
        copy_to: Callable[[Path], CopiedIndex],
    ) -> None:
        super().__init__(reader=reader, writer=writer, now_s=now_s)
        self._copy_to = copy_to

    async def key_state(self, bucket: str, key: str) -> ObjectRecord | Tombstone | None:
        state = await self._reader.point(lambda connection: queries.short_key_state(connection, bucket, key))
        if state is not queries.TOO_LONG:
            return state
        return await self._reader.run(lambda connection: queries.key_state(connection, bucket, key))

    async def has_origin_write(self, bucket: str, key: str) -> bool:
        return await self._reader.point(lambda connection: queries.has_origin_write(connection, bucket, key))

    async def garbage(self, *, limit: int) -> Sequence[Document]:
        return await self._reader.run(lambda connection: queries.garbage(connection, limit))

    async def copy_jobs(self, bucket: str, *, states: Sequence[CopyState], limit: int) -> Sequence[CopyJob]:
        return await self._reader.run(lambda connection: queries.copy_jobs_in(connection, bucket, states, limit))

    async def counts(self, bucket: str) -> Mapping[str, int]:
        return await self._reader.run(lambda connection: queries.counts(connection, bucket))

    async def put_object(self, new: NewObject, *, condition: WriteCondition | None = None) -> ObjectRecord:
        with self._telling(new.bucket, new.key):
            return await self._write(objects.put_object, new, self._now_s(), condition)

    async def copy_object(
        self, source: ObjectRecord, new: NewObject, *, condition: WriteCondition | None = None
    ) -> ObjectRecord:
        with self._telling(new.bucket, new.key):
            return await self._write(objects.copy_object, source, new, self._now_s(), condition)

    async def change_object(
        self, record: ObjectRecord, *, tags: Mapping[str, str] | None = None, anonymous_read: bool | None = None
    ) -> ObjectRecord:
        return await self._write(objects.change_object, record, tags, anonymous_read)

    async def add_object(self, new: NewObject) -> ObjectRecord | None:
        """See `addon.store.importer.ImportIndex`, as `replace_object`."""
        return await self._write(imports.add_object, new, self._now_s())

    async def replace_object(self, record: ObjectRecord, new: NewObject) -> ObjectRecord:
        return await self._write(imports.replace_object, record, new, self._now_s())

    async def object_parts(self, record: ObjectRecord) -> Sequence[ObjectPart]:
        return await self._reader.run(lambda connection: queries.object_parts_of(connection, record))

    async def delete_object(
        self, bucket: str, key: str, *, now_s: float, condition: WriteCondition | None = None
    ) -> Tombstone:
        with self._telling(bucket, key):
            return await self._write(delete_object, bucket, key, now_s, condition)

    async def delete_objects(
        self, bucket: str, deletions: Sequence[Deletion], *, now_s: float
    ) -> Sequence[Tombstone | WriteRefused]:
        with self._telling(bucket, *(deletion.key for deletion in deletions)):
            return await self._write(delete_objects, bucket, tuple(deletions), now_s)

    async def list_objects(
        self, bucket: str, *, prefix: str, delimiter: str, after: str, limit: int
    ) -> Sequence[ListedObject | ListedPrefix]:
        return await self._reader.run(
            lambda connection: listings.list_objects(connection, bucket, prefix, delimiter, after, limit)
        )

    async def decided_among(self, bucket: str, keys: Sequence[str]) -> Mapping[str, ListedObject | None]:
        return await self._reader.run(lambda connection: listings.decided_among(connection, bucket, keys))

    async def prefixes_with_tombstones(self, bucket: str, prefixes: Sequence[str]) -> frozenset[str]:
        return await self._reader.run(
            lambda connection: listings.prefixes_with_tombstones(connection, bucket, prefixes)
        )

    async def create_upload(self, upload: MultipartUpload) -> None:
        await self._write(uploads.create_upload, upload)

    async def upload(self, upload_id: str) -> MultipartUpload | None:
        return await self._reader.point(lambda connection: upload_queries.upload(connection, upload_id))

    async def put_part(self, upload_id: str, part: NewPart, *, source: ObjectRecord | None = None) -> None:
        await self._write(uploads.put_part, upload_id, part, self._now_s(), source)

    async def parts(self, upload_id: str, *, after: int, limit: int) -> Sequence[PartFacts]:
        return await self._reader.run(lambda connection: upload_queries.parts_of(connection, upload_id, after, limit))

    async def part_extents(self, upload_id: str, number: int) -> Sequence[Extent]:
        return await self._reader.run(lambda connection: upload_queries.extents_of_part(connection, upload_id, number))

    async def complete_upload(self, completion: Completion, *, condition: WriteCondition | None = None) -> ObjectRecord:
        record = await self._write(uploads.complete_upload, completion, self._now_s(), condition)
        self._tell(record.bucket, record.key)
        return record

    async def completed_upload(self, upload_id: str) -> CompletedUpload | None:
        return await self._reader.point(lambda connection: upload_queries.completed_upload(connection, upload_id))

    async def abort_upload(self, upload_id: str) -> None:
        await self._write(uploads.abort_upload, upload_id, self._now_s())

    async def uploads(
        self, bucket: str, *, prefix: str, after_key: str, after_upload_id: str, limit: int
    ) -> Sequence[MultipartUpload]:
        return await self._reader.run(
            lambda connection: upload_queries.open_uploads(
                connection, bucket, prefix, after_key, after_upload_id, limit
            )
        )

    async def expire_uploads(self, *, untouched_since_s: float, limit: int) -> int:
        # Each upload is a transaction of its own: one of 10 000 parts takes a while, and other writes shall have their turn.
        aborted = 0
        for upload_id in await self._expired_uploads(UPLOAD_OPEN, untouched_since_s, limit):
            aborted += await self._write(uploads.expire_upload, upload_id, untouched_since_s, self._now_s())
        completed = await self._expired_uploads(UPLOAD_COMPLETED, untouched_since_s, limit)
        return aborted + await self._write(uploads.forget_completed, completed)

    async def _expired_uploads(self, state: str, untouched_since_s: float, limit: int) -> Sequence[str]:
        return await self._reader.run(lambda connection: uploads.expired(connection, state, untouched_since_s, limit))

    async def supersede(self, bucket: str, key: str) -> None:
        with self._telling(bucket, key):
            await self._write(objects.supersede, bucket, key, self._now_s())

    async def begin_origin_write(self, bucket: str, key: str, *, now_s: float) -> int:
        with self._telling(bucket, key):
            return await self._write(origin_writes.begin_origin_write, bucket, key, now_s)

    async def end_origin_write(self, write_id: int, outcome: WriteOutcome) -> None:
        await self._write(origin_writes.end_origin_write, write_id, outcome, self._now_s())

    async def resolve_cut_off_origin_writes(self) -> int:
        return await self._write(origin_writes.resolve_cut_off_origin_writes, self._now_s())

    async def add_documents(self, documents: Sequence[Document], *, now_s: float, used_within_s: float = 0.0) -> None:
        await self._write(add_documents, tuple(documents), now_s, used_within_s)

    async def give_up(self, extents: Sequence[Extent], *, now_s: float) -> None:
        await self._write(give_up, tuple(extents), now_s)

    async def update_file_id(self, document_id: str, *, bot_id: int, file_id: str) -> None:
        await self._write(update_file_id, document_id, bot_id, file_id)

    async def relocate(self, moves: Sequence[Move]) -> int:
        return await self._write(relocate, tuple(moves), self._now_s())

    async def grant_anonymous_read(self, bucket: str, key: str, *, etag: str) -> None:
        await self._write(objects.grant_anonymous_read, bucket, key, etag)

    async def enqueue_copies(self, orders: Sequence[CopyOrder], *, now_s: float) -> int:
        return await self._write(copies.enqueue_copies, orders, now_s)

    async def lease_copy(self, *, now_s: float, lease_s: float, but_of: frozenset[str] = frozenset()) -> CopyJob | None:
        return await self._write(copies.lease_copy, now_s, lease_s, but_of)

    async def extend_leases(self, jobs: Sequence[CopyJob], *, now_s: float, lease_s: float) -> frozenset[int]:
        return await self._write(copies.extend_leases, tuple(jobs), now_s, lease_s)

    async def commit_copy(self, job: CopyJob, new: NewObject) -> ObjectRecord | None:
        if (job.bucket, job.key) != (new.bucket, new.key):
            raise ValueError("a copy must be committed under the key of its job")
        with self._telling(new.bucket, new.key):
            return await self._write(copies.commit_copy, job, new, self._now_s())

    async def release_copy(
        self, job: CopyJob, *, state: CopyState, not_before_s: float, reason: str, counts: bool = True
    ) -> None:
        await self._write(copies.release_copy, job, state, not_before_s, reason, counts)

    def on_change(self, tell: Callable[[str, str], None]) -> None:
        self._tell = tell

    async def check_writable(self) -> None:
        try:
            await self._write(_write_and_fail)
        except _RolledBack:
            return

    async def close(self) -> None:
        await asyncio.to_thread(self._writer.close)
        await asyncio.to_thread(self._reader.close)


class _RolledBack(Exception):
    """The check wrote what it wanted and is undone."""


def _write_and_fail(connection: Connection) -> None:
    next_number(connection)
    raise _RolledBack
