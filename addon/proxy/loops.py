"""Origins that are ourselves: found at the start, and answered 508 at run time before a request can go round.

Nothing is added to a request that would mark it, because clients and origins would see the mark, and could send it. Three things
show that a request came from us, or will:

- it came over a connection that is one of our own, by both of its ends;
- it asks for a key that we have just asked an origin for: 128 random bits that nobody else knows;
- the origin sends the client back to the very URL that it asked us for.

The second is how loops through something in between are found (another proxy, two proxies that point at each other). The origin is
asked so at the start, and again when so many requests of a bucket wait for an answer that a loop could be the reason.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import urljoin, urlsplit

from addon.proxy.switch import Seen
from addon.s3.address import OriginAddress
from addon.s3.errors import S3Error
from addon.service.buckets import Directory
from addon.store.own_connections import OwnConnections
from addon.store.ports import StoreError

logger = logging.getLogger(__name__)

# So many requests of a bucket may wait for an answer before the origin is asked whether it is ourselves; while a recent answer was
# no, twice as many as waited then.
UNSUSPICIOUS_MAX = 16
NO_LOOP_S = 10.0
# An origin that is ourselves is not asked for anything for so long; then the next request finds out whether it still is.
LOOP_S = 30.0
PROBE_S_MAX = 5.0
# So long a request waits for what a probe finds. Not longer: two proxies that point at each other would hold up each other's.
PROBE_WAIT_S = 0.25
REDIRECTS_MAX = 5


class Looping(Exception):
    """The request came from ourselves, or would come back to us."""


def loop_error() -> S3Error:
    """508 (RFC 5842, section 7.2): trying again does not help before the settings or DNS have changed."""
    return S3Error("LoopDetected", "The origin of this bucket leads back to tgstore itself.")


class ProbedOrigin(Protocol):
    """What the guard needs of an origin's client. While `leads_back` it sends nothing but probes."""

    address: OriginAddress
    leads_back: bool

    async def probe(self, raw_key: str, *, url: str | None = None) -> tuple[int, str | None]:
        """Ask for a key, anonymously, here or at a URL that a redirect named; status and Location, the body unread. Raises
        `OriginUnavailable`."""


@dataclass(slots=True)
class _Standing:
    """What is known of one bucket: requests without an answer so far, and what the last probe said until when."""

    waiting: int = 0
    until_s: float = float("-inf")
    waited_when_clear: int = 0
    probing: asyncio.Task[None] | None = None


@dataclass(slots=True)
class _Probe:
    """One under way; `redirects` were followed so far."""

    came_back: asyncio.Event
    redirects: int = 0


