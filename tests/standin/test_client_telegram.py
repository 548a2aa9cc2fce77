"""python-telegram-bot, written elsewhere, as a client of the stand-in.

The official schema (`api.json` of telegram-bot-api-spec) is not among the test data. In its place stands the strictness of two
clients: python-telegram-bot keeps every field that it does not know in `api_kwargs`, which is checked to be empty for each object,
and raises for missing ones; aiogram validates types and required fields.
"""

import hashlib
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import telegram
from telegram.error import BadRequest, ChatMigrated, EndPointNotFound, Forbidden, InvalidToken, NetworkError, RetryAfter

from addon.standin.server import StandIn
from tests.standin_fixture import (
    BOT_A,
    BOT_B,
    CHANNEL,
    GROUP,
    OTHER_CHANNEL,
    PRIVATE,
    SUPERGROUP,
)

# Fields that the server writes for old clients and the client does not model any more.
_LEGACY = {"thumb", "forward_from_chat", "forward_from_message_id", "forward_date", "forward_from"}


def unknown_fields(value: Any) -> set[str]:
    """The names of all fields in `value`, at any depth, that python-telegram-bot does not know."""
    found: set[str] = set()
    if isinstance(value, telegram.TelegramObject):
        found |= set(value.api_kwargs)
        for name in (name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())):
            if not name.startswith("_") and name != "api_kwargs":
                found |= unknown_fields(getattr(value, name, None))
    elif isinstance(value, list | tuple):
        for element in value:
            found |= unknown_fields(element)
    return found


@pytest.fixture
async def ptb(standin: StandIn) -> AsyncIterator[telegram.Bot]:
    bot = telegram.Bot(BOT_A, base_url=f"{standin.url}/bot", base_file_url=f"{standin.url}/file/bot")
    async with bot:
        yield bot


@pytest.fixture
async def ptb_b(standin: StandIn) -> AsyncIterator[telegram.Bot]:
    bot = telegram.Bot(BOT_B, base_url=f"{standin.url}/bot", base_file_url=f"{standin.url}/file/bot")
    async with bot:
        yield bot


async def send(ptb: telegram.Bot, content: bytes = b"content", chat_id: int = CHANNEL, **more: Any) -> telegram.Message:
    more.setdefault("disable_content_type_detection", True)
    return await ptb.send_document(chat_id, content, filename="chunk.bin", **more)


async def test_a_document_comes_back_with_equal_bytes(ptb: telegram.Bot) -> None:
    content = os.urandom(700_001)
    message = await send(ptb, content, caption="part 1")
    assert message.document is not None
    assert (message.document.file_size, message.document.file_name) == (len(content), "chunk.bin")
    assert message.caption == "part 1"
    assert message.sender_chat is not None
    assert message.sender_chat.id == CHANNEL
    assert message.from_user is None
    file = await ptb.get_file(message.document.file_id)
    assert file.file_unique_id == message.document.file_unique_id
    downloaded = await file.download_as_bytearray()
    assert hashlib.sha256(downloaded).digest() == hashlib.sha256(content).digest()
    assert unknown_fields(message) == unknown_fields(file) == set()


async def test_a_document_is_downloaded_to_disk(ptb: telegram.Bot, tmp_path: Path) -> None:
    message = await send(ptb, b"to disk")
    assert message.document is not None
    file = await ptb.get_file(message.document.file_id)
    await file.download_to_drive(tmp_path / "download")
    assert (tmp_path / "download").read_bytes() == b"to disk"


async def test_forwarding_keeps_document_and_caption(ptb: telegram.Bot) -> None:
    message = await send(ptb, caption="kept")
    forwarded = await ptb.forward_message(OTHER_CHANNEL, CHANNEL, message.message_id)
    assert forwarded.document is not None
    assert message.document is not None
    assert forwarded.caption == "kept"
    assert forwarded.document.file_unique_id == message.document.file_unique_id
    assert forwarded.document.file_id != message.document.file_id
    assert isinstance(forwarded.forward_origin, telegram.MessageOriginChannel)
    assert forwarded.forward_origin.message_id == message.message_id
    assert unknown_fields(forwarded) <= _LEGACY


