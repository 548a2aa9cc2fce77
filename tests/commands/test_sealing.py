"""`tgstore new-key`, `unseal`, and what `status` and `check` say of encryption."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from addon.checks import check_all
from addon.config import load_config
from addon.store.sealing import key_id_of
from tests.commands.program import tgstore
from tests.service.fixtures import OriginServer
from tests.service.product import ENCRYPTION, ENCRYPTION_KEY, Product, running_product

BODY = b"the content of an object" * 5000
KEY_ID = key_id_of(ENCRYPTION_KEY)


@pytest.fixture
async def sealed(tmp_path: Path, origin_server: OriginServer, quick_retries: None) -> AsyncIterator[Product]:
    """A product that seals, with one object."""
    async with running_product(tmp_path, origin_server.port, encryption=ENCRYPTION) as running:
        assert (await running.send("PUT", "k", body=BODY)).status_code == 200
        yield running


def downloaded(product: Product) -> Path:
    """The sealed document, as somebody would download it."""
    for path in (product.folder / "telegram").rglob("*"):
        if path.is_file() and path.read_bytes().startswith(b"TGSEALED"):
            return path
    raise AssertionError("there is no sealed document")


async def test_a_new_key_is_32_bytes_and_another_each_time(tmp_path: Path) -> None:
    keys = [(await tgstore("new-key", cwd=tmp_path)).out for _ in range(2)]
    assert keys[0] != keys[1]
    assert all(len(base64.b64decode(key, validate=True)) == 32 for key in map(str.strip, keys))


async def test_a_document_that_was_downloaded_is_unsealed(sealed: Product) -> None:
    path = downloaded(sealed)
    done = await tgstore("unseal", str(path), "opened", cwd=sealed.folder)
    assert done.status == 0, done
    assert KEY_ID in done.out
    assert BODY in (sealed.folder / "opened").read_bytes()
    again = await tgstore("unseal", str(path), "opened", cwd=sealed.folder)
    assert (again.status, again.out) == (1, "")
    assert "there already" in again.err
    assert BODY in (sealed.folder / "opened").read_bytes()


async def test_what_cannot_be_unsealed_leaves_no_file(sealed: Product) -> None:
    stored = downloaded(sealed).read_bytes()
    changed = {
        "not a sealed document": b"PK" + stored[2:],
        "not what was sealed": stored[:-1] + bytes([stored[-1] ^ 1]),
        f"under the key {'0' * 16}": stored[:16] + bytes(8) + stored[24:],
    }
    for expected, content in changed.items():
        (sealed.folder / "changed").write_bytes(content)
        done = await tgstore("unseal", "changed", "opened", cwd=sealed.folder)
        assert (done.status, done.out) == (1, "")
        assert expected in done.err
        assert "Traceback" not in done.err
        assert not (sealed.folder / "opened").exists()


async def test_status_tells_how_much_is_encrypted(sealed: Product) -> None:
    done = await tgstore("status", cwd=sealed.folder)
    assert f"documents encrypted under key {KEY_ID}: 1 (" in done.out
    (event,) = (await tgstore("status", "--json", cwd=sealed.folder)).events
    told = event["by_key"]
    assert list(told) == [KEY_ID]
    assert told[KEY_ID]["documents"] == 1


async def test_check_and_other_commands_name_a_key_that_is_missing(sealed: Product) -> None:
    path = sealed.folder / "config.toml"
    right = path.read_text()
    results = {result.subject: result for result in await check_all(load_config(path, {}), telegram_writes=False)}
    assert results["encryption"].ok
    assert KEY_ID in results["encryption"].detail
    for encryption in ("", f"[encryption]\nkey = '{'7' * 64}'"):
        path.write_text(right.replace(f"[encryption]\n{ENCRYPTION}", encryption))
        results = {result.subject: result for result in await check_all(load_config(path, {}), telegram_writes=False)}
        assert not results["encryption"].ok
        assert f"{KEY_ID} (1 of them)" in results["encryption"].detail
        assert "former_keys" in results["encryption"].advice
    verify = await tgstore("verify", "images", cwd=sealed.folder)
    assert verify.status == 1
    assert KEY_ID in verify.err
    assert "Traceback" not in verify.err
