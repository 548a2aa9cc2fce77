"""Exports of a Cloudflare D1 database: a SQLite file, or the SQL dump that `wrangler d1 export` writes.

A dump is somebody's text. It is carried out by SQLite, which alone knows its grammar, in a throw-away database: statement by
statement, behind an authorizer that lets nothing but tables be made and rows be written, with a limit on size and on time. What a
dump of a whole database holds beside the asked-for table (indexes, triggers, views, other tables' rows) is passed over. A SQLite
file is opened to be read only and unchanging, behind an authorizer too: what it defines itself (views, virtual tables) is not run.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from addon.commands.output import printable

DUMP_BYTES_MAX = 4 << 30
STATEMENT_CHARS_MAX = 16 << 20  # D1 itself takes statements of 100 KB.
VALUE_BYTES_MAX = 4 * STATEMENT_CHARS_MAX
DATABASE_BYTES_MAX = 16 << 30  # D1 databases have 10 GB at most.
PROGRESS_STEPS = 10_000
PAGE_BYTES = 4096
ERROR_LENGTH_MAX = 300

_SQLITE_BEGINNING = b"SQLite format 3\x00"
_COMMENTS = re.compile(r"--[^\n]*|/\*.*?\*/|\s+", re.DOTALL)

# What a dump may do. Statements of the second kind are compiled to nothing (SQLITE_IGNORE), all others are refused.
_CARRIED_OUT = {
    sqlite3.SQLITE_CREATE_TABLE,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_UPDATE,
    sqlite3.SQLITE_DELETE,
}
_PASSED_OVER = {
    sqlite3.SQLITE_CREATE_TRIGGER,
    sqlite3.SQLITE_CREATE_VIEW,
    sqlite3.SQLITE_DROP_INDEX,
    sqlite3.SQLITE_DROP_TRIGGER,
    sqlite3.SQLITE_DROP_VIEW,
    sqlite3.SQLITE_DROP_TABLE,
    sqlite3.SQLITE_ANALYZE,
    sqlite3.SQLITE_REINDEX,
}
_HARMLESS_PRAGMAS = {"defer_foreign_keys", "foreign_keys", "user_version", "application_id", "encoding"}
# What dumps spell strings with, and what definitions of columns use. Nothing here reads or writes anything.
_FUNCTIONS = {
    *(
        "replace",
        "char",
        "unistr",
        "hex",
        "unhex",
        "lower",
        "upper",
        "length",
        "substr",
        "trim",
        "abs",
        "round",
        "coalesce",
    ),
    *("ifnull", "json", "json_valid", "json_object", "json_array", "typeof", "like", "glob", "randomblob", "random"),
    *(
        "date",
        "time",
        "datetime",
        "julianday",
        "strftime",
        "unixepoch",
        "current_timestamp",
        "current_date",
        "current_time",
    ),
}
_SCHEMA_TABLES = {"sqlite_master", "sqlite_schema", "sqlite_sequence", "sqlite_stat1", "sqlite_stat4"}


class ExportError(Exception):
    """The export cannot be read; the text says where and why."""


@dataclass(frozen=True, slots=True)
class ExportColumns:
    """Which table holds the links, and in which columns; `time` is None where no column says when a file was uploaded."""

    table: str = "media"
    url: str = "url"
    file_id: str = "fileId"
    time: str | None = None


@dataclass(frozen=True, slots=True)
class ExportRow:
    """A row as it is; nobody has looked at the values yet."""

    url: Any
    file_id: Any
    time: Any


@contextlib.contextmanager
def opened_export(
    path: Path, columns: ExportColumns, *, folder: Path, is_over: Callable[[], bool]
) -> Iterator[Iterator[ExportRow]]:
    """The rows of an export, in the order in which they were inserted. `folder` is where a dump's database may be made; reading
    ends with an error as soon as `is_over` says so.

    It blocks, and belongs into a worker thread. Raises `ExportError`, also while the rows are read.
    """
    if not path.is_file():
        raise ExportError(f"there is no file {path}")
    try:
        with path.open("rb") as file:
            beginning = file.read(len(_SQLITE_BEGINNING))
        size = path.stat().st_size
    except OSError as failure:
        raise ExportError(f"{path} cannot be read: {failure.strerror}") from None
    if not size:
        raise ExportError(f"{path} is empty")
    with contextlib.ExitStack() as stack:
        if beginning == _SQLITE_BEGINNING:
            connection = stack.enter_context(contextlib.closing(_open_file(path, size)))
        else:
            made_in = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="import-", dir=folder)))
            connection = stack.enter_context(contextlib.closing(_made_of_dump(path, size, made_in, columns, is_over)))
        # A text that is not UTF-8 is for whoever looks at the values: it must not end the reading of all others.
        connection.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
        connection.set_progress_handler(is_over, PROGRESS_STEPS)
        connection.set_authorizer(_only_reads)
        yield _rows(connection, path, columns)


def _open_file(path: Path, size: int) -> sqlite3.Connection:
    if size > DATABASE_BYTES_MAX:
        raise ExportError(f"{path} has {size} bytes; at most {DATABASE_BYTES_MAX} are read")
    beside = path.with_name(f"{path.name}-wal")
    if beside.exists() and beside.stat().st_size:
        raise ExportError(
            f"{path} is not whole: what was written last is still in {beside.name}. Put it in with: "
            f"sqlite3 {path.name} 'PRAGMA wal_checkpoint(TRUNCATE)'"
        )
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)
        return connection
    except sqlite3.Error as error:
        raise ExportError(f"{path} cannot be opened: {_said(error)}") from None


def _made_of_dump(
    path: Path, size: int, folder: Path, columns: ExportColumns, is_over: Callable[[], bool]
) -> sqlite3.Connection:
    if size > DUMP_BYTES_MAX:
        raise ExportError(f"{path} has {size} bytes; of a dump at most {DUMP_BYTES_MAX} are read")
    connection = sqlite3.connect(folder / "dump.db", isolation_level=None, check_same_thread=False)
    try:
        # Nothing of it has to outlive this process.
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", "trusted_schema = OFF"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute(f"PRAGMA max_page_count = {DATABASE_BYTES_MAX // PAGE_BYTES}").fetchall()
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)
        connection.set_progress_handler(is_over, PROGRESS_STEPS)
        _Dump(path, connection, columns.table, is_over).carry_out()
    except BaseException:
        connection.close()
        raise
    return connection


class _Dump:
    """One dump on its way into a database."""

    def __init__(self, path: Path, connection: sqlite3.Connection, table: str, is_over: Callable[[], bool]) -> None:
        self._path, self._connection, self._is_over = path, connection, is_over
        self._table = table.lower()
        self._refused = ""
        self._in_transaction = False

    def carry_out(self) -> None:
        """Raises `ExportError`."""
        self._connection.set_authorizer(self._may)
        statement, line_number, begun_at = "", 0, 1
        try:
            # Line ends within strings are data, so none is translated.
            with self._path.open(encoding="utf-8-sig", newline="\n") as file:
                while line := file.readline(STATEMENT_CHARS_MAX + 1):
                    line_number += 1
                    if not statement:
                        begun_at = line_number
                    statement += line
                    if "\0" in line:
                        raise self._error(line_number, "it holds a zero byte, which no SQL does")
                    if len(statement) > STATEMENT_CHARS_MAX:
                        raise self._error(begun_at, f"a statement has more than {STATEMENT_CHARS_MAX} characters")
                    # Only a line that ends so can end a statement, and to look costs as much as the statement is long.
                    if line.rstrip().endswith(";"):
                        if self._is_over():
                            raise self._error(line_number, "reading it takes too long")
                        if sqlite3.complete_statement(statement):
                            self._run(statement, begun_at)
                            statement = ""
        except UnicodeDecodeError:
            raise self._error(line_number + 1, "it is neither a SQLite file nor UTF-8 text") from None
        except OSError as failure:
            raise ExportError(f"{self._path} cannot be read: {failure.strerror}") from None
        if _COMMENTS.sub("", statement):
            if sqlite3.complete_statement(statement):
                self._run(statement, begun_at)
            else:
                raise self._error(
                    begun_at, "the statement that begins here has no end: the file is not whole, or no SQL"
                )
        if self._in_transaction:
            raise self._error(line_number, "the transaction has no end: the file is not whole")

    def _run(self, statement: str, line_number: int) -> None:
        try:
            self._connection.executescript(statement)
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            said = f"a dump may not {self._refused}" if self._refused else _said(error)
            raise self._error(line_number, said) from None

    def _may(
        self, action: int, first: str | None, second: str | None, database: str | None, _trigger: str | None
    ) -> int:
        """The authorizer: https://www.sqlite.org/c3ref/c_alter_table.html names the actions and what comes with each."""
        if action in _CARRIED_OUT:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_CREATE_INDEX:
            # A table without the index of its own primary key would be broken; all other indexes are for others.
            own = (first or "").startswith("sqlite_autoindex_")
            return sqlite3.SQLITE_OK if own else sqlite3.SQLITE_IGNORE
        if action in _PASSED_OVER:
            return sqlite3.SQLITE_IGNORE
        if action == sqlite3.SQLITE_INSERT:
            name = (first or "").lower()
            # SQLite's own books of a table that is made are written by this action too.
            return sqlite3.SQLITE_OK if name == self._table or name == "sqlite_master" else sqlite3.SQLITE_IGNORE
        if action == sqlite3.SQLITE_TRANSACTION and first in ("BEGIN", "COMMIT"):
            self._in_transaction = first == "BEGIN"
            return sqlite3.SQLITE_IGNORE
        if action == sqlite3.SQLITE_PRAGMA and (first or "").lower() in _HARMLESS_PRAGMAS:
            return sqlite3.SQLITE_IGNORE
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FUNCTIONS:
            return sqlite3.SQLITE_OK
        self._refused = _REFUSED.get(action, "do this").format(first=first, second=second)
        return sqlite3.SQLITE_DENY

    def _error(self, line_number: int, said: str) -> ExportError:
        return ExportError(f"{self._path}, line {line_number}: {said}")


