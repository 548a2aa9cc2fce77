"""Nothing that lives is ever lost by garbage collection, and nothing that is dead is left by it: random histories of writes,
deletions, copies and parts, with runs of it in between that fail and are killed at any call.

What a message has of which the index never heard, because whoever sent it was killed before it was answered, is nobody's to erase.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from addon.config import load_config
from addon.storage import garbage_collection, open_storage
from addon.store.cache import DiskCache, MemoryCache
from addon.store.eraser import Erased
from addon.store.erasing import ErasureTerms
from addon.store.extent_ranges import ExtentRange
from addon.store.garbage import GarbageTerms
from addon.store.message_eraser import Ending
from addon.store.multipart import Completion, MultipartUpload, NewPart, PartFacts
from addon.store.object_store import Description
from addon.store.policies import BucketPolicies
from addon.store.ports import StoreError
from addon.store.reader import Admission, Reader
from addon.store.records import Extent, NewObject, ObjectRecord, Provenance
from addon.store.writer import Upload
from tests.service.product import ALONE, RELAXED, config_text, eventually
from tests.standin_fixture import running_standin

pytestmark = pytest.mark.slow

T = TypeVar("T")

LONG_RUN = "STATE_MACHINE_EXAMPLES"
EXAMPLES, STEPS = 12, 25
KEYS = tuple("abcdef")
OLD_S = 49 * 3600.0
THOROUGH = GarbageTerms(ErasureTerms(grace_s=0.0, kept_since_s=None), dead_share=0.0, thorough=True)
LAZY = GarbageTerms(ErasureTerms(grace_s=0.0, kept_since_s=None))
ABOUT = Description(etag="e", last_modified_s=1, anonymous_read=False, headers={}, checksums={})
TROUBLES = (
    {"kind": "http", "code": 500, "form": "json"},
    {"kind": "reset", "at": "before_answer"},
    {"kind": "reset", "at": "before_answer", "phase": "after"},
    {"kind": "wrong_json"},
)

keys = st.sampled_from(KEYS)
# Some share packs, one has a document of its own.
sizes = st.sampled_from((1, 50, 700, 3000, 9_000_000))


class GarbageMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="tgstore-garbage-"))
        self.outside, self.inside = AsyncExitStack(), AsyncExitStack()
        self.random = random.Random(1)
        self.written: list[bytes] = []
        self.objects: dict[str, bytes] = {}
        self.parts: dict[int, bytes] = {}
        self.upload_id = ""
        self.uploads_begun = 0
        self.stale: ObjectRecord | None = None
        self.known_messages: set[int] = set()
        self.pending: tuple[str, Upload, bytes, tuple[Extent, ...]] | None = None
        self.run(self._begin())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def _begin(self) -> None:
        self.standin = await self.outside.enter_async_context(
            running_standin(self.folder / "telegram", switches=replace(RELAXED, delete_kills_file=True))
        )
        (self.folder / "config.toml").write_text(config_text(self.standin.url, 1))
        await self._open()

    async def _open(self) -> None:
        config = load_config(self.folder / "config.toml", {})
        self.storage = await open_storage(config, self.inside, BucketPolicies({}))
        self.store, self.index = self.storage.store, self.storage.index
        no_disk = DiskCache(self.folder / "none", 0)
        self.store._reader = Reader(self.storage.documents, MemoryCache(0), no_disk, Admission(0, 0))
        self.garbage = garbage_collection(self.storage, self.store.forget_documents)

    async def _kill(self, running: asyncio.Task[None] | None = None) -> None:
        """The process ends: whatever was not committed by now is not, and nobody puts anything in order."""
        await self.index.close()
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        self.pending, self.stale = None, None
        await self.inside.aclose()
        self.standin.control.clear_faults()
        await self._open()

    def body(self, size: int) -> bytes:
        content = self.random.randbytes(size) if size > 1 else b"x"
        self.written.append(content)
        return content

    # --- Writes

    @rule(chosen=st.dictionaries(keys, sizes, min_size=1, max_size=4))
    def put(self, chosen: dict[str, int]) -> None:
        """At once, so that they share packs."""
        contents = {key: self.body(size) for key, size in chosen.items()}

        async def put_all() -> None:
            await asyncio.gather(*(self._put(key, content) for key, content in contents.items()))

        self.run(put_all())
        self.objects |= contents

    async def _put(self, key: str, content: bytes) -> None:
        async with self.store.upload(ALONE, key, lambda _: None) as upload:
            await upload.write(content)
            await upload.seal()
            await self.store.commit(upload, ALONE, key, ABOUT)

    @rule(key=keys, size=sizes, other=keys, other_size=sizes)
    def give_up(self, key: str, size: int, other: str, other_size: int) -> None:
        """An upload fails once its bytes are in Telegram, in one pack with another one."""
        contents = self.body(size), self.body(other_size)

        async def fail() -> None:
            async with self.store.upload(ALONE, key, lambda _: None) as upload:
                await upload.write(contents[0])
                await upload.seal()
                await self.store.send(upload, ALONE, key, ABOUT)

        async def both() -> None:
            await asyncio.gather(fail(), self._put(other, contents[1]))

        self.run(both())
        self.objects[other] = contents[1]

    @rule(key=keys)
    def delete(self, key: str) -> None:
        self.run(self.store.delete(ALONE, key))
        self.objects.pop(key, None)

    @rule(source=keys, key=keys)
    def copy(self, source: str, key: str) -> None:
        record = self.run(self.store.state(ALONE, source))
        if isinstance(record, ObjectRecord):
            self.run(self.index.copy_object(record, _described(key)))
            self.objects[key] = self.objects[source]

    @precondition(lambda self: self.pending is None)
    @rule(key=keys, size=sizes)
    def begin_write(self, key: str, size: int) -> None:
        """Its bytes are in Telegram, and it takes its time to be committed."""
        content = self.body(size)

        async def send() -> Upload:
            upload = self.store.upload(ALONE, key, lambda _: None)
            await upload.write(content)
            await upload.seal()
            return upload

        upload = self.run(send())
        extents: list[tuple[Extent, ...]] = []

        async def finish() -> None:
            await self.store.send(upload, ALONE, key, ABOUT)
            extents.append(tuple([await send for send in upload._sends]))

        self.run(finish())
        self.pending = key, upload, content, extents[0]

    @precondition(lambda self: self.pending is not None)
    @rule(is_given_up=st.booleans())
    def end_write(self, is_given_up: bool) -> None:
        assert self.pending is not None
        (key, upload, content, extents), self.pending = self.pending, None

        async def end() -> None:
            async with upload:
                if not is_given_up:
                    await self.index.put_object(replace(_described(key), size=len(content), extents=extents))
                    upload.committed()

        self.run(end())
        if not is_given_up:
            self.objects[key] = content

    # --- Parts

    @precondition(lambda self: not self.upload_id)
    @rule(key=keys)
    def begin_upload(self, key: str) -> None:
        self.uploads_begun += 1
        self.upload_id, self.upload_key = f"u{self.uploads_begun}", key
        upload = MultipartUpload(
            upload_id=self.upload_id,
            bucket=ALONE,
            key=key,
            initiated_at_s=1,
            headers={},
            anonymous_read=False,
            tags={},
            checksum_algorithm="crc32",
            checksum_type="FULL_OBJECT",
        )
        self.run(self.index.create_upload(upload))

    @precondition(lambda self: self.upload_id)
    @rule(number=st.integers(1, 3), size=sizes)
    def put_part(self, number: int, size: int) -> None:
        content = self.body(size)

        async def put() -> None:
            async with self.store.upload(ALONE, self.upload_key, lambda _: None) as upload:
                await upload.write(content)
                await upload.seal()
                await self.store.commit_part(upload, self.upload_id, number, md5_hex="m", checksums={})

        self.run(put())
        self.parts[number] = content

    @rule(source=keys)
    def look_at(self, source: str) -> None:
        """What is known of an object may be out of date when it is used."""
        record = self.run(self.store.state(ALONE, source))
        if isinstance(record, ObjectRecord):
            self.stale = record

    @precondition(lambda self: self.upload_id and self.stale is not None)
    @rule(number=st.integers(1, 3), start=st.integers(0, 2000), length=st.integers(1, 2000))
    def copy_part(self, number: int, start: int, length: int) -> None:
        """Of an object that was looked at a while ago."""
        assert self.stale is not None
        source = self.stale
        start = min(start, source.size - 1)
        length = min(length, source.size - start)
        content = self.objects.get(source.key, b"")[start : start + length]

        async def copy() -> None:
            cut = ExtentRange(source.extents, start, length)
            async for piece in self.store.read_here(source, start, length):
                cut.update(piece)
            part = NewPart(number, length, "m", {}, 1, cut.extents())
            await self.index.put_part(self.upload_id, part, source=source)

        with suppress(StoreError):
            self.run(copy())
            self.parts[number] = content

    @precondition(lambda self: self.upload_id and self.parts)
    @rule(leave_out=st.sets(st.integers(1, 3), max_size=2))
    def complete(self, leave_out: set[int]) -> None:
        async def chosen() -> list[PartFacts]:
            return [
                one for one in await self.index.parts(self.upload_id, after=0, limit=10) if one.number not in leave_out
            ]

        parts = self.run(chosen())
        if parts:
            completion = Completion(self.upload_id, tuple(parts), "e", {}, 1, "")
            self.run(self.index.complete_upload(completion))
            self.objects[self.upload_key] = b"".join(self.parts[part.number] for part in parts)
            self.upload_id, self.parts = "", {}

    @precondition(lambda self: self.upload_id)
    @rule()
    def abort(self) -> None:
        self.run(self.index.abort_upload(self.upload_id))
        self.upload_id, self.parts = "", {}

    # --- Garbage collection, and what may happen to it

    @rule(terms=st.sampled_from((THOROUGH, THOROUGH, LAZY)))
    def collect(self, terms: GarbageTerms) -> None:
        self.run(self.collected(terms))
        self.all_that_lives_is_there()

    async def collected(self, terms: GarbageTerms) -> list[Erased]:
        erased: list[Erased] = []
        await self.index.end_rests(now_s=self.store.now_s())
        await self.garbage.run(terms, lambda _: None, erased.append)
        return erased

    @rule(
        method=st.sampled_from(("deleteMessage", "editMessageMedia", "sendDocument", "getFile", "download", "*")),
        action=st.sampled_from(TROUBLES),
        times=st.sampled_from((1, 3, 40)),
    )
    def collect_in_trouble(self, method: str, action: dict[str, Any], times: int) -> None:
        self.standin.control.faults({"match": {"method": method}, "times": times, "action": action})
        with suppress(StoreError):
            self.run(self.collected(THOROUGH))
        self.standin.control.clear_faults()
        self.all_that_lives_is_there()

    @rule(number=st.integers(1, 12), phase=st.sampled_from(("before", "after")))
    def kill_while_collecting(self, number: int, phase: str) -> None:
        """At the call of this number."""
        hang = {"kind": "hang", "phase": phase}
        self.standin.control.faults({"match": {"method": "*", "nth": number}, "times": 1, "action": hang})

        async def kill() -> None:
            calls = len(self.standin.control.log())
            running = asyncio.create_task(self._collect_until_killed())
            await eventually(lambda: running.done() or len(self.standin.control.log()) - calls >= number)
            await self._kill(running)

        self.run(kill())
        self.all_that_lives_is_there()

    async def _collect_until_killed(self) -> None:
        await self.collected(THOROUGH)

    @rule()
    def restart(self) -> None:
        self.run(self._kill())

    @rule()
    def grow_old(self) -> None:
        """What is in Telegram by now can only be replaced."""
        self.standin.control.clock_advance(OLD_S)

    # --- What must hold

    @invariant()
    def look_at_the_index(self) -> None:
        with closing(sqlite3.connect(self.folder / "tgstore.db")) as connection:
            self.known_messages |= {row[0] for row in connection.execute("SELECT message_id FROM documents")}

    def all_that_lives_is_there(self) -> None:
        self.run(self._all_that_lives_is_there())

    async def _all_that_lives_is_there(self) -> None:
        for key in KEYS:
            record = await self.store.state(ALONE, key)
            if not isinstance(record, ObjectRecord):
                assert key not in self.objects
                continue
            assert await self._read(record) == self.objects[key], key
        for number, content in self.parts.items():
            extents = await self.index.part_extents(self.upload_id, number)
            assert await self._read(_record_of(extents)) == content

    async def _read(self, record: ObjectRecord) -> bytes:
        return b"".join([piece async for piece in self.store.read(record, 0, record.size)])

    def teardown(self) -> None:
        try:
            self.run(self._settled())
            self.run(self._nothing_dead_is_left())
        finally:
            self.run(self._end())
            self.runner.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    async def _settled(self) -> None:
        """Nothing holds anything up any more."""
        if self.pending is not None:
            async with self.pending[1]:
                pass
        self.pending = None
        await self._kill()

        async def nothing_waits() -> bool:
            erased = await self.collected(THOROUGH)
            assert all(one.ending is not Ending.FAILED for one in erased)
            plan = await self.index.erasure_plan(THOROUGH.erasure, now_s=self.store.now_s())
            leased = await self.index.garbage(limit=1)
            return not leased and not plan.partly_dead.objects

        await eventually(nothing_waits)

    async def _nothing_dead_is_left(self) -> None:
        await self._all_that_lives_is_there()
        live = [*self.objects.values(), *self.parts.values()]
        held = self._held()
        for content in self.written:
            if len(content) > 1 and not any(one in content or content in one for one in live):
                assert not any(content[:50] in found for found in held)

    def _held(self) -> list[bytes]:
        """The files of all messages that are there and of which the index ever knew."""
        self.look_at_the_index()
        assert self.standin._worlds is not None
        files = self.standin._worlds[0].files
        messages = [message for chat in self.standin.control.state()["chats"].values() for message in chat["messages"]]
        return [
            files.blob_path(files.document(message["document"]["id"])).read_bytes()
            for message in messages
            if "document" in message and message["message_id"] in self.known_messages
        ]

    async def _end(self) -> None:
        await self.inside.aclose()
        await self.outside.aclose()


def _described(key: str) -> NewObject:
    return NewObject(
        bucket=ALONE,
        key=key,
        size=0,
        etag="e",
        last_modified_s=1,
        provenance=Provenance.WRITTEN_HERE,
        anonymous_read=False,
        headers={},
        checksums={},
        extents=(),
    )


def _record_of(extents: Any) -> ObjectRecord:
    size = sum(extent.length for extent in extents)
    return ObjectRecord("parts", "of it", 0, size, "", 0, Provenance.WRITTEN_HERE, False, extents=extents)


def test_nothing_alive_is_lost_and_nothing_dead_is_left(quick_retries: None, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody has to be left any time here.
    monkeypatch.setattr("addon.store.eraser.PACE_S", 0.0)
    monkeypatch.setattr("addon.store.eraser.LEASE_S", 0.0)
    monkeypatch.setattr("addon.store.packer.SETTLE_S", 0.01)
    examples = int(os.environ.get(LONG_RUN, "0"))
    run_state_machine_as_test(
        GarbageMachine,
        settings=settings(
            max_examples=examples or EXAMPLES,
            stateful_step_count=STEPS,
            derandomize=not examples,
            phases=tuple(Phase) if examples else (Phase.explicit, Phase.generate),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
