"""A page of a listing, merged from the index and the origin, minus what was deleted here.

Both sides are read from the same place on, in UTF-8 byte order. What the index knows of a key goes before what the origin says of
it; only a copy is shown as the origin shows it, with the owner and the storage class that the site knows, as long as the origin
lists the same ETag: a listing and a read must not speak of different objects. A tombstone hides the origin's entry. The origin's
page ends at a horizon: beyond it nothing is known, and nothing from the index is given out.

A common prefix that only the origin has is live unless tombstones lie below it. Then it is probed: the origin's keys are walked
through without delimiter until one has no tombstone. One walk serves all the small prefixes in a row that it passes.

Each page costs a bounded number of requests to the origin. Where they do not suffice, the page is short, or empty, and says from
where to go on; a walk's place is remembered, so each page gets further than the one before.
"""

from __future__ import annotations

import asyncio
import contextlib
from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from addon.s3.keys import KEY_BYTES_MAX
from addon.s3.listing_request import LISTED_MAX
from addon.s3.listing_tokens import Place
from addon.s3.origin_listing import OriginPage, OriginQuery, common_prefix
from addon.store.listed import ListedObject, ListedPrefix
from addon.store.ports import OriginUnavailable
from addon.store.records import Provenance

ORIGIN_REQUESTS_PER_PAGE_MAX = 8

# A client that asks for few entries must not wade through deleted keys in steps as small.
FURTHER_ORIGIN_KEYS = LISTED_MAX

MergedEntry = tuple[str, "str | ListedObject | None"]
"""A name with what the origin says of the key (XML), with what the index says of it, or None for a common prefix."""

FetchPage = Callable[[OriginQuery], Awaitable[OriginPage]]


class ListingIndex(Protocol):
    """What a listing needs of the port `Index`."""

    async def list_objects(
        self, bucket: str, *, prefix: str, delimiter: str, after: str, limit: int
    ) -> Sequence[ListedObject | ListedPrefix]:
        """See `Index.list_objects`."""

    async def decided_among(self, bucket: str, keys: Sequence[str]) -> Mapping[str, ListedObject | None]:
        """See `Index.decided_among`."""

    async def prefixes_with_tombstones(self, bucket: str, prefixes: Sequence[str]) -> frozenset[str]:
        """See `Index.prefixes_with_tombstones`."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One page: up to `limit` (1 … 1000) entries from `place` on; with `owners` the origin is asked for them."""

    bucket: str
    prefix: str
    delimiter: str
    place: Place
    limit: int
    owners: bool = False


@dataclass(frozen=True, slots=True)
class MergedPage:
    """Entries in ascending order. `following` is None where surely nothing follows."""

    entries: list[MergedEntry]
    following: Place | None


async def merged_page(
    index: ListingIndex,
    fetch: FetchPage | None,
    asked: Asked,
    *,
    requests_max: int = ORIGIN_REQUESTS_PER_PAGE_MAX,
    further_keys: int = FURTHER_ORIGIN_KEYS,
) -> MergedPage:
    """The page. `fetch` asks the origin, None where there is none.

    At most `requests_max` requests go to the origin, those behind the first for `further_keys` entries. Raises what `fetch` and the
    index raise, and `OriginUnavailable` where the origin's pages lead nowhere.
    """
    if fetch is None:
        own = await _own(index, asked)
        entries = [_of_index(one) for one in own[: asked.limit]]
        return MergedPage(entries, Place(entries[-1][0]) if len(own) > asked.limit else None)
    page = await _Listing(index, _Origin(fetch, asked, requests_max, further_keys), asked).page()
    if not page.entries and page.following == asked.place:
        raise OriginUnavailable("the origin's listing does not get on")
    return page


async def _own(index: ListingIndex, asked: Asked) -> Sequence[ListedObject | ListedPrefix]:
    """One more than fit, all of them live: so whatever the origin adds, the page is full before these run out."""
    return await index.list_objects(
        asked.bucket, prefix=asked.prefix, delimiter=asked.delimiter, after=asked.place.after, limit=asked.limit + 1
    )


def _of_index(one: ListedObject | ListedPrefix) -> MergedEntry:
    return (one.prefix, None) if isinstance(one, ListedPrefix) else (one.key, one)


