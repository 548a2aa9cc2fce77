"""What tests of `tgstore import d1` need: files that a bot sent before, exports of their links, and the program as a process."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sqlite3
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import typer

from addon.commands.d1_export import ExportColumns
from addon.commands.import_d1 import import_d1
from addon.config import load_config
from addon.store.importer import ImportWish
from addon.store.ports import StoreError
from tests.service.product import Product
from tests.standin_fixture import BOT_A, BOT_B, CHANNEL

PROJECT = Path(__file__).parents[2]
TGSTORE = Path(sys.executable).parent / "tgstore"
LIMIT_S = 60.0
FLAGS = {"--read", "--anchor", "--private", "--prefer-import", "--dry-run"}

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """What `--json` said."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def summary(self) -> dict[str, Any]:
        (summary,) = [event for event in self.events if event["event"] == "summary"]
        return summary

    @property
    def reasons(self) -> dict[str, tuple[str, str]]:
        """Fate and reason by URL, of what was said of single links."""
        return {event["url"]: (event["fate"], event["reason"]) for event in self.events if event["event"] == "link"}


async def started(product: Product, *arguments: str | Path, config: Path | None = None) -> asyncio.subprocess.Process:
    """`tgstore import d1 …` with the product's own settings, beside it."""
    return await asyncio.create_subprocess_exec(
        TGSTORE,
        *("import", "d1", *map(str, arguments), "--config", str(config or product.folder / "config.toml")),
        cwd=product.folder,
        env={**os.environ, "COLUMNS": "200", "PYTHONPATH": str(PROJECT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(process: asyncio.subprocess.Process) -> Done:
    async with asyncio.timeout(LIMIT_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    for secret in (BOT_A, BOT_B):
        assert secret.partition(":")[2].encode() not in out + err
    assert b"Traceback" not in err, err.decode()
    return Done(process.returncode, out.decode(), err.decode())


async def imported(product: Product, *arguments: str | Path, config: Path | None = None) -> Done:
    """The same within this process, which is quicker, with `--json`."""
    options = iter(map(str, arguments))
    path, named, flags = Path(next(options)), {}, set()
    for option in options:
        if option in FLAGS:
            flags.add(option)
        else:
            named[option] = next(options)
    columns = ExportColumns(
        url=named.pop("--url-column", "url"),
        file_id=named.pop("--file-id-column", "fileId"),
        time=named.pop("--time-column", None),
    )
    wish = ImportWish(
        read="--read" in flags,
        anchor="--anchor" in flags,
        anonymous_read="--private" not in flags,
        prefer_import="--prefer-import" in flags,
        dry_run="--dry-run" in flags,
        concurrency=int(named.pop("--concurrency", "8")),
    )
    assert not named
    settings = load_config(config or product.folder / "config.toml", {})
    out, status, error = io.StringIO(), 0, ""
    with contextlib.redirect_stdout(out):
        try:
            await import_d1(settings, path, columns, wish, as_json=True)
        except typer.Exit as ended:
            status = ended.exit_code
        except StoreError as failure:
            status, error = 1, str(failure)
    return Done(status, out.getvalue(), error)


async def sent(product: Product, content: bytes, name: str = "file.jpg", *, by: str = BOT_A) -> str:
    """The file_id of a file that the bot sent."""
    answer = await product.client.post(
        f"{product.standin.url}/bot{by}/sendDocument",
        data={"chat_id": str(CHANNEL), "disable_content_type_detection": "true"},
        files={"document": (name, content)},
        timeout=httpx.Timeout(LIMIT_S),
    )
    return str(answer.json()["result"]["document"]["file_id"])


def dump(folder: Path, rows: Sequence[Row], columns: str = "url, fileId", name: str = "export.sql") -> Path:
    """The rows as `wrangler d1 export` writes them, among another table's."""
    values = "\n".join(
        f'INSERT INTO "media" ({quoted(columns)}) VALUES({", ".join(map(literal, row))});' for row in rows
    )
    path = folder / name
    path.write_text(
        "PRAGMA defer_foreign_keys=TRUE;\n"
        'CREATE TABLE "d1_migrations"(\n\t\tid         INTEGER PRIMARY KEY AUTOINCREMENT,\n\t\tname       TEXT UNIQUE\n);\n'
        'INSERT INTO "d1_migrations" ("id","name") VALUES(1,\'0001_media.sql\');\n'
        f'CREATE TABLE "media" (\n{columns}\n);\n{values}\n'
        "CREATE INDEX media_by_url ON media(url);\n"
    )
    return path


def sqlite_file(folder: Path, rows: Sequence[Row], columns: str = "url, fileId", name: str = "export.sqlite") -> Path:
    path = folder / name
    connection = sqlite3.connect(path)
    connection.execute(f"CREATE TABLE media ({columns})")
    marks = ", ".join("?" for _ in columns.split(","))
    connection.executemany(f"INSERT INTO media ({columns}) VALUES ({marks})", rows)
    connection.commit()
    connection.close()
    return path


def quoted(columns: str) -> str:
    return ",".join(f'"{column.strip()}"' for column in columns.split(","))


def literal(value: Any) -> str:
    if value is None:
        return "NULL"
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)
