"""An index beside the stand-in: what tests of snapshots and recovery begin with."""

from __future__ import annotations

import asyncio
import functools
import gzip
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from addon.index.recovery_calls import SqlRecoveryPlace
from addon.index.sql_index import SqlIndex, open_index
from addon.standin.switches import Switches
from addon.store.captions import open_caption
from addon.store.records import Document, Extent, NewObject, Provenance
from addon.store.recovery import Recovery
from addon.store.recovery_index import Recovered
from addon.store.sealing import MasterKeys
from addon.store.snapshot_format import Root, RootMark, read_mark, read_root
from addon.store.snapshot_restore import SnapshotSource
from addon.store.snapshots import Snapshots
from addon.telegram.documents import TelegramDocuments
from addon.telegram.limits import group_rate
from tests.empty_index import begin_index
from tests.standin_fixture import BOT_A, CHANNEL
from tests.telegram.telegram_world import World, telegram_world

KEEP_S = 7 * 86400.0
RELAXED = Switches(rate_limits="off", equal_size_throttle=False)


@dataclass
class Lab:
    """The index, the stand-in, and what saves the one in the other."""

    world: World
    index: SqlIndex
    snapshots: Snapshots
    folder: Path

    async def put(self, key: str, *, size: int = 3, bucket: str = "images") -> None:
        """An object whose document is not in Telegram."""
        digest = hashlib.sha256(key.encode()).digest()
        document = Document(digest.hex()[:32], CHANNEL, 1, 111111, "file", "unique", size)
        extents = [Extent(document, 0, size, digest)]
        new = NewObject(
            bucket, key, size, digest.hex()[:32], 1_700_000_000, Provenance.WRITTEN_HERE, False, {}, {}, extents
        )
        await self.index.put_object(new)

    def pinned(self, chat_id: int = CHANNEL) -> list[RootMark]:
        """The roots that are pinned in a chat, the newest last."""
        messages = {message["message_id"]: message for message in self.world.messages(chat_id)}
        pinned = self.world.standin.control.state()["chats"][str(chat_id)]["pinned"]
        marks = [read_mark(json.loads(messages[message_id]["text"])) for message_id in pinned]
        assert all(isinstance(mark, RootMark) for mark in marks)
        return [mark for mark in marks if isinstance(mark, RootMark)]

    async def root(self, chat_id: int = CHANNEL) -> Root:
        """The newest pinned root, read from Telegram."""
        pinned = await self.snapshots._pins.pinned(chat_id)
        assert pinned is not None
        assert pinned.document is not None
        return read_root(await self.world.read(pinned.document))

    async def saved(self, root: Root) -> bytes:
        """The file that a snapshot holds."""
        parts = [await self.world.read(part.document) for part in root.parts]
        assert [hashlib.sha256(part).hexdigest() for part in parts] == [part.sha256 for part in root.parts]
        return await asyncio.to_thread(gzip.decompress, b"".join(parts))

    @asynccontextmanager
    async def recovering(
        self,
        name: str = "again.db",
        *,
        tokens: Sequence[str] = (BOT_A,),
        chats: Sequence[int] = (CHANNEL,),
        **more: Any,
    ) -> AsyncIterator[Recovery]:
        """A recovery into another file, by other processes' eyes: nothing is known but tokens and chats."""
        telegram = TelegramDocuments(
            self.world.standin.url,
            tokens,
            chats,
            clock=self.world.time.clock,
            sleep=self.world.time.sleep,
            group_rate=group_rate(60_000),
        )
        read_caption = functools.partial(open_caption, MasterKeys(None))
        source = SnapshotSource(telegram.scan, telegram.pins, telegram, read_caption)
        place = SqlRecoveryPlace(f"sqlite:///{self.folder}/{name}")
        try:
            yield Recovery(telegram.scan, source, read_caption, place, sleep=self.world.time.sleep, **more)
        finally:
            await telegram.close()

    async def recover(self, name: str = "again.db", **more: Any) -> Recovered:
        async with self.recovering(name, **more) as recovery:
            return await recovery.run()

    def another(self, index: SqlIndex, **settings: Any) -> Snapshots:
        """The same beside another index."""
        return snapshots_of(self.world, index, self.folder, **settings)


def snapshots_of(world: World, index: SqlIndex, folder: Path, **settings: Any) -> Snapshots:
    return Snapshots(
        index,
        world.documents,
        world.documents.pins,
        read_caption=functools.partial(open_caption, MasterKeys(None)),
        work_dir=folder / "work",
        **{"keep_s": KEEP_S, "now_s": world.time.clock, "sleep": world.time.sleep, **settings},
    )


@asynccontextmanager
async def saved_index(
    folder: Path, *, tokens: Sequence[str] = (BOT_A,), chats: Sequence[int] = (CHANNEL,), **settings: Any
) -> AsyncIterator[Lab]:
    async with telegram_world(folder, tokens=tokens, chats=chats, switches=RELAXED, **settings) as world:
        begin_index(folder / "tgstore.db")
        index = await open_index(f"sqlite:///{folder}/tgstore.db")
        try:
            yield Lab(world, index, snapshots_of(world, index, folder), folder)
        finally:
            await index.close()
