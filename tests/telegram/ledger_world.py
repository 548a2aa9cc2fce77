"""Several instances of the product's side of Telegram on one index, as several processes have it, in front of one stand-in: all on
one clock that moves only when somebody sleeps."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from addon.index.sql_index import SqlIndex, open_index
from addon.standin.server import StandIn
from addon.standin.switches import Switches
from addon.telegram.documents import TelegramDocuments
from tests.empty_index import begin_index
from tests.standin_fixture import BOT_A, CHANNEL, SettableClock, running_standin
from tests.telegram.telegram_world import QUICK, FakeTime, World


@dataclass(slots=True)
class Shared:
    """`worlds` are the instances, each with an index of its own on the one file."""

    standin: StandIn
    time: FakeTime
    worlds: list[World]
    indexes: list[SqlIndex] = field(default_factory=list)

    def statuses(self, method: str = "senddocument") -> set[int]:
        return {entry["status"] for entry in self.standin.control.log() if entry["method"] == method}


@asynccontextmanager
async def shared_world(
    folder: Path,
    *,
    instances: int = 2,
    tokens: Sequence[str] = (BOT_A,),
    chats: Sequence[int] = (CHANNEL,),
    switches: Switches | None = None,
    **settings: Any,
) -> AsyncIterator[Shared]:
    clock = SettableClock()
    time = FakeTime(clock)
    async with AsyncExitStack() as stack:
        standin = await stack.enter_async_context(
            running_standin(folder / "standin", clock=time.clock, switches=switches)
        )
        shared = Shared(standin, time, [])
        begin_index(folder / "index.db")
        for number in range(instances):
            index = await open_index(f"sqlite:///{folder}/index.db", now_s=time.clock)
            stack.push_async_callback(index.close)
            # Processes have monotonic clocks of their own.
            offset_s = 1000.0 * number
            documents = TelegramDocuments(
                standin.url,
                tokens,
                chats,
                **{
                    "clock": lambda offset_s=offset_s: time.clock() - offset_s,
                    "sleep": time.sleep,
                    "rng": random.Random(1),
                    "timeouts": QUICK,
                    "ledger": index,
                    **settings,
                },
            )
            stack.push_async_callback(documents.close)
            won: list[tuple[str, int, str]] = []
            documents.on_new_file_id(lambda *told, won=won: won.append(told))
            of_instance = folder / f"instance-{number}"
            of_instance.mkdir()
            shared.worlds.append(World(standin, documents, time, of_instance, won))
            shared.indexes.append(index)
        yield shared
