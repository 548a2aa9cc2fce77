"""Transactions that put tombstones. Each function runs within one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, insert

from addon.index import conditions, documents, objects
from addon.index.numbers import next_numbers
from addon.index.rows import key_batches, key_bytes, tombstone_row
from addon.index.tables import keys
from addon.store.conditions import Verdict, WriteCondition
from addon.store.listed import Deletion
from addon.store.ports import WriteRefused
from addon.store.records import Tombstone


def delete_object(
    connection: Connection, bucket: str, key: str, now_s: float, condition: WriteCondition | None = None
) -> Tombstone:
    """See `Index.delete_object`."""
    (outcome,) = delete_objects(connection, bucket, [Deletion(key, condition)], now_s)
    if isinstance(outcome, WriteRefused):
        raise outcome
    return outcome


def delete_objects(
    connection: Connection, bucket: str, deletions: Sequence[Deletion], now_s: float
) -> list[Tombstone | WriteRefused]:
    """See `Index.delete_objects`. A key that comes twice is deleted twice: the second time it has a tombstone already."""
    conditional = list({key_bytes(deletion.key) for deletion in deletions if deletion.condition is not None})
    states = conditions.states_of(connection, bucket, conditional)
    written_past_us = conditions.written_past_us(connection, bucket, conditional)
    generation = next_numbers(connection, len(deletions))
    tombstones: dict[bytes, Tombstone] = {}
    outcomes: list[Tombstone | WriteRefused] = []
    for number, deletion in enumerate(deletions):
        key = key_bytes(deletion.key)
        if deletion.condition is not None:
            state = tombstones.get(key) or states.get(key)
            verdict = conditions.verdict_of(deletion.condition, state, is_being_written=key in written_past_us)
            if verdict is not Verdict.HOLDS:
                outcomes.append(WriteRefused(verdict))
                continue
        tombstones[key] = Tombstone(bucket, deletion.key, generation + number, int(now_s))
        outcomes.append(tombstones[key])
    _put_tombstones(connection, bucket, tombstones, now_s)
    return outcomes


def _put_tombstones(connection: Connection, bucket: str, tombstones: Mapping[bytes, Tombstone], now_s: float) -> None:
    former: list[documents.Freed] = []
    for batch in key_batches(list(tombstones)):
        objects.overrule_writes(connection, bucket, batch)
        former += objects.clear_keys(connection, bucket, batch)
        connection.execute(insert(keys), [tombstone_row(tombstones[key]) for key in batch])
    documents.let_go(connection, former, now_s)
