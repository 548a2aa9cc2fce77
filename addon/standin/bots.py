"""The registered bots and their tokens."""

import hmac
from collections.abc import Iterable
from typing import Literal

from addon.standin.failures import ApiError, fail
from addon.standin.records import Bot
from addon.standin.routes import bot_id_of

BotState = Literal["running", "revoked", "logged_out", "closed"]
BOT_STATES: tuple[BotState, ...] = ("running", "revoked", "logged_out", "closed")


class Bots:
    """Tokens stay in here: nothing that this class gives away or prints holds one."""

    def __init__(self, tokens: Iterable[str]) -> None:
        self._tokens: dict[int, str] = {}
        self._states: dict[int, BotState] = {}
        self.by_id: dict[int, Bot] = {}
        for number, token in enumerate(tokens, start=1):
            bot_id = bot_id_of(token)
            if bot_id is None:
                raise ValueError(f"bot {number}: a token is a number, a colon and a secret, at most 80 characters")
            self._tokens[bot_id] = token
            self._states[bot_id] = "running"
            self.by_id[bot_id] = Bot(bot_id, f"standin_{bot_id}_bot", f"Stand-in {number}")

    def find(self, token: str, *, cloud: bool) -> Bot:
        """The bot of the token. Raises ApiError as the server answers malformed, unknown, revoked and logged-out tokens."""
        bot_id = bot_id_of(token)
        if bot_id is None:
            raise ApiError(404, "Not Found") if cloud else fail(401, "invalid token specified")
        known = self._tokens.get(bot_id, "")
        if not hmac.compare_digest(known.encode(), token.encode("utf-8", "surrogateescape")):
            raise ApiError(401, "Unauthorized")
        state = self._states[bot_id]
        if state in ("revoked", "logged_out"):
            raise ApiError(401, "Unauthorized")
        if state == "closed":
            raise fail(400, "logged out")
        return self.by_id[bot_id]

    def set_state(self, bot_id: int, state: BotState) -> None:
        if bot_id not in self.by_id or state not in BOT_STATES:
            raise ValueError(f"no bot {bot_id}, or no state {state!r}")
        self._states[bot_id] = state

    def revive_all(self) -> None:
        for bot_id in self._states:
            self._states[bot_id] = "running"
