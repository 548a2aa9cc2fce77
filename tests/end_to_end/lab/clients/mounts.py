"""The bucket as a folder, through FUSE: s3fs and rclone mount."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tests.end_to_end.lab.clients.programs import missing, must_run, run, version_in
from tests.end_to_end.lab.clients.protocols import PART_BYTES
from tests.end_to_end.lab.clients.rclone import Rclone
from tests.end_to_end.lab.process import wait_for
from tests.end_to_end.lab.target import Target

GONE_LIMIT_S = 20.0


class MountClient(Protocol):
    name: str

    def why_not_here(self) -> str | None: ...
    def version(self) -> str: ...
    def mount(self, target: Target, folder: Path) -> None: ...


class S3fs:
    name = "s3fs"

    def why_not_here(self) -> str | None:
        return missing("s3fs") or why_no_fuse()

    def version(self) -> str:
        return version_in(must_run(["s3fs", "--version"]))

    def mount(self, target: Target, folder: Path) -> None:
        options = [
            f"url={target.endpoint}", "use_path_request_style", f"endpoint={target.region}", "retries=1",
            f"multipart_size={PART_BYTES >> 20}", f"singlepart_copy_limit={PART_BYTES >> 20}", "stat_cache_expire=1",
        ]  # fmt: skip
        keys = {"AWSACCESSKEYID": target.access_key_id, "AWSSECRETACCESSKEY": target.secret_access_key}
        trusted = {"CURL_CA_BUNDLE": str(target.authority)} if target.authority else {}
        words = [word for option in options for word in ("-o", option)]
        must_run(["s3fs", target.bucket, folder, *words], {**keys, **trusted})


class RcloneMount:
    name = "rclone-mount"

    def why_not_here(self) -> str | None:
        return Rclone("Minio").why_not_here() or why_no_fuse()

    def version(self) -> str:
        return Rclone("Minio").version()

    def mount(self, target: Target, folder: Path) -> None:
        Rclone("Minio").mount(target, folder)


@contextmanager
def mounted(client: MountClient, target: Target, folder: Path) -> Iterator[Path]:
    """The bucket's keys as files under ``folder``; after it everything that was written is stored."""
    folder.mkdir()
    client.mount(target, folder)
    try:
        wait_for(lambda: os.path.ismount(folder), GONE_LIMIT_S, f"{client.name} mounts")
        yield folder
    finally:
        # A mount that is still writing is busy for a moment.
        wait_for(lambda: run(["fusermount3", "-u", folder]).returncode == 0, GONE_LIMIT_S, f"{client.name} unmounts")
        _wait_until_process_is_gone(folder)


def _wait_until_process_is_gone(folder: Path) -> None:
    wait_for(lambda: not _has_process(folder), GONE_LIMIT_S, f"the process that served {folder} ends")


def _has_process(folder: Path) -> bool:
    """Whether a program still runs that was given this folder: its last uploads may be under way."""
    for command_line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = command_line.read_bytes().split(b"\0")
        except OSError:  # it ended while we looked
            continue
        if os.fsencode(folder) in words:
            return True
    return False


def why_no_fuse() -> str | None:
    """Why nothing can be mounted on this machine, or None: it is tried, as a device that exists may still refuse."""
    if reason := missing("fusermount3"):
        return reason
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "FUSE is not allowed here: /dev/fuse cannot be opened"
    with tempfile.TemporaryDirectory() as folder:
        # It mounts, and then ends with an error, as there is nobody whom it could hand the device to.
        tried = run(["fusermount3", folder], {"_FUSE_COMMFD": "0"})
        if run(["fusermount3", "-u", folder]).returncode != 0:
            return f"FUSE is not allowed here: {tried.stderr.strip()}"
    return None
