"""Finding a document's file again: one question for many readers, and every way back from a lost file_id."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest

from addon.store.ports import DocumentLost, TelegramUnavailable
from addon.telegram.documents import TelegramDocuments
from tests.standin_fixture import BOT_A, BOT_A_ID, BOT_B, BOT_B_ID, CHANNEL, SUPERGROUP
from tests.telegram.telegram_world import fails, telegram_world

CONTENT = random.Random(7).randbytes(300_000)


async def test_concurrent_reads_of_a_document_ask_for_its_link_once(tmp_path: Path) -> None:
    async with telegram_world(tmp_path) as world:
        document = await world.send(CONTENT)
        contents = await asyncio.gather(*(world.read(document) for _ in range(10)))
        assert contents == [CONTENT] * 10
        assert len(world.calls("getfile")) == 1
        await world.time.sleep(49 * 60)
        await world.read(document)
        assert len(world.calls("getfile")) == 1
        await world.time.sleep(2 * 60)
        await world.read(document)
        assert len(world.calls("getfile")) == 2


async def test_a_lost_file_id_is_won_again_by_forwarding_and_told(tmp_path: Path) -> None:
    async with telegram_world(tmp_path) as world:
        document = await world.send(CONTENT)
        world.faults({"kind": "invalid_file_id", "permanent": True}, method="getFile")
        assert await world.read(document) == CONTENT
        ((document_id, bot_id, file_id),) = world.won
        assert (document_id, bot_id) == (document.document_id, BOT_A_ID)
        assert file_id != document.file_id
        assert [message["message_id"] for message in world.messages()] == [document.message_id], "the copy is deleted"
        await world.time.sleep(3600)
        assert await world.read(document) == CONTENT
        assert len(world.calls("forwardmessage")) == 1, "the new file_id is remembered"


async def test_a_scratch_chat_takes_the_forwarded_copy(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, scratch_chat_id=SUPERGROUP) as world:
        document = await world.send(CONTENT)
        world.faults({"kind": "invalid_file_id", "permanent": True}, method="getFile")
        assert await world.read(document) == CONTENT
        (forward,) = world.calls("forwardmessage")
        assert forward["arguments"]["chat_id"] == str(SUPERGROUP)
        assert world.messages(SUPERGROUP) == []


async def test_another_bot_reads_what_a_bot_sent_that_is_no_longer_configured(tmp_path: Path) -> None:
    async with telegram_world(tmp_path) as world:
        document = await world.send(CONTENT)
        other = TelegramDocuments(
            world.standin.url, (BOT_B,), (CHANNEL,), clock=world.time.clock, sleep=world.time.sleep
        )
        try:
            pieces = [piece async for piece in other.read(document, offset=5, length=200_000)]
        finally:
            await other.close()
        assert b"".join(pieces) == CONTENT[5:200_005]


async def test_another_bot_reads_while_file_links_of_the_first_are_refused(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, tokens=(BOT_A, BOT_B)) as world:
        document = await world.send(CONTENT)
        world.standin.control.chat("revoke", bot_id=document.bot_id)
        assert await world.read(document) == CONTENT


async def test_a_message_that_somebody_deleted_is_still_read_by_its_file_id_and_lost_without(tmp_path: Path) -> None:
    async with telegram_world(tmp_path) as world:
        document = await world.send(CONTENT)
        world.standin.control.chat("delete_message", CHANNEL, message_id=document.message_id)
        assert await world.read(document) == CONTENT
        world.faults({"kind": "invalid_file_id", "permanent": True}, method="getFile")
        await world.time.sleep(3600)
        await fails(DocumentLost, world.read(document))


async def test_another_bot_reads_while_the_file_host_refuses_the_first(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, tokens=(BOT_A, BOT_B)) as world:
        document = await world.send(CONTENT)
        assert document.bot_id == BOT_A_ID
        world.faults({"kind": "unauthorized"}, method="download", times=2)
        assert await world.read(document) == CONTENT
        assert [call["bot_id"] for call in world.calls("download")] == [BOT_A_ID, BOT_A_ID, BOT_B_ID]


async def test_a_reader_that_goes_away_does_not_take_the_link_from_the_others(tmp_path: Path) -> None:
    async with telegram_world(tmp_path) as world:
        document = await world.send(CONTENT)
        world.faults({"kind": "hang", "seconds": 0.1}, method="getFile")
        first, second = (asyncio.create_task(world.read(document)) for _ in range(2))
        async with asyncio.timeout(10):
            while not world.calls("getfile"):  # noqa: ASYNC110 - the stand-in has no event for it
                await asyncio.sleep(0)
        first.cancel()
        assert await second == CONTENT
        assert len(world.calls("getfile")) == 1
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_a_protected_chat_does_not_let_a_lost_file_id_be_won_again(tmp_path: Path) -> None:
    async with telegram_world(tmp_path) as world:
        document = await world.send(CONTENT)
        world.standin.control.chat("protect", CHANNEL)
        world.faults({"kind": "invalid_file_id", "permanent": True}, method="getFile")
        await fails(DocumentLost, world.read(document))


@pytest.mark.parametrize(
    "action",
    [
        {"kind": "rate", "retry_after": 3},
        {"kind": "http", "code": 502},
        {"kind": "reset"},
        {"kind": "wrong_json"},
        {"kind": "drop_field", "path": "chat"},
        {"kind": "drop_field", "path": "message_id", "value": 0},
    ],
    ids=lambda action: str(action["kind"]),
)
async def test_a_fault_that_passes_is_survived_by_a_forward(tmp_path: Path, action: dict) -> None:
    async with telegram_world(tmp_path) as world:
        document = await world.send(CONTENT)
        world.faults({"kind": "invalid_file_id", "permanent": True}, method="getFile")
        world.faults(action, method="forwardMessage")
        assert await world.read(document) == CONTENT
        assert len(world.won) == 1


async def test_a_forward_that_keeps_failing_is_no_proof_of_a_loss(tmp_path: Path) -> None:
    async with telegram_world(tmp_path) as world:
        document = await world.send(CONTENT)
        world.faults({"kind": "invalid_file_id", "permanent": True}, method="getFile")
        world.faults({"kind": "http", "code": 502}, method="forwardMessage", times=None)
        await fails(TelegramUnavailable, world.read(document))


async def test_a_message_that_holds_another_file_now_is_a_lost_document(tmp_path: Path) -> None:
    async with telegram_world(tmp_path) as world:
        document = await world.send(CONTENT)
        world.faults({"kind": "invalid_file_id", "permanent": True}, method="getFile")
        world.faults({"kind": "drop_field", "path": "document.file_size", "value": 5}, method="forwardMessage")
        await fails(DocumentLost, world.read(document))
        assert [message["message_id"] for message in world.messages()] == [document.message_id]
        assert world.won == []


async def test_a_pause_of_get_file_holds_for_every_call_of_the_bot(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, read_wait_s_max=5.0, send_wait_s_max=5.0) as world:
        document = await world.send(CONTENT)
        world.faults({"kind": "rate", "retry_after": 30}, method="getFile")
        for _ in range(2):
            error = await fails(TelegramUnavailable, world.read(document))
            assert error.retry_after_s == pytest.approx(30)
        await fails(TelegramUnavailable, world.send(CONTENT[1:], "doc-2"))
        assert (len(world.calls("getfile")), len(world.calls("senddocument"))) == (1, 1)
        await world.time.sleep(30)
        assert await world.read(document) == CONTENT


@pytest.mark.parametrize(
    ("action", "error"),
    [
        ({"kind": "invalid_file_id", "permanent": True}, DocumentLost),
        ({"kind": "unavailable"}, DocumentLost),
        ({"kind": "http", "code": 502}, TelegramUnavailable),
    ],
)
async def test_a_file_without_a_message_is_read_by_its_file_id_and_lost_without_it(
    tmp_path: Path, action: dict, error: type[Exception]
) -> None:
    async with telegram_world(tmp_path) as world:
        document = replace(await world.send(CONTENT), chat_id=0, message_id=0)
        assert await world.read(document) == CONTENT
        await world.time.sleep(3600)
        world.faults(action, method="getFile", times=None)
        failure = await fails(error, world.read(document))
        assert error is not DocumentLost or "imported without a message" in str(failure)
        assert world.calls("forwardmessage") == []


async def test_a_file_without_a_message_that_has_another_length_now_is_lost(tmp_path: Path) -> None:
    async with telegram_world(tmp_path) as world:
        document = replace(await world.send(CONTENT), chat_id=0, message_id=0, size=len(CONTENT) - 1)
        await fails(DocumentLost, world.read(document))
