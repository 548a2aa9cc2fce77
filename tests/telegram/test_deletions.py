"""Deleting a document's message: done, too late, or not to be told."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from addon.store.ports import Deleted, TelegramUnavailable
from tests.standin_fixture import BOT_A, BOT_A_ID, BOT_B, CHANNEL
from tests.telegram.telegram_world import fails, telegram_world

CONTENT = random.Random(7).randbytes(300_000)
PASSING: list[dict[str, Any]] = [
    {"kind": "rate", "retry_after": 3},
    {"kind": "http", "code": 502},
    {"kind": "reset"},
    {"kind": "reset", "phase": "after"},
    {"kind": "wrong_json"},
]


async def test_a_young_message_is_deleted_and_an_old_or_missing_one_is_not(tmp_path: Path) -> None:
    async with telegram_world(tmp_path) as world:
        young, old = await world.send(CONTENT, "doc-1"), await world.send(CONTENT[1:], "doc-2")
        assert await world.documents.delete(young) is Deleted.GONE
        assert [message["message_id"] for message in world.messages()] == [old.message_id]
        assert await world.documents.delete(young) is Deleted.NOT_FOUND
        await world.time.sleep(48 * 3600)
        assert await world.documents.delete(old) is Deleted.TOO_OLD


@pytest.mark.parametrize("action", PASSING, ids=lambda action: str(action["kind"]))
async def test_a_fault_that_passes_is_survived_by_a_deletion(tmp_path: Path, action: dict[str, Any]) -> None:
    async with telegram_world(tmp_path) as world:
        document = await world.send(CONTENT)
        world.faults(action, method="deleteMessage")
        assert await world.documents.delete(document) in (
            Deleted.GONE,
            Deleted.NOT_FOUND,
        )  # done already when the answer was lost
        assert world.messages() == []


async def test_a_deletion_that_nobody_may_do_is_the_ports_error(tmp_path: Path) -> None:
    async with telegram_world(tmp_path) as world:
        document = await world.send(CONTENT)
        world.standin.control.chat("kick", CHANNEL)
        await fails(TelegramUnavailable, world.documents.delete(document))


async def test_another_bot_deletes_where_the_first_may_not(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, tokens=(BOT_A, BOT_B)) as world:
        document = await world.send(CONTENT)
        assert document.bot_id == BOT_A_ID
        world.standin.control.chat("kick", CHANNEL, bot_id=BOT_A_ID)
        assert await world.documents.delete(document) is Deleted.GONE
        assert world.messages() == []


async def test_a_document_whose_message_is_not_known_has_nothing_to_delete(tmp_path: Path) -> None:
    async with telegram_world(tmp_path) as world:
        document = await world.send(b"bytes")
        assert await world.documents.delete(replace(document, chat_id=0, message_id=0)) is Deleted.NOT_FOUND
        assert world.calls("deletemessage") == []
        assert world.holds(document, b"bytes")
