"""getMe, logOut, close, the webhook methods, and getUpdates with its single poller."""

import asyncio
import json
from typing import Any

from addon.standin.call import Call
from addon.standin.failures import ApiError, fail

UPDATES_MAX = 100
UPDATE_S_MAX = 24 * 3600
POLL_S_MAX = 50
_CONFLICT = "terminated by other getUpdates request; make sure that only one bot instance is running"


def get_me(call: Call) -> dict[str, Any]:
    """https://core.telegram.org/bots/api#getme"""
    flags = ("can_join_groups", "can_read_all_group_messages", "supports_inline_queries")
    return {**call.bot.as_user(), **dict.fromkeys(flags, False), "can_join_groups": True}


def log_out(call: Call) -> bool:
    """https://core.telegram.org/bots/api#logout"""
    call.bots.set_state(call.bot.id, "logged_out")
    return True


def close(call: Call) -> bool:
    """https://core.telegram.org/bots/api#close"""
    call.bots.set_state(call.bot.id, "closed")
    return True


def delete_webhook(call: Call) -> bool:
    """https://core.telegram.org/bots/api#deletewebhook"""
    if call.boolean("drop_pending_updates"):
        call.world.database.change("DELETE FROM updates WHERE bot_id = ?", call.bot.id)
    return True


def get_webhook_info(call: Call) -> dict[str, Any]:
    """https://core.telegram.org/bots/api#getwebhookinfo: there never is a webhook."""
    return {"url": "", "has_custom_certificate": False, "pending_update_count": len(_pending(call))}


def conflict() -> ApiError:
    return fail(409, _CONFLICT)


def _pending(call: Call) -> list[dict[str, Any]]:
    rows = call.world.database.rows(
        "SELECT payload FROM updates WHERE bot_id = ? AND date > ? ORDER BY id", call.bot.id, call.date - UPDATE_S_MAX
    )
    return [json.loads(row["payload"]) for row in rows]


class Pollers:
    """The running getUpdates calls, one per bot; a second one ends the first with 409."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[bool]] = {}

    async def get_updates(self, call: Call) -> list[dict[str, Any]]:
        """https://core.telegram.org/bots/api#getupdates: only what others posted, 24 hours back, confirmed by `offset`."""
        earlier = self._waiting.pop(call.bot.id, None)
        if earlier is not None and not earlier.done():
            earlier.set_result(False)
        offset = call.integer("offset")
        if offset > 0:
            call.world.database.change("DELETE FROM updates WHERE bot_id = ? AND id < ?", call.bot.id, offset)
        found = self._chosen(call, offset)
        timeout_s = min(call.integer("timeout"), POLL_S_MAX)
        if not found and timeout_s > 0:
            await self._wait(call.bot.id, timeout_s)
            found = self._chosen(call, offset)
        return found

    async def _wait(self, bot_id: int, timeout_s: float) -> None:
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[bot_id] = future
        try:
            async with asyncio.timeout(timeout_s):
                arrived = await future
        except TimeoutError:
            return
        finally:
            if self._waiting.get(bot_id) is future:
                del self._waiting[bot_id]
        if not arrived:
            raise conflict()

    @staticmethod
    def _chosen(call: Call, offset: int) -> list[dict[str, Any]]:
        limit = call.integer("limit") if "limit" in call.arguments else UPDATES_MAX
        pending = _pending(call)
        if offset < 0:
            return pending[offset:][:limit]
        return pending[: max(1, min(limit, UPDATES_MAX))]

    def wake(self, bot_id: int) -> None:
        """Tell a waiting poller that an update has come."""
        future = self._waiting.pop(bot_id, None)
        if future is not None and not future.done():
            future.set_result(True)
