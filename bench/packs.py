"""Group commit under Telegram's documented limits (20 messages a minute for a bot in a channel): one, two, four bots in a channel.

The arithmetic: a bot may send 20 messages a minute, each a document of at most 20 MB. With one message an object, 10 000 objects
take 10 000 / 20 = 500 minutes of one bot. With 50 kB an object a full pack holds some 390 of them, so that 26 messages hold all, in
26 / 20 minutes; as one slot is 3 s, a live write waits 1.5 s on the average for the next pack, and its transfer.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import sqlite3
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx

from bench import rig
from tests.end_to_end.lab.clients import s3_client
from tests.end_to_end.lab.standin import BOT_TOKENS, CHAT_IDS, Standin
from tests.end_to_end.lab.tgstore import Tgstore

COPIES = int(os.environ.get("BENCH_PACKS_COPIES", "10000"))
COPY_BYTES = 50_000
BURST_PUTS, BURST_BYTES, BURST_CLIENTS = 200, 100_000, 50
LIVE_PUT_EVERY_S = 2.0
PER_MIN = 20
SWEEP_S_MAX = 1200.0
FOURTH_BOT = "123459:LAB-token-of-the-stand-in-AAAAAAAAA3"
BOTS = (*BOT_TOKENS, FOURTH_BOT)


def packs(folder: Path) -> None:
    """See the module."""
    for bots in (1, 2, 4):
        with (
            rig.origin_server(folder, COPY_BYTES) as origin,
            _limited(folder / f"burst-{bots}", origin, bots) as (it, chat),
        ):
            asyncio.run(_burst(it, chat, bots))
        with (
            rig.origin_server(folder, COPY_BYTES, COPIES) as origin,
            _limited(folder / f"sweep-{bots}", origin, bots) as (it, chat),
        ):
            asyncio.run(_sweep(it, chat, bots))


@contextmanager
def _limited(folder: Path, origin: rig.Origin, bots: int) -> Iterator[tuple[Tgstore, Standin]]:
    def adapt(text: str) -> str:
        tokens = ", ".join(f'"{token}"' for token in BOTS[:bots])
        text = re.sub("(?m)^bot_tokens = .*", f"bot_tokens = [{tokens}]", text)
        return re.sub("(?m)^chat_ids = .*", f"chat_ids = [{CHAT_IDS[0]}]", text)

    with rig.tgstore(folder, origin, limits="exact", stand_in=("--bot", FOURTH_BOT), adapt=adapt) as found:
        yield found


def _put_url(product: Tgstore, key: str) -> str:
    s3 = s3_client(product.target(), signature_version="s3v4")
    return str(s3.generate_presigned_url("put_object", {"Bucket": rig.BUCKET, "Key": key}, ExpiresIn=3600))


async def _put(client: httpx.AsyncClient, url: str, body: bytes) -> float:
    began_s = time.monotonic()
    answer = await client.put(url, content=body)
    if answer.status_code != 200:
        raise SystemExit(f"a PUT was answered {answer.status_code}: {answer.text[:300]}")
    return time.monotonic() - began_s


async def _burst(product: Tgstore, standin: Standin, bots: int) -> None:
    """PUTs of many clients at once; ends where one does not succeed."""
    urls = iter([_put_url(product, f"burst/{number}") for number in range(BURST_PUTS)])
    took_s: list[float] = []
    async with httpx.AsyncClient(
        trust_env=False, timeout=60, limits=httpx.Limits(max_connections=BURST_CLIENTS)
    ) as client:

        async def put_some() -> None:
            for url in urls:
                took_s.append(await _put(client, url, os.urandom(BURST_BYTES)))

        began_s = time.monotonic()
        await asyncio.gather(*(put_some() for _ in range(BURST_CLIENTS)))
        whole_s = time.monotonic() - began_s
    refused = [entry for entry in standin.uploads() if entry["status"] == 429]
    rig.row(
        f"{bots} bots: {BURST_PUTS} PUTs of 100 kB, {BURST_CLIENTS} clients",
        f"{len(took_s)} succeeded",
        f"median {statistics.median(took_s):.1f} s",
        f"longest {max(took_s):.1f} s",
        f"all {whole_s:.1f} s",
        f"{len(standin.uploads())} messages, {len(refused)} 429s",
    )


async def _sweep(product: Tgstore, standin: Standin, bots: int) -> None:
    """`tgstore migrate` beside the running proxy, and live PUTs all the while."""
    live_s: list[float] = []
    async with httpx.AsyncClient(trust_env=False, timeout=120) as client:

        async def live() -> None:
            for number in itertools.count():
                live_s.append(await _put(client, _put_url(product, f"live/{number}"), os.urandom(BURST_BYTES)))
                await asyncio.sleep(LIVE_PUT_EVERY_S)

        began_s = time.monotonic()
        putting = asyncio.create_task(live())
        argv = [sys.executable, "-m", "addon.cli", "migrate", rig.BUCKET, "--json", "--config", str(product.config)]
        log = product.folder / "migrate.log"
        with log.open("wb") as said:
            sweep = await asyncio.create_subprocess_exec(*argv, stdout=said, stderr=said, cwd=rig.PROJECT)
            async with asyncio.timeout(SWEEP_S_MAX):
                status = await sweep.wait()
        whole_s = time.monotonic() - began_s
        putting.cancel()
        await asyncio.gather(putting, return_exceptions=True)
    if status or _copied(product) != COPIES:
        raise SystemExit(
            f"migrate ended with {status}, {_copied(product)} of {COPIES} moved:\n{log.read_text()[-2000:]}"
        )
    _tell(standin, bots, whole_s, live_s)


def _copied(product: Tgstore) -> int:
    with closing(sqlite3.connect(f"file:{product.config.parent}/data/tgstore.db?mode=ro", uri=True)) as connection:
        query = "SELECT count(*) FROM keys WHERE provenance = 'copied_from_origin'"
        return int(connection.execute(query).fetchone()[0])


def _tell(standin: Standin, bots: int, whole_s: float, live_s: list[float]) -> None:
    sent = [entry for entry in standin.uploads() if entry["status"] == 200]
    refused = [entry for entry in standin.uploads() if entry["status"] == 429]
    allowed = bots * PER_MIN * whole_s / 60
    slot_s = 60 / (bots * PER_MIN)
    median_s = statistics.median(live_s)
    rig.row(
        f"{bots} bots: sweep of {COPIES} objects of 50 kB",
        f"{whole_s:.0f} s",
        f"{len(sent)} messages = {len(sent) / allowed:.0%}",
        f"{(COPIES + len(live_s)) / len(sent):.0f} objects a pack",
        f"{len(refused)} 429s",
        f"live PUT {median_s:.1f} s = {median_s / slot_s:.1f} slots",
    )
