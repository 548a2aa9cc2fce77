"""An origin that keeps every request byte for byte and answers with the bytes that a test chose."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.proxy.raw_http import LIMIT_S, Connection, Head

Answer = bytes | Callable[["Recorded", Connection], None]

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Type: application/xml\r\nContent-Length: 8\r\n\r\n<Error/>"
EMPTY_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def whole(status: str, body: bytes = b"", *headers: str) -> bytes:
    """The bytes of an answer with Content-Length."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


@dataclass
class Recorded:
    """One request as it came over the wire."""

    head: Head
    body: bytes = b""


@dataclass
class RecordingOrigin:
    """`answers` by a piece of the request line, the latest addition first; every other request gets a 404."""

    port: int = 0
    requests: list[Recorded] = field(default_factory=list)
    answers: dict[bytes, Answer] = field(default_factory=dict)

    def start(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self._listening.close()

    def seen(self, piece: bytes) -> list[Recorded]:
        """The requests whose request line holds this piece."""
        return [recorded for recorded in list(self.requests) if piece in recorded.head.first_line]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(Connection(accepted),), daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        with contextlib.suppress(OSError, EOFError), connection:
            while True:
                connection.socket.settimeout(None)
                recorded = Recorded(connection.read_head())
                connection.socket.settimeout(LIMIT_S)
                self.requests.append(recorded)
                answer = self._answer_for(recorded)
                if callable(answer):
                    answer(recorded, connection)
                    continue
                recorded.body = connection.read_body(recorded.head)
                connection.send(answer)

    def _answer_for(self, recorded: Recorded) -> Answer:
        chosen = (answer for piece, answer in reversed(self.answers.items()) if piece in recorded.head.first_line)
        return next(chosen, NOT_FOUND)
