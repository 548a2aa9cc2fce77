"""What `tgstore check` finds out about bots and chats, and what it tells an operator to do."""

from __future__ import annotations

import asyncio
import logging
from email.utils import formatdate
from pathlib import Path

import pytest

from addon.standin.switches import Switches
from addon.store.probe import ProbeResult
from addon.telegram.errors import BotApiError, ChatMigrated, Forbidden, MalformedAnswer, NetworkFailure, RateLimited
from addon.telegram.probe import advice, clock_difference_s, probe
from tests.standin_fixture import BOT_A, BOT_A_ID, BOT_B, CHANNEL, GROUP, OTHER_CHANNEL, SUPERGROUP, running_standin
from tests.telegram.scripted_server import Request, answer, scripted_server
from tests.telegram.secrecy import assert_no_token


def failed(results: list[ProbeResult]) -> list[ProbeResult]:
    return [result for result in results if not result.ok]


@pytest.mark.parametrize("chat_id", [CHANNEL, SUPERGROUP])
async def test_a_right_setting_passes_and_leaves_no_message_behind(
    tmp_path: Path, chat_id: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with running_standin(tmp_path) as standin:
        results = await probe(standin.url, [BOT_A, BOT_B], [chat_id], writes=True)
        messages = standin.control.state()["chats"][str(chat_id)]["messages"]
    assert failed(results) == []
    subjects = {result.subject for result in results}
    for step in ("post", "edit", "pin", "unpin", "forward", "delete"):
        assert f"bot {BOT_A_ID} in chat {chat_id}: {step}" in subjects
    assert [message for message in messages if message["kind"] != "service"] == []
    assert_no_token(caplog.text, str(results))


async def test_a_local_server_is_tried_by_its_disk(tmp_path: Path) -> None:
    subject = f"bot {BOT_A_ID} in chat {CHANNEL}: read"
    async with running_standin(tmp_path / "local", switches=Switches(local=True)) as standin:
        results = await probe(standin.url, [BOT_A], [CHANNEL], writes=True, local=True)
        assert failed(results) == []
        assert subject in {result.subject for result in results}
    async with running_standin(tmp_path / "remote") as standin:
        (failure,) = failed(await probe(standin.url, [BOT_A], [CHANNEL], writes=True, local=True))
        assert failure.subject == subject
        assert "--local" in failure.detail
        assert "docs/operation.md" in failure.advice
        assert all(
            message["kind"] == "service" for message in standin.control.state()["chats"][str(CHANNEL)]["messages"]
        )


async def test_the_quiet_way_writes_nothing(tmp_path: Path) -> None:
    async with running_standin(tmp_path) as standin:
        before = standin.control.state()["chats"]
        results = await probe(standin.url, [BOT_A], [CHANNEL], writes=False)
        assert standin.control.state()["chats"] == before
        methods = {entry["method"] for entry in standin.control.log()}
    assert failed(results) == []
    assert methods <= {"getme", "getchat", "getchatmember"}


@pytest.mark.parametrize("writes", [False, True])
@pytest.mark.parametrize(
    ("token", "chat_id", "words"),
    [
        ("nonsense", CHANNEL, "@BotFather"),
        ("999999:unknown", CHANNEL, "@BotFather"),
        (BOT_A, -1009999999999, "chat_ids"),
        (BOT_A, GROUP, "private channel"),
    ],
)
async def test_a_wrong_setting_is_named_with_what_to_do(
    tmp_path: Path, token: str, chat_id: int, words: str, writes: bool
) -> None:
    async with running_standin(tmp_path) as standin:
        results = await probe(standin.url, [token], [chat_id], writes=writes)
    assert any(words in result.advice for result in failed(results))
    assert "nonsense" not in str(results)


@pytest.mark.parametrize("op", ["kick", "leave", "demote"])
async def test_a_bot_that_may_not_post_is_told_to_be_made_an_administrator(tmp_path: Path, op: str) -> None:
    async with running_standin(tmp_path) as standin:
        standin.control.chat(op, CHANNEL)
        results = await probe(standin.url, [BOT_A], [CHANNEL, OTHER_CHANNEL], writes=True)
    assert failed(results)
    assert all("administrator" in result.advice and str(CHANNEL) in result.subject for result in failed(results))


async def test_a_missing_right_shows_at_its_own_step(tmp_path: Path) -> None:
    async with running_standin(tmp_path) as standin:
        standin.control.chat("deny", CHANNEL, rights=["can_edit_messages"])
        results = await probe(standin.url, [BOT_A], [CHANNEL], writes=True)
    names = {result.subject.rpartition(": ")[2] for result in failed(results)}
    assert "pin" in names
    assert "post" not in names
    assert "delete" not in names


async def test_protected_content_is_named(tmp_path: Path) -> None:
    async with running_standin(tmp_path) as standin:
        standin.control.chat("protect", CHANNEL)
        results = await probe(standin.url, [BOT_A], [CHANNEL], writes=False)
    assert any("saving content" in result.advice for result in failed(results))


async def test_a_server_that_is_not_there_is_named() -> None:
    (result,) = await probe("http://127.0.0.1:1", [BOT_A], [CHANNEL], writes=True)
    assert not result.ok
    assert "api_url" in result.advice
    assert_no_token(result)


@pytest.mark.parametrize(("behind_s", "ok"), [(0, True), (59, True), (-59, True), (61, False), (-61, False)])
async def test_a_clock_that_is_wrong_by_more_than_a_minute_is_named(behind_s: float, ok: bool) -> None:
    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        me = {"ok": True, "result": {"id": BOT_A_ID, "username": "a_bot"}}
        writer.write(answer(me, headers={"Date": formatdate(1_700_000_000, usegmt=True)}))

    async with scripted_server(handle) as server:
        results = await probe(server.url, [BOT_A], [], writes=False, wall_clock=lambda: 1_700_000_000 - behind_s)
    bot, clock = results
    assert (bot.ok, bot.detail) == (True, "answers as @a_bot")
    assert (clock.subject, clock.ok) == ("clock", ok)


@pytest.mark.parametrize(
    ("date", "difference_s"),
    [(formatdate(1000, usegmt=True), -50), ("", None), ("yesterday", None), ("Mon, 99 Foo 2026 99:99:99 GMT", None)],
)
def test_the_servers_clock_is_read_from_its_date(date: str, difference_s: float | None) -> None:
    assert clock_difference_s(date, 1050.0) == difference_s


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Forbidden("m", "x"), "administrator"),
        (ChatMigrated("m", -1007), "-1007"),
        (RateLimited("m", 7), "wait 7 s"),
        (NetworkFailure("m", "x", ambiguous=True), "api_url"),
        (MalformedAnswer("m", "x"), "Bot API server"),
    ],
)
def test_each_failure_has_its_advice(error: BotApiError, words: str) -> None:
    assert words in advice(error)
