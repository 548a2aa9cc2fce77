"""Fills our own index directly: rows as the product writes them, of objects whose bytes nobody will ask for."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Table

from addon.index import tables
from addon.index.rows import document_row, extent_rows, object_row
from addon.index.sql_index import open_index
from addon.store.records import Document, Extent, NewObject, Provenance

ROWS_A_STATEMENT = 10_000
SIZE = 1000
MODIFIED_AT_S = 1_700_000_000
HEADERS = {
    "content-type": "image/jpeg",
    "cache-control": "max-age=31536000",
    "x-amz-meta-camera": "a camera of some kind",
}
ETAG = hashlib.md5(bytes(SIZE)).hexdigest()


async def create_index(path: Path) -> None:
    """An empty index at `path`."""
    await (await open_index(f"sqlite:///{path}")).close()


def document_id(number: int) -> str:
    """The id of such a document."""
    return f"{number:032x}"


def document(number: int) -> Document:
    """A document that is a row only."""
    return Document(
        document_id=document_id(number),
        chat_id=-1001234567890,
        message_id=number,
        bot_id=123456,
        file_id=f"BQACAgIAAx0CT{number:051d}",
        file_unique_id=f"AgAD{number:012d}",
        size=SIZE + 100,
    )


def moved(bucket: str, key: str, number: int) -> NewObject:
    """A copy of one of the origin's objects."""
    return NewObject(
        bucket=bucket,
        key=key,
        size=SIZE,
        etag=ETAG,
        last_modified_s=MODIFIED_AT_S,
        provenance=Provenance.COPIED_FROM_ORIGIN,
        anonymous_read=False,
        headers=HEADERS,
        checksums={},
        extents=[Extent(document(number), 0, SIZE, hashlib.sha256(b"%d" % number).digest())],
    )


def add_moved(path: Path, bucket: str, keys: Iterable[tuple[int, str]]) -> None:
    """Add moved objects with these numbers and keys. The product must not be running."""
    with closing(sqlite3.connect(path, isolation_level=None)) as index:
        index.execute("PRAGMA synchronous = OFF")
        index.execute("PRAGMA cache_size = -500000")
        remaining = iter(keys)
        form = _Form(moved(bucket, "", 0))
        while batch := list(islice(remaining, ROWS_A_STATEMENT)):
            index.execute("BEGIN")
            _insert(index, tables.keys, (form.object_row(number, key) for number, key in batch))
            _insert(index, tables.documents, (form.document_row(number) for number, _ in batch))
            _insert(index, tables.extents, (form.extent_row(number, key) for number, key in batch))
            index.execute("UPDATE counters SET value = max(value, ?)", (batch[-1][0],))
            index.execute("COMMIT")
        index.execute("PRAGMA wal_checkpoint(TRUNCATE)")


class _Form:
    """The rows of one object, as the product makes them, and the same of others: to make each anew takes ten times as long."""

    def __init__(self, new: NewObject) -> None:
        extent = new.extents[0]
        self._object = object_row(new, 0)
        self._document = document_row(extent.document, created_at_s=MODIFIED_AT_S, garbage_since_s=None)
        (self._extent,) = extent_rows({"bucket": new.bucket, "key": b""}, [extent])

    def object_row(self, number: int, key: str) -> Mapping[str, Any]:
        return {**self._object, "generation": number, "key": key.encode()}

    def document_row(self, number: int) -> Mapping[str, Any]:
        return {**self._document, "document_id": document_id(number), "message_id": number}

    def extent_row(self, number: int, key: str) -> Mapping[str, Any]:
        return {**self._extent, "key": key.encode(), "document_id": document_id(number)}


def _insert(index: sqlite3.Connection, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
    names = [column.name for column in table.columns]
    quoted = ", ".join(f'"{name}"' for name in names)
    places = ", ".join(f":{name}" for name in names)
    index.executemany(f'INSERT INTO "{table.name}" ({quoted}) VALUES ({places})', rows)
