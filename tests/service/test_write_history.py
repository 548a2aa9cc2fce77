"""A random history of writes that go to Telegram, to both or to the origin, with an origin and an index that fail in between.

What an acknowledged write left is read, here and where it had to be; what was not acknowledged changed nothing that anybody sees,
but where the index failed after the origin had taken it: then the origin has it, and an object written here stands.
"""

from __future__ import annotations

import random

import pytest

from addon.store.ports import IndexUnavailable
from tests.service.fixtures import OriginServer
from tests.service.product import IMAGES, Product
from tests.service.test_deletions import delete, document, outcomes
from tests.service.written import at_origin, no_marks, use

KEYS = ("a", "b", "c")
STEPS = 60
ASK_THE_ORIGIN = object()


class History:
    """`there` is what the origin holds of each key, `here` what the index says: a body, None (deleted), or nothing of its own."""

    def __init__(self, product: Product, origin_server: OriginServer, seed: int) -> None:
        self.product, self.origin_server, self.rng = product, origin_server, random.Random(seed)
        self.there: dict[str, bytes | None] = dict.fromkeys(KEYS)
        self.here: dict[str, object] = dict.fromkeys(KEYS, ASK_THE_ORIGIN)
        self.writes = "telegram"

    def seen(self, key: str) -> object:
        return self.there[key] if self.here[key] is ASK_THE_ORIGIN else self.here[key]

    async def step(self, monkeypatch: pytest.MonkeyPatch) -> None:
        key, fault = self.rng.choice(KEYS), self.rng.choice(("", "", "", "origin", "index"))
        if self.rng.random() < 0.2:
            self.writes = self.rng.choice(("telegram", "both", "origin"))
            use(self.product, writes=self.writes)
        write = self.rng.choice((self.put, self.put, self.delete, self.delete_many, self.copy))
        with monkeypatch.context() as patched:
            if fault == "origin":
                self.product.origin.down = True
            elif fault == "index" and self.writes == "both":
                for name in ("put_object", "copy_object", "delete_object"):
                    patched.setattr(self.product.index, name, _fails)
            done, value = await write(key, origin_fails=fault == "origin")
        self.product.origin.down = False
        if not done and fault == "index" and self.writes == "both":
            self.there[key] = value
        if done:
            if self.writes != "telegram":
                self.there[key] = value
            self.here[key] = ASK_THE_ORIGIN if self.writes == "origin" else value
        await self.check()

    async def put(self, key: str, *, origin_fails: bool) -> tuple[bool, bytes | None]:
        body = self.rng.randbytes(self.rng.choice((0, 1, 3000)))
        return self.told(await self.product.send("PUT", key, body=body), origin_fails), body

    async def delete(self, key: str, *, origin_fails: bool) -> tuple[bool, bytes | None]:
        return self.told(await self.product.send("DELETE", key), origin_fails), None

    async def delete_many(self, key: str, *, origin_fails: bool) -> tuple[bool, bytes | None]:
        said = outcomes(await delete(self.product, document(key)))[key]
        assert said in ("Deleted", "ServiceUnavailable")
        return said == "Deleted", None

    async def copy(self, key: str, *, origin_fails: bool) -> tuple[bool, bytes | None]:
        """From what is written here: where only the origin has the source, it is the origin's affair whether it can."""
        source = self.rng.choice([other for other in KEYS if other != key])
        held = self.here[source]
        if not isinstance(held, bytes):
            return await self.put(key, origin_fails=origin_fails)
        headers = [("x-amz-copy-source", f"/{IMAGES}/{source}")]
        return self.told(await self.product.send("PUT", key, headers=headers), origin_fails), held

    def told(self, answer: object, origin_fails: bool) -> bool:
        status = answer.status_code  # type: ignore[attr-defined]
        assert status in (200, 204, 503), answer
        if origin_fails:
            assert (status == 503) is (self.writes != "telegram")
        return bool(status != 503)

    async def check(self) -> None:
        for key in KEYS:
            got, held = await self.product.send("GET", key), self.seen(key)
            assert (got.status_code, got.content if got.status_code == 200 else None) == (
                200 if held is not None else 404,
                held,
            )
            there = at_origin(self.origin_server, key)
            assert (there["Body"] if there is not None else None) == self.there[key]
        assert await no_marks(self.product.index)


async def _fails(*_: object, **__: object) -> None:
    raise IndexUnavailable("the disk is full")


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_random_history(
    product: Product, origin_server: OriginServer, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(product, origin_server, seed)
    for _ in range(STEPS):
        await history.step(monkeypatch)
