"""A backup repository that was begun in the origin, and goes on while half of its keys have moved."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.lab.clients import Boto3Transfer, Restic
from tests.end_to_end.lab.half_moved import HalfMoved, content, read_files, write_files
from tests.end_to_end.lab.target import Target

pytestmark = pytest.mark.end_to_end

PREFIX = "restic/"
TREE = {f"{number}/file {number}.bin": content(f"restic {number}", 30_000 + number) for number in range(20)}
LARGE = {"video.bin": content("restic video", 9_000_000)}


def test_repository_is_checked_restored_and_pruned(half_moved: HalfMoved, scratch: Path) -> None:
    restic = Restic()
    if reason := restic.why_not_here():
        pytest.skip(reason)
    tgstore = half_moved.tgstore
    bucket, target = tgstore.buckets[0], half_moved.target("https")
    keys = bucket.origin
    origin = Target(keys.endpoint, bucket.name, keys.access_key_id, keys.secret_access_key)
    tree = scratch / "tree"
    write_files(tree, TREE | LARGE)
    restic.init(origin, PREFIX)
    restic.backup(origin, PREFIX, tree)
    at_origin = half_moved.in_origin(PREFIX)
    half_moved.move(sorted(at_origin)[::2])

    restic.check(target, PREFIX)
    changed = {"3/file 3.bin": b"changed", "new.bin": content("restic new", 2_000_000)}
    write_files(tree, changed)
    (tree / "video.bin").unlink()
    restic.backup(target, PREFIX, tree)
    assert restic.snapshots(target, PREFIX) == 2
    restic.keep_last(target, PREFIX)
    restic.check(target, PREFIX)
    restored = scratch / "restored"
    restic.restore(target, PREFIX, restored)
    assert read_files(restored / tree.relative_to("/")) == TREE | changed

    kept = dict(Boto3Transfer().listed(target, PREFIX))
    assert sum(kept.values()) < len(LARGE["video.bin"]), "what was pruned is still listed"
    assert half_moved.in_origin(PREFIX) == at_origin