async def test_copying_and_forwarding_many_answer_with_numbers_only(ptb: telegram.Bot) -> None:
    sent = [await send(ptb, b"%d" % number) for number in range(3)]
    copied = await ptb.copy_message(OTHER_CHANNEL, CHANNEL, sent[0].message_id, caption="other")
    numbers = [message.message_id for message in sent]
    forwarded = await ptb.forward_messages(OTHER_CHANNEL, CHANNEL, [*numbers, 999])
    copies = await ptb.copy_messages(PRIVATE, CHANNEL, numbers)
    assert copied.message_id == 2
    assert [item.message_id for item in forwarded] == [3, 4, 5]
    assert [item.message_id for item in copies] == [1, 2, 3]
    assert unknown_fields([copied, forwarded, copies]) == set()


async def test_an_album_has_one_group_and_consecutive_numbers(ptb: telegram.Bot) -> None:
    media = [telegram.InputMediaDocument(b"item %d" % number, filename=f"{number}.bin") for number in range(3)]
    messages = await ptb.send_media_group(CHANNEL, media)
    assert len({message.media_group_id for message in messages}) == 1
    assert [message.message_id for message in messages] == [2, 3, 4]
    assert messages[0].media_group_id is not None
    assert messages[0].media_group_id.isdigit()
    assert unknown_fields(messages) == set()


async def test_editing_the_media_gives_a_new_document_under_the_old_number(ptb: telegram.Bot) -> None:
    message = await send(ptb, b"before", caption="old")
    edited = await ptb.edit_message_media(
        telegram.InputMediaDocument(b"after", filename="new.bin", disable_content_type_detection=True),
        CHANNEL,
        message.message_id,
    )
    assert isinstance(edited, telegram.Message)
    assert edited.document is not None
    assert message.document is not None
    assert edited.message_id == message.message_id
    assert edited.edit_date is not None
    assert edited.caption is None
    assert edited.document.file_unique_id != message.document.file_unique_id
    captioned = await ptb.edit_message_caption(CHANNEL, message.message_id, caption="new")
    assert isinstance(captioned, telegram.Message)
    assert captioned.caption == "new"
    assert unknown_fields([edited, captioned]) == set()


async def test_the_pinned_message_is_in_the_chat_in_full(ptb: telegram.Bot) -> None:
    message = await send(ptb, caption="root")
    assert await ptb.pin_chat_message(CHANNEL, message.message_id)
    chat = await ptb.get_chat(CHANNEL)
    assert chat.pinned_message is not None
    assert chat.pinned_message.document == message.document
    assert chat.pinned_message.caption == "root"
    assert unknown_fields(chat) == set()
    assert await ptb.unpin_chat_message(CHANNEL, message.message_id)
    assert (await ptb.get_chat("@storage_channel")).pinned_message is None


async def test_deleting_one_and_many(ptb: telegram.Bot) -> None:
    sent = [await send(ptb) for _ in range(3)]
    assert await ptb.delete_message(CHANNEL, sent[0].message_id)
    assert await ptb.delete_messages(CHANNEL, [message.message_id for message in sent])
    with pytest.raises(BadRequest, match="Message to forward not found"):
        await ptb.forward_message(OTHER_CHANNEL, CHANNEL, sent[2].message_id)


@pytest.mark.parametrize("chat_id", [CHANNEL, SUPERGROUP, GROUP, PRIVATE])
async def test_every_kind_of_chat_gives_messages_that_the_client_knows(ptb: telegram.Bot, chat_id: int) -> None:
    message = await send(ptb, chat_id=chat_id, caption="https://example.com #tag @somebody /command")
    reply = await ptb.send_message(chat_id, "reply", reply_parameters=telegram.ReplyParameters(message.message_id))
    assert reply.reply_to_message == message
    assert len(message.caption_entities) == 4
    chat = await ptb.get_chat(chat_id)
    member = await ptb.get_chat_member(chat_id, ptb.id)
    assert unknown_fields([message, reply, chat, member]) == set()


