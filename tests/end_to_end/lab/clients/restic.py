"""restic: a backup repository in the bucket."""

from __future__ import annotations

import json
from pathlib import Path

from tests.end_to_end.lab.clients.programs import missing, must_run, version_in
from tests.end_to_end.lab.target import Target


class Restic:
    """One repository under a prefix. Its keys are many small objects, listed, renamed by no one, and deleted by prune."""

    name = "restic"

    def why_not_here(self) -> str | None:
        return missing("restic")

    def version(self) -> str:
        return version_in(must_run(["restic", "version"]))

    def init(self, target: Target, prefix: str) -> None:
        self._run(target, prefix, "init")

    def backup(self, target: Target, prefix: str, folder: Path) -> None:
        self._run(target, prefix, "backup", folder)

    def check(self, target: Target, prefix: str) -> None:
        """Reads every byte of the repository and compares it with its hashes."""
        self._run(target, prefix, "check", "--read-data")

    def restore(self, target: Target, prefix: str, to: Path) -> None:
        """The latest snapshot; paths in it are absolute, so they appear under ``to``."""
        self._run(target, prefix, "restore", "latest", "--target", to)

    def snapshots(self, target: Target, prefix: str) -> int:
        return len(json.loads(self._run(target, prefix, "snapshots", "--json")))

    def keep_last(self, target: Target, prefix: str) -> None:
        self._run(target, prefix, "forget", "--keep-last", "1", "--prune")

    def _run(self, target: Target, prefix: str, *words: str | Path) -> str:
        trusted = ["--cacert", target.authority] if target.authority else []
        repository = f"s3:{target.endpoint}/{target.bucket}/{prefix.rstrip('/')}"
        return must_run(
            ["restic", "--no-cache", "--repo", repository, *trusted, *words],
            {
                "AWS_ACCESS_KEY_ID": target.access_key_id,
                "AWS_SECRET_ACCESS_KEY": target.secret_access_key,
                "AWS_DEFAULT_REGION": target.region,
                "RESTIC_PASSWORD": "a password of the laboratory",
            },
        )
