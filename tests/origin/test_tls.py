"""An origin with a certificate of one's own authority, as servers at home and in companies have it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from addon.origin.client import S3Origin, trusted_authorities
from addon.store.ports import OriginRequest, OriginUnavailable
from tests.end_to_end.lab.certificates import Certificates, make_certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(autouse=True)
def _read_anew() -> Iterator[None]:
    """Whom to trust is read once in a process."""
    trusted_authorities.cache_clear()
    yield
    trusted_authorities.cache_clear()


@pytest.fixture
async def port(certificates: Certificates) -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server)
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


async def status_of(port: int) -> int:
    origin = S3Origin(endpoint=f"https://127.0.0.1:{port}", bucket="images", region="us-east-1", addressing="path")
    try:
        async with origin.send(OriginRequest("GET", "k", "", [])) as answer:
            return answer.status
    finally:
        await origin.close()


async def test_an_unknown_authority_is_not_trusted(port: int) -> None:
    with pytest.raises(OriginUnavailable):
        await status_of(port)


async def test_an_authority_that_this_machine_trusts_is_trusted(
    port: int, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(Path(certificates.authority)))
    assert await status_of(port) == 204
