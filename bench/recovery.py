"""What a recovery costs: its time, and the messages that it reads, of as many objects as `BENCH_RECOVERY_OBJECTS` says (10 000).

The objects are written by many clients at once, so that they share documents, by one bot into one chat. Telegram's limits are off
while they are recovered: what is measured is the work, and the messages tell what the limits make of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from bench import rig
from tests.end_to_end.lab.clients import s3_client
from tests.end_to_end.lab.standin import BOT_TOKENS, CHAT_IDS, Standin
from tests.end_to_end.lab.tgstore import Tgstore

OBJECTS = int(os.environ.get("BENCH_RECOVERY_OBJECTS", "10000"))
OBJECT_BYTES = 5_000
CLIENTS = 60
# While they are written: so that packs are as full as under real limits.
WRITES_PER_MIN, READS_PER_MIN = 120, 60_000
TOLD_S_MAX = 120.0


def recovery(folder: Path) -> None:
    """See the module."""
    with rig.origin_server(folder) as origin:
        standin = Standin(folder, "--rate-limits", "off")
        standin.start()
        try:
            product = Tgstore(folder / "product", standin, [rig.Bucket(rig.BUCKET, origin)], options=["-q"])
            limited(product.config, WRITES_PER_MIN)
            product.start()
            try:
                asyncio.run(fill(product))
                wait_until_told(product)
            finally:
                product.stop()
            limited(product.config, READS_PER_MIN)
            measure(product, standin, "recover, from messages alone", "--from-messages")
            command(product, "snapshot")
            measure(product, standin, "recover, with a saved index")
        finally:
            standin.stop()


def limited(config: Path, per_min: int) -> None:
    """Let one bot send so many messages a minute into one chat."""
    told = {
        "channel_messages_per_min_max": str(per_min),
        "bot_tokens": f'["{BOT_TOKENS[0]}"]',
        "chat_ids": f"[{CHAT_IDS[0]}]",
    }
    lines = [line for line in config.read_text().splitlines() if line.partition(" ")[0] not in told]
    at = lines.index("[telegram]") + 1
    lines[at:at] = [f"{name} = {value}" for name, value in told.items()]
    config.write_text("\n".join(lines) + "\n")


async def fill(product: Tgstore) -> None:
    """Write the objects."""
    s3 = s3_client(product.target(), signature_version="s3v4")
    numbers = iter(range(OBJECTS))
    rng = random.Random(1)
    async with httpx.AsyncClient(trust_env=False, timeout=120, limits=httpx.Limits(max_connections=CLIENTS)) as client:

        async def write() -> None:
            for number in numbers:
                place = {"Bucket": rig.BUCKET, "Key": f"folder-{number % 100}/object-{number}"}
                url = s3.generate_presigned_url("put_object", place)
                body = rng.randbytes(OBJECT_BYTES)
                answer = await client.put(url, content=body)
                if answer.status_code != 200:
                    raise SystemExit(answer.text)

        await asyncio.gather(*(write() for _ in range(CLIENTS)))


def wait_until_told(product: Tgstore) -> None:
    """Until Telegram knows the state of every object."""
    deadline_s = time.monotonic() + TOLD_S_MAX
    while time.monotonic() < deadline_s:
        with contextlib.closing(sqlite3.connect(product.index_file)) as connection:
            if not connection.execute("SELECT count(*) FROM untold_keys").fetchone()[0]:
                return
        time.sleep(1)
    raise SystemExit("the states were not told in time")


def measure(product: Tgstore, standin: Standin, name: str, *arguments: str) -> None:
    """Lose the data folder, and recover."""
    shutil.rmtree(product.index_file.parent)
    before = len(standin.control("log"))
    started = time.perf_counter()
    summary = command(product, "recover", "--json", *arguments)
    took_s = time.perf_counter() - started
    assert summary["objects"] == OBJECTS, summary
    asked = [
        one for one in standin.control("log")[before:] if one["method"].lower() in ("forwardmessage", "sendmessage")
    ]
    messages = sum(one["status"] == 200 for one in asked)
    rig.row(
        f"{name}, {OBJECTS} objects",
        f"{took_s:.1f} s",
        f"{messages} messages",
        f"{len(asked) - messages} numbers without one",
        f"{summary['packs']} packs",
        f"{messages / 20:.0f} min at 20/min",
    )


def command(product: Tgstore, *arguments: str) -> dict[str, Any]:
    """Run `tgstore`; what it says last, where that is JSON."""
    argv = [sys.executable, "-m", "addon.cli", *arguments, "--config", str(product.config)]
    environment = {**os.environ, "PYTHONPATH": str(rig.PROJECT)}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=product.config.parent, env=environment)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) if "--json" in arguments else {}
    return told
