"""Chats, and what each bot is in them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from addon.standin.database import Database
from addon.standin.records import CHAT_TYPES, MEMBER_STATES, Chat, ChatType, Member, MemberState


@dataclass(frozen=True, slots=True)
class ChatSpec:
    """A chat to be there from the start; every bot is its administrator (in a private chat: its partner)."""

    id: int
    type: ChatType
    title: str = ""
    username: str | None = None
    protected: bool = False

    @classmethod
    def parse(cls, text: str) -> "ChatSpec":
        """Read `ID:TYPE`, `ID:TYPE:TITLE` or `ID` (a channel, a group or a private chat, after the form of the number).

        Raises ValueError with the text that is wrong.
        """
        number, _, rest = text.partition(":")
        kind, _, title = rest.partition(":")
        try:
            chat_id = int(number)
        except ValueError:
            raise ValueError(f"{text!r}: a chat begins with its number") from None
        if not kind:
            kind = "private" if chat_id > 0 else "channel" if number.startswith("-100") else "group"
        for chat_type in CHAT_TYPES:
            if kind == chat_type:
                return cls(chat_id, chat_type, title)
        raise ValueError(f"{text!r}: the type is one of {', '.join(CHAT_TYPES)}")


class Chats:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, spec: ChatSpec, date: int) -> bool:
        """Make the chat unless it is there already; whether it was made.

        Message 1 of a channel or supergroup is the service message about its creation, so the first real one has number 2.
        """
        if self.get(spec.id) is not None:
            return False
        title = spec.title or f"Chat {abs(spec.id)}"
        self._database.change(
            "INSERT INTO chats (id, type, title, username, protected) VALUES (?, ?, ?, ?, ?)",
            spec.id,
            spec.type,
            title,
            spec.username,
            spec.protected,
        )
        if spec.type in ("channel", "supergroup"):
            self._database.change(
                "INSERT INTO messages (owner_id, chat_id, id, sender_id, kind, date) VALUES (0, ?, 1, 0, 'service', ?)",
                spec.id,
                date,
            )
            self._database.count_up(f"chat:{spec.id}", 1)
        return True

    def get(self, chat_id: int) -> Chat | None:
        row = self._database.row("SELECT * FROM chats WHERE id = ?", chat_id)
        return None if row is None else Chat.from_row(row)

    def named(self, username: str) -> Chat | None:
        row = self._database.row("SELECT * FROM chats WHERE lower(username) = ?", username)
        return None if row is None else Chat.from_row(row)

    def all(self) -> list[Chat]:
        return [Chat.from_row(row) for row in self._database.rows("SELECT * FROM chats ORDER BY id")]

    def member(self, chat: Chat, bot_id: int) -> Member:
        row = self._database.row("SELECT * FROM members WHERE chat_id = ? AND bot_id = ?", chat.id, bot_id)
        if row is None:
            return Member(chat.usual_state, frozenset())
        return Member(row["state"], frozenset(json.loads(row["denied"])))

    def set_state(self, chat_id: int, bot_id: int, state: MemberState) -> None:
        if state not in MEMBER_STATES:
            raise ValueError(f"{state!r} is no member state")
        self._database.change(
            "INSERT INTO members (chat_id, bot_id, state) VALUES (?, ?, ?)"
            " ON CONFLICT (chat_id, bot_id) DO UPDATE SET state = excluded.state",
            chat_id,
            bot_id,
            state,
        )

    def deny(self, chat_id: int, bot_id: int, state: MemberState, rights: Iterable[str]) -> None:
        """Set the bot's state together with exactly these rights taken away."""
        self._database.change(
            "INSERT OR REPLACE INTO members (chat_id, bot_id, state, denied) VALUES (?, ?, ?, ?)",
            chat_id,
            bot_id,
            state,
            json.dumps(sorted(rights)),
        )

    def protect(self, chat_id: int, protected: bool) -> None:
        self._database.change("UPDATE chats SET protected = ? WHERE id = ?", protected, chat_id)

    def delete(self, chat_id: int) -> None:
        self._database.change("UPDATE chats SET deleted = 1 WHERE id = ?", chat_id)

    def migrate(self, chat: Chat, new_id: int, date: int) -> None:
        """Make the group a supergroup with another number; its messages are numbered anew from 2."""
        self.create(ChatSpec(new_id, "supergroup", chat.title, chat.username, chat.protected), date)
        self._database.change("UPDATE chats SET migrated_to = ?, username = NULL WHERE id = ?", new_id, chat.id)
        for row in self._database.rows("SELECT * FROM members WHERE chat_id = ?", chat.id):
            self._database.change(
                "INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?)", new_id, row["bot_id"], row["state"], row["denied"]
            )