class LoopGuard:
    """Knows our own requests when they come back. All of it belongs to one event loop."""

    def __init__(
        self,
        directory: Directory,
        origins: Mapping[str, ProbedOrigin | None],
        own: OwnConnections,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
        random_key: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self._directory, self._origins, self.own = directory, origins, own
        self._monotonic_s, self._random_key = monotonic_s, random_key
        self._probes: dict[str, _Probe] = {}
        self._returned = 0
        self._standings: defaultdict[str, _Standing] = defaultdict(_Standing)

    def came_from_us(self, client: Sequence[Any] | None, listener: Sequence[Any] | None, raw_path: str) -> bool:
        """Whether a request (the ends of its connection, its path) is one of our own."""
        probe = self._probes.get(raw_path.partition("?")[0].rpartition("/")[2])
        if probe is not None:
            probe.came_back.set()
            return True
        if not self.own.has(client, listener):
            return False
        self._returned += 1
        return True

    async def begin(self, bucket: str, *, to_origin: bool) -> None:
        """A request for a bucket begins; `end` it when its answer has come. Raises `Looping`. With `to_origin` it waits for
        a probe that is needed first."""
        origin = self._origins.get(bucket)
        standing = self._standings[bucket]
        standing.waiting += 1
        try:
            if origin is None:
                return
            now_s = self._monotonic_s()
            is_known = now_s < standing.until_s
            if origin.leads_back:
                suspicious = not is_known
            else:
                suspicious = standing.waiting > max(UNSUSPICIOUS_MAX, 2 * standing.waited_when_clear * is_known)
            if suspicious:
                if standing.probing is None:
                    standing.probing = asyncio.create_task(self._find_out(bucket, origin, standing))
                if to_origin:
                    await asyncio.wait({standing.probing}, timeout=PROBE_WAIT_S)
            if origin.leads_back and to_origin:
                raise Looping
        except BaseException:
            self.end(bucket)
            raise

    def end(self, bucket: str) -> None:
        """Its answer has come, or never will."""
        standing = self._standings[bucket]
        standing.waiting -= 1
        if not standing.waiting and standing.probing is None and self._monotonic_s() >= standing.until_s:
            del self._standings[bucket]

    def sends_back(self, seen: Seen, scheme: str, status: int, location: str | None) -> bool:
        """See the function of this name."""
        return sends_back(self._directory, seen, scheme, status, location)

    async def check_all(self) -> list[str]:
        """Probe every origin, for the start; the message of each that is ourselves. One that cannot be reached is none of them: it
        may be down, and what it is will show when it is back."""
        buckets = [bucket for bucket, origin in self._origins.items() if origin is not None]
        found = await asyncio.gather(*(self._check(bucket) for bucket in buckets))
        return [message for message in found if message is not None]

    async def _check(self, bucket: str) -> str | None:
        origin = self._origins[bucket]
        if origin is None:
            return None
        try:
            how = await self._probe(origin)
        except (StoreError, TimeoutError) as failure:
            logger.warning("bucket %s: whether its origin is tgstore itself is not known yet: %s", bucket, failure)
            return None
        if how is None:
            return None
        return (
            f"bucket {bucket}: its origin ({origin.address.scheme}://{origin.address.host_header}) is tgstore itself{how}."
            " Give origin.endpoint a name or an address that leads to the real bucket, past tgstore."
        )

    async def _find_out(self, bucket: str, origin: ProbedOrigin, standing: _Standing) -> None:
        looped = False
        try:
            looped = await self._probe(origin) is not None
        except (StoreError, TimeoutError) as failure:
            logger.info("bucket %s: whether its origin is tgstore itself could not be asked: %s", bucket, failure)
        except Exception:  # requests wait for it, and shall go on
            logger.exception("bucket %s: whether its origin is tgstore itself could not be asked", bucket)
        finally:
            standing.probing = None
        if looped != origin.leads_back:
            log = logger.error if looped else logger.warning
            log("bucket %s: its origin %s tgstore itself", bucket, "is" if looped else "is not any more")
        origin.leads_back = looped
        standing.waited_when_clear = standing.waiting
        standing.until_s = self._monotonic_s() + (LOOP_S if looped else NO_LOOP_S)

    async def _probe(self, origin: ProbedOrigin) -> str | None:
        """How an origin leads back to us, None where it does not. Raises `OriginUnavailable`, TimeoutError."""
        key = self._random_key()
        probe = self._probes[key] = _Probe(asyncio.Event())
        asking = asyncio.create_task(self._ask(origin, key, probe))
        returning = asyncio.create_task(probe.came_back.wait())
        try:
            async with asyncio.timeout(PROBE_S_MAX):
                await asyncio.wait({asking, returning}, return_when=asyncio.FIRST_COMPLETED)
            if not probe.came_back.is_set():
                await asking
            if not probe.came_back.is_set():
                return None
            return ", by a redirect" if probe.redirects else ""
        finally:
            del self._probes[key]
            asking.cancel()
            returning.cancel()
            await asyncio.gather(asking, returning, return_exceptions=True)

    async def _ask(self, origin: ProbedOrigin, key: str, probe: _Probe) -> None:
        """Ask for a key, and follow redirects as a client would."""
        url = f"{origin.address.scheme}://{origin.address.host_header}{origin.address.raw_path(key)}"
        returned = self._returned
        status, location = await origin.probe(key)
        while 300 <= status < 400 and location is not None and probe.redirects < REDIRECTS_MAX:
            probe.redirects += 1
            url = urljoin(url, location)
            status, location = await origin.probe(key, url=url)
        if status == HTTPStatus.LOOP_DETECTED and self._returned > returned:
            # A redirect had taken the key away, but we knew the connection.
            probe.came_back.set()


def sends_back(directory: Directory, seen: Seen, scheme: str, status: int, location: str | None) -> bool:
    """Whether an answer of the origin makes the client ask us for the same again: pure. `scheme` is what the client came by."""
    if status not in (301, 302, 303, 307, 308) or location is None:
        return False
    asked = f"{scheme}://{seen.host}{seen.raw_path}" + (f"?{seen.raw_query}" if seen.raw_query else "")
    try:
        there = urlsplit(urljoin(asked, location))
        if there.scheme != scheme or not directory.is_ours(there.netloc.rpartition("@")[2]):
            return False
        before = directory.find(seen.host, seen.method, seen.raw_path, seen.raw_query, seen.headers)
        after = directory.find(there.netloc, seen.method, there.path, there.query, seen.headers)
    except (ValueError, S3Error):
        return False
    if before is None or after is None or seen.raw_query != there.query:
        return False
    return (before.bucket.name, before.target.key) == (after.bucket.name, after.target.key)
