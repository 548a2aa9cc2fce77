"""s3cmd's `info` and `setacl` on keys of every state; whole prefixes are in test_client_matrix.py and test_client_sync.py."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from tests.end_to_end.lab.clients import S3cmd
from tests.end_to_end.lab.half_moved import HalfMoved, write_files
from tests.end_to_end.lab.target import request

pytestmark = pytest.mark.end_to_end

PREFIX = "s3cmd-acl/"
EVERYONE = re.compile(r"ACL:\s+(\*anon\*|.*AllUsers.*): READ")


def test_info_tells_and_setacl_changes_who_may_read(half_moved: HalfMoved, scratch: Path) -> None:
    s3cmd = S3cmd()
    if reason := s3cmd.why_not_here():
        pytest.skip(reason)
    target = half_moved.target("https")
    bodies = half_moved.fill(PREFIX)
    write_files(scratch / "up", {"new.bin": b"new here"})
    s3cmd.upload(target, scratch / "up", PREFIX)
    bodies[PREFIX + "new.bin"] = b"new here"
    for name in ("01.bin", "02.bin", "new.bin"):
        key = PREFIX + name
        body = bodies[key]
        told = s3cmd.info(target, key)
        assert re.search(rf"File size:\s+{len(body)}\b", told), told
        assert re.search(rf"MD5 sum:\s+{hashlib.md5(body).hexdigest()}\b", told), told
        assert request(target, "GET", key, signed=False).status_code == 403, name

        s3cmd.set_public(target, key, True)
        answer = request(target, "GET", key, signed=False)
        assert (answer.status_code, answer.content) == (200, body), name
        assert EVERYONE.search(s3cmd.info(target, key)), s3cmd.info(target, key)

        s3cmd.set_public(target, key, False)
        assert request(target, "GET", key, signed=False).status_code == 403, name
        assert not EVERYONE.search(s3cmd.info(target, key)), s3cmd.info(target, key)
