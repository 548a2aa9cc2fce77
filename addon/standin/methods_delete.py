"""deleteMessage and deleteMessages, with the 48 hours after which a bot can delete nothing any more."""

from addon.standin.access import find_message, has_right, require_read
from addon.standin.arguments import read_message_ids
from addon.standin.call import Call
from addon.standin.failures import fail
from addon.standin.records import Chat, Member, Message

DELETABLE_S_MAX = 48 * 3600
_CREATION_MESSAGE_ID = 1


def delete_message(call: Call) -> bool:
    """https://core.telegram.org/bots/api#deletemessage"""
    chat, member = require_read(call, call.text("chat_id"))
    message_id = call.integer("message_id")
    if message_id == 0:
        raise fail(400, "message identifier is not specified")
    message = find_message(call, chat, message_id, "delete", service=True)
    _require_deletable(call, chat, member, message)
    remove(call, message)
    return True


def delete_messages(call: Call) -> bool:
    """https://core.telegram.org/bots/api#deletemessages: unknown ones are skipped; one that is too old fails the whole call."""
    chat, member = require_read(call, call.text("chat_id"))
    found = []
    for message_id in dict.fromkeys(read_message_ids(call.text("message_ids"))):
        message = call.world.messages.get(chat, call.bot.id, message_id)
        if message is not None:
            _require_deletable(call, chat, member, message)
            found.append(message)
    for message in found:
        remove(call, message)
    return True


def _require_deletable(call: Call, chat: Chat, member: Member, message: Message) -> None:
    in_numbered = chat.numbers_its_messages
    text = "message can't be deleted" if in_numbered else "message can't be deleted for everyone"
    if call.date - message.date >= DELETABLE_S_MAX or (in_numbered and message.id == _CREATION_MESSAGE_ID):
        raise fail(400, text)
    own = message.sender_id == call.bot.id
    right = "can_post_messages" if own and chat.type == "channel" else "can_delete_messages"
    if chat.type == "private" or (own and chat.type != "channel"):
        return
    if not has_right(chat, member, right) and not has_right(chat, member, "can_delete_messages"):
        raise fail(400, "message can't be deleted")


def remove(call: Call, message: Message) -> None:
    """Take the message away; its file lives on, unless the switch says that it does not."""
    call.world.messages.remove(message)
    release(call, message.document_id)


def release(call: Call, document_id: int | None) -> None:
    """A message does not have this document any more: where the switch says so, it dies with the last one."""
    if not call.switches.delete_kills_file or document_id is None:
        return
    if not call.world.messages.uses_document(document_id):
        call.world.files.kill_document(document_id)
