"""`tgstore repair`, and what `tgstore status` says of bots and chats, as their users run them: beside a running proxy."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from addon.commands.status import status_text
from addon.config import load_config
from addon.store.records import ObjectRecord
from tests.commands.program import tgstore
from tests.service.fixtures import OriginServer
from tests.service.product import IMAGES, Product, running_product
from tests.standin_fixture import BOT_A_ID, CHANNEL, OTHER_CHANNEL, SUPERGROUP

FAST = "channel_messages_per_min_max = 6000"
KEYS = [f"key-{number}" for number in range(5)]


def body(key: str) -> bytes:
    return random.Random(key).randbytes(1_500)


def product_in(folder: Path, origin: OriginServer, *chats: int, copies: int = 2):
    store = f"put_wait_s_max = 5.0\ncopies = {copies}"
    return running_product(folder, origin.port, chats=", ".join(map(str, chats)), telegram=FAST, store=store)


async def put_all(product: Product) -> None:
    for key in KEYS:
        assert (await product.send("PUT", key, body=body(key))).status_code == 200


async def chats_of(product: Product, key: str) -> set[int]:
    state = await product.state(key)
    assert isinstance(state, ObjectRecord)
    document = state.extents[0].document
    ways = await product.index.ways_to(document.document_id)  # type: ignore[attr-defined]
    return {document.chat_id, *(copy.chat_id for copy in ways.copies)}


@pytest.fixture
def proxy_restores_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it may do so before the command does, ten seconds after it sent something."""
    monkeypatch.setattr("addon.store.copy_keeper.SOON_S", 3600.0)
    monkeypatch.setattr("addon.store.copy_keeper.RETRY_S", 3600.0)


@pytest.mark.slow
@pytest.mark.usefixtures("proxy_restores_nothing")
async def test_a_lost_chat_is_made_up_for(tmp_path: Path, origin_server: OriginServer, quick_retries: None) -> None:
    async with product_in(tmp_path, origin_server, CHANNEL, OTHER_CHANNEL, SUPERGROUP) as product:
        await put_all(product)
        lost = [key for key in KEYS if CHANNEL in await chats_of(product, key)]
        assert lost
        product.standin.control.chat("delete", CHANNEL)
        before = await tgstore("status", "--json", cwd=tmp_path)
        told = json.loads(before.out)
        assert told["telegram"]["lacking_copies"]["documents"] == 0, "nobody has noticed yet"
        planned = await tgstore("repair", "--dry-run", "--json", cwd=tmp_path)
        assert planned.status == 1, planned.err
        (plan,) = planned.of("plan")
        assert plan["documents"] >= 1
        assert plan["chats_missing"] == 0
        noticed = await tgstore("status", cwd=tmp_path)
        assert f"bot {BOT_A_ID} in chat {CHANNEL}: set aside since" in noticed.out
        assert "the group chat was deleted" in noticed.out
        assert f"documents without a second copy: {plan['documents']} (" in noticed.out
        assert "tgstore repair restores them" in noticed.out
        assert noticed.lines[-1] in await status_text(load_config(tmp_path / "config.toml", {}), [IMAGES])
        done = await tgstore("repair", "--json", cwd=tmp_path)
        assert done.status == 0, done.err
        assert done.summary["restored"] == plan["documents"]
        assert done.summary["failed"] == 0
        for key in KEYS:
            assert {OTHER_CHANNEL, SUPERGROUP} <= await chats_of(product, key)
        again = await tgstore("repair", cwd=tmp_path)
        assert (again.status, again.lines[-1].split()[0]) == (0, "0")
        uploads = sum(bool(entry["files"]) for entry in product.standin.control.log())
        product.standin.control.chat("delete", OTHER_CHANNEL)
        for key in KEYS:
            assert (await product.send("GET", key)).content == body(key)
        assert sum(bool(entry["files"]) for entry in product.standin.control.log()) == uploads


async def test_where_no_second_chat_is_left_it_says_what_to_do(
    tmp_path: Path, origin_server: OriginServer, quick_retries: None
) -> None:
    async with product_in(tmp_path, origin_server, CHANNEL, OTHER_CHANNEL) as product:
        await put_all(product)
        product.standin.control.chat("delete", CHANNEL)
        done = await tgstore("repair", cwd=tmp_path)
        assert done.status == 1
        assert "only one chat works: put another one into [telegram] chat_ids" in done.out
        for key in KEYS:
            state = await product.state(key)
            assert isinstance(state, ObjectRecord)
            assert state.extents[0].document.chat_id == OTHER_CHANNEL, "what was a copy is the address now"
        product.standin.control.chat("delete", OTHER_CHANNEL)
        none = await tgstore("repair", cwd=tmp_path)
        assert none.status == 1
        assert "no bot may send to any chat: tgstore check says why" in none.err


@pytest.mark.parametrize("chats", [[OTHER_CHANNEL], [OTHER_CHANNEL, SUPERGROUP]])
async def test_a_chat_that_was_taken_out_of_the_settings_is_lost(
    tmp_path: Path, origin_server: OriginServer, quick_retries: None, chats: list[int]
) -> None:
    async with product_in(tmp_path, origin_server, CHANNEL, copies=1) as product:
        await put_all(product)
        path = tmp_path / "config.toml"
        text = path.read_text().replace(f"chat_ids = [{CHANNEL}]", f"chat_ids = {chats}")
        path.write_text(text.replace("copies = 1", f"copies = {len(chats)}"))
        done = await tgstore("repair", "--json", cwd=tmp_path)
        assert done.status == 0, done.err
        for key in KEYS:
            assert set(chats) <= await chats_of(product, key)