_REFUSED = {
    sqlite3.SQLITE_ATTACH: "open another file",
    sqlite3.SQLITE_PRAGMA: "set PRAGMA {first}",
    sqlite3.SQLITE_FUNCTION: "call {second}()",
    sqlite3.SQLITE_CREATE_VTABLE: "make a virtual table (export the one table: wrangler d1 export --table)",
    sqlite3.SQLITE_RECURSIVE: "hold recursive queries",
    sqlite3.SQLITE_TRANSACTION: "take back what it did (it says of itself that it failed)",
}


def _only_reads(action: int, first: str | None, second: str | None, database: str | None, _source: str | None) -> int:
    """The authorizer of our own query: it reads tables, and what a file defines itself can make nothing else of it."""
    if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ):
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FUNCTIONS:
        return sqlite3.SQLITE_OK  # A generated column calls it.
    return sqlite3.SQLITE_DENY


def _rows(connection: sqlite3.Connection, path: Path, columns: ExportColumns) -> Iterator[ExportRow]:
    try:
        _check_table(connection, path, columns)
        for url, file_id, at in _select(connection, columns):
            yield ExportRow(url, file_id, at)
    except sqlite3.Error as error:
        raise ExportError(f"{path} cannot be read: {_said(error)}") from None


def _check_table(connection: sqlite3.Connection, path: Path, columns: ExportColumns) -> None:
    """Raises `ExportError` where there is no such table, or no such column in it."""
    tables = connection.execute("SELECT name, rootpage FROM sqlite_master WHERE type = 'table'").fetchall()
    # A virtual table has no pages of its own: other code would make its rows.
    real = [name for name, rootpage in tables if rootpage and name.lower() not in _SCHEMA_TABLES]
    if columns.table.lower() not in [name.lower() for name in real]:
        known = ", ".join(printable(name) for name in real[:20]) or "none"
        raise ExportError(f"{path} has no table {columns.table} (--table); its tables: {known}")
    description = connection.execute(f"SELECT * FROM {_quoted(columns.table)} LIMIT 0").description  # noqa: S608 -- quoted
    there = [column[0] for column in description]
    for name, option in (
        (columns.url, "--url-column"),
        (columns.file_id, "--file-id-column"),
        (columns.time, "--time-column"),
    ):
        if name is not None and name.lower() not in [column.lower() for column in there]:
            listed = ", ".join(printable(column) for column in there[:50])
            raise ExportError(
                f"{path}: the table {columns.table} has no column {name} ({option}); its columns: {listed}"
            )


def _select(connection: sqlite3.Connection, columns: ExportColumns) -> sqlite3.Cursor:
    at = "NULL" if columns.time is None else _quoted(columns.time)
    statement = f"SELECT {_quoted(columns.url)}, {_quoted(columns.file_id)}, {at} FROM {_quoted(columns.table)}"  # noqa: S608 -- quoted
    try:
        return connection.execute(f"{statement} ORDER BY rowid")
    except sqlite3.OperationalError as error:
        if "rowid" not in str(error):
            raise
    return connection.execute(statement)  # A table WITHOUT ROWID remembers no order.


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _said(error: Exception) -> str:
    """SQLite's words, which may quote the file."""
    text = str(error)
    return "reading it takes too long" if text == "interrupted" else printable(text[:ERROR_LENGTH_MAX])
