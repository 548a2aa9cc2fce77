"""A multipart/form-data body with one file, from memory or streamed from disk, with a known Content-Length (RFC 7578).

httpx can stream a multipart body itself, but reads the file on the event loop; here each block is read in a thread, so that a
slow disk never stops the other flows of the process.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

READ_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FilePart:
    """The file of an upload: form field `field`, `file_name` (ASCII, no quotes), its `size` bytes, or where they are on disk."""

    field: str
    file_name: str
    content: bytes | Path
    size: int


class FileChanged(ValueError):
    """The file does not hold the bytes that were announced: a mistake on our side, which trying again does not heal."""


class MultipartBody:
    """The body of one request; iterated once. `complete` turns true when the last byte was handed to the connection."""

    def __init__(self, params: Mapping[str, str], file: FilePart) -> None:
        boundary = secrets.token_hex(16)
        fields = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in params.items()
        )
        self._head = (
            f"{fields}--{boundary}\r\n"
            f'Content-Disposition: form-data; name="{file.field}"; filename="{file.file_name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._content, self._size = file.content, file.size
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self.content_length = len(self._head) + file.size + len(self._tail)
        self.complete = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if isinstance(self._content, bytes):
            if len(self._content) != self._size:
                raise FileChanged(f"{len(self._content)} bytes are there to send, not {self._size}")
            yield self._head + self._content
        else:
            yield self._head
            async for block in self._blocks(self._content):
                yield block
        self.complete = True
        yield self._tail

    async def _blocks(self, path: Path) -> AsyncIterator[bytes]:
        position = 0
        while position < self._size:
            block = await asyncio.to_thread(_read_block, path, position, self._size)
            if not block:
                missing = self._size - position
                raise FileChanged(f"{missing} of {self._size} bytes are missing at the end of the file to send")
            position += len(block)
            yield block


def _read_block(path: Path, position: int, size: int) -> bytes:
    # Opened anew for each block: a send may be cancelled while a thread reads, and then nobody is left to close a file.
    with path.open("rb", buffering=0) as file:
        file.seek(position)
        return file.read(min(READ_BLOCK_BYTES, size - position)) or b""
