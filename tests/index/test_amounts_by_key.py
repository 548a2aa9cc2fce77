"""How much is sealed under which key."""

from __future__ import annotations

from dataclasses import replace

from addon.index.sql_index import SqlIndex
from addon.store.migration import Amount
from addon.store.records import Extent
from addon.store.seal_format import Seal
from tests.index.samples import BUCKET, document, new_object


async def test_documents_in_use_are_counted_by_master_key(index: SqlIndex) -> None:
    assert await index.amounts_by_key() == {}
    for number, key_id in enumerate(("", "a" * 16, "a" * 16, "b" * 16)):
        name = Seal(key_id, bytes([number] * 16)).name if key_id else ""
        sealed = replace(document(f"d{number}", size=1000 + number), key_id=name, segment_bytes=16 if name else 0)
        await index.put_object(replace(new_object(f"k{number}"), size=10, extents=[Extent(sealed, 0, 10, b"")]))
    expected = {"": Amount(1, 1000), "a" * 16: Amount(2, 2003), "b" * 16: Amount(1, 1003)}
    assert await index.amounts_by_key() == expected
    await index.delete_object(BUCKET, "k3", now_s=0)
    del expected["b" * 16]
    assert await index.amounts_by_key() == expected
