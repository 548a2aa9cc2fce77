"""Which master keys the documents need, and whether they are there."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Protocol

from addon.store.migration import Amount
from addon.store.ports import KeyMissing


class SealedIndex(Protocol):
    """The index, as far as this needs it."""

    async def amounts_by_key(self) -> Mapping[str, Amount]:
        """The documents that are in use, and their bytes in Telegram, by the id of the master key that they are sealed under; empty
        for those that are not. Looks at every document. Raises `IndexUnavailable`."""


def missing_keys(amounts: Mapping[str, Amount], known: Set[str]) -> dict[str, Amount]:
    """What is sealed under keys that are not among the `known` ids."""
    return {key_id: amount for key_id, amount in amounts.items() if key_id and key_id not in known}


def missing_text(missing: Mapping[str, Amount]) -> str:
    """Say it."""
    keys = ", ".join(f"{key_id} ({amount.objects} of them)" for key_id, amount in sorted(missing.items()))
    return f"documents are sealed under keys that are not in the settings: {keys}"


ADVICE = (
    "give each of these keys as encryption.key, or among encryption.former_keys; one that nobody has any more goes into "
    "encryption.lost_key_ids, and what is sealed under it is given up"
)


async def check_keys(index: SealedIndex, known: Set[str]) -> None:
    """Raises `KeyMissing` where something is sealed under a key that is not among the `known` ids. So a mistaken key, or none,
    neither hides what is there nor lets new documents out in another way than was meant."""
    if missing := missing_keys(await index.amounts_by_key(), known):
        raise KeyMissing(f"{missing_text(missing)}; {ADVICE}")
