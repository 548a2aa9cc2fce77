"""The buckets that we answer for, and which of them a request means: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from addon.s3.address import OriginAddress
from addon.s3.bucket_answers import DEFAULT_REGION
from addon.s3.cors import CorsRule
from addon.s3.operations import Target, parse_target, split_path


@dataclass(frozen=True, slots=True)
class Bucket:
    """One configured bucket; `credentials` maps access key ids to secrets. `origin` is the address of the real bucket, which
    is called `origin_bucket` there; both are None where there is none. `region` is where it says that it is. `cors` are its
    cross-origin rules, None where the settings leave them to the origin."""

    name: str
    hosts: frozenset[str]
    path_hosts: frozenset[str]
    anonymous_read: bool
    reject_unknown_keys: bool
    credentials: Mapping[str, str] = field(repr=False)
    origin: OriginAddress | None
    origin_bucket: str | None
    region: str = DEFAULT_REGION
    cors: Sequence[CorsRule] | None = None


@dataclass(frozen=True, slots=True)
class Addressed:
    """A request that is for us: its bucket and what it asks of it."""

    bucket: Bucket
    target: Target


class Directory:
    """Finds the bucket that a request means, by its Host header (compared without the port) and its path."""

    def __init__(self, buckets: Iterable[Bucket]) -> None:
        self.buckets: Mapping[str, Bucket] = {bucket.name: bucket for bucket in buckets}
        self._by_host = {host: bucket for bucket in self.buckets.values() for host in bucket.hosts}
        path_hosts = frozenset(host for bucket in self.buckets.values() for host in bucket.path_hosts)
        self._services = {host: _service(host, self.buckets.values()) for host in path_hosts}

    def is_ours(self, host: str) -> bool:
        """Whether a Host header names one of our hosts."""
        name = host_name(host)
        return name in self._by_host or name in self._services

    def find(
        self, host: str, method: str, raw_path: str, raw_query: str, headers: Sequence[tuple[str, str]]
    ) -> Addressed | None:
        """The bucket and the operation; None where host or path name no bucket of ours. A request to the service itself, on a host
        of `path_hosts`, is addressed to a bucket without name and origin, which has the credentials of all buckets on that host.

        Raises S3Error where the target cannot be understood (`InvalidURI`, `KeyTooLongError`).
        """
        name = host_name(host)
        if (bucket := self._by_host.get(name)) is not None:
            return Addressed(bucket, parse_target(method, bucket.name, raw_path, raw_query, headers))
        if name not in self._services:
            return None
        # Decoded, as the origin would: `/im%61ges/k` means the same bucket there.
        bucket_name, raw_key = split_path(raw_path)
        if not bucket_name and not raw_key:
            return Addressed(self._services[name], parse_target(method, None, raw_path, raw_query, headers))
        bucket = self.buckets.get(bucket_name)
        if bucket is None or name not in bucket.path_hosts:
            return None
        return Addressed(bucket, parse_target(method, None, raw_path, raw_query, headers))


def _service(host: str, buckets: Iterable[Bucket]) -> Bucket:
    """What stands for the service on a host. One access key has one secret in all buckets (the settings are held to it)."""
    here = [bucket for bucket in buckets if host in bucket.path_hosts]
    return Bucket(
        name="",
        hosts=frozenset(),
        path_hosts=frozenset({host}),
        anonymous_read=False,
        reject_unknown_keys=True,
        credentials={key: secret for bucket in here for key, secret in bucket.credentials.items()},
        origin=None,
        origin_bucket=None,
    )


def host_name(host: str) -> str:
    """A Host header's name: lower case, without port and trailing dot (`[::1]:8080` gives `[::1]`)."""
    name, colon, port = host.strip().rpartition(":")
    if not colon or not (port.isdigit() or port == ""):
        name = host.strip()
    return name.lower().rstrip(".")
