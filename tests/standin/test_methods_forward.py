"""Forwarding and copying on the wire."""

from typing import Any

import pytest

from addon.standin.server import StandIn
from tests.standin.asking import Asker
from tests.standin_fixture import BOT_A_ID, CHANNEL, OTHER_CHANNEL, PRIVATE, SUPERGROUP


async def test_a_forward_keeps_caption_and_file_and_says_where_it_came_from(bot: Asker) -> None:
    message = await bot.send(caption="kept")
    forwarded = await bot.result(
        "forwardMessage", chat_id=PRIVATE, from_chat_id=CHANNEL, message_id=message["message_id"]
    )
    assert forwarded["caption"] == "kept"
    assert forwarded["document"]["file_unique_id"] == message["document"]["file_unique_id"]
    assert forwarded["forward_origin"] == {
        "type": "channel",
        "chat": message["chat"],
        "message_id": message["message_id"],
        "date": message["date"],
    }
    assert forwarded["forward_from_chat"] == message["chat"]
    assert forwarded["forward_from_message_id"] == message["message_id"]
    assert forwarded["forward_date"] == message["date"]


async def test_a_forward_of_a_forward_names_the_first_origin(bot: Asker) -> None:
    message = await bot.send(chat_id=SUPERGROUP)
    first = await bot.result("forwardMessage", chat_id=CHANNEL, from_chat_id=SUPERGROUP, message_id=2)
    second = await bot.result("forwardMessage", chat_id=OTHER_CHANNEL, from_chat_id=CHANNEL, message_id=2)
    assert second["forward_origin"] == first["forward_origin"]
    assert first["forward_origin"]["sender_user"]["id"] == BOT_A_ID == message["from"]["id"]


@pytest.mark.parametrize(("method", "verb"), [("forwardMessage", "forward"), ("copyMessage", "copy")])
async def test_what_cannot_be_taken(bot: Asker, method: str, verb: str) -> None:
    await bot.send()
    await bot.result("deleteMessage", chat_id=CHANNEL, message_id=2)
    for missing in (1, 2, 3, 0):
        refusal = await bot.refused(method, chat_id=PRIVATE, from_chat_id=CHANNEL, message_id=missing)
        assert refusal == (400, f"Bad Request: message to {verb} not found")


async def test_protected_content(standin: StandIn, bot: Asker) -> None:
    protected = (400, "Bad Request: message has protected content and can't be forwarded")
    take: dict[str, Any] = {"chat_id": PRIVATE, "from_chat_id": CHANNEL, "message_id": 2}
    await bot.send(protect_content=True)
    assert await bot.refused("forwardMessage", **take) == protected
    assert await bot.refused("copyMessage", **take) == protected
    await bot.send()
    standin.control.chat("protect", CHANNEL)
    assert await bot.refused("forwardMessage", **{**take, "message_id": 3}) == protected
    assert await bot.result("copyMessage", **{**take, "message_id": 3}) == {"message_id": 1}


@pytest.mark.parametrize(("arguments", "caption"), [({}, "old"), ({"caption": "new"}, "new"), ({"caption": ""}, "")])
async def test_a_copy_takes_the_caption_that_is_given(
    standin: StandIn, bot: Asker, arguments: dict[str, str], caption: str
) -> None:
    await bot.send(caption="old")
    await bot.result("copyMessage", chat_id=OTHER_CHANNEL, from_chat_id=CHANNEL, message_id=2, **arguments)
    assert standin.control.state()["chats"][str(OTHER_CHANNEL)]["messages"][-1]["text"] == caption


@pytest.mark.parametrize("method", ["forwardMessages", "copyMessages"])
async def test_the_plural_skips_holes_without_a_trace(bot: Asker, method: str) -> None:
    for _ in range(4):
        await bot.send()
    await bot.result("deleteMessage", chat_id=CHANNEL, message_id=3)
    many: dict[str, Any] = {"chat_id": OTHER_CHANNEL, "from_chat_id": CHANNEL}
    assert await bot.result(method, **many, message_ids=[1, 2, "3", "4", 99]) == [{"message_id": 2}, {"message_id": 3}]
    for identifiers, problem in [
        ([3, 99], "there are no messages to forward"),
        ([2, 2], "message identifiers must be in a strictly increasing order"),
        ([5, 4], "message identifiers must be in a strictly increasing order"),
        (list(range(1, 102)), "too many message identifiers specified"),
        ({"a": 1}, "expected an Array of message identifiers"),
        ([], "message identifiers are not specified"),
    ]:
        assert await bot.refused(method, **many, message_ids=identifiers) == (400, f"Bad Request: {problem}")
    assert len(await bot.result(method, **many, message_ids=list(range(1, 101)))) == 3


async def test_a_whole_chat_is_read_by_forwarding_number_by_number(bot: Asker) -> None:
    """What recovery does: holes and service messages are `not found`, everything else comes back in full."""
    await bot.send(caption="two")
    await bot.result("pinChatMessage", chat_id=CHANNEL, message_id=2)
    await bot.send(caption="four")
    found = {}
    for number in range(1, 7):
        take: dict[str, Any] = {"chat_id": PRIVATE, "from_chat_id": CHANNEL, "message_id": number}
        answer = (await bot.answer("forwardMessage", **take)).json()
        if answer["ok"]:
            found[number] = answer["result"]["caption"]
    assert found == {2: "two", 4: "four"}
