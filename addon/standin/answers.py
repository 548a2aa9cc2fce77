"""Answers as values: status, headers, and a body in memory or in a file."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from addon.standin.failures import ApiError

_JSON = ("Content-Type", "application/json")


@dataclass(frozen=True, slots=True)
class Span:
    """`length` bytes of a file from `offset`."""

    path: Path
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers` are without Content-Length; `span` takes the place of `body` for a download."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = (_JSON,)
    span: Span | None = None
    close: bool = False

    @property
    def length(self) -> int:
        return len(self.body) if self.span is None else self.span.length


def json_answer(status: int, value: Any, *headers: tuple[str, str], close: bool = False) -> Answer:
    body = json.dumps(value, separators=(",", ":")).encode("ascii")
    return Answer(status, body, (_JSON, *headers), close=close)


def success(result: Any) -> Answer:
    return json_answer(200, {"ok": True, "result": result})


def failure(error: ApiError) -> Answer:
    """The answer to a failed call; `Retry-After` repeats what the parameters say, and 413 ends the connection."""
    headers = []
    if error.parameters and "retry_after" in error.parameters:
        headers.append(("Retry-After", str(error.parameters["retry_after"])))
    return json_answer(error.code, error.body(), *headers, close=error.code == 413)


def html_page(status: int, reason: str, *, close: bool = False) -> Answer:
    """The page that the web server in front shows when what is behind it does not answer."""
    title = f"{status} {reason}"
    body = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        "<hr><center>nginx/1.18.0</center>\r\n</body>\r\n</html>\r\n"
    )
    return Answer(status, body.encode("ascii"), (("Content-Type", "text/html"),), close=close)
