"""A folder with settings, a running stand-in and a running bucket: what the commands' tests need to run the real program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.lab.moto import Moto
from tests.end_to_end.lab.origin import Origin
from tests.end_to_end.lab.relay import Relay
from tests.end_to_end.lab.standin import Standin
from tests.end_to_end.lab.tgstore import Bucket, config_text
from tests.service.fixtures import moto, origin_server, product, quick_retries

__all__ = ["moto", "origin_server", "place", "product", "quick_retries", "servers"]

TGSTORE = Path(sys.executable).parent / "tgstore"
LIMIT_S = 60.0
bucket_numbers = count(1)


@dataclass
class Place:
    """Where a command runs: its folder, the bucket of its settings, and what stands behind it."""

    folder: Path
    bucket: str
    origin: Origin
    relay: Relay
    standin: Standin

    def command(self, *arguments: str) -> list[str]:
        return [str(TGSTORE), *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env={**os.environ, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments), cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def json(self, *arguments: str) -> list[Any]:
        """What a command says to machines, line by line."""
        done = self.run(*arguments, "--json")
        assert done.returncode in {0, 1}, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def status(self) -> Any:
        """Of the one bucket."""
        ((told,),) = (line["buckets"] for line in self.json("status"))
        return told

    def put(self, key: str, body: bytes = b"as it lay there", **more: Any) -> None:
        """Into the origin."""
        self.origin.s3().put_object(Bucket=self.bucket, Key=key, Body=body, **more)


def stopped(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str, str]:
    """Exit status and output of a command after a signal."""
    process.send_signal(number)
    out, err = process.communicate(timeout=LIMIT_S)
    return process.returncode, out, err


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Standin, Moto]]:
    folder = tmp_path_factory.mktemp("commands")
    standin, moto = Standin(folder, "--rate-limits", "off"), Moto(folder)
    standin.start()
    moto.start()
    try:
        yield standin, moto
    finally:
        standin.stop()
        moto.stop()


@pytest.fixture
def place(tmp_path: Path, servers: tuple[Standin, Moto]) -> Iterator[Place]:
    """A folder and an empty bucket of its own."""
    standin, moto = servers
    name = f"pictures-{next(bucket_numbers)}"
    moto.origin.s3().create_bucket(Bucket=name)
    relay = Relay(moto.origin)
    try:
        text = config_text([Bucket(name, relay.origin)], standin.url)
        limits = "[telegram]\nchannel_messages_per_min_max = 60000"
        (tmp_path / "config.toml").write_text(
            text.replace("[telegram]", limits, 1)
            + "[copies]\nattempts_max = 2\nretry_delay_s_min = 0.05\nretry_delay_s_max = 0.5\n"
        )
        yield Place(tmp_path, name, moto.origin, relay, standin)
    finally:
        relay.stop()
