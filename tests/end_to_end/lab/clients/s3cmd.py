"""s3cmd: put, get, ls, del, sync, setacl and info."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from tests.end_to_end.lab.clients.programs import LAB, missing, must_run, version_in
from tests.end_to_end.lab.clients.protocols import PART_BYTES
from tests.end_to_end.lab.target import Target

LISTED_LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d +(\d+) +s3://[^/]+/(.*)$")
CHANGE_LINE = re.compile(r"^(upload|download|delete|remote copy): ")


class S3cmd:
    name = "s3cmd"
    multiparts = True
    moves = True
    copies_odd_names = True
    program = LAB / "py" / "bin" / "s3cmd"

    def why_not_here(self) -> str | None:
        return missing(self.program)

    def version(self) -> str:
        return version_in(must_run([self.program, "--version"]))

    def listed(self, target: Target, prefix: str) -> list[tuple[str, int]]:
        told = self._run(target, "ls", "--recursive", address(target, prefix))
        found = [LISTED_LINE.match(line) for line in told.splitlines()]
        return [(entry[2], int(entry[1])) for entry in found if entry is not None]

    def download(self, target: Target, prefix: str, folder: Path) -> None:
        self._run(target, "get", "--recursive", "--force", address(target, prefix), f"{folder}/")

    def upload(self, target: Target, folder: Path, prefix: str) -> None:
        self._run(target, "put", "--recursive", f"{folder}/", address(target, prefix))

    def copy(self, target: Target, prefix: str, names: Sequence[str], to: str) -> None:
        for name in names:
            self._run(target, "cp", address(target, prefix + name), address(target, to + name))

    def move(self, target: Target, prefix: str, names: Sequence[str], to: str) -> None:
        for name in names:
            self._run(target, "mv", address(target, prefix + name), address(target, to + name))

    def delete(self, target: Target, prefix: str, names: Sequence[str]) -> None:
        self._run(target, "del", *[address(target, prefix + name) for name in names])

    def delete_all(self, target: Target, prefix: str) -> None:
        self._run(target, "del", "--recursive", "--force", address(target, prefix))

    def sync_up(self, target: Target, folder: Path, prefix: str) -> list[str]:
        return self._changes(target, "sync", "--delete-removed", f"{folder}/", address(target, prefix))

    def sync_down(self, target: Target, prefix: str, folder: Path) -> list[str]:
        return self._changes(target, "sync", "--delete-removed", address(target, prefix), f"{folder}/")

    def info(self, target: Target, key: str) -> str:
        return self._run(target, "info", address(target, key))

    def set_public(self, target: Target, key: str, public: bool) -> None:
        self._run(target, "setacl", "--acl-public" if public else "--acl-private", address(target, key))

    def _changes(self, target: Target, *words: str) -> list[str]:
        return [line for line in self._run(target, *words).splitlines() if CHANGE_LINE.match(line)]

    def _run(self, target: Target, *words: str) -> str:
        secure = ["--ssl", f"--ca-certs={target.authority}"] if target.authority else ["--no-ssl"]
        options = [
            "--config", os.devnull, "--access_key", target.access_key_id, "--secret_key", target.secret_access_key,
            "--host", target.host, "--host-bucket", target.host, "--region", target.region, "--no-progress",
            "--max-retries=1", f"--multipart-chunk-size-mb={PART_BYTES >> 20}", *secure,
        ]  # fmt: skip
        return must_run([self.program, *options, *words])


def address(target: Target, key: str) -> str:
    return f"s3://{target.bucket}/{key}"
