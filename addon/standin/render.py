"""Messages, chats and files as the Bot API writes them: only fields that it knows, in the server's order.

Source: https://core.telegram.org/bots/api#available-types.
"""

from typing import Any

from addon.standin.bots import Bots
from addon.standin.identifiers import FileReference, message_nonce
from addon.standin.records import Bot, Chat, Document, Message
from addon.standin.world import World

_PERSON_ID = 700_000_001
_THUMBNAIL_SIDE = 320
_THUMBNAIL_BYTES = 4096


def chat_json(chat: Chat) -> dict[str, Any]:
    """The Chat object."""
    name = "first_name" if chat.type == "private" else "title"
    result: dict[str, Any] = {"id": chat.id, name: chat.title}
    if chat.username:
        result["username"] = chat.username
    result["type"] = chat.type
    return result


def person_json(chat: Chat) -> dict[str, Any]:
    """The User object of whoever is not a bot in this chat."""
    if chat.type == "private":
        return {"id": chat.id, "is_bot": False, "first_name": chat.title}
    return {"id": _PERSON_ID, "is_bot": False, "first_name": "Person"}


def sender_json(message: Message, chat: Chat, bots: Bots) -> dict[str, Any]:
    bot = bots.by_id.get(message.sender_id)
    return person_json(chat) if bot is None else bot.as_user()


def message_json(world: World, bots: Bots, viewer: Bot, message: Message, *, with_reply: bool = True) -> dict[str, Any]:
    """The Message object as `viewer` sees it; `with_reply` includes the message that it replies to, one level deep."""
    chat = world.chats.get(message.chat_id)
    if chat is None:
        raise LookupError(f"message {message.id} is in no chat")
    result: dict[str, Any] = {"message_id": message.id}
    if chat.type == "channel":
        result["sender_chat"] = chat_json(chat)
    else:
        result["from"] = sender_json(message, chat, bots)
    result["chat"] = chat_json(chat)
    result["date"] = message.date
    if message.edit_date:
        result["edit_date"] = message.edit_date
    result.update(message.forward or {})
    if with_reply and message.reply_to_id is not None:
        original = world.messages.get(chat, viewer.id, message.reply_to_id)
        if original is not None:
            result["reply_to_message"] = message_json(world, bots, viewer, original, with_reply=False)
    if message.media_group_id is not None:
        result["media_group_id"] = message.media_group_id
    result.update(_content(world, viewer, message))
    if message.protected or chat.protected:
        result["has_protected_content"] = True
    return result


def _content(world: World, viewer: Bot, message: Message) -> dict[str, Any]:
    if message.document_id is None:
        if message.kind != "text":
            return {}
        entities = {"entities": list(message.entities)} if message.entities else {}
        return {"text": message.text, **entities}
    document = world.files.document(message.document_id)
    result = file_fields(world, viewer, message, document)
    if message.text and document.kind != "sticker":
        result["caption"] = message.text
        if message.entities:
            result["caption_entities"] = list(message.entities)
    return result


def file_fields(world: World, viewer: Bot, message: Message, document: Document) -> dict[str, Any]:
    """The part of a Message that holds its file: under `document` only where it still is one."""
    file: dict[str, Any] = {}
    if document.file_name and document.kind not in ("sticker", "voice"):
        file["file_name"] = document.file_name
    if document.mime_type and document.kind != "sticker":
        file["mime_type"] = document.mime_type
    if document.thumbnail:
        file["thumbnail"] = file["thumb"] = _thumbnail(world, viewer, document)
    file["file_id"] = world.file_id(viewer.id, message, document)
    file["file_unique_id"] = world.unique_id(document)
    file["file_size"] = document.size
    if document.kind == "document":
        return {"document": file}
    picture = {"width": 512, "height": 512}
    if document.kind == "animation":
        return {"animation": {"duration": 1, **picture, **file}, "document": file}
    if document.kind == "video":
        return {"video": {"duration": 1, **picture, **file}}
    if document.kind == "sticker":
        animated = document.file_name.endswith(".tgs")
        return {"sticker": {**picture, "is_animated": animated, "is_video": False, "type": "regular", **file}}
    return {document.kind: {"duration": 1, **file}}


def _thumbnail(world: World, viewer: Bot, document: Document) -> dict[str, Any]:
    nonce = message_nonce(b"thumbnail", viewer.id, document.id)
    return {
        "file_id": world.make_file_id(FileReference(viewer.id, document.id, nonce, "thumbnail")),
        "file_unique_id": world.unique_id(document, b"thumbnail"),
        "file_size": _THUMBNAIL_BYTES,
        "width": _THUMBNAIL_SIDE,
        "height": _THUMBNAIL_SIDE,
    }
