"""Every client that works on whole prefixes, on a bucket half of whose keys have moved.

Each does the same: list, download, upload, overwrite, copy, move and delete keys of both states and new ones, and must
see after it exactly what S3 would show. The origin keeps what it had: what is new is in Telegram, and only there.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from tests.end_to_end.lab.clients import FolderClient, folder_clients
from tests.end_to_end.lab.half_moved import HalfMoved, content, read_files, sizes, write_files
from tests.end_to_end.lab.target import Target, request

pytestmark = pytest.mark.end_to_end

LARGE_BYTES = 12_000_001  # three parts of 5 MiB
UPLOADS = {"new/small a+b ü.bin": 4_321, "new/empty.bin": 0, "new/to delete.bin": 55, "07.bin": 7_777, "08.bin": 8_888}
DELETED = ("09.bin", "10.bin", "new/to delete.bin")
LARGE = "new/large.bin"
COPIED = ("01.bin", "02.bin", "07.bin", LARGE)
COPIED_ODD = ("03 a+b & ü=(1).bin", "04 a+b & ü=(1).bin")
MOVED = ("05/deep/er.bin", "06/deep/er.bin")

PARAMETERS = [pytest.param(client, scheme, id=f"{client.name}-{scheme}") for client, scheme in folder_clients()]
folders = count(1)


@pytest.mark.parametrize(("client", "scheme"), PARAMETERS)
def test_client_works_on_keys_of_every_state(
    client: FolderClient, scheme: str, half_moved: HalfMoved, scratch: Path
) -> None:
    if reason := client.why_not_here():
        pytest.skip(reason)
    target, prefix = half_moved.target(scheme), f"{client.name}-{scheme}/"
    expected = half_moved.fill(prefix)
    at_origin = half_moved.in_origin(prefix)
    assert shown(client, target, prefix) == sizes(expected)
    assert downloaded(client, target, prefix, scratch) == without(prefix, expected)

    expected |= uploaded(client, target, prefix, scratch)
    copied = [*COPIED, *(COPIED_ODD if client.copies_odd_names else ())]
    client.copy(target, prefix, copied, f"{prefix}copies/")
    expected |= {f"{prefix}copies/{name}": expected[prefix + name] for name in copied}
    if client.moves:
        client.move(target, prefix, MOVED, f"{prefix}away/")
        expected |= {f"{prefix}away/{name}": expected.pop(prefix + name) for name in MOVED}
    client.delete(target, prefix, DELETED)
    for name in DELETED:
        del expected[prefix + name]

    assert shown(client, target, prefix) == sizes(expected)
    assert downloaded(client, target, prefix, scratch) == without(prefix, expected)
    if client.multiparts:
        assert request(target, "HEAD", prefix + LARGE).headers["etag"].endswith('-3"')
    assert half_moved.in_origin(prefix) == at_origin

    client.delete_all(target, prefix)
    assert shown(client, target, prefix) == []
    assert half_moved.in_origin(prefix) == at_origin


def shown(client: FolderClient, target: Target, prefix: str) -> list[tuple[str, int]]:
    return sorted(client.listed(target, prefix), key=lambda entry: entry[0].encode())


def downloaded(client: FolderClient, target: Target, prefix: str, scratch: Path) -> dict[str, bytes]:
    folder = scratch / f"down{next(folders)}"
    folder.mkdir()
    client.download(target, prefix, folder)
    return read_files(folder)


def uploaded(client: FolderClient, target: Target, prefix: str, scratch: Path) -> dict[str, bytes]:
    """Put small objects, a large one, and other bytes under one key of each state; return what is then under the keys."""
    folder = scratch / "up"
    bodies = {name: content(f"new {prefix}{name}", size) for name, size in {**UPLOADS, LARGE: LARGE_BYTES}.items()}
    write_files(folder, bodies)
    client.upload(target, folder, prefix)
    return {prefix + name: body for name, body in bodies.items()}


def without(prefix: str, bodies: dict[str, bytes]) -> dict[str, bytes]:
    return {key.removeprefix(prefix): body for key, body in bodies.items()}
