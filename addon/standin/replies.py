"""What a new message may reply to."""

import json

from addon.standin.arguments import read_integer
from addon.standin.call import Call
from addon.standin.failures import fail
from addon.standin.records import Chat


def read_reply(call: Call, chat: Chat) -> int | None:
    """The number of the message in the same chat that is replied to, or None.

    Raises ApiError 400 when it is missing, unless `allow_sending_without_reply` is set (Bot API, ReplyParameters).
    """
    text = call.text("reply_parameters")
    allowed_without = call.boolean("allow_sending_without_reply")
    if text:
        try:
            value = json.loads(text)
        except ValueError:
            raise fail(400, "can't parse reply parameters JSON object") from None
        if not isinstance(value, dict):
            raise fail(400, "object expected as reply parameters")
        message_id = read_integer(str(value.get("message_id", 0)))
        allowed_without = value.get("allow_sending_without_reply") is True
        if str(value.get("chat_id", chat.id)) not in (str(chat.id), f"@{chat.username}"):
            message_id = -1
    else:
        message_id = call.integer("reply_to_message_id")
    if message_id == 0:
        return None
    original = call.world.messages.get(chat, call.bot.id, message_id)
    if original is not None and original.kind != "service":
        return message_id
    if allowed_without:
        return None
    raise fail(400, "message to be replied not found")
