"""Killed at any instant: what was acknowledged is there, what was under way is there whole or not at all, nothing else stays
behind.

A history of writes, deletions, copies and sends is cut off at the n-th of the instants that matter (before and after each change of
the disk, the index and Telegram). What the disk held at that instant is started anew, and compared with what had been acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from addon.index.sql_index import SqlIndex, open_index
from addon.standin.server import StandIn
from addon.store.cache import DiskCache, MemoryCache
from addon.store.layout import PADDING_BYTES_MAX
from addon.store.object_store import Description, ObjectStore
from addon.store.packer import Packer, PackLimits
from addon.store.ports import StoreError
from addon.store.reader import Admission, Reader
from addon.store.records import BLOCK_BYTES, NewObject, ObjectRecord, Provenance
from addon.store.spool import Spool, SpoolLimits
from addon.store.spool_folder import SpoolFolder
from addon.store.spooled_documents import SpooledDocuments
from addon.telegram.documents import TelegramDocuments
from addon.telegram.limits import group_rate
from tests.service.product import RELAXED
from tests.standin_fixture import BOT_A, CHANNEL, running_standin

pytestmark = pytest.mark.slow

BUCKET = "images"
KEYS = ("a", "b", "c")
# Documents of one block, so that a few megabytes are several.
DOCUMENT_BYTES_MAX = BLOCK_BYTES + PADDING_BYTES_MAX
SIZES = (0, 1, 40_000, 2 * BLOCK_BYTES + 7)
DOWN: dict[str, Any] = {
    "match": {"method": "sendDocument"},
    "times": None,
    "action": {"kind": "http", "code": 500, "form": "json"},
}
# The instants: these are called before and after each of them.
INSTANTS = (
    (SpoolFolder, "sync"),
    (SpoolFolder, "discard"),
    (SqlIndex, "put_object"),
    (SqlIndex, "delete_object"),
    (SqlIndex, "copy_object"),
    (SqlIndex, "relocate"),
    (SqlIndex, "drop_spooled"),
    (TelegramDocuments, "send"),
)

Step = tuple[str, str, str, int]
Instant = tuple[str, str, int]
steps = st.tuples(
    st.sampled_from(("put", "put", "fail", "delete", "copy", "send", "send", "down", "up")),
    st.sampled_from(KEYS),
    st.sampled_from(KEYS),
    st.sampled_from(SIZES),
)


# Around what comes by chance: something to be sent, and its sending.
BEFORE: list[Step] = [("put", "a", "a", SIZES[3]), ("put", "b", "b", SIZES[2])]
AFTER: list[Step] = [("up", "a", "a", 0), ("send", "a", "a", 0), ("send", "a", "a", 0), ("send", "a", "a", 0)]


@dataclass
class World:
    """One process on its disk: `acknowledged` is what it has told of each key, `possible` what a request under way may make of
    it."""

    folder: Path
    store: ObjectStore
    index: SqlIndex
    spool: Spool
    telegram: StandIn
    acknowledged: dict[str, bytes | None]
    possible: dict[str, bytes | None] = field(default_factory=dict)

    async def step(self, what: str, key: str, other: str, size: int, random_bytes: Callable[[int], bytes]) -> None:
        match what:
            case "put":
                await self._write(key, random_bytes(size))
            case "fail":
                with contextlib.suppress(ValueError):
                    async with self.store.upload(BUCKET, key, lambda _: None) as upload:
                        await upload.write(random_bytes(size))
                        await upload.seal()
                        raise ValueError("the body does not verify")
            case "delete":
                self.possible = {key: None}
                await self.store.delete(BUCKET, key)
                self._done()
            case "copy":
                await self._copy(key, other)
            case "down":
                self.telegram.control.faults(DOWN)
            case "up":
                self.telegram.control.clear_faults()
            case "send":
                await self.round()

    async def round(self) -> None:
        await self.spool._round()
        await asyncio.gather(*(task for _, task in self.spool._under_way.values()))

    async def _write(self, key: str, body: bytes) -> None:
        self.possible = {key: body}
        async with self.store.upload(BUCKET, key, lambda _: None) as upload:
            for start in range(0, len(body), 300_000):
                await upload.write(body[start : start + 300_000])
            await upload.seal()
            await self.store.commit(upload, BUCKET, key, Description("e", 1, False, {}, {}))
        self._done()

    async def _copy(self, key: str, source: str) -> None:
        record = await self.store.state(BUCKET, source)
        if not isinstance(record, ObjectRecord) or key == source:
            return
        self.possible = {key: self.acknowledged[source]}
        new = NewObject(BUCKET, key, record.size, "e", 1, Provenance.WRITTEN_HERE, False, {}, {}, ())
        await self.index.copy_object(record, new)
        self._done()

    def _done(self) -> None:
        self.acknowledged |= self.possible
        self.possible = {}

    async def seen(self, key: str) -> bytes | None:
        record = await self.store.state(BUCKET, key)
        if not isinstance(record, ObjectRecord):
            return None
        return b"".join([piece async for piece in self.store.read_here(record, 0, record.size)])


@contextlib.asynccontextmanager
async def process(folder: Path, telegram: StandIn, acknowledged: dict[str, bytes | None]) -> AsyncIterator[World]:
    """Started on what lies in the folder."""
    index = await open_index(f"sqlite:///{folder / 'index.db'}")
    documents = TelegramDocuments(
        telegram.url,
        [BOT_A],
        [CHANNEL],
        document_bytes_max=DOCUMENT_BYTES_MAX,
        send_wait_s_max=0.01,
        group_rate=group_rate(60_000),
    )
    packer = Packer(documents, index, PackLimits(DOCUMENT_BYTES_MAX, 0.2), spool_dir=folder)
    kept = SpoolFolder(folder / "kept", 1 << 30)
    spooled = SpooledDocuments(documents, kept)
    reader = Reader(spooled, MemoryCache(0), DiskCache(folder / "cache", 0), Admission(0, 0))
    store = ObjectStore(
        index=index,
        documents=spooled,
        packer=packer,
        reader=reader,
        origins={},
        spool_dir=folder,
        spool=kept,
        keeps_writes_here=True,
    )
    limits = SpoolLimits(packed_at_once=1, sends_at_once=1, retry_delay_s_min=0.0, retry_delay_s_max=0.0)
    spool = Spool(kept, index, documents, packer, randbelow=lambda below: below - 1, limits=limits)
    packer.start()
    try:
        await spool.recover(clears=True)
        yield World(folder, store, index, spool, telegram, acknowledged)
    finally:
        await spool.stop()
        await packer.stop()
        await documents.close()
        await index.close()


class Killer:
    """Takes a picture of the disk, and of what had been acknowledged, at the n-th instant of a kind."""

    def __init__(self, at: Instant) -> None:
        self._kind, self._left = at[:2], at[2]
        self.world: World | None = None
        self.picture: tuple[Path, dict[str, bytes | None], dict[str, bytes | None]] | None = None

    def instant(self, *kind: str) -> None:
        self._left -= kind == self._kind
        if self._left == 0 and self.picture is None and self.world is not None:
            folder = self.world.folder / "picture"
            folder.mkdir()
            with (
                closing(sqlite3.connect(self.world.folder / "index.db")) as here,
                closing(sqlite3.connect(folder / "index.db")) as there,
            ):
                here.backup(there)
            shutil.copytree(self.world.folder / "kept", folder / "kept")
            self.picture = folder, dict(self.world.acknowledged), dict(self.world.possible)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patched:
            for owner, name in INSTANTS:
                patched.setattr(owner, name, self._around(name, getattr(owner, name)))
            yield

    def _around(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        if asyncio.iscoroutinefunction(work):

            async def awaited(*arguments: Any, **more: Any) -> Any:
                self.instant("before", name)
                result = await work(*arguments, **more)
                self.instant("after", name)
                return result

            return awaited

        def called(*arguments: Any, **more: Any) -> Any:
            self.instant("before", name)
            result = work(*arguments, **more)
            self.instant("after", name)
            return result

        return called


async def history(folder: Path, telegram: StandIn, history_steps: list[Step], killer: Killer, seed: int) -> None:
    """All steps, or those up to the one in which it is killed."""
    async with process(folder, telegram, dict.fromkeys(KEYS)) as world:
        killer.world = world
        with killer.watching():
            for what, key, other, size in (*BEFORE, *history_steps, *AFTER):
                with contextlib.suppress(StoreError):
                    await world.step(what, key, other, size, random.Random(seed := seed + 1).randbytes)
                if killer.picture is not None:
                    return


async def assert_holds(world: World, possible: dict[str, bytes | None]) -> None:
    for key, body in list(world.acknowledged.items()):
        seen = await world.seen(key)
        allowed = [body, possible[key]] if key in possible else [body]
        assert seen in allowed, f"{key}: {seen if seen is None else len(seen)}"
        world.acknowledged[key] = seen
    assert not world.spool._lost


async def example(telegram: StandIn, history_steps: list[Step], at: Instant, seed: int) -> None:
    with TemporaryDirectory(prefix="tgstore-crashes-") as made:
        killer = Killer(at)
        telegram.control.clear_faults()
        await history(Path(made), telegram, history_steps, killer, seed)
        if killer.picture is None:
            return
        folder, acknowledged, possible = killer.picture
        async with process(folder, telegram, acknowledged) as world:
            named = {one.document.document_id for one in await world.index.spooled(limit=1000)}
            assert {path.name for path in (folder / "kept").iterdir()} == named
            await assert_holds(world, possible)
            telegram.control.clear_faults()
            async with asyncio.timeout(20.0):
                while (await world.index.backlog()).documents:
                    await world.round()
            await assert_holds(world, {})
        assert list((folder / "kept").iterdir()) == []


@pytest.fixture(scope="module")
def run() -> Iterator[Callable[[Coroutine[Any, Any, None]], None]]:
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture(scope="module")
def telegram(run: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    opened = running_standin(tmp_path_factory.mktemp("telegram"), switches=RELAXED)
    yield run(opened.__aenter__())
    run(opened.__aexit__(None, None, None))


@given(
    history_steps=st.lists(steps, min_size=0, max_size=8),
    at=st.tuples(
        st.sampled_from(("before", "after")), st.sampled_from([name for _, name in INSTANTS]), st.integers(1, 2)
    ),
    seed=st.integers(0, 1000),
)
@settings(
    max_examples=30,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_nothing_acknowledged_is_lost(
    run: Callable[..., Any], telegram: StandIn, history_steps: list[Step], at: Instant, seed: int
) -> None:
    run(example(telegram, history_steps, at, seed))
