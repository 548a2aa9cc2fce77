"""Exports as they come, and as nobody should send them."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from addon.commands import d1_export
from addon.commands.d1_export import ExportColumns, ExportError, ExportRow, opened_export
from addon.commands.import_list import ImportList, NotATime, time_s
from addon.s3.object_urls import ObjectUrls

WRANGLER = """PRAGMA defer_foreign_keys=TRUE;
CREATE TABLE d1_migrations(
\t\tid         INTEGER PRIMARY KEY AUTOINCREMENT,
\t\tname       TEXT UNIQUE,
\t\tapplied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL
);
INSERT INTO "d1_migrations" ("id","name","applied_at") VALUES(1,'0001_init.sql','2024-01-01 00:00:00');
CREATE TABLE [media] (
  "id" INTEGER PRIMARY KEY AUTOINCREMENT, note TEXT DEFAULT (lower(hex(randomblob(4)))),
  `fileId` TEXT NOT NULL, url TEXT NOT NULL REFERENCES missing(url));
INSERT INTO "media" ("id","note","fileId","url") VALUES(1,'a;
b''c; -- no
;','F1','https://h/a'),(2,NULL,'F2','https://h/b'); -- and more
INSERT INTO "media" VALUES(3,replace('x\\ny','\\n',char(10)),'F3','https://h/c');
INSERT INTO media (url, fileId) VALUES ('https://h/d', 'F4');
DELETE FROM sqlite_sequence;
INSERT INTO "sqlite_sequence" VALUES('media',3);
CREATE UNIQUE INDEX by_url ON media(url);
CREATE TRIGGER away AFTER INSERT ON media BEGIN DELETE FROM media; END;
CREATE VIEW v AS SELECT * FROM media;
/* the end; */
"""
USUAL = ExportColumns()
LINKS = [(f"https://h/{name}", f"F{number}") for number, name in enumerate("abcd", 1)]


def rows_of(path: Path, columns: ExportColumns = USUAL) -> list[tuple[Any, Any, Any]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        opened_export(path, columns, folder=Path(folder), is_over=lambda: False) as rows,
    ):
        return [(row.url, row.file_id, row.time) for row in rows]


def links_of(path: Path, columns: ExportColumns = USUAL) -> list[tuple[Any, Any]]:
    return [row[:2] for row in rows_of(path, columns)]


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "export.sql"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        WRANGLER,
        WRANGLER.replace("\n", "\r\n"),
        "\ufeff" + WRANGLER,
        f"BEGIN TRANSACTION;\n{WRANGLER}COMMIT;\n",
        WRANGLER + "-- the end",
        f"DROP TABLE IF EXISTS media;\n{WRANGLER}",
        WRANGLER.rstrip(),
    ],
    ids=["as wrangler writes it", "CRLF", "BOM", "a transaction", "a comment", "DROP", "no last line end"],
)
def test_the_links_of_a_dump_are_read_whatever_stands_around_them(tmp_path: Path, text: str) -> None:
    assert links_of(written(tmp_path, text)) == LINKS


def test_table_and_columns_are_found_by_name_in_any_case(tmp_path: Path) -> None:
    path = written(tmp_path, WRANGLER)
    assert rows_of(path, ExportColumns("MEDIA", "URL", "fileid", "note"))[2] == ("https://h/c", "F3", "x\ny")


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=30)
            | st.sampled_from(["a;\n", "');\n--", "\n;\n", "\r\n;\r\n", "/* ;\n", "\ufeff"]),
            st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=5) | st.text("a';\n", max_size=9),
        ),
        max_size=8,
    )
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_sqlite_dumps_is_read_as_it_was(tmp_path: Path, rows: list[tuple[Any, Any]]) -> None:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE media (url, other DEFAULT 5, fileId)")
    database.executemany("INSERT INTO media (url, fileId) VALUES (?, ?)", rows)
    assert links_of(written(tmp_path, "\n".join(database.iterdump()))) == rows
    database.close()


@pytest.mark.parametrize(
    "definition",
    [
        "url TEXT PRIMARY KEY, fileId TEXT",
        "url TEXT PRIMARY KEY, fileId TEXT) WITHOUT ROWID --",
        "url TEXT UNIQUE, fileId TEXT NOT NULL, PRIMARY KEY (fileId, url)",
        "id INTEGER PRIMARY KEY AUTOINCREMENT, url TEXT NOT NULL UNIQUE CHECK (length(url) > 1), fileId TEXT",
        "url TEXT, fileId TEXT, host TEXT GENERATED ALWAYS AS (substr(url, 9)) STORED",
        "url TEXT, fileId TEXT REFERENCES files(id) ON DELETE CASCADE, at INTEGER DEFAULT (unixepoch())",
        "url TEXT, fileId TEXT) STRICT --",
    ],
)
def test_tables_may_be_defined_in_any_way(tmp_path: Path, definition: str) -> None:
    rows = [(f"https://h/{number:04}", f"F{number}") for number in range(300)]
    inserts = "".join(f"INSERT INTO media (url, fileId) VALUES ('{url}', '{file_id}');\n" for url, file_id in rows)
    path = written(tmp_path, f"CREATE TABLE media ({definition}\n);\n{inserts}CREATE INDEX i ON media(fileId, url);\n")
    if definition.endswith("--"):
        path.write_text(path.read_text().replace("\n);", "\n;", 1))
    assert links_of(path) == rows


DENIED = {
    "ATTACH DATABASE '{away}' AS away; CREATE TABLE away.x(y);": "open another file",
    "VACUUM INTO '{away}';": "open another file",
    "PRAGMA writable_schema=ON;": "PRAGMA writable_schema",
    "PRAGMA journal_mode=WAL;": "PRAGMA journal_mode",
    "PRAGMA temp_store_directory='{away}';": "PRAGMA temp_store_directory",
    "SELECT load_extension('{away}');": "load_extension()",
    "INSERT INTO media(url, fileId) SELECT readfile('/etc/passwd'), 1;": "no such function",
    "INSERT INTO media(url, fileId) SELECT writefile('{away}', 'x'), 1;": "no such function",
    "INSERT INTO media(url, fileId) VALUES (zeroblob(1000000000), 1);": "zeroblob()",
    "INSERT INTO media(url, fileId) VALUES (randomblob(2000000000), 1);": "too big",
    "INSERT INTO media(url) WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT x FROM c;": "recursive",
    "CREATE VIRTUAL TABLE f USING fts5(a);": "virtual table",
    "ROLLBACK;": "says of itself that it failed",
    "DETACH main;": "may not",
    "ALTER TABLE media RENAME TO other;": "may not",
    "nonsense;": "syntax error",
    "INSERT INTO media VALUES(1,'n','F','u');": "UNIQUE",
    "INSERT INTO missing VALUES(1);": "no such table",
    "INSERT INTO media VALUES('a',": "no end",
    "INSERT INTO media(url, fileId) VALUES('a": "no end",
    "BEGIN TRANSACTION;": "the transaction has no end",
    "INSERT INTO media(url, fileId) VALUES('\x00','b');": "zero byte",
}


@pytest.mark.parametrize("statement", DENIED)
def test_a_dump_that_wants_more_or_is_broken_is_refused_with_its_line(tmp_path: Path, statement: str) -> None:
    away = tmp_path / "away"
    path = written(tmp_path, WRANGLER + statement.replace("{away}", str(away)) + "\n")
    with pytest.raises(ExportError) as refusal:
        rows_of(path)
    assert DENIED[statement] in str(refusal.value)
    assert f"{path}, line 2" in str(refusal.value)
    assert not away.exists()
    assert os.listdir(tmp_path) == ["export.sql"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\xff\xfe\x00\x00", "neither a SQLite file nor UTF-8"),
        (b"PK\x03\x04\x80", "neither a SQLite file nor UTF-8"),
        (b"url,fileId\nhttps://h/a,F1\n", "no end"),
        (b"CREATE TABLE other(a);", "no table media (--table); its tables: other"),
        (b"SELECT 1;", "no table media (--table); its tables: none"),
        (b"CREATE TABLE media(link, fileId);", "no column url (--url-column); its columns: link, fileId"),
        (b"CREATE TABLE media(url, id);", "no column fileId (--file-id-column)"),
        (b"CREATE VIEW media AS SELECT 1 AS url, 2 AS fileId;", "no table media"),
        (b"SQLite format 3\x00" + bytes(5000), "cannot be read"),
    ],
)
def test_a_file_that_is_no_export_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(ExportError) as refusal:
        rows_of(written(tmp_path, content))
    assert said in str(refusal.value)


def test_a_file_that_is_not_there_or_is_none_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path, Path("/dev/zero")):
        with pytest.raises(ExportError, match="there is no file"):
            rows_of(path)


def database(folder: Path, *statements: str) -> Path:
    path = folder / "d1.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()
    return path


def test_a_sqlite_file_is_read_in_the_order_of_its_rows_and_left_as_it_is(tmp_path: Path) -> None:
    path = database(
        tmp_path,
        "CREATE TABLE media (fileId TEXT, url TEXT, other)",
        "CREATE INDEX covering ON media (url, fileId)",
        "INSERT INTO media VALUES ('F2', 'https://h/b', 1), ('F1', 'https://h/a', 2)",
    )
    before = path.read_bytes()
    path.chmod(0o444)
    assert links_of(path) == [("https://h/b", "F2"), ("https://h/a", "F1")]
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["d1.sqlite"]


def test_a_table_without_rowid_is_read(tmp_path: Path) -> None:
    path = database(
        tmp_path,
        "CREATE TABLE media (url TEXT PRIMARY KEY, fileId TEXT) WITHOUT ROWID",
        "INSERT INTO media VALUES ('https://h/a', 'F1')",
    )
    assert links_of(path) == [("https://h/a", "F1")]


def test_a_file_whose_log_is_not_in_it_yet_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "d1.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE media (url, fileId)")
    with pytest.raises(ExportError, match="wal_checkpoint"):
        rows_of(path)
    connection.execute("INSERT INTO media VALUES ('https://h/a', 'F1')")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert links_of(path) == [("https://h/a", "F1")]
    connection.close()
    assert links_of(path) == [("https://h/a", "F1")]
    assert os.listdir(tmp_path) == ["d1.sqlite"], "no log is begun for reading it"


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE t(a)", "CREATE VIEW media AS SELECT a AS url, a AS fileId FROM t"],
        ["CREATE VIRTUAL TABLE media USING fts5(url, fileId)"],
        ["CREATE TABLE t(a)"],
    ],
)
def test_what_a_sqlite_file_makes_up_itself_is_not_read(tmp_path: Path, statements: Sequence[str]) -> None:
    with pytest.raises(ExportError, match="no table media"):
        rows_of(database(tmp_path, *statements))


def test_limits_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, WRANGLER)
    monkeypatch.setattr(d1_export, "STATEMENT_CHARS_MAX", 200)
    with pytest.raises(ExportError, match="more than 200 characters"):
        rows_of(path)
    monkeypatch.setattr(d1_export, "DUMP_BYTES_MAX", 100)
    with pytest.raises(ExportError, match="at most 100"):
        rows_of(path)
    file = database(tmp_path, "CREATE TABLE media (url, fileId)")
    monkeypatch.setattr(d1_export, "DATABASE_BYTES_MAX", 100)
    with pytest.raises(ExportError, match="at most 100"):
        rows_of(file)


@pytest.mark.parametrize(
    "endless",
    [
        "INSERT INTO media(url, fileId) SELECT a.name, 1 FROM {many};".format(
            many=", ".join(
                f"(SELECT 1 AS name UNION ALL SELECT {n} UNION ALL SELECT 3) AS {chr(97 + n)}" for n in range(24)
            )
        ),
        "INSERT INTO media(url, fileId) VALUES ('" + ";\n" * 50_000 + "', 'F');",
    ],
    ids=["a product of tables", "a string of ends"],
)
def test_reading_ends_when_its_time_is_over(tmp_path: Path, endless: str) -> None:
    asked: list[None] = []

    def is_over() -> bool:
        asked.append(None)
        return len(asked) > 100

    path = written(tmp_path, WRANGLER + endless)
    with (
        pytest.raises(ExportError, match="reading it takes too long"),
        opened_export(path, ExportColumns(), folder=tmp_path, is_over=is_over),
    ):
        pass


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        (1_600_000_000, 1_600_000_000),
        (1_600_000_000.9, 1_600_000_000),
        (1_600_000_000_999, 1_600_000_000),
        ("1600000000", 1_600_000_000),
        ("2020-09-13", 1_599_955_200),
        ("2020-09-13 12:26:40", 1_600_000_000),
        ("2020-09-13T12:26:40.5Z", 1_600_000_000),
        ("2020-09-13T14:26:40+02:00", 1_600_000_000),
    ],
)
def test_times_are_read_in_the_forms_that_tables_have(value: Any, seconds: int | None) -> None:
    assert time_s(value) == seconds


@pytest.mark.parametrize(
    "value",
    ["yesterday", b"1600000000", -1, 10**30, "nan", "inf", float("inf"), "9999-99-99", "0001-01-01T00:00+14:00"],
)
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(NotATime):
        time_s(value)


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "%61", "c?x=1", "nothing"]), st.sampled_from(["F1", "F2", "F3", ""])),
        max_size=15,
    )
)
@settings(max_examples=50, deadline=None)
def test_each_row_is_a_link_or_a_repetition_or_named(rows: list[tuple[str, str]]) -> None:
    named: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        links = ImportList(Path(folder), ObjectUrls({"h": "pictures"}, {}), lambda *said: named.append(said))
        expected: dict[str, str] = {}
        for name, file_id in rows:
            links.add(ExportRow(f"https://{'h' if name != 'nothing' else 'other'}/{name}", file_id, None))
            if name != "nothing" and file_id:
                key = {"%61": "a", "c?x=1": "c"}.get(name, name)
                expected.pop(key, None)
                expected[key] = file_id
        assert [(link.key, link.file_id) for link in links] == list(expected.items())
        assert links.rows == len(rows) == len(links) + len(named) + links.repeated
        links.close()
