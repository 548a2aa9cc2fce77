"""Serves the object service on a loopback port, inside mitmdump's process and on its event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Generator

import uvicorn

from addon.service.handover import Application

# Connections waiting to be accepted, and how long an idle one from mitmproxy is kept.
BACKLOG = 1024
KEEP_ALIVE_S = 75
STOP_S_MAX = 5


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Signals are mitmdump's."""
        yield


class LoopbackServer:
    """One running object service; `address` is where it listens."""

    def __init__(self, service: Application, *, host: str, port: int) -> None:
        self._socket = _listen(host, port)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self._server = _Server(
            uvicorn.Config(
                service,
                http="httptools",
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                date_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=STOP_S_MAX,
            )
        )
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to serve; connections wait in the socket's backlog until the loop gets to them."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))

    async def stop(self) -> None:
        """Let requests under way end, at most `STOP_S_MAX` seconds, and close."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket. Its protocol is named, because asyncio sets TCP_NODELAY only then, and without that each small answer
    waits 40 ms for a delayed acknowledgement."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    listening.listen(BACKLOG)
    return listening
