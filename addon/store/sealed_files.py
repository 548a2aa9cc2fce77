"""Sealing bytes or a file into another one, and back, a segment at a time. Everything here blocks."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

from addon.store.seal_format import HEADER_BYTES_MAX, Header
from addon.store.sealing import MasterKeys, SealedDocument, WrongSeal

BUFFER_BYTES = 1 << 20


def seal_file(document: SealedDocument, source: bytes | Path, target: Path) -> None:
    """Seal the first `content_bytes` of `source` into the new file `target`. Raises OSError, and ValueError where the source is
    shorter."""
    step, left = document.header.segment_bytes, document.header.content_bytes
    with _opened(source) as reading, target.open("xb", BUFFER_BYTES) as writing:
        writing.write(document.header_bytes)
        for number in range(document.header.segments):
            content = reading.read(min(step, left))
            if len(content) != min(step, left):
                raise ValueError(f"{left - len(content)} bytes are missing at the end of the file to seal")
            left -= len(content)
            writing.write(document.seal(number, content))


def open_file(keys: MasterKeys, source: Path, target: Path) -> Header:
    """Write the content of the sealed file `source` into the new file `target`; returns what its header says.

    Raises OSError, `NotSealed`, `KeyMissing` and `WrongSeal`; what lies in `target` then is right as far as it goes.
    """
    with source.open("rb", BUFFER_BYTES) as reading:
        header = Header.parsed(reading.read(HEADER_BYTES_MAX))
        document = keys.document(header)
        reading.seek(header.place(0))
        with target.open("xb", BUFFER_BYTES) as writing:
            for number in range(header.segments):
                sealed = reading.read(header.place(number + 1) - header.place(number))
                writing.write(document.open(number, sealed))
        if reading.read(1):
            raise WrongSeal(f"something stands behind the end of document {header.document_id}")
    return header


def _opened(source: bytes | Path) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb", BUFFER_BYTES)
