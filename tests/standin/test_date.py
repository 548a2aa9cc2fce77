"""Answers carry the server's time, which clients compare their own clock with."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import httpx

from tests.standin_fixture import BOT_A, SettableClock, running_standin


async def test_every_answer_has_the_time_of_the_standins_clock() -> None:
    clock = SettableClock(1_700_000_000.0)
    async with running_standin(clock=clock) as standin, httpx.AsyncClient(trust_env=False) as client:
        for path in (f"/bot{BOT_A}/getMe", "/nothing"):
            answer = await client.get(standin.url + path)
            assert parsedate_to_datetime(answer.headers["date"]).timestamp() == clock.now
            clock.now += 3600
