"""Clients that are libraries: minio for Python and JavaScript, @aws-sdk/client-s3, in small programs as their users write them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tests.end_to_end.lab.clients.programs import (
    LAB,
    SCRIPTS,
    missing,
    missing_node_package,
    must_run,
    node_package_version,
)
from tests.end_to_end.lab.clients.protocols import PART_BYTES
from tests.end_to_end.lab.target import Target


class ScriptedFolder:
    """A client that is a library: a program of ours does one operation with it a run, and prints JSON.

    The program gets one argument, a JSON object with the operation, its arguments, and where the bucket is.
    """

    multiparts = True
    moves = False
    copies_odd_names = True

    def listed(self, target: Target, prefix: str) -> list[tuple[str, int]]:
        told = self._run(target, operation="list", prefix=prefix)
        return [(key, size) for key, size in told]

    def download(self, target: Target, prefix: str, folder: Path) -> None:
        self._run(target, operation="download", prefix=prefix, folder=str(folder))

    def upload(self, target: Target, folder: Path, prefix: str) -> None:
        self._run(target, operation="upload", prefix=prefix, folder=str(folder))

    def copy(self, target: Target, prefix: str, names: Sequence[str], to: str) -> None:
        self._run(target, operation="copy", prefix=prefix, names=list(names), to=to)

    def move(self, target: Target, prefix: str, names: Sequence[str], to: str) -> None:
        raise NotImplementedError

    def delete(self, target: Target, prefix: str, names: Sequence[str]) -> None:
        self._run(target, operation="delete", prefix=prefix, names=list(names))

    def delete_all(self, target: Target, prefix: str) -> None:
        self._run(target, operation="deleteAll", prefix=prefix)

    def _run(self, target: Target, **command: object) -> list[list[object]]:
        host, port = target.host.split(":")
        where = {
            "endpoint": target.endpoint,
            "host": host,
            "port": int(port),
            "secure": target.authority is not None,
            "bucket": target.bucket,
            "region": target.region,
            "accessKey": target.access_key_id,
            "secretKey": target.secret_access_key,
            "partBytes": PART_BYTES,
        }
        told = must_run([*self.program(), json.dumps({**where, **command})], self.environment(target))
        answer: list[list[object]] = json.loads(told) if told.strip() else []
        return answer

    def program(self) -> list[str | Path]:
        raise NotImplementedError

    def environment(self, target: Target) -> dict[str, str]:
        raise NotImplementedError


class MinioPython(ScriptedFolder):
    name = "minio-py"
    python = LAB / "py" / "bin" / "python"

    def why_not_here(self) -> str | None:
        if reason := missing(self.python):
            return reason
        installed = list((LAB / "py").glob("lib/python*/site-packages/minio"))
        return None if installed else "the PyPI package minio is not installed; scripts/setup-lab.sh installs it"

    def version(self) -> str:
        return must_run([self.python, "-c", "import minio; print(minio.__version__)"]).strip()

    def program(self) -> list[str | Path]:
        return [self.python, SCRIPTS / "minio_folder.py"]

    def environment(self, target: Target) -> dict[str, str]:
        return {"SSL_CERT_FILE": str(target.authority)} if target.authority else {}


class NodeFolder(ScriptedFolder):
    """A library under Node: the script of this name, with this npm package."""

    def __init__(self, name: str, package: str, script: str) -> None:
        self.name = name
        self.package = package
        self.script = SCRIPTS / script

    def why_not_here(self) -> str | None:
        return missing_node_package(self.package)

    def version(self) -> str:
        return node_package_version(self.package)

    def program(self) -> list[str | Path]:
        return ["node", self.script]

    def environment(self, target: Target) -> dict[str, str]:
        trusted = {"NODE_EXTRA_CA_CERTS": str(target.authority)} if target.authority else {}
        return {"LAB_NODE_MODULES": str(LAB / "node" / "node_modules"), **trusted}
