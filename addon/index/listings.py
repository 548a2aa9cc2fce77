"""What lies where in a bucket: objects and common prefixes for listings, tombstones for what the origin lists.

Everything goes along `keys_by_kind`, so tombstones cost a listing of objects nothing, and the other way round. A common prefix is
jumped over: the next statement begins behind the last key that it can hold, so a prefix costs one short statement, whatever it
holds. Keys are compared as bytes, and UTF-8 sorts by bytes as S3 wants it. What begins with a prefix lies between the prefix and
the same bytes with the last one counted up, which always can be done, because a byte of UTF-8 is never 0xFF.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select

from addon.index.rows import PROVENANCES, key_batches, key_bytes
from addon.index.tables import KIND_OBJECT, KIND_TOMBSTONE, keys
from addon.store.listed import ListedObject, ListedPrefix

# With a delimiter each statement reads a few rows, as the next one may begin far behind them. It reads more and more while
# most of them become entries of the listing.
ROWS_PER_STATEMENT_MIN = 4
ROWS_PER_STATEMENT_MAX = 1000

STORAGE_CLASS_HEADER = "x-amz-storage-class"
STORAGE_CLASS_DEFAULT = "STANDARD"

# Behind every key.
_END = b"\xff"

_KEYS = (
    select(keys.c.bucket, keys.c.key)
    .where(
        keys.c.bucket == bindparam("bucket"),
        keys.c.kind == KIND_OBJECT,
        keys.c.key >= bindparam("start"),
        keys.c.key < bindparam("end"),
    )
    .order_by(keys.c.key)
    .limit(bindparam("rows"))
    .subquery()
)
# The keys come out of `keys_by_kind` alone, and each leads to its row. In one select over the table SQLite would rather read the
# table itself, tombstones and all.
LISTED_ROWS = (
    select(
        _KEYS.c.key,
        keys.c.size,
        keys.c.etag,
        keys.c.modified_at_s,
        keys.c.provenance,
        keys.c.headers,
        keys.c.checksums,
    )
    .select_from(_KEYS.outerjoin(keys, (keys.c.bucket == _KEYS.c.bucket) & (keys.c.key == _KEYS.c.key)))
    .order_by(_KEYS.c.key)
)

FIRST_TOMBSTONE = (
    select(keys.c.key)
    .where(keys.c.bucket == bindparam("bucket"), keys.c.kind == KIND_TOMBSTONE, keys.c.key >= bindparam("start"))
    .order_by(keys.c.key)
    .limit(1)
)
_DECIDED_AMONG = select(
    keys.c.key,
    keys.c.size,
    keys.c.etag,
    keys.c.modified_at_s,
    keys.c.provenance,
    keys.c.headers,
    keys.c.checksums,
    keys.c.kind,
).where(keys.c.bucket == bindparam("bucket"), keys.c.key.in_(bindparam("keys", expanding=True)))


def list_objects(
    connection: Connection, bucket: str, prefix: str, delimiter: str, after: str, limit: int
) -> list[ListedObject | ListedPrefix]:
    """See `Index.list_objects`. There are at most two statements more than entries."""
    within, cut, passed = key_bytes(prefix), key_bytes(delimiter), key_bytes(after)
    start, end = max(within, passed + b"\0"), end_of(within)
    entries: list[ListedObject | ListedPrefix] = []
    rows_max = ROWS_PER_STATEMENT_MIN if cut else ROWS_PER_STATEMENT_MAX
    while len(entries) < limit and start < end:
        rows_max = min(rows_max, limit - len(entries))
        place = {"bucket": bucket, "start": start, "end": end, "rows": rows_max}
        rows = connection.execute(LISTED_ROWS, place).all()
        before = len(entries)
        for row in rows:
            key: bytes = row[0]
            if key < start:
                continue
            common = _common_prefix(key, len(within), cut)
            if common is None:
                entries.append(_object_of(row))
                start = key + b"\0"
                continue
            start = end_of(common)
            if common > passed:
                entries.append(ListedPrefix(common.decode()))
        if len(rows) < rows_max:
            break
        used = len(entries) - before
        rows_max = min(ROWS_PER_STATEMENT_MAX, rows_max * 2) if used * 2 >= rows_max else ROWS_PER_STATEMENT_MIN
    return entries


def decided_among(connection: Connection, bucket: str, keys_asked: Sequence[str]) -> dict[str, ListedObject | None]:
    """See `Index.decided_among`."""
    return {
        row.key.decode(): None if row.kind == KIND_TOMBSTONE else _object_of(row[:-1])
        for batch in key_batches([key_bytes(key) for key in keys_asked])
        for row in connection.execute(_DECIDED_AMONG, {"bucket": bucket, "keys": batch})
    }


def prefixes_with_tombstones(connection: Connection, bucket: str, prefixes: Sequence[str]) -> frozenset[str]:
    """See `Index.prefixes_with_tombstones`. The tombstone that is found behind one prefix also answers for the next ones."""
    found: set[str] = set()
    first: bytes | None = None
    for prefix in sorted({key_bytes(prefix) for prefix in prefixes}):
        if first is None or first < prefix:
            first = connection.execute(FIRST_TOMBSTONE, {"bucket": bucket, "start": prefix}).scalar_one_or_none()
        if first is None:
            break
        if first.startswith(prefix):
            found.add(prefix.decode())
    return frozenset(found)


def end_of(prefix: bytes) -> bytes:
    """The first bytes behind every key that begins with `prefix`."""
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix else _END


def _common_prefix(key: bytes, prefix_length: int, delimiter: bytes) -> bytes | None:
    if not delimiter:
        return None
    place = key.find(delimiter, prefix_length)
    return None if place < 0 else key[: place + len(delimiter)]


def _object_of(row: Any) -> ListedObject:
    key, size, etag, modified_at_s, provenance, headers, checksums = row
    algorithm, kind = _checksum_of(checksums)
    return ListedObject(
        key.decode(),
        size,
        etag,
        modified_at_s,
        _storage_class_of(headers),
        PROVENANCES[provenance],
        algorithm,
        kind,
    )


def _storage_class_of(headers: str) -> str:
    # Nearly no object has one, and to look into the text is a hundred times cheaper than to parse it.
    if STORAGE_CLASS_HEADER not in headers:
        return STORAGE_CLASS_DEFAULT
    return str(json.loads(headers).get(STORAGE_CLASS_HEADER, STORAGE_CLASS_DEFAULT))


def _checksum_of(checksums: str) -> tuple[str, str]:
    """Algorithm and type; empty where it has none, or no known type."""
    if checksums == "{}":
        return "", ""
    values = json.loads(checksums)
    kind = values.pop("type", "")
    return next(iter(values), ""), kind
