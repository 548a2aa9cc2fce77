"""Connections to the origin: each goes to an address that was looked at, and is known as our own while it is open.

The name is resolved here and the connection made to one of the addresses that came of it, so that what was judged is what is
connected to. (TLS takes the name from the request, not from here.)
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable
from typing import Any

import httpcore

from addon.store.origin_addresses import OriginAddresses
from addon.store.own_connections import Ends, OwnConnections


class OriginConnections(httpcore.AsyncNetworkBackend):
    """httpcore's network, as far as the origin needs it. `connect_tcp` raises `OriginUnavailable` where no address may be used."""

    def __init__(self, addresses: OriginAddresses, own: OwnConnections) -> None:
        self._addresses, self._own = addresses, own
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that answers; `timeout` seconds are for all of them together."""
        loop = asyncio.get_running_loop()
        until_s = None if timeout is None else loop.time() + timeout
        addresses = self._addresses.allowed(await _resolve(host, port, timeout))
        failure: Exception = httpcore.ConnectError()
        for tried, address in enumerate(addresses):
            share_s = None if until_s is None else max(until_s - loop.time(), 0.0) / (len(addresses) - tried)
            try:
                stream = await self._network.connect_tcp(address, port, share_s, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
                continue
            ends = self._own.opened(stream.get_extra_info("client_addr"), stream.get_extra_info("server_addr"))
            return _Known(stream, self._own, ends)
        raise failure

    async def sleep(self, seconds: float) -> None:
        """See httpcore."""
        await self._network.sleep(seconds)


async def _resolve(host: str, port: int, timeout_s: float | None) -> list[str]:
    """Every address once, in the resolver's order."""
    try:
        async with asyncio.timeout(timeout_s):
            entries = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise httpcore.ConnectTimeout from None
    except (OSError, UnicodeError):
        raise httpcore.ConnectError from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


class _Known(httpcore.AsyncNetworkStream):
    """A stream that is known as our own until it is closed."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, own: OwnConnections, ends: Ends | None) -> None:
        self._stream, self._own, self._ends = stream, own, ends

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        ends, self._ends = self._ends, None
        self._own.closed(ends)
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            encrypted = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            ends, self._ends = self._ends, None
            self._own.closed(ends)
            raise
        ends, self._ends = self._ends, None
        return _Known(encrypted, self._own, ends)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
