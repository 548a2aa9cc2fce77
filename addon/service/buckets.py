"""The buckets that we answer for, and which of them a request means: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from addon.s3.address import OriginAddress
from addon.s3.bucket_answers import DEFAULT_REGION
from addon.s3.cors import CorsRule
from addon.s3.hosts import host_name
from addon.s3.operations import Target, parse_target, split_path
from addon.store.policies import USUAL, BucketPolicies, Policy

__all__ = ["Addressed", "Bucket", "Directory", "host_name"]


@dataclass(frozen=True, slots=True)
class Bucket:
    """One configured bucket; `credentials` maps access key ids to secrets. `origin` is the address of the real bucket, which
    is called `origin_bucket` there; both are None where there is none. `region` is where it says that it is. `cors` are its
    cross-origin rules, None where the settings leave them to the origin. `revalidate_after_s` and `negative_ttl_s` are the settings
    of these names, 0 where they are off. `policy` is how it is used now."""

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
    revalidate_after_s: float = 0.0
    negative_ttl_s: float = 0.0
    policy: Policy = USUAL

    def under(self, policy: Policy) -> Bucket:
        """The bucket as it is used under `policy`: a retired one has no origin."""
        if policy.retired:
            return replace(self, policy=policy, origin=None, origin_bucket=None)
        return replace(self, policy=policy)


@dataclass(frozen=True, slots=True)
class Addressed:
    """A request that is for us: its bucket and what it asks of it."""

    bucket: Bucket
    target: Target


class Directory:
    """Finds the bucket that a request means, by its Host header (compared without the port) and its path.

    `policies` may change meanwhile: what is found is the bucket as it is used now. Without them all buckets are used as usual.
    """

    def __init__(self, buckets: Iterable[Bucket], policies: BucketPolicies | None = None) -> None:
        self._configured: Mapping[str, Bucket] = {bucket.name: bucket for bucket in buckets}
        self._policies = policies if policies is not None else BucketPolicies({})
        self._seen: Mapping[str, Policy] | None = None
        self._buckets = self._configured
        self._by_host = {host: bucket.name for bucket in self._configured.values() for host in bucket.hosts}
        path_hosts = frozenset(host for bucket in self._configured.values() for host in bucket.path_hosts)
        self._services = {host: _service(host, self._configured.values()) for host in path_hosts}

    @property
    def buckets(self) -> Mapping[str, Bucket]:
        """The buckets by name, as they are used now."""
        if self._seen is not self._policies.current:
            self._seen = self._policies.current
            self._buckets = {name: bucket.under(self._policies.of(name)) for name, bucket in self._configured.items()}
        return self._buckets

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
        if (named := self._by_host.get(name)) is not None:
            bucket = self.buckets[named]
            return Addressed(bucket, parse_target(method, bucket.name, raw_path, raw_query, headers))
        if name not in self._services:
            return None
        # Decoded, as the origin would: `/im%61ges/k` means the same bucket there.
        bucket_name, raw_key = split_path(raw_path)
        if not bucket_name and not raw_key:
            return Addressed(self._services[name], parse_target(method, None, raw_path, raw_query, headers))
        meant = self.buckets.get(bucket_name)
        if meant is None or name not in meant.path_hosts:
            return None
        return Addressed(meant, parse_target(method, None, raw_path, raw_query, headers))


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
