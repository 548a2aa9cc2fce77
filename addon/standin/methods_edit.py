"""editMessageMedia and editMessageCaption."""

import json
from dataclasses import replace
from typing import Any

from addon.standin.access import find_message, has_right, require_read
from addon.standin.call import Call
from addon.standin.captions import read_caption
from addon.standin.failures import fail
from addon.standin.methods_delete import release
from addon.standin.methods_send import media_caption, media_source, read_media
from addon.standin.records import Chat, Message
from addon.standin.render import message_json
from addon.standin.uploads import keep

_NOT_MODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the same as a current content and"
    " reply markup of the message"
)


def edit_message_media(call: Call) -> dict[str, Any]:
    """https://core.telegram.org/bots/api#editmessagemedia, for documents: a media without a caption removes the old one."""
    try:
        value = json.loads(call.text("media") or "null")
    except ValueError:
        raise fail(400, "can't parse input media JSON object") from None
    media = read_media(value)
    chat, message = _own_message(call)
    source = media_source(call, media)
    caption, entities = media_caption(media)
    call.count_messages(chat)
    detection = media.get("disable_content_type_detection") is not True and message.media_group_id is None
    document = keep(call, source, detection=detection)
    if message.document_id is not None and caption == message.text:
        current = call.world.files.document(message.document_id)
        if current.unique_of == document.unique_of:
            raise fail(400, _NOT_MODIFIED)
    changed = replace(message, kind="document", document_id=document.id, text=caption, entities=entities)
    answer = _edited(call, changed)
    if message.document_id != document.id:
        release(call, message.document_id)
    return answer


def edit_message_caption(call: Call) -> dict[str, Any]:
    """https://core.telegram.org/bots/api#editmessagecaption"""
    chat, message = _own_message(call)
    if message.kind != "document":
        raise fail(400, "there is no caption in the message to edit")
    caption, entities = read_caption(call.text("caption"), call.text("parse_mode"), call.text("caption_entities"))
    if caption == message.text and entities == message.entities:
        raise fail(400, _NOT_MODIFIED)
    call.count_messages(chat)
    return _edited(call, replace(message, text=caption, entities=entities))


def _own_message(call: Call) -> tuple[Chat, Message]:
    chat, member = require_read(call, call.text("chat_id"))
    if chat.type == "channel" and not has_right(chat, member, "can_post_messages"):
        raise fail(400, "need administrator rights in the channel chat")
    message_id = call.integer("message_id")
    if message_id == 0:
        raise fail(400, "message identifier is not specified")
    message = find_message(call, chat, message_id, "edit")
    if message.sender_id != call.bot.id or message.forward is not None:
        raise fail(400, "message can't be edited")
    return chat, message


def _edited(call: Call, message: Message) -> dict[str, Any]:
    changed = replace(message, edit_date=call.date, edits=message.edits + 1)
    call.world.messages.put(changed)
    return message_json(call.world, call.bots, call.bot, changed)
