"""A product with objects of all kinds, what it tells of them, and the loss of all that it has on its disk."""

from __future__ import annotations

import asyncio
import hashlib
import html
import json
import random
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from addon.service.multipart import MultipartHandlers
from addon.standin.server import StandIn
from addon.store.records import ObjectRecord, Tombstone
from tests.commands.program import Done, tgstore
from tests.service.fixtures import OriginServer
from tests.service.origin_relay import OriginRelay, origin_relay
from tests.service.product import ALONE, IMAGES, RELAXED, Product, product_again
from tests.service.uploads import Uploading, begin
from tests.standin_fixture import CHANNEL, running_standin

RANDOM = random.Random(5)
# Documents are small here, so that an object of some megabytes has several.
DOCUMENT_BYTES_MAX = 3 << 20
LARGE = RANDOM.randbytes(7_000_000)
PARTS = [RANDOM.randbytes(2_500_000), RANDOM.randbytes(200_000), RANDOM.randbytes(70_000)]
FAST = f"channel_messages_per_min_max = 60000\ndocument_bytes_max = {DOCUMENT_BYTES_MAX}"
SMALL_PACKS = f"pack_bytes_max = {DOCUMENT_BYTES_MAX}\nput_wait_s_max = 10.0"
HEADERS = [
    ("content-type", "image/png"),
    ("cache-control", "max-age=60"),
    ("x-amz-meta-a", "1"),
    ("x-amz-tagging", "t=1"),
    ("x-amz-acl", "public-read"),
]
KEPT = {"telegram", "config.toml"}


@dataclass
class World:
    """A folder, and what is outside of it."""

    folder: Path
    standin: StandIn
    relay: OriginRelay
    origin: OriginServer
    settings: dict[str, str]

    @asynccontextmanager
    async def product(self) -> AsyncIterator[Product]:
        async with product_again(self.folder, self.standin, self.relay, **self.settings) as product:
            yield product

    async def lose(self) -> None:
        """rm -rf, but for the settings."""

        def remove() -> None:
            for path in self.folder.iterdir():
                if path.is_dir() and path.name not in KEPT:
                    shutil.rmtree(path)
                elif path.name not in KEPT:
                    path.unlink()

        await asyncio.to_thread(remove)

    async def recover(self, *arguments: str) -> Done:
        return await tgstore("recover", "--json", *arguments, cwd=self.folder)

    def calls(self, method: str) -> int:
        return sum(entry["method"] == method for entry in self.standin.control.log())


