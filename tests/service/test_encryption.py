"""The whole product with `[encryption]`: what lies in the chat, what a range costs, other keys, turning it on and off."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from addon.service.multipart import MultipartHandlers
from addon.standin.server import StandIn
from addon.store.ports import KeyMissing
from addon.store.records import BLOCK_BYTES, ObjectRecord
from addon.store.seal_format import TAG_BYTES
from addon.store.sealing import key_id_of
from tests.service.fixtures import OriginServer
from tests.service.origin_relay import OriginRelay, origin_relay
from tests.service.product import (
    ENCRYPTION,
    ENCRYPTION_KEY,
    IMAGES,
    RELAXED,
    Product,
    eventually,
    product_again,
    running_product,
)
from tests.service.uploads import begin
from tests.standin_fixture import running_standin

OTHER_KEY = bytes(range(32))
OTHER_ENCRYPTION = f'key = "{OTHER_KEY.hex()}"'
MARK = b"0123-plaintext-that-may-be-seen-nowhere-4567"
NAME = "folder-of-secrets/name-that-may-be-seen-nowhere"
VALUE = "value-that-may-be-seen-nowhere"
KEY_ID = key_id_of(ENCRYPTION_KEY)


@contextlib.asynccontextmanager
async def surroundings(folder: Path, origin_server: OriginServer) -> AsyncIterator[tuple[StandIn, OriginRelay]]:
    """What outlives a product: Telegram, which honours Range, and the origin."""
    switches = replace(RELAXED, range_support=True)
    async with (
        running_standin(folder / "telegram", switches=switches) as standin,
        origin_relay(origin_server.port) as relay,
    ):
        yield standin, relay


def everything_in_telegram(product: Product) -> bytes:
    """All that the stand-in was ever told, and all of its files."""
    control = product.standin.control
    told = json.dumps([control.state(), control.log()]).encode()
    files = [path.read_bytes() for path in (product.folder / "telegram").rglob("*") if path.is_file()]
    return b"\0".join((told, *files))


async def write_in_every_way(product: Product, origin_server: OriginServer) -> None:
    headers = [("x-amz-meta-about", VALUE), ("x-amz-tagging", f"tag={VALUE}"), ("content-type", "text/plain")]
    for name, body in {"small": MARK, "medium": MARK * 40_000, "large": MARK * 500_000}.items():
        put = await product.send("PUT", f"{NAME}-{name}", headers=headers, body=body)
        assert put.status_code == 200, put.text
    upload = await begin(product, f"{NAME}-parts", headers=headers)
    for number in (1, 2):
        assert (await upload.put(number, MARK * 10_000)).status_code == 200
    assert (await upload.complete()).status_code == 200
    assert (await product.send("DELETE", f"{NAME}-small")).status_code == 204
    origin_server.put(f"{NAME}-copy", MARK * 1000)
    assert (await product.send("GET", f"{NAME}-copy")).content == MARK * 1000
    await product.copied(f"{NAME}-copy")


@pytest.mark.parametrize("encryption", ["", ENCRYPTION], ids=["plain", "encrypted"])
async def test_nothing_of_bytes_names_and_metadata_lies_in_the_chat(
    tmp_path: Path,
    origin_server: OriginServer,
    quick_retries: None,
    monkeypatch: pytest.MonkeyPatch,
    encryption: str,
) -> None:
    monkeypatch.setitem(MultipartHandlers.__init__.__kwdefaults__, "part_bytes_min", 0)
    async with running_product(tmp_path, origin_server.port, encryption=encryption) as product:
        await write_in_every_way(product, origin_server)
        documents = product.documents_in_telegram()
        assert len(documents) >= 5
        seen = everything_in_telegram(product)
        assert (MARK in seen) == (not encryption), "without encryption this finds it"
        for name in ("small", "medium", "large", "parts", "copy"):
            hashed = hashlib.sha256(f"{IMAGES}/{NAME}-{name}".encode()).hexdigest()[:16]
            assert not (encryption and hashed.encode() in seen)
        if encryption:
            for text in (MARK[:16], MARK[-16:], NAME.encode(), NAME[-16:].encode(), VALUE.encode(), IMAGES.encode()):
                assert text not in seen
            assert ENCRYPTION_KEY not in seen
            assert ENCRYPTION_KEY.hex().encode() not in seen


async def test_a_byte_of_a_gibibyte_costs_a_segment(
    tmp_path: Path, origin_server: OriginServer, quick_retries: None
) -> None:
    async with surroundings(tmp_path, origin_server) as (standin, relay):
        async with product_again(tmp_path, standin, relay, encryption=ENCRYPTION) as product:
            body = b"".join(number.to_bytes(4, "big") for number in range(19 * BLOCK_BYTES // 4))
            assert (await product.send("PUT", "k", body=body)).status_code == 200
            record = await product.state("k")
        assert isinstance(record, ObjectRecord)
        (extent,) = record.extents
        huge = replace(record, size=55 * extent.length, extents=(extent,) * 55)
        assert huge.size > 1 << 30
        async with product_again(tmp_path, standin, relay, encryption=ENCRYPTION) as product:
            # Each in another block of the document, as what has just been read may be at hand.
            for position in (BLOCK_BYTES - 1, BLOCK_BYTES, 700_000_001, 517 * BLOCK_BYTES, huge.size - 1):
                before = len(standin.control.log())
                pieces = [piece async for piece in product.store.read_here(huge, position, 1)]
                assert b"".join(pieces) == body[position % len(body) :][:1]
                downloads = [one for one in standin.control.log()[before:] if one["method"] == "download"]
                assert [one["sent_bytes"] for one in downloads] == [BLOCK_BYTES + TAG_BYTES]


async def test_turning_it_on_changing_the_key_and_turning_it_off(
    tmp_path: Path, origin_server: OriginServer, quick_retries: None
) -> None:
    bodies: dict[str, bytes] = {}
    key, former = ENCRYPTION, f'former_keys = ["{ENCRYPTION_KEY.hex()}", "{OTHER_KEY.hex()}"]'
    settings = {
        "plain": ("", ""),
        "sealed": (key, KEY_ID),
        "rotated": (f'{OTHER_ENCRYPTION}\nformer_keys = ["{ENCRYPTION_KEY.hex()}"]', key_id_of(OTHER_KEY)),
        "off": (former, ""),
    }
    async with surroundings(tmp_path, origin_server) as (standin, relay):
        for name, (encryption, key_id) in settings.items():
            async with product_again(tmp_path, standin, relay, encryption=encryption) as product:
                bodies[name] = name.encode() * 300_000
                assert (await product.send("PUT", name, body=bodies[name])).status_code == 200
                state = await product.state(name)
                assert isinstance(state, ObjectRecord)
                assert state.extents[0].document.key_id.partition(".")[0] == key_id
                for earlier, body in bodies.items():
                    assert (await product.send("GET", earlier)).content == body


@pytest.mark.parametrize("encryption", ["", OTHER_ENCRYPTION], ids=["none", "another"])
async def test_it_does_not_start_without_a_key_that_is_needed(
    tmp_path: Path, origin_server: OriginServer, quick_retries: None, encryption: str
) -> None:
    async with surroundings(tmp_path, origin_server) as (standin, relay):
        async with product_again(tmp_path, standin, relay, encryption=ENCRYPTION) as product:
            assert (await product.send("PUT", "k", body=b"content")).status_code == 200
        with pytest.raises(KeyMissing, match=rf"{KEY_ID} \(1 of them\).*former_keys.*lost_key_ids"):
            async with product_again(tmp_path, standin, relay, encryption=encryption):
                pass
        async with product_again(tmp_path, standin, relay, encryption=ENCRYPTION) as product:
            assert (await product.send("DELETE", "k")).status_code == 204
        async with product_again(tmp_path, standin, relay, encryption=encryption) as product:
            assert (await product.send("GET", "k")).status_code == 404


async def test_what_is_sealed_under_a_lost_key_is_given_up(
    tmp_path: Path, origin_server: OriginServer, quick_retries: None, caplog: pytest.LogCaptureFixture
) -> None:
    async with surroundings(tmp_path, origin_server) as (standin, relay):
        async with product_again(tmp_path, standin, relay, encryption=ENCRYPTION) as product:
            assert (await product.send("PUT", "written", body=b"content")).status_code == 200
            origin_server.put("copied", b"content at the origin")
            await product.send("GET", "copied")
            await product.copied("copied")
        encryption = f'{OTHER_ENCRYPTION}\nlost_key_ids = ["{KEY_ID}"]'
        async with product_again(tmp_path, standin, relay, encryption=encryption) as product:
            refused = await product.send("GET", "written")
            assert (refused.status_code, refused.code) == (503, "ServiceUnavailable")
            assert f"is sealed under the key {KEY_ID}" in caplog.text
            assert (await product.send("GET", "copied")).content == b"content at the origin"
            assert (await product.send("PUT", "written", body=b"anew")).status_code == 200
            assert (await product.send("GET", "written")).content == b"anew"


async def test_what_was_changed_in_telegram_is_refused(
    tmp_path: Path, origin_server: OriginServer, quick_retries: None
) -> None:
    async with surroundings(tmp_path, origin_server) as (standin, relay):
        async with product_again(tmp_path, standin, relay, encryption=ENCRYPTION) as product:
            assert (await product.send("PUT", "k", body=MARK * 1000)).status_code == 200
        for path in (tmp_path / "telegram").rglob("*"):
            if path.is_file() and (stored := path.read_bytes()).startswith(b"TGSEALED"):
                path.write_bytes(stored[:5000] + bytes([stored[5000] ^ 4]) + stored[5001:])
        async with product_again(tmp_path, standin, relay, encryption=ENCRYPTION) as product:
            refused = await product.send("GET", "k")
            assert (refused.status_code, refused.code) == (503, "ServiceUnavailable")


async def test_files_on_their_way_are_gone_when_they_have_arrived(
    tmp_path: Path, origin_server: OriginServer, quick_retries: None
) -> None:
    async with running_product(tmp_path, origin_server.port, encryption=ENCRYPTION) as product:
        assert (await product.send("PUT", "k", body=bytes(45 * BLOCK_BYTES))).status_code == 200
        await eventually(lambda: not product.spooled())
