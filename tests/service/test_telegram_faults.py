"""Telegram's own faults under the whole product: storms of 429s, bots that are revoked, chats that are lost, in turn and together,
while clients write and read. What was acknowledged is read back, always and with its own bytes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from addon.store.records import ObjectRecord
from addon.store.repairer import Ending, Repaired, Repairer
from addon.store.retrying import Retries
from tests.service.fixtures import OriginServer, unique
from tests.service.product import IMAGES, RELAXED, Product, eventually, running_product
from tests.standin_fixture import BOT_A_ID, BOT_B_ID, CHANNEL, OTHER_CHANNEL, SUPERGROUP

TWO_CHATS = f"{CHANNEL}, {OTHER_CHANNEL}"
KEYS = [f"key-{number}" for number in range(10)]
STEPS = 6
SIZES = (1, 700, 3000, 1_200_000)


@pytest.fixture
def quick_asides(monkeypatch: pytest.MonkeyPatch, quick_retries: None) -> None:
    """What is set aside is asked again within a fraction of a second."""
    monkeypatch.setattr("addon.store.send_ledger.SET_ASIDE_S_FIRST", 0.02)
    monkeypatch.setattr("addon.store.send_ledger.SET_ASIDE_S_MAX", 0.1)
    monkeypatch.setattr("addon.telegram.bots.LOOK_INTERVAL_S", 0.05)
    monkeypatch.setattr("addon.telegram.bots.TELL_INTERVAL_S", 0.05)


async def forget_what_is_at_hand(product: Product, *keys: str) -> None:
    """No cache and no file link helps the next read."""
    for key in keys:
        state = await product.state(key)
        if isinstance(state, ObjectRecord):
            await product.store.forget_documents({extent.document.document_id for extent in state.extents})
    product.telegram._links._links.clear()


async def repaired(product: Product, *, wanted: int = 2) -> list[Repaired]:
    """`tgstore repair`, within the process."""
    copying = product.telegram.copies
    await copying.ask_all()

    async def at_once() -> None:
        return

    repairer = Repairer(product.index, copying, wanted=wanted, room=at_once, retries=Retries(delay_s_min=0.01))  # type: ignore[arg-type]
    found: list[Repaired] = []
    await repairer.run(found.append)
    return found


class World:
    """Clients of the product, what they know of their keys, and what happens to Telegram meanwhile."""

    def __init__(self, product: Product, seed: int) -> None:
        self.product, self.rng = product, random.Random(seed)
        self.acknowledged: dict[str, set[bytes]] = {}
        self.acknowledgements = 0

    def body(self) -> bytes:
        return self.rng.randbytes(self.rng.choice(SIZES))

    async def put(self, key: str, body: bytes) -> None:
        answer = await self.product.send("PUT", key, body=body)
        if answer.status_code == 200:
            self.acknowledged[key] = {body}
            self.acknowledgements += 1
        else:
            assert answer.status_code == 503, answer.text
            assert answer.headers["retry-after"]
            # Not acknowledged, and not undone: either object may be there.
            self.acknowledged.setdefault(key, {b""}).add(body)

    async def get(self, key: str) -> None:
        before = self.acknowledged.get(key)
        if before is None:
            return
        await forget_what_is_at_hand(self.product, key)
        answer = await self.product.send("GET", key)
        if answer.status_code == 404 and b"" in before:
            return
        assert answer.status_code == 200, (key, answer.text)
        assert answer.content in before | self.acknowledged[key]

    async def clients(self) -> None:
        """A handful of writes and reads at once, each of another key."""
        keys = self.rng.sample(KEYS, 6)
        await asyncio.gather(*(self.put(key, self.body()) for key in keys[:3]), *(self.get(key) for key in keys[3:]))

    async def everything_is_there(self) -> None:
        await asyncio.gather(*(self.get(key) for key in KEYS))

    # --- What happens

    def storm(self) -> None:
        self.product.standin.control.faults(
            {
                "match": {"method": self.rng.choice(("sendDocument", "getFile", "*"))},
                "times": self.rng.randrange(1, 6),
                "action": {"kind": "rate", "retry_after": 1, "hold": False},
            }
        )

    def order(self, op: str, chat_id: int = 0, bot_id: int | None = None) -> None:
        self.product.standin.control.chat(op, chat_id, bot_id=bot_id)


async def begin(folder: Path, origin: OriginServer, copies: int) -> AsyncIterator[Product]:
    store = f"put_wait_s_max = 5.0\ncopies = {copies}"
    async with running_product(folder, origin.port, switches=RELAXED, chats=TWO_CHATS, store=store) as product:
        yield product


@pytest.fixture
async def product_of_two_copies(
    tmp_path: Path, origin_server: OriginServer, quick_asides: None
) -> AsyncIterator[Product]:
    async for product in begin(tmp_path, origin_server, 2):
        yield product


@pytest.fixture
async def product_of_one_copy(
    tmp_path: Path, origin_server: OriginServer, quick_asides: None
) -> AsyncIterator[Product]:
    async for product in begin(tmp_path, origin_server, 1):
        yield product


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_with_two_copies_reads_go_on_whatever_one_bot_and_one_chat_do(
    product_of_two_copies: Product, seed: int
) -> None:
    """At each moment one bot may be revoked and one chat lost, each in turn; before a further chat is lost, what the former one
    lacks is made up for, as an operator has it done."""
    product = product_of_two_copies
    world = World(product, seed)
    await world.clients()
    for _ in range(STEPS):
        bot_id = world.rng.choice((BOT_A_ID, BOT_B_ID, None))
        chat_id = world.rng.choice((CHANNEL, OTHER_CHANNEL, None))
        if world.rng.random() < 0.5:
            world.storm()
        running = asyncio.create_task(world.clients())
        await asyncio.sleep(world.rng.random() * 0.03)
        if bot_id is not None:
            world.order("revoke", bot_id=bot_id)
        if chat_id is not None:
            world.order("kick", chat_id)
        await running
        await world.clients()
        await world.everything_is_there()
        product.standin.control.clear_faults()
        world.order("revive")
        for chat in (CHANNEL, OTHER_CHANNEL):
            world.order("unkick", chat)
        assert [one.reason for one in await repaired(product) if one.ending is Ending.FAILED] == []
    assert world.acknowledgements > STEPS, "and writes go on, too"
    await world.everything_is_there()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
async def test_with_one_copy_nothing_acknowledged_is_lost_when_all_is_back(
    product_of_one_copy: Product, seed: int
) -> None:
    product = product_of_one_copy
    world = World(product, seed)
    await world.clients()
    for _ in range(STEPS):
        world.storm()
        running = asyncio.gather(*(world.put(key, world.body()) for key in KEYS[:4]))
        for op, chat_id, bot_id in world.rng.sample(
            [("revoke", 0, BOT_A_ID), ("revoke", 0, BOT_B_ID), ("kick", CHANNEL, None), ("kick", OTHER_CHANNEL, None)],
            2,
        ):
            await asyncio.sleep(world.rng.random() * 0.02)
            world.order(op, chat_id, bot_id)
        await running
        product.standin.control.clear_faults()
        world.order("revive")
        for chat in (CHANNEL, OTHER_CHANNEL):
            world.order("unkick", chat)
        await product.telegram.copies.ask_all()
        await world.everything_is_there()


async def test_without_telegram_copies_come_from_the_origin_while_it_lasts(
    product_of_one_copy: Product, origin_server: OriginServer
) -> None:
    product, key = product_of_one_copy, unique("picture")
    origin_server.put(key, b"as it lies there")
    assert (await product.send("GET", key)).content == b"as it lies there"
    await product.copied(key)
    product.standin.control.chat("revoke")
    product.origin.requests.clear()

    async def comes_from_the_origin() -> bool:
        # The copier keeps what it has just copied at hand, a moment after the copy is seen.
        await forget_what_is_at_hand(product, key)
        assert (await product.send("GET", key)).content == b"as it lies there"
        return len(product.origin.requests) >= 1

    await eventually(comes_from_the_origin)
    written = unique("written")
    assert (await product.send("PUT", written, body=b"x")).status_code == 503


async def test_a_chat_that_is_lost_is_made_up_for_in_another_one(
    tmp_path: Path, origin_server: OriginServer, quick_asides: None
) -> None:
    store, chats = "put_wait_s_max = 5.0\ncopies = 2", f"{CHANNEL}, {OTHER_CHANNEL}, {SUPERGROUP}"
    async with running_product(tmp_path, origin_server.port, chats=chats, store=store) as product:
        bodies = {key: random.Random(key).randbytes(2000) for key in KEYS}
        for key, body in bodies.items():
            assert (await product.send("PUT", key, body=body)).status_code == 200
        product.standin.control.chat("delete", CHANNEL)
        found = await repaired(product)
        assert found
        assert {one.ending for one in found} == {Ending.RESTORED}
        assert await repaired(product) == [], "nothing is left to be done"
        sent_files = sum(bool(entry["files"]) for entry in product.standin.control.log())
        product.standin.control.chat("delete", OTHER_CHANNEL)
        for key, body in bodies.items():
            await forget_what_is_at_hand(product, key)
            answer = await product.send("GET", key)
            assert (answer.status_code, answer.content) == (200, body)
            state = await product.state(key)
            assert isinstance(state, ObjectRecord)
        assert sum(bool(entry["files"]) for entry in product.standin.control.log()) == sent_files, (
            "nothing was uploaded"
        )


async def test_what_was_accepted_with_one_copy_is_made_up_for_in_the_background(
    product_of_two_copies: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("addon.store.copy_keeper.SOON_S", 0.05)
    monkeypatch.setattr("addon.store.copy_keeper.RETRY_S", 0.05)
    product, key = product_of_two_copies, unique("alone")
    product.standin.control.chat("kick", OTHER_CHANNEL)
    assert (await product.send("PUT", key, body=b"one copy for now")).status_code == 200
    state = await product.state(key)
    assert isinstance(state, ObjectRecord)
    document_id = state.extents[0].document.document_id
    assert (await product.index.ways_to(document_id)).copies == []  # type: ignore[attr-defined]
    product.standin.control.chat("unkick", OTHER_CHANNEL)

    async def has_two() -> bool:
        return len((await product.index.ways_to(document_id)).copies) == 1  # type: ignore[attr-defined]

    await eventually(has_two)
    product.standin.control.chat("delete", CHANNEL)
    await forget_what_is_at_hand(product, key)
    assert (await product.send("GET", key, bucket=IMAGES)).content == b"one copy for now"
