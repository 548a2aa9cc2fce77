"""Copies of the whole index, and what is remembered of those that are in Telegram."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection, Engine, delete, func, insert, select, union_all, update

from addon.index.errors import mapped
from addon.index.sqlite import copy_database, create_sqlite_engine
from addon.index.tables import (
    COUNTER_NAME,
    KIND_OBJECT,
    KIND_TOMBSTONE,
    counters,
    document_copies,
    documents,
    keys,
    proxies,
    snapshots,
    telegram_pairs,
    telegram_sends,
)
from addon.store.snapshot_format import Snapshot, read_snapshot, snapshot_text
from addon.store.snapshots import CopiedIndex

# The index's own number for its life stands beside the counter.
IDENTITY_NAME = "identity"
# What is of no use in a copy: it speaks of processes that will not be there.
_OF_NO_USE = (telegram_sends, telegram_pairs, proxies)


def identity(connection: Connection) -> int:
    """See `SnapshotIndex.identity`."""
    found = connection.execute(select(counters.c.value).where(counters.c.name == IDENTITY_NAME)).scalar_one_or_none()
    if found is not None:
        return int(found)
    made = secrets.randbits(62)
    connection.execute(insert(counters), {"name": IDENTITY_NAME, "value": made})
    return made


def adopt_identity(connection: Connection, adopted: int) -> None:
    """The index goes on as the one of this identity."""
    identity(connection)
    connection.execute(update(counters).where(counters.c.name == IDENTITY_NAME).values(value=adopted))


def number(connection: Connection) -> int:
    """See `SnapshotIndex.number`."""
    return int(connection.execute(select(counters.c.value).where(counters.c.name == COUNTER_NAME)).scalar_one())


def copy_to(engine: Engine, path: Path) -> CopiedIndex:
    """See `SnapshotIndex.copy_to`. Blocks."""
    with mapped("copied"):
        copy_database(engine, path)
        copy = create_sqlite_engine(path, busy_timeout_s=0.0)
        with copy.connect() as connection, connection.begin():
            for table in _OF_NO_USE:
                connection.execute(delete(table))
            return facts(connection)


def facts(connection: Connection) -> CopiedIndex:
    """What an index holds."""
    of_objects = select(func.count(), func.coalesce(func.sum(keys.c.size), 0)).where(keys.c.kind == KIND_OBJECT)
    objects, size = connection.execute(of_objects).one()
    tombstones = connection.execute(select(func.count()).where(keys.c.kind == KIND_TOMBSTONE)).scalar_one()
    known = union_all(
        select(documents.c.chat_id, documents.c.message_id),
        select(document_copies.c.chat_id, document_copies.c.message_id),
    ).subquery()
    newest = (
        select(known.c.chat_id, func.max(known.c.message_id)).where(known.c.message_id > 0).group_by(known.c.chat_id)
    )
    return CopiedIndex(
        number=number(connection),
        objects=objects,
        tombstones=tombstones,
        size=int(size),
        newest_messages={row[0]: row[1] for row in connection.execute(newest)},
    )


def save_snapshot(connection: Connection, snapshot: Snapshot) -> None:
    """See `SnapshotIndex.save_snapshot`."""
    row = {
        "snapshot_id": snapshot.snapshot_id,
        "began_at_s": snapshot.began_at_s,
        "taken_at_s": snapshot.taken_at_s,
        "objects": snapshot.objects,
        "bytes": snapshot.size,
        "messages": snapshot_text(snapshot),
    }
    changed = update(snapshots).where(snapshots.c.snapshot_id == snapshot.snapshot_id).values(row)
    if not connection.execute(changed).rowcount:
        connection.execute(insert(snapshots), row)


def known_snapshots(connection: Connection) -> Sequence[Snapshot]:
    """See `SnapshotIndex.snapshots`."""
    found = [
        read_snapshot(row.snapshot_id, row.began_at_s, row.taken_at_s, row.objects, row.bytes, row.messages)
        for row in connection.execute(select(snapshots).order_by(snapshots.c.snapshot_id))
    ]
    # By the counter: clocks may be put back.
    return sorted(found, key=lambda one: (one.number, one.began_at_s), reverse=True)


def forget_snapshot(connection: Connection, snapshot_id: str) -> None:
    """See `SnapshotIndex.forget_snapshot`."""
    connection.execute(delete(snapshots).where(snapshots.c.snapshot_id == snapshot_id))
