"""pyTelegramBotAPI, written elsewhere, as a client: synchronous, unquoted file names, no Content-Type for parts, `True` as text."""

import asyncio
import os
from io import BytesIO
from typing import Any

import pytest
import telebot
from telebot import apihelper
from telebot.apihelper import ApiHTTPException, ApiInvalidJSONException, ApiTelegramException
from telebot.types import InputFile, InputMediaDocument

from addon.standin.server import StandIn
from tests.standin_fixture import BOT_A, CHANNEL, OTHER_CHANNEL


@pytest.fixture
def tele(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> telebot.TeleBot:
    monkeypatch.setattr(apihelper, "API_URL", standin.url + "/bot{0}/{1}")
    monkeypatch.setattr(apihelper, "FILE_URL", standin.url + "/file/bot{0}/{1}")
    monkeypatch.setattr(apihelper, "SESSION_TIME_TO_LIVE", 0)
    return telebot.TeleBot(BOT_A, threaded=False)


async def test_the_whole_round(tele: telebot.TeleBot) -> None:
    def round_trip() -> None:
        content = os.urandom(200_001)
        message = tele.send_document(
            CHANNEL, content, caption="part", visible_file_name="chunk 00003.bin", disable_content_type_detection=True
        )
        assert message.document.file_name == "chunk 00003.bin"
        assert message.document.mime_type == "application/octet-stream"
        file = tele.get_file(message.document.file_id)
        assert tele.download_file(file.file_path) == content
        forwarded = tele.forward_message(OTHER_CHANNEL, CHANNEL, message.message_id)
        assert forwarded.document.file_unique_id == message.document.file_unique_id
        assert tele.copy_message(OTHER_CHANNEL, CHANNEL, message.message_id).message_id == 3
        assert tele.forward_messages(OTHER_CHANNEL, CHANNEL, [message.message_id])[0].message_id == 4
        assert tele.pin_chat_message(CHANNEL, message.message_id)
        assert tele.get_chat(CHANNEL).pinned_message.document.file_id == message.document.file_id
        media = InputMediaDocument(InputFile(BytesIO(b"bytes"), "other.bin"), caption="edited")
        edited = tele.edit_message_media(media, CHANNEL, message.message_id)
        assert edited.caption == "edited"
        album = tele.send_media_group(
            CHANNEL, [InputMediaDocument(InputFile(BytesIO(b"bytes"), "other.bin")) for _ in range(2)]
        )
        assert album[0].media_group_id == album[1].media_group_id
        assert tele.delete_message(CHANNEL, message.message_id)
        assert tele.delete_messages(CHANNEL, [item.message_id for item in album])

    await asyncio.to_thread(round_trip)


@pytest.mark.parametrize(
    ("action", "error", "code"),
    [
        ({"kind": "rate", "retry_after": 3}, ApiTelegramException, 429),
        ({"kind": "rate_text400"}, ApiTelegramException, 400),
        ({"kind": "unauthorized"}, ApiTelegramException, 401),
        ({"kind": "http", "form": "html"}, ApiHTTPException, None),
        ({"kind": "empty200"}, ApiInvalidJSONException, None),
        ({"kind": "http413", "form": "json"}, ApiTelegramException, 413),
    ],
)
async def test_failures_are_the_errors_that_the_client_has_for_them(
    standin: StandIn, tele: telebot.TeleBot, action: dict[str, Any], error: type[Exception], code: int | None
) -> None:
    standin.control.faults({"match": {"method": "sendDocument"}, "action": action})
    with pytest.raises(error) as caught:
        await asyncio.to_thread(tele.send_document, CHANNEL, b"content", visible_file_name="a.bin")
    if code is not None:
        assert caught.value.error_code == code  # type: ignore[attr-defined]  # ApiTelegramException has it
