"""forwardMessage, copyMessage and their plurals."""

from typing import Any

from addon.standin.access import find_message, require_read, require_write
from addon.standin.arguments import read_message_ids, require_increasing
from addon.standin.call import Call
from addon.standin.captions import read_caption
from addon.standin.failures import fail
from addon.standin.methods_send import new_message
from addon.standin.records import Chat, Message
from addon.standin.render import chat_json, message_json, sender_json

_PROTECTED = "message has protected content and can't be forwarded"


def forward_message(call: Call) -> dict[str, Any]:
    """https://core.telegram.org/bots/api#forwardmessage"""
    chat, source = _chats(call)
    original = find_message(call, source, call.integer("message_id"), "forward")
    if original.protected or source.protected:
        raise fail(400, _PROTECTED)
    call.count_messages(chat)
    return message_json(call.world, call.bots, call.bot, _forward(call, chat, source, original))


def forward_messages(call: Call) -> list[dict[str, int]]:
    """https://core.telegram.org/bots/api#forwardmessages: what is missing or protected is skipped without a trace."""
    chat, source = _chats(call)
    originals = _originals(call, source, copying=False)
    call.count_messages(chat, len(originals))
    return [{"message_id": _forward(call, chat, source, original).id} for original in originals]


def copy_message(call: Call) -> dict[str, int]:
    """https://core.telegram.org/bots/api#copymessage: a caption that is given, even an empty one, replaces the old."""
    chat, source = _chats(call)
    original = find_message(call, source, call.integer("message_id"), "copy")
    if original.protected:
        raise fail(400, _PROTECTED)
    text, entities = original.text, original.entities
    if "caption" in call.arguments and original.kind == "document":
        text, entities = read_caption(call.text("caption"), call.text("parse_mode"), call.text("caption_entities"))
    call.count_messages(chat)
    return {"message_id": _copy(call, chat, original, text, entities).id}


def copy_messages(call: Call) -> list[dict[str, int]]:
    """https://core.telegram.org/bots/api#copymessages"""
    chat, source = _chats(call)
    originals = _originals(call, source, copying=True)
    call.count_messages(chat, len(originals))
    without = call.boolean("remove_caption")
    copies = []
    for original in originals:
        keeps = original.kind == "text" or not without
        copies.append(_copy(call, chat, original, original.text if keeps else "", original.entities if keeps else ()))
    return [{"message_id": message.id} for message in copies]


def _chats(call: Call) -> tuple[Chat, Chat]:
    """The chat to send to and the chat to take from."""
    chat = require_write(call, call.text("chat_id"), "document")
    source, _ = require_read(call, call.text("from_chat_id"))
    return chat, source


def _originals(call: Call, source: Chat, *, copying: bool) -> list[Message]:
    identifiers = read_message_ids(call.text("message_ids"))
    require_increasing(identifiers)
    found = []
    for message_id in identifiers:
        message = call.world.messages.get(source, call.bot.id, message_id)
        if message is None or message.kind == "service" or message.protected or (source.protected and not copying):
            continue
        found.append(message)
    if not found:
        raise fail(400, "there are no messages to forward")
    return found


def _copy(call: Call, chat: Chat, original: Message, text: str, entities: tuple[dict[str, Any], ...]) -> Message:
    return new_message(
        call,
        chat,
        kind=original.kind,
        document_id=original.document_id,
        text=text,
        entities=entities,
        protected=call.boolean("protect_content"),
    )


def _forward(call: Call, chat: Chat, source: Chat, original: Message) -> Message:
    return new_message(
        call,
        chat,
        kind=original.kind,
        document_id=original.document_id,
        text=original.text,
        entities=original.entities,
        forward=original.forward or _origin(call, source, original),
        protected=call.boolean("protect_content"),
    )


def _origin(call: Call, source: Chat, original: Message) -> dict[str, Any]:
    """Where the message came from: `forward_origin`, and the older fields that the server still writes beside it."""
    if source.type == "channel":
        chat = chat_json(source)
        origin = {"type": "channel", "chat": chat, "message_id": original.id, "date": original.date}
        older = {"forward_from_chat": chat, "forward_from_message_id": original.id, "forward_date": original.date}
        return {"forward_origin": origin, **older}
    user = sender_json(original, source, call.bots)
    origin = {"type": "user", "sender_user": user, "date": original.date}
    return {"forward_origin": origin, "forward_from": user, "forward_date": original.date}
