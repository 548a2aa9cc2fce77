"""Comparing what moved with the origin: the proof that a bucket can be switched off.

The rules:

- nothing is repaired and nothing deleted, unless it is asked for; and then only a copy, only the very one that differs, and only
  where the origin has an object to put in its place;
- bytes are read back from Telegram and never from the origin, which would prove nothing;
- an object that is written, deleted or copied anew while it is compared is looked at again, or left out: that is no difference;
- an origin that does not answer proves nothing either way: tried again with growing pauses, then counted as not compared.
"""

from __future__ import annotations

import contextlib
import enum
import math
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from addon.store.byte_check import byte_differences
from addon.store.comparison import Difference, can_be_copied, copy_differences, missing_there
from addon.store.migration import Amount, MigrationIndex, Verification
from addon.store.object_store import ObjectStore
from addon.store.object_walk import for_each, objects_of
from addon.store.origin_head import head_at_origin, known_tags
from addon.store.ports import (
    Origin,
    OriginChanged,
    OriginRefused,
    OriginUnavailable,
    SourceChanged,
    TelegramUnavailable,
)
from addon.store.records import CopyOrder, ObjectRecord, Provenance
from addon.store.retrying import Retries

# What equals is marked in the index so many at a time.
MARKED_TOGETHER = 200
# An object that changes each time it is looked at is left out after so many looks.
LOOKS_MAX = 3


class Chance(Protocol):
    """What draws the sample: `random.Random`."""

    def random(self) -> float: ...


class Outcome(enum.Enum):
    """What came of one object: `CHANGED` while it was looked at, and left out."""

    EQUAL = "equal"
    DIFFERS = "differs"
    NOT_COMPARED = "not compared"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One object: its `differences` where it differs, the `reason` where it was not compared. `repair` says what was done about
    it, empty where nothing was asked for."""

    record: ObjectRecord
    outcome: Outcome
    differences: Sequence[Difference] = ()
    reason: str = ""
    repair: str = ""
    can_be_repaired: bool = False


@dataclass(frozen=True, slots=True)
class VerifyOrder:
    """What is to be compared: copies below `prefix`, with `written` objects written here too (their bytes, as the origin does not
    have them), with `deep` everything's bytes. `share` (0 … 1] of the objects is drawn at random."""

    bucket: str
    prefix: str = ""
    deep: bool = False
    written: bool = False
    repair: bool = False
    share: float = 1.0
    concurrency: int = 8


@dataclass(slots=True)
class Tally:
    """How many objects came to which end. `compared` are those that equal or differ; `bytes_read` were read back and are right."""

    equal: int = 0
    differed: int = 0
    not_compared: int = 0
    changed: int = 0
    repaired: int = 0
    copies_compared: int = 0
    copies_differed: int = 0
    bytes_read: int = 0

    @property
    def compared(self) -> int:
        return self.equal + self.differed

    @property
    def clean(self) -> bool:
        """Everything that was looked at was compared, and nothing differs."""
        return not self.differed and not self.not_compared


