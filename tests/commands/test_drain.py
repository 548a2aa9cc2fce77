"""`tgstore drain`, and what `tgstore status` says of what waits on the local disk: the real program beside a running proxy and
alone."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from addon.composition import read_status
from addon.config import load_config
from addon.store.records import ObjectRecord
from tests.commands.program import ended, started, tgstore
from tests.service.fixtures import OriginServer
from tests.service.product import Product, eventually, product_again, running_product

SPOOL = 'ack = "spool"\nput_wait_s_max = 0.2'
UNHURRIED = "channel_messages_per_min_max = 60000"
BODY = random.Random(4).randbytes(1_200_000)
DOWN: dict[str, Any] = {
    "match": {"method": "sendDocument"},
    "times": None,
    "action": {"kind": "http", "code": 500, "form": "json"},
}


@pytest.fixture
async def waiting(tmp_path: Path, origin_server: OriginServer) -> AsyncIterator[Product]:
    """Two objects wait, because Telegram is down."""
    async with running_product(tmp_path, origin_server.port, store=SPOOL, telegram=UNHURRIED) as product:
        product.standin.control.faults(DOWN)
        for key in ("a", "b"):
            assert (await product.send("PUT", key, body=BODY)).status_code == 200
        yield product


async def spool_json(product: Product) -> dict[str, Any]:
    done = await tgstore("status", "--json", cwd=product.folder)
    found: dict[str, Any] = json.loads(done.out)["spool"]
    return found


async def file_of(product: Product, key: str) -> Path:
    state = await product.state(key)
    assert isinstance(state, ObjectRecord)
    return product.folder / "spool" / "kept" / state.extents[0].document.document_id


async def test_status_shows_what_waits(waiting: Product) -> None:
    told = await spool_json(waiting)
    assert (told["documents"], told["size"], told["lost"]) == (2, 2 * len(BODY), 0)
    assert waiting.store.now_s() - 60 < told["oldest_at_s"] <= waiting.store.now_s()
    done = await tgstore("status", cwd=waiting.folder)
    line = "documents on this disk that wait to be sent: 2 (2.3 MiB), the oldest since "
    assert any(one.startswith(line) and one.endswith(" ago") for one in done.lines), done.out
    in_mitmproxy = await read_status(load_config(waiting.folder / "config.toml", {}), ["images"])
    assert line in in_mitmproxy

    (await file_of(waiting, "a")).unlink()
    assert (await spool_json(waiting))["lost"] == 1
    done = await tgstore("status", cwd=waiting.folder)
    assert "  1 of them are NOT on this disk, although they were acknowledged: they are lost" in done.lines


async def test_it_waits_for_a_running_proxy(waiting: Product) -> None:
    process = await started("drain", cwd=waiting.folder)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"a proxy runs on this index: it sends\n"
    assert (await spool_json(waiting))["documents"] == 2
    waiting.standin.control.clear_faults()
    done = await ended(process)
    assert (done.status, done.lines[-1]) == (0, "documents on this disk that wait to be sent: none"), done
    assert len(waiting.documents_in_telegram()) >= 1


async def test_alone_it_sends_and_a_second_time_there_is_nothing_to_do(waiting: Product) -> None:
    await waiting.gateway.stop()
    waiting.standin.control.clear_faults()
    done = await tgstore("drain", cwd=waiting.folder)
    assert done.status == 0, done
    assert done.lines == [
        "no proxy runs on this index: this command sends",
        "documents on this disk that wait to be sent: none",
    ]
    assert waiting.spooled() == []
    again = await tgstore("drain", "--json", cwd=waiting.folder)
    assert (again.status, json.loads(again.out)["documents"]) == (0, 0)
    async with product_again(
        waiting.folder, waiting.standin, waiting.origin, store=SPOOL, telegram=UNHURRIED
    ) as product:
        assert (await product.send("GET", "a")).content == BODY


async def test_what_is_lost_cannot_be_drained(waiting: Product) -> None:
    lost = await file_of(waiting, "a")
    await waiting.gateway.stop()
    waiting.standin.control.clear_faults()
    lost.unlink()
    done = await tgstore("drain", cwd=waiting.folder)
    assert (done.status, len(waiting.documents_in_telegram())) == (1, 1)
    assert "they are lost" in done.lines[-1]


async def test_stopped_while_telegram_is_down_it_leaves_everything_where_it_is(waiting: Product) -> None:
    await waiting.gateway.stop()
    sends = waiting.sends()
    process = await started("drain", "--json", cwd=waiting.folder)
    await eventually(lambda: waiting.sends() > sends)
    process.send_signal(signal.SIGINT)
    assert (await ended(process)).status == 130
    assert len(waiting.spooled()) == 2


async def test_commands_read_what_waits(waiting: Product) -> None:
    done = await tgstore("verify", "images", "--deep", "--written", "--json", cwd=waiting.folder)
    assert (done.status, done.summary["equal"]) == (0, 2), done
    done = await tgstore("export", "images", "--json", cwd=waiting.folder)
    assert done.status == 0, done
    assert waiting.documents_in_telegram() == {}
