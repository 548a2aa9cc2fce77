"""`TelegramDocuments` in front of the stand-in, both on one clock: it moves only when somebody sleeps, or many times too fast."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from addon.standin.server import StandIn
from addon.standin.switches import Switches
from addon.store.ports import DocumentToSend
from addon.store.records import Document
from addon.telegram.client import Timeouts
from addon.telegram.documents import TelegramDocuments
from tests.standin_fixture import BOT_A, CHANNEL, SettableClock, running_standin
from tests.telegram.secrecy import assert_no_token

QUICK = Timeouts(connect_s=2.0, stall_s=0.5, answer_s=0.5, get_file_s=0.5)


class FakeTime:
    """A clock and a sleep: sleeping moves the clock at once and lets the others run."""

    def __init__(self, standin_clock: SettableClock) -> None:
        self._standin_clock = standin_clock
        self.slept_s = 0.0

    def clock(self) -> float:
        return self._standin_clock.now

    async def sleep(self, seconds: float) -> None:
        self.slept_s += seconds
        self._standin_clock.now += seconds
        await asyncio.sleep(0)


class FastTime:
    """A clock and a sleep that run `SPEED` times too fast, for tests in which many things go on at once."""

    SPEED = 15.0

    def __init__(self) -> None:
        self._began_s = time.monotonic()

    def clock(self) -> float:
        return 1_700_000_000.0 + (time.monotonic() - self._began_s) * self.SPEED

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.SPEED)


@dataclass(slots=True)
class World:
    standin: StandIn
    documents: TelegramDocuments
    time: Any
    folder: Path
    won: list[tuple[str, int, str]]

    def faults(self, *actions: dict[str, Any], method: str = "*", times: int | None = 1, **match: Any) -> None:
        """Order each action for the next `times` matching calls; one after the other."""
        self.standin.control.faults(
            *({"match": {"method": method, **match}, "times": times, "action": action} for action in actions)
        )

    def to_send(self, content: bytes, document_id: str = "doc-1") -> DocumentToSend:
        path = self.folder / document_id
        path.write_bytes(content)
        return DocumentToSend(document_id, path, len(content), f"tgstore {document_id}")

    async def send(self, content: bytes, document_id: str = "doc-1") -> Document:
        return await self.documents.send(self.to_send(content, document_id))

    async def read(self, document: Document, offset: int = 0, length: int | None = None) -> bytes:
        wanted = document.size - offset if length is None else length
        return b"".join([piece async for piece in self.documents.read(document, offset=offset, length=wanted)])

    def messages(self, chat_id: int = CHANNEL) -> list[dict[str, Any]]:
        """The messages of documents in a chat."""
        messages = self.standin.control.state()["chats"][str(chat_id)]["messages"]
        return [message for message in messages if message["kind"] != "service"]

    def holds(self, document: Document, content: bytes) -> bool:
        """Whether the document's message is there with these bytes."""
        return any(
            message["message_id"] == document.message_id
            and message["document"]["sha256"] == hashlib.sha256(content).hexdigest()
            for message in self.messages(document.chat_id)
        )

    def calls(self, method: str) -> list[dict[str, Any]]:
        """What the stand-in's log says about calls of a method (lower case, or "download")."""
        return [entry for entry in self.standin.control.log() if entry["method"] == method]


async def fails(error: type[Exception], awaitable: Awaitable[Any]) -> Any:
    """The error that `awaitable` raised, which holds no token."""
    with pytest.raises(error) as caught:
        await awaitable
    assert_no_token(caught.value)
    return caught.value


@asynccontextmanager
async def telegram_world(
    folder: Path,
    *,
    tokens: Sequence[str] = (BOT_A,),
    chats: Sequence[int] = (CHANNEL,),
    switches: Switches | None = None,
    fast: bool = False,
    **settings: Any,
) -> AsyncIterator[World]:
    clock = SettableClock()
    times = FastTime() if fast else FakeTime(clock)
    won: list[tuple[str, int, str]] = []
    async with running_standin(folder / "standin", clock=times.clock, switches=switches) as standin:
        documents = TelegramDocuments(
            standin.url,
            tokens,
            chats,
            **{"clock": times.clock, "sleep": times.sleep, "rng": random.Random(1), "timeouts": QUICK, **settings},
        )
        documents.on_new_file_id(lambda document_id, bot_id, file_id: won.append((document_id, bot_id, file_id)))
        try:
            yield World(standin, documents, times, folder, won)
        finally:
            await documents.close()
