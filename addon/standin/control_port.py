"""The control port: the desk's orders over HTTP, on a port of its own so that no client of the Bot API reaches it by accident."""

import json
from typing import Any

from addon.standin.answers import Answer, json_answer
from addon.standin.arguments import parse_urlencoded, read_integer
from addon.standin.connection import Connection, RequestHead
from addon.standin.delivery import deliver
from addon.standin.desk import ControlError, Desk
from addon.standin.failures import BareError

ORDER_BYTES_MAX = 4 * 1024 * 1024


class ControlPort:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def run(self, connection: Connection, head: RequestHead) -> None:
        """Serve one order: `{"ok":true,"result":...}`, or 400 with the reason."""
        body = bytearray()
        async for piece in connection.body():
            body += piece
            if len(body) > ORDER_BYTES_MAX:
                raise BareError(413)
        await deliver(connection, self._answer(head, bytes(body)), head_only=False)

    def _answer(self, head: RequestHead, body: bytes) -> Answer:
        path, _, query = head.target.partition("?")
        try:
            result = self._carry_out(head.method, path, query, body)
        except (ControlError, ValueError) as error:
            return json_answer(400, {"ok": False, "description": str(error)})
        return json_answer(200, {"ok": True, "result": result})

    def _carry_out(self, method: str, path: str, query: str, body: bytes) -> Any:
        value = json.loads(body) if body else None
        match method, path:
            case "POST", "/_ctl/faults" if isinstance(value, list):
                return self._desk.faults(*value)
            case "GET", "/_ctl/faults":
                return self._desk.faults()
            case "POST", "/_ctl/faults/clear":
                return self._desk.clear_faults()
            case "GET", "/_ctl/log":
                return self._desk.log(read_integer(dict(parse_urlencoded(query)).get("after", "")))
            case "POST", "/_ctl/reset":
                return self._desk.reset()
            case "POST", "/_ctl/clock" if isinstance(value, dict):
                return self._desk.clock_advance(float(value.get("advance_s", 0)))
            case "POST", "/_ctl/chat" if isinstance(value, dict) and all(isinstance(key, str) for key in value):
                return self._desk.chat(**value)
            case "GET", "/_ctl/state":
                return self._desk.state()
            case _:
                raise ControlError(f"there is no order {method} {path} with such a body")
