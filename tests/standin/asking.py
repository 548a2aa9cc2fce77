"""Calls over the wire with httpx, for the tests of the stand-in."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from addon.standin.server import StandIn
from tests.standin_fixture import BOT_A, CHANNEL

CONDITION_S_MAX = 5.0


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until the condition holds; TimeoutError when it does not within five seconds."""
    async with asyncio.timeout(CONDITION_S_MAX):
        while not condition():  # noqa: ASYNC110 - the server in this loop has no event for what a test looks for
            await asyncio.sleep(0)


def executed(standin: StandIn) -> list[dict[str, Any]]:
    """The log's entries of calls that reached a method."""
    return [entry for entry in standin.control.log() if entry["executed"]]


@dataclass
class Asker:
    """A bot's calls: `await bot.result("getMe")`, `await bot.refused("getFile", file_id="x")`."""

    http: httpx.AsyncClient
    standin: StandIn
    token: str = BOT_A

    async def answer(self, method: str, files: dict[str, Any] | None = None, **arguments: Any) -> httpx.Response:
        data = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in arguments.items()
            if value is not None
        }
        return await self.http.post(f"{self.standin.url}/bot{self.token}/{method}", data=data, files=files)

    async def result(self, method: str, files: dict[str, Any] | None = None, **arguments: Any) -> Any:
        answer = await self.answer(method, files, **arguments)
        assert answer.status_code == 200, answer.text
        value = answer.json()
        assert list(value) == ["ok", "result"]
        assert value["ok"] is True
        return value["result"]

    async def refused(self, method: str, files: dict[str, Any] | None = None, **arguments: Any) -> tuple[int, str]:
        answer = await self.answer(method, files, **arguments)
        value = answer.json()
        assert value["ok"] is False, value
        assert "result" not in value
        assert value["error_code"] == answer.status_code
        assert answer.headers["content-type"] == "application/json"
        return value["error_code"], value["description"]

    async def send(
        self, content: bytes = b"some bytes", name: str = "chunk.bin", chat_id: int = CHANNEL, **arguments: Any
    ) -> dict[str, Any]:
        """Send a document with detection off and return the Message."""
        arguments.setdefault("disable_content_type_detection", True)
        files = {"document": (name, content)}
        message: dict[str, Any] = await self.result("sendDocument", files, chat_id=chat_id, **arguments)
        return message

    async def file_path(self, message: dict[str, Any]) -> str:
        file = await self.result("getFile", file_id=message["document"]["file_id"])
        return str(file["file_path"])

    async def download(self, path: str, **headers: str) -> httpx.Response:
        """The file host's answer for a path, the names of headers written with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.get(f"{self.standin.url}/file/bot{self.token}/{path}", headers=named)
