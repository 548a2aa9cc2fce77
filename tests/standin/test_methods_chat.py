"""Chats, members and pins on the wire, and the access check that comes before every chat method."""

from typing import Any

import pytest

from addon.standin.server import StandIn
from tests.standin.asking import Asker
from tests.standin_fixture import BOT_A_ID, CHANNEL, GROUP, PRIVATE, SUPERGROUP


async def test_the_chat_has_every_field_that_clients_require(bot: Asker) -> None:
    chat = await bot.result("getChat", chat_id="@Storage_Channel")
    assert chat["id"] == CHANNEL
    gifts = {"unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription", "gifts_from_channels"}
    assert set(chat["accepted_gift_types"]) == gifts
    assert {"accent_color_id", "max_reaction_count"} <= set(chat)


async def test_the_pinned_message_is_the_one_sent_last_not_the_one_pinned_last(bot: Asker) -> None:
    for _ in range(3):
        await bot.send()
    for message_id in (4, 2, 3):
        assert await bot.result("pinChatMessage", chat_id=CHANNEL, message_id=message_id) is True
    assert (await bot.result("getChat", chat_id=CHANNEL))["pinned_message"]["message_id"] == 4
    assert await bot.result("unpinChatMessage", chat_id=CHANNEL) is True
    assert (await bot.result("getChat", chat_id=CHANNEL))["pinned_message"]["message_id"] == 3
    assert await bot.result("unpinAllChatMessages", chat_id=CHANNEL) is True
    assert "pinned_message" not in await bot.result("getChat", chat_id=CHANNEL)
    assert await bot.refused("unpinChatMessage", chat_id=CHANNEL) == (400, "Bad Request: message to unpin not found")


async def test_pinning_uses_up_a_number_in_channels_and_groups_but_not_in_private_chats(bot: Asker) -> None:
    for chat_id in (CHANNEL, SUPERGROUP, GROUP, PRIVATE):
        message_id = (await bot.send(chat_id=chat_id))["message_id"]
        await bot.result("pinChatMessage", chat_id=chat_id, message_id=message_id)
        gap = 1 if chat_id == PRIVATE else 2
        assert (await bot.send(chat_id=chat_id))["message_id"] == message_id + gap


async def test_the_state_shows_what_is_pinned(standin: StandIn, bot: Asker) -> None:
    await bot.send()
    await bot.result("pinChatMessage", chat_id=CHANNEL, message_id=2)
    assert standin.control.state()["chats"][str(CHANNEL)]["pinned"] == [2]


async def test_pinning_what_is_not_there(bot: Asker) -> None:
    assert await bot.refused("pinChatMessage", chat_id=CHANNEL, message_id=9) == (
        400,
        "Bad Request: message to pin not found",
    )


@pytest.mark.parametrize(("chat_id", "right"), [(CHANNEL, "can_edit_messages"), (SUPERGROUP, "can_pin_messages")])
async def test_pinning_needs_the_right(standin: StandIn, bot: Asker, chat_id: int, right: str) -> None:
    await bot.send(chat_id=chat_id)
    standin.control.chat("deny", chat_id, rights=[right])
    for method in ("pinChatMessage", "unpinChatMessage", "unpinAllChatMessages"):
        assert await bot.refused(method, chat_id=chat_id, message_id=2) == (
            400,
            "Bad Request: not enough rights to manage pinned messages in the chat",
        )


@pytest.mark.parametrize(
    ("op", "chat_id", "refusal"),
    [
        ("kick", CHANNEL, (403, "Forbidden: bot was kicked from the channel chat")),
        ("kick", SUPERGROUP, (403, "Forbidden: bot was kicked from the supergroup chat")),
        ("kick", GROUP, (403, "Forbidden: bot was kicked from the group chat")),
        ("leave", SUPERGROUP, (403, "Forbidden: bot is not a member of the supergroup chat")),
        ("leave", CHANNEL, (403, "Forbidden: bot is not a member of the channel chat")),
        ("delete", GROUP, (403, "Forbidden: the group chat was deleted")),
        ("block", PRIVATE, (403, "Forbidden: bot was blocked by the user")),
        ("absent", CHANNEL, (400, "Bad Request: chat not found")),
        ("demote", CHANNEL, (400, "Bad Request: need administrator rights in the channel chat")),
    ],
)
async def test_who_may_not_write(standin: StandIn, bot: Asker, op: str, chat_id: int, refusal: tuple[int, str]) -> None:
    standin.control.chat(op, chat_id)
    assert await bot.refused("sendDocument", {"document": ("a.bin", b"x")}, chat_id=chat_id) == refusal
    if op != "demote":
        assert await bot.refused("getChat", chat_id=chat_id) == refusal
    if op != "delete":
        standin.control.chat("join", chat_id)
        await bot.send(chat_id=chat_id)


async def test_documents_may_be_forbidden_where_texts_are_not(standin: StandIn, bot: Asker) -> None:
    standin.control.chat("deny", SUPERGROUP, rights=["can_send_documents"])
    assert await bot.refused("sendDocument", {"document": ("a.bin", b"x")}, chat_id=SUPERGROUP) == (
        400,
        "Bad Request: not enough rights to send documents to the chat",
    )
    await bot.result("sendMessage", chat_id=SUPERGROUP, text="text")


async def test_a_migrated_group_names_its_successor(standin: StandIn, bot: Asker) -> None:
    standin.control.chat("migrate", GROUP, new_id=-1005)
    answer = (await bot.answer("getChat", chat_id=GROUP)).json()
    assert answer == {
        "ok": False,
        "error_code": 400,
        "description": "Bad Request: group chat was upgraded to a supergroup chat",
        "parameters": {"migrate_to_chat_id": -1005},
    }
    assert (await bot.result("getChat", chat_id=-1005))["type"] == "supergroup"


@pytest.mark.parametrize(
    ("op", "values", "expected"),
    [
        ("join", {}, {"status": "administrator", "can_post_messages": True, "can_delete_messages": True}),
        ("deny", {"rights": ["can_post_messages"]}, {"status": "administrator", "can_post_messages": False}),
        ("demote", {}, {"status": "member"}),
    ],
)
async def test_what_a_bot_may_do_in_a_chat(
    standin: StandIn, bot: Asker, op: str, values: dict[str, Any], expected: dict[str, Any]
) -> None:
    standin.control.chat(op, CHANNEL, **values)
    member = await bot.result("getChatMember", chat_id=CHANNEL, user_id=BOT_A_ID)
    assert expected.items() <= member.items()
    assert member["user"]["id"] == BOT_A_ID
