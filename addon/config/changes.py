"""What became of the settings since the proxy started: which keys differ, and which of them only a restart takes over. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from addon.config.models import Bucket, Config

# Keys of a bucket that a running proxy takes over.
LIVE_BUCKET_KEYS = frozenset({"mode", "writes"})


def needing_restart(running: Config, found: Config) -> Iterator[str]:
    """The keys whose new values a running proxy does not take over. Names only: a value may be a secret."""
    for section in type(running).model_fields:
        if section == "buckets":
            continue
        before, after = getattr(running, section), getattr(found, section)
        if before is None or after is None:
            if before is not after:
                yield section
            continue
        for key in type(before).model_fields:
            if getattr(before, key) != getattr(after, key):
                yield f"{section}.{key}"
    yield from _buckets(running, found)


def _buckets(running: Config, found: Config) -> Iterator[str]:
    before = {bucket.name: bucket for bucket in running.buckets}
    after = {bucket.name: bucket for bucket in found.buckets}
    for name in sorted(after.keys() - before.keys()):
        yield f"the new bucket {name}"
    for name in sorted(before.keys() - after.keys()):
        yield f"the end of bucket {name}"
    for name in sorted(before.keys() & after.keys()):
        for key in Bucket.model_fields:
            if key not in LIVE_BUCKET_KEYS and getattr(before[name], key) != getattr(after[name], key):
                yield f"{key} of bucket {name}"
