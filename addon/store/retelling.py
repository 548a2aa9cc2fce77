"""Before documents are erased: what only they tell of keys is told elsewhere, so that a lost index can be made again without them.

Documents that have nothing but states are kept until most of what they tell is out of date, or until there are many small ones;
then what is still in force is told anew, together.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Protocol

from addon.store.erasing import DoomedDocument, ErasureIndex, ToldKey
from addon.store.pack_format import TAIL_BYTES, NotAPack, manifest_place, read_manifest
from addon.store.ports import DocumentCorrupt, DocumentLost, Documents
from addon.store.records import Document
from addon.store.seal_format import content_bytes

# Below this a document with states only is small: it is worth a message to have fewer of them.
SMALL_BYTES = 64 << 10
SMALL_MAX = 100
# What states a document still tells, of all that it told: with less than that it is made anew.
IN_FORCE_SHARE = 0.5


class StatesFlow(Protocol):
    """What tells states: the packer."""

    async def flush_states(self) -> None:
        """Tell all states that no document tells now. Raises `TelegramUnavailable` and `IndexUnavailable`."""


class Retelling:
    """Sees that nothing is told only by what goes."""

    def __init__(self, index: ErasureIndex, documents: Documents, states: StatesFlow) -> None:
        self._index, self._documents, self._states = index, documents, states

    async def before_erasing(self, doomed: Sequence[DoomedDocument]) -> dict[str, str]:
        """Returns when Telegram knows all of the present state without these documents; those that could not be read, with the
        reason: they have to stay. Raises `TelegramUnavailable`, `IndexUnavailable`."""
        unreadable: dict[str, str] = {}
        untold: list[str] = []
        for one in doomed:
            if one.tells_states:
                try:
                    await self._index.untell(await self._told_by(one.document))
                    untold.append(one.document.document_id)
                except (DocumentLost, DocumentCorrupt, NotAPack) as failure:
                    unreadable[one.document.document_id] = f"it tells states of keys, and cannot be read: {failure}"
        await self._states.flush_states()
        # Remembered, because whoever goes on after a stop may find nothing left of it to read.
        await self._index.told_elsewhere(untold)
        return unreadable

    async def doom_small(self, small_max: int = SMALL_MAX) -> int:
        """Give up the small documents with states only, where there are more than so many; returns how many. Raises
        `IndexUnavailable`."""
        small = [one for one in await self._index.states_documents() if one.size <= SMALL_BYTES]
        if len(small) <= small_max:
            return 0
        await self._index.doom([one.document_id for one in small])
        return len(small)

    async def doom_outdated(self) -> int:
        """Give up the larger ones, too, most of whose states are out of date: all are read for it. Returns how many. Raises
        `TelegramUnavailable`, `IndexUnavailable`."""
        outdated: list[str] = []
        for document in await self._index.states_documents():
            if document.size > SMALL_BYTES:
                with contextlib.suppress(DocumentLost, DocumentCorrupt, NotAPack):
                    told = await self._told_by(document)
                    if await self._index.in_force(told) < len(told) * IN_FORCE_SHARE:
                        outdated.append(document.document_id)
        await self._index.doom(outdated)
        return len(outdated)

    async def _told_by(self, document: Document) -> list[ToldKey]:
        """Raises `TelegramUnavailable`, `DocumentLost`, `DocumentCorrupt`, `NotAPack`."""
        size = content_bytes(document)
        tail = await self._content(document, max(0, size - TAIL_BYTES), min(size, TAIL_BYTES))
        offset, length = manifest_place(tail)
        if offset + length > size:
            raise NotAPack("it has no room for what it tells")
        pack = read_manifest(await self._content(document, offset, length))
        return [ToldKey(state.bucket, state.key, state.generation) for state in pack.states]

    async def _content(self, document: Document, offset: int, length: int) -> bytes:
        async with contextlib.aclosing(self._documents.read(document, offset=offset, length=length)) as pieces:
            return b"".join([piece async for piece in pieces])