class _Origin:
    """The origin's side, with the number of requests that are left."""

    def __init__(self, fetch: FetchPage, asked: Asked, requests_max: int, further_keys: int) -> None:
        self._fetch, self._asked = fetch, asked
        self.requests_left, self._requests_max, self._further_keys = requests_max, requests_max, further_keys

    async def page(self, delimiter: str, after: str, token: str) -> OriginPage:
        """What follows `after`. Raises `OriginUnavailable` where the answer leads nowhere."""
        first = self.requests_left == self._requests_max
        self.requests_left -= 1
        # One more than fit, to see whether anything follows; two at least, because a server may give the common prefix again
        # that `after` names.
        max_keys = min(self._asked.limit + 1, LISTED_MAX) if first else self._further_keys
        query = OriginQuery(self._asked.prefix, delimiter, after, max_keys, self._asked.owners, token)
        page = await self._fetch(query)
        entries = page.entries
        if entries and entries[0][0] <= after:
            entries = [entry for entry in entries if entry[0] > after]
        if page.truncated and not entries and not page.token:
            raise OriginUnavailable("the origin's listing is truncated and says nothing of where to go on")
        return OriginPage(entries, page.truncated, page.token)


class _Listing:
    """One page in the making."""

    def __init__(self, index: ListingIndex, origin: _Origin, asked: Asked) -> None:
        self._index, self._origin, self._asked = index, origin, asked
        self._walk = _Walk(index, origin, asked)
        self._entries: list[MergedEntry] = []
        self._after = asked.place.after

    async def page(self) -> MergedPage:
        """Merge the origin's pages until this one is full, the origin's end is reached, or the requests are used up."""
        page, listed = await self._first_of_both()
        own = [_of_index(one) for one in listed]
        while True:
            known, own = _parted(own, page)
            merge = await self._merge(page, known)
            following = await self._take(merge)
            if following is not None:
                return MergedPage(self._entries, following)
            if not page.truncated:
                return MergedPage(self._entries, None)
            if len(self._entries) == self._asked.limit:
                return MergedPage(self._entries, Place(self._entries[-1][0]))
            token = ""
            if page.entries:
                self._after = page.entries[-1][0]
            else:
                token = page.token
            if not self._origin.requests_left:
                probe = self._asked.place.probe if self._after == self._asked.place.after else ""
                return MergedPage(self._entries, Place(self._after, probe, token))
            page = await self._origin.page(self._asked.delimiter, self._after, token)

    async def _first_of_both(self) -> tuple[OriginPage, Sequence[ListedObject | ListedPrefix]]:
        """Index and origin at the same time."""
        asked = self._asked
        own = asyncio.ensure_future(_own(self._index, asked))
        try:
            page = await self._origin.page(asked.delimiter, asked.place.after, asked.place.origin_token)
        except BaseException:
            own.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await own
            raise
        return page, await own

    async def _merge(self, page: OriginPage, own: list[MergedEntry]) -> _Merge:
        """The origin's page and what the index has up to its horizon, with all that the index says of the origin's names."""
        known = dict(own)
        keys = [name for name, fields in page.entries if fields is not None and name not in known]
        prefixes = [name for name, fields in page.entries if fields is None and name not in known]
        decided = await self._index.decided_among(self._asked.bucket, keys) if keys else {}
        # Written since the index was listed: what the origin has under such a key may be what was deleted before.
        known |= {key: written for key, written in decided.items() if written is not None}
        deleted = frozenset(key for key, written in decided.items() if written is None)
        doubtful = await self._index.prefixes_with_tombstones(self._asked.bucket, prefixes) if prefixes else frozenset()
        return _Merge(page, known, deleted, doubtful)

    async def _take(self, merge: _Merge) -> Place | None:
        """Take entries until the page is full, or a prefix cannot be judged any more: then the place to go on from."""
        while (name := merge.next_doubtful_or_full(self._entries, self._asked.limit)) is not None:
            if len(self._entries) == self._asked.limit:
                return Place(self._entries[-1][0])
            is_live = await self._walk.find_live(name, previous=merge.before(name) or self._after)
            if is_live is None:
                return Place(merge.position or self._after, probe=self._walk.reached(name))
            merge.judge(name, is_live=is_live)
        return None


def _parted(own: list[MergedEntry], page: OriginPage) -> tuple[list[MergedEntry], list[MergedEntry]]:
    """What the index has up to the horizon of the origin's page, and beyond."""
    if not page.truncated:
        return own, []
    if not page.entries:
        return [], own
    horizon = bisect_right(own, page.entries[-1][0], key=_name)
    return own[:horizon], own[horizon:]


