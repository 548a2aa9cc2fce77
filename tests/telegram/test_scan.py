"""Reading a chat's messages one by one, without leaving anything behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from addon.standin.switches import Switches
from addon.store.chat_scan import MessageUnreadable
from addon.store.ports import TelegramUnavailable
from tests.standin_fixture import BOT_A, BOT_A_ID, BOT_B, BOT_B_ID, CHANNEL, OTHER_CHANNEL
from tests.telegram.telegram_world import World, fails, telegram_world

RELAXED = Switches(rate_limits="off", equal_size_throttle=False)


def ids(world: World, chat_id: int = CHANNEL) -> list[int]:
    return [message["message_id"] for message in world.messages(chat_id)]


async def test_a_message_is_read_with_its_caption_and_its_document_and_leaves_nothing(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, switches=RELAXED) as world:
        sent = await world.send(b"content")
        sent_at_s = int(world.time.clock())
        world.standin.control.clock_advance(3600)
        message = await world.documents.scan.read(CHANNEL, sent.message_id)
        assert message is not None
        assert (message.chat_id, message.message_id) == (CHANNEL, sent.message_id)
        assert message.caption == "tgstore doc-1"
        assert abs(message.sent_at_s - sent_at_s) <= 1
        assert message.document is not None
        assert message.document.bot_id == BOT_A_ID
        assert await world.read(message.document) == b"content"
        assert ids(world) == [sent.message_id]


async def test_what_is_not_there_and_what_the_chat_says_itself_are_no_messages(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, switches=RELAXED) as world:
        first, second = await world.send(b"one", "one"), await world.send(b"two", "two")
        await world.documents.delete(first)
        await world.documents.pins.pin(CHANNEL, from_chat_id=CHANNEL, message_id=second.message_id)
        scan = world.documents.scan
        assert await scan.newest(CHANNEL) == second.message_id + 2
        assert await scan.read(CHANNEL, first.message_id) is None
        assert await scan.read(CHANNEL, second.message_id + 1) is None
        assert await scan.read(CHANNEL, 10_000) is None
        assert ids(world) == [second.message_id]


async def test_a_text_is_a_message_without_a_document(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, switches=RELAXED) as world:
        bot = world.documents._bots.bots[0]
        told = await bot.call("sendMessage", {"chat_id": CHANNEL, "text": "hello"})
        message = await world.documents.scan.read(CHANNEL, told["message_id"])
        assert message is not None
        assert message.document is None
        assert message.caption == ""


async def test_where_content_is_protected_messages_are_read_by_answering_them(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, switches=RELAXED) as world:
        sent = await world.send(b"content")
        world.standin.control.chat("protect", CHANNEL)
        message = await world.documents.scan.read(CHANNEL, sent.message_id)
        assert message is not None
        assert message.document is not None
        assert await world.read(message.document) == b"content"
        assert await world.documents.scan.read(CHANNEL, 10_000) is None
        assert ids(world) == [sent.message_id]


async def test_bots_share_the_work(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, tokens=(BOT_A, BOT_B)) as world:
        sent = [await world.send(b"content", f"doc-{number}") for number in range(6)]
        readers = set()
        for document in sent * 5:
            message = await world.documents.scan.read(CHANNEL, document.message_id)
            assert message is not None
            assert message.document is not None
            readers.add(message.document.bot_id)
        assert readers == {BOT_A_ID, BOT_B_ID}
        assert not [entry for entry in world.calls("forwardmessage") if entry["status"] == 429]


async def test_another_bot_reads_where_one_was_thrown_out(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, tokens=(BOT_A, BOT_B), switches=RELAXED) as world:
        sent = await world.send(b"content")
        world.standin.control.chat("kick", CHANNEL, bot_id=BOT_A_ID)
        message = await world.documents.scan.read(CHANNEL, sent.message_id)
        assert message is not None
        assert message.document is not None
        assert message.document.bot_id == BOT_B_ID


async def test_a_chat_that_no_bot_reaches_is_said(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, chats=(CHANNEL, OTHER_CHANNEL), switches=RELAXED) as world:
        world.standin.control.chat("kick", OTHER_CHANNEL, bot_id=BOT_A_ID)
        await fails(TelegramUnavailable, world.documents.scan.newest(OTHER_CHANNEL))
        assert await world.documents.scan.newest(CHANNEL) > 1


async def test_a_message_that_telegram_will_not_give_is_unreadable(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, switches=RELAXED) as world:
        sent = await world.send(b"content")
        world.faults({"kind": "http", "code": 400, "form": "json"}, method="forwardmessage")
        with pytest.raises(MessageUnreadable):
            await world.documents.scan.read(CHANNEL, sent.message_id)
