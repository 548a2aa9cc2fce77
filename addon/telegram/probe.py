"""Tries what `tgstore check` promises about Telegram: each bot answers, may post, edit, pin, forward and delete in each chat, and
the clock agrees with Telegram's. Each finding is one value with advice for the operator."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from addon.store.probe import ProbeResult
from addon.telegram.answers import file_link
from addon.telegram.client import BotApi, Timeouts, public_authorities
from addon.telegram.errors import (
    BadRequest,
    BotApiError,
    ChatMigrated,
    FileUnreadable,
    Forbidden,
    MalformedAnswer,
    NetworkFailure,
    NotFound,
    RateLimited,
    ServerFailure,
    Unauthorized,
)
from addon.telegram.local_files import local_file
from addon.telegram.multipart import FilePart

CLOCK_DIFFERENCE_S_MAX = 60.0
PROBE_TEXT = b"tgstore check: this message is deleted at once\n"

_RIGHTS_OF_CHANNEL = ("can_post_messages", "can_edit_messages", "can_delete_messages")
_ADMINISTRATOR = "make the bot an administrator of the chat with the rights to post, edit and delete messages"


async def probe(
    api_url: str,
    bot_tokens: Sequence[str],
    chat_ids: Sequence[int],
    *,
    writes: bool,
    local: bool = False,
    wall_clock: Callable[[], float] = time.time,
    timeouts: Timeouts | None = None,
) -> list[ProbeResult]:
    """Try every bot and every chat. `writes` false changes nothing in Telegram (getMe, getChat, getChatMember); true also sends a
    small document to each chat by each bot, edits, pins, unpins, forwards and deletes it; with `local` it is also read from the
    disk of the local server. Never raises for what it finds."""
    findings: list[ProbeResult] = []
    transport = httpx.AsyncHTTPTransport(trust_env=False, verify=public_authorities())
    try:
        for number, token in enumerate(bot_tokens, 1):
            try:
                bot = BotApi(api_url, token, transport, timeouts or Timeouts())
            except ValueError as error:
                findings.append(
                    ProbeResult(f"bot token {number}", False, str(error), "copy the token anew from @BotFather")
                )
                continue
            greeted = await _greet(bot, wall_clock)
            findings += greeted
            if greeted[0].ok:
                for chat_id in chat_ids:
                    findings += await (_try_chat(bot, chat_id, local) if writes else _look_at_chat(bot, chat_id))
    finally:
        await transport.aclose()
    return findings


async def _greet(bot: BotApi, wall_clock: Callable[[], float]) -> list[ProbeResult]:
    subject = f"bot {bot.bot_id}"
    try:
        answer = await bot.exchange("getMe")
    except BotApiError as error:
        return [_failed(subject, error)]
    result = answer.result if isinstance(answer.result, Mapping) else {}
    findings = [ProbeResult(subject, True, f"answers as @{result.get('username', '?')}")]
    difference_s = clock_difference_s(answer.date, wall_clock())
    if difference_s is None:
        return [*findings, ProbeResult("clock", True, "the Bot API's answer has no date to compare with")]
    ok = abs(difference_s) <= CLOCK_DIFFERENCE_S_MAX
    detail = f"differs from Telegram's by {difference_s:+.0f} s"
    return [
        *findings,
        ProbeResult("clock", ok, detail, "" if ok else "set the clock of this machine (NTP): signatures depend on it"),
    ]


def clock_difference_s(date: str, now_s: float) -> float | None:
    """Telegram's clock minus ours, in seconds, from an HTTP `Date` header (RFC 9110); None where it cannot be read."""
    try:
        return parsedate_to_datetime(date).timestamp() - now_s
    except (TypeError, ValueError, IndexError):
        return None


async def _look_at_chat(bot: BotApi, chat_id: int) -> list[ProbeResult]:
    subject = f"bot {bot.bot_id} in chat {chat_id}"
    try:
        chat = await bot.call("getChat", {"chat_id": chat_id})
    except BotApiError as error:
        return [_failed(subject, error)]
    findings = [_judge_chat(subject, chat)]
    try:
        member = await bot.call("getChatMember", {"chat_id": chat_id, "user_id": bot.bot_id})
    except BadRequest as error:
        # Not every compatible server has this method; what the bot may do shows with the first document.
        return [*findings, ProbeResult(f"{subject}: rights", True, f"unknown ({error.text})")]
    except BotApiError as error:
        return [*findings, _failed(f"{subject}: rights", error)]
    return [*findings, _judge_rights(f"{subject}: rights", chat, member)]


def _judge_chat(subject: str, chat: Any) -> ProbeResult:
    kind = chat.get("type") if isinstance(chat, Mapping) else None
    if kind is not None and chat.get("has_protected_content"):
        advice = "allow saving content in the chat's settings: a lost file_id is won again by forwarding"
        return ProbeResult(subject, False, f"the {kind} protects its content", advice)
    if kind in ("channel", "supergroup"):
        return ProbeResult(subject, True, f"is a {kind}")
    return ProbeResult(
        subject, False, f"is of type {kind}", "use a private channel (or a supergroup): its message ids are its own"
    )


