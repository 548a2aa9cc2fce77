"""One HTTP/1.1 connection: h11 on asyncio streams, and the ways to break it that faults ask for.

The transport stays within reach, because a fault may need a reset (RST), a body cut short, or a bare status line. Once `abort`,
`close` or `send_raw` was used, the connection serves no further request.
"""

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path

import h11

from addon.standin.failures import BareError

HEAD_BYTES_MAX = 256 * 1024  # beyond it the real server answers a bare 431
READ_BYTES = 256 * 1024
FILE_PIECE_BYTES = 1024 * 1024
IDLE_S_MAX = 500.0
CLOSE_S_MAX = 5.0


@dataclass(frozen=True, slots=True)
class RequestHead:
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str:
        """The first header of this name (given in lower case), or an empty string."""
        return next((value for key, value in self.headers if key == name), "")

    @property
    def content_length(self) -> int | None:
        """The declared length of the body in bytes, or None where it is chunked."""
        if self.header("transfer-encoding"):
            return None
        return int(self.header("content-length") or "0")


class ClientGone(Exception):
    """The client closed or reset the connection, or was silent for too long."""


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, now: Callable[[], float]) -> None:
        self._now = now
        self._reader = reader
        self._writer = writer
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._broken = False

    async def next_head(self) -> RequestHead | None:
        """The next request's head, or None when the client has closed. Raises BareError for what is no HTTP."""
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
        event = await self._next_event()
        if not isinstance(event, h11.Request):
            return None
        # h11 measures a head only while it is incomplete, so one that arrives in a few large pieces is measured here.
        if sum(len(name) + len(value) for name, value in event.headers) > HEAD_BYTES_MAX:
            raise BareError(431)
        return RequestHead(
            method=event.method.decode("ascii"),
            target=event.target.decode("latin-1"),
            headers=tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers),
        )

    async def body(self) -> AsyncIterator[bytes | bytearray]:
        """The request's body in pieces as they arrive; chunked encoding is taken off."""
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Data):
                yield event.data
            elif isinstance(event, h11.EndOfMessage):
                return
            else:
                raise ClientGone("the connection ended within a body")

    async def _next_event(self) -> object:
        try:
            while (event := self._h11.next_event()) is h11.NEED_DATA:
                self._h11.receive_data(await self._read())
        except h11.RemoteProtocolError as error:
            if self._reader.at_eof():
                raise ClientGone("the connection ended within a request") from None
            raise BareError(error.error_status_hint) from None
        return event

    async def _read(self) -> bytes:
        try:
            async with asyncio.timeout(IDLE_S_MAX):
                return await self._reader.read(READ_BYTES)
        except (ConnectionError, TimeoutError):
            raise ClientGone("the client reset the connection or fell silent") from None

    @property
    def reusable(self) -> bool:
        """True when both sides are done with this exchange and may begin another."""
        return not self._broken and self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE

    async def send_head(self, status: int, headers: list[tuple[str, str]], body: bytes = b"") -> None:
        """Send the response's head, with the server's time in `Date` as the web server before the real one does.

        `body` goes into the same write, so that a short answer is one packet.
        """
        reason = HTTPStatus(status).phrase.encode("ascii")
        dated = [("Date", formatdate(self._now(), usegmt=True)), *headers]
        raw = [(name.encode("ascii"), value.encode("latin-1")) for name, value in dated]
        response = h11.Response(status_code=status, reason=reason, headers=raw)
        head = self._h11.send(response) or b""
        if body:
            head += self._h11.send(h11.Data(data=body)) or b""
        await self.send_raw(head, breaks=False)

    async def send_file(self, path: Path, offset: int, length: int) -> None:
        """Send `length` bytes of the file as the body, without them passing through Python where the system can do that."""
        # h11 only counts the bytes of what it is given, so a stand-in of the right length keeps its books straight.
        self._h11.send_with_data_passthrough(h11.Data(data=range(length)))  # type: ignore[arg-type]  # h11 documents any sized object
        with path.open("rb", buffering=0) as file:
            try:
                await asyncio.get_running_loop().sendfile(self._writer.transport, file, offset, length)
            except NotImplementedError:
                await self._copy_file(file.fileno(), offset, length)
            except (ConnectionError, RuntimeError):
                raise ClientGone("the client went away during a download") from None

    async def _copy_file(self, descriptor: int, offset: int, length: int) -> None:
        end = offset + length
        while offset < end:
            piece = os.pread(descriptor, min(FILE_PIECE_BYTES, end - offset), offset)
            await self.send_raw(piece, breaks=False)
            offset += len(piece)

    async def finish(self) -> None:
        """End the response; the connection closes when its headers say so."""
        await self.send_raw(self._h11.send(h11.EndOfMessage()) or b"", breaks=False)

    async def send_raw(self, data: bytes, *, breaks: bool = True) -> None:
        """Write bytes past h11; with `breaks` the connection is not used again."""
        self._broken = self._broken or breaks
        try:
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError:
            raise ClientGone("the client went away during an answer") from None

    async def refuse(self, status: int) -> None:
        """Send a status line and no body, and close: how the real server's HTTP parser refuses."""
        reason = HTTPStatus(status).phrase
        await self.send_raw(f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())
        await self.close()

    async def wait_gone(self, seconds: float | None) -> bool:
        """Wait until the client goes away or `seconds` have passed; whether it is gone.

        What it sends meanwhile is kept for the next request; one that sends more than a head may hold counts as gone.
        """
        kept_bytes = 0
        try:
            async with asyncio.timeout(seconds):
                while (piece := await self._reader.read(READ_BYTES)) and kept_bytes <= HEAD_BYTES_MAX:
                    self._h11.receive_data(piece)
                    kept_bytes += len(piece)
        except TimeoutError:
            return False
        except (ConnectionError, h11.RemoteProtocolError):
            return True
        return True

    def abort(self) -> None:
        """Reset the connection: the client sees RST, not an orderly end."""
        self._broken = True
        connected = self._writer.get_extra_info("socket")
        if connected is not None and not self._writer.transport.is_closing():
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def flush(self) -> None:
        """Wait until the system has taken everything that was written."""
        transport = self._writer.transport
        transport.set_write_buffer_limits(high=0)
        try:
            await self._writer.drain()
        except ConnectionError:
            raise ClientGone("the client went away during an answer") from None

    async def close(self) -> None:
        """Close in order, after what was written has gone out."""
        self._broken = True
        self._writer.close()
        try:
            async with asyncio.timeout(CLOSE_S_MAX):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._writer.transport.abort()
