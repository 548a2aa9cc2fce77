"""s5cmd: cp, mv, ls, rm and sync, many requests in parallel."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from tests.end_to_end.lab.clients.programs import LAB, missing, must_run, run, version_in
from tests.end_to_end.lab.clients.protocols import PART_BYTES
from tests.end_to_end.lab.process import LabError
from tests.end_to_end.lab.target import Target


class S5cmd:
    name = "s5cmd"
    multiparts = True
    moves = True
    # It writes a space in x-amz-copy-source as a plus, which not every S3 server reads as a space: RGW does not.
    copies_odd_names = False
    program = LAB / "py" / "bin" / "s5cmd"

    def why_not_here(self) -> str | None:
        return missing(self.program)

    def version(self) -> str:
        return version_in(must_run([self.program, "version"]))

    def listed(self, target: Target, prefix: str) -> list[tuple[str, int]]:
        # Where nothing matches it says so with status 1.
        done = run([*self._words(target), "--json", "ls", address(target, prefix) + "*"], environment(target))
        if done.returncode != 0 and "no object found" not in done.stderr:
            raise LabError(f"s5cmd ls: status {done.returncode}\n{done.stderr[-3000:]}")
        entries = [json.loads(line) for line in done.stdout.splitlines()]
        start = f"s3://{target.bucket}/"
        return [
            (entry["key"].removeprefix(start), entry.get("size", 0)) for entry in entries if entry["type"] == "file"
        ]

    def download(self, target: Target, prefix: str, folder: Path) -> None:
        self._run(target, "cp", "--part-size", PART_MIB, address(target, prefix) + "*", f"{folder}/")

    def upload(self, target: Target, folder: Path, prefix: str) -> None:
        self._run(target, "cp", "--part-size", PART_MIB, f"{folder}/", address(target, prefix))

    def copy(self, target: Target, prefix: str, names: Sequence[str], to: str) -> None:
        for name in names:
            self._run(target, "cp", address(target, prefix + name), address(target, to + name))

    def move(self, target: Target, prefix: str, names: Sequence[str], to: str) -> None:
        for name in names:
            self._run(target, "mv", address(target, prefix + name), address(target, to + name))

    def delete(self, target: Target, prefix: str, names: Sequence[str]) -> None:
        self._run(target, "rm", *[address(target, prefix + name) for name in names])

    def delete_all(self, target: Target, prefix: str) -> None:
        self._run(target, "rm", address(target, prefix) + "*")

    def sync_up(self, target: Target, folder: Path, prefix: str) -> list[str]:
        return self._run(target, "sync", "--delete", f"{folder}/", address(target, prefix)).splitlines()

    def sync_down(self, target: Target, prefix: str, folder: Path) -> list[str]:
        return self._run(target, "sync", "--delete", address(target, prefix) + "*", f"{folder}/").splitlines()

    def _run(self, target: Target, *words: str) -> str:
        return must_run([*self._words(target), *words], environment(target))

    def _words(self, target: Target) -> list[str | Path]:
        return [self.program, "--endpoint-url", target.endpoint, "--retry-count", "0"]


PART_MIB = str(PART_BYTES >> 20)


def environment(target: Target) -> dict[str, str]:
    trusted = {"AWS_CA_BUNDLE": str(target.authority)} if target.authority else {}
    return {
        "AWS_ACCESS_KEY_ID": target.access_key_id,
        "AWS_SECRET_ACCESS_KEY": target.secret_access_key,
        "AWS_REGION": target.region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        **trusted,
    }


def address(target: Target, key: str) -> str:
    return f"s3://{target.bucket}/{key}"
