"""Between the product and a real S3 server: it passes every byte on, keeps what was asked, and holds or breaks what a test says."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

_REQUEST_LINE = re.compile(rb"^(GET|HEAD|PUT|POST|DELETE|OPTIONS) (\S+) HTTP/1\.1\r\n")


@dataclass
class OriginRelay:
    """`requests` are the request lines so far, as (method, target).

    While `gate` is closed no request is passed on; while `answers` is closed no byte of an answer beyond the first
    `answer_bytes` is. `down` refuses every connection.
    """

    port: int
    requests: list[tuple[str, str]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    answer_bytes: int = 0
    down: bool = False
    received: bytearray = field(default_factory=bytearray)

    def gets_of(self, key: str) -> int:
        """How often the object was fetched."""
        return sum(method == "GET" and target.endswith(f"/{key}") for method, target in self.requests)


@contextlib.asynccontextmanager
async def origin_relay(to_port: int) -> AsyncIterator[OriginRelay]:
    """Relay to a server on loopback."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            if relay.down:
                return
            there, back = await asyncio.open_connection("127.0.0.1", to_port)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_up(relay, reader, back))
                    group.create_task(_down(relay, there, writer))
            finally:
                back.close()
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            tasks.discard(task)

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    relay = OriginRelay(listener.sockets[0].getsockname()[1])
    relay.gate.set()
    relay.answers.set()
    try:
        yield relay
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _up(relay: OriginRelay, reader: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 18):
        if match := _REQUEST_LINE.match(data):
            relay.requests.append((match[1].decode(), match[2].decode("latin-1")))
        relay.received += data[: 1 << 14]
        await relay.gate.wait()
        if relay.down:
            raise ConnectionResetError
        to.write(data)
        await to.drain()
    raise ConnectionResetError


async def _down(relay: OriginRelay, reader: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        if not relay.answers.is_set() and relay.answer_bytes:
            to.write(data[: relay.answer_bytes])
            data = data[relay.answer_bytes :]
        await relay.answers.wait()
        if relay.down:
            raise ConnectionResetError
        to.write(data)
        await to.drain()
    raise ConnectionResetError
