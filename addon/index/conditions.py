"""Conditions of writes, judged inside the transaction that writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select

from addon.index.rows import key_batches, key_bytes
from addon.index.tables import KIND_TOMBSTONE, keys, origin_writes
from addon.store.conditions import Verdict, WriteCondition, judge
from addon.store.ports import WriteRefused
from addon.store.records import ObjectRecord, Provenance, Tombstone

_STATES = select(
    keys.c.key,
    keys.c.kind,
    keys.c.generation,
    keys.c.modified_at_s,
    keys.c.size,
    keys.c.etag,
    keys.c.provenance,
).where(keys.c.bucket == bindparam("bucket"), keys.c.key.in_(bindparam("keys", expanding=True)))

_WRITES_UNDER_WAY = select(origin_writes.c.key).where(
    origin_writes.c.bucket == bindparam("bucket"),
    origin_writes.c.key.in_(bindparam("keys", expanding=True)),
    origin_writes.c.overruled.is_(False),
)


def refuse_unless(connection: Connection, bucket: str, key: str, condition: WriteCondition | None) -> None:
    """Raises WriteRefused where `condition` does not hold now."""
    if condition is None:
        return
    here = [key_bytes(key)]
    state = states_of(connection, bucket, here).get(here[0])
    verdict = verdict_of(condition, state, is_being_written=bool(written_past_us(connection, bucket, here)))
    if verdict is not Verdict.HOLDS:
        raise WriteRefused(verdict)


def verdict_of(condition: WriteCondition, state: ObjectRecord | Tombstone | None, *, is_being_written: bool) -> Verdict:
    """What `condition` comes to. With a write past us under way nobody can say what the key holds: the origin may have accepted it
    already, and what is here, also what was written here, is out of date from then on."""
    if is_being_written:
        return Verdict.CONFLICT
    return judge(condition, state)


def states_of(connection: Connection, bucket: str, keys_here: Sequence[bytes]) -> dict[bytes, ObjectRecord | Tombstone]:
    """What the index knows of these keys, as far as a condition looks: objects come without headers and extents."""
    return {
        row.key: _state_of(bucket, row)
        for batch in key_batches(keys_here)
        for row in connection.execute(_STATES, {"bucket": bucket, "keys": batch})
    }


def written_past_us(connection: Connection, bucket: str, keys_here: Sequence[bytes]) -> set[bytes]:
    """Those of these keys that a write to the origin under way will decide."""
    return {
        key
        for batch in key_batches(keys_here)
        for key in connection.execute(_WRITES_UNDER_WAY, {"bucket": bucket, "keys": batch}).scalars()
    }


def _state_of(bucket: str, row: Any) -> ObjectRecord | Tombstone:
    key = row.key.decode()
    if row.kind == KIND_TOMBSTONE:
        return Tombstone(bucket, key, row.generation, row.modified_at_s)
    return ObjectRecord(
        bucket=bucket,
        key=key,
        generation=row.generation,
        size=row.size,
        etag=row.etag,
        last_modified_s=row.modified_at_s,
        provenance=Provenance(row.provenance),
        anonymous_read=False,
    )
