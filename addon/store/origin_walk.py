"""A walk through the origin's whole listing, in pages that always get on.

The next page is asked for by the last key that was seen, not by the origin's token: so a walk can go on after a restart, a page
that comes twice shows nothing twice, and a listing that does not get on ends the walk instead of going round for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass

from addon.s3.listing_request import LISTED_MAX
from addon.s3.origin_listing import OriginPage, OriginQuery, entry_of
from addon.store.origin_pages import origin_page
from addon.store.ports import Origin, OriginUnavailable

# A page may be empty and lead on by its token, for example behind many deleted versions; more than so many in a row lead nowhere.
EMPTY_PAGES_MAX = 1000
# How often a page is asked for before the walk gives up, and the pauses between, which double.
ATTEMPTS_MAX = 8
PAUSE_S_MIN, PAUSE_S_MAX = 0.5, 30.0

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class WalkedKey:
    """A key as the origin lists it."""

    key: str
    size: int
    etag: str
    storage_class: str


@dataclass(frozen=True, slots=True)
class WalkedPage:
    """All the keys behind `after`, up to and with `until`; that is None where the listing ends here."""

    keys: list[WalkedKey]
    after: str
    until: str | None


async def walk(
    origin: Origin, *, prefix: str = "", after: str = "", sleep: Sleep = asyncio.sleep
) -> AsyncGenerator[WalkedPage, None]:
    """The keys below `prefix` behind `after`, page by page. Raises `OriginRefused`, and `OriginUnavailable` where the origin fails
    again and again, or its listing does not get on."""
    empty = 0
    token = ""
    while True:
        page = await _page(origin, OriginQuery(prefix, "", after, LISTED_MAX, token=token), sleep)
        entries = [(key, fields) for key, fields in page.entries if key > after and fields is not None]
        keys = [_walked(key, fields) for key, fields in entries]
        if not page.truncated:
            yield WalkedPage(keys, after, None)
            return
        if keys:
            yield WalkedPage(keys, after, keys[-1].key)
            after, token, empty = keys[-1].key, "", 0
            continue
        empty += 1
        if page.token in ("", token) or empty > EMPTY_PAGES_MAX:
            raise OriginUnavailable("the origin's listing does not get on: it is truncated and shows no further key")
        token = page.token


def _walked(key: str, fields: str) -> WalkedKey:
    try:
        entry = entry_of(fields)
    except ValueError as reason:
        raise OriginUnavailable(f"the origin lists a key without what is to be said of it: {reason}") from None
    return WalkedKey(key, entry.size, entry.etag, entry.storage_class)


async def _page(origin: Origin, query: OriginQuery, sleep: Sleep) -> OriginPage:
    pause_s = PAUSE_S_MIN
    for _ in range(ATTEMPTS_MAX - 1):
        try:
            return await origin_page(origin, query)
        except OriginUnavailable as failure:
            await sleep(max(pause_s, min(failure.retry_after_s or 0.0, PAUSE_S_MAX)))
            pause_s = min(2 * pause_s, PAUSE_S_MAX)
    return await origin_page(origin, query)
