"""The data folder is lost: what the chats give back is what was there."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from addon.service.multipart import MultipartHandlers
from addon.store.captions import open_caption
from addon.store.object_store import ObjectStore
from addon.store.records import Tombstone
from addon.store.sealing import MasterKeys
from tests.commands.program import ended, started, tgstore
from tests.service.fixtures import OriginServer
from tests.service.lost_folder import HEADERS, World, fill, in_parts, put, save, states, told, world
from tests.service.product import ALONE, ENCRYPTION, IMAGES, Product, eventually
from tests.service.uploads import begin
from tests.standin_fixture import BOT_A_ID, CHANNEL, OTHER_CHANNEL

pytestmark = pytest.mark.usefixtures("quick_retries")

TWO_CHATS = f"{CHANNEL}, {OTHER_CHANNEL}"
KEYS = ["large", "in parts", "copy of parts", "small/4", "small/5", "deleted", "never was", "from the origin"]


@pytest.mark.parametrize(
    "settings", [{}, {"chats": TWO_CHATS}, {"encryption": ENCRYPTION}], ids=["plain", "two chats", "sealed"]
)
@pytest.mark.parametrize("how", ["with a snapshot", "with an older snapshot", "without a snapshot"])
async def test_all_comes_back(tmp_path: Path, origin_server: OriginServer, how: str, settings: dict[str, str]) -> None:
    async with world(tmp_path, origin_server, **settings) as lost:
        async with lost.product() as product:
            if how == "with an older snapshot":
                await put(product, "replaced", b"before the snapshot")
                await put(product, "deleted", b"before the snapshot")
                await in_parts(product, "in parts too")
                await save(product)
            await fill(lost, product)
            await product.store.packer.flush_states()
            if how == "with a snapshot":
                await save(product)
            before, index_before = await told(product), await states(product, KEYS)
        await lost.lose()
        done = await lost.recover()
        assert done.status == 0, done.err
        assert done.summary["lost"] == []
        assert done.summary["unreadable"] == []
        async with lost.product() as product:
            assert await told(product) == before
            assert await states(product, KEYS) == index_before
            verified = await tgstore("verify", IMAGES, "--deep", "--written", "--json", cwd=tmp_path)
            assert verified.status == 0, verified.out
            await put(product, "afterwards", b"it goes on")
            after = await product.state("afterwards")
            assert after is not None
            assert after.generation > max(one[0] for one in index_before.values() if isinstance(one, tuple))
