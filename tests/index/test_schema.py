"""The migrations lead to the tables that the code sees, and a newer database is refused."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from addon.index.schema import head_revision
from addon.index.sql_index import open_index
from addon.index.tables import metadata
from addon.store.ports import IndexUnavailable
from tests.index.samples import BUCKET, new_object


async def test_the_migrations_lead_to_the_tables_of_the_code(tmp_path: Path) -> None:
    index = await open_index(f"sqlite:///{tmp_path}/index.db")
    await index.close()
    engine = create_engine(f"sqlite:///{tmp_path}/index.db")
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
        built = {
            name: "WITHOUT ROWID" in sql
            for name, sql in connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
        }
    engine.dispose()
    assert differences == []
    for name, table in metadata.tables.items():
        assert built[name] == (not table.dialect_options["sqlite"]["with_rowid"])


async def test_a_newer_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/index.db"
    index = await open_index(url)
    record = await index.put_object(new_object("a", "d1"))
    await index.close()
    with closing(sqlite3.connect(tmp_path / "index.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(IndexUnavailable, match=r"revision 9999.*newer version"):
        await open_index(url)
    with closing(sqlite3.connect(tmp_path / "index.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [head_revision()])
    index = await open_index(url)
    assert await index.key_state(BUCKET, "a") == record
    await index.close()


async def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "index.db")) as connection, connection:
        connection.execute("CREATE TABLE copy_jobs (mine INTEGER)")
    with pytest.raises(IndexUnavailable, match="already exists"):
        await open_index(f"sqlite:///{tmp_path}/index.db")
    with closing(sqlite3.connect(tmp_path / "index.db")) as connection:
        assert connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall() == [("copy_jobs",)]
