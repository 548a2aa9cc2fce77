"""rclone: copy, sync, check, lsjson and mount."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.end_to_end.lab.clients.programs import LAB, missing, must_run, run, version_in
from tests.end_to_end.lab.clients.protocols import PART_BYTES
from tests.end_to_end.lab.process import LabError
from tests.end_to_end.lab.target import Target

REMOTE = "lab:"


class Rclone:
    """``provider`` decides how rclone speaks: "Other" lists with version 1 of the call, "Minio" with version 2."""

    multiparts = True
    moves = True
    copies_odd_names = True
    program = LAB / "py" / "bin" / "rclone"

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.name = f"rclone-{provider.lower()}"

    def why_not_here(self) -> str | None:
        return missing(self.program)

    def version(self) -> str:
        return version_in(must_run([self.program, "version"]))

    def listed(self, target: Target, prefix: str) -> list[tuple[str, int]]:
        return [(prefix + entry["Path"], entry["Size"]) for entry in self.lsjson(target, prefix)]

    def lsjson(self, target: Target, prefix: str) -> list[dict[str, Any]]:
        words = ["lsjson", "--recursive", "--files-only", remote(target, prefix)]
        told: list[dict[str, Any]] = json.loads(self._run(target, *words))
        return told

    def download(self, target: Target, prefix: str, folder: Path) -> None:
        self._run(target, "copy", remote(target, prefix), folder)

    def upload(self, target: Target, folder: Path, prefix: str) -> None:
        # Without this flag a file of the same size and time would be left out.
        self._run(target, "copy", "--ignore-times", folder, remote(target, prefix))

    def copy(self, target: Target, prefix: str, names: Sequence[str], to: str) -> None:
        self._run(target, "copy", remote(target, prefix), remote(target, to), *only(names))

    def move(self, target: Target, prefix: str, names: Sequence[str], to: str) -> None:
        self._run(target, "move", remote(target, prefix), remote(target, to), *only(names))

    def delete(self, target: Target, prefix: str, names: Sequence[str]) -> None:
        self._run(target, "delete", remote(target, prefix), *only(names))

    def delete_all(self, target: Target, prefix: str) -> None:
        self._run(target, "delete", remote(target, prefix))

    def sync_up(self, target: Target, folder: Path, prefix: str) -> list[str]:
        return self._sync(target, folder, remote(target, prefix))

    def sync_down(self, target: Target, prefix: str, folder: Path) -> list[str]:
        return self._sync(target, remote(target, prefix), folder)

    def differences(self, target: Target, folder: Path, prefix: str) -> list[str]:
        """``check --download``: the names of which the bytes differ or that are on one side only."""
        words = ["check", "--download", "--combined", "-", folder, remote(target, prefix)]
        done = run([self.program, *self._options(target), *words], self._environment(target))
        if done.returncode not in {0, 1}:
            raise LabError(f"rclone check: status {done.returncode}\n{done.stderr[-3000:]}")
        return sorted(line[2:] for line in done.stdout.splitlines() if not line.startswith("="))

    def mount(self, target: Target, folder: Path) -> None:
        """Returns when the folder shows the bucket; ``fusermount3 -u`` takes it away."""
        self._run(target, "mount", remote(target, ""), folder, "--daemon", "--vfs-cache-mode", "writes",
                  "--vfs-write-back", "0s", "--dir-cache-time", "0s", "--cache-dir", f"{folder}.cache")  # fmt: skip

    def _sync(self, target: Target, source: str | Path, to: str | Path) -> list[str]:
        words = ["sync", "--checksum", "--combined", "-", source, to]
        lines = self._run(target, *words).splitlines()
        return [line for line in lines if not line.startswith("=")]

    def _run(self, target: Target, *words: str | Path) -> str:
        return must_run([self.program, *self._options(target), *words], self._environment(target))

    def _options(self, target: Target) -> list[str]:
        trusted = ["--ca-cert", str(target.authority)] if target.authority else []
        return ["--config", os.devnull, "--retries", "1", "--low-level-retries", "1", *trusted]

    def _environment(self, target: Target) -> dict[str, str]:
        settings = {
            "TYPE": "s3",
            "PROVIDER": self.provider,
            "ENDPOINT": target.endpoint,
            "REGION": target.region,
            "ACCESS_KEY_ID": target.access_key_id,
            "SECRET_ACCESS_KEY": target.secret_access_key,
            "FORCE_PATH_STYLE": "true",
            "NO_CHECK_BUCKET": "true",
            "UPLOAD_CUTOFF": f"{PART_BYTES}B",
            "CHUNK_SIZE": f"{PART_BYTES}B",
            "COPY_CUTOFF": f"{PART_BYTES}B",
        }
        return {f"RCLONE_CONFIG_LAB_{name}": value for name, value in settings.items()}


def only(names: Sequence[str]) -> list[str]:
    """Filters with the names taken from the top of the prefix, none of whose characters means anything to rclone."""
    return [word for name in names for word in ("--include", f"/{name}")]


def remote(target: Target, key: str) -> str:
    return f"{REMOTE}{target.bucket}/{key}"
