"""getChat, getChatMember and what is pinned."""

from typing import Any

from addon.standin.access import find_message, has_right, require_pin_right, require_read
from addon.standin.call import Call
from addon.standin.failures import fail
from addon.standin.records import Chat, Member
from addon.standin.render import chat_json, message_json, person_json

_ADMIN_FLAGS = (
    "can_manage_chat",
    "can_delete_messages",
    "can_manage_video_chats",
    "can_restrict_members",
    "can_promote_members",
    "can_change_info",
    "can_invite_users",
    "can_post_stories",
    "can_edit_stories",
    "can_delete_stories",
)


def get_chat(call: Call) -> dict[str, Any]:
    """https://core.telegram.org/bots/api#getchat"""
    chat, _ = require_read(call, call.text("chat_id"))
    result = chat_json(chat)
    result["accent_color_id"] = 0
    result["max_reaction_count"] = 11
    gifts = ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription", "gifts_from_channels")
    result["accepted_gift_types"] = dict.fromkeys(gifts, False)
    if chat.protected:
        result["has_protected_content"] = True
    pinned = call.world.messages.pinned(chat, call.bot.id)
    if pinned is not None:
        result["pinned_message"] = message_json(call.world, call.bots, call.bot, pinned)
    return result


def get_chat_member(call: Call) -> dict[str, Any]:
    """https://core.telegram.org/bots/api#getchatmember, for the registered bots and for the partner of a private chat."""
    chat, _ = require_read(call, call.text("chat_id"))
    user_id = call.integer("user_id")
    bot = call.bots.by_id.get(user_id)
    if bot is None:
        if user_id != person_json(chat)["id"]:
            raise fail(400, "invalid user_id specified")
        return {"user": person_json(chat), "status": "member"}
    return _member_json(chat, call.world.chats.member(chat, bot.id), bot.as_user())


def _member_json(chat: Chat, member: Member, user: dict[str, Any]) -> dict[str, Any]:
    if member.state == "kicked":
        return {"user": user, "status": "kicked", "until_date": 0}
    if member.state in ("left", "absent", "blocked"):
        return {"user": user, "status": "left"}
    if member.state == "member":
        return {"user": user, "status": "member"}
    result: dict[str, Any] = {"user": user, "status": "administrator", "can_be_edited": False, "is_anonymous": False}
    result.update({flag: member.may(flag) for flag in _ADMIN_FLAGS})
    for flag in ("can_post_messages", "can_edit_messages") if chat.type == "channel" else ("can_pin_messages",):
        result[flag] = has_right(chat, member, flag)
    return result


def pin_chat_message(call: Call) -> bool:
    """https://core.telegram.org/bots/api#pinchatmessage; in a group or channel the service message about it uses up a number."""
    chat = require_pin_right(call, call.text("chat_id"))
    message = find_message(call, chat, call.integer("message_id"), "pin")
    call.world.messages.pin(message)
    if chat.type != "private":
        call.world.messages.add_service(chat, call.bot.id, call.date)
    return True


def unpin_chat_message(call: Call) -> bool:
    """https://core.telegram.org/bots/api#unpinchatmessage: without a message_id the most recent one by sending date."""
    chat = require_pin_right(call, call.text("chat_id"))
    message_id = call.integer("message_id")
    if message_id:
        call.world.messages.unpin(find_message(call, chat, message_id, "unpin"))
        return True
    pinned = call.world.messages.pinned(chat, call.bot.id)
    if pinned is None:
        raise fail(400, "message to unpin not found")
    call.world.messages.unpin(pinned)
    return True


def unpin_all_chat_messages(call: Call) -> bool:
    """https://core.telegram.org/bots/api#unpinallchatmessages"""
    chat = require_pin_right(call, call.text("chat_id"))
    call.world.messages.unpin_all(chat, call.bot.id)
    return True
