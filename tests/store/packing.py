"""A world for the packer's tests: Telegram as a list, with limits and faults; a real index; time that moves only when all wait."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import io
import itertools
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from addon.index.sql_index import SqlIndex, open_index
from addon.store.pack_format import ItemAbout, ItemKind, Pack, PackItem, read_pack
from addon.store.packer import Packer, PackLimits
from addon.store.ports import DocumentToSend, TelegramUnavailable
from addon.store.records import BLOCK_BYTES, Document
from addon.telegram.limits import Rate, Window
from tests.empty_index import begin_index


class VirtualTime:
    """A clock that stands while anything can happen, and then moves to the next moment that somebody waits for. While a worker
    thread is at work (`busy`), something can."""

    QUIET_TURNS = 40

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.busy = 0
        self._sleeping: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def clock(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleeping, (self.now_s + seconds, next(self._numbers), woken))
        await woken

    def counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """A coroutine function that keeps the clock standing while it runs."""

        async def run(*arguments: Any, **named: Any) -> Any:
            self.busy += 1
            try:
                return await call(*arguments, **named)
            finally:
                self.busy -= 1

        return run

    async def run(self) -> None:
        """Move the clock."""
        quiet_turns = 0
        while True:
            await asyncio.sleep(0.0005 if self.busy else 0)
            quiet_turns = 0 if self.busy else quiet_turns + 1
            if quiet_turns < self.QUIET_TURNS:
                continue
            quiet_turns = 0
            while self._sleeping and self._sleeping[0][2].done():
                heapq.heappop(self._sleeping)
            if self._sleeping:
                at_s, _, woken = heapq.heappop(self._sleeping)
                self.now_s = max(self.now_s, at_s)
                woken.set_result(None)


class CountedIndex:
    """An index whose calls keep the clock standing."""

    def __init__(self, index: SqlIndex, time: VirtualTime) -> None:
        self._index, self._time = index, time

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._index, name)
        return self._time.counted(call) if asyncio.iscoroutinefunction(call) else call


def count_threads(time: VirtualTime) -> None:
    """Work in threads keeps the clock standing."""
    loop = asyncio.get_running_loop()
    run_in_executor = loop.run_in_executor

    def counted(*arguments: Any) -> Any:
        time.busy += 1
        future = run_in_executor(*arguments)
        future.add_done_callback(lambda _: setattr(time, "busy", time.busy - 1))
        return future

    loop.run_in_executor = counted  # type: ignore[method-assign]


@dataclass
class Sent:
    """A document as Telegram has it."""

    at_s: float
    document: Document
    content: bytes

    @property
    def pack(self) -> Pack:
        return read_pack(self.content)


@dataclass
class FakeTelegram:
    """The port `Documents` as far as packs need it: so many pairs with one window each. `fault(number)` may raise in the place of
    the send of that number (from 1). It is what `TelegramDocuments` promises, in virtual time; that is tested with the stand-in."""

    time: VirtualTime
    pairs: int = 1
    send_s: float = 0.2
    rate: Rate = field(default_factory=lambda: Rate(20, 60.0, 10))
    document_bytes_max: int = 20_000_000
    fault: Callable[[int], None] = lambda _: None

    def __post_init__(self) -> None:
        self.sent: list[Sent] = []
        self.windows = [Window(self.rate) for _ in range(self.pairs)]
        self.begun = 0
        self.under_way = 0
        self.paused_until_s = 0.0

    async def send(self, document: DocumentToSend) -> Document:
        self.begun += 1
        number = self.begun
        now_s = self.time.now_s
        window = min(self.windows, key=lambda window: (window.earliest_s(now_s), -window.burst_left(now_s)))
        assert window.earliest_s(now_s) <= now_s, "the way was not free"
        content = document.content if isinstance(document.content, bytes) else document.content.read_bytes()
        assert len(content) == document.size <= self.document_bytes_max
        window.start(now_s)
        self.under_way += 1
        assert self.under_way <= self.pairs
        try:
            await self.time.sleep(self.send_s)
            self.fault(number)
        finally:
            self.under_way -= 1
            window.end(self.time.now_s, counted=True)
        kept = Document(document.document_id, -1, number, 1, f"file-{number}", f"unique-{number}", document.size)
        self.sent.append(Sent(now_s, kept, content))
        return kept

    def send_delay_s(self) -> float:
        now_s = self.time.now_s
        at_s = min(window.earliest_s(now_s) for window in self.windows)
        return max(0.0, at_s - now_s, self.paused_until_s - now_s)

    def burst_share_left(self) -> float:
        left = sum(window.burst_left(self.time.now_s) for window in self.windows)
        return left / (self.rate.burst * self.pairs)

    def ways(self) -> int:
        return self.pairs

    def slot_s(self) -> float:
        return 1 / (self.rate.per_s * self.pairs)

    async def delete(self, document: Document) -> bool:
        raise NotImplementedError

    def read(self, document: Document, *, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        raise NotImplementedError

    def on_new_file_id(self, remember: Callable[[str, int, str], None]) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


@dataclass
class PackWorld:
    """A packer at work."""

    time: VirtualTime
    telegram: FakeTelegram
    index: Any
    packer: Packer
    folder: Path

    async def sending(self, number: int = 1) -> None:
        """Wait until so many sends have begun."""
        while self.telegram.begun < number:  # noqa: ASYNC110 -- nothing else may happen meanwhile, the clock least of all
            await asyncio.sleep(0)

    def packs(self) -> list[Pack]:
        return [sent.pack for sent in self.telegram.sent]

    def spooled(self) -> list[Path]:
        return list((self.folder / "spool").iterdir())


@asynccontextmanager
async def pack_world(
    folder: Path,
    *,
    pack_bytes_max: int = 20_000_000,
    put_wait_s_max: float = 25.0,
    tells_when_idle: bool = False,
    **telegram: object,
) -> AsyncIterator[PackWorld]:
    time = VirtualTime()
    fake = FakeTelegram(time, **telegram)  # type: ignore[arg-type]
    (folder / "spool").mkdir(exist_ok=True)
    begin_index(folder / "index.db")
    opened = await open_index(f"sqlite:///{folder}/index.db", now_s=lambda: time.now_s)
    count_threads(time)
    index: Any = CountedIndex(opened, time)
    packer = Packer(
        fake,
        index,
        PackLimits(pack_bytes_max, put_wait_s_max, tells_when_idle),
        spool_dir=folder / "spool",
        clock=time.clock,
        sleep=time.sleep,
        now_s=time.clock,
    )
    moving = asyncio.create_task(time.run())
    packer.start()
    try:
        yield PackWorld(time, fake, index, packer, folder)
    finally:
        await packer.stop()
        moving.cancel()
        await asyncio.gather(moving, return_exceptions=True)
        await opened.close()


def pack_item(key: str, content: bytes, *, kind: ItemKind = ItemKind.OBJECT) -> PackItem:
    blocks = (content[start : start + BLOCK_BYTES] for start in range(0, len(content), BLOCK_BYTES))
    sha256s = b"".join(hashlib.sha256(block).digest() for block in blocks)
    return PackItem(ItemAbout("images", key, kind, len(content), etag="e"), content, len(content), sha256s)


def names_in(content: bytes) -> set[str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return set(archive.namelist())


def unavailable(_: int) -> None:
    raise TelegramUnavailable("Telegram does not answer", retry_after_s=7.0)
