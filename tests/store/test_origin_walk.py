"""A walk through a listing, whatever the origin makes of it: a real HTTP server that answers as scripted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from urllib.parse import parse_qs, quote
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.store.origin_walk import ATTEMPTS_MAX, EMPTY_PAGES_MAX, WalkedPage, walk
from addon.store.ports import OriginRefused, OriginUnavailable
from tests.origin.raw_server import Received, answer, origin_at, raw_server

Script = Callable[[dict[str, str]], bytes]


def entry(key: str, size: object = 3) -> str:
    return f"<Contents><Key>{escape(key)}</Key><ETag>&quot;e-{escape(key)}&quot;</ETag><Size>{size}</Size></Contents>"


def page(*entries: str, truncated: bool = False, token: str = "") -> bytes:
    more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    told = f"<IsTruncated>{str(truncated).lower()}</IsTruncated>"
    return answer(200, body=f"<ListBucketResult>{told}{more}{''.join(entries)}</ListBucketResult>".encode())


async def walked(script: Script, *, prefix: str = "", after: str = "") -> tuple[list[WalkedPage], list[float]]:
    """The pages, and the pauses between attempts."""
    pauses: list[float] = []

    async def handle(received: Received, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        query = parse_qs(received.target.decode().partition("?")[2], keep_blank_values=True)
        writer.write(script({name: values[0] for name, values in query.items()}))

    async def sleep(duration_s: float) -> None:
        pauses.append(duration_s)

    async with raw_server(handle) as server, origin_at(server.port) as origin:
        pages = [one async for one in walk(origin, prefix=prefix, after=after, sleep=sleep)]
    return pages, pauses


def bucket(keys: Sequence[str], page_max: int) -> Script:
    """An origin that holds these keys and gives so many at once."""

    def list_keys(query: dict[str, str]) -> bytes:
        prefix, after = query.get("prefix", ""), query.get("start-after", "")
        left = [key for key in sorted(keys, key=str.encode) if key.startswith(prefix) and key > after]
        shown = left[: min(page_max, int(query["max-keys"]))]
        # encoding-type=url was asked for, and a server that heeds it says so.
        told = "<EncodingType>url</EncodingType>" + "".join(entry(quote(key, safe="")) for key in shown)
        return page(told, truncated=len(left) > len(shown), token="t" if len(left) > len(shown) else "")

    return list_keys


@given(
    keys=st.lists(st.text("ab/é\U0001f600 +", min_size=1, max_size=5), max_size=30, unique=True),
    page_max=st.integers(1, 7),
    prefix=st.sampled_from(["", "a", "é"]),
    after=st.sampled_from(["", "a", "b/"]),
)
@settings(max_examples=60, deadline=None)
def test_pages_are_the_whole_listing_once(keys: list[str], page_max: int, prefix: str, after: str) -> None:
    pages, _ = asyncio.run(walked(bucket(keys, page_max), prefix=prefix, after=after))
    found = [one.key for walked_page in pages for one in walked_page.keys]
    assert found == sorted((key for key in keys if key.startswith(prefix) and key > after), key=str.encode)
    assert pages[-1].until is None
    ends = [after, *(walked_page.until for walked_page in pages[:-1])]
    assert [walked_page.after for walked_page in pages] == ends, "each page begins where the one before ended"


async def test_what_is_listed_of_a_key() -> None:
    told = (
        "<Contents><Key>a</Key><LastModified>x</LastModified><ETag>&quot;abc-3&quot;</ETag><Size>12</Size>"
        "<StorageClass>GLACIER</StorageClass></Contents>"
    )
    (only,), _ = await walked(lambda _: page(told))
    (key,) = only.keys
    assert (key.key, key.size, key.etag, key.storage_class) == ("a", 12, "abc-3", "GLACIER")


@pytest.mark.parametrize(
    "listing",
    [
        page(entry("a"), truncated=True),  # the same page for ever
        page(truncated=True),
        page(truncated=True, token="same"),
        page(entry("b"), entry("a")),
        page(entry("a", size="many")),
        answer(200, body=b"<html>It works!</html>"),
        answer(200, body=b"<ListBucketResult><IsTruncated>false"),
        answer(503, "Retry-After: 1\r\n"),
    ],
)
async def test_a_listing_that_does_not_get_on_ends_the_walk(listing: bytes) -> None:
    with pytest.raises(OriginUnavailable):
        await walked(lambda _: listing)


async def test_empty_pages_for_ever_end_the_walk() -> None:
    asked = 0

    def never_ends(_: dict[str, str]) -> bytes:
        nonlocal asked
        asked += 1
        return page(truncated=True, token=f"t{asked}")

    with pytest.raises(OriginUnavailable, match="does not get on"):
        await walked(never_ends)
    assert asked == EMPTY_PAGES_MAX + 1


async def test_failures_are_tried_again_with_growing_pauses() -> None:
    left = [answer(500), answer(503, "Retry-After: 7\r\n"), answer(429), page(entry("a"))]
    (only,), pauses = await walked(lambda _: left.pop(0))
    assert [one.key for one in only.keys] == ["a"]
    assert pauses == [0.5, 7.0, 2.0]
    asked = 0

    def always_fails(_: dict[str, str]) -> bytes:
        nonlocal asked
        asked += 1
        return answer(500)

    with pytest.raises(OriginUnavailable, match="500"):
        await walked(always_fails)
    assert asked == ATTEMPTS_MAX


async def test_a_refusal_is_final() -> None:
    refused = answer(403, body=b"<Error><Code>AccessDenied</Code></Error>")
    with pytest.raises(OriginRefused, match="403 AccessDenied") as caught:
        await walked(lambda _: refused)
    assert (caught.value.status, caught.value.code) == (403, "AccessDenied")
