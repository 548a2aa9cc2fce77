"""The switch: looks up what a decision needs and asks `routes.decide`. Knows nothing of mitmproxy, and holds no authority."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from addon import sigv4
from addon.proxy.routes import Claim, Facts, Route, decide
from addon.s3.copy_source import parse_copy_source
from addon.s3.query import with_hoisted_headers
from addon.s3.write_conditions import CONDITIONS_OF_DELETES, CONDITIONS_OF_WRITES
from addon.service.buckets import Addressed, Directory
from addon.service.origin_writes import OriginWrites
from addon.service.request import only_value
from addon.store.object_store import ObjectStore
from addon.store.records import ObjectRecord, Tombstone


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as the switch sees it: raw target, lower-case header names, Latin-1 values."""

    method: str
    host: str
    raw_path: str
    raw_query: str
    headers: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Routing:
    """The decision, and what it rests on. `addressed` is None only where the service has to say what is wrong."""

    route: Route
    claim: Claim
    addressed: Addressed | None
    state: ObjectRecord | Tombstone | None


class Switch:
    """Decides where a request for one of our buckets goes."""

    def __init__(self, directory: Directory, store: ObjectStore, origin_writes: OriginWrites) -> None:
        self._directory, self._store, self._origin_writes = directory, store, origin_writes

    def is_ours(self, host: str) -> bool:
        """Whether this Host header names one of our hosts."""
        return self._directory.is_ours(host)

    async def route(self, seen: Seen) -> Routing | None:
        """The routing; None where host and path mean no bucket of ours, and the request is left alone: also one to the service
        itself (ListBuckets) by whoever has none of our keys, because what it lists is not ours to tell.

        Raises S3Error for a target that cannot be understood and `IndexUnavailable` where the index does not answer; then the
        request belongs to the object service, which says so in S3's terms.
        """
        addressed = self._directory.find(seen.host, seen.method, seen.raw_path, seen.raw_query, seen.headers)
        if addressed is None:
            return None
        bucket, target = addressed.bucket, addressed.target
        claim = self._claim(seen, addressed)
        if not bucket.name and claim is not Claim.KNOWN_KEY:
            return None
        state = None
        passes_through = bucket.policy.passes_through
        if claim is not Claim.KNOWN_KEY and target.key and not passes_through:
            state = await self._store.state(bucket.name, target.key)
        facts = Facts(
            operation=target.operation,
            claim=claim,
            has_origin=bucket.origin is not None,
            reject_unknown_keys=bucket.reject_unknown_keys,
            anonymous_read=bucket.anonymous_read,
            state=state,
            copy_source_state=None if passes_through else await self._copy_source_state(claim, seen),
            whole=target.version_id is None and target.part_number is None,
            conditional=_names_a_condition(seen),
            changing=bool(target.key) and self._origin_writes.under_way(bucket.name, target.key),
            has_cors_rules=bucket.cors is not None,
            from_page=any(name == "origin" for name, _ in seen.headers),
            passes_through=passes_through,
        )
        return Routing(decide(facts), claim, addressed, state)

    async def _copy_source_state(self, claim: Claim, seen: Seen) -> ObjectRecord | Tombstone | None:
        """What we know of a copy's source, where the origin would do the copy without our looking at it."""
        if claim is Claim.KNOWN_KEY:
            return None
        header = only_value(with_hoisted_headers(seen.headers, seen.raw_query), "x-amz-copy-source")
        if header is None:
            return None
        source = parse_copy_source(header)
        return await self._store.state(source.bucket, source.key)

    def _claim(self, seen: Seen, addressed: Addressed) -> Claim:
        signed = sigv4.SignedRequest(
            method=seen.method, raw_path=seen.raw_path, raw_query=seen.raw_query, headers=seen.headers
        )
        access_key_id = sigv4.access_key_id(signed)
        if access_key_id is None:
            return Claim.ANONYMOUS
        return Claim.KNOWN_KEY if access_key_id in addressed.bucket.credentials else Claim.UNKNOWN_KEY


def _names_a_condition(seen: Seen) -> bool:
    """Whether a header says what the key must hold; what it says is for whoever writes to judge."""
    names = CONDITIONS_OF_WRITES | CONDITIONS_OF_DELETES
    return any(name in names for name, _ in with_hoisted_headers(seen.headers, seen.raw_query))
