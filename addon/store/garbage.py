"""One run of garbage collection: what is dead in part is made anew, and what is dead as a whole is erased."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from addon.store.eraser import Erased, Eraser
from addon.store.erasing import ErasureTerms
from addon.store.retelling import SMALL_MAX, Retelling
from addon.store.rewriter import Rewriter, Rewritten

# Of a document that is used still, so much has to be dead before the rest is moved, where nobody asks for more.
DEAD_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class GarbageTerms:
    """What is erased as a whole (`erasure`), and from which dead share on documents in use are made anew. A `thorough` run also
    looks through all documents that only tell states."""

    erasure: ErasureTerms
    dead_share: float = DEAD_SHARE
    thorough: bool = False


class GarbageCollection:
    """Puts the three together."""

    def __init__(self, rewriter: Rewriter, retelling: Retelling, eraser: Eraser) -> None:
        self._rewriter, self._retelling, self._eraser = rewriter, retelling, eraser

    async def run(
        self, terms: GarbageTerms, tell_rewritten: Callable[[Rewritten], None], tell_erased: Callable[[Erased], None]
    ) -> None:
        """Run once, to the end. Raises `IndexUnavailable`, and `TelegramUnavailable` where the present states cannot be told."""
        await self._rewriter.rewrite(terms.dead_share, tell_rewritten)
        if terms.thorough:
            await self._retelling.doom_outdated()
        await self._retelling.doom_small(1 if terms.thorough else SMALL_MAX)
        await self._eraser.erase(terms.erasure, tell_erased)
