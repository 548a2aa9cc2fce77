"""Fixtures for the tests of the stand-in."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from addon.standin.server import StandIn
from addon.standin.switches import Switches
from tests.standin.asking import Asker
from tests.standin_fixture import BOT_B, SettableClock, running_standin


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def switches() -> Switches:
    """Without flood control, which has tests of its own; a module overrides this fixture for others."""
    return Switches(rate_limits="off")


@pytest.fixture
async def standin(tmp_path: Path, clock: SettableClock, switches: Switches) -> AsyncIterator[StandIn]:
    async with running_standin(tmp_path / "world", clock=clock, switches=switches) as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=10) as client:
        yield client


@pytest.fixture
async def bot(standin: StandIn, http: httpx.AsyncClient) -> Asker:
    return Asker(http, standin)


@pytest.fixture
async def bot_b(standin: StandIn, http: httpx.AsyncClient) -> Asker:
    return Asker(http, standin, BOT_B)
