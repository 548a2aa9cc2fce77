"""Where the client connects: the resolver is replaced on the level of the wire, the servers are real."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from addon.origin.client import OriginLimits, S3Origin
from addon.proxy.resolving import judge_resolved_addresses
from addon.store.origin_addresses import OriginAddresses
from addon.store.own_connections import OwnConnections
from addon.store.ports import OriginRefused, OriginRequest, OriginUnavailable
from tests.origin.raw_server import answer, raw_server

GET = OriginRequest("GET", "k", "", [])
NAME = "s3.rebound.example"
PUBLIC = "8.8.8.8"  # never connected to
INNER = [
    "127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "fd00::1", "0.0.0.0", "224.0.0.1",
]  # fmt: skip
LIMITS = OriginLimits(connect_timeout_s=5.0)


class Resolver:
    """What the name resolves to now; other hosts resolve as they do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses: list[str] = []
        self.asked = 0
        self._resolve = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: Any, port: Any, *arguments: Any, **hints: Any) -> list[Any]:
        if host != NAME:
            return self._resolve(host, port, *arguments, **hints)
        self.asked += 1
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in self.addresses
        ]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    return Resolver(monkeypatch)


@contextlib.asynccontextmanager
async def origin_called(name: str, port: int, own: OwnConnections | None = None) -> AsyncGenerator[S3Origin, None]:
    origin = S3Origin(
        endpoint=f"http://{name}:{port}", bucket="b", region="r", addressing="path", limits=LIMITS, own=own
    )
    try:
        yield origin
    finally:
        await origin.close()


async def status_of(origin: S3Origin) -> int:
    async with origin.send(GET) as got:
        return got.status


async def test_a_public_name_that_moves_into_our_network_is_not_connected_to(resolver: Resolver) -> None:
    async with raw_server(answer(200)) as server, origin_called(NAME, server.port) as origin:
        assert origin.addresses.allowed([PUBLIC]) == [PUBLIC]
        for address in INNER:
            resolver.addresses = [address]
            with pytest.raises(OriginUnavailable, match=r"s3\.rebound\.example leads to .*: look at its DNS"):
                await status_of(origin)
        assert server.received == []


def test_a_name_of_a_public_and_of_an_inner_address_was_meant_to_be_public() -> None:
    rules = OriginAddresses(NAME)
    assert rules.allowed(["127.0.0.1", PUBLIC]) == [PUBLIC]
    with pytest.raises(OriginUnavailable, match="leads to"):
        rules.allowed(["127.0.0.1"])
    assert rules.allowed([PUBLIC, "10.0.0.1"]) == [PUBLIC]


async def test_a_name_of_the_own_network_is_meant_so_and_stays_within_its_kind(resolver: Resolver) -> None:
    async with raw_server(answer(200, "Connection: close\r\n")) as server, origin_called(NAME, server.port) as origin:
        with pytest.raises(OriginUnavailable):
            await status_of(origin)  # a resolver that fails decides nothing
        for addresses in (["127.0.0.1"], ["::1", "127.0.0.1"], ["127.0.0.9", "127.0.0.1"]):
            resolver.addresses = addresses
            assert await status_of(origin) == 200
        for address in ("169.254.169.254", "10.0.0.1"):
            resolver.addresses = [address]
            with pytest.raises(OriginUnavailable, match="leads to"):
                await status_of(origin)
        resolver.addresses = ["169.254.169.254", "127.0.0.1"]
        assert await status_of(origin) == 200
        assert len(server.received) == 4


async def test_what_was_judged_is_what_is_connected_to(resolver: Resolver) -> None:
    """One lookup a connection: a second one could say something else."""
    async with raw_server(answer(200)) as server, origin_called(NAME, server.port) as origin:
        resolver.addresses = ["127.0.0.1"]
        assert await status_of(origin) == 200
        assert resolver.asked == 1


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_an_endpoint_that_is_an_inner_address_is_meant(name: str) -> None:
    async with raw_server(answer(200)) as server, origin_called(name, server.port) as origin:
        assert await status_of(origin) == 200


async def test_an_endpoint_that_is_an_ipv6_address() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(200))
        writer.close()

    try:
        listening = await asyncio.start_server(serve, "::1", 0)
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with listening, origin_called("[::1]", listening.sockets[0].getsockname()[1]) as origin:
        assert await status_of(origin) == 200


REDIRECTS = [301, 302, 303, 307, 308]


@pytest.mark.parametrize("status", REDIRECTS)
async def test_no_read_of_ours_follows_a_redirect(status: int) -> None:
    """Neither a request that is passed on, nor a copy's."""
    async with raw_server(answer(200)) as other:
        redirect = answer(status, f"Location: http://127.0.0.1:{other.port}/b/k\r\n")
        async with raw_server(redirect) as server, origin_called("127.0.0.1", server.port) as origin:
            assert await status_of(origin) == status
            with pytest.raises(OriginRefused) as refused:
                async with origin.get_object("k"):
                    pass
            assert refused.value.status == status
        assert other.received == []


async def test_connections_are_known_as_our_own_while_they_are_open() -> None:
    own, seen = OwnConnections(), []

    async def look(_: Any, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer, name = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
        assert own.has(peer, name)
        assert own.has((f"::ffff:{peer[0]}", peer[1], 0, 0), (f"::ffff:{name[0]}", name[1], 0, 0))
        assert not own.has(peer, (name[0], name[1] + 1)), "both ends count"
        assert not own.has((peer[0], peer[1] + 1), name)
        seen.append((peer, name))
        writer.write(answer(200))

    async with raw_server(look) as server, origin_called("127.0.0.1", server.port, own) as origin:
        assert await status_of(origin) == 200
        assert len(seen) == 1
    assert not own.has(*seen[0]), "forgotten when it is closed"


@pytest.mark.parametrize("odd", [None, (), ("", 0), ("/run/socket", 1)])
def test_what_is_no_network_address_is_nobodys(odd: Sequence[Any] | None) -> None:
    own = OwnConnections()
    own.closed(own.opened(odd, ("127.0.0.1", 1)))
    assert not own.has(odd, ("127.0.0.1", 1))


async def test_the_same_holds_for_what_mitmproxy_connects_to(resolver: Resolver) -> None:
    """`asyncio.open_connection` is what mitmproxy 11 and 12 connect by."""
    loop = asyncio.get_running_loop()
    rules = OriginAddresses(NAME)
    end = judge_resolved_addresses(loop, lambda host: rules if host == NAME else None)
    try:
        async with raw_server(answer(200)) as server:
            resolver.addresses = ["127.0.0.1"]
            _, writer = await asyncio.open_connection(NAME, server.port)
            writer.close()
            resolver.addresses = ["169.254.169.254"]
            with pytest.raises(OSError, match=r"leads to 169\.254\.169\.254, which is link-local"):
                await asyncio.open_connection(NAME, server.port)
            resolver.addresses = ["169.254.169.254", "127.0.0.1"]
            _, writer = await asyncio.open_connection(NAME, server.port)
            assert writer.get_extra_info("peername")[0] == "127.0.0.1"
            writer.close()
            _, writer = await asyncio.open_connection("localhost", server.port)
            writer.close()
    finally:
        end()
    assert "judge" not in repr(loop.getaddrinfo)
