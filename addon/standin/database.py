"""The SQLite file that holds a world: its tables, and transactions over them."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (scope TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chats (
    id INTEGER PRIMARY KEY, type TEXT NOT NULL, title TEXT NOT NULL, username TEXT,
    protected INTEGER NOT NULL DEFAULT 0, deleted INTEGER NOT NULL DEFAULT 0, migrated_to INTEGER
);
CREATE TABLE IF NOT EXISTS members (
    chat_id INTEGER NOT NULL, bot_id INTEGER NOT NULL, state TEXT NOT NULL, denied TEXT NOT NULL DEFAULT '[]',
    PRIMARY KEY (chat_id, bot_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (
    id INTEGER PRIMARY KEY AUTOINCREMENT, unique_of INTEGER NOT NULL, blob TEXT NOT NULL, size INTEGER NOT NULL,
    sha256 TEXT NOT NULL, kind TEXT NOT NULL, file_name TEXT NOT NULL, mime_type TEXT NOT NULL,
    thumbnail INTEGER NOT NULL DEFAULT 0, dead INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS documents_by_sha256 ON documents (sha256);
CREATE TABLE IF NOT EXISTS messages (
    owner_id INTEGER NOT NULL, chat_id INTEGER NOT NULL, id INTEGER NOT NULL,
    sender_id INTEGER NOT NULL, kind TEXT NOT NULL, date INTEGER NOT NULL, edit_date INTEGER NOT NULL DEFAULT 0,
    edits INTEGER NOT NULL DEFAULT 0, document_id INTEGER, text TEXT NOT NULL DEFAULT '', entities TEXT NOT NULL DEFAULT '[]',
    media_group_id TEXT, forward TEXT, reply_to_id INTEGER, protected INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (owner_id, chat_id, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS messages_by_document ON messages (document_id);
CREATE TABLE IF NOT EXISTS pins (
    owner_id INTEGER NOT NULL, chat_id INTEGER NOT NULL, message_id INTEGER NOT NULL,
    PRIMARY KEY (owner_id, chat_id, message_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead_file_ids (nonce BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS slots (
    bot_id INTEGER NOT NULL, number INTEGER NOT NULL, document_id INTEGER NOT NULL, path TEXT NOT NULL,
    made_at REAL NOT NULL, expired INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (bot_id, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS slots_by_path ON slots (bot_id, path);
CREATE INDEX IF NOT EXISTS slots_by_document ON slots (bot_id, document_id);
CREATE TABLE IF NOT EXISTS updates (
    bot_id INTEGER NOT NULL, id INTEGER NOT NULL, date INTEGER NOT NULL, payload TEXT NOT NULL,
    PRIMARY KEY (bot_id, id)
) WITHOUT ROWID;
"""

_TABLES = (
    "counters",
    "chats",
    "members",
    "documents",
    "messages",
    "pins",
    "dead_file_ids",
    "slots",
    "updates",
)


class Database:
    """One SQLite connection, used from the event loop's thread only."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        # The stand-in promises to survive the end of its process, however sudden, but not the loss of power:
        # so nothing waits for the disk.
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        self._connection.close()

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: object) -> sqlite3.Row | None:
        found: sqlite3.Row | None = self._connection.execute(sql, values).fetchone()
        return found

    def change(self, sql: str, *values: object) -> int:
        """Run one statement that writes; the identifier of an inserted row is returned."""
        return self._connection.execute(sql, values).lastrowid or 0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; a transaction within another one belongs to it."""
        if self._connection.in_transaction:
            yield
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def commit_early(self) -> None:
        """Keep what the open transaction has done so far, whatever becomes of the rest."""
        self._connection.execute("COMMIT")
        self._connection.execute("BEGIN IMMEDIATE")

    def count_up(self, scope: str, start: int) -> int:
        """The next number of a counter that begins at `start` and never gives a number twice."""
        row = self.row(
            "INSERT INTO counters VALUES (?, ?) ON CONFLICT (scope) DO UPDATE SET value = value + 1 RETURNING value",
            scope,
            start,
        )
        if row is None:
            raise RuntimeError("the counter gave no number")
        return int(row["value"])

    def setting(self, name: str, default: str) -> str:
        """A value kept with the world; `default` is written down when there is none yet."""
        self.change("INSERT OR IGNORE INTO settings VALUES (?, ?)", name, default)
        row = self.row("SELECT value FROM settings WHERE name = ?", name)
        return default if row is None else str(row["value"])

    def set_setting(self, name: str, value: str) -> None:
        self.change("INSERT OR REPLACE INTO settings VALUES (?, ?)", name, value)

    def clear(self) -> None:
        """Forget everything except the settings."""
        with self.transaction():
            for table in _TABLES:
                self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - names from the constant above, never input
