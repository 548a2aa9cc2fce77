"""Who may do what in which chat: the check that every chat method begins with."""

from addon.standin.arguments import read_chat_id
from addon.standin.call import Call
from addon.standin.failures import fail
from addon.standin.records import Chat, Member, Message

# What a plain member may not do; an administrator may do everything that was not taken from it.
_ADMIN_RIGHTS = frozenset({"can_pin_messages", "can_delete_messages", "can_edit_messages", "can_post_messages"})


def require_read(call: Call, text: str) -> tuple[Chat, Member]:
    """The chat that `text` names and what the bot is in it. Raises ApiError unless the bot is in the chat."""
    if not text.strip():
        raise fail(400, "chat_id is empty")
    wanted = read_chat_id(text)
    chats = call.world.chats
    chat = chats.get(wanted) if isinstance(wanted, int) else chats.named(wanted) if wanted else None
    if chat is None:
        raise fail(400, "chat not found")
    if chat.migrated_to is not None:
        parameters = {"migrate_to_chat_id": chat.migrated_to}
        raise fail(400, "group chat was upgraded to a supergroup chat", parameters)
    if chat.deleted:
        raise fail(403, "the group chat was deleted")
    member = chats.member(chat, call.bot.id)
    if member.state == "absent":
        raise fail(400, "chat not found")
    if member.state == "blocked" or (chat.type == "private" and member.state in ("kicked", "left")):
        raise fail(403, "bot was blocked by the user")
    if member.state == "kicked":
        raise fail(403, f"bot was kicked from the {chat.type} chat")
    if member.state == "left":
        raise fail(403, f"bot is not a member of the {chat.type} chat")
    return chat, member


def require_write(call: Call, text: str, content: str) -> Chat:
    """The chat, where the bot may send `content`: `document` or `text`. Raises ApiError otherwise."""
    chat, member = require_read(call, text)
    if chat.type == "channel":
        if not has_right(chat, member, "can_post_messages"):
            raise fail(400, "need administrator rights in the channel chat")
    elif content == "document" and not (member.may("can_send_documents") and member.may("can_send_messages")):
        raise fail(400, "not enough rights to send documents to the chat")
    elif content == "text" and not member.may("can_send_messages"):
        raise fail(400, "not enough rights to send text messages to the chat")
    return chat


def has_right(chat: Chat, member: Member, right: str) -> bool:
    if chat.type == "private":
        return True
    if right in _ADMIN_RIGHTS and member.state != "admin":
        return False
    return member.may(right)


def require_pin_right(call: Call, text: str) -> Chat:
    """The chat, where the bot may pin: a channel asks for can_edit_messages, a group for can_pin_messages.

    Source: https://core.telegram.org/bots/api#pinchatmessage.
    """
    chat, member = require_read(call, text)
    right = "can_edit_messages" if chat.type == "channel" else "can_pin_messages"
    if not has_right(chat, member, right):
        raise fail(400, "not enough rights to manage pinned messages in the chat")
    return chat


def find_message(call: Call, chat: Chat, message_id: int, action: str, *, service: bool = False) -> Message:
    """The message, or ApiError 400 `message to <action> not found`; service messages count only with `service`."""
    message = call.world.messages.get(chat, call.bot.id, message_id)
    if message is None or (message.kind == "service" and not service):
        raise fail(400, f"message to {action} not found")
    return message