def _name(entry: MergedEntry) -> str:
    return entry[0]


class _Merge:
    """A page of the origin and what the index has up to its horizon: pure."""

    def __init__(
        self,
        page: OriginPage,
        known: dict[str, str | ListedObject | None],
        deleted: frozenset[str],
        doubtful: frozenset[str],
    ) -> None:
        self._theirs, self._known = dict(page.entries), known
        self._hidden, self._doubtful = set(deleted), set(doubtful)
        self._their_names = [*self._theirs]
        # Two runs that are in order already: one comparison for each name.
        self._names = sorted([*self._their_names, *known])
        self._next = 0
        self.position = ""

    def next_doubtful_or_full(self, entries: list[MergedEntry], limit: int) -> str | None:
        """Append what is live to `entries`; stops at the name that does not fit any more, and at one that must be judged first.

        None at the end. `position` is then, as at a stop, the last name that is dealt with.
        """
        while self._next < len(self._names):
            name = self._names[self._next]
            if name == self.position or name in self._hidden:
                self.position = name
                self._next += 1
                continue
            if len(entries) == limit or name in self._doubtful:
                return name
            entries.append(self._entry(name))
            self.position = name
            self._next += 1
        return None

    def _entry(self, name: str) -> MergedEntry:
        if name not in self._known:
            return name, self._theirs[name]
        known = self._known[name]
        if isinstance(known, ListedObject) and known.provenance is Provenance.COPIED_FROM_ORIGIN:
            theirs = self._theirs.get(name)
            # The fields of an entry are without its key, so nothing in them but the ETag looks like one.
            if theirs is not None and known.etag in theirs:
                return name, theirs
        return name, known

    def before(self, name: str) -> str:
        """The origin's entry before this one of its entries; empty where it is the first."""
        place = bisect_left(self._their_names, name)
        return self._their_names[place - 1] if place else ""

    def judge(self, name: str, *, is_live: bool) -> None:
        """What became of a doubtful prefix."""
        self._doubtful.discard(name)
        if not is_live:
            self._hidden.add(name)


class _Walk:
    """The origin's keys without delimiter, as far as they had to be read to judge common prefixes, in ascending order."""

    def __init__(self, index: ListingIndex, origin: _Origin, asked: Asked) -> None:
        self._index, self._origin, self._asked = index, origin, asked
        self._reached, self._token, self._ended = "", "", False
        self._live: set[str] = set()

    async def find_live(self, prefix: str, *, previous: str) -> bool | None:
        """Whether a live key lies below `prefix`; None where the requests do not suffice to tell.

        `previous` is an entry of the listing before it, with none of the origin's between the two.
        """
        while prefix not in self._live:
            if self._ended or (self._reached > prefix and not self._reached.startswith(prefix)):
                return False
            if not self._origin.requests_left:
                return None
            start = max(self.reached(prefix), self._behind(previous))
            if start > self._reached:
                self._reached, self._token = start, ""
            await self._step()
        return True

    def reached(self, prefix: str) -> str:
        """The place up to which nothing live was found below `prefix`, empty for none; what an earlier page found counts."""
        probe = self._asked.place.probe
        return max(self._reached, probe) if probe < prefix or probe.startswith(prefix) else self._reached

    async def _step(self) -> None:
        page = await self._origin.page("", self._reached, self._token)
        keys = [name for name, _ in page.entries]
        decided = await self._index.decided_among(self._asked.bucket, keys) if keys else {}
        for key in keys:
            if decided.get(key, key) is not None:
                prefix = common_prefix(key, self._asked.prefix, self._asked.delimiter)
                if prefix is not None:
                    self._live.add(prefix)
        if keys:
            self._reached, self._token = keys[-1], ""
        else:
            self._token = page.token
        self._ended = not page.truncated

    def _behind(self, name: str) -> str:
        """A place before every key of the next common prefix, and behind most of what belongs to `name`.

        The keys of a common prefix are passed over by counting its last character up: no other common prefix can end like that.
        """
        passed = common_prefix(name, self._asked.prefix, self._asked.delimiter)
        if passed is None or passed[-1] == "\U0010ffff":
            return name
        last = "\ue000" if passed[-1] == "\ud7ff" else chr(ord(passed[-1]) + 1)
        place = passed[:-1] + last
        return place if len(place.encode()) <= KEY_BYTES_MAX else name
