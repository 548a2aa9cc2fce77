"""A server that keeps the bytes of each request and answers with the bytes that it is told: what really went over the wire."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

from addon.origin.client import OriginLimits, S3Origin

EMPTY_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
ACCESS_KEY_ID, SECRET_ACCESS_KEY, REGION = "AKIAEXAMPLE", "a-secret-of-the-tests", "eu-central-1"


@dataclass
class Received:
    """One request: the request line's parts, the header pairs as sent, and the body."""

    method: str
    target: bytes
    headers: list[tuple[str, bytes]]
    body: bytes = b""

    def header(self, name: str) -> bytes:
        values = [value for header, value in self.headers if header == name]
        assert len(values) == 1, (name, values)
        return values[0]


Handler = Callable[[Received, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class RawServer:
    """`port` to connect to; `received` in order."""

    port: int = 0
    received: list[Received] = field(default_factory=list)


@contextlib.asynccontextmanager
async def raw_server(handler: Handler | bytes = EMPTY_OK, *, read_body: bool = True) -> AsyncGenerator[RawServer, None]:
    """Serve until the block ends. `handler` is what to answer, or a coroutine function that answers (and may close)."""
    server = RawServer()

    connections: set[asyncio.Task[None]] = set()

    async def answer_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            received = parsed(await reader.readuntil(b"\r\n\r\n"))
            server.received.append(received)
            if read_body:
                received.body = await reader.readexactly(int(dict(received.headers).get("content-length", b"0")))
            if isinstance(handler, bytes):
                writer.write(handler)
            else:
                await handler(received, reader, writer)
            await writer.drain()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await answer_all(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            connections.discard(task)

    listening = await asyncio.start_server(connection, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


def answer(status: int, headers: str = "", body: bytes = b"") -> bytes:
    """The bytes of a whole answer; `headers` are lines that end with CRLF."""
    return f"HTTP/1.1 {status} X\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def parsed(head: bytes) -> Received:
    line, *fields = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    method, _, rest = line.partition(b" ")
    target, _, version = rest.rpartition(b" ")
    assert version == b"HTTP/1.1"
    headers = []
    for one in fields:
        name, _, value = one.partition(b":")
        headers.append((name.decode("ascii").lower(), value.strip(b" \t")))
    return Received(method.decode("ascii"), target, headers)


@contextlib.asynccontextmanager
async def origin_at(
    port: int, *, signs: bool = True, limits: OriginLimits | None = None, bucket: str = "bucket"
) -> AsyncGenerator[S3Origin, None]:
    """A client of the server at `port`."""
    origin = S3Origin(
        endpoint=f"http://127.0.0.1:{port}",
        bucket=bucket,
        region=REGION,
        addressing="path",
        access_key_id=ACCESS_KEY_ID if signs else None,
        secret_access_key=SECRET_ACCESS_KEY if signs else None,
        limits=limits,
    )
    try:
        yield origin
    finally:
        await origin.close()
