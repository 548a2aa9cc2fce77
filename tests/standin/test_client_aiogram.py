"""aiogram, written elsewhere, as a client of the stand-in: uploads are chunked, and answers are validated by pydantic."""

import hashlib
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import (
    ClientDecodeError,
    RestartingTelegram,
    TelegramBadRequest,
    TelegramEntityTooLarge,
    TelegramForbiddenError,
    TelegramMigrateToChat,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
    TelegramUnauthorizedError,
)
from aiogram.types import BufferedInputFile, InputMediaDocument, Message, ReplyParameters

from addon.standin.server import StandIn
from tests.standin_fixture import BOT_A, CHANNEL, GROUP, OTHER_CHANNEL, PRIVATE


@pytest.fixture
async def aio(standin: StandIn) -> AsyncIterator[Bot]:
    session = AiohttpSession(api=TelegramAPIServer.from_base(standin.url))
    async with Bot(BOT_A, session=session) as bot:
        yield bot


def extra_fields(value: Any) -> set[str]:
    """Names of fields, at any depth, that aiogram does not model."""
    found: set[str] = set()
    if isinstance(value, list | tuple):
        for element in value:
            found |= extra_fields(element)
    elif hasattr(value, "model_extra"):
        found |= set(value.model_extra or ())
        for name in type(value).model_fields:
            found |= extra_fields(getattr(value, name))
    return found


async def send(aio: Bot, content: bytes = b"content", chat_id: int = CHANNEL, **more: Any) -> Message:
    file = BufferedInputFile(content, "chunk.bin")
    return await aio.send_document(chat_id, file, disable_content_type_detection=True, **more)


async def test_the_whole_round(aio: Bot) -> None:
    content = os.urandom(300_001)
    message = await send(aio, content, caption="part")
    assert message.document is not None
    assert message.document.file_size == len(content)
    file = await aio.get_file(message.document.file_id)
    downloaded = await aio.download(file)
    assert downloaded is not None
    assert hashlib.sha256(downloaded.read()).digest() == hashlib.sha256(content).digest()
    forwarded = await aio.forward_message(OTHER_CHANNEL, CHANNEL, message.message_id)
    copied = await aio.copy_message(OTHER_CHANNEL, CHANNEL, message.message_id)
    many = await aio.forward_messages(PRIVATE, CHANNEL, [message.message_id])
    assert (forwarded.caption, copied.message_id, many[0].message_id) == ("part", 3, 1)
    assert await aio.pin_chat_message(CHANNEL, message.message_id)
    chat = await aio.get_chat(CHANNEL)
    assert chat.pinned_message is not None
    assert chat.pinned_message.document == message.document
    reply = await aio.send_message(CHANNEL, "?", reply_parameters=ReplyParameters(message_id=message.message_id))
    assert reply.reply_to_message is not None
    assert reply.reply_to_message.document == message.document
    assert await aio.delete_message(OTHER_CHANNEL, forwarded.message_id)
    assert await aio.delete_messages(CHANNEL, [message.message_id, 4000])
    assert extra_fields([message, file, forwarded, copied, many, chat, reply]) <= {"thumb"}


async def test_an_album_and_an_edit(aio: Bot) -> None:
    media = [InputMediaDocument(media=BufferedInputFile(b"item %d" % number, f"{number}.bin")) for number in range(2)]
    messages = await aio.send_media_group(CHANNEL, list(media))
    replacement = InputMediaDocument(media=BufferedInputFile(b"other", "other.bin"), caption="edited")
    edited = await aio.edit_message_media(replacement, chat_id=CHANNEL, message_id=messages[1].message_id)
    assert isinstance(edited, Message)
    assert edited.caption == "edited"
    assert edited.media_group_id == messages[0].media_group_id
    assert extra_fields([messages, edited]) == set()


@pytest.mark.parametrize(
    ("action", "error"),
    [
        ({"kind": "rate", "retry_after": 3}, TelegramRetryAfter),
        ({"kind": "rate_text400"}, TelegramBadRequest),
        ({"kind": "http", "code": 502, "form": "html"}, ClientDecodeError),
        ({"kind": "http", "code": 503, "form": "json"}, TelegramServerError),
        ({"kind": "http", "form": "restart"}, RestartingTelegram),
        ({"kind": "http413", "form": "json"}, TelegramEntityTooLarge),
        ({"kind": "http413", "form": "html"}, ClientDecodeError),
        ({"kind": "http413", "form": "reset"}, TelegramNetworkError),
        ({"kind": "unauthorized"}, TelegramUnauthorizedError),
        ({"kind": "kick"}, TelegramForbiddenError),
        ({"kind": "empty200"}, ClientDecodeError),
        ({"kind": "wrong_json", "form": "invalid"}, ClientDecodeError),
        ({"kind": "wrong_json", "form": "null"}, AssertionError),
        ({"kind": "drop_field", "path": "chat"}, ClientDecodeError),
        ({"kind": "drop_field", "path": "document.file_unique_id"}, ClientDecodeError),
        ({"kind": "truncate", "bytes": 50, "honest_length": True}, ClientDecodeError),
        ({"kind": "reset"}, TelegramNetworkError),
    ],
)
async def test_failures_are_the_errors_that_the_client_has_for_them(
    standin: StandIn, aio: Bot, action: dict[str, Any], error: type[Exception]
) -> None:
    standin.control.faults({"match": {"method": "sendDocument"}, "action": action})
    with pytest.raises(error):
        # A null result passes this client's checks; whoever calls it has to look.
        assert await send(aio, bytes(200_000)) is not None


async def test_a_migrated_group(standin: StandIn, aio: Bot) -> None:
    standin.control.faults(
        {"match": {"method": "sendDocument", "chat_id": GROUP}, "action": {"kind": "migrate", "new_id": -1007}}
    )
    with pytest.raises(TelegramMigrateToChat) as caught:
        await send(aio, chat_id=GROUP)
    assert caught.value.migrate_to_chat_id == -1007
