"""All that is true of SQLite only: how a file is opened and set up, and how its transactions begin.

The settings, and what they are for: a write-ahead log, so that a reader never waits for the writer; `synchronous = FULL`, so that a
commit that returned is on the disk; `BEGIN IMMEDIATE` for whatever writes, so that two writers queue for the lock at the beginning
and a transaction never fails half way because another one got in; foreign keys, which SQLite leaves unchecked by default.
https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.pool import NullPool

from addon.store.ports import IndexUnavailable

# The switch to the write-ahead log does not wait for a lock by itself, so it is tried again.
_WAL_TRIES_MAX = 200
_WAL_PAUSE_S = 0.05
# What the log may keep on disk once it has been written back.
_WAL_BYTES_KEPT_MAX = 64 << 20

# Files that SQLite keeps beside a database.
FILES_BESIDE = ("-wal", "-shm")

_WRITES = {"tgstore_begin": "BEGIN IMMEDIATE"}


def path_of(url: str) -> Path:
    """The file that a `sqlite:///…` URL names. Raises ValueError for any other URL."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ValueError("index.url is not a database URL; expected sqlite:///path/to/file.db") from None
    if parsed.drivername not in {"sqlite", "sqlite+pysqlite"} or parsed.host or parsed.query:
        raise ValueError("index.url must have the form sqlite:///path/to/file.db")
    if not parsed.database or parsed.database == ":memory:":
        raise ValueError("index.url must name a file: an index in memory would forget every object")
    return Path(parsed.database)


def recovering_path(path: Path) -> Path:
    """Where an index lies that is being recovered, and is to be at `path`."""
    return path.with_name(path.name + ".recovering")


def refuse_while_recovering(path: Path) -> None:
    """Raises IndexUnavailable where the index is being recovered: what is there of it is not all."""
    if recovering_path(path).exists():
        raise IndexUnavailable(
            "the index is being recovered: run `tgstore recover` to its end, or delete "
            f"{recovering_path(path)} to give it up"
        )


def create_folder(path: Path) -> None:
    """Make the folder of the file, so that it survives a power cut together with the file. Raises OSError."""
    missing = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        descriptor = os.open(folder.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def create_sqlite_engine(path: Path, *, busy_timeout_s: float) -> Engine:
    """An engine without a pool: who needs a connection holds it. A connection may wander between threads, one at a time.

    `busy_timeout_s` is how long a statement waits for another process's lock.
    """
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"timeout": busy_timeout_s, "check_same_thread": False, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_KEPT_MAX}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A connection that only reads begins nothing: each of its statements sees the newest commit.
        statement = connection.get_execution_options().get("tgstore_begin")
        if statement is not None:
            connection.exec_driver_sql(statement)

    return engine


def connect_to_write(engine: Engine) -> Connection:
    """A connection each of whose transactions takes the write lock when it begins."""
    return engine.connect().execution_options(**_WRITES)


@contextlib.contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """All statements within see one and the same commit. For connections that only read."""
    connection.exec_driver_sql("BEGIN")
    try:
        yield
    finally:
        connection.exec_driver_sql("ROLLBACK")


def turn_on_write_ahead_log(engine: Engine, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Switch the file to its write-ahead log, for good. Raises SQLAlchemy's errors, and IndexUnavailable where it cannot be had."""
    with engine.connect() as connection:
        for tries_left in reversed(range(_WAL_TRIES_MAX)):
            try:
                mode = connection.exec_driver_sql("PRAGMA journal_mode = WAL").scalar_one()
            except OperationalError as error:
                if not tries_left or not _is_locked(error):
                    raise
            else:
                if mode == "wal":
                    return
                if not tries_left:
                    raise IndexUnavailable(f"the index's file system takes no write-ahead log (journal mode {mode})")
            sleep(_WAL_PAUSE_S)


def copy_database(engine: Engine, path: Path) -> None:
    """Write a consistent copy of the database into a new file, without holding anybody up. Raises SQLAlchemy's errors."""
    with engine.connect() as connection:
        connection.exec_driver_sql("VACUUM INTO ?", (str(path),))  # https://www.sqlite.org/lang_vacuum.html


def is_transaction_lost(connection: Connection) -> bool:
    """Whether SQLite rolled the whole transaction back by itself, as it may when the disk is full or fails."""
    driver = connection.connection.dbapi_connection
    return not (isinstance(driver, sqlite3.Connection) and driver.in_transaction)


class FileIdentity:
    """Tells whether the file that is open is still the one that its name means.

    A file that was deleted or replaced can be written to as long as it is open, and all that is written is lost.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity = self._look()

    def check(self) -> None:
        """Raises IndexUnavailable where the file was deleted or replaced, OSError where it cannot be looked at."""
        if self._look() != self._identity:
            raise IndexUnavailable(
                "the index's file was deleted or replaced while it was open; restart to open the new one"
            )

    def _look(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino


def _is_locked(error: OperationalError) -> bool:
    return "locked" in str(error.orig) or "busy" in str(error.orig)
