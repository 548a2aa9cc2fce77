"""Imports whose keys are written or deleted while they are under way, and the ETag of what nobody has read."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import pytest

from addon.store.importer import Fate, Importer, ImportWish, Link, etag_unread
from addon.store.known_files import FileRefused, FoundFile, KnownFiles
from addon.store.records import Document, ObjectRecord, Tombstone
from tests.commands.import_lab import sent
from tests.service.product import ALONE, IMAGES, Product
from tests.standin_fixture import BOT_A_ID

CONTENT = random.Random(3).randbytes(50_000)


@dataclass
class Interrupted:
    """The real thing; something happens after its last call for a link, before the index is written."""

    real: KnownFiles
    happens: Callable[[], Awaitable[object]]

    async def find(self, file_id: str) -> FoundFile:
        return await self.real.find(file_id)

    async def send_again(self, found: FoundFile, *, document_id: str, caption: str) -> Document:
        document = await self.real.send_again(found, document_id=document_id, caption=caption)
        await self.happens()
        return document


def importer(product: Product, wish: ImportWish, happens: Callable[[], Awaitable[object]] | None = None) -> Importer:
    known_files: KnownFiles = product.telegram.known_files
    return Importer(
        index=product.index,  # type: ignore[arg-type]
        documents=product.store._documents,
        known_files=known_files if happens is None else Interrupted(known_files, happens),
        origins={},
        wish=wish,
        now_s=product.store.now_s,
    )


async def put(product: Product) -> None:
    assert (await product.send("PUT", "k", bucket=ALONE, body=b"newer")).status_code == 200


async def delete(product: Product) -> None:
    assert (await product.send("DELETE", "k", bucket=ALONE)).status_code == 204


@pytest.mark.parametrize("happens", [put, delete])
@pytest.mark.parametrize("was_there", [False, True])
async def test_a_write_or_delete_meanwhile_stands_and_what_was_sent_becomes_garbage(
    product: Product, happens: Callable[[Product], Awaitable[None]], was_there: bool
) -> None:
    link = Link(ALONE, "k", "https://alone.test/k", await sent(product, CONTENT))
    if was_there:
        assert (await importer(product, ImportWish()).take(link)).fate is Fate.TAKEN
    taking = importer(product, ImportWish(anchor=True, read=True), lambda: happens(product))
    outcome = await taking.take(link)
    assert outcome.fate is Fate.KEPT
    state = await product.state("k", ALONE)
    if happens is put:
        assert (await product.send("GET", "k", bucket=ALONE)).content == b"newer"
    else:
        assert isinstance(state, Tombstone)
    sent_in_vain = [document for document in await product.index.garbage(limit=9) if document.has_message]
    assert len(sent_in_vain) == 1
    assert sent_in_vain[0].bot_id == BOT_A_ID


async def test_a_failure_behind_the_message_leaves_it_as_garbage_too(product: Product) -> None:
    link = Link(ALONE, "k", "https://alone.test/k", await sent(product, CONTENT))

    async def write_past_us() -> None:
        await product.index.begin_origin_write(ALONE, "k", now_s=0)

    outcome = await importer(product, ImportWish(anchor=True), write_past_us).take(link)
    assert outcome.fate is Fate.KEPT
    assert len(await product.garbage()) == 1
    assert await product.state("k", ALONE) is None


async def test_a_file_that_cannot_be_sent_again_is_taken_without_a_message_and_that_is_said(product: Product) -> None:
    link = Link(ALONE, "k", "https://alone.test/k", await sent(product, CONTENT))

    class Refusing(Interrupted):
        async def send_again(self, found: FoundFile, *, document_id: str, caption: str) -> Document:
            raise FileRefused("can't use file of type Photo as Document")

    taking = importer(product, ImportWish(anchor=True), lambda: put(product))
    taking._known_files = Refusing(product.telegram.known_files, lambda: put(product))  # type: ignore[attr-defined]
    outcome = await taking.take(link)
    assert outcome.fate is Fate.TAKEN
    assert "without a message of its own" in outcome.reason
    assert outcome.lacks_message
    assert (await product.send("GET", "k", bucket=ALONE, by=None)).content == CONTENT


async def test_a_copy_of_what_nobody_has_read_is_served_too_and_what_was_said_of_it_stands(product: Product) -> None:
    picture = b"\x89PNG\r\n\x1a\n" + CONTENT
    link = Link(IMAGES, "k", "https://images.test/k", await sent(product, picture))
    assert (await importer(product, ImportWish()).take(link)).fate is Fate.TAKEN
    copied = await product.send("PUT", "copy", headers=[("x-amz-copy-source", f"/{IMAGES}/k")])
    assert copied.status_code == 200
    assert (await product.send("GET", "copy")).content == picture
    described = await product.send(
        "PUT",
        "k",
        headers=[
            ("x-amz-copy-source", f"/{IMAGES}/k"),
            ("x-amz-metadata-directive", "REPLACE"),
            ("content-type", "text/plain"),
        ],
    )
    assert described.status_code == 200
    outcome = await importer(product, ImportWish(read=True)).take(link)
    assert outcome.fate is Fate.COMPLETED
    state = await product.state("k")
    assert isinstance(state, ObjectRecord)
    assert state.headers["content-type"] == "text/plain"
    assert state.extents[0].has_hashes
    assert not state.anonymous_read


def test_the_etag_of_what_nobody_has_read_is_the_file_s_own_and_no_md5() -> None:
    document = Document("d", 0, 0, 1, "file-id", "unique", 5)
    etag = etag_unread(document)
    assert re.fullmatch(r"[0-9a-f]{32}-1", etag)
    assert etag == etag_unread(replace(document, document_id="e", file_id="another", chat_id=-1, message_id=4))
    assert etag != etag_unread(replace(document, file_unique_id="another"))
    assert etag != etag_unread(replace(document, size=6))
