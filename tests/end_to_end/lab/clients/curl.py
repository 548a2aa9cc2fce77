"""curl with its own signing."""

from __future__ import annotations

import json
import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from tests.end_to_end.lab.clients.programs import missing, must_run, run, version_in
from tests.end_to_end.lab.clients.protocols import files_under
from tests.end_to_end.lab.process import LabError
from tests.end_to_end.lab.target import Got, Refused, Target, object_headers


class Curl:
    """``curl --aws-sigv4``. It sends no x-amz-content-sha256 by itself; S3 wants one, so its users add the header."""

    name = "curl"

    def __init__(self, *options: str) -> None:
        self.options = options
        self.http_version = ""  # of the last request

    def why_not_here(self) -> str | None:
        if reason := missing("curl"):
            return reason
        known = "aws-sigv4" in run(["curl", "--help", "all"]).stdout
        return None if known else "this curl has no --aws-sigv4"

    def put(self, target: Target, key: str, file: Path, content_type: str) -> None:
        self._run(target, key, Path(os.devnull), "-T", str(file), "-H", f"Content-Type: {content_type}")

    def get(self, target: Target, key: str, scratch: Path) -> Got:
        out = scratch / "curl.out"
        headers = self._run(target, key, out)
        return Got(out.read_bytes(), headers)

    def head(self, target: Target, key: str) -> dict[str, str]:
        return self._run(target, key, Path(os.devnull), "--head")

    def delete(self, target: Target, key: str) -> None:
        self._run(target, key, Path(os.devnull), "-X", "DELETE")

    def _run(self, target: Target, key: str, out: Path, *arguments: str) -> dict[str, str]:
        trusted = ["--cacert", str(target.authority)] if target.authority else []
        written = (
            "%{http_code}\n%{http_version}\n%{header_json}" if _curl_writes_json() else "%{http_code}\n%{http_version}"
        )
        done = run(
            ["curl", "--silent", "--show-error", "--aws-sigv4", f"aws:amz:{target.region}:s3", "--user",
             f"{target.access_key_id}:{target.secret_access_key}", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD",
             "--output", out, "--write-out", written, *trusted, *self.options, *arguments, target.url(key)],
        )  # fmt: skip
        if done.returncode != 0:
            raise LabError(f"curl: status {done.returncode}: {done.stderr.strip()}")
        status, self.http_version, *rest = done.stdout.split("\n", 2)
        if int(status) >= 400:
            raise Refused(int(status), out.read_text(errors="replace")[:500] if out.is_file() else "")
        told = json.loads(rest[0]) if rest else {}
        return object_headers({name: ", ".join(values) for name, values in told.items()})


def _curl_writes_json() -> bool:
    version = re.search(r"curl (\d+)\.(\d+)", run(["curl", "--version"]).stdout)
    return version is not None and (int(version[1]), int(version[2])) >= (7, 83)


NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class CurlFolder:
    """A shell user's loop around curl, with listings of version 1."""

    name = "curl"
    multiparts = False
    moves = False
    copies_odd_names = True

    def why_not_here(self) -> str | None:
        return Curl().why_not_here()

    def version(self) -> str:
        return version_in(must_run(["curl", "--version"]))

    def listed(self, target: Target, prefix: str) -> list[tuple[str, int]]:
        # This curl signs the query as it is written, so it is written as S3 sorts and encodes it.
        url = f"{target.endpoint}/{target.bucket}?marker=&max-keys=1000&prefix={quote(prefix, safe='')}"
        tree = ElementTree.fromstring(self._run(target, url))
        return [
            (entry.findtext(f"{NAMESPACE}Key", ""), int(entry.findtext(f"{NAMESPACE}Size", "")))
            for entry in tree.iter(f"{NAMESPACE}Contents")
        ]

    def download(self, target: Target, prefix: str, folder: Path) -> None:
        for key, _ in self.listed(target, prefix):
            self._run(target, target.url(key), "--create-dirs", "--output", folder / key.removeprefix(prefix))

    def upload(self, target: Target, folder: Path, prefix: str) -> None:
        for name, file in files_under(folder).items():
            self._run(target, target.url(prefix + name), "-T", file)

    def copy(self, target: Target, prefix: str, names: Sequence[str], to: str) -> None:
        for name in names:
            copy_source = f"x-amz-copy-source: /{target.bucket}/{quote(prefix + name)}"
            told = self._run(target, target.url(to + name), "-X", "PUT", "-H", copy_source)
            if "<CopyObjectResult" not in told:
                raise LabError(f"copy: {told[:500]}")

    def move(self, target: Target, prefix: str, names: Sequence[str], to: str) -> None:
        raise NotImplementedError

    def delete(self, target: Target, prefix: str, names: Sequence[str]) -> None:
        for name in names:
            self._run(target, target.url(prefix + name), "-X", "DELETE")

    def delete_all(self, target: Target, prefix: str) -> None:
        self.delete(target, "", [key for key, _ in self.listed(target, prefix)])

    def _run(self, target: Target, url: str, *arguments: str | Path) -> str:
        trusted = ["--cacert", str(target.authority)] if target.authority else []
        return must_run(
            ["curl", "--silent", "--show-error", "--fail-with-body", "--aws-sigv4", f"aws:amz:{target.region}:s3",
             "--user", f"{target.access_key_id}:{target.secret_access_key}",
             "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", *trusted, *arguments, url]
        )  # fmt: skip
