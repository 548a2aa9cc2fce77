"""Any sequence of operations, with failures between them and copies in the background, gives what a plain dictionary gives."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import httpx
import pytest

from addon.store.records import BLOCK_BYTES
from tests.service.fixtures import OriginServer
from tests.service.origin_relay import origin_relay
from tests.service.product import HOST, IMAGES, RELAXED, USER, Product, product_again, target_of
from tests.service.signing import sign
from tests.service.uploads import begun_at_origin
from tests.standin_fixture import running_standin

KEYS = ("a", "b", "c/d")
FAILS: dict[str, Any] = {"match": {"method": "sendDocument"}, "times": None, "action": {"kind": "http", "code": 500}}
STEPS = 30


class Model:
    """What each key holds, as a client must see it; None where there is nothing."""

    def __init__(self, origin_server: OriginServer, seed: int) -> None:
        self.rng = random.Random(seed)
        self.origin_server = origin_server
        self.here: dict[str, bytes | None] = dict.fromkeys(KEYS)
        for key in KEYS[:2]:
            self.here[key] = self.bytes()
            origin_server.put(key, self.here[key] or b"")
        origin_server.put("source", b"source 0")

    def bytes(self) -> bytes:
        return self.rng.randbytes(self.rng.choice((0, 1, 1000, 60_000, BLOCK_BYTES + 3)))

    async def step(self, product: Product) -> None:
        key = self.rng.choice(KEYS)
        operation = self.rng.choice(
            (
                *(self.put, self.put, self.delete, self.get, self.get, self.ranged, self.bad_put, self.failed_put),
                *(self.copy, self.copy_of_a_key, self.write_past),
            )
        )
        await operation(product, key)

    async def put(self, product: Product, key: str) -> None:
        body = self.bytes()
        assert (await product.send("PUT", key, body=body)).status_code == 200
        self.here[key] = body

    async def delete(self, product: Product, key: str) -> None:
        assert (await product.send("DELETE", key)).status_code == 204
        self.here[key] = None

    async def get(self, product: Product, key: str) -> None:
        got, held = await product.send("GET", key), self.here[key]
        assert (got.status_code, got.content if got.status_code == 200 else None) == (
            200 if held is not None else 404,
            held,
        )

    async def ranged(self, product: Product, key: str) -> None:
        got, held = await product.send("GET", key, headers=[("range", "bytes=10-19")]), self.here[key]
        if held is None:
            assert got.status_code == 404
        elif len(held) <= 10:
            assert got.status_code == 416
        else:
            assert (got.status_code, got.content) == (206, held[10:20])

    async def bad_put(self, product: Product, key: str) -> None:
        target = target_of(IMAGES, key)
        signed = sign(USER, "PUT", target, HOST, payload="0" * 64)
        assert (await product.send_as_is("PUT", target, signed.headers, self.bytes())).status_code == 400

    async def failed_put(self, product: Product, key: str) -> None:
        product.standin.control.faults(FAILS)
        answer = await product.send("PUT", key, body=b"never" + self.bytes())
        product.standin.control.clear_faults()
        assert answer.status_code == 503

    async def copy(self, product: Product, key: str) -> None:
        source = f"source {self.rng.random()}".encode()
        self.origin_server.put("source", source)
        headers = [("x-amz-copy-source", f"/{IMAGES}/source")]
        assert (await product.send("PUT", key, headers=headers)).status_code == 200
        self.here[key] = source

    async def copy_of_a_key(self, product: Product, key: str) -> None:
        source = self.rng.choice([other for other in KEYS if other != key])
        headers = [("x-amz-copy-source", f"/{IMAGES}/{source}")]
        held = self.here[source]
        assert (await product.send("PUT", key, headers=headers)).status_code == (200 if held is not None else 404)
        if held is not None:
            self.here[key] = held

    async def write_past(self, product: Product, key: str) -> None:
        body = f"past us {self.rng.random()}".encode()
        upload = begun_at_origin(product, self.origin_server, key, body)
        assert (await upload.complete()).status_code == 200
        self.here[key] = body


async def test_a_random_history(tmp_path: Path, origin_server: OriginServer, quick_retries: None) -> None:
    model = Model(origin_server, seed=1)
    async with (
        running_standin(tmp_path / "telegram", switches=RELAXED) as standin,
        origin_relay(origin_server.port) as relay,
    ):
        for _ in range(3):
            async with product_again(tmp_path, standin, relay) as product:
                for _ in range(STEPS):
                    await model.step(product)
        async with product_again(tmp_path, standin, relay) as product:
            for key in KEYS:
                await model.get(product, key)
            assert product.spooled() == []


async def test_readers_see_one_version_or_another_while_a_key_is_written(product: Product) -> None:
    """Never a mixture, never nothing, and never an older one after a newer one was acknowledged."""
    versions = [bytes([number]) * (BLOCK_BYTES + 1000 * number) for number in range(12)]
    assert (await product.send("PUT", "k", body=versions[0])).status_code == 200
    acknowledged = 0

    async def read() -> None:
        while acknowledged < len(versions) - 1:
            oldest = acknowledged
            try:
                got = await product.send("GET", "k")
            except httpx.RemoteProtocolError:
                pytest.fail("a transfer broke")
            assert got.status_code == 200
            assert versions.index(got.content) >= oldest

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(read())
        for number in range(1, len(versions)):
            assert (await product.send("PUT", "k", body=versions[number])).status_code == 200
            acknowledged = number
