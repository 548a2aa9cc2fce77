"""Real processes on one index, each of which would use up the limits alone; the stand-in with the documented limits judges."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.standin_fixture import running_standin

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PROCESSES, DOCUMENTS = 3, 9
LIMIT_S = 60.0


async def sender(url: str, index: str) -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.telegram.sender", url, index, str(DOCUMENTS),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(LIMIT_S):
        out, _ = await process.communicate()
    return int(out)


@pytest.mark.parametrize("shared", [True, False])
async def test_processes_on_one_index_provoke_no_429(tmp_path: Path, shared: bool) -> None:
    index = str(tmp_path / "index.db") if shared else "-"
    async with running_standin(tmp_path / "standin") as standin:
        sent = await asyncio.gather(*(sender(standin.url, index) for _ in range(PROCESSES)))
        statuses = {entry["status"] for entry in standin.control.log() if entry["method"] == "senddocument"}
    if shared:
        assert statuses == {200}
        assert 10 <= sum(sent) <= 13, "a burst together, and what the time of waiting gives"
    else:
        assert 429 in statuses, "else the judge would not judge"
