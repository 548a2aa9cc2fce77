"""Host headers, and which bucket a host and a path name together."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from addon.s3.keys import invalid_uri
from addon.s3.operations import split_path


def host_name(host: str) -> str:
    """A Host header's name: lower case, without port and trailing dot (`[::1]:8080` gives `[::1]`)."""
    name, colon, port = host.strip().rpartition(":")
    if not colon or not (port.isdigit() or port == ""):
        name = host.strip()
    return name.lower().rstrip(".")


def named_bucket(
    host: str, raw_path: str, *, by_host: Mapping[str, str], by_path: Mapping[str, Collection[str]]
) -> tuple[str, str] | None:
    """The bucket that a request's Host header and path mean, and the raw key; None where they mean no bucket of these.

    `by_host` gives the bucket of each virtual-hosted name, `by_path` the buckets of each name with the bucket in the path. The
    bucket of a path is decoded, as the origin would: `/im%61ges/k` means the same bucket there. Raises InvalidURI.
    """
    name = host_name(host)
    if (bucket := by_host.get(name)) is not None:
        if not raw_path.startswith("/"):
            raise invalid_uri()
        return bucket, raw_path[1:]
    if name not in by_path:
        return None
    bucket, raw_key = split_path(raw_path)
    return (bucket, raw_key) if bucket in by_path[name] else None
