"""A client for the control port, for tests that run the stand-in in another process. Synchronous, standard library only.

Within the process and event loop of the stand-in use `StandIn.control` instead, which has the same methods: a synchronous
client would wait for the very loop that it blocks.
"""

import json
import urllib.error
import urllib.request
from typing import Any

ANSWER_S_MAX = 30.0


class ControlFailed(Exception):
    """The order was refused; the text is the stand-in's reason."""


class Control:
    """`url` is what `StandIn.control_url` says, such as `http://127.0.0.1:8082`."""

    def __init__(self, url: str) -> None:
        if not url.startswith("http://"):
            raise ValueError("a control port is spoken to over http")
        self._url = url.rstrip("/")

    def faults(self, *rules: dict[str, Any]) -> list[dict[str, Any]]:
        """Append rules (see `addon.standin.faults`) and return all that are in force."""
        result: list[dict[str, Any]] = (
            self._order("/_ctl/faults", list(rules)) if rules else self._order("/_ctl/faults")
        )
        return result

    def clear_faults(self) -> None:
        """Drop every rule."""
        self._order("/_ctl/faults/clear", {})

    def log(self, after: int = 0) -> list[dict[str, Any]]:
        """The requests with a number greater than `after`, oldest first."""
        result: list[dict[str, Any]] = self._order(f"/_ctl/log?after={after}")
        return result

    def reset(self) -> None:
        """Begin again: chats as configured, nothing else."""
        self._order("/_ctl/reset", {})

    def clock_advance(self, seconds: float) -> float:
        """Move the stand-in's clock forward; its new time in UNIX seconds is returned."""
        return float(self._order("/_ctl/clock", {"advance_s": seconds}))

    def chat(self, op: str, chat_id: int = 0, **values: Any) -> dict[str, Any]:
        """Do something to a chat as a person could; the operations are listed at `Desk.chat`."""
        result: dict[str, Any] = self._order("/_ctl/chat", {"op": op, "chat_id": chat_id, **values})
        return result

    def state(self) -> dict[str, Any]:
        """A dump of chats, messages and rules."""
        result: dict[str, Any] = self._order("/_ctl/state")
        return result

    def _order(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"})  # noqa: S310 - http, see above
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S_MAX) as answer:  # noqa: S310 - http, see above
                return json.loads(answer.read())["result"]
        except urllib.error.HTTPError as error:
            with error:
                raise ControlFailed(json.loads(error.read())["description"]) from None
