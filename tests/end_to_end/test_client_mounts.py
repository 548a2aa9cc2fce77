"""The bucket mounted as a folder, half of whose files have moved: read, written, renamed and deleted like any files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.lab.clients import Boto3Transfer, MountClient, mount_clients, mounted
from tests.end_to_end.lab.half_moved import HalfMoved, content, read_files, sizes

pytestmark = pytest.mark.end_to_end

LARGE_BYTES = 12_000_001
PARAMETERS = [pytest.param(client, scheme, id=f"{client.name}-{scheme}") for client, scheme in mount_clients()]


@pytest.mark.parametrize(("client", "scheme"), PARAMETERS)
def test_mounted_bucket_is_a_folder(client: MountClient, scheme: str, half_moved: HalfMoved, scratch: Path) -> None:
    if reason := client.why_not_here():
        pytest.skip(reason)
    target, prefix = half_moved.target(scheme), f"mount-{client.name}/"
    expected = half_moved.fill(prefix)
    at_origin = half_moved.in_origin(prefix)
    with mounted(client, target, scratch / "bucket") as bucket:
        files = bucket / prefix
        assert {prefix + name: body for name, body in read_files(files).items()} == expected

        for name, body in {
            "small ü.bin": content("small", 999),
            "large.bin": content("large", LARGE_BYTES),
            "07.bin": content("seven", 7_777),
            "08.bin": content("eight", 8_888),
        }.items():
            (files / name).write_bytes(body)
            expected[prefix + name] = body
        for name in ("01.bin", "02.bin"):
            (files / name).rename(files / f"renamed {name}")
            expected[f"{prefix}renamed {name}"] = expected.pop(prefix + name)
        for name in ("09.bin", "10.bin"):
            (files / name).unlink()
            del expected[prefix + name]

    stored = Boto3Transfer()
    assert stored.listed(target, prefix) == sizes(expected)
    back = scratch / "back"
    stored.download(target, prefix, back)
    assert {prefix + name: body for name, body in read_files(back).items()} == expected
    assert half_moved.in_origin(prefix) == at_origin
