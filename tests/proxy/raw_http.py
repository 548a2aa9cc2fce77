"""HTTP/1.1 by hand: bytes out, bytes in, so that a test sees what a library would tidy up."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

LIMIT_S = 20.0
READ_BYTES = 1 << 16


@dataclass(frozen=True)
class Head:
    """A message's first line and header fields, names and values as they were spelt."""

    first_line: bytes
    fields: tuple[tuple[bytes, bytes], ...]

    @property
    def status(self) -> int:
        return int(self.first_line.split(b" ", 2)[1])

    def values(self, name: bytes) -> list[bytes]:
        return [value for field, value in self.fields if field.lower() == name]

    def without(self, *names: bytes) -> tuple[tuple[bytes, bytes], ...]:
        return tuple(field for field in self.fields if field[0].lower() not in names)


@dataclass(frozen=True)
class Response:
    """`body` with its framing: chunks as they were cut."""

    head: Head
    body: bytes

    @property
    def status(self) -> int:
        return self.head.status


class Connection:
    """One connection, either side of it."""

    def __init__(self, connected: socket.socket) -> None:
        connected.settimeout(LIMIT_S)
        self.socket = connected
        self._buffer = b""

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read_head(self) -> Head:
        """Raises EOFError where the other side closed first."""
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        return Head(first, tuple((name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)))

    def read_body(self, head: Head, *, method: str = "") -> bytes:
        """The body, with its framing. A response without a length ends with the connection; a request without has no body."""
        is_response = head.first_line.startswith(b"HTTP/")
        if is_response and (method == "HEAD" or head.status in (204, 304) or head.status < 200):
            return b""
        if any(b"chunked" in value for value in head.values(b"transfer-encoding")):
            while not self._buffer.endswith(b"0\r\n\r\n"):
                self._receive()
            body, self._buffer = self._buffer, b""
            return body
        lengths = head.values(b"content-length")
        if lengths:
            return self._exactly(int(lengths[0]))
        return self.read_to_end() if is_response else b""

    def read_response(self, method: str = "GET") -> Response:
        """The next response that is not an interim one."""
        head = self.read_head()
        return Response(head, self.read_body(head, method=method))

    def read_to_end(self) -> bytes:
        """All that comes until the other side closes or resets."""
        try:
            while True:
                self._receive()
        except (EOFError, ConnectionError):
            data, self._buffer = self._buffer, b""
            return data

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._receive()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _receive(self) -> None:
        data = self.socket.recv(READ_BYTES)
        if not data:
            raise EOFError
        self._buffer += data


def connect(port: int, *, authority: Path | None = None, server_name: str = "localhost") -> Connection:
    """To 127.0.0.1; with `authority`, by TLS."""
    connected = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
    if authority is not None:
        context = ssl.create_default_context(cafile=str(authority))
        connected = context.wrap_socket(connected, server_hostname=server_name)
    return Connection(connected)


def request(method: str, target: str, *fields: str, body: bytes = b"") -> bytes:
    """The bytes of a request; fields are given as `Name: value`."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", *fields, "", ""]).encode("latin-1") + body


def exchange(port: int, message: bytes, *, authority: Path | None = None) -> Response:
    """Send one request on a connection of its own, and read the answer."""
    with connect(port, authority=authority) as connection:
        connection.send(message)
        return connection.read_response(message.split(b" ", 1)[0].decode())
