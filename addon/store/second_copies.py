"""Documents in more than one chat (`store.copies`): the ports, and what comes through them.

A *place* is a message that holds a document's file. The place that the document's own row names is its address; the others are its
copies. A place counts while its chat is one of those that are configured and work.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from addon.store.migration import Amount
from addon.store.ports import StoreError
from addon.store.records import Document, DocumentCopy


@dataclass(frozen=True, slots=True)
class Ways:
    """What else leads to a document's file: its copies, and the file_ids of other bots by their ids."""

    copies: Sequence[DocumentCopy] = ()
    file_ids: Sequence[tuple[int, str]] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """A document in use, and all its places beside the address."""

    document: Document
    ways: Ways

    @property
    def places(self) -> Sequence[DocumentCopy]:
        """All places that are known, the address first."""
        document = self.document
        address = DocumentCopy(document.chat_id, document.message_id, document.bot_id, document.file_id)
        return (address, *self.ways.copies) if document.has_message else tuple(self.ways.copies)


class PlaceGone(StoreError):
    """Telegram says that there is no such message (any more)."""

    def __init__(self, place: DocumentCopy) -> None:
        super().__init__(f"message {place.message_id} of chat {place.chat_id} is gone")
        self.place = place


class WaysIndex(Protocol):
    """What the index knows of places. Raises `IndexUnavailable` from every method."""

    async def ways_to(self, document_id: str) -> Ways:
        """What else leads to the document. A short read, for when its own row does not."""

    async def lacking(self, chats: Collection[int], wanted: int, *, after: str, limit: int) -> Sequence[Kept]:
        """Up to `limit` documents in use, with ids above `after` in ascending order, that have fewer than `wanted` places in
        `chats`, or whose address is not in one of them."""

    async def lacking_amount(self, chats: Collection[int], wanted: int) -> Amount:
        """How many those are."""

    async def add_copy(self, document_id: str, copy: DocumentCopy) -> bool:
        """Remember a further place. False, and nothing changed, where nothing uses the document any more, or another place of it in
        that chat is known."""

    async def move_address(self, document: Document, to: DocumentCopy, *, keep_former: bool) -> bool:
        """Make a copy the address; the former address is a copy then, or forgotten. False, and nothing changed, where the document
        has another address by now, or no such copy."""

    async def forget_copy_in(self, document_id: str, copy: DocumentCopy) -> None:
        """That place is no copy any more."""

    async def moved_chats(self) -> dict[int, int]:
        """Which chats have which other id by now."""


class Copying(Protocol):
    """The way to further places in Telegram."""

    def working_chats(self) -> frozenset[int]:
        """The present ids of the configured chats to which a bot may send, as far as is known."""

    async def ask_all(self) -> None:
        """Ask each bot whether it may send to each chat; what may not is set aside."""

    async def copy(self, kept: Kept, *, chats: Collection[int], but_address: bool = False) -> DocumentCopy:
        """Put the file into another message, in one of `chats`: from a place that counts by copying its message, else by a file_id;
        nothing is uploaded. One attempt for each way, each within the wait limit of a send; `but_address` leaves out the address.

        Raises `TelegramUnavailable`, `DocumentLost` where no way leads to the file, and `PlaceGone`."""

    async def discard(self, copy: DocumentCopy) -> None:
        """Delete a message that nothing refers to, if that can be."""
