"""A file, compressed and cut into pieces, and put together again. Blocking: for a worker thread."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

READ_BYTES = 1 << 20
COMPRESSION_LEVEL = 6
# gzip's frame, so that any gunzip opens it (zlib's `wbits`: 16 more than the window's 15 bits).
_GZIP = 31


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the compressed file: `length` in bytes, `sha256` in lower-case hex."""

    path: Path
    length: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Compressed:
    """A compressed file in pieces, and length and hash of the whole."""

    pieces: tuple[Piece, ...]
    length: int
    sha256: str


def compress(source: Path, folder: Path, next_length: Callable[[], int]) -> Compressed:
    """Compress `source` into pieces in `folder`, each as long as `next_length` says, the last one shorter. Raises OSError."""
    whole = hashlib.sha256()
    pieces: list[Piece] = []
    pending, length = bytearray(), next_length()
    for data in _compressed(source):
        whole.update(data)
        pending += data
        while len(pending) > length:
            pieces.append(_piece(folder, len(pieces), bytes(memoryview(pending)[:length])))
            del pending[:length]
            length = next_length()
    pieces.append(_piece(folder, len(pieces), bytes(pending)))
    return Compressed(tuple(pieces), sum(piece.length for piece in pieces), whole.hexdigest())


def _compressed(source: Path) -> Iterator[bytes]:
    packer = zlib.compressobj(COMPRESSION_LEVEL, wbits=_GZIP)
    with source.open("rb") as file:
        while data := file.read(READ_BYTES):
            yield packer.compress(data)
    yield packer.flush()


def _piece(folder: Path, number: int, content: bytes) -> Piece:
    path = folder / f"{number}.part"
    path.write_bytes(content)
    return Piece(path, len(content), hashlib.sha256(content).hexdigest())


def put_together(pieces: Iterable[Path], target: BinaryIO, *, sha256: str) -> None:
    """Write what the pieces hold, decompressed, into `target`. Raises ValueError where it is not what `sha256` says, or no whole
    file."""
    whole, opener = hashlib.sha256(), zlib.decompressobj(wbits=_GZIP)
    try:
        for piece in pieces:
            with piece.open("rb") as file:
                while data := file.read(READ_BYTES):
                    whole.update(data)
                    target.write(opener.decompress(data))
        target.write(opener.flush())
    except zlib.error as error:
        raise ValueError("it cannot be decompressed") from error
    if whole.hexdigest() != sha256 or not opener.eof:
        raise ValueError("its bytes are not those that were sent")
