"""Messages: their numbers, their rows, and which of them are pinned."""

import json

from addon.standin.database import Database
from addon.standin.records import Chat, Message


class Messages:
    def __init__(self, database: Database) -> None:
        self._database = database

    @staticmethod
    def owner(chat: Chat, bot_id: int) -> int:
        """Whose count a message of this chat is in: 0 for the chat's own, else the bot's."""
        return 0 if chat.numbers_its_messages else bot_id

    def next_id(self, chat: Chat, bot_id: int) -> int:
        if chat.numbers_its_messages:
            return self._database.count_up(f"chat:{chat.id}", 2)
        return self._database.count_up(f"bot:{bot_id}", 1)

    def next_media_group_id(self) -> str:
        return str(self._database.count_up("media groups", 13_000_000_000_000_001))

    def put(self, message: Message) -> None:
        """Write the message, new or changed."""
        self._database.change(
            "INSERT OR REPLACE INTO messages (owner_id, chat_id, id, sender_id, kind, date, edit_date, edits, document_id, text,"
            " entities, media_group_id, forward, reply_to_id, protected) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            message.owner_id,
            message.chat_id,
            message.id,
            message.sender_id,
            message.kind,
            message.date,
            message.edit_date,
            message.edits,
            message.document_id,
            message.text,
            json.dumps(message.entities),
            message.media_group_id,
            None if message.forward is None else json.dumps(message.forward),
            message.reply_to_id,
            message.protected,
        )

    def add_service(self, chat: Chat, bot_id: int, date: int) -> None:
        """A service message: it uses up a number and is nothing that a bot could forward."""
        owner, number = self.owner(chat, bot_id), self.next_id(chat, bot_id)
        self.put(Message(owner, chat.id, number, sender_id=bot_id, kind="service", date=date))

    def get(self, chat: Chat, bot_id: int, message_id: int) -> Message | None:
        """The message, or None; service messages are found too."""
        row = self._database.row(
            "SELECT * FROM messages WHERE owner_id = ? AND chat_id = ? AND id = ?",
            self.owner(chat, bot_id),
            chat.id,
            message_id,
        )
        return None if row is None else Message.from_row(row)

    def of_chat(self, chat_id: int) -> list[Message]:
        """Every message of the chat: for the control port only, the Bot API has no listing."""
        rows = self._database.rows("SELECT * FROM messages WHERE chat_id = ? ORDER BY owner_id, id", chat_id)
        return [Message.from_row(row) for row in rows]

    def remove(self, message: Message) -> None:
        key = (message.owner_id, message.chat_id, message.id)
        self._database.change("DELETE FROM messages WHERE owner_id = ? AND chat_id = ? AND id = ?", *key)
        self._database.change("DELETE FROM pins WHERE owner_id = ? AND chat_id = ? AND message_id = ?", *key)

    def uses_document(self, document_id: int) -> bool:
        return self._database.row("SELECT 1 FROM messages WHERE document_id = ? LIMIT 1", document_id) is not None

    def pin(self, message: Message) -> None:
        self._database.change(
            "INSERT OR IGNORE INTO pins VALUES (?, ?, ?)", message.owner_id, message.chat_id, message.id
        )

    def unpin(self, message: Message) -> None:
        self._database.change(
            "DELETE FROM pins WHERE owner_id = ? AND chat_id = ? AND message_id = ?",
            message.owner_id,
            message.chat_id,
            message.id,
        )

    def unpin_all(self, chat: Chat, bot_id: int) -> None:
        self._database.change("DELETE FROM pins WHERE owner_id = ? AND chat_id = ?", self.owner(chat, bot_id), chat.id)

    def pinned_ids(self, chat_id: int) -> list[int]:
        """Every pinned message's number, for the control port."""
        rows = self._database.rows("SELECT message_id FROM pins WHERE chat_id = ? ORDER BY message_id", chat_id)
        return [row["message_id"] for row in rows]

    def pinned(self, chat: Chat, bot_id: int) -> Message | None:
        """The pinned message that was sent last, however early it was pinned (Bot API, ChatFullInfo.pinned_message)."""
        row = self._database.row(
            "SELECT max(message_id) AS id FROM pins WHERE owner_id = ? AND chat_id = ?",
            self.owner(chat, bot_id),
            chat.id,
        )
        return None if row is None or row["id"] is None else self.get(chat, bot_id, row["id"])
