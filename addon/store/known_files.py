"""Files that are in Telegram already, known by their `file_id` alone: the port, and what comes through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from addon.store.ports import StoreError
from addon.store.records import Document


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that the bot `bot_id` can read by this `file_id`; `size` in bytes."""

    bot_id: int
    file_id: str
    file_unique_id: str
    size: int

    def as_document(self, document_id: str) -> Document:
        """The file as a document whose message nobody knows."""
        return Document(document_id, 0, 0, self.bot_id, self.file_id, self.file_unique_id, self.size)


class FileRefused(StoreError):
    """Telegram answered, and gives this file to none of our bots, or does not send it again. The text is the reason; trying again
    does not help."""


class KnownFiles(Protocol):
    """Files of our bots."""

    async def find(self, file_id: str) -> FoundFile:
        """Ask whose file it is and how large; costs no message. Raises `FileRefused`, or `TelegramUnavailable` where no answer
        could be had within the limits of waiting."""

    async def send_again(self, found: FoundFile, *, document_id: str, caption: str) -> Document:
        """Put the file into a message of ours, so that it has a durable address; costs one message and uploads nothing. Raises as
        `find`."""
