"""Editing on the wire."""

from typing import Any

import pytest

from addon.standin.server import StandIn
from addon.standin.switches import Switches
from tests.standin.asking import Asker
from tests.standin_fixture import CHANNEL, PRIVATE

NOT_MODIFIED = (
    "Bad Request: message is not modified: specified new message content and reply markup are exactly the same as a current"
    " content and reply markup of the message"
)


def media(**more: Any) -> dict[str, Any]:
    return {"type": "document", "media": "attach://x", **more}


async def test_new_media_under_the_old_number(bot: Asker) -> None:
    message = await bot.send(b"old", caption="old")
    edited = await bot.result(
        "editMessageMedia", {"x": ("new.bin", b"new")}, chat_id=CHANNEL, message_id=2, media=media()
    )
    assert list(edited)[:5] == ["message_id", "sender_chat", "chat", "date", "edit_date"]
    assert edited["message_id"] == 2
    assert "caption" not in edited
    assert (await bot.download(await bot.file_path(edited))).content == b"new"
    assert (await bot.download(await bot.file_path(message))).content == b"old", "the old file_id keeps working"


async def test_the_same_content_is_not_modified(bot: Asker) -> None:
    message = await bot.send(caption="same")
    same = media(media=message["document"]["file_id"], caption="same")
    target = {"chat_id": CHANNEL, "message_id": 2}
    assert await bot.refused("editMessageMedia", **target, media=same) == (400, NOT_MODIFIED)
    assert await bot.refused("editMessageCaption", **target, caption="same") == (400, NOT_MODIFIED)
    edited = await bot.result("editMessageCaption", **target, caption="other")
    assert edited["caption"] == "other"
    assert edited["document"]["file_unique_id"] == message["document"]["file_unique_id"]


async def test_what_cannot_be_edited(standin: StandIn, bot: Asker, bot_b: Asker) -> None:
    await bot_b.send()
    standin.control.chat("post", CHANNEL, text="a person's")
    await bot.result("sendMessage", chat_id=CHANNEL, text="no caption")
    for message_id, problem in [
        (2, "message can't be edited"),
        (3, "message can't be edited"),
        (4, "there is no caption in the message to edit"),
        (9, "message to edit not found"),
        (1, "message to edit not found"),
    ]:
        refusal = await bot.refused("editMessageCaption", chat_id=CHANNEL, message_id=message_id, caption="x")
        assert refusal == (400, f"Bad Request: {problem}")


class TestWithDedupe:
    @pytest.fixture
    def switches(self) -> Switches:
        return Switches(dedupe=True)

    async def test_equal_bytes_are_not_modified(self, standin: StandIn, bot: Asker) -> None:
        await bot.send(b"same", chat_id=PRIVATE)
        target = {"chat_id": PRIVATE, "message_id": 1}
        refusal = await bot.refused("editMessageMedia", {"x": ("a.bin", b"same")}, **target, media=media())
        assert refusal == (400, NOT_MODIFIED)
        assert list((standin.folder / "incoming").iterdir()) == []
