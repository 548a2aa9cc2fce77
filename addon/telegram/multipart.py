"""A multipart/form-data body with one file, streamed from disk with a known Content-Length (RFC 7578).

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
    """The file of an upload: form field `field`, `file_name` (ASCII, no quotes), and `size` bytes at `path`."""

    field: str
    file_name: str
    path: Path
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
        self._file = file
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self.content_length = len(self._head) + file.size + len(self._tail)
        self.complete = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._head
        position = 0
        while position < self._file.size:
            block = await asyncio.to_thread(self._read_block, position)
            if not block:
                missing = self._file.size - position
                raise FileChanged(f"{missing} of {self._file.size} bytes are missing at the end of the file to send")
            position += len(block)
            yield block
        self.complete = True
        yield self._tail

    def _read_block(self, position: int) -> bytes:
        # Opened anew for each block: a send may be cancelled while a thread reads, and then nobody is left to close a file.
        with self._file.path.open("rb", buffering=0) as file:
            file.seek(position)
            return file.read(min(READ_BLOCK_BYTES, self._file.size - position)) or b""
