"""The connections that this process has open to servers, to know its own requests when they come back to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from addon.s3.ip_addresses import plain_address

Ends = tuple[tuple[str, int], tuple[str, int]]


class OwnConnections:
    """Counts connections by both of their ends: one end alone may belong to somebody else's connection at the same time."""

    def __init__(self) -> None:
        self._open: Counter[Ends] = Counter()

    def opened(self, ours: Sequence[Any] | None, theirs: Sequence[Any] | None) -> Ends | None:
        """A connection is open from our end to theirs (socket addresses); `closed` takes what it returns."""
        ends = _ends(ours, theirs)
        if ends is not None:
            self._open[ends] += 1
        return ends

    def closed(self, ends: Ends | None) -> None:
        """It is closed."""
        if ends is None:
            return
        self._open[ends] -= 1
        if self._open[ends] <= 0:
            del self._open[ends]

    def has(self, client: Sequence[Any] | None, listener: Sequence[Any] | None) -> bool:
        """Whether a connection that was accepted (its client's address, and ours) is one of our own."""
        return _ends(client, listener) in self._open


def _ends(one: Sequence[Any] | None, other: Sequence[Any] | None) -> Ends | None:
    try:
        return None if not one or not other else (_end(one), _end(other))
    except ValueError:
        return None


def _end(address: Sequence[Any]) -> tuple[str, int]:
    return plain_address(str(address[0])), int(address[1])
