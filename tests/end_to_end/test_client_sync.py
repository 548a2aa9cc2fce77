"""Programs that make a folder and a prefix alike, on a bucket half of whose keys have moved.

They decide by listings, sizes, times and ETags: what these say must fit what was read and written before, or a sync
sends everything again, or nothing.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.end_to_end.lab.clients import Boto3Transfer, Rclone, SyncClient, sync_clients
from tests.end_to_end.lab.half_moved import HalfMoved, read_files, sizes, write_files

pytestmark = pytest.mark.end_to_end

# In each pair one is only in the origin, one has moved.
CHANGED = {"07.bin": b"seven" * 500, "08.bin": b"eight" * 500}
ADDED = {"added.bin": b"new" * 1000, "05/added too.bin": b"newer" * 1000}
REMOVED = ("09.bin", "10.bin", "05/deep/er.bin")
PARAMETERS = [pytest.param(client, scheme, id=f"{client.name}-{scheme}") for client, scheme in sync_clients()]
AGE_S = 3600.0


@pytest.mark.parametrize(("client", "scheme"), PARAMETERS)
def test_sync_sends_what_differs_and_deletes_what_is_gone(
    client: SyncClient, scheme: str, half_moved: HalfMoved, scratch: Path
) -> None:
    if reason := client.why_not_here():
        pytest.skip(reason)
    target, prefix = half_moved.target(scheme), f"sync-{client.name}/"
    expected = half_moved.fill(prefix)
    at_origin = half_moved.in_origin(prefix)
    here, there = scratch / "here", scratch / "there"
    here.mkdir()
    there.mkdir()
    client.sync_down(target, prefix, here)
    assert read_files(here) == without(prefix, expected)
    set_time(here, time.time() - AGE_S)
    assert client.sync_up(target, here, prefix) == []

    write_files(here, CHANGED | ADDED)
    set_time(here, time.time() - AGE_S)
    for name in REMOVED:
        (here / name).unlink()
        del expected[prefix + name]
    expected |= {prefix + name: body for name, body in (CHANGED | ADDED).items()}
    changes = client.sync_up(target, here, prefix)
    assert len(changes) == len(CHANGED) + len(ADDED) + len(REMOVED), changes

    assert Boto3Transfer().listed(target, prefix) == sizes(expected)
    assert client.sync_up(target, here, prefix) == []
    client.sync_down(target, prefix, there)
    assert read_files(there) == without(prefix, expected)
    assert half_moved.in_origin(prefix) == at_origin


@pytest.mark.parametrize("scheme", ["https"])
def test_rclone_check_finds_each_difference_and_no_other(scheme: str, half_moved: HalfMoved, scratch: Path) -> None:
    client = Rclone("Minio")
    if reason := client.why_not_here():
        pytest.skip(reason)
    target, prefix = half_moved.target(scheme), "check/"
    write_files(scratch / "here", without(prefix, half_moved.fill(prefix)))
    here = scratch / "here"
    assert client.differences(target, here, prefix) == []
    for name in ("01.bin", "02.bin"):
        (here / name).write_bytes((here / name).read_bytes()[:-1] + b"!")
    (here / "09.bin").unlink()
    (here / "only here.bin").write_bytes(b"x")
    assert client.differences(target, here, prefix) == ["01.bin", "02.bin", "09.bin", "only here.bin"]


def set_time(folder: Path, modified_s: float) -> None:
    """As if the files had been there for a while: what is newer than the object, which knows no fractions of a second, is sent."""
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (modified_s, modified_s))


def without(prefix: str, bodies: dict[str, bytes]) -> dict[str, bytes]:
    return {key.removeprefix(prefix): body for key, body in bodies.items()}
