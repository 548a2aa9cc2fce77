"""The implementations of the port `Index` that the contract's tests run on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from addon.index.sql_index import open_index
from addon.store.ports import Index
from tests.empty_index import begin_index

NOW_S = 1_700_000_000.5

Open = Callable[[Path], Awaitable[Index]]


async def open_sqlite(folder: Path) -> Index:
    begin_index(folder / "index.db")
    return await open_index(f"sqlite:///{folder}/index.db", now_s=lambda: NOW_S)


IMPLEMENTATIONS: dict[str, Open] = {"sqlite": open_sqlite}


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
async def index(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Index]:
    """An empty index, of each implementation."""
    opened = await IMPLEMENTATIONS[request.param](tmp_path)
    yield opened
    await opened.close()
