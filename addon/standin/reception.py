"""Receiving a request's body: arguments and files out of every form in which the Bot API accepts them."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from addon.standin.arguments import merge, parse_json_object, parse_urlencoded
from addon.standin.connection import Connection, RequestHead
from addon.standin.failures import ApiError, BareError
from addon.standin.multipart import ARGUMENT_BYTES_MAX, MultipartReader, ReceivedFile

BODY_BYTES_MAX = 4000 * 1024 * 1024
HASH_INLINE_BYTES_MAX = 2 * 1024 * 1024
INFLATED_PIECE_BYTES_MAX = 1024 * 1024


@dataclass(slots=True)
class Received:
    """What a request carried. `discard` must be called when it has been dealt with."""

    arguments: dict[str, str] = field(default_factory=dict)
    files: list[ReceivedFile] = field(default_factory=list)
    body_bytes: int = 0

    @property
    def file_bytes(self) -> int:
        return sum(file.size for file in self.files)

    def file(self, name: str) -> ReceivedFile | None:
        """The first file part of this name."""
        return next((file for file in self.files if file.name == name), None)

    def discard(self) -> None:
        """Remove the files that no document has taken over."""
        for file in self.files:
            file.path.unlink(missing_ok=True)


class UploadTooLarge(Exception):
    """The body is beyond the upload limit and was, in mode `early`, not read to its end."""


def too_large() -> ApiError:
    """413 exactly as the cloud says it, without the usual prefix (klappvisor/haskell-telegram-api#102)."""
    return ApiError(413, "Request Entity Too Large")


@dataclass(frozen=True, slots=True)
class ReceptionLimits:
    """The upload limit in bytes, whether it counts the body or only its files, and whether it is told before the body has ended."""

    upload_bytes_max: int
    counts_body: bool
    early: bool


class _Sink:
    """Where the pieces of one body go, after its Content-Type."""

    def __init__(self, head: RequestHead, make_path: Callable[[], Path]) -> None:
        kind, _, parameters = head.header("content-type").partition(";")
        self._kind = kind.strip().lower()
        self.multipart: MultipartReader | None = None
        self._text = bytearray()
        if self._kind == "multipart/form-data":
            self.multipart = MultipartReader(_boundary(parameters), make_path)

    def write(self, piece: bytes | bytearray) -> None:
        if self.multipart is not None:
            self.multipart.write(piece)
        elif self._kind in ("application/x-www-form-urlencoded", "application/json"):
            self._text += piece
            if len(self._text) > ARGUMENT_BYTES_MAX:
                raise BareError(413)

    def fields(self) -> list[tuple[str, str]]:
        if self.multipart is not None:
            self.multipart.finish()
            return self.multipart.fields
        if self._kind == "application/json" and self._text:
            return parse_json_object(bytes(self._text))
        return parse_urlencoded(self._text.decode("utf-8", "surrogateescape"))


def _boundary(parameters: str) -> bytes:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "boundary":
            return value.strip().strip('"').encode("latin-1")
    raise BareError(400)


async def receive(
    connection: Connection,
    head: RequestHead,
    query: str,
    *,
    limits: ReceptionLimits,
    make_path: Callable[[], Path],
    on_progress: Callable[[int], Awaitable[None]] | None = None,
) -> Received:
    """Read the whole body. Files are on disk with their hash when this returns.

    Raises BareError for what the parser refuses, UploadTooLarge for a body beyond the limit; nothing stays on disk then.
    """
    received = Received()
    oversize = False
    sink = _Sink(head, make_path)
    if sink.multipart is not None:
        received.files = sink.multipart.files
    try:
        async for piece in _decoded(connection.body(), head.header("content-encoding"), received):
            if on_progress is not None:
                await on_progress(received.body_bytes)
            if received.body_bytes > BODY_BYTES_MAX:
                raise BareError(413)
            if not oversize:
                sink.write(piece)
                counted = received.body_bytes if limits.counts_body else received.file_bytes
                # A small body never meets the limit, however low a test sets it for files.
                oversize = bool(received.files) and counted > limits.upload_bytes_max
            if oversize and limits.early:
                raise UploadTooLarge
        if oversize:
            raise UploadTooLarge
        received.arguments = merge(parse_urlencoded(query), sink.fields())
        _check_argument_bytes(received.arguments)
        await _hash(received.files)
    except BaseException:
        received.discard()
        raise
    finally:
        if sink.multipart is not None:
            sink.multipart.close()
    return received


def _check_argument_bytes(arguments: dict[str, str]) -> None:
    if sum(len(name) + len(value) for name, value in arguments.items()) > ARGUMENT_BYTES_MAX:
        raise BareError(413)


async def _decoded(
    pieces: AsyncIterator[bytes | bytearray], encoding: str, received: Received
) -> AsyncIterator[bytes | bytearray]:
    """Count the pieces and take a Content-Encoding off them; 415 for one that the real server does not know."""
    if encoding.lower() in ("", "identity"):
        async for piece in pieces:
            received.body_bytes += len(piece)
            yield piece
        return
    if encoding.lower() not in ("gzip", "deflate"):
        raise BareError(415)
    inflater = zlib.decompressobj(wbits=31 if encoding.lower() == "gzip" else 15)
    async for piece in pieces:
        rest = bytes(piece)
        while rest:
            try:
                inflated = inflater.decompress(rest, INFLATED_PIECE_BYTES_MAX)
            except zlib.error:
                raise BareError(400) from None
            rest = inflater.unconsumed_tail
            received.body_bytes += len(inflated)
            yield inflated
    if not inflater.eof:
        raise BareError(400)


async def _hash(files: list[ReceivedFile]) -> None:
    """Hash small files at once and large ones in a thread, so that the event loop goes on serving."""
    for file in files:
        if file.size <= HASH_INLINE_BYTES_MAX:
            file.compute_sha256()
        else:
            await asyncio.to_thread(file.compute_sha256)
