"""The contract of the port `Index`: objects, tombstones, documents, writes to the origin."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from addon.store.ports import Index, WriteOutcome
from addon.store.records import CopyOrder, CopyState, ObjectRecord, Tombstone
from tests.index.samples import BUCKET, document, new_copy, new_object


async def garbage_ids(index: Index) -> list[str]:
    return [document.document_id for document in await index.garbage(limit=1000)]


async def put_copy(index: Index, key: str, *names: str, etag: str = "copied") -> ObjectRecord:
    await index.enqueue_copies([CopyOrder(BUCKET, key, False)], now_s=0)
    job = await index.lease_copy(now_s=0, lease_s=60)
    assert job is not None
    record = await index.commit_copy(job, new_copy(key, *names, etag=etag))
    assert record is not None
    return record


async def test_nothing_is_known_of_a_key_that_was_never_written(index: Index) -> None:
    assert await index.key_state(BUCKET, "a") is None


@pytest.mark.parametrize("names", [(), ("d1",), ("d1", "d2"), ("d1", "d2", "d1"), tuple(f"d{n}" for n in range(300))])
async def test_an_object_reads_back_as_it_was_put(index: Index, names: tuple[str, ...]) -> None:
    new = new_object("a", *names)
    record = await index.put_object(new)
    assert record == await index.key_state(BUCKET, "a")
    for field in ("bucket", "key", "size", "etag", "last_modified_s", "provenance", "anonymous_read"):
        assert getattr(record, field) == getattr(new, field)
    assert list(record.headers.items()) == list(new.headers.items())
    assert record.checksums == new.checksums
    assert list(record.extents) == list(new.extents)


async def test_odd_characters_in_headers_survive(index: Index) -> None:
    new = new_object("a")
    headers = {"x-amz-meta-odd": "\0 \udcff é 😀 \x7f \"'\\"}
    record = await index.put_object(type(new)(**{f: getattr(new, f) for f in new.__slots__} | {"headers": headers}))
    state = await index.key_state(BUCKET, "a")
    assert isinstance(state, ObjectRecord)
    assert state.headers == record.headers == headers


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(keys=st.lists(st.text(max_size=8), min_size=1, max_size=8, unique=True))
async def test_every_unicode_text_is_a_key_of_its_own(index: Index, keys: list[str]) -> None:
    for number, key in enumerate(keys):
        await index.put_object(new_object(key, etag=str(number)))
    for number, key in enumerate(keys):
        state = await index.key_state(BUCKET, key)
        assert isinstance(state, ObjectRecord)
        assert (state.key, state.etag) == (key, str(number))


async def test_keys_that_look_alike_do_not_collide(index: Index) -> None:
    keys = ["é", "e\u0301", "a\0b", "a\0c", "a", "A", "a/", "/a", "a//b", "a/b", "\U0001f600", "\uffff", "", "x" * 1024]
    for key in keys:
        await index.put_object(new_object(key, etag=repr(key)))
    for key in keys:
        state = await index.key_state(BUCKET, key)
        assert isinstance(state, ObjectRecord)
        assert state.etag == repr(key)
    assert (await index.counts(BUCKET))["objects"] == len(keys)


async def test_a_key_that_is_not_unicode_text_is_a_mistake_of_the_caller(index: Index) -> None:
    with pytest.raises(ValueError, match="surrogates"):
        await index.put_object(new_object("\udc80"))
    with pytest.raises(ValueError, match="surrogates"):
        await index.key_state(BUCKET, "\udc80")


async def test_buckets_are_apart(index: Index) -> None:
    await index.put_object(new_object("a", "d1", bucket="one"))
    await index.delete_object("two", "a", now_s=5)
    assert isinstance(await index.key_state("one", "a"), ObjectRecord)
    assert isinstance(await index.key_state("two", "a"), Tombstone)
    assert (await index.counts("one"))["tombstones"] == 0
    assert (await index.counts("two"))["objects"] == 0


async def test_a_generation_grows_with_every_commit_and_never_repeats(index: Index) -> None:
    generations = []
    for _ in range(3):
        generations.append((await index.put_object(new_object("a"))).generation)
        generations.append((await index.put_object(new_object("b"))).generation)
        generations.append((await index.delete_object(BUCKET, "a", now_s=5)).generation)
        await index.supersede(BUCKET, "b")
    assert generations == sorted(set(generations))


async def test_a_put_replaces_and_leaves_the_former_documents_as_garbage(index: Index) -> None:
    await index.put_object(new_object("a", "d1", "shared"))
    await index.put_object(new_object("b", "shared"))
    await index.put_object(new_object("a", "d2"))
    assert await garbage_ids(index) == ["d1"]
    await index.delete_object(BUCKET, "b", now_s=5)
    assert sorted(await garbage_ids(index)) == ["d1", "shared"]


async def test_a_put_of_the_same_documents_keeps_them(index: Index) -> None:
    await index.put_object(new_object("a", "d1", "d2"))
    await index.put_object(new_object("a", "d2"))
    assert await garbage_ids(index) == ["d1"]


async def test_a_delete_leaves_a_tombstone_that_a_put_lifts(index: Index) -> None:
    await index.put_object(new_object("a", "d1"))
    tombstone = await index.delete_object(BUCKET, "a", now_s=1234.9)
    assert tombstone == await index.key_state(BUCKET, "a")
    assert (tombstone.bucket, tombstone.key, tombstone.deleted_at_s) == (BUCKET, "a", 1234)
    assert await garbage_ids(index) == ["d1"]
    await index.put_object(new_object("a", "d2"))
    assert isinstance(await index.key_state(BUCKET, "a"), ObjectRecord)


async def test_a_delete_of_an_unknown_key_leaves_a_tombstone_too(index: Index) -> None:
    await index.delete_object(BUCKET, "a", now_s=5)
    assert isinstance(await index.key_state(BUCKET, "a"), Tombstone)
    assert (await index.counts(BUCKET))["tombstones"] == 1


@pytest.mark.parametrize("deleted", [False, True])
async def test_supersede_forgets_object_and_tombstone(index: Index, deleted: bool) -> None:
    await index.put_object(new_object("a", "d1"))
    if deleted:
        await index.delete_object(BUCKET, "a", now_s=5)
    await index.supersede(BUCKET, "a")
    assert await index.key_state(BUCKET, "a") is None
    assert await garbage_ids(index) == ["d1"]


@pytest.mark.parametrize("change", ["put", "delete", "supersede"])
async def test_every_change_of_a_key_removes_its_job_and_pending_write(index: Index, change: str) -> None:
    await index.enqueue_copies([CopyOrder(BUCKET, "a", False)], now_s=0)
    await index.enqueue_copies([CopyOrder(BUCKET, "other", False)], now_s=0)
    await index.begin_origin_write(BUCKET, "a", now_s=0)
    await index.begin_origin_write(BUCKET, "other", now_s=0)
    if change == "put":
        await index.put_object(new_object("a"))
    elif change == "delete":
        await index.delete_object(BUCKET, "a", now_s=5)
    else:
        await index.supersede(BUCKET, "a")
    jobs = await index.copy_jobs(BUCKET, states=list(CopyState), limit=10)
    assert [job.key for job in jobs] == ["other"]
    assert not await index.has_origin_write(BUCKET, "a")
    assert await index.has_origin_write(BUCKET, "other")


async def test_added_documents_are_garbage_until_they_are_used(index: Index) -> None:
    await index.add_documents([document("d2"), document("d1"), document("d2")], now_s=7)
    await index.add_documents([document("d0")], now_s=8)
    await index.add_documents([document("d1")], now_s=9)
    assert await index.garbage(limit=10) == [document("d1"), document("d2"), document("d0")]
    assert await index.garbage(limit=2) == [document("d1"), document("d2")]
    await index.put_object(new_object("a", "d1"))
    assert await garbage_ids(index) == ["d2", "d0"]
    await index.add_documents([document("d1")], now_s=10)
    assert await garbage_ids(index) == ["d2", "d0"]


async def test_a_file_id_that_was_won_again_is_remembered(index: Index) -> None:
    await index.put_object(new_object("a", "d1"))
    await index.update_file_id("d1", bot_id=123456, file_id="won-again")
    await index.update_file_id("unknown", bot_id=123456, file_id="x")
    state = await index.key_state(BUCKET, "a")
    assert isinstance(state, ObjectRecord)
    assert (state.extents[0].document.bot_id, state.extents[0].document.file_id) == (123456, "won-again")


async def test_an_anonymous_read_is_granted_to_the_copy_with_this_etag_only(index: Index) -> None:
    await put_copy(index, "copy", etag="e1")
    await index.put_object(new_object("written", etag="e1"))
    await index.grant_anonymous_read(BUCKET, "copy", etag="other")
    assert not await is_anonymous(index, "copy")
    for key in ("copy", "written", "unknown"):
        await index.grant_anonymous_read(BUCKET, key, etag="e1")
    assert await is_anonymous(index, "copy")
    assert not await is_anonymous(index, "written")
    assert await index.key_state(BUCKET, "unknown") is None


async def is_anonymous(index: Index, key: str) -> bool:
    state = await index.key_state(BUCKET, key)
    assert isinstance(state, ObjectRecord)
    return state.anonymous_read


async def test_a_write_to_the_origin_is_known_until_it_has_ended(index: Index) -> None:
    first = await index.begin_origin_write(BUCKET, "a", now_s=0)
    second = await index.begin_origin_write(BUCKET, "a", now_s=0)
    assert first != second
    assert not await index.has_origin_write(BUCKET, "b")
    await index.end_origin_write(first, WriteOutcome.ACCEPTED)
    assert await index.has_origin_write(BUCKET, "a")
    await index.end_origin_write(second, WriteOutcome.REFUSED)
    assert not await index.has_origin_write(BUCKET, "a")
    await index.end_origin_write(second, WriteOutcome.ACCEPTED)


@pytest.mark.parametrize("outcome", WriteOutcome)
@pytest.mark.parametrize("held", ["copy", "written", "tombstone"])
async def test_the_end_of_a_write_to_the_origin_decides_what_stays(
    index: Index, outcome: WriteOutcome, held: str
) -> None:
    if held == "copy":
        await put_copy(index, "a", "d1")
    elif held == "written":
        await index.put_object(new_object("a", "d1"))
    else:
        await index.delete_object(BUCKET, "a", now_s=0)
    write_id = await index.begin_origin_write(BUCKET, "a", now_s=0)
    before = await index.key_state(BUCKET, "a")
    await index.end_origin_write(write_id, outcome)
    forgotten = outcome is WriteOutcome.ACCEPTED or (outcome is WriteOutcome.UNKNOWN and held == "copy")
    assert await index.key_state(BUCKET, "a") == (None if forgotten else before)
    assert await garbage_ids(index) == (["d1"] if forgotten and held != "tombstone" else [])


@pytest.mark.parametrize("outcome", WriteOutcome)
async def test_a_write_here_after_the_write_to_the_origin_began_stands(index: Index, outcome: WriteOutcome) -> None:
    write_id = await index.begin_origin_write(BUCKET, "a", now_s=0)
    record = await index.put_object(new_object("a", "d1"))
    await index.end_origin_write(write_id, outcome)
    assert await index.key_state(BUCKET, "a") == record


async def test_writes_that_were_cut_off_forget_copies_and_leave_what_was_written_here(index: Index) -> None:
    await put_copy(index, "copy", "d1")
    written = await index.put_object(new_object("written", "d2"))
    tombstone = await index.delete_object(BUCKET, "gone", now_s=0)
    untouched = await put_copy(index, "untouched", "d3")
    for key in ("copy", "written", "gone", "never-seen", "copy"):
        await index.begin_origin_write(BUCKET, key, now_s=0)
    assert await index.resolve_cut_off_origin_writes() == 5
    assert await index.resolve_cut_off_origin_writes() == 0
    assert await index.key_state(BUCKET, "copy") is None
    assert await index.key_state(BUCKET, "written") == written
    assert await index.key_state(BUCKET, "gone") == tombstone
    assert await index.key_state(BUCKET, "untouched") == untouched
    assert not await index.has_origin_write(BUCKET, "copy")
    assert await garbage_ids(index) == ["d1"]


async def test_check_writable_changes_nothing(index: Index) -> None:
    before = await index.put_object(new_object("a"))
    await index.check_writable()
    assert (await index.put_object(new_object("b"))).generation == before.generation + 1
