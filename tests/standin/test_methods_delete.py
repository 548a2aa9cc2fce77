"""Deleting on the wire."""

from typing import Any

import pytest

from addon.standin.server import StandIn
from addon.standin.switches import Switches
from tests.standin.asking import Asker
from tests.standin_fixture import BOT_B_ID, CHANNEL, GROUP, PRIVATE, SUPERGROUP, SettableClock

TWO_DAYS_S = 172_800


@pytest.mark.parametrize(
    ("chat_id", "problem"),
    [
        (CHANNEL, "message can't be deleted"),
        (SUPERGROUP, "message can't be deleted"),
        (GROUP, "message can't be deleted for everyone"),
        (PRIVATE, "message can't be deleted for everyone"),
    ],
)
async def test_what_is_two_days_old_stays(bot: Asker, clock: SettableClock, chat_id: int, problem: str) -> None:
    first, second = await bot.send(chat_id=chat_id), await bot.send(chat_id=chat_id)
    clock.now += TWO_DAYS_S - 1
    assert await bot.result("deleteMessage", chat_id=chat_id, message_id=first["message_id"]) is True
    clock.now += 1
    refusal = (400, f"Bad Request: {problem}")
    assert await bot.refused("deleteMessage", chat_id=chat_id, message_id=second["message_id"]) == refusal
    fresh = await bot.send(chat_id=chat_id)
    both = [second["message_id"], fresh["message_id"]]
    assert await bot.refused("deleteMessages", chat_id=chat_id, message_ids=both) == refusal
    # Nothing was deleted: the fresh one can still be taken.
    await bot.result("forwardMessage", chat_id=PRIVATE, from_chat_id=chat_id, message_id=fresh["message_id"])


async def test_unknown_ones_fail_one_call_and_are_skipped_by_the_other(bot: Asker) -> None:
    await bot.send()
    assert await bot.refused("deleteMessage", chat_id=CHANNEL, message_id=77) == (
        400,
        "Bad Request: message to delete not found",
    )
    assert await bot.refused("deleteMessage", chat_id=CHANNEL) == (
        400,
        "Bad Request: message identifier is not specified",
    )
    assert await bot.result("deleteMessages", chat_id=CHANNEL, message_ids=[77, 78]) is True
    assert await bot.result("deleteMessages", chat_id=CHANNEL, message_ids=[]) is True
    assert await bot.result("deleteMessages", chat_id=CHANNEL, message_ids=[2, 77]) is True
    assert (await bot.refused("deleteMessage", chat_id=CHANNEL, message_id=2))[0] == 400


async def test_the_first_message_is_never_deleted(bot: Asker) -> None:
    assert (await bot.refused("deleteMessage", chat_id=CHANNEL, message_id=1))[1].endswith("can't be deleted")


async def test_a_deleted_message_is_unpinned_and_gone_but_its_file_lives(bot: Asker) -> None:
    message = await bot.send()
    await bot.result("pinChatMessage", chat_id=CHANNEL, message_id=2)
    await bot.result("deleteMessage", chat_id=CHANNEL, message_id=2)
    assert "pinned_message" not in await bot.result("getChat", chat_id=CHANNEL)
    take: dict[str, Any] = {"chat_id": PRIVATE, "from_chat_id": CHANNEL, "message_id": 2}
    assert (await bot.refused("forwardMessage", **take))[1].endswith("not found")
    assert (await bot.download(await bot.file_path(message))).content == b"some bytes"


async def test_deleting_what_another_sent_needs_the_right(standin: StandIn, bot: Asker, bot_b: Asker) -> None:
    await bot.send()
    standin.control.chat("deny", CHANNEL, bot_id=BOT_B_ID, rights=["can_delete_messages"])
    assert await bot_b.refused("deleteMessage", chat_id=CHANNEL, message_id=2) == (
        400,
        "Bad Request: message can't be deleted",
    )
    own = await bot_b.send()
    assert await bot_b.result("deleteMessage", chat_id=CHANNEL, message_id=own["message_id"]) is True


class TestDeleteKillsFile:
    @pytest.fixture
    def switches(self) -> Switches:
        return Switches(delete_kills_file=True)

    async def test_the_file_dies_with_its_last_message(self, bot: Asker) -> None:
        message = await bot.send()
        await bot.result("forwardMessage", chat_id=PRIVATE, from_chat_id=CHANNEL, message_id=2)
        await bot.result("deleteMessage", chat_id=CHANNEL, message_id=2)
        await bot.file_path(message)
        await bot.result("deleteMessage", chat_id=PRIVATE, message_id=1)
        file_id = message["document"]["file_id"]
        assert await bot.refused("getFile", file_id=file_id) == (
            400,
            "Bad Request: wrong file_id or the file is temporarily unavailable",
        )
        assert (await bot.refused("sendDocument", chat_id=CHANNEL, document=file_id))[1].endswith("URL specified")
