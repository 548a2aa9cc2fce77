"""What can be had of Telegram by whoever has the bots' tokens and the index: every message that can be forwarded, every file_id."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import httpx

from tests.service.product import Product
from tests.standin_fixture import BOT_A, BOT_A_ID, BOT_B, BOT_B_ID

TOKENS = {BOT_A_ID: BOT_A, BOT_B_ID: BOT_B}
_HELD = "SELECT bot_id, file_id FROM documents UNION ALL SELECT bot_id, file_id FROM document_copies"


async def reachable(product: Product) -> list[bytes]:
    """The bytes of all files that a message or the index leads to."""
    async with httpx.AsyncClient(trust_env=False, timeout=20.0) as client:
        files = _Files(client, product.standin.url)
        found = [content async for content in files.of_messages(product.standin.control.state()["chats"])]
        with contextlib.closing(sqlite3.connect(product.folder / "tgstore.db")) as connection:
            held = connection.execute(_HELD).fetchall()
        for bot_id, file_id in held:
            found += [content] if (content := await files.content(bot_id, file_id)) is not None else []
    return found


class _Files:
    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client, self._url = client, url

    async def of_messages(self, chats: dict[str, Any]) -> AsyncIterator[bytes]:
        for chat_id, chat in chats.items():
            for message in chat["messages"]:
                for bot_id in TOKENS if "document" in message else ():
                    target = {"chat_id": chat_id, "from_chat_id": chat_id, "message_id": message["message_id"]}
                    copy = await self._call(bot_id, "forwardMessage", target)
                    if copy is None:
                        continue
                    content = await self.content(bot_id, copy["document"]["file_id"])
                    assert content is not None
                    yield content
                    await self._call(bot_id, "deleteMessage", {"chat_id": chat_id, "message_id": copy["message_id"]})

    async def content(self, bot_id: int, file_id: str) -> bytes | None:
        file = await self._call(bot_id, "getFile", {"file_id": file_id})
        if file is None:
            return None
        answer = await self._client.get(f"{self._url}/file/bot{TOKENS[bot_id]}/{file['file_path']}")
        return answer.content if answer.status_code == 200 else None

    async def _call(self, bot_id: int, method: str, arguments: dict[str, Any]) -> Any:
        answer = await self._client.post(f"{self._url}/bot{TOKENS[bot_id]}/{method}", data=arguments)
        return answer.json().get("result")
