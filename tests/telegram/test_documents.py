"""Sending and reading against the stand-in, under each of its faults: the right bytes or the port's error, never wrong bytes, and
the tokens nowhere."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from addon.standin.switches import Switches
from addon.store.ports import DocumentLost, TelegramUnavailable
from addon.store.records import Document
from addon.telegram.documents import TelegramDocuments
from tests.standin_fixture import BOT_A, BOT_A_ID, BOT_B, BOT_B_ID, CHANNEL, GROUP, OTHER_CHANNEL
from tests.telegram.scripted_server import Request, answer, scripted_server
from tests.telegram.telegram_world import fails, telegram_world

CONTENT = random.Random(7).randbytes(300_000)
RANGES = [(0, len(CONTENT)), (0, 1), (299_999, 1), (100_000, 100_000), (12_345, 200_000)]


async def test_what_was_sent_is_there_and_is_read_back(tmp_path: Path) -> None:
    async with telegram_world(tmp_path) as world:
        document = await world.send(CONTENT)
        assert (document.chat_id, document.bot_id, document.size) == (CHANNEL, BOT_A_ID, len(CONTENT))
        assert world.holds(document, CONTENT)
        (call,) = world.calls("senddocument")
        assert call["arguments"] == {
            "chat_id": str(CHANNEL),
            "caption": "tgstore doc-1",
            "disable_content_type_detection": "true",
            "disable_notification": "true",
        }
        assert [file["file_name"] for file in call["files"]] == ["doc-1.bin"]
        assert await world.read(document) == CONTENT


@pytest.mark.parametrize("range_support", [False, True])
@pytest.mark.parametrize(("offset", "length"), RANGES)
async def test_any_range_is_read_whether_the_file_host_knows_ranges_or_not(
    tmp_path: Path, range_support: bool, offset: int, length: int
) -> None:
    async with telegram_world(tmp_path, switches=Switches(range_support=range_support)) as world:
        document = await world.send(CONTENT)
        assert await world.read(document, offset, length) == CONTENT[offset : offset + length]
        sent = [call["sent_bytes"] for call in world.calls("download")]
        if range_support:
            assert sent == [length]


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1), (0, 300_001), (300_000, 1)])
async def test_a_range_outside_the_document_is_the_callers_mistake(tmp_path: Path, offset: int, length: int) -> None:
    async with telegram_world(tmp_path) as world:
        document = await world.send(CONTENT)
        await fails(ValueError, world.read(document, offset, length))
        assert await world.read(document, 300_000, 0) == b""
        assert world.calls("download") == []


@pytest.mark.parametrize(
    "content", [b"GIF89a" + bytes(1000), b"\x00\x00\x00\x20ftypisom" + bytes(500), b"ID3" + bytes(99)]
)
async def test_content_that_looks_like_media_stays_what_it_is(tmp_path: Path, content: bytes) -> None:
    async with telegram_world(tmp_path) as world:
        assert await world.read(await world.send(content)) == content


@pytest.mark.parametrize("size", [0, 20_000_001])
async def test_a_document_of_an_impossible_size_is_the_callers_mistake(tmp_path: Path, size: int) -> None:
    async with telegram_world(tmp_path) as world:
        await fails(ValueError, world.send(bytes(size)))
        assert world.messages() == []


# --- Faults while sending -----------------------------------------------------------------------------------------------------

RESET = {"kind": "reset"}
SEND_HEALS: dict[str, dict[str, Any]] = {
    "rate": {"kind": "rate", "retry_after": 3},
    "rate as text": {"kind": "rate_text400", "retry_after": 3},
    "gateway page": {"kind": "http", "code": 502, "form": "html"},
    "gateway page, done": {"kind": "http", "code": 502, "form": "html", "phase": "after"},
    "gateway json": {"kind": "http", "code": 504, "form": "json"},
    "restart": {"kind": "http", "code": 500, "form": "restart"},
    "reset at the head": {**RESET, "at": "request_headers"},
    "reset in the body": {**RESET, "at": "request_body", "bytes": 100_000},
    "closed in the body": {**RESET, "at": "request_body", "bytes": 100_000, "how": "fin"},
    "reset, not done": {**RESET, "at": "before_answer"},
    "reset, done": {**RESET, "at": "before_answer", "phase": "after"},
    "closed, done": {**RESET, "at": "before_answer", "phase": "after", "how": "fin"},
    "reset in the answer": {**RESET, "at": "answer_body", "bytes": 20, "phase": "after"},
    "hang, not done": {"kind": "hang"},
    "hang, done": {"kind": "hang", "phase": "after"},
    "cut answer": {"kind": "truncate", "bytes": 30},
    "cut answer of matching length": {"kind": "truncate", "bytes": 30, "honest_length": True},
    "empty answer": {"kind": "empty200"},
    "empty answer, done": {"kind": "empty200", "phase": "after"},
    "broken json": {"kind": "wrong_json", "form": "invalid"},
    "no result": {"kind": "wrong_json", "form": "no_result"},
    "null result": {"kind": "wrong_json", "form": "null"},
    "no document": {"kind": "drop_field", "path": "document"},
    "no size": {"kind": "drop_field", "path": "document.file_size"},
    "wrong size": {"kind": "drop_field", "path": "document.file_size", "value": 299_999},
    "no file_id": {"kind": "drop_field", "path": "document.file_id"},
    "no message_id": {"kind": "drop_field", "path": "message_id"},
    "message_id 0": {"kind": "drop_field", "path": "message_id", "value": 0},
    "no chat": {"kind": "drop_field", "path": "chat"},
    "another chat": {"kind": "drop_field", "path": "chat.id", "value": OTHER_CHANNEL},
    "animation": {"kind": "as_type", "type": "animation"},
    "animation of other bytes": {"kind": "as_type", "type": "animation", "replace_bytes": True},
    "video": {"kind": "as_type", "type": "video"},
    "audio": {"kind": "as_type", "type": "audio"},
    "voice": {"kind": "as_type", "type": "voice"},
    "sticker": {"kind": "as_type", "type": "sticker"},
    "unauthorized once": {"kind": "unauthorized"},
    "twice stored": {"kind": "duplicate"},
    "413 as reset": {"kind": "http413", "form": "reset"},
}


@pytest.mark.parametrize("action", SEND_HEALS.values(), ids=SEND_HEALS.keys())
async def test_a_fault_that_passes_is_survived_by_a_send(tmp_path: Path, action: dict[str, Any]) -> None:
    async with telegram_world(tmp_path) as world:
        world.faults(action, method="sendDocument")
        document = await world.send(CONTENT)
        assert world.holds(document, CONTENT)
        assert await world.read(document) == CONTENT
        assert all(message["text"] in ("tgstore doc-1", "") for message in world.messages())


SEND_FAILS = {
    name: SEND_HEALS[name]
    for name in (
        "rate",
        "gateway page",
        "reset, not done",
        "broken json",
        "no message_id",
        "another chat",
        "wrong size",
    )
} | {"413": {"kind": "http413", "form": "json"}, "413 as page": {"kind": "http413", "form": "html"}}


@pytest.mark.parametrize("action", SEND_FAILS.values(), ids=SEND_FAILS.keys())
async def test_a_fault_that_stays_ends_a_send_with_the_ports_error_in_time(
    tmp_path: Path, action: dict[str, Any]
) -> None:
    async with telegram_world(tmp_path) as world:
        world.faults(action, method="sendDocument", times=None)
        error = await fails(TelegramUnavailable, world.send(CONTENT))
        assert error.retry_after_s > 0
        assert world.time.slept_s <= 25
        world.standin.control.clear_faults()
        await world.time.sleep(300)
        assert await world.read(await world.send(CONTENT)) == CONTENT, "it works again when the fault is gone"


@pytest.mark.parametrize(("kind", "retry_after"), [("rate", 7), ("rate_text400", 9)])
async def test_a_429_is_waited_out_exactly(tmp_path: Path, kind: str, retry_after: int) -> None:
    async with telegram_world(tmp_path) as world:
        world.faults({"kind": kind, "retry_after": retry_after}, method="sendDocument")
        await world.send(CONTENT)
        assert world.time.slept_s == pytest.approx(retry_after)
        assert len(world.calls("senddocument")) == 2


async def test_a_429_beyond_the_wait_limit_is_told_at_once(tmp_path: Path) -> None:
    async with telegram_world(tmp_path) as world:
        world.faults({"kind": "rate", "retry_after": 60}, method="sendDocument")
        error = await fails(TelegramUnavailable, world.send(CONTENT))
        assert error.retry_after_s == pytest.approx(60)
        assert world.time.slept_s == 0
        error = await fails(TelegramUnavailable, world.send(CONTENT))
        assert error.retry_after_s == pytest.approx(60)
        assert len(world.calls("senddocument")) == 1, "nothing is sent while the pause lasts"


async def test_a_429_in_one_chat_does_not_stop_the_other(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, chats=(CHANNEL, OTHER_CHANNEL)) as world:
        world.faults({"kind": "rate", "retry_after": 60}, method="sendDocument", chat_id=CHANNEL)
        document = await world.send(CONTENT)
        assert document.chat_id == OTHER_CHANNEL
        assert world.time.slept_s <= 1, "only what keeps uploads of equal size apart"


@pytest.mark.parametrize("form", ["json", "html"])
async def test_a_413_is_final_for_its_pair(tmp_path: Path, form: str) -> None:
    async with telegram_world(tmp_path, chats=(CHANNEL, OTHER_CHANNEL)) as world:
        world.faults({"kind": "http413", "form": form}, method="sendDocument", chat_id=CHANNEL, times=None)
        assert (await world.send(CONTENT)).chat_id == OTHER_CHANNEL
        world.faults({"kind": "http413", "form": form}, method="sendDocument", chat_id=OTHER_CHANNEL, times=None)
        before = len(world.calls("senddocument"))
        await fails(TelegramUnavailable, world.send(CONTENT))
        assert len(world.calls("senddocument")) - before == 2


async def test_requests_that_never_left_do_not_use_up_the_minutes_messages(tmp_path: Path) -> None:
    async with telegram_world(tmp_path) as world:
        await world.standin.stop()
        for number in range(4):
            await fails(TelegramUnavailable, world.send(CONTENT[number:], f"doc-{number}"))
        assert world.documents.send_delay_s() == 0


async def test_a_message_whose_answer_is_not_accepted_is_deleted(tmp_path: Path) -> None:
    async with telegram_world(tmp_path) as world:
        world.faults({"kind": "drop_field", "path": "document.file_size", "value": 5}, method="sendDocument")
        document = await world.send(CONTENT)
        assert [message["message_id"] for message in world.messages()] == [document.message_id]


async def test_a_message_of_another_chat_is_not_touched(tmp_path: Path) -> None:
    async with telegram_world(tmp_path) as world:
        world.faults({"kind": "drop_field", "path": "chat.id", "value": OTHER_CHANNEL}, method="sendDocument")
        await world.send(CONTENT)
        assert world.calls("deletemessage") == []


# --- Bots and chats -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["kick", "leave", "demote"])
async def test_a_bot_that_lost_the_chat_is_set_aside_and_comes_back(tmp_path: Path, op: str) -> None:
    async with telegram_world(tmp_path, tokens=(BOT_A, BOT_B)) as world:
        world.standin.control.chat(op, CHANNEL, bot_id=BOT_A_ID)
        assert (await world.send(CONTENT)).bot_id == BOT_B_ID
        assert (await world.send(CONTENT, "doc-2")).bot_id == BOT_B_ID
        assert len([call for call in world.calls("senddocument") if call["bot_id"] == BOT_A_ID]) == 1
        world.standin.control.chat("unkick", CHANNEL, bot_id=BOT_A_ID)
        await world.time.sleep(60)
        await world.documents.look()
        assert (await world.send(CONTENT, "doc-3")).bot_id == BOT_A_ID


@pytest.mark.parametrize("op", ["kick", "leave", "demote", "revoke"])
async def test_what_is_set_aside_is_asked_and_not_tried_with_documents(tmp_path: Path, op: str) -> None:
    async with telegram_world(tmp_path) as world:
        world.standin.control.chat(op, CHANNEL, bot_id=BOT_A_ID)
        for _ in range(4):
            await fails(TelegramUnavailable, world.send(CONTENT))
            await world.time.sleep(400)
        assert len(world.calls("senddocument")) == 1
        assert 3 <= len(world.calls("getchat")) <= 12, "it is asked after growing times"
        world.standin.control.chat("revive", bot_id=BOT_A_ID)
        world.standin.control.chat("unkick", CHANNEL, bot_id=BOT_A_ID)
        assert world.holds(await world.send(CONTENT), CONTENT)


async def test_a_revoked_token_is_set_aside_in_every_chat(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, tokens=(BOT_A, BOT_B), chats=(CHANNEL, OTHER_CHANNEL)) as world:
        world.standin.control.chat("revoke", bot_id=BOT_A_ID)
        assert {(await world.send(CONTENT, f"doc-{n}")).bot_id for n in range(4)} == {BOT_B_ID}
        assert len([call for call in world.calls("senddocument") if call["bot_id"] == BOT_A_ID]) == 1


async def test_no_usable_bot_is_the_ports_error(tmp_path: Path) -> None:
    async with telegram_world(tmp_path) as world:
        world.standin.control.chat("kick", CHANNEL)
        await fails(TelegramUnavailable, world.send(CONTENT))
        assert world.time.slept_s <= 25


async def test_an_unknown_chat_is_passed_over(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, chats=(-1009, CHANNEL)) as world:
        assert (await world.send(CONTENT)).chat_id == CHANNEL


async def test_a_group_that_became_a_supergroup_is_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with telegram_world(tmp_path, chats=(GROUP,)) as world:
        world.standin.control.chat("migrate", GROUP, new_id=-1001000000099)
        document = await world.send(CONTENT)
        assert document.chat_id == -1001000000099
        assert await world.read(document) == CONTENT
        assert (await world.send(CONTENT, "doc-2")).chat_id == -1001000000099
        assert len([call for call in world.calls("senddocument") if call["arguments"]["chat_id"] == str(GROUP)]) == 1
        assert "-1001000000099" in caplog.text


# --- Faults while reading -----------------------------------------------------------------------------------------------------

READ_HEALS: dict[str, tuple[str, dict[str, Any]]] = {
    f"{method}: {name}": (method, action)
    for method, names in {
        "getFile": (
            "rate",
            "gateway page",
            "gateway json",
            "restart",
            "reset, not done",
            "reset in the answer",
            "hang, not done",
            "cut answer",
            "empty answer",
            "broken json",
            "no result",
            "null result",
        ),
        "download": (
            "rate",
            "gateway page",
            "gateway json",
            "reset at the head",
            "reset, not done",
            "hang, not done",
            "empty answer",
        ),
    }.items()
    for name in names
    for action in (SEND_HEALS[name],)
} | {
    "getFile: unavailable": ("getFile", {"kind": "unavailable"}),
    "getFile: invalid file_id": ("getFile", {"kind": "invalid_file_id"}),
    "getFile: invalid for ever": ("getFile", {"kind": "invalid_file_id", "permanent": True}),
    "getFile: no path": ("getFile", {"kind": "drop_field", "path": "file_path"}),
    "getFile: no size": ("getFile", {"kind": "drop_field", "path": "file_size"}),
    "getFile: wrong size": ("getFile", {"kind": "drop_field", "path": "file_size", "value": 3}),
    "getFile: a path that answers 404": ("getFile", {"kind": "path404", "times": 2}),
    "getFile: unauthorized": ("getFile", {"kind": "unauthorized"}),
    "download: unauthorized": ("download", {"kind": "unauthorized"}),
    "download: expired": ("download", {"kind": "expire_paths"}),
    "download: 404": ("download", {"kind": "path404"}),
    "download: reset in the body": ("download", {**RESET, "at": "answer_body", "bytes": 100_000}),
    "download: reset after one byte": ("download", {**RESET, "at": "answer_body", "bytes": 1}),
    "download: closed in the body": ("download", {**RESET, "at": "answer_body", "bytes": 200_000, "how": "fin"}),
    "download: cut": ("download", {"kind": "truncate", "bytes": 150_000}),
    "download: cut with matching length": ("download", {"kind": "truncate", "bytes": 150_000, "honest_length": True}),
    "download: slow": ("download", {"kind": "slow", "bytes_per_s": 3_000_000}),
}


@pytest.mark.parametrize("range_support", [False, True], ids=["no ranges", "ranges"])
@pytest.mark.parametrize(("method", "action"), READ_HEALS.values(), ids=READ_HEALS.keys())
async def test_a_fault_that_passes_is_survived_by_a_read(
    tmp_path: Path, method: str, action: dict[str, Any], range_support: bool
) -> None:
    async with telegram_world(tmp_path, switches=Switches(range_support=range_support)) as world:
        document = await world.send(CONTENT)
        # What condemns a file_id may happen once: a fresh one that is condemned as well is a lost document.
        once = method == "getFile" and action["kind"] in ("invalid_file_id", "unauthorized", "drop_field")
        world.faults(*[action] * (1 if once else 2), method=method)
        assert await world.read(document) == CONTENT
        assert await world.read(document, 12_345, 200_000) == CONTENT[12_345:212_345]


READ_FAILS: dict[str, tuple[str, dict[str, Any], type[Exception]]] = {
    "getFile: gateway page": ("getFile", SEND_HEALS["gateway page"], TelegramUnavailable),
    "getFile: broken json": ("getFile", SEND_HEALS["broken json"], TelegramUnavailable),
    "getFile: rate": ("getFile", SEND_HEALS["rate"], TelegramUnavailable),
    "getFile: unavailable": ("getFile", {"kind": "unavailable"}, DocumentLost),
    "getFile: wrong size": ("getFile", READ_HEALS["getFile: wrong size"][1], DocumentLost),
    "getFile: unauthorized": ("getFile", {"kind": "unauthorized"}, TelegramUnavailable),
    "download: 404": ("download", {"kind": "path404"}, TelegramUnavailable),
    "download: unauthorized": ("download", {"kind": "unauthorized"}, TelegramUnavailable),
    "download: empty": ("download", {"kind": "empty200"}, TelegramUnavailable),
    "download: reset": ("download", {**RESET, "at": "answer_body", "bytes": 1000}, TelegramUnavailable),
    "download: gateway page": ("download", SEND_HEALS["gateway page"], TelegramUnavailable),
}


@pytest.mark.parametrize(("method", "action", "error"), READ_FAILS.values(), ids=READ_FAILS.keys())
async def test_a_fault_that_stays_ends_a_read_with_the_ports_error(
    tmp_path: Path, method: str, action: dict[str, Any], error: type[Exception]
) -> None:
    async with telegram_world(tmp_path) as world:
        document = await world.send(CONTENT)
        world.faults(action, method=method, times=None)
        await fails(error, world.read(document))
        world.standin.control.clear_faults()
        await world.time.sleep(300)
        assert await world.read(document) == CONTENT, "it works again when the fault is gone"
        assert [message["message_id"] for message in world.messages()] == [document.message_id], "no copy stays behind"


async def test_a_transfer_that_breaks_off_is_continued_by_range(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, switches=Switches(range_support=True)) as world:
        document = await world.send(CONTENT)
        world.faults({**RESET, "at": "answer_body", "bytes": 200_000, "how": "fin"}, method="download")
        assert await world.read(document) == CONTENT
        assert 0 < world.calls("download")[-1]["sent_bytes"] < len(CONTENT)


async def test_a_file_host_that_lies_about_ranges_is_read_without_them(tmp_path: Path) -> None:
    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.api_method == "getFile":
            writer.write(answer({"ok": True, "result": {"file_path": "documents/f.bin", "file_size": len(CONTENT)}}))
        elif "range" in request.headers:
            writer.write(answer(CONTENT[:10], 206, {"Content-Range": f"bytes 0-9/{len(CONTENT)}"}))
        else:
            writer.write(answer(CONTENT))

    document = Document("d", CHANNEL, 5, BOT_A_ID, "F", "U", len(CONTENT))
    async with scripted_server(handle) as server:
        documents = TelegramDocuments(server.url, [BOT_A], [CHANNEL], sleep=lambda _: asyncio.sleep(0))
        try:
            pieces = [piece async for piece in documents.read(document, offset=100, length=10)]
        finally:
            await documents.close()
    assert b"".join(pieces) == CONTENT[100:110]
