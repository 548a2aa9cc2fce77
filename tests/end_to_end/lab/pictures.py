"""Small valid pictures, made in code."""

from __future__ import annotations

import struct
import zlib

WIDTH, HEIGHT = 96, 64


def png(seed: int, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """An RGB picture with a gradient that depends on ``seed``; every seed gives other bytes."""
    rows = b"".join(
        b"\0"
        + bytes(value % 256 for x in range(width) for value in (x * 2 + seed * 37, y * 3 + seed * 11, (x ^ y) + seed))
        for y in range(height)
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"tEXt", b"Title\0picture " + str(seed).encode()),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
