"""What can go wrong with the file: read-only, locked, full, deleted, replaced, no index at all; and two processes at once."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from addon.index.sql_index import open_index
from addon.index.sqlite import path_of
from addon.store.ports import IndexUnavailable
from addon.store.records import ObjectRecord
from tests.index.samples import BUCKET, new_object

NOBODY = 65534
ROOT = Path(__file__).parents[2]


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root may write read-only files; so be someone else for a while."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///data/tgstore.db", "data/tgstore.db"),
        ("sqlite:////var/lib/tgstore.db", "/var/lib/tgstore.db"),
        ("sqlite:///with space.db", "with space.db"),
    ],
)
def test_the_url_names_a_file(url: str, path: str) -> None:
    assert path_of(url) == Path(path)


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "sqlite:///a.db?mode=ro", "postgresql://h/d", "a.db", "", "sqlite://h/a"]
)
def test_any_other_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"^index\.url "):
        path_of(url)


async def test_a_fresh_file_is_made_with_its_folder_and_kept(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/some/folder/index.db"
    index = await open_index(url)
    record = await index.put_object(new_object("a", "d1"))
    await index.close()
    index = await open_index(url)
    assert await index.key_state(BUCKET, "a") == record
    await index.close()


async def test_a_relative_path_starts_at_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    index = await open_index("sqlite:///data/index.db")
    await index.close()
    assert (tmp_path / "data" / "index.db").is_file()


async def test_every_commit_is_on_the_disk_before_it_is_acknowledged(tmp_path: Path) -> None:
    index = await open_index(f"sqlite:///{tmp_path}/index.db")

    def pragmas(connection: object) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names]  # type: ignore[attr-defined]

    full = 2
    assert await index._writer.run(pragmas) == ["wal", full, 1]
    await index.close()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.db").write_bytes(b"this is no database, only some text that is long enough\n" * 100)
    with pytest.raises(IndexUnavailable, match="not a database"):
        await open_index(f"sqlite:///{tmp_path}/index.db")


async def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IndexUnavailable, match="cannot be opened"):
        await open_index(f"sqlite:///{tmp_path}")


async def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(IndexUnavailable, match="cannot be opened"):
        await open_index(f"sqlite:///{tmp_path}/data/index.db")


async def test_a_read_only_file_is_refused_at_the_start(open_folder: Path) -> None:
    index = await open_index(f"sqlite:///{open_folder}/index.db")
    await index.close()
    (open_folder / "index.db").chmod(0o444)
    with without_privileges(), pytest.raises(IndexUnavailable, match="readonly"):
        await open_index(f"sqlite:///{open_folder}/index.db")


async def test_a_database_locked_by_another_process_is_unavailable_for_writes_and_readable(tmp_path: Path) -> None:
    index = await open_index(f"sqlite:///{tmp_path}/index.db", busy_timeout_s=0.05)
    record = await index.put_object(new_object("a", "d1"))
    with closing(sqlite3.connect(tmp_path / "index.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(IndexUnavailable, match="locked"):
            await index.put_object(new_object("a", "d2"))
        with pytest.raises(IndexUnavailable, match="locked"):
            await index.check_writable()
        assert await index.key_state(BUCKET, "a") == record
        other.execute("ROLLBACK")
    await index.check_writable()
    await index.put_object(new_object("a", "d3"))
    await index.close()


async def test_a_transaction_that_reads_first_takes_the_lock_all_the_same(tmp_path: Path) -> None:
    # Otherwise another process's write between its first read and its first write would make it fail.
    index = await open_index(f"sqlite:///{tmp_path}/index.db")

    def read(connection: Connection) -> None:
        connection.exec_driver_sql("SELECT count(*) FROM keys").all()
        with (
            closing(sqlite3.connect(tmp_path / "index.db", isolation_level=None, timeout=0)) as other,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            other.execute("BEGIN IMMEDIATE")

    await index._writer.run(read)
    await index.close()


async def test_a_write_waits_for_another_process_within_its_time_out(tmp_path: Path) -> None:
    index = await open_index(f"sqlite:///{tmp_path}/index.db", busy_timeout_s=30)
    with closing(sqlite3.connect(tmp_path / "index.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(index.put_object(new_object("a")))
        done, _ = await asyncio.wait([writing], timeout=0.1)
        assert not done
        other.execute("COMMIT")
    assert await writing == await index.key_state(BUCKET, "a")
    await index.close()


@pytest.mark.parametrize("replaced", [False, True])
async def test_writes_to_a_file_that_is_gone_are_not_acknowledged(tmp_path: Path, replaced: bool) -> None:
    index = await open_index(f"sqlite:///{tmp_path}/index.db")
    await index.put_object(new_object("a"))
    (tmp_path / "index.db").rename(tmp_path / "elsewhere.db")
    if replaced:
        (tmp_path / "index.db").touch()
    with pytest.raises(IndexUnavailable, match="deleted or replaced"):
        await index.put_object(new_object("b"))
    with pytest.raises(IndexUnavailable, match="deleted or replaced"):
        await index.check_writable()
    await index.close()


async def test_a_table_that_is_missing_makes_reads_unavailable_without_telling_values(tmp_path: Path) -> None:
    index = await open_index(f"sqlite:///{tmp_path}/index.db")
    with closing(sqlite3.connect(tmp_path / "index.db")) as other:
        other.execute("DROP TABLE extents")
    secret = "a-key-that-should-not-be-told"
    for work in (index.key_state(BUCKET, secret), index.put_object(new_object(secret, "d1"))):
        with pytest.raises(IndexUnavailable, match="no such table") as caught:
            await work
        assert secret not in f"{caught.value} {caught.value!r} {caught.value.__cause__}"
    await index.close()


DISK_FULL = """
import asyncio, resource, sys
from addon.index.sql_index import open_index
from addon.store.ports import IndexUnavailable
from tests.index.samples import BUCKET, new_object

