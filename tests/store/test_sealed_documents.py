"""Sealed documents in front of the real `TelegramDocuments` and the stand-in."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from addon.standin.switches import Switches
from addon.store import sealed_documents
from addon.store.captions import open_caption
from addon.store.ports import DocumentCorrupt, DocumentToSend, KeyMissing, TelegramUnavailable
from addon.store.records import BLOCK_BYTES, PACK_SEGMENT_BYTES, Document
from addon.store.seal_format import TAG_BYTES, Header, content_bytes
from addon.store.sealed_documents import SealedDocuments, SealedKnownFiles
from addon.store.sealing import MasterKeys, key_id_of
from tests.standin_fixture import CHANNEL
from tests.telegram.telegram_world import World, fails, telegram_world

KEY, OTHER_KEY = bytes(range(32)), bytes(32)
CAPTION = '{"tgstore":1,"d":"doc"}'
# As fast as it goes, and Range as it is asked for.
SWITCHES = Switches(rate_limits="off", range_support=True)


@dataclass
class Sealed:
    world: World
    documents: SealedDocuments
    spool_dir: Path

    def with_keys(self, *keys: bytes | None) -> SealedDocuments:
        first, *former = keys or (None,)
        return SealedDocuments(self.world.documents, MasterKeys(first, [key for key in former if key]), self.spool_dir)

    async def send(
        self, content: bytes, segment_bytes: int = 16, *, document_id: str = "doc", in_file: bool = False
    ) -> Document:
        given: bytes | Path = content
        if in_file:
            given = self.world.folder / "content"
            given.write_bytes(content + b"behind")
        return await self.documents.send(DocumentToSend(document_id, given, len(content), CAPTION, segment_bytes))

    async def read(self, document: Document, offset: int = 0, length: int | None = None) -> bytes:
        return await read(self.documents, document, offset, length)

    def downloaded_bytes(self) -> int:
        return sum(entry["sent_bytes"] for entry in self.world.calls("download"))


async def read(documents: SealedDocuments, document: Document, offset: int = 0, length: int | None = None) -> bytes:
    wanted = content_bytes(document) - offset if length is None else length
    pieces = [piece async for piece in documents.read(document, offset=offset, length=wanted)]
    assert all(0 < len(piece) <= BLOCK_BYTES for piece in pieces)
    return b"".join(pieces)


@asynccontextmanager
async def sealed_world(folder: Path, *, switches: Switches = SWITCHES) -> AsyncIterator[Sealed]:
    spool_dir = folder / "spool"
    spool_dir.mkdir()
    async with telegram_world(folder, switches=switches) as world:
        yield Sealed(world, SealedDocuments(world.documents, MasterKeys(KEY), spool_dir), spool_dir)


@pytest.fixture
async def sealed(tmp_path: Path) -> AsyncIterator[Sealed]:
    async with sealed_world(tmp_path) as made:
        yield made


def noise(count: int) -> bytes:
    return random.Random(count).randbytes(count)


@pytest.mark.parametrize("length", [1, 15, 16, 17, 32, 50])
@pytest.mark.parametrize("range_support", [True, False])
async def test_any_range_is_that_slice_of_the_content(tmp_path: Path, length: int, range_support: bool) -> None:
    content = noise(length)
    async with sealed_world(tmp_path, switches=replace(SWITCHES, range_support=range_support)) as sealed:
        document = await sealed.send(content)
        assert document.size == len(content) + 49 + 3 + TAG_BYTES * -(-length // 16)
        ranges = [(start, end) for start in range(length + 1) for end in range(start, length + 1)]
        for start, end in random.Random(1).sample(ranges, min(len(ranges), 60)):
            assert await sealed.read(document, start, end - start) == content[start:end]


@pytest.mark.parametrize("segment_bytes", [1000, PACK_SEGMENT_BYTES, BLOCK_BYTES, 3 * BLOCK_BYTES])
@pytest.mark.parametrize("in_file", [True, False])
async def test_large_documents_come_back_whole_and_in_part(sealed: Sealed, segment_bytes: int, in_file: bool) -> None:
    content = noise(5_000_001)
    document = await sealed.send(content, segment_bytes, in_file=in_file)
    assert await sealed.read(document) == content
    assert await sealed.read(document, 1_999_999, 2_000_001) == content[1_999_999:4_000_000]
    assert not list(sealed.spool_dir.iterdir())


async def test_only_the_segments_of_a_range_are_downloaded(sealed: Sealed) -> None:
    document = await sealed.send(noise(1000), 100)
    for start, length, segments in [(0, 1, 1), (99, 1, 1), (99, 2, 2), (100, 100, 1), (250, 500, 6), (950, 50, 1)]:
        before = sealed.downloaded_bytes()
        await sealed.read(document, start, length)
        assert sealed.downloaded_bytes() - before == segments * (100 + TAG_BYTES)


async def test_a_range_outside_of_the_content_is_a_mistake(sealed: Sealed) -> None:
    document = await sealed.send(noise(40))
    for offset, length in [(-1, 1), (0, 41), (41, 0), (0, -1)]:
        with pytest.raises(ValueError, match="do not lie"):
            await sealed.read(document, offset, length)


async def test_a_damaged_transfer_heals(sealed: Sealed) -> None:
    content = noise(100)
    document = await sealed.send(content)
    sealed.world.faults({"kind": "corrupt", "offset": 120, "count": 1}, method="download")
    assert await sealed.read(document) == content


async def test_a_broken_off_transfer_goes_on(sealed: Sealed) -> None:
    content = noise(300_000)
    document = await sealed.send(content, 1000)
    sealed.world.faults({"kind": "truncate", "bytes": 200_000}, method="download")
    assert await sealed.read(document) == content


async def test_a_document_that_was_changed_in_telegram_is_refused(sealed: Sealed) -> None:
    content = noise(100)
    document = await sealed.send(content)
    (path,) = blobs(sealed, document)
    stored = path.read_bytes()
    place = Header.of(document).place
    for at in (place(0), place(3) + 5, place(4) - 1, document.size - 1):
        changed = bytearray(stored)
        changed[at] ^= 1
        path.write_bytes(changed)
        with pytest.raises(DocumentCorrupt, match=str(document.message_id)):
            await sealed.read(document)
        number = next(n for n in range(7) if at < place(n + 1))
        assert await sealed.read(document, 0, number * 16) == content[: number * 16]
        with pytest.raises(DocumentCorrupt):
            await sealed.read(document, number * 16, 1)


async def test_swapped_segments_and_segments_of_others_are_refused(sealed: Sealed) -> None:
    document, other = await sealed.send(noise(48)), await sealed.send(noise(49)[:48], document_id="odd")
    (path,), (other_path,) = blobs(sealed, document), blobs(sealed, other)
    stored = path.read_bytes()
    place = Header.of(document).place
    first, second, third = (stored[place(n) : place(n + 1)] for n in range(3))
    path.write_bytes(stored[: place(0)] + second + first + third)
    await fails(DocumentCorrupt, sealed.read(document, 0, 1))
    await fails(DocumentCorrupt, sealed.read(document, 16, 1))
    assert await sealed.read(document, 32, 16) == noise(48)[32:]
    path.write_bytes(other_path.read_bytes())
    await fails(DocumentCorrupt, sealed.read(document, 0, 1))


async def test_an_earlier_document_of_the_same_id_does_not_pass_for_the_later_one(sealed: Sealed) -> None:
    earlier, later = await sealed.send(bytes(48)), await sealed.send(bytes(48))
    (earlier_path,), (later_path,) = blobs(sealed, earlier), blobs(sealed, later)
    later_path.write_bytes(earlier_path.read_bytes())
    await fails(DocumentCorrupt, sealed.read(later, 0, 1))
    assert await sealed.read(earlier) == bytes(48)


async def test_a_document_whose_size_cannot_be_is_refused(sealed: Sealed) -> None:
    document = await sealed.send(noise(48))
    await fails(DocumentCorrupt, read(sealed.documents, replace(document, size=60), 0, 1))


async def test_a_key_that_is_not_there_is_an_error_that_names_it(sealed: Sealed) -> None:
    document = await sealed.send(noise(48))
    for keys in (sealed.with_keys(OTHER_KEY), sealed.with_keys()):
        error = await fails(KeyMissing, read(keys, document))
        assert f"document doc is sealed under the key {key_id_of(KEY)}" in str(error)
        assert KEY.hex() not in str(error)
    assert not sealed.downloaded_bytes()


async def test_former_keys_open_what_they_sealed(sealed: Sealed) -> None:
    document = await sealed.send(noise(48))
    rotated = sealed.with_keys(OTHER_KEY, KEY)
    assert await read(rotated, document) == noise(48)
    newer = await rotated.send(DocumentToSend("new", b"newer", 5, CAPTION))
    assert newer.key_id.startswith(key_id_of(OTHER_KEY))
    assert await read(rotated, newer) == b"newer"


async def test_what_was_sent_without_a_key_is_read_and_without_a_key_nothing_is_sealed(sealed: Sealed) -> None:
    plain = await sealed.with_keys().send(DocumentToSend("plain", b"content", 7, CAPTION))
    assert (plain.key_id, plain.segment_bytes, plain.size) == ("", 0, 7)
    assert sealed.world.holds(plain, b"content")
    for keys in (sealed.documents, sealed.with_keys(), sealed.with_keys(None, KEY)):
        assert await read(keys, plain) == b"content"
    still_plain = await sealed.with_keys(None, KEY).send(DocumentToSend("plain-2", b"content", 7, CAPTION))
    assert not still_plain.key_id
    assert sealed.with_keys().document_bytes_max == sealed.world.documents.document_bytes_max


async def test_the_caption_is_sealed_and_tells_how_the_document_is(sealed: Sealed) -> None:
    document = await sealed.send(noise(48))
    (message,) = sealed.world.messages()
    caption = open_caption(MasterKeys(KEY), message["text"])
    assert caption is not None
    assert caption.about == {"tgstore": 1, "d": "doc"}
    assert (caption.key_id, caption.segment_bytes) == (document.key_id, document.segment_bytes)


async def test_a_full_document_fits(sealed: Sealed) -> None:
    most = sealed.documents.document_bytes_max
    content = bytes(most)
    document = await sealed.send(content, PACK_SEGMENT_BYTES)
    assert most < document.size <= sealed.world.documents.document_bytes_max
    assert hashlib.sha256(await sealed.read(document)).digest() == hashlib.sha256(content).digest()
    with pytest.raises(ValueError, match="a document has"):
        await sealed.send(bytes(most + 300), PACK_SEGMENT_BYTES)


async def test_attempts_within_a_send_send_the_same_bytes(sealed: Sealed) -> None:
    sealed.world.faults({"kind": "http", "code": 502}, method="sendDocument", times=2)
    await sealed.send(noise(48), in_file=True)
    sent = {entry["files"][0]["sha256"] for entry in sealed.world.calls("senddocument") if entry["files"]}
    assert len(sent) == 1


@pytest.mark.parametrize("in_file", [True, False])
async def test_nothing_is_left_of_a_send_that_failed_or_was_cancelled(sealed: Sealed, in_file: bool) -> None:
    content = noise(5_000_000)
    sealed.world.faults({"kind": "http", "code": 502}, method="sendDocument", times=None)
    await fails(TelegramUnavailable, sealed.send(content, in_file=in_file))
    assert not list(sealed.spool_dir.iterdir())
    sending = asyncio.create_task(sealed.send(content, in_file=in_file))
    while not list(sealed.spool_dir.iterdir()):  # noqa: ASYNC110 -- it is the file that is waited for
        await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert not list(sealed.spool_dir.iterdir())


async def test_a_small_document_leaves_nothing_on_the_disk(sealed: Sealed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed_documents, "seal_file", None)
    assert await sealed.read(await sealed.send(b"content")) == b"content"


async def test_a_file_that_was_there_before_gets_a_sealed_caption(sealed: Sealed) -> None:
    keys = MasterKeys(KEY)
    plain = await sealed.with_keys().send(DocumentToSend("old", b"content", 7, ""))
    known = SealedKnownFiles(sealed.world.documents.known_files, keys)
    document = await known.send_again(await known.find(plain.file_id), document_id="again", caption=CAPTION)
    assert not document.key_id
    assert await sealed.read(document) == b"content"
    caption = open_caption(keys, sealed.world.messages()[-1]["text"])
    assert caption is not None
    assert (caption.about["d"], caption.key_id) == ("doc", "")


def blobs(sealed: Sealed, document: Document) -> list[Path]:
    """Where the stand-in keeps a document's bytes."""
    (sha256,) = {
        message["document"]["sha256"]
        for message in sealed.world.messages(CHANNEL)
        if message["message_id"] == document.message_id
    }
    return [
        path
        for path in (sealed.world.folder / "standin").rglob("*")
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    ]
