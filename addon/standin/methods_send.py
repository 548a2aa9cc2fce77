"""sendDocument, sendMediaGroup and sendMessage."""

import json
from typing import Any

from addon.standin.access import require_write
from addon.standin.call import Call
from addon.standin.captions import read_caption, read_text
from addon.standin.failures import PREFIXES, ApiError, fail
from addon.standin.records import Chat, Message
from addon.standin.render import message_json
from addon.standin.replies import read_reply
from addon.standin.uploads import Source, choose_source, keep

ALBUM_ITEMS_MAX = 10


def new_message(call: Call, chat: Chat, **fields: Any) -> Message:
    """Write a message of the calling bot with the chat's next number."""
    messages = call.world.messages
    message = Message(
        owner_id=messages.owner(chat, call.bot.id),
        chat_id=chat.id,
        id=messages.next_id(chat, call.bot.id),
        sender_id=call.bot.id,
        date=call.date,
        **fields,
    )
    messages.put(message)
    return message


def send_document(call: Call) -> dict[str, Any]:
    """https://core.telegram.org/bots/api#senddocument"""
    source = choose_source(call, call.text("document"), "document", "there is no document in the request")
    chat = require_write(call, call.text("chat_id"), "document")
    caption, entities = read_caption(call.text("caption"), call.text("parse_mode"), call.text("caption_entities"))
    reply_to_id = read_reply(call, chat)
    call.count_messages(chat)
    document = keep(call, source, detection=not call.boolean("disable_content_type_detection"))
    message = new_message(
        call,
        chat,
        kind="document",
        document_id=document.id,
        text=caption,
        entities=entities,
        reply_to_id=reply_to_id,
        protected=call.boolean("protect_content"),
    )
    return message_json(call.world, call.bots, call.bot, message)


def send_message(call: Call) -> dict[str, Any]:
    """https://core.telegram.org/bots/api#sendmessage"""
    chat = require_write(call, call.text("chat_id"), "text")
    text, entities = read_text(call.text("text"), call.text("parse_mode"), call.text("entities"))
    reply_to_id = read_reply(call, chat)
    call.count_messages(chat)
    message = new_message(
        call,
        chat,
        kind="text",
        text=text,
        entities=entities,
        reply_to_id=reply_to_id,
        protected=call.boolean("protect_content"),
    )
    return message_json(call.world, call.bots, call.bot, message)


def read_media(value: Any) -> dict[str, Any]:
    """An InputMediaDocument. Raises ApiError 400 for anything else."""
    if not isinstance(value, dict):
        raise fail(400, "can't parse InputMedia: expected an Object")
    if value.get("type") != "document":
        raise fail(400, "can't parse InputMedia: only media of the type document is supported")
    if not isinstance(value.get("media"), str) or not value["media"]:
        raise fail(400, "can't parse InputMedia: media not found")
    return value


def media_source(call: Call, media: dict[str, Any]) -> Source:
    return choose_source(call, media["media"], "", "can't parse InputMedia: media not found")


def media_caption(media: dict[str, Any]) -> tuple[str, tuple[dict[str, Any], ...]]:
    entities = media.get("caption_entities")
    return read_caption(
        str(media.get("caption", "")), str(media.get("parse_mode", "")), json.dumps(entities) if entities else ""
    )


def _read_album(text: str) -> list[dict[str, Any]]:
    if not text:
        raise fail(400, "there are no messages to send")
    try:
        values = json.loads(text)
    except ValueError:
        raise fail(400, "can't parse media JSON object") from None
    if not isinstance(values, list):
        raise fail(400, "expected an Array of InputMedia")
    if not values:
        raise fail(400, "there are no messages to send")
    if len(values) > ALBUM_ITEMS_MAX:
        raise fail(400, "too many messages to send as an album")
    types = {value.get("type") for value in values if isinstance(value, dict)}
    if "document" in types and len(types) > 1:
        raise fail(400, "document can't be mixed with other media types")
    return [read_media(value) for value in values]


def send_media_group(call: Call) -> list[dict[str, Any]]:
    """https://core.telegram.org/bots/api#sendmediagroup, for documents."""
    chat = require_write(call, call.text("chat_id"), "document")
    album = _read_album(call.text("media"))
    for item in album:
        if (
            item["media"].startswith("attach://")
            and call.received.file(item["media"].removeprefix("attach://")) is None
        ):
            raise fail(400, "can't parse InputMedia: media not found")
    reply_to_id = read_reply(call, chat)
    call.count_messages(chat, len(album))
    group = call.world.messages.next_media_group_id() if len(album) > 1 else None
    sent: list[Message] = []
    for number, media in enumerate(album, start=1):
        try:
            caption, entities = media_caption(media)
            document = keep(call, media_source(call, media), detection=False)
        except ApiError as error:
            raise _failed_item(number, error, keep_changes=call.switches.album_partial) from None
        fields = {"kind": "document", "document_id": document.id, "text": caption, "entities": entities}
        protected = call.boolean("protect_content")
        sent.append(
            new_message(call, chat, **fields, media_group_id=group, reply_to_id=reply_to_id, protected=protected)
        )
    return [message_json(call.world, call.bots, call.bot, message) for message in sent]


def _failed_item(number: int, error: ApiError, *, keep_changes: bool) -> ApiError:
    text = error.description.removeprefix(f"{PREFIXES.get(error.code, '')}: ")
    failed = fail(400, f'failed to send message #{number} with the error message "{text}"')
    return ApiError(failed.code, failed.description, keep_changes=keep_changes)
