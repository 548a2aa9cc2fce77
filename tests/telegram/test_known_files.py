"""Files known by their file_id alone: whose they are, how large, and how they get a message of ours."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from addon.standin.switches import Switches
from addon.store.known_files import FileRefused
from addon.store.ports import TelegramUnavailable
from addon.telegram.documents import TelegramDocuments
from tests.standin_fixture import BOT_A, BOT_A_ID, BOT_B, BOT_B_ID, CHANNEL, OTHER_CHANNEL
from tests.telegram.telegram_world import World, fails, telegram_world

CONTENT = random.Random(7).randbytes(300_000)
PASSING: list[dict[str, Any]] = [
    {"kind": "rate", "retry_after": 3},
    {"kind": "http", "code": 502},
    {"kind": "reset"},
    {"kind": "wrong_json"},
    {"kind": "unavailable"},
]


async def sent_by(world: World, token: str, content: bytes = CONTENT, document_id: str = "doc-1") -> str:
    """The file_id of a file that this bot sent."""
    bot = TelegramDocuments(world.standin.url, [token], [CHANNEL], clock=world.time.clock, sleep=world.time.sleep)
    try:
        return (await bot.send(world.to_send(content, document_id))).file_id
    finally:
        await bot.close()


async def test_a_file_is_found_with_its_bot_and_size_and_can_be_read_without_a_message(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, tokens=(BOT_A, BOT_B)) as world:
        for number, (token, bot_id) in enumerate([(BOT_B, BOT_B_ID), (BOT_A, BOT_A_ID)]):
            file_id = await sent_by(world, token, CONTENT[number:], f"doc-{number}")
            sent = len(world.calls("senddocument"))
            found = await world.documents.known_files.find(file_id)
            assert (found.bot_id, found.size) == (bot_id, len(CONTENT) - number)
            document = found.as_document("imported")
            assert await world.read(document, 5, 100) == CONTENT[number:][5:105]
            assert not document.has_message
            assert len(world.calls("senddocument")) == sent
            await world.time.sleep(3600)


async def test_the_bot_that_had_the_last_file_is_asked_first(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, tokens=(BOT_A, BOT_B)) as world:
        file_id = await sent_by(world, BOT_B)
        for _ in range(3):
            assert (await world.documents.known_files.find(file_id)).bot_id == BOT_B_ID
        assert [entry["bot_id"] for entry in world.calls("getfile")] == [BOT_A_ID, BOT_B_ID, BOT_B_ID, BOT_B_ID]


async def test_a_file_of_another_bot_is_refused_once_every_bot_was_asked_again(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, tokens=(BOT_A,)) as world:
        file_id = await sent_by(world, BOT_B)
        await fails(FileRefused, world.documents.known_files.find(file_id))
        assert len(world.calls("getfile")) == 3


async def test_what_is_no_file_id_is_refused_at_once(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, tokens=(BOT_A, BOT_B)) as world:
        await fails(FileRefused, world.documents.known_files.find("AgAD-no-file-id"))
        assert len(world.calls("getfile")) == 2


@pytest.mark.parametrize("action", PASSING, ids=lambda action: str(action["kind"]))
async def test_trouble_that_passes_is_survived(tmp_path: Path, action: dict[str, Any]) -> None:
    async with telegram_world(tmp_path) as world:
        file_id = await sent_by(world, BOT_A)
        world.faults(action, method="getFile")
        assert (await world.documents.known_files.find(file_id)).size == len(CONTENT)


@pytest.mark.parametrize(
    "action", [{"kind": "http", "code": 502}, {"kind": "unauthorized"}, {"kind": "rate", "retry_after": 600}]
)
async def test_trouble_that_stays_is_no_refusal_of_the_file(tmp_path: Path, action: dict[str, Any]) -> None:
    async with telegram_world(tmp_path) as world:
        file_id = await sent_by(world, BOT_A)
        world.faults(action, method="getFile", times=None)
        await fails(TelegramUnavailable, world.documents.known_files.find(file_id))


async def test_a_file_that_is_too_big_to_be_read_is_refused_with_the_reason(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, document_bytes_max=30 << 20) as world:
        document = await world.send(bytes((20 << 20) + 1))
        failure = await fails(FileRefused, world.documents.known_files.find(document.file_id))
        assert "20 MiB" in str(failure)


async def test_an_answer_without_the_size_is_refused(tmp_path: Path) -> None:
    async with telegram_world(tmp_path) as world:
        file_id = await sent_by(world, BOT_A)
        world.faults({"kind": "drop_field", "path": "file_size"}, method="getFile")
        await fails(FileRefused, world.documents.known_files.find(file_id))


async def test_a_file_that_is_sent_again_has_a_message_and_its_file_id_can_be_won_again(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, tokens=(BOT_A, BOT_B)) as world:
        found = await world.documents.known_files.find(await sent_by(world, BOT_B))
        document = await world.documents.known_files.send_again(found, document_id="doc-2", caption="about")
        assert document.has_message
        assert (document.bot_id, document.size) == (BOT_B_ID, len(CONTENT))
        assert world.holds(document, CONTENT)
        assert world.calls("senddocument")[-1]["arguments"]["caption"] == "about"
        world.faults({"kind": "invalid_file_id", "permanent": True}, method="getFile")
        assert await world.read(document) == CONTENT
        assert world.won


@pytest.mark.parametrize("action", PASSING[:-1], ids=lambda action: str(action["kind"]))
async def test_sending_again_survives_trouble_that_passes(tmp_path: Path, action: dict[str, Any]) -> None:
    async with telegram_world(tmp_path) as world:
        found = await world.documents.known_files.find(await sent_by(world, BOT_A))
        world.faults(action, method="sendDocument")
        assert (await world.documents.known_files.send_again(found, document_id="d", caption="c")).has_message


async def test_sending_again_takes_another_chat_where_one_refuses(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, chats=(-100999, OTHER_CHANNEL)) as world:
        found = await world.documents.known_files.find(await sent_by(world, BOT_A))
        document = await world.documents.known_files.send_again(found, document_id="d", caption="c")
        assert document.chat_id == OTHER_CHANNEL


async def test_a_file_that_telegram_does_not_send_again_is_refused(tmp_path: Path) -> None:
    async with telegram_world(tmp_path) as world:
        found = await world.documents.known_files.find(await sent_by(world, BOT_A))
        world.faults({"kind": "invalid_file_id", "permanent": True}, method="getFile")
        await fails(FileRefused, world.documents.known_files.find(found.file_id))
        await fails(FileRefused, world.documents.known_files.send_again(found, document_id="d", caption="c"))


async def test_an_answer_with_another_file_is_not_taken_and_its_message_goes(tmp_path: Path) -> None:
    async with telegram_world(tmp_path) as world:
        found = await world.documents.known_files.find(await sent_by(world, BOT_A))
        before = len(world.messages())
        world.faults(
            {"kind": "drop_field", "path": "document.file_unique_id", "value": "AnotherFile"}, method="sendDocument"
        )
        document = await world.documents.known_files.send_again(found, document_id="d", caption="c")
        assert document.file_unique_id == found.file_unique_id
        assert len(world.messages()) == before + 1
        assert world.holds(document, CONTENT)


async def test_sending_again_keeps_to_the_limits_of_messages(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, switches=Switches(), send_wait_s_max=600.0) as world:
        found = await world.documents.known_files.find(await sent_by(world, BOT_A))
        for number in range(30):
            await world.documents.known_files.send_again(found, document_id=f"d{number}", caption="c")
        assert {entry["status"] for entry in world.calls("senddocument")} == {200}
