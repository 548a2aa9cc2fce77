"""Reading a chat's messages one by one: the port, and what a message is to us. Nothing in the Bot API lists a chat's history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from addon.store.ports import StoreError
from addon.store.records import Document


class MessageUnreadable(StoreError):
    """The message is there, and no bot can read it."""


@dataclass(frozen=True, slots=True)
class ScannedMessage:
    """A message: when it was sent (UNIX seconds), its caption as it stands there, and its document (without our id) where it has
    one."""

    chat_id: int
    message_id: int
    sent_at_s: int
    caption: str
    document: Document | None


class ChatScan(Protocol):
    """The messages of the chats. Raises `TelegramUnavailable` where no bot can reach a chat."""

    @property
    def chat_ids(self) -> Sequence[int]:
        """The chats, as configured."""

    @property
    def concurrency(self) -> int:
        """So many messages may be read at once."""

    def messages_per_min(self, chat_id: int) -> float:
        """How many messages of a chat all bots together may read in a minute."""

    async def newest(self, chat_id: int) -> int:
        """The id of the newest message: one is sent and deleted to learn it."""

    async def read(self, chat_id: int, message_id: int) -> ScannedMessage | None:
        """A message; None where there is none of this number. Costs a message to the chat, which is deleted at once. Raises
        `MessageUnreadable`."""