@dataclass
class Verifier:
    """One verification. Without an `origin` (the bucket has none, or it is retired) only bytes can be compared."""

    store: ObjectStore
    migration: MigrationIndex
    origin: Origin | None
    order: VerifyOrder
    chance: Chance
    retries: Retries = field(default_factory=Retries)
    tally: Tally = field(default_factory=Tally)
    _equal: list[ObjectRecord] = field(default_factory=list)

    async def expected(self) -> Amount:
        """How much there is to look at; of a sample the bytes are an estimate."""
        whole = await self.migration.objects_amount(
            self.order.bucket, prefix=self.order.prefix, provenance=self._provenance
        )
        chosen = math.ceil(whole.objects * self.order.share)
        return Amount(chosen, round(whole.size * chosen / whole.objects) if whole.objects else 0)

    async def run(self, told: Callable[[Finding], None]) -> Tally:
        """Compare, and tell each finding. Stopped half-way, it marks what was found equal so far. Raises `IndexUnavailable`."""
        try:
            await for_each(
                self._chosen(), lambda record: self._verify(record, told), concurrency=self.order.concurrency
            )
        finally:
            await self._mark()
        if self._is_complete():
            now_s = self.store.now_s()
            counted = Verification(now_s, self.tally.copies_compared, self.tally.copies_differed, self.order.deep)
            await self.migration.remember_verification(self.order.bucket, counted)
        return self.tally

    @property
    def _provenance(self) -> Provenance | None:
        return None if self.order.written else Provenance.COPIED_FROM_ORIGIN

    def _is_complete(self) -> bool:
        whole = not self.order.prefix and self.order.share >= 1.0
        return whole and self.origin is not None and not self.tally.not_compared

    async def _chosen(self) -> AsyncGenerator[ObjectRecord, None]:
        """The objects, or a sample of them: of those that are left each has the same chance (Knuth, The Art of Computer Programming
        2, 3.4.2, algorithm S), so it is as large as was asked for, and a seed draws the same one again."""
        whole = await self.migration.objects_amount(
            self.order.bucket, prefix=self.order.prefix, provenance=self._provenance
        )
        wanted, left = math.ceil(whole.objects * self.order.share), whole.objects
        objects = objects_of(self.migration, self.order.bucket, prefix=self.order.prefix, provenance=self._provenance)
        async with contextlib.aclosing(objects):
            async for record in objects:
                if self.order.share >= 1.0:
                    yield record
                elif self.chance.random() * max(left, 1) < wanted:
                    wanted -= 1
                    yield record
                left -= 1

    async def _verify(self, record: ObjectRecord, told: Callable[[Finding], None]) -> None:
        finding = Finding(record, Outcome.CHANGED)
        for _ in range(LOOKS_MAX):
            finding = await self._look(record)
            if finding.outcome in (Outcome.EQUAL, Outcome.NOT_COMPARED):
                break
            current = await self.store.state(record.bucket, record.key)
            if finding.outcome is Outcome.DIFFERS and await self._stands(record, current):
                break
            finding = Finding(record, Outcome.CHANGED)
            if not isinstance(current, ObjectRecord) or not self._is_asked_for(current):
                break
            record = current
        if finding.outcome is Outcome.DIFFERS and self.order.repair:
            finding = await self._repaired(finding)
        await self._count(finding)
        told(finding)

    async def _stands(self, record: ObjectRecord, current: object) -> bool:
        """Whether `current` is still what was compared, and nobody writes it at the origin just now."""
        if not isinstance(current, ObjectRecord) or current.generation != record.generation:
            return False
        return not await self.store.index.has_origin_write(record.bucket, record.key)

    def _is_asked_for(self, record: ObjectRecord) -> bool:
        return self.order.written or record.provenance is Provenance.COPIED_FROM_ORIGIN

    async def _look(self, record: ObjectRecord) -> Finding:
        """Compare it once. Raises `IndexUnavailable`."""
        differences: list[Difference] = []
        can_be_repaired = False
        is_copy = record.provenance is Provenance.COPIED_FROM_ORIGIN
        try:
            if is_copy and self.origin is not None:
                origin = self.origin
                differences, can_be_repaired = await self.retries.run(lambda: _compared(origin, record))
            if self.order.deep or not is_copy:
                differences = [*differences, *await self.retries.run(lambda: self._read_back(record))]
        except SourceChanged:
            return Finding(record, Outcome.CHANGED)
        except (OriginUnavailable, OriginChanged, OriginRefused, TelegramUnavailable) as failure:
            return Finding(record, Outcome.NOT_COMPARED, reason=str(failure))
        outcome = Outcome.DIFFERS if differences else Outcome.EQUAL
        return Finding(record, outcome, differences, can_be_repaired=can_be_repaired and is_copy)

    async def _read_back(self, record: ObjectRecord) -> list[Difference]:
        """Raises `SourceChanged` where the object is another one by now."""
        current = await self.store.state(record.bucket, record.key)
        if not isinstance(current, ObjectRecord) or current.generation != record.generation:
            raise SourceChanged("the object was replaced")
        parts = await self.store.index.object_parts(current) if current.parts_count else ()
        differences = await byte_differences(self.store, current, parts)
        self.tally.bytes_read += 0 if differences else current.size
        return differences

    async def _repaired(self, finding: Finding) -> Finding:
        record = finding.record
        if not finding.can_be_repaired:
            said = "left as it is: the origin has nothing to copy in its place"
            return Finding(record, finding.outcome, finding.differences, repair=said)
        if not await self.migration.forget_copy(record):
            return Finding(record, Outcome.CHANGED)
        order = CopyOrder(record.bucket, record.key, record.anonymous_read)
        await self.store.index.enqueue_copies([order], now_s=self.store.now_s())
        self.tally.repaired += 1
        return Finding(record, finding.outcome, finding.differences, repair="forgotten, and ordered anew")

    async def _count(self, finding: Finding) -> None:
        tally, is_copy = self.tally, finding.record.provenance is Provenance.COPIED_FROM_ORIGIN
        match finding.outcome:
            case Outcome.EQUAL:
                tally.equal += 1
                tally.copies_compared += is_copy
                if is_copy and self.origin is not None:
                    self._equal.append(finding.record)
                    if len(self._equal) >= MARKED_TOGETHER:
                        await self._mark()
            case Outcome.DIFFERS:
                tally.differed += 1
                tally.copies_compared += is_copy
                tally.copies_differed += is_copy
            case Outcome.NOT_COMPARED:
                tally.not_compared += 1
            case Outcome.CHANGED:
                tally.changed += 1

    async def _mark(self) -> None:
        """Remember what equals. A record that was replaced meanwhile stays unmarked (see the port)."""
        equal, self._equal = self._equal, []
        if equal:
            await self.migration.mark_verified(equal, now_s=self.store.now_s())


async def _compared(origin: Origin, record: ObjectRecord) -> tuple[list[Difference], bool]:
    """In what a copy differs from the origin's object, and whether that one could take its place."""
    about = await head_at_origin(origin, record.key)
    if about is None:
        return [missing_there(record)], False
    tags = await known_tags(origin, record, about)
    return copy_differences(record, about, tags), can_be_copied(about)
