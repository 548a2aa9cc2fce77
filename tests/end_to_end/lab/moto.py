"""moto's S3 server as a quick origin. It checks no signature, so it is no oracle for anything about signatures."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx

from .origin import Origin
from .process import LabProcess, held_port

READY_LIMIT_S = 30.0


class Moto:
    def __init__(self, folder: Path) -> None:
        self.port = held_port()
        self.origin = Origin(
            f"http://127.0.0.1:{self.port}", "AKMOTOLAB0000000ORIG", "moto-lab-secret-0123456789abcdefghi"
        )
        self.process = LabProcess(
            "moto_server",
            [Path(sys.executable).parent / "moto_server", "-H", "127.0.0.1", "-p", str(self.port)],
            log=folder / "moto.log",
        )

    def start(self) -> None:
        self.process.start()
        self.process.wait_until(self.answers, READY_LIMIT_S)

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.origin.endpoint}/moto-api/data.json", timeout=2.0).status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        """The buckets are gone with the process: moto keeps everything in memory."""
        self.process.stop()