def _judge_rights(subject: str, chat: Any, member: Any) -> ProbeResult:
    if not isinstance(member, Mapping):
        return ProbeResult(subject, True, "unknown")
    status = member.get("status")
    if status in ("left", "kicked"):
        return ProbeResult(subject, False, f"the bot is {status}", _ADMINISTRATOR)
    if status == "creator" or not isinstance(chat, Mapping) or chat.get("type") != "channel":
        return ProbeResult(subject, True, f"the bot is {status}")
    missing = [right for right in _RIGHTS_OF_CHANNEL if member.get(right) is False or status != "administrator"]
    if missing:
        return ProbeResult(subject, False, f"the bot is {status} without {', '.join(missing)}", _ADMINISTRATOR)
    return ProbeResult(subject, True, f"the bot is {status} and may post, edit and delete")


async def _try_chat(bot: BotApi, chat_id: int, local: bool) -> list[ProbeResult]:
    """Post, read where the server is local, edit, pin, unpin, forward, delete. Whatever was posted is deleted at the end."""
    subject = f"bot {bot.bot_id} in chat {chat_id}"
    findings = await _look_at_chat(bot, chat_id)
    posted, finding = await _step(f"{subject}: post", _post(bot, chat_id))
    findings.append(finding)
    message_id = _message_id(posted)
    if not message_id:
        if finding.ok:
            findings.append(ProbeResult(f"{subject}: post", False, "the answer has no message_id", "try again"))
        return findings
    if local:
        _, finding = await _step(f"{subject}: read", _read_locally(bot, posted))
        findings.append(finding)
    message: dict[str, str | int | bool] = {"chat_id": chat_id, "message_id": message_id}
    quiet = {"disable_notification": True}
    for name, method, params in (
        ("edit", "editMessageCaption", {**message, "caption": "tgstore check, edited"}),
        ("pin", "pinChatMessage", {**message, **quiet}),
        ("unpin", "unpinChatMessage", message),
    ):
        _, finding = await _step(f"{subject}: {name}", bot.call(method, params))
        findings.append(finding)
    copy, finding = await _step(
        f"{subject}: forward", bot.call("forwardMessage", {**message, **quiet, "from_chat_id": chat_id})
    )
    findings.append(finding)
    for number in filter(None, (_message_id(copy), message_id)):
        _, finding = await _step(
            f"{subject}: delete", bot.call("deleteMessage", {"chat_id": chat_id, "message_id": number})
        )
        if number == message_id or not finding.ok:
            findings.append(finding)
    return findings


def _message_id(message: Any) -> int:
    found = message.get("message_id") if isinstance(message, Mapping) else None
    return found if isinstance(found, int) and found > 0 else 0


async def _post(bot: BotApi, chat_id: int) -> Any:
    params: dict[str, str | int | bool] = {
        "chat_id": chat_id,
        "caption": "tgstore check",
        "disable_content_type_detection": True,
        "disable_notification": True,
    }
    part = FilePart("document", "tgstore-check.bin", PROBE_TEXT, len(PROBE_TEXT))
    return await bot.call("sendDocument", params, file=part)


async def _read_locally(bot: BotApi, posted: Any) -> None:
    """What was posted, from the local server's disk. Raises a `BotApiError` where it is not there, or something else is."""
    document = posted.get("document") if isinstance(posted, Mapping) else None
    file_id = document.get("file_id") if isinstance(document, Mapping) else None
    link = file_link(await bot.call("getFile", {"file_id": str(file_id)}))
    if link is None:
        raise MalformedAnswer("getFile", "an answer without a file_path")
    size = len(PROBE_TEXT)
    pieces = local_file(bot, link.path, size=size, offset=0, length=size)
    if b"".join([piece async for piece in pieces]) != PROBE_TEXT:
        raise MalformedAnswer("download", f"{bot.without_token(link.path)} holds something else than what was posted")


async def _step(subject: str, call: Awaitable[Any]) -> tuple[Any, ProbeResult]:
    try:
        result = await call
    except BotApiError as error:
        return None, _failed(subject, error)
    return result, ProbeResult(subject, True, "works")


def _failed(subject: str, error: BotApiError) -> ProbeResult:
    return ProbeResult(subject, False, str(error), advice(error))


def advice(error: BotApiError) -> str:
    """What an operator can do about a failure."""
    if isinstance(error, Unauthorized):
        return "the token is wrong or was revoked: get it anew from @BotFather (/mybots, API Token)"
    if isinstance(error, Forbidden):
        return f"add the bot to the chat: {_ADMINISTRATOR}"
    if isinstance(error, ChatMigrated):
        return f"put {error.chat_id} into [telegram] chat_ids in the place of the old id"
    if isinstance(error, FileUnreadable | NotFound):
        return 'see "A Bot API server of your own" in docs/operation.md'
    if isinstance(error, RateLimited):
        return f"wait {error.retry_after_s:g} s and try again"
    if isinstance(error, BadRequest):
        if "chat not found" in error.text:
            return "check the id in [telegram] chat_ids (a channel's begins with -100), and add the bot to the chat"
        return _ADMINISTRATOR
    if isinstance(error, NetworkFailure):
        return "check [telegram] api_url, and that this machine may reach it"
    if isinstance(error, ServerFailure):
        return "Telegram, or the server at [telegram] api_url, has trouble: try again later"
    return "check that [telegram] api_url is a Bot API server"
