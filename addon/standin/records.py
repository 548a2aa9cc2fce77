"""The rows of a world as frozen values."""

import json
import sqlite3
from dataclasses import dataclass
from typing import Any, Literal, cast

from addon.standin.content import Kind

ChatType = Literal["private", "group", "supergroup", "channel"]
CHAT_TYPES: tuple[ChatType, ...] = ("private", "group", "supergroup", "channel")

# `absent`: the bot never was in the chat, which then does not exist for it.
MemberState = Literal["admin", "member", "left", "kicked", "blocked", "absent"]
MEMBER_STATES: tuple[MemberState, ...] = ("admin", "member", "left", "kicked", "blocked", "absent")


@dataclass(frozen=True, slots=True)
class Bot:
    """A registered bot; `id` is the number before the colon of its token, which is kept out of everything printed."""

    id: int
    username: str
    first_name: str

    def as_user(self) -> dict[str, Any]:
        """The User object without the fields that only getMe gives."""
        return {"id": self.id, "is_bot": True, "first_name": self.first_name, "username": self.username}


@dataclass(frozen=True, slots=True)
class Chat:
    id: int
    type: ChatType
    title: str
    username: str | None
    protected: bool
    deleted: bool
    migrated_to: int | None

    @property
    def numbers_its_messages(self) -> bool:
        """Channels and supergroups count their own messages; private chats and basic groups share one count per bot."""
        return self.type in ("channel", "supergroup")

    @property
    def usual_state(self) -> MemberState:
        """What a bot is in the chat unless it was told otherwise."""
        return "member" if self.type == "private" else "admin"

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> "Chat":
        return cls(
            id=row["id"],
            type=cast(ChatType, row["type"]),
            title=row["title"],
            username=row["username"],
            protected=bool(row["protected"]),
            deleted=bool(row["deleted"]),
            migrated_to=row["migrated_to"],
        )


@dataclass(frozen=True, slots=True)
class Member:
    """A bot in a chat: its state, and the rights taken from it (named as in ChatAdministratorRights and ChatPermissions)."""

    state: MemberState
    denied: frozenset[str]

    def may(self, right: str) -> bool:
        return right not in self.denied


@dataclass(frozen=True, slots=True)
class Document:
    """A file within Telegram; its name, type and bytes never change."""

    id: int
    unique_of: int
    blob: str
    size: int
    sha256: str
    kind: Kind
    file_name: str
    mime_type: str
    thumbnail: bool
    dead: bool

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> "Document":
        return cls(
            id=row["id"],
            unique_of=row["unique_of"],
            blob=row["blob"],
            size=row["size"],
            sha256=row["sha256"],
            kind=cast(Kind, row["kind"]),
            file_name=row["file_name"],
            mime_type=row["mime_type"],
            thumbnail=bool(row["thumbnail"]),
            dead=bool(row["dead"]),
        )


@dataclass(frozen=True, slots=True)
class Message:
    """A message as one bot sees it: `owner_id` is 0 where the chat numbers its messages, else the bot whose count it is in.

    `sender_id` is a bot or, for a person's message, 0. `kind` is `text`, `document` or `service`. `text` is the caption of a
    document. `forward` holds the fields that tell where a forwarded message came from.
    """

    owner_id: int
    chat_id: int
    id: int
    sender_id: int
    kind: str
    date: int
    edit_date: int = 0
    edits: int = 0
    document_id: int | None = None
    text: str = ""
    entities: tuple[dict[str, Any], ...] = ()
    media_group_id: str | None = None
    forward: dict[str, Any] | None = None
    reply_to_id: int | None = None
    protected: bool = False

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> "Message":
        return cls(
            owner_id=row["owner_id"],
            chat_id=row["chat_id"],
            id=row["id"],
            sender_id=row["sender_id"],
            kind=row["kind"],
            date=row["date"],
            edit_date=row["edit_date"],
            edits=row["edits"],
            document_id=row["document_id"],
            text=row["text"],
            entities=tuple(json.loads(row["entities"])),
            media_group_id=row["media_group_id"],
            forward=None if row["forward"] is None else json.loads(row["forward"]),
            reply_to_id=row["reply_to_id"],
            protected=bool(row["protected"]),
        )


@dataclass(frozen=True, slots=True)
class Slot:
    """A file ready for download: getFile makes it, the file host serves it under `path` until it expires."""

    bot_id: int
    number: int
    document_id: int
    path: str
    made_at: float