def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts may be as small as one likes."""
    monkeypatch.setitem(MultipartHandlers.__init__.__kwdefaults__, "part_bytes_min", 0)


@asynccontextmanager
async def world(folder: Path, origin: OriginServer, **settings: str) -> AsyncIterator[World]:
    async with (
        running_standin(folder / "telegram", switches=RELAXED) as standin,
        origin_relay(origin.port) as relay,
    ):
        yield World(folder, standin, relay, origin, {"telegram": FAST, "store": SMALL_PACKS, **settings})


async def fill(world: World, product: Product) -> None:
    """Objects of all kinds."""
    small = [put(product, f"small/{number}", RANDOM.randbytes(1000 * number + 1)) for number in range(20)]
    await asyncio.gather(*small)
    await put(product, "empty", b"")
    await put(product, "ünï/käy", b"odd", bucket=ALONE)
    await put(product, "large", LARGE)
    await put(product, "replaced", b"former")
    await put(product, "replaced", b"present", headers=[("x-amz-meta-b", "2")])
    await put(product, "deleted", b"it was")
    assert (await product.send("DELETE", "deleted")).status_code == 204
    assert (await product.send("DELETE", "never was")).status_code == 204
    for key in ("in parts", "in parts too"):
        await in_parts(product, key)
    for source, key in (("small/3", "copy"), ("in parts", "copy of parts"), ("large", "copy of large")):
        copied = await product.send("PUT", key, headers=[("x-amz-copy-source", f"/{IMAGES}/{source}")])
        assert copied.status_code == 200, copied.text
    assert (await product.send("DELETE", "in parts too")).status_code == 204
    tagging = b"<Tagging><TagSet><Tag><Key>x</Key><Value>y</Value></Tag></TagSet></Tagging>"
    assert (await product.send("PUT", "small/4", query="tagging", body=tagging)).status_code == 200
    acl = await product.send("PUT", "small/5", query="acl", headers=[("x-amz-acl", "private")])
    assert acl.status_code == 200, acl.text
    for key in ("from the origin", "from the origin, deleted"):
        world.origin.put(key, b"theirs", ContentType="text/plain", Metadata={"m": "1"})
        await product.send("GET", key)
        await product.copied(key)
    assert (await product.send("DELETE", "from the origin, deleted")).status_code == 204


def packs(world: World, chat_id: int = CHANNEL) -> list[dict[str, Any]]:
    """The messages with packs."""
    messages = world.standin.control.state()["chats"][str(chat_id)]["messages"]
    ours = [one for one in messages if "document" in one and one["text"].startswith("{")]
    return [one for one in ours if "p" in json.loads(one["text"])]


async def put(product: Product, key: str, body: bytes, *, bucket: str = IMAGES, headers: Any = HEADERS) -> None:
    answer = await product.send("PUT", key, bucket=bucket, headers=headers, body=body)
    assert answer.status_code == 200, answer.text


async def in_parts(product: Product, key: str) -> Uploading:
    upload = await begin(product, key, headers=[("x-amz-meta-c", "3")])
    for number, body in enumerate(PARTS, 1):
        assert (await upload.put(number, body)).status_code == 200
    assert (await upload.complete()).status_code == 200
    return upload


async def save(product: Product) -> None:
    """Take a snapshot beside the running proxy, as itself would in an hour."""
    done = await tgstore("snapshot", "--json", cwd=product.folder)
    assert done.status == 0, done.err


async def told(product: Product) -> dict[str, Any]:
    """All that clients are told of both buckets, and all bytes."""
    found: dict[str, Any] = {}
    for bucket in (IMAGES, ALONE):
        listing = await product.send("GET", "", bucket=bucket, query="list-type=2&max-keys=1000")
        assert listing.status_code == 200
        found[bucket] = listing.text
        keys = [html.unescape(key) for key in re.findall("<Key>(.*?)</Key>", listing.text)]
        for key in keys:
            found[f"{bucket}/{key}"] = await told_of(product, key, bucket)
    for key in ("deleted", "never was", "in parts too", "from the origin, deleted"):
        found[key] = (await product.send("GET", key)).status_code
    return found


async def told_of(product: Product, key: str, bucket: str) -> dict[str, Any]:
    got = await product.send("GET", key, bucket=bucket)
    assert got.status_code == 200, (key, got.text)
    headers = {
        name: value for name, value in got.headers.items() if not name.startswith(("date", "x-amz-request", "x-amz-id"))
    }
    more = {query: (await product.send("GET", key, bucket=bucket, query=query)).text for query in ("tagging", "acl")}
    part = await product.send("HEAD", key, bucket=bucket, query="partNumber=2")
    anonymous = await product.send("GET", key, bucket=bucket, by=None)
    return {
        "headers": headers,
        "sha256": hashlib.sha256(got.content).hexdigest(),
        "second part": (part.status_code, part.headers.get("content-length"), part.headers.get("x-amz-mp-parts-count")),
        "anonymous": anonymous.status_code,
        **more,
    }


async def states(product: Product, keys: list[str]) -> dict[str, Any]:
    """What the index has, but for what is a cache."""
    found: dict[str, Any] = {}
    for key in keys:
        state = await product.state(key)
        if isinstance(state, ObjectRecord):
            places = [(one.document.document_id, one.offset, one.length, one.block_sha256s) for one in state.extents]
            found[key] = (state.generation, state.etag, state.parts_count, state.tags, places)
        else:
            found[key] = state if isinstance(state, Tombstone) else None
    return found
