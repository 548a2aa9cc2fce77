"""Copies of the index in Telegram: whole, pinned when they are there, and never over one that knows more."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from addon.index.sql_index import open_index
from addon.store.ports import TelegramUnavailable
from addon.store.records import ObjectRecord
from addon.store.snapshot_format import RootMark
from addon.store.snapshot_keeper import FIRST_AFTER_S, SnapshotKeeper
from addon.store.snapshots import MISSING_OBJECTS_MAX, UNFINISHED_S_MAX, why_not_pinned
from tests.standin_fixture import BOT_A, BOT_B, CHANNEL, OTHER_CHANNEL
from tests.store.saved_index import KEEP_S, saved_index

DAY_S = 86400.0


async def test_a_snapshot_is_the_index_as_it_was(tmp_path: Path) -> None:
    async with saved_index(tmp_path) as lab:
        for number in range(20):
            await lab.put(f"key-{number}")
        taken = await lab.snapshots.take()
        await lab.put("later")
        root = await lab.root()
        copy = tmp_path / "copy.db"
        copy.write_bytes(await lab.saved(root))
        index = await open_index(f"sqlite:///{copy}")
        assert taken.pinned
        assert taken.objects == root.objects == 20
        assert root.newest_messages == {CHANNEL: 1}
        assert isinstance(await index.key_state("images", "key-7"), ObjectRecord)
        assert await index.key_state("images", "later") is None
        assert await index.identity() == root.identity == await lab.index.identity()
        assert await index.number() == root.number
        await index.close()


async def test_what_speaks_of_running_processes_stays_out_of_it(tmp_path: Path) -> None:
    async with saved_index(tmp_path) as lab:
        await lab.index.proxy_seen("somebody", now_s=1.0)
        await lab.put("key")
        await lab.snapshots.take()
        copy = tmp_path / "copy.db"
        copy.write_bytes(await lab.saved(await lab.root()))
        with contextlib.closing(sqlite3.connect(copy)) as connection:
            assert connection.execute("SELECT count(*) FROM proxies").fetchone() == (0,)
            assert connection.execute("SELECT count(*) FROM keys").fetchone() == (1,)


async def test_a_large_index_is_cut_into_documents_of_unequal_sizes(tmp_path: Path) -> None:
    async with saved_index(tmp_path, document_bytes_max=80_000) as lab:
        for number in range(1200):
            await lab.put(f"key-{number}")
        taken = await lab.snapshots.take()
        lengths = [part.length for part in taken.parts]
        assert len(lengths) >= 3
        assert max(lengths) < 80_000
        assert len(set(lengths)) == len(lengths)
        assert (await lab.saved(await lab.root())).startswith(b"SQLite format 3\0")


async def test_the_newest_root_is_the_only_one_that_is_pinned_in_each_chat(tmp_path: Path) -> None:
    chats = (CHANNEL, OTHER_CHANNEL)
    async with saved_index(tmp_path, tokens=(BOT_A, BOT_B), chats=chats) as lab:
        await lab.put("key")
        first = await lab.snapshots.take()
        await lab.put("another")
        second = await lab.snapshots.take()
        for chat_id in chats:
            assert [mark.snapshot_id for mark in lab.pinned(chat_id)] == [second.snapshot_id]
            root = await lab.root(chat_id)
            assert [former.document_id for former in root.former] == [first.root and first.root.document_id]
            assert (await lab.saved(root)).startswith(b"SQLite format 3\0")
        assert lab.pinned()[0].former == (first.root and (first.root.chat_id, first.root.message_id))


async def test_a_message_that_somebody_else_pinned_stays_pinned(tmp_path: Path) -> None:
    async with saved_index(tmp_path) as lab:
        note = await lab.world.send(b"a note")
        await lab.snapshots._pins.pin(CHANNEL, from_chat_id=CHANNEL, message_id=note.message_id)
        await lab.put("key")
        await lab.snapshots.take()
        await lab.put("another")
        await lab.snapshots.take()
        pinned = lab.world.standin.control.state()["chats"][str(CHANNEL)]["pinned"]
        assert note.message_id in pinned
        assert len(pinned) == 2


@pytest.mark.parametrize("method", ["sendDocument", "pinChatMessage"])
async def test_a_stop_at_any_moment_leaves_the_former_root(tmp_path: Path, method: str) -> None:
    async with saved_index(tmp_path) as lab:
        await lab.put("key")
        first = await lab.snapshots.take()
        await lab.put("another")
        lab.world.faults({"kind": "unauthorized"}, method=method, times=None)
        with pytest.raises(TelegramUnavailable):
            await lab.snapshots.take()
        assert [mark.snapshot_id for mark in lab.pinned()] == [first.snapshot_id]
        assert (await lab.saved(await lab.root())).startswith(b"SQLite format 3\0")


MARK = RootMark("d", "s", identity=7, number=1000, objects=1000, tombstones=10)


@pytest.mark.parametrize(
    ("new", "refused"),
    [
        (replace(MARK, number=1001), ""),
        (replace(MARK, number=999), "later state"),
        (replace(MARK, identity=8, number=5000, objects=5000), "another index"),
        (replace(MARK, number=1100, objects=501), ""),
        (replace(MARK, number=1100, objects=499), "--accept-shrunken"),
        (replace(MARK, number=1600, objects=499, tombstones=511), ""),
    ],
)
def test_what_is_pinned_over_what(new: RootMark, refused: str) -> None:
    found = why_not_pinned(new, MARK)
    assert refused in found
    assert bool(found) == bool(refused)


def test_a_few_missing_objects_are_no_reason() -> None:
    few = replace(MARK, objects=MISSING_OBJECTS_MAX)
    assert why_not_pinned(replace(few, objects=0), few) == ""


async def test_an_empty_index_does_not_pin_over_a_root(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with saved_index(tmp_path) as lab:
        await lab.put("key")
        first = await lab.snapshots.take()
        empty = await open_index(f"sqlite:///{tmp_path}/empty.db")
        snapshots = lab.another(empty)
        taken = await snapshots.take()
        keeper = SnapshotKeeper(snapshots, interval_s=3600, changes_max=10)
        await keeper._warn_of_a_lost_index()
        assert not taken.pinned
        assert "tgstore recover" in taken.held_back
        assert [mark.snapshot_id for mark in lab.pinned()] == [first.snapshot_id]
        assert "run `tgstore recover`" in caplog.text
        accepted = await snapshots.take(accept=True)
        assert lab.pinned()[-1].snapshot_id == accepted.snapshot_id
        assert accepted.pinned
        await empty.close()


async def test_old_ones_are_deleted_and_the_newest_two_are_kept(tmp_path: Path) -> None:
    async with saved_index(tmp_path) as lab:
        taken = []
        for number in range(4):
            await lab.put(f"key-{number}")
            taken.append(await lab.snapshots.take())
            lab.world.time._standin_clock.now += DAY_S / 3
        snapshots = lab.another(lab.index, keep_s=DAY_S * 0.9)
        assert await snapshots.clear_away() == 2
        kept = [one.snapshot_id for one in await lab.index.snapshots()]
        assert kept == [taken[3].snapshot_id, taken[2].snapshot_id]
        left = {message["message_id"] for message in lab.world.messages()}
        assert left == {document.message_id for one in taken[2:] for document in one.documents}
        assert await snapshots.clear_away() == 0


async def test_what_telegram_will_not_delete_any_more_is_replaced(tmp_path: Path) -> None:
    async with saved_index(tmp_path) as lab:
        taken = []
        for number in range(3):
            await lab.put(f"key-{number}")
            taken.append(await lab.snapshots.take())
            lab.world.time._standin_clock.now += 1
        lab.world.time._standin_clock.now += KEEP_S
        assert await lab.snapshots.clear_away() == 1
        assert [one.snapshot_id for one in await lab.index.snapshots()] == [taken[2].snapshot_id, taken[1].snapshot_id]
        blanked = {one["message_id"] for one in lab.world.messages() if "placeholder" in one["text"]}
        assert blanked == {document.message_id for document in taken[0].documents}
        assert await lab.snapshots.clear_away() == 0


async def test_in_two_chats_a_snapshot_is_read_from_the_one_that_is_left(tmp_path: Path) -> None:
    chats = (CHANNEL, OTHER_CHANNEL)
    async with saved_index(tmp_path, chats=chats, copies=2) as lab:
        await lab.put("key")
        taken = await lab.snapshots.take()
        gone = taken.parts[0].document.chat_id
        (left,) = set(chats) - {gone}
        lab.world.standin.control.chat("kick", gone)
        recovered = await lab.recover(chats=(left,))
        assert recovered.objects == 1
        assert len({(one.chat_id, one.message_id) for one in taken.documents}) == 4


async def test_the_time_of_all_others_can_be_ended(tmp_path: Path) -> None:
    async with saved_index(tmp_path) as lab:
        for number in range(3):
            await lab.put(f"key-{number}")
            newest = await lab.snapshots.take()
        assert await lab.snapshots.end_all_but(newest) == 2
        assert await lab.index.snapshots() == [newest]
        left = {message["message_id"] for message in lab.world.messages()}
        assert left == {document.message_id for document in newest.documents}


async def test_what_was_broken_off_is_cleared_away(tmp_path: Path) -> None:
    async with saved_index(tmp_path) as lab:
        await lab.put("key")
        lab.world.faults({"kind": "unauthorized"}, method="pinChatMessage", times=None)
        with pytest.raises(TelegramUnavailable):
            await lab.snapshots.take()
        assert len(lab.world.messages()) == 2
        assert await lab.snapshots.clear_away() == 0
        lab.world.time._standin_clock.now += UNFINISHED_S_MAX
        assert await lab.snapshots.clear_away() == 1
        assert not lab.world.messages()
        assert not await lab.index.snapshots()


async def test_when_a_snapshot_is_due(tmp_path: Path) -> None:
    async with saved_index(tmp_path) as lab:
        clock = lab.world.time._standin_clock
        keeper = SnapshotKeeper(lab.snapshots, interval_s=3600, changes_max=5, now_s=clock)
        clock.now += FIRST_AFTER_S
        assert not await keeper.is_due(), "nothing has happened yet"
        await lab.put("key")
        assert await keeper.is_due(), "the first one comes soon"
        await lab.snapshots.take()
        clock.now += 3600
        assert not await keeper.is_due(), "nothing has changed"
        await lab.put("another")
        assert await keeper.is_due(), "something changed, an hour ago"
        await lab.snapshots.take()
        for number in range(4):
            await lab.put(f"key-{number}")
        assert not await keeper.is_due()
        await lab.put("the fifth")
        assert await keeper.is_due(), "five changes"
