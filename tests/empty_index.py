"""An empty index as its migrations make it: made once in a process, and copied from then on, as that is most of what one costs."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from addon.index.sql_index import open_index


def begin_index(file: Path) -> None:
    """Make `file` an empty index, unless there is one."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_empty())


@cache
def _empty() -> bytes:
    with TemporaryDirectory(prefix="tgstore-index-") as folder, ThreadPoolExecutor(1) as outside_the_running_loop:
        file = Path(folder, "index.db")
        outside_the_running_loop.submit(lambda: asyncio.run(_make(file))).result()
        assert [path.name for path in file.parent.iterdir()] == [file.name]
        return file.read_bytes()


async def _make(file: Path) -> None:
    await (await open_index(f"sqlite:///{file}")).close()