@pytest.mark.parametrize(
    ("name", "content", "field"),
    [
        ("a.gif", b"GIF89a....", "animation"),
        ("a.mp4", b"\0\0\0\x18ftypisom", "video"),
        ("a.mp3", b"ID3\x04....", "audio"),
        ("a.ogg", b"OggS....OpusHead", "voice"),
        ("a.webp", b"RIFF\0\0\0\0WEBPVP8 ", "sticker"),
    ],
)
async def test_a_detected_type_is_an_object_that_the_client_knows(
    ptb: telegram.Bot, name: str, content: bytes, field: str
) -> None:
    message = await ptb.send_document(CHANNEL, content, filename=name)
    assert getattr(message, field) is not None
    assert (message.document is not None) == (field == "animation")
    assert unknown_fields(message) == set()


async def test_what_others_post_arrives_as_updates(standin: StandIn, ptb: telegram.Bot) -> None:
    standin.control.chat("post", CHANNEL, text="hello")
    standin.control.chat("post", PRIVATE, text="hello to you")
    await send(ptb)
    updates = await ptb.get_updates()
    assert [(update.channel_post or update.message).text for update in updates] == ["hello", "hello to you"]
    assert unknown_fields(updates) == set()
    assert await ptb.get_updates(offset=updates[-1].update_id + 1) == ()
    assert await ptb.delete_webhook()
    assert unknown_fields(await ptb.get_webhook_info()) == set()


async def test_flood_control_is_retry_after(
    standin: StandIn, ptb: telegram.Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PTB_TIMEDELTA", "true")
    standin.control.faults({"match": {"method": "sendDocument"}, "action": {"kind": "rate", "retry_after": 7}})
    with pytest.raises(RetryAfter) as caught:
        await send(ptb)
    assert caught.value.retry_after == timedelta(seconds=7)


async def test_a_migrated_group_is_chat_migrated(standin: StandIn, ptb: telegram.Bot) -> None:
    standin.control.chat("migrate", GROUP, new_id=-1009)
    with pytest.raises(ChatMigrated) as caught:
        await send(ptb, chat_id=GROUP)
    assert caught.value.new_chat_id == -1009
    assert (await send(ptb, chat_id=-1009)).message_id == 2


@pytest.mark.parametrize(
    ("action", "error"),
    [
        ({"kind": "http", "code": 502, "form": "html"}, NetworkError),
        ({"kind": "http", "code": 504, "form": "json"}, NetworkError),
        ({"kind": "http", "code": 500, "form": "restart"}, NetworkError),
        ({"kind": "http413", "form": "html"}, NetworkError),
        ({"kind": "http413", "form": "json"}, NetworkError),
        ({"kind": "unauthorized"}, InvalidToken),
        ({"kind": "kick"}, Forbidden),
        ({"kind": "rate_text400", "retry_after": 15}, BadRequest),
    ],
)
async def test_failures_are_the_errors_that_the_client_has_for_them(
    standin: StandIn, ptb: telegram.Bot, action: dict[str, Any], error: type[Exception]
) -> None:
    standin.control.faults({"match": {"method": "sendDocument"}, "action": action})
    with pytest.raises(error) as caught:
        await send(ptb)
    # BadRequest is a NetworkError to this library: the class itself has to be the one.
    assert type(caught.value) is error


async def test_an_unknown_method_is_no_end_point(ptb: telegram.Bot) -> None:
    with pytest.raises(EndPointNotFound):
        await ptb.do_api_request("getNothing")


async def test_another_bots_file_id_is_temporarily_unavailable(ptb: telegram.Bot, ptb_b: telegram.Bot) -> None:
    message = await send(ptb)
    assert message.document is not None
    with pytest.raises(BadRequest, match=r"^Wrong file_id or the file is temporarily unavailable$"):
        await ptb_b.get_file(message.document.file_id)
    forwarded = await ptb_b.forward_message(PRIVATE, CHANNEL, message.message_id)
    assert forwarded.document is not None
    assert forwarded.document.file_unique_id == message.document.file_unique_id
    file = await ptb_b.get_file(forwarded.document.file_id)
    assert await file.download_as_bytearray() == b"content"
