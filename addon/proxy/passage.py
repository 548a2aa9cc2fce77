"""Requests that went past us to the origin: what has to happen when the answer comes, or does not."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from addon.proxy.routes import READS, Claim
from addon.proxy.switch import Routing
from addon.s3.operations import MULTIPART_STEPS, Operation
from addon.service.late_errors import is_accepted
from addon.service.origin_writes import OriginWrite, OriginWrites
from addon.store.copier import Copier
from addon.store.object_store import ObjectStore
from addon.store.ports import IndexUnavailable, WriteOutcome
from addon.store.records import ObjectRecord

logger = logging.getLogger(__name__)

# Anonymous reads that are being recorded at once; beyond it a read records nothing, and the next one does.
GRANTS_UNDER_WAY_MAX = 256
# What the object under the key survives, although the method is one of a write.
CHANGES_NOTHING = MULTIPART_STEPS | {Operation.SELECT_OBJECT_CONTENT}


@dataclass(frozen=True, slots=True)
class Passage:
    """One request on its way past us; `current` says that it is about the key's current object, not a version of its own,
    `replaces` that its success makes that another one, or none."""

    bucket: str
    key: str
    operation: Operation
    claim: Claim
    current: bool
    replaces: bool
    held: ObjectRecord | None
    write: OriginWrite | None


class Passages:
    """Begins and ends passages."""

    def __init__(self, store: ObjectStore, copier: Copier, origin_writes: OriginWrites) -> None:
        self._store, self._copier, self._origin_writes = store, copier, origin_writes
        self._grants: set[asyncio.Task[None]] = set()

    async def begin(self, routing: Routing, method: str) -> Passage | None:
        """Call before the request is let go. Raises `IndexUnavailable`: then it must not be let go."""
        if routing.addressed is None or not routing.addressed.target.key:
            return None
        bucket, target = routing.addressed.bucket.name, routing.addressed.target
        write = None
        if method not in ("GET", "HEAD", "OPTIONS") and target.operation not in CHANGES_NOTHING:
            write = await self._origin_writes.begin(bucket, target.key)
        held = routing.state if isinstance(routing.state, ObjectRecord) else None
        return Passage(
            bucket,
            target.key,
            target.operation,
            routing.claim,
            current=target.version_id is None,
            replaces=target.replaces_object,
            held=held,
            write=write,
        )

    def answered(self, passage: Passage, status: int, etag: str | None) -> None:
        """The origin's headers are here: a successful read orders a copy, or shows that anyone may read what we hold."""
        if passage.operation not in READS or not passage.current or status not in (200, 206):
            return
        if passage.operation is Operation.HEAD_OBJECT and passage.held is None:
            return
        anonymous = passage.claim is Claim.ANONYMOUS
        if passage.held is None:
            self._copier.order(passage.bucket, passage.key, anonymous_read=anonymous)
        elif anonymous and etag is not None and len(self._grants) < GRANTS_UNDER_WAY_MAX:
            grant = asyncio.create_task(self._grant(passage, etag.strip('"')))
            self._grants.add(grant)
            grant.add_done_callback(self._grants.discard)

    async def end(self, passage: Passage, status: int | None, body: bytes) -> None:
        """The exchange is over; `status` is None where no answer came."""
        if passage.write is None:
            return
        if status is None:
            outcome = WriteOutcome.UNKNOWN
        elif not is_accepted(status, body):
            outcome = WriteOutcome.REFUSED
        else:
            # What describes an object anew, or changes a version, ends a copy and nothing that only we hold.
            outcome = WriteOutcome.ACCEPTED if passage.replaces else WriteOutcome.UNKNOWN
        await self._origin_writes.end(passage.write, outcome)

    async def _grant(self, passage: Passage, etag: str) -> None:
        try:
            await self._store.index.grant_anonymous_read(passage.bucket, passage.key, etag=etag)
        except IndexUnavailable as failure:
            logger.warning("what anyone may read could not be recorded; the next read will: %s", failure)
