"""Pure reading of the Bot API's answers about documents (https://core.telegram.org/bots/api#message, #document, #file)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Telegram decides what a file is; a document may come back under another name (`document` first: an animation has both).
MEDIA_FIELDS = ("document", "animation", "video", "audio", "voice", "sticker")


@dataclass(frozen=True, slots=True)
class SentFile:
    """The file in a message. `size` is None where the answer names none; in bytes."""

    chat_id: int
    message_id: int
    file_id: str
    file_unique_id: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why an answer is not accepted; (`chat_id`, `message_id`) is the message to delete, where the answer names one."""

    reason: str
    chat_id: int = 0
    message_id: int = 0


def sent_file(result: Any, *, chat_id: int, size: int) -> SentFile | Rejected:
    """The file of a message that was just sent or forwarded to `chat_id`, if the answer is what it must be.

    `message_id` may be 0 when the server schedules the message by itself; such a message has no address yet.
    """
    message = result if isinstance(result, Mapping) else {}
    chat = message.get("chat")
    given_chat_id = chat.get("id") if isinstance(chat, Mapping) else None
    if given_chat_id != chat_id:
        # Whatever that message is, it is not known to be ours: it is left alone.
        return Rejected("the answer names another chat, or none")
    message_id = message.get("message_id")
    if not isinstance(message_id, int) or isinstance(message_id, bool) or message_id <= 0:
        return Rejected("the answer has no message_id")
    files = [found for name in MEDIA_FIELDS if (found := _file(message.get(name), chat_id, message_id))]
    for file in files:
        if file.size == size:
            return file
    for file in files:
        if file.size is None:
            return file
    told = ", ".join(str(file.size) for file in files) or "no file"
    return Rejected(f"the answer has {told} where {size} bytes were sent", chat_id, message_id)


@dataclass(frozen=True, slots=True)
class FoundMessage:
    """A message that was found: when it, or the one that it is a forwarded copy of, was sent (UNIX seconds, 0 where that is not
    told); `caption` is empty where it has none; `file` is None where it has no file."""

    chat_id: int
    message_id: int
    sent_at_s: int
    caption: str
    file: SentFile | None


def found_message(result: Any) -> FoundMessage | None:
    """A message of a chat's, whoever wrote it; None where there is none that can be read."""
    message = result if isinstance(result, Mapping) else {}
    chat = message.get("chat")
    chat_id, message_id = chat.get("id") if isinstance(chat, Mapping) else None, message.get("message_id")
    if not isinstance(chat_id, int) or not isinstance(message_id, int) or isinstance(message_id, bool):
        return None
    caption, origin = message.get("caption"), message.get("forward_origin")
    date = origin.get("date") if isinstance(origin, Mapping) else message.get("date")
    files = [found for name in MEDIA_FIELDS if (found := _file(message.get(name), chat_id, message_id))]
    return FoundMessage(
        chat_id,
        message_id,
        date if isinstance(date, int) else 0,
        caption if isinstance(caption, str) else "",
        files[0] if files else None,
    )


def _file(media: Any, chat_id: int, message_id: int) -> SentFile | None:
    if not isinstance(media, Mapping):
        return None
    file_id, unique_id, size = media.get("file_id"), media.get("file_unique_id"), media.get("file_size")
    if not isinstance(file_id, str) or not file_id or not isinstance(unique_id, str):
        return None
    known = isinstance(size, int) and not isinstance(size, bool)
    return SentFile(chat_id, message_id, file_id, unique_id, size if known else None)


@dataclass(frozen=True, slots=True)
class FileLink:
    """What getFile tells: a path for a file link, good for an hour at least, the size in bytes where it is named, and what is the
    file's own for all bots and times (empty where it is not named)."""

    path: str
    size: int | None
    unique_id: str = ""


def file_link(result: Any) -> FileLink | None:
    """None where the answer has no usable path."""
    if not isinstance(result, Mapping):
        return None
    path, size = result.get("file_path"), result.get("file_size")
    if not isinstance(path, str) or not path:
        return None
    known = isinstance(size, int) and not isinstance(size, bool)
    unique_id = result.get("file_unique_id")
    return FileLink(path, size if known else None, unique_id if isinstance(unique_id, str) else "")
