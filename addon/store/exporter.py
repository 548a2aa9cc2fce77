"""The way back: writing to the origin what only Telegram holds, and proving each write.

The rules:

- what was written here is the truth for clients, so it replaces what the origin has under its key, unless it is to be kept; a copy
  replaces nothing: where the origin has another object, that one is newer;
- what the origin has already is not written again, so a second run writes nothing, and an interrupted one goes on;
- each write bears the condition that the origin's object is still the one that was looked at, so that a write which went past us
  meanwhile is not lost, at an origin that knows conditions;
- each write is proved: the origin is asked for the object and compared, as `verify` does it;
- bytes come from Telegram and never from the origin;
- the index is only read: what is written at the origin lies under a key that is ours alone.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from addon.s3.keys import encode_key
from addon.s3.metadata import OriginCopyHeaders
from addon.store.comparison import Difference, export_differences
from addon.store.migration import Amount, MigrationIndex
from addon.store.object_store import ObjectStore
from addon.store.object_walk import for_each, objects_of, tombstones_of
from addon.store.origin_head import head_at_origin, known_tags
from addon.store.origin_upload import upload_to_origin
from addon.store.ports import (
    DocumentCorrupt,
    DocumentLost,
    Origin,
    OriginChanged,
    OriginRefused,
    OriginRequest,
    OriginUnavailable,
    SourceChanged,
    TelegramUnavailable,
)
from addon.store.records import ObjectRecord, Provenance, Tombstone
from addon.store.retrying import Retries

_FAILURES = (
    OriginUnavailable,
    OriginChanged,
    OriginRefused,
    TelegramUnavailable,
    DocumentLost,
    DocumentCorrupt,
)


class Ending(enum.Enum):
    """What came of one key. `CHANGED`: written past us or deleted meanwhile, and left out. The last three are of keys that were
    deleted here."""

    WRITTEN = "written"
    ALREADY_THERE = "already there"
    KEPT_THEIRS = "kept theirs"
    CHANGED = "changed"
    FAILED = "failed"
    DELETED = "deleted"
    STILL_THERE = "still there"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Exported:
    """One key: `size` in bytes; the `differences` of what the origin has, where that was kept or the proof failed; the `reason`
    of a failure; `left_out` is what the origin refused to take along."""

    key: str
    ending: Ending
    size: int = 0
    reason: str = ""
    differences: Sequence[Difference] = ()
    left_out: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ExportOrder:
    """What is to be exported: objects written here below `prefix`, with `copies` also those that were copied here, where the origin
    has none. `keep_theirs` replaces nothing; `delete` deletes there what was deleted here; `dry_run` only asks."""

    bucket: str
    prefix: str = ""
    copies: bool = False
    keep_theirs: bool = False
    delete: bool = False
    dry_run: bool = False
    concurrency: int = 4


@dataclass
class Exporter:
    """One export."""

    store: ObjectStore
    migration: MigrationIndex
    origin: Origin
    order: ExportOrder
    retries: Retries = field(default_factory=Retries)
    counts: dict[Ending, int] = field(default_factory=lambda: dict.fromkeys(Ending, 0))
    bytes_written: int = 0

    @property
    def clean(self) -> bool:
        """Nothing failed."""
        return not self.counts[Ending.FAILED]

    async def expected(self) -> Amount:
        """How much there is to look at."""
        return await self.migration.objects_amount(
            self.order.bucket, prefix=self.order.prefix, provenance=self._provenance
        )

    async def run(self, told: Callable[[Exported], None]) -> None:
        """Export, and tell what came of each key, objects first. Raises `IndexUnavailable`."""

        async def export(record: ObjectRecord) -> None:
            self._count(await self._ended(record.key, lambda: self._export(record.key), record.size), told)

        async def follow_deletion(tombstone: Tombstone) -> None:
            self._count(await self._ended(tombstone.key, lambda: self._follow_deletion(tombstone), 0), told)

        objects = objects_of(self.migration, self.order.bucket, prefix=self.order.prefix, provenance=self._provenance)
        await for_each(objects, export, concurrency=self.order.concurrency)
        tombstones = tombstones_of(self.migration, self.order.bucket, prefix=self.order.prefix)
        await for_each(tombstones, follow_deletion, concurrency=self.order.concurrency)

    @property
    def _provenance(self) -> Provenance | None:
        return None if self.order.copies else Provenance.WRITTEN_HERE

    def _count(self, exported: Exported, told: Callable[[Exported], None]) -> None:
        self.counts[exported.ending] += 1
        if exported.ending is Ending.WRITTEN and not self.order.dry_run:
            self.bytes_written += exported.size
        told(exported)

    async def _ended(self, key: str, work: Callable[[], Awaitable[Exported]], size: int) -> Exported:
        try:
            return await self.retries.run(work)
        except _FAILURES as failure:
            return Exported(key, Ending.FAILED, size, reason=str(failure))

    async def _export(self, key: str) -> Exported:
        """Look at the key, and write it where that is to be done. Raises `OriginChanged` where it changed meanwhile."""
        record = await self.store.state(self.order.bucket, key)
        if not isinstance(record, ObjectRecord) or not self._is_asked_for(record):
            return Exported(key, Ending.CHANGED)
        await self._refuse_while_written_past_us(key)
        there = await head_at_origin(self.origin, key)
        if there is not None:
            differences = await self._differences(record, there, just_written=False)
            if not differences:
                return Exported(key, Ending.ALREADY_THERE, record.size)
            if self.order.keep_theirs or record.provenance is Provenance.COPIED_FROM_ORIGIN:
                return Exported(key, Ending.KEPT_THEIRS, record.size, differences=differences)
        if self.order.dry_run:
            return Exported(key, Ending.WRITTEN, record.size)
        return await self._write(record, there)

    async def _write(self, record: ObjectRecord, there: OriginCopyHeaders | None) -> Exported:
        try:
            parts = await self.store.index.object_parts(record) if record.parts_count else ()
        except SourceChanged:
            raise OriginChanged("the object was written or deleted here meanwhile") from None
        condition = ("if-none-match", "*") if there is None else ("if-match", f'"{there.etag}"')
        left_out = await upload_to_origin(self.store, self.origin, record, parts, condition=condition)
        there = await head_at_origin(self.origin, record.key)
        current = await self.store.state(record.bucket, record.key)
        if not isinstance(current, ObjectRecord) or current.generation != record.generation:
            raise OriginChanged("the object was written or deleted here meanwhile")
        if there is None:
            raise OriginUnavailable("the origin took the object, and does not have it")
        differences = await self._differences(record, there, just_written=True)
        if differences:
            said = "the origin took the object, and has another one"
            return Exported(record.key, Ending.FAILED, record.size, said, differences, left_out)
        return Exported(record.key, Ending.WRITTEN, record.size, left_out=left_out)

    async def _differences(
        self, record: ObjectRecord, there: OriginCopyHeaders, *, just_written: bool
    ) -> list[Difference]:
        tags = await known_tags(self.origin, record, there)
        return export_differences(record, there, tags, just_written=just_written)

    def _is_asked_for(self, record: ObjectRecord) -> bool:
        return self.order.copies or record.provenance is Provenance.WRITTEN_HERE

    async def _refuse_while_written_past_us(self, key: str) -> None:
        if await self.store.index.has_origin_write(self.order.bucket, key):
            raise OriginChanged("a write to the origin past tgstore is under way")

    async def _follow_deletion(self, tombstone: Tombstone) -> Exported:
        """Delete at the origin what was deleted here, where that is asked for."""
        key = tombstone.key
        there = await head_at_origin(self.origin, key)
        if there is None:
            return Exported(key, Ending.GONE)
        if await self.store.state(tombstone.bucket, key) != tombstone:
            return Exported(key, Ending.CHANGED)
        if self.order.dry_run or not self.order.delete:
            return Exported(key, Ending.DELETED if self.order.delete else Ending.STILL_THERE, there.size or 0)
        await self._refuse_while_written_past_us(key)
        try:
            await self._delete(key, [("if-match", f'"{there.etag}"')])
        except OriginRefused as refusal:
            if refusal.code != "NotImplemented":
                raise
            await self._delete(key, [])
        if await head_at_origin(self.origin, key) is not None:
            raise OriginChanged("the origin deleted the object, and has it")
        return Exported(key, Ending.DELETED, there.size or 0)

    async def _delete(self, key: str, condition: Sequence[tuple[str, str]]) -> None:
        request = OriginRequest("DELETE", encode_key(key), "", [("accept-encoding", "identity"), *condition])
        async with self.origin.send(request) as answer:
            if answer.status not in (HTTPStatus.NO_CONTENT, HTTPStatus.OK):
                raise await self.origin.failure(answer)
