"""The AWS CLI: `aws s3api` for single objects, `aws s3` for whole folders."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.end_to_end.lab.clients.programs import LAB, SCRIPTS, missing, must_run, run, version_in
from tests.end_to_end.lab.process import LabError
from tests.end_to_end.lab.target import Got, Refused, Target

STATUS_OF_CODE = {
    "NoSuchKey": 404,
    "NotFound": 404,
    "NoSuchBucket": 404,
    "AccessDenied": 403,
    "SignatureDoesNotMatch": 403,
}


class AwsCli:
    """``aws s3api``: one request a call."""

    name = "aws-cli"
    program = LAB / "aws" / "bin" / "aws"

    def why_not_here(self) -> str | None:
        return missing(self.program)

    def put(self, target: Target, key: str, file: Path, content_type: str) -> None:
        self._api(target, "put-object", "--key", key, "--body", file, "--content-type", content_type)

    def get(self, target: Target, key: str, scratch: Path) -> Got:
        out = scratch / "aws-cli.out"
        told = self._api(target, "get-object", "--key", key, out)
        return Got(out.read_bytes(), self._headers(told))

    def head(self, target: Target, key: str) -> dict[str, str]:
        return self._headers(self._api(target, "head-object", "--key", key))

    def delete(self, target: Target, key: str) -> None:
        self._api(target, "delete-object", "--key", key)

    @staticmethod
    def _headers(told: dict[str, Any]) -> dict[str, str]:
        names = {
            "ETag": "etag",
            "ContentType": "content-type",
            "ContentLength": "content-length",
            "CacheControl": "cache-control",
        }
        metadata = {f"x-amz-meta-{name}": value for name, value in told.get("Metadata", {}).items()}
        return {names[name]: str(value) for name, value in told.items() if name in names} | metadata

    def _api(self, target: Target, operation: str, *arguments: str | Path) -> dict[str, Any]:
        words = [self.program, "--endpoint-url", target.endpoint, "s3api", operation, "--bucket", target.bucket]
        done = run([*words, *arguments], environment(target))
        if done.returncode != 0:
            code = re.search(r"An error occurred \((\w+)\)", done.stderr)
            if code is None:
                raise LabError(f"aws {operation}: status {done.returncode}\n{done.stderr[-3000:]}")
            word = code.group(1)
            raise Refused(int(word) if word.isdigit() else STATUS_OF_CODE.get(word, 0), done.stderr.strip())
        answer: dict[str, Any] = json.loads(done.stdout) if done.stdout.strip() else {}
        return answer


def environment(target: Target) -> dict[str, str]:
    """Keys, trust and the settings file of the tests."""
    trusted = {"AWS_CA_BUNDLE": str(target.authority)} if target.authority else {}
    return {
        "AWS_ACCESS_KEY_ID": target.access_key_id,
        "AWS_SECRET_ACCESS_KEY": target.secret_access_key,
        "AWS_DEFAULT_REGION": target.region,
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_CONFIG_FILE": str(SCRIPTS / "aws.config"),
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_PAGER": "",
        **trusted,
    }


@functools.cache
def _version(program: Path) -> str:
    """Kept: it takes as long as a request."""
    done = run([program, "--version"])
    return version_in(done.stdout + done.stderr)


LISTED_LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +(\d+) (.*)$")


class AwsCliFolder:
    """``aws s3 cp``, ``mv``, ``rm`` and ``sync``, with version 1 from PyPI or version 2 from Debian."""

    multiparts = True
    moves = True
    copies_odd_names = True

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.name = f"aws-cli-{generation}"
        self.program = LAB / "aws" / "bin" / "aws" if generation == 1 else Path("/usr/bin/aws")

    def why_not_here(self) -> str | None:
        if reason := missing(self.program):
            return reason
        major = int(self.version().split(".")[0])
        return None if major == self.generation else f"{self.program} is of version {major}"

    def version(self) -> str:
        return _version(self.program)

    def listed(self, target: Target, prefix: str) -> list[tuple[str, int]]:
        # Without a single key it ends with status 1 and says nothing.
        done = run([*self._s3(target), "ls", "--recursive", address(target, prefix)], environment(target))
        if done.returncode not in {0, 1} or done.stderr.strip():
            raise LabError(f"aws s3 ls: status {done.returncode}\n{done.stderr[-3000:]}")
        found = [LISTED_LINE.match(line) for line in done.stdout.splitlines()]
        return [(entry[2], int(entry[1])) for entry in found if entry is not None]

    def download(self, target: Target, prefix: str, folder: Path) -> None:
        self._run(target, "cp", "--recursive", address(target, prefix), folder)

    def upload(self, target: Target, folder: Path, prefix: str) -> None:
        self._run(target, "cp", "--recursive", folder, address(target, prefix))

    def copy(self, target: Target, prefix: str, names: Sequence[str], to: str) -> None:
        self._run(target, "cp", "--recursive", address(target, prefix), address(target, to), *only(names))

    def move(self, target: Target, prefix: str, names: Sequence[str], to: str) -> None:
        self._run(target, "mv", "--recursive", address(target, prefix), address(target, to), *only(names))

    def delete(self, target: Target, prefix: str, names: Sequence[str]) -> None:
        self._run(target, "rm", "--recursive", address(target, prefix), *only(names))

    def delete_all(self, target: Target, prefix: str) -> None:
        self._run(target, "rm", "--recursive", address(target, prefix))

    def sync_up(self, target: Target, folder: Path, prefix: str) -> list[str]:
        return self._run(target, "sync", "--delete", folder, address(target, prefix)).splitlines()

    def sync_down(self, target: Target, prefix: str, folder: Path) -> list[str]:
        return self._run(target, "sync", "--delete", address(target, prefix), folder).splitlines()

    def copy_one(self, target: Target, source: str, to: str) -> None:
        self._run(target, "cp", address(target, source), address(target, to))

    def move_one(self, target: Target, source: str, to: str) -> None:
        self._run(target, "mv", address(target, source), address(target, to))

    def delete_one(self, target: Target, key: str) -> None:
        self._run(target, "rm", address(target, key))

    def presigned_url(self, target: Target, key: str) -> str:
        return self._run(target, "presign", address(target, key), "--expires-in", "300", quiet=False).strip()

    def upload_stream(self, target: Target, file: Path, key: str) -> None:
        """``cp - s3://…``: from a pipe, of which the CLI knows no length."""
        words = [*self._s3(target), "cp", "--quiet", "-", address(target, key)]
        must_run(["sh", "-c", 'cat "$0" | "$@"', file, *words], environment(target))

    def _run(self, target: Target, *words: str | Path, quiet: bool = True) -> str:
        silent = ["--no-progress"] if quiet and words[0] in {"cp", "mv", "sync"} else []
        return must_run([*self._s3(target), *words, *silent], environment(target))

    def _s3(self, target: Target) -> list[str | Path]:
        return [self.program, "--endpoint-url", target.endpoint, "s3"]


def only(names: Sequence[str]) -> list[str]:
    """Filters of which the last that fits a name decides."""
    return ["--exclude", "*", *[word for name in names for word in ("--include", name)]]


def address(target: Target, key: str) -> str:
    return f"s3://{target.bucket}/{key}"