async def main():
    index = await open_index(f"sqlite:///{sys.argv[1]}")
    kept = await index.put_object(new_object("kept", "d1"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
    acknowledged = []
    for number in range(1000):
        try:
            acknowledged.append(await index.put_object(new_object(f"{number}" + "x" * 900, f"d{number}")))
        except IndexUnavailable as error:
            print("refused:", error)
            break
    else:
        raise SystemExit("the disk was never full")
    assert await index.key_state(BUCKET, "kept") == kept
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for record in acknowledged:
        assert await index.key_state(BUCKET, record.key) == record
    assert await index.key_state(BUCKET, f"{number}" + "x" * 900) is None
    await index.put_object(new_object("room again", "d1"))
    await index.close()

asyncio.run(main())
"""


def test_a_full_disk_refuses_writes_keeps_the_rest_and_recovers(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DISK_FULL, str(tmp_path / "index.db")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "refused: the index cannot be written" in done.stdout


WRITE_MANY = """
import asyncio, sys
from addon.index.sql_index import open_index
from tests.index.samples import new_object

async def main():
    index = await open_index(f"sqlite:///{sys.argv[1]}")
    print("open", flush=True)
    number = 0
    while True:
        await asyncio.gather(*(index.put_object(new_object(f"{number}/{n}", f"{number}.{n}")) for n in range(4)))
        print(number, flush=True)
        number += 1

asyncio.run(main())
"""


def test_kill_9_after_the_acknowledgement_keeps_the_write(tmp_path: Path) -> None:
    acknowledged = 0
    for round_number in range(1, 5):
        with subprocess.Popen(
            [sys.executable, "-c", WRITE_MANY, str(tmp_path / "index.db")], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            last = -1
            for line in process.stdout:
                last = int(line)
                if last == 7 * round_number:
                    process.kill()
            acknowledged = max(acknowledged, last)
        assert acknowledged >= 7
        asyncio.run(_check_that_all_is_there(tmp_path / "index.db", acknowledged))


async def _check_that_all_is_there(path: Path, acknowledged: int) -> None:
    index = await open_index(f"sqlite:///{path}")
    for number in range(acknowledged + 1):
        for n in range(4):
            state = await index.key_state(BUCKET, f"{number}/{n}")
            assert isinstance(state, ObjectRecord)
            assert [extent.document.document_id for extent in state.extents] == [f"{number}.{n}"]
    await index.close()


WRITE_BESIDE = """
import asyncio, sys
from addon.index.sql_index import open_index
from tests.index.samples import new_object

async def main():
    sys.stdin.readline()
    index = await open_index(f"sqlite:///{sys.argv[1]}")
    records = await asyncio.gather(*(index.put_object(new_object(f"{sys.argv[2]}/{n}", f"{sys.argv[2]}.{n}")) for n in range(50)))
    for record in records:
        print(record.generation)
    await index.close()

asyncio.run(main())
"""


def test_processes_that_open_a_fresh_file_at_once_migrate_once_and_write_side_by_side(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE_BESIDE, str(tmp_path / "index.db"), name],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two", "three")
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    generations: list[int] = []
    for process in processes:
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        generations += map(int, output.split())
    assert len(set(generations)) == 150
    assert asyncio.run(_count_objects(tmp_path / "index.db")) == 150


async def _count_objects(path: Path) -> int:
    index = await open_index(f"sqlite:///{path}")
    objects = (await index.counts(BUCKET))["objects"]
    await index.close()
    return objects
