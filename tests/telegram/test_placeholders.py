"""A placeholder in the place of a document whose message is too old to be deleted."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from addon.standin.switches import Switches
from addon.store.ports import Deleted, DocumentLost, TelegramUnavailable
from addon.telegram.placeholders import PLACEHOLDER, PLACEHOLDER_CAPTION
from tests.standin_fixture import BOT_A, BOT_B, CHANNEL
from tests.telegram.telegram_world import fails, telegram_world

CONTENT = random.Random(7).randbytes(300_000)
OLD_S = 49 * 3600.0
PASSING: list[dict[str, Any]] = [
    {"kind": "rate", "retry_after": 3},
    {"kind": "http", "code": 502},
    {"kind": "reset"},
    {"kind": "reset", "phase": "after"},
    {"kind": "wrong_json"},
]


@pytest.mark.parametrize("kills", [False, True])
async def test_an_old_message_holds_a_placeholder_and_nothing_else(tmp_path: Path, kills: bool) -> None:
    async with telegram_world(tmp_path, switches=Switches(delete_kills_file=kills)) as world:
        document, other = await world.send(CONTENT, "doc-1"), await world.send(CONTENT[1:], "doc-2")
        await world.time.sleep(OLD_S)
        assert await world.documents.delete(document) is Deleted.TOO_OLD
        assert await world.documents.blank(document) is True
        assert world.holds(document, PLACEHOLDER)
        assert world.holds(other, CONTENT[1:])
        (text,) = (one["text"] for one in world.messages() if one["message_id"] == document.message_id)
        assert text == PLACEHOLDER_CAPTION
        # The file_id of before is what nobody can take back, unless Telegram does; the message never gives the bytes again.
        without = document if kills else replace(document, file_id="x")
        await fails(DocumentLost, world.read(without))
        assert await world.documents.blank(document) is True, "a second time does no harm"


async def test_there_is_nothing_to_replace_where_no_message_is(tmp_path: Path) -> None:
    async with telegram_world(tmp_path) as world:
        document = await world.send(CONTENT)
        assert await world.documents.delete(document) is Deleted.GONE
        assert await world.documents.blank(document) is False
        assert await world.documents.blank(replace(document, chat_id=0, message_id=0)) is False


@pytest.mark.parametrize("action", PASSING, ids=lambda action: str(action["kind"]))
async def test_a_fault_that_passes_is_survived(tmp_path: Path, action: dict[str, Any]) -> None:
    async with telegram_world(tmp_path) as world:
        document = await world.send(CONTENT)
        world.faults(action, method="editMessageMedia")
        assert await world.documents.blank(document) is True
        assert world.holds(document, PLACEHOLDER)


async def test_only_who_sent_it_may_replace_it(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, tokens=(BOT_A, BOT_B)) as world:
        document = await world.send(CONTENT)
        world.standin.control.chat("kick", CHANNEL, bot_id=document.bot_id)
        await fails(TelegramUnavailable, world.documents.blank(document))
        assert world.holds(document, CONTENT)
