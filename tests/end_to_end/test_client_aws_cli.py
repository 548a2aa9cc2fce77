"""What the AWS CLI does with single keys, and URLs that it signs for others; whole prefixes are in test_client_matrix.py."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.end_to_end.lab.clients.aws_cli import AwsCliFolder
from tests.end_to_end.lab.half_moved import HalfMoved, content
from tests.end_to_end.lab.target import request, trust

pytestmark = pytest.mark.end_to_end

ODD_ORIGIN, ODD_MOVED = "03 a+b & ü=(1).bin", "04 a+b & ü=(1).bin"
STREAM_BYTES = 12_000_001


@pytest.mark.parametrize("generation", [1, 2])
def test_single_keys_of_each_state(generation: int, half_moved: HalfMoved, scratch: Path) -> None:
    cli = AwsCliFolder(generation)
    if reason := cli.why_not_here():
        pytest.skip(reason)
    target, prefix = half_moved.target("https"), f"single-{cli.name}/"
    old = half_moved.fill(prefix)

    for name in (ODD_ORIGIN, ODD_MOVED):
        answer = httpx.get(cli.presigned_url(target, prefix + name), verify=trust(target.authority))
        assert (answer.status_code, answer.content) == (200, old[prefix + name])

    cli.copy_one(target, prefix + "06/deep/er.bin", prefix + "copied.bin")
    assert request(target, "GET", prefix + "copied.bin").content == old[prefix + "06/deep/er.bin"]
    cli.move_one(target, prefix + ODD_ORIGIN, prefix + "moved.bin")
    assert request(target, "GET", prefix + "moved.bin").content == old[prefix + ODD_ORIGIN]
    assert request(target, "HEAD", prefix + ODD_ORIGIN).status_code == 404
    cli.delete_one(target, prefix + ODD_MOVED)
    gone = httpx.get(cli.presigned_url(target, prefix + ODD_MOVED), verify=trust(target.authority))
    assert gone.status_code == 404

    file = scratch / "stream"
    file.write_bytes(content(prefix, STREAM_BYTES))
    cli.upload_stream(target, file, prefix + "stream.bin")
    answer = request(target, "GET", prefix + "stream.bin")
    assert answer.content == file.read_bytes()
    assert answer.headers["etag"].endswith('-3"')
