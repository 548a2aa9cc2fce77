"""The index made again from a chat: snapshots, and how a recovery begins, is broken off and ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from addon.index.sql_index import open_index
from addon.store.ports import IndexUnavailable, TelegramUnavailable
from addon.store.records import ObjectRecord
from addon.store.recovery import Progress
from tests.standin_fixture import CHANNEL
from tests.store.saved_index import Lab, saved_index


class Stopped(Exception):
    """The process was."""


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("again.db*"))


async def keys_of(path: Path) -> list[str]:
    index = await open_index(f"sqlite:///{path}")
    try:
        return [one.key for one in await index.objects_after("images", prefix="", after="", limit=1000)]
    finally:
        await index.close()


async def test_the_newest_snapshot_comes_back(tmp_path: Path) -> None:
    async with saved_index(tmp_path) as lab:
        for number in range(10):
            await lab.put(f"key-{number}")
        await lab.index.delete_object("images", "key-3", now_s=5.0)
        taken = await lab.snapshots.take()
        recovered = await lab.recover()
        assert (recovered.objects, recovered.tombstones) == (9, 1)
        assert not recovered.unreadable
        again = await open_index(f"sqlite:///{tmp_path}/again.db")
        for number in range(10):
            assert await again.key_state("images", f"key-{number}") == await lab.index.key_state(
                "images", f"key-{number}"
            )
        assert await again.identity() == await lab.index.identity()
        assert await again.number() > await lab.index.number()
        (known,) = await again.snapshots()
        assert (known.snapshot_id, known.pinned) == (taken.snapshot_id, True)
        assert {one.message_id for one in known.documents} == {one.message_id for one in taken.documents}
        after = await lab.another(again).take()
        assert after.pinned, "the recovered index goes on as the one that it was"
        await again.close()


async def test_a_broken_snapshot_is_left_for_the_one_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with saved_index(tmp_path) as lab:
        taken = []
        for number in range(3):
            await lab.put(f"key-{number}")
            taken.append(await lab.snapshots.take())
        for one in taken[1:]:
            await damage(lab, one.parts[0].document.message_id)
        await lab.recover()
        assert await keys_of(tmp_path / "again.db") == ["key-0"]
        assert caplog.text.count("cannot be used") == 2


async def test_a_broken_root_leads_to_the_one_before_by_its_caption(tmp_path: Path) -> None:
    async with saved_index(tmp_path) as lab:
        await lab.put("key-0")
        await lab.snapshots.take()
        await lab.put("key-1")
        second = await lab.snapshots.take()
        assert second.root is not None
        await damage(lab, second.root.message_id)
        await lab.recover()
        assert await keys_of(tmp_path / "again.db") == ["key-0"]


async def damage(lab: Lab, message_id: int) -> None:
    """Put other bytes of the same length in the place of a document's."""
    state = lab.world.standin.control.state()["chats"][str(CHANNEL)]
    (message,) = [one for one in state["messages"] if one["message_id"] == message_id]
    folder = lab.folder / "standin"
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_size == message["document"]["size"]:
            content = path.read_bytes()
            path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


async def test_an_index_that_holds_something_is_not_overwritten(tmp_path: Path) -> None:
    async with saved_index(tmp_path) as lab:
        await lab.put("key")
        await lab.snapshots.take()
        with pytest.raises(IndexUnavailable, match="put it aside"):
            await lab.recover("tgstore.db")
        assert await keys_of(tmp_path / "tgstore.db") == ["key"]


async def test_an_empty_index_is_overwritten_unless_a_proxy_runs_on_it(tmp_path: Path) -> None:
    async with saved_index(tmp_path) as lab:
        await lab.put("key")
        await lab.snapshots.take()
        empty = await open_index(f"sqlite:///{tmp_path}/again.db")
        await empty.proxy_seen("a proxy", now_s=4_000_000_000.0)
        with pytest.raises(IndexUnavailable, match="a proxy runs"):
            await lab.recover()
        await empty.proxy_gone("a proxy")
        await empty.close()
        await lab.recover()
        assert await keys_of(tmp_path / "again.db") == ["key"]


async def test_what_was_broken_off_keeps_the_index_from_opening_and_goes_on(tmp_path: Path) -> None:
    async with saved_index(tmp_path) as lab:
        await lab.put("key")
        await lab.snapshots.take()
        for number in range(250):
            await lab.world.send(b"not ours", f"doc-{number}")

        def stop(progress: Progress) -> None:
            if progress.read >= 100:
                raise Stopped

        first = 0
        with pytest.raises(Stopped):
            await lab.recover(report=stop)
        first = len(lab.world.calls("forwardmessage"))
        with pytest.raises(IndexUnavailable, match="tgstore recover"):
            await open_index(f"sqlite:///{tmp_path}/again.db")
        recovered = await lab.recover()
        assert recovered.foreign == 250
        assert len(lab.world.calls("forwardmessage")) < first + 250, "what was read is not read again"
        assert await keys_of(tmp_path / "again.db") == ["key"]


async def test_a_recovery_that_was_stopped_before_it_had_decided_anything_begins_anew(tmp_path: Path) -> None:
    async with saved_index(tmp_path) as lab:
        await lab.put("key")
        await lab.snapshots.take()
        (tmp_path / "again.db.recovering").write_bytes(b"")
        await lab.recover()
        assert await keys_of(tmp_path / "again.db") == ["key"]


async def test_an_empty_chat_gives_an_empty_index(tmp_path: Path) -> None:
    async with saved_index(tmp_path) as lab:
        recovered = await lab.recover()
        assert (recovered.objects, recovered.documents) == (0, 0)
        assert not lab.world.messages()


async def test_a_chat_that_does_not_answer_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    async with saved_index(tmp_path) as lab:
        await lab.put("key")
        await lab.snapshots.take()
        lab.world.standin.control.chat("kick", CHANNEL)
        with pytest.raises(TelegramUnavailable):
            await lab.recover()
        assert not files(tmp_path)
        lab.world.standin.control.chat("unkick", CHANNEL)
        await lab.recover()
        again = await open_index(f"sqlite:///{tmp_path}/again.db")
        assert isinstance(await again.key_state("images", "key"), ObjectRecord)
        await again.close()


async def test_looking_changes_nothing(tmp_path: Path) -> None:
    async with saved_index(tmp_path) as lab:
        await lab.put("key")
        await lab.snapshots.take()
        messages = lab.world.messages()
        async with lab.recovering() as recovery:
            outlook = await recovery.look()
        assert outlook.snapshot is not None
        assert outlook.snapshot.mark.objects == 1
        assert outlook.messages_per_min == 60_000
        assert lab.world.messages() == messages
        assert not files(tmp_path)
