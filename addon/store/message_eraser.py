"""What becomes of a message that is to be erased: deleted while it is young enough, else a placeholder in the document's place."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable

from addon.store.ports import Deleted, Documents
from addon.store.records import Document

# A placeholder is a message to Telegram's limits: it waits while so much of a burst or less is left for clients, and looks again
# after a pause.
LEAVES_OF_BURST = 0.5
LOOK_S = 1.0


class Ending(enum.Enum):
    """How a document was erased: its message `DELETED`, its place taken by a placeholder (`BLANKED`), not there any more
    (`NOT_FOUND`), or never ours to delete (`NO_MESSAGE`: imported by its file_id alone); or it `FAILED`."""

    DELETED = "deleted"
    BLANKED = "blanked"
    NOT_FOUND = "not found"
    NO_MESSAGE = "no message"
    FAILED = "failed"


class MessageEraser:
    """Erases messages, one placeholder after the other."""

    def __init__(self, documents: Documents, *, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._documents, self._sleep = documents, sleep
        self._blanking = asyncio.Lock()

    async def erase(self, document: Document) -> Ending:
        """Nothing of the document is in its message when this returns. Raises `TelegramUnavailable`."""
        if not document.has_message:
            return Ending.NO_MESSAGE
        deleted = await self._documents.delete(document)
        if deleted is Deleted.GONE:
            return Ending.DELETED
        if deleted is Deleted.TOO_OLD and await self._blank(document):
            return Ending.BLANKED
        return Ending.NOT_FOUND

    async def _blank(self, document: Document) -> bool:
        async with self._blanking:
            while self._documents.burst_share_left() <= LEAVES_OF_BURST:
                await self._sleep(LOOK_S)
            return await self._documents.blank(document)
