"""What may change of a bucket while the proxy runs: how it is used, where writes go, whether its origin is still asked.

Plain values in one holder; a change puts new values in its place, so whoever looks sees the old ones or the new ones.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from addon.store.ports import Origin


class Mode(enum.Enum):
    """`STORE`: what is held here is served from here. `PASSTHROUGH`: the origin gets every request as it came."""

    STORE = "store"
    PASSTHROUGH = "passthrough"


class Writes(enum.Enum):
    """Where a write has to be before it is acknowledged: in Telegram, in Telegram and at the origin, or at the origin alone."""

    TELEGRAM = "telegram"
    BOTH = "both"
    ORIGIN = "origin"


@dataclass(frozen=True, slots=True)
class Policy:
    """How one bucket is used now. A retired bucket has no origin, so it is a store and takes writes itself, whatever the settings
    say."""

    mode: Mode = Mode.STORE
    writes: Writes = Writes.TELEGRAM
    retired: bool = False

    @property
    def passes_through(self) -> bool:
        """Whether the origin gets every request as it came."""
        return self.mode is Mode.PASSTHROUGH and not self.retired

    @property
    def writes_now(self) -> Writes:
        """Where writes go: in passthrough those whose keys we must see (see `routes.decide`) go to the origin alone."""
        if self.retired:
            return Writes.TELEGRAM
        return Writes.ORIGIN if self.mode is Mode.PASSTHROUGH else self.writes


USUAL = Policy()


class BucketPolicies:
    """The policies of all buckets. `current` is replaced as a whole, never changed."""

    def __init__(self, policies: Mapping[str, Policy]) -> None:
        self.current: Mapping[str, Policy] = dict(policies)

    def of(self, bucket: str) -> Policy:
        """The bucket's policy now; the usual one for a bucket that nobody knows."""
        return self.current.get(bucket, USUAL)

    def follow_settings(self, settings: Mapping[str, Policy]) -> list[str]:
        """Take over mode and writes of the buckets that exist; returns those that changed. Whether one is retired stays."""
        changed = {
            name: replace(settings[name], retired=policy.retired)
            for name, policy in self.current.items()
            if name in settings and replace(settings[name], retired=policy.retired) != policy
        }
        if changed:
            self.current = {**self.current, **changed}
        return sorted(changed)

    def follow_retirements(self, retired: frozenset[str]) -> list[str]:
        """Take over which buckets are retired; returns those of which it changed."""
        changed = {
            name: replace(policy, retired=name in retired)
            for name, policy in self.current.items()
            if policy.retired is not (name in retired)
        }
        if changed:
            self.current = {**self.current, **changed}
        return sorted(changed)

    def at_rest(self) -> frozenset[str]:
        """Buckets of which nothing is copied now: retired ones, and those in passthrough."""
        return frozenset(
            name for name, policy in self.current.items() if policy.retired or policy.mode is Mode.PASSTHROUGH
        )


SomeOrigin = TypeVar("SomeOrigin", bound=Origin)


class LiveOrigins(Mapping[str, SomeOrigin | None]):
    """The origins of all buckets, None where there is none (any more): who looks a retired bucket up finds none."""

    def __init__(self, origins: Mapping[str, SomeOrigin | None], policies: BucketPolicies) -> None:
        self._origins, self._policies = origins, policies

    def __getitem__(self, bucket: str) -> SomeOrigin | None:
        origin = self._origins[bucket]
        return None if self._policies.of(bucket).retired else origin

    def __iter__(self) -> Iterator[str]:
        return iter(self._origins)

    def __len__(self) -> int:
        return len(self._origins)
