"""The folder of what waits: its room, who holds what, and who may clear it."""

from __future__ import annotations

from pathlib import Path

import pytest

from addon.store.ports import DocumentLost
from addon.store.records import Document, Extent
from addon.store.spool_folder import GRACE_S, SpoolFolder, SpoolFull
from addon.store.spooled_documents import DocumentMoved, SpooledDocuments
from tests.service.product import Product


@pytest.fixture
def folder(tmp_path: Path) -> SpoolFolder:
    made = SpoolFolder(tmp_path / "spool" / "kept", 100)
    assert made.open() == {}
    return made


def extent(document_id: str, length: int = 10) -> Extent:
    return Extent(Document(document_id, 0, 0, 0, "", "", length), 0, length, bytes(32))


def test_its_room_is_kept_to_over_restarts_and_given_back(folder: SpoolFolder) -> None:
    folder.reserve("a", 60)
    folder.reserve("b", 30)
    folder.reserve("b", 10)
    with pytest.raises(SpoolFull) as refused:
        folder.reserve("c", 1)
    assert refused.value.retry_after_s >= 1
    folder.path("a").write_bytes(bytes(60))
    folder.path("b").write_bytes(bytes(40))
    again = SpoolFolder(folder.path("a").parent, 100)
    assert (again.open(), again.bytes_held) == ({"a": 60, "b": 40}, 100)
    for one in (folder, again):
        one.discard("a")
        one.reserve("c", 60)
        with pytest.raises(SpoolFull):
            one.reserve("c", 1)
    assert not folder.path("a").exists()


def test_what_is_read_stays_until_its_last_reader_has_done(folder: SpoolFolder) -> None:
    with folder.holding([extent("a"), extent("a"), extent("b")]):
        with folder.holding([extent("a")]):
            folder.leave(["a"], now_s=0.0)
        assert folder.leavable(now_s=GRACE_S) == []
    assert folder.leavable(now_s=GRACE_S - 0.1) == []
    assert folder.leavable(now_s=GRACE_S) == ["a"]
    folder.left("a")
    assert folder.leavable(now_s=GRACE_S) == []


def test_what_an_upload_abandons_goes_at_once_unless_it_is_named(folder: SpoolFolder) -> None:
    folder.abandon(["a", "b"])
    assert (folder.changed.is_set(), folder.abandoned()) == (True, ["a", "b"])
    folder.leave(["a"], now_s=5.0)
    folder.keep(["b"])
    assert (folder.abandoned(), folder.leavable(now_s=5.0)) == ([], ["a"])
    assert not folder.is_empty


def test_only_who_is_alone_may_clear(folder: SpoolFolder) -> None:
    others = [SpoolFolder(folder.path("a").parent, 100) for _ in range(2)]
    assert folder.claim()
    folder.share()
    assert not others[0].claim()
    folder.close()
    assert not others[1].claim()
    for other in others:
        other.close()
    assert folder.claim()
    folder.close()


async def test_ranges_of_what_waits_and_what_is_not_there(product: Product, tmp_path: Path) -> None:
    folder = SpoolFolder(tmp_path / "kept", 1 << 30)
    folder.open()
    body = bytes(range(256)) * 10_000
    folder.path("d").write_bytes(body)
    documents = SpooledDocuments(product.store._documents, folder)
    waiting = Document("d", 0, 0, 0, "", "", len(body))

    async def read(offset: int, length: int) -> bytes:
        return b"".join([piece async for piece in documents.read(waiting, offset=offset, length=length)])

    for offset, length in ((0, len(body)), (5, 1), (1 << 20, 1 << 20), (7, 0), (len(body) - 1, 1)):
        assert await read(offset, length) == body[offset : offset + length]
    folder.path("d").write_bytes(body[:1000])
    with pytest.raises(DocumentLost) as cut_off:
        await read(0, len(body))
    assert not isinstance(cut_off.value, DocumentMoved)
    folder.discard("d")
    with pytest.raises(DocumentMoved):
        await read(0, 1)
