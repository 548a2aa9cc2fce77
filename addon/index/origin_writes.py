"""Transactions on writes to the origin that go past us. Each function runs within one transaction."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, delete, insert, select

from addon.index import documents, objects
from addon.index.numbers import next_number
from addon.index.rows import key_bytes
from addon.index.tables import origin_writes
from addon.store.ports import WriteOutcome

_IDS_HERE = select(origin_writes.c.write_id).where(
    origin_writes.c.bucket == bindparam("here_bucket"), origin_writes.c.key == bindparam("here_key")
)


def begin_origin_write(connection: Connection, bucket: str, key: str, now_s: float) -> int:
    """See `Index.begin_origin_write`."""
    write_id = next_number(connection)
    connection.execute(
        insert(origin_writes),
        {"write_id": write_id, "bucket": bucket, "key": key_bytes(key), "began_at_s": now_s, "overruled": False},
    )
    return write_id


def end_origin_write(connection: Connection, write_id: int, outcome: WriteOutcome, now_s: float) -> None:
    """See `Index.end_origin_write`.

    Only its own mark goes: another write to the same key may still be under way. One that a later write here has overruled changes
    nothing more: what that write left is newer, and no copy was leased while the mark stood.
    """
    mine = origin_writes.c.write_id == write_id
    row = connection.execute(select(origin_writes).where(mine)).one_or_none()
    if row is None:
        return
    connection.execute(delete(origin_writes).where(mine))
    if row.overruled or outcome is WriteOutcome.REFUSED:
        return
    bucket, key = row.bucket, row.key.decode()
    if outcome is WriteOutcome.ACCEPTED:
        documents.let_go(connection, objects.clear_keys(connection, bucket, [row.key]), now_s)
    else:
        objects.forget_copy(connection, bucket, key, now_s)


def resolve_cut_off_origin_writes(connection: Connection, now_s: float) -> int:
    """See `Index.resolve_cut_off_origin_writes`."""
    rows = connection.execute(select(origin_writes).where(origin_writes.c.overruled.is_(False))).all()
    for bucket, key in {(row.bucket, row.key.decode()) for row in rows}:
        objects.forget_copy(connection, bucket, key, now_s)
    connection.execute(delete(origin_writes))
    return len(rows)


def is_being_written(connection: Connection, bucket: str, key: str) -> bool:
    """Whether any write to the origin is under way, also one that does not decide the key any more."""
    return bool(connection.execute(_IDS_HERE, objects.here(bucket, key)).all())
