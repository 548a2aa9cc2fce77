"""A whole bucket is moved: real index, the stand-in as Telegram, moto as origin behind a relay that makes trouble."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from addon.config import Config, load_config
from addon.standin.server import StandIn
from addon.storage import Storage, command_storage, copy_limits
from addon.store.copier import Copier
from addon.store.migration import Amount
from addon.store.object_store import Description
from addon.store.records import CopyState, ObjectRecord, Tombstone
from addon.store.sweep import Sweeper, SweepLimits, SweepProgress
from tests.end_to_end.lab.origin import Origin as LabOrigin
from tests.end_to_end.lab.relay import Relay, Step
from tests.service.fixtures import OriginServer, moto, origin_server, quick_retries
from tests.service.product import IMAGES, ORIGIN_KEY, RELAXED, config_text, eventually
from tests.standin_fixture import running_standin

__all__ = ["moto", "origin_server", "quick_retries"]

THERE = "images-there"


@dataclass
class Moving:
    """What a run needs, and what it leaves behind."""

    config: Config
    storage: Storage
    standin: StandIn
    relay: Relay

    def sweeper(self, changed: Callable[[SweepProgress], None] = lambda _: None, **limits: Any) -> Sweeper:
        origin = self.storage.origins[IMAGES]
        assert origin is not None
        return Sweeper(
            bucket=IMAGES,
            index=self.storage.index,
            store=self.storage.store,
            origin=origin,
            copier=Copier(self.storage.store, self.storage.origins, copy_limits(self.config)),
            limits=SweepLimits(**limits),
            changed=changed,
        )

    async def moved(self) -> set[str]:
        records = await self.storage.index.objects_after(IMAGES, prefix="", after="", limit=1000)
        return {record.key for record in records}

    async def reasons(self) -> dict[str, tuple[CopyState, str]]:
        jobs = await self.storage.index.copy_jobs(IMAGES, states=list(CopyState), limit=1000)
        return {job.key: (job.state, job.reason) for job in jobs}

    def sent(self) -> int:
        return sum(entry["method"].lower() == "senddocument" for entry in self.standin.control.log())


@pytest.fixture
async def moving(
    tmp_path: Path, origin_server: OriginServer, quick_retries: None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Moving]:
    monkeypatch.setattr("addon.store.sweep.LOOK_S", 0.02)
    monkeypatch.setattr("addon.store.origin_walk.PAUSE_S_MIN", 0.01)
    relay = Relay(LabOrigin(f"http://127.0.0.1:{origin_server.port}", ORIGIN_KEY.access_key_id, ORIGIN_KEY.secret))
    port = int(relay.origin.endpoint.rpartition(":")[2])
    try:
        async with running_standin(tmp_path / "telegram", switches=RELAXED) as standin:
            path = tmp_path / "config.toml"
            path.write_text(config_text(standin.url, port))
            config = load_config(path, {})
            async with command_storage(config) as storage:
                yield Moving(config, storage, standin, relay)
    finally:
        relay.stop()


async def test_everything_moves_and_a_second_run_does_nothing(moving: Moving, origin_server: OriginServer) -> None:
    bodies = {f"k{number:02d}": b"x" * number for number in range(30)}
    for key, body in bodies.items():
        origin_server.put(key, body)
    done = await moving.sweeper(concurrency=4).run()
    assert done.listed == done.ordered == done.copied == Amount(30, sum(map(len, bodies.values())))
    assert (done.left, done.failed, done.skipped, done.walked) == (Amount(), 0, 0, True)
    assert await moving.moved() == set(bodies)
    facts = await moving.storage.index.bucket_facts(IMAGES)
    assert facts.sweep is not None
    assert facts.sweep.ended_at_s is not None
    assert facts.sweep.listed_objects == 30
    sent = moving.sent()
    again = await moving.sweeper().run()
    assert (again.listed.objects, again.ordered, again.copied) == (30, Amount(), Amount())
    assert moving.sent() == sent
    origin_server.put("later", b"new")
    assert (await moving.sweeper().run()).copied == Amount(1, 3)


async def test_what_was_decided_here_stays(moving: Moving, origin_server: OriginServer) -> None:
    for key in ("written", "deleted", "old"):
        origin_server.put(key, b"as it lay there")
    await write(moving, "written", b"newer")
    await moving.storage.index.delete_object(IMAGES, "deleted", now_s=5)
    assert (await moving.sweeper().run()).copied.objects == 1
    written = await moving.storage.index.key_state(IMAGES, "written")
    assert isinstance(written, ObjectRecord)
    assert written.etag == "newer"
    assert isinstance(await moving.storage.index.key_state(IMAGES, "deleted"), Tombstone)


async def test_a_delete_in_the_middle_of_a_copy_wins(moving: Moving, origin_server: OriginServer) -> None:
    origin_server.put("k", b"x" * 1000)
    release = threading.Event()
    moving.relay.script("GET", "k", Step(hold=release))
    run = asyncio.create_task(moving.sweeper().run())
    await asyncio.to_thread(moving.relay.wait_until_held)
    await moving.storage.index.delete_object(IMAGES, "k", now_s=5)
    release.set()
    await run
    assert isinstance(await moving.storage.index.key_state(IMAGES, "k"), Tombstone)


async def test_a_run_that_is_broken_off_goes_on_where_it_was(
    moving: Moving, origin_server: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("addon.store.origin_walk.LISTED_MAX", 3)
    keys = [f"k{number}" for number in range(40)]
    for key in keys:
        origin_server.put(key, b"abc")
    for stops_after in (1, 3, 5):
        reached = asyncio.Event()

        def changed(progress: SweepProgress, stops_after: int = stops_after, reached: asyncio.Event = reached) -> None:
            if progress.copied.objects >= stops_after:
                reached.set()

        run = asyncio.create_task(moving.sweeper(changed, concurrency=1).run())
        ended = asyncio.create_task(reached.wait())
        await asyncio.wait({run, ended}, return_when=asyncio.FIRST_COMPLETED)
        run.cancel()
        ended.cancel()
        await asyncio.gather(run, ended, return_exceptions=True)
        assert not [reason for state, reason in (await moving.reasons()).values() if state is CopyState.RUNNING]
    done = await moving.sweeper().run()
    assert await moving.moved() == set(keys)
    assert done.left == Amount()
    assert moving.sent() <= len(keys) + 3, "what was broken off is at most sent again"


async def test_a_prefix_and_a_limit_of_bytes(moving: Moving, origin_server: OriginServer) -> None:
    for key in ("a/1", "a/2", "a/3", "b/1"):
        origin_server.put(key, b"0123456789")
    some = await moving.sweeper(prefix="a/", bytes_max=15).run()
    assert (some.ordered, some.copied) == (Amount(2, 20), Amount(2, 20))
    assert await moving.moved() == {"a/1", "a/2"}
    assert (await moving.storage.index.bucket_facts(IMAGES)).sweep is None, "a prefix is no walk through everything"
    assert (await moving.sweeper(prefix="a/").run()).copied == Amount(1, 10)
    assert (await moving.sweeper(bytes_max=10).run()).copied == Amount(1, 10)
    assert await moving.moved() == {"a/1", "a/2", "a/3", "b/1"}


async def test_a_dry_run_changes_nothing(moving: Moving, origin_server: OriginServer) -> None:
    origin_server.put("a", b"abc")
    origin_server.put("b", b"abcd")
    await write(moving, "a", b"newer")
    counted = await moving.sweeper().count()
    assert (counted.listed, counted.ordered) == (Amount(2, 7), Amount(1, 4))
    assert await moving.reasons() == {}
    assert (await moving.storage.index.bucket_facts(IMAGES)).sweep is None


async def test_trouble_at_the_origin_is_recorded_and_the_rest_goes_on(
    moving: Moving, origin_server: OriginServer
) -> None:
    for key in ("broken", "cut", "denied", "fine", "gone", "page", "wrong etag"):
        origin_server.put(key, b"0123456789")
    moving.relay.script("GET", "broken", *[Step(status=0)] * 9)
    moving.relay.script("GET", "cut", Step(cut_at=3))
    moving.relay.script("GET", "denied", Step(status=403, body=b"<Error><Code>AccessDenied</Code></Error>"))
    moving.relay.script("GET", "gone", Step(status=404, body=b"<Error><Code>NoSuchKey</Code></Error>"))
    moving.relay.script(
        "GET", "page", *[Step(status=200, headers=(("Content-Type", "text/html"),), body=b"<html>")] * 9
    )
    moving.relay.script("GET", "wrong etag", *[Step(body=b"9876543210")] * 9)
    done = await moving.sweeper(concurrency=4).run()
    assert await moving.moved() == {"cut", "fine"}
    assert done.failed + done.skipped == 5
    reasons = await moving.reasons()
    assert set(reasons) == {"broken", "denied", "gone", "page", "wrong etag"}
    assert all(reason for _, reason in reasons.values())
    assert reasons["denied"] == (CopyState.FAILED, "the origin answered 403 AccessDenied")
    # Once what was wrong is mended, they are asked for again; a key that the origin lost is forgotten.
    origin_server.s3.delete_object(Bucket=THERE, Key="gone")
    moving.relay._steps.clear()
    again = moving.sweeper()
    await again.prepare([CopyState.FAILED, CopyState.SKIPPED])
    assert (await again.run()).retried == 5
    assert await moving.moved() == {"broken", "cut", "denied", "fine", "page", "wrong etag"}
    assert set(await moving.reasons()) == {"gone"}
    await moving.sweeper().run()
    assert await moving.reasons() == {}


async def test_where_a_proxy_runs_it_does_the_copying(moving: Moving, origin_server: OriginServer) -> None:
    origin_server.put("a", b"abc")
    index, store = moving.storage.index, moving.storage.store
    await index.proxy_seen("proxy", now_s=store.now_s())
    seen: list[SweepProgress] = []
    run = asyncio.create_task(moving.sweeper(seen.append).run())
    await eventually(lambda: seen and seen[-1].left.objects == 1)
    assert moving.sent() == 0
    job = await index.lease_copy(now_s=store.now_s(), lease_s=60)
    assert job is not None
    await Copier(store, moving.storage.origins, copy_limits(moving.config)).attempt(job)
    assert (await run).left == Amount()
    assert await moving.moved() == {"a"}


async def write(moving: Moving, key: str, body: bytes) -> None:
    """Upload past the service."""
    store = moving.storage.store
    async with store.upload(IMAGES, key, lambda _: None) as upload:
        await upload.write(body)
        await upload.seal()
        await store.commit(upload, IMAGES, key, Description(body.decode(), 1, False, {}, {}))
