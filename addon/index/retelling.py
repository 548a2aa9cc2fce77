"""Transactions on states of keys whose document is to go. Each function runs within one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, insert, select, update

from addon.index.rows import key_bytes
from addon.index.tables import keys, untold_keys
from addon.store.erasing import ToldKey

_GENERATION = select(keys.c.generation).where(
    keys.c.bucket == bindparam("here_bucket"), keys.c.key == bindparam("here_key")
)
# Changes nothing, and yet is what the trigger looks at that makes a key untold.
_TOUCH = (
    update(keys)
    .where(keys.c.bucket == bindparam("here_bucket"), keys.c.key == bindparam("here_key"))
    .values(generation=keys.c.generation)
)
_IS_UNTOLD = select(untold_keys.c.generation).where(
    untold_keys.c.bucket == bindparam("here_bucket"), untold_keys.c.key == bindparam("here_key")
)


def in_force(connection: Connection, told: Sequence[ToldKey]) -> int:
    """See `ErasureIndex.in_force`."""
    return sum(_is_in_force(connection, one) for one in told)


def untell(connection: Connection, told: Sequence[ToldKey]) -> int:
    """See `ErasureIndex.untell`."""
    count = 0
    for one in told:
        if not _is_in_force(connection, one):
            continue
        count += 1
        here = _here(one)
        if connection.execute(_TOUCH, here).rowcount or connection.execute(_IS_UNTOLD, here).one_or_none():
            continue
        row = {"bucket": one.bucket, "key": key_bytes(one.key), "generation": one.generation}
        connection.execute(insert(untold_keys), row)
    return count


def _is_in_force(connection: Connection, told: ToldKey) -> bool:
    generation = connection.execute(_GENERATION, _here(told)).scalar_one_or_none()
    return generation is None or generation == told.generation


def _here(told: ToldKey) -> dict[str, object]:
    return {"here_bucket": told.bucket, "here_key": key_bytes(told.key)}
