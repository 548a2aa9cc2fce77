"""The merge against a model that knows everything at once: {origin, index, tombstones}."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.s3.listing_tokens import Place, marker_of, place_of_marker, place_of_token, token_of
from addon.s3.origin_listing import OriginPage, OriginQuery, common_prefix
from addon.store.listed import ListedObject, ListedPrefix
from addon.store.merged_listing import Asked, MergedEntry, MergedPage, merged_page
from addon.store.ports import IndexUnavailable, OriginUnavailable
from addon.store.records import Provenance

HERE, COPY, DELETED = "here", "copy", "deleted"
# A copy of what the origin had before it was changed behind our back.
OLD_COPY = "old copy"
ETAG = "theirs"
PAGES_MAX = 3000


def rolled_up(keys: Iterable[str], prefix: str, delimiter: str, after: str) -> list[tuple[str, str | None]]:
    """(name, key) in UTF-8 byte order, None for a common prefix: what S3 says a listing is."""
    names: dict[str, str | None] = {}
    for key in keys:
        if key.startswith(prefix):
            group = common_prefix(key, prefix, delimiter)
            names[group or key] = None if group else key
    order = sorted(names, key=lambda name: name.encode())
    return [(name, names[name]) for name in order if name.encode() > after.encode()]


def object_of(key: str, provenance: Provenance, etag: str) -> ListedObject:
    return ListedObject(key, 1, etag, 0, "STANDARD", provenance)


@dataclass
class ModelIndex:
    """The index as its port describes it."""

    states: dict[str, str]
    asked: list[tuple[str, int]] = field(default_factory=list)
    fails: bool = False

    async def list_objects(
        self, bucket: str, *, prefix: str, delimiter: str, after: str, limit: int
    ) -> Sequence[ListedObject | ListedPrefix]:
        if self.fails:
            raise IndexUnavailable("down")
        live = [key for key, state in self.states.items() if state != DELETED]
        return [
            ListedPrefix(name) if key is None else self.listed(key)
            for name, key in rolled_up(live, prefix, delimiter, after)
        ][:limit]

    async def decided_among(self, bucket: str, keys: Sequence[str]) -> Mapping[str, ListedObject | None]:
        assert 0 < len(keys) <= 1000
        self.asked.append(("keys", len(keys)))
        return {key: self.listed(key) if self.states[key] != DELETED else None for key in keys if key in self.states}

    def listed(self, key: str) -> ListedObject:
        state = self.states[key]
        provenance = Provenance.WRITTEN_HERE if state == HERE else Provenance.COPIED_FROM_ORIGIN
        return object_of(key, provenance, "old" if state == OLD_COPY else ETAG)

    async def prefixes_with_tombstones(self, bucket: str, prefixes: Sequence[str]) -> frozenset[str]:
        assert 0 < len(prefixes) <= 1000
        gone = [key for key, state in self.states.items() if state == DELETED]
        return frozenset(prefix for prefix in prefixes if any(key.startswith(prefix) for key in gone))


@dataclass
class ModelOrigin:
    """A bucket that gives at most `page_max` entries at once.

    `repeats` makes it give a common prefix again while keys of it follow the start-after; with `pauses` each second page of its
    is empty and truncated, and leads on by its token.
    """

    keys: frozenset[str]
    page_max: int = 1000
    repeats: bool = False
    pauses: bool = False
    requests: list[OriginQuery] = field(default_factory=list)

    async def fetch(self, query: OriginQuery) -> OriginPage:
        await asyncio.sleep(0)
        self.requests.append(query)
        if self.pauses and not query.token:
            return OriginPage([], True, f"token:{query.after}")
        after = query.token.removeprefix("token:") if query.token else query.after
        if self.repeats:
            names = rolled_up((key for key in self.keys if key > after), query.prefix, query.delimiter, "")
        else:
            names = rolled_up(self.keys, query.prefix, query.delimiter, after)
        size = min(query.max_keys, self.page_max)
        return OriginPage([(name, key and f"{ETAG}:{key}") for name, key in names[:size]], len(names) > size)


def expected(origin: Iterable[str], states: dict[str, str], asked: Asked) -> list[tuple[str, str | None]]:
    """Names, with whose entry it is."""
    origin = set(origin)
    live = {key for key in origin if key not in states} | {key for key, state in states.items() if state != DELETED}

    def whose(key: str | None) -> str | None:
        if key is None:
            return None
        return "theirs" if key in origin and states.get(key) in (None, COPY) else "ours"

    return [(name, whose(key)) for name, key in rolled_up(live, asked.prefix, asked.delimiter, asked.place.after)]


def shown(entries: Iterable[MergedEntry]) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    for name, about in entries:
        if isinstance(about, ListedObject):
            assert about.key == name
            found.append((name, "ours"))
        else:
            assert about in (None, f"{ETAG}:{name}")
            found.append((name, about and "theirs"))
    return found


async def all_pages(
    index: ModelIndex, origin: ModelOrigin | None, asked: Asked, *, requests_max: int = 8, further_keys: int = 1000
) -> list[MergedPage]:
    """As a client goes through them, each place once as a token and once as a marker on the way."""
    pages: list[MergedPage] = []
    while len(pages) < PAGES_MAX:
        before = len(origin.requests) if origin else 0
        page = await merged_page(
            index, origin.fetch if origin else None, asked, requests_max=requests_max, further_keys=further_keys
        )
        if origin is not None:
            assert len(origin.requests) - before <= requests_max
        assert len(page.entries) <= asked.limit
        pages.append(page)
        if page.following is None:
            return pages
        assert page.following != asked.place, "a page must get on"
        assert place_of_token(token_of(page.following)) == page.following
        marker = marker_of(page.following)
        assert (place_of_marker(marker) or Place(marker)) == page.following
        asked = Asked(asked.bucket, asked.prefix, asked.delimiter, page.following, asked.limit)
    raise AssertionError("the listing does not end")


TEXT = st.text(alphabet="ab/é\U0001f600", min_size=1, max_size=6)
KEYS = st.one_of(TEXT, st.builds("{}/{}".format, st.sampled_from("abc"), TEXT))
STATES = st.sampled_from([HERE, COPY, OLD_COPY, DELETED, DELETED, DELETED])


@st.composite
def worlds(draw: st.DrawFn) -> tuple[frozenset[str], dict[str, str]]:
    keys = draw(st.lists(KEYS, max_size=40, unique=True))
    origin, states = set(), {}
    for key in keys:
        where = draw(st.sampled_from(["origin", "origin", "index", "both", "both", "both"]))
        if where != "index":
            origin.add(key)
        if where != "origin":
            states[key] = draw(STATES)
    return frozenset(origin), states


@given(
    world=worlds(),
    prefix=st.sampled_from(["", "a", "a/", "é", "b/a"]),
    delimiter=st.sampled_from(["", "/", "a", "//", "/a"]),
    after=st.one_of(st.just(""), KEYS),
    limit=st.integers(1, 5),
    page_max=st.integers(2, 6),
    further_keys=st.integers(2, 6),
    requests_max=st.integers(2, 6),
    repeats=st.booleans(),
    pauses=st.booleans(),
)
@settings(max_examples=600, deadline=None)
def test_all_pages_together_are_the_listing_and_each_gets_on(
    world: tuple[frozenset[str], dict[str, str]],
    prefix: str,
    delimiter: str,
    after: str,
    limit: int,
    page_max: int,
    further_keys: int,
    requests_max: int,
    repeats: bool,
    pauses: bool,
) -> None:
    keys, states = world
    if pauses:
        # Twice the requests for the same: the listing's page and the walk's first step must fit.
        requests_max = max(requests_max, 4)
    origin = ModelOrigin(keys, page_max=page_max, repeats=repeats, pauses=pauses)
    asked = Asked("bucket", prefix, delimiter, Place(after), limit)
    pages = asyncio.run(
        all_pages(ModelIndex(states), origin, asked, requests_max=requests_max, further_keys=further_keys)
    )
    assert [entry for page in pages for entry in shown(page.entries)] == expected(keys, states, asked)
    assert all(query.prefix == prefix for query in origin.requests)


@given(world=worlds(), delimiter=st.sampled_from(["", "/"]), limit=st.integers(1, 5))
@settings(deadline=None)
def test_without_an_origin_the_index_is_the_listing(
    world: tuple[frozenset[str], dict[str, str]], delimiter: str, limit: int
) -> None:
    states = world[1]
    asked = Asked("bucket", "", delimiter, Place(), limit)
    pages = asyncio.run(all_pages(ModelIndex(states), None, asked))
    assert [entry for page in pages for entry in shown(page.entries)] == expected([], states, asked)
    assert all(len(page.entries) == limit for page in pages[:-1])


def numbered(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number:05}" for number in range(count)]


async def test_a_page_of_the_origin_alone_costs_one_request_and_ends_where_the_origin_does() -> None:
    keys = numbered("k", 1500)
    origin = ModelOrigin(frozenset(keys))
    pages = await all_pages(ModelIndex({}), origin, Asked("bucket", "", "", Place(), 1000))
    assert [len(page.entries) for page in pages] == [1000, 500]
    assert len(origin.requests) == 2
    exact = ModelOrigin(frozenset(keys[:10]))
    assert (await all_pages(ModelIndex({}), exact, Asked("bucket", "", "", Place(), 10)))[0].following is None
    assert [query.max_keys for query in exact.requests] == [11]


async def test_three_thousand_deleted_keys_in_a_row_cost_a_few_requests_also_for_small_pages() -> None:
    gone = numbered("k", 3000)
    origin = ModelOrigin(frozenset([*gone, "z"]))
    index = ModelIndex(dict.fromkeys(gone, DELETED))
    pages = await all_pages(index, origin, Asked("bucket", "", "", Place(), 1))
    assert [shown(page.entries) for page in pages] == [[("z", "theirs")]]
    assert len(origin.requests) == 4


async def test_a_page_that_used_up_its_requests_is_short_and_the_next_goes_on_behind_it() -> None:
    gone = numbered("k", 10_000)
    origin = ModelOrigin(frozenset([*gone, "z"]))
    index = ModelIndex(dict.fromkeys(gone, DELETED))
    pages = await all_pages(index, origin, Asked("bucket", "", "", Place(), 1000))
    assert [len(page.entries) for page in pages] == [0, 1]
    assert pages[0].following == Place("k07999")


async def test_a_thousand_small_folders_with_deleted_keys_are_judged_in_one_walk() -> None:
    keys = [f"{folder}/{name}" for folder in numbered("d", 1000) for name in ("gone", "here")]
    states = {key: DELETED for key in keys if key.endswith("gone") or key < "d00500"}
    origin = ModelOrigin(frozenset(keys))
    pages = await all_pages(ModelIndex(states), origin, Asked("bucket", "", "/", Place(), 1000))
    assert [name for page in pages for name, _ in page.entries] == [
        f"{folder}/" for folder in numbered("d", 1000)[500:]
    ]
    assert len(origin.requests) <= 4


async def test_a_live_folder_of_many_keys_is_passed_over_and_not_walked_through() -> None:
    large = numbered("a/", 50_000)
    origin = ModelOrigin(frozenset([*large, "b/1", "b/2", "c/1"]))
    states = {large[0]: DELETED, "b/1": DELETED, "c/1": DELETED}
    pages = await all_pages(ModelIndex(states), origin, Asked("bucket", "", "/", Place(), 1000))
    assert [shown(page.entries) for page in pages] == [[("a/", None), ("b/", None)]]
    assert [query.delimiter for query in origin.requests] == ["/", "", ""]


async def test_a_probe_goes_on_where_the_page_before_left_it() -> None:
    gone = numbered("a/", 30_000)
    origin = ModelOrigin(frozenset([*gone, "a/z", "b/1"]))
    index = ModelIndex(dict.fromkeys(gone, DELETED))
    pages = await all_pages(index, origin, Asked("bucket", "", "/", Place(), 10))
    assert [len(page.entries) for page in pages] == [0, 0, 0, 0, 2]
    assert pages[0].following == Place("", probe="a/06999")
    walked = [query.after for query in origin.requests if not query.delimiter]
    assert len(walked) == len(set(walked)), "no part is read twice"


async def test_a_probe_is_not_forgotten_over_empty_pages_of_the_origin() -> None:
    gone = numbered("a/", 30_000)
    origin = ModelOrigin(frozenset([*gone, "a/z", "b/1"]))
    index = ModelIndex(dict.fromkeys(gone, DELETED))

    async def fetch(query: OriginQuery) -> OriginPage:
        empty_pages = int(query.token or 0)
        if query.delimiter and empty_pages < 9:
            return OriginPage([], True, str(empty_pages + 1))
        return await origin.fetch(replace(query, token=""))

    asked, pages = Asked("bucket", "", "/", Place(), 10), []
    for _ in range(20):
        pages.append(await merged_page(index, fetch, asked))
        if pages[-1].following is None:
            break
        asked = replace(asked, place=pages[-1].following)
    assert [name for page in pages for name, _ in page.entries] == ["a/", "b/"]
    assert pages[-1].following is None


async def test_what_only_the_index_has_is_shown_beside_the_origins_page() -> None:
    states = {"b": HERE, "d": COPY, "a": HERE}
    pages = await all_pages(ModelIndex(states), ModelOrigin(frozenset("ac")), Asked("bucket", "", "", Place(), 10))
    assert [shown(page.entries) for page in pages] == [[("a", "ours"), ("b", "ours"), ("c", "theirs"), ("d", "ours")]]


async def test_a_key_that_is_written_while_its_bucket_is_listed_is_never_shown_as_the_origin_has_it() -> None:
    """It was deleted before, so what the origin has of it is out of date."""
    index = ModelIndex({"a": DELETED, "b": DELETED})

    async def fetch(query: OriginQuery) -> OriginPage:
        page = await ModelOrigin(frozenset("ab")).fetch(query)
        index.states["a"] = HERE
        return page

    page = await merged_page(index, fetch, Asked("bucket", "", "", Place(), 10))
    assert shown(page.entries) == [("a", "ours")]


@pytest.mark.parametrize(
    "page",
    [OriginPage([], True), OriginPage([("a", f"{ETAG}:a")], True)],
    ids=["truncated and empty", "the same page again"],
)
async def test_an_origin_that_does_not_get_on_is_an_error(page: OriginPage) -> None:
    async def fetch(query: OriginQuery) -> OriginPage:
        return page

    with pytest.raises(OriginUnavailable):
        await merged_page(ModelIndex({}), fetch, Asked("bucket", "", "", Place("a"), 10))


async def test_an_origin_whose_tokens_lead_in_a_circle_is_an_error() -> None:
    async def fetch(query: OriginQuery) -> OriginPage:
        return OriginPage([], True, "again")

    with pytest.raises(OriginUnavailable):
        await merged_page(ModelIndex({}), fetch, Asked("bucket", "", "", Place("", origin_token="again"), 10))


async def test_a_listing_is_not_given_out_without_the_origin_or_without_the_index() -> None:
    async def fetch(query: OriginQuery) -> OriginPage:
        raise OriginUnavailable("down")

    with pytest.raises(OriginUnavailable):
        await merged_page(ModelIndex({"a": HERE}), fetch, Asked("bucket", "", "", Place(), 10))
    with pytest.raises(IndexUnavailable):
        await merged_page(
            ModelIndex({}, fails=True), ModelOrigin(frozenset("a")).fetch, Asked("bucket", "", "", Place(), 10)
        )


async def test_index_and_origin_are_asked_at_the_same_time() -> None:
    both = asyncio.Barrier(2)

    class Index(ModelIndex):
        async def list_objects(
            self, bucket: str, *, prefix: str, delimiter: str, after: str, limit: int
        ) -> Sequence[ListedObject | ListedPrefix]:
            await both.wait()
            return []

    async def fetch(query: OriginQuery) -> OriginPage:
        await both.wait()
        return OriginPage([], False)

    async with asyncio.timeout(5):
        assert await merged_page(Index({}), fetch, Asked("bucket", "", "", Place(), 10)) == MergedPage([], None)
