"""The stand-in for the Bot API as a process of its own, and its control port."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import httpx

from .process import LabProcess, held_port, listening

READY_LIMIT_S = 30.0
CONTROL_LIMIT_S = 30.0
# Telegram limits messages per chat and bot; several of both let a test write as fast as it likes within the limits.
BOT_TOKENS = tuple(f"{123456 + number}:LAB-token-of-the-stand-in-AAAAAAAAA{number}" for number in range(3))
CHAT_IDS = tuple(-1001234567890 - number for number in range(8))


class Standin:
    """Its files stay in ``folder``: ``stop`` and ``start`` again, and the chat is as it was."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port, self.control_port = held_port(), held_port()
        self.url = f"http://127.0.0.1:{self.port}"
        bots = [word for token in BOT_TOKENS for word in ("--bot", token)]
        chats = [f"--chat={chat}:channel" for chat in CHAT_IDS]
        self.process = LabProcess(
            "stand-in",
            [
                sys.executable, "-m", "addon.standin", "--folder", folder / "standin",
                "--port", str(self.port), "--control-port", str(self.control_port), *bots, *chats, *options,
            ],
            log=folder / "standin.log",
            cwd=Path(__file__).parents[3],
        )  # fmt: skip

    def start(self) -> None:
        self.process.start()
        self.process.wait_until(
            lambda: "stand-in ready" in self.process.log_text() and listening(self.port), READY_LIMIT_S
        )

    def stop(self) -> None:
        self.process.stop()

    def control(self, route: str, body: Any = None) -> Any:
        """One request to a control route (``log``, ``faults``, ``reset``, ``clock``, ``chat``, ``state``).

        Without a body it is a GET.
        """
        url = f"http://127.0.0.1:{self.control_port}/_ctl/{route}"
        method = "GET" if body is None else "POST"
        answer = httpx.request(method, url, json=body, timeout=CONTROL_LIMIT_S)
        answer.raise_for_status()
        return answer.json()["result"]

    def uploads(self) -> list[dict[str, Any]]:
        """The logged requests that brought documents, oldest first."""
        return [entry for entry in self.control("log") if entry["method"].lower() == "senddocument"]
