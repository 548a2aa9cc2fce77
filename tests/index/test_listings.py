"""The contract of `Index.list_objects`, `decided_among` and `prefixes_with_tombstones`."""

from __future__ import annotations

import itertools
import random

from addon.s3.origin_listing import common_prefix
from addon.store.listed import Deletion, ListedObject, ListedPrefix
from addon.store.ports import Index
from addon.store.records import Provenance
from tests.index.conftest import NOW_S
from tests.index.samples import BUCKET, new_object

# Every text of up to three of these, with names that sort beside each other as text and as UTF-8 alike.
LETTERS = ("a", "/", "\x01", "\u07ff", "\uffff", "\U00010000", "\U0010ffff")
KEYS = ["".join(letters) for length in (1, 2, 3) for letters in itertools.product(LETTERS, repeat=length)]


async def fill(index: Index, chance: random.Random) -> tuple[set[str], set[str]]:
    """Some objects and some tombstones, also in a bucket of another name."""
    chosen = chance.sample(KEYS, 120)
    for key in chosen:
        await index.put_object(new_object(key))
    await index.put_object(new_object("another", bucket=f"{BUCKET}2"))
    deleted = chosen[:50]
    await index.delete_objects(BUCKET, [Deletion(key) for key in deleted], now_s=NOW_S)
    return set(chosen[50:]), set(deleted)


def rolled_up(keys: set[str], prefix: str, delimiter: str, after: str) -> list[tuple[str, bool]]:
    """(name, whether it is a common prefix) as S3 says that a listing is."""
    names = {
        common_prefix(key, prefix, delimiter) or key: common_prefix(key, prefix, delimiter) is not None
        for key in keys
        if key.startswith(prefix)
    }
    return sorted(((name, group) for name, group in names.items() if name > after), key=lambda one: one[0].encode())


async def test_pages_of_objects_and_common_prefixes(index: Index) -> None:
    chance = random.Random(1)
    objects, _ = await fill(index, chance)
    for _ in range(300):
        prefix, delimiter = chance.choice(["", "", *KEYS]), chance.choice(["", "/", "/", "a", "//", "\U0010ffff"])
        after, limit = chance.choice(["", *KEYS]), chance.choice([1, 2, 3, 1001])
        page = await index.list_objects(BUCKET, prefix=prefix, delimiter=delimiter, after=after, limit=limit)
        found = [(one.prefix, True) if isinstance(one, ListedPrefix) else (one.key, False) for one in page]
        assert found == rolled_up(objects, prefix, delimiter, after)[:limit], (prefix, delimiter, after, limit)


async def test_what_is_known_of_keys_and_of_prefixes(index: Index) -> None:
    objects, deleted = await fill(index, random.Random(2))
    decided = await index.decided_among(BUCKET, KEYS)
    assert {key for key, listed in decided.items() if listed is None} == deleted
    assert {key for key, listed in decided.items() if listed is not None} == objects
    key = min(objects)
    assert decided[key] == ListedObject(
        key=key,
        size=0,
        etag="0cc175b9c0f1b6a831c399e269772661",
        last_modified_s=1_700_000_000,
        storage_class="STANDARD",
        provenance=Provenance.WRITTEN_HERE,
        checksum_algorithm="crc32",
        checksum_type="FULL_OBJECT",
    )
    assert [decided[key]] == list(await index.list_objects(BUCKET, prefix="", delimiter="", after="", limit=1))
    doubtful = await index.prefixes_with_tombstones(BUCKET, KEYS)
    assert doubtful == {prefix for prefix in KEYS if any(key.startswith(prefix) for key in deleted)}
