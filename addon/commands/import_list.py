"""The links of an import on disk: one file for each key, and what is said of rows that give none."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from addon.commands.d1_export import ExportRow
from addon.s3.object_urls import NotOurs, ObjectUrls
from addon.store.importer import Link

BATCH_LENGTH = 500
# Numbers above this are milliseconds: as seconds they would lie in the year 5138.
SECONDS_MAX = 100_000_000_000
TIME_S_MAX = 253_402_300_799  # The last second of the year 9999, which is as far as HTTP dates go.

_TABLE = """
CREATE TABLE links (
    number INTEGER PRIMARY KEY,
    bucket TEXT NOT NULL,
    key BLOB NOT NULL,
    url TEXT NOT NULL,
    file_id TEXT NOT NULL,
    uploaded_at_s INTEGER,
    UNIQUE (bucket, key)
)
"""


class ImportList:
    """Links by key, kept in `folder`. It may hold millions. Used from one thread at a time.

    Where several rows name files of one key, the last row stands, as the last upload does. `dropped` is told the URL and the reason
    of each row that gives no link.
    """

    def __init__(self, folder: Path, urls: ObjectUrls, dropped: Callable[[str, str], None]) -> None:
        self._urls, self._dropped = urls, dropped
        self._connection = sqlite3.connect(folder / "links.db", isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE"):
            self._connection.execute(f"PRAGMA {pragma}").fetchall()
        self._connection.execute(_TABLE)
        self.rows = self.repeated = self.with_queries = 0

    def __len__(self) -> int:
        (count,) = self._connection.execute("SELECT count(*) FROM links").fetchone()
        return int(count)

    def add(self, row: ExportRow) -> None:
        """Take a row, or say why it gives no link."""
        self.rows += 1
        if not isinstance(row.url, str):
            return self._dropped(f"row {self.rows}", "its URL is no text")
        if not isinstance(row.file_id, str) or not row.file_id:
            return self._dropped(row.url, "its file_id is no text, or empty")
        try:
            found = self._urls.read(row.url)
            uploaded_at_s = time_s(row.time)
        except NotOurs as reason:
            return self._dropped(row.url, str(reason))
        except NotATime:
            return self._dropped(row.url, "its time is neither seconds, milliseconds nor an ISO 8601 date")
        self.with_queries += found.has_more
        return self._put(Link(found.bucket, found.key, row.url, row.file_id, uploaded_at_s))

    def _put(self, link: Link) -> None:
        key = link.key.encode()
        former = self._connection.execute(
            "SELECT url, file_id FROM links WHERE bucket = ? AND key = ?", (link.bucket, key)
        ).fetchone()
        if former is not None:
            if former[1] == link.file_id:
                self.repeated += 1
            else:
                self._dropped(former[0], "a later row has another file for the same key")
        self._connection.execute(
            "INSERT OR REPLACE INTO links (bucket, key, url, file_id, uploaded_at_s) VALUES (?, ?, ?, ?, ?)",
            (link.bucket, key, _storable(link.url), _storable(link.file_id), link.uploaded_at_s),
        )

    def __iter__(self) -> Iterator[Link]:
        """All links, in the order of their rows."""
        number = 0
        while batch := self._connection.execute(
            "SELECT number, bucket, key, url, file_id, uploaded_at_s FROM links WHERE number > ? ORDER BY number LIMIT ?",
            (number, BATCH_LENGTH),
        ).fetchall():
            for number, bucket, key, url, file_id, uploaded_at_s in batch:  # noqa: B007 -- the next batch begins behind it
                yield Link(bucket, key.decode(), url, file_id, uploaded_at_s)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


def _storable(text: str) -> str:
    """Without what SQLite's text does not take; such a file_id is none anyway."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "?")


class NotATime(Exception):
    """A value that says no time which an object could have."""


def time_s(value: Any) -> int | None:
    """Whole UNIX seconds of a column's value: a number of seconds or milliseconds (also as text), or an ISO 8601 date, which is UTC
    where it names no zone. None for NULL and the empty text. Raises `NotATime` for anything else."""
    if value is None or value == "":
        return None
    try:
        seconds = _seconds(value)
    except (ValueError, OverflowError):
        raise NotATime from None
    if not 0 <= seconds <= TIME_S_MAX:
        raise NotATime
    return int(seconds)


def _seconds(value: Any) -> float:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            at = datetime.fromisoformat(value.strip())
            return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise NotATime
    return value / 1000 if value > SECONDS_MAX else value
