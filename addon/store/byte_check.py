"""An object's bytes against its own hashes: length, ETag, checksums. That of each block is checked by the reader."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from addon.s3.checksums import DIGEST_BYTES, BodyDigests
from addon.s3.metadata import etag_is_md5
from addon.s3.multipart import COMPOSITE, FULL_OBJECT, composite_checksum, multipart_etag
from addon.store.comparison import Difference
from addon.store.multipart import PartFacts
from addon.store.object_store import ObjectStore
from addon.store.ports import DocumentCorrupt, DocumentLost
from addon.store.records import ObjectPart, ObjectRecord


async def byte_differences(store: ObjectStore, record: ObjectRecord, parts: Sequence[ObjectPart]) -> list[Difference]:
    """Read all bytes of `record` (with its extents) back from Telegram, never from the origin, and hash them. `parts` are those of
    an object with a `parts_count`.

    Bytes that cannot be had, by any means that there are, are a difference; where Telegram does not answer now
    `TelegramUnavailable` is raised.
    """
    held = sum(extent.length for extent in record.extents)
    if held != record.size:
        return [Difference("length", f"{held} bytes, and {record.size} are its size", None)]
    hashes = ByteHashes(record, parts)
    try:
        async with contextlib.aclosing(store.read_here(record, 0, record.size)) as pieces:
            async for piece in pieces:
                await asyncio.to_thread(hashes.update, piece)
    except (DocumentCorrupt, DocumentLost) as failure:
        return [Difference("bytes", str(failure), None)]
    return hashes.differences()


class ByteHashes:
    """The digests of an object's bytes, of the whole and of each part where those are known; `update` blocks while it hashes."""

    def __init__(self, record: ObjectRecord, parts: Sequence[ObjectPart]) -> None:
        self._record, self._parts = record, parts
        wanted = frozenset(record.checksums) & frozenset(DIGEST_BYTES)
        self._wanted = wanted if record.checksums.get("type", FULL_OBJECT) == FULL_OBJECT else frozenset()
        self._whole = BodyDigests(self._wanted)
        self._of_parts = [BodyDigests(frozenset(part.checksums) & frozenset(DIGEST_BYTES)) for part in parts]
        self._size = self._part = self._in_part = 0

    def update(self, piece: bytes) -> None:
        """The next bytes."""
        self._size += len(piece)
        self._whole.update(piece)
        view = memoryview(piece)
        while view and self._part < len(self._parts):
            taken = min(len(view), self._parts[self._part].size - self._in_part)
            self._of_parts[self._part].update(view[:taken])
            view = view[taken:]
            self._in_part += taken
            if self._in_part == self._parts[self._part].size:
                self._part, self._in_part = self._part + 1, 0

    def differences(self) -> list[Difference]:
        """What the bytes do not have that the object should have: `here` is what they do have, and `there` what belongs to it."""
        record = self._record
        found = [("length", str(self._size), str(record.size))]
        if self._parts:
            found.append(("ETag of the bytes", multipart_etag(self._part_facts()), record.etag))
        elif etag_is_md5(record.etag, record.headers):
            found.append(("MD5 of the bytes", self._whole.md5_hex(), record.etag))
        found += [
            (f"{algorithm} of the bytes", self._whole.checksum(algorithm), record.checksums[algorithm])
            for algorithm in sorted(self._wanted)
        ]
        found += self._parts_checksums()
        return [Difference(what, here, there) for what, here, there in found if here != there]

    def _part_facts(self) -> list[PartFacts]:
        return [
            PartFacts(part.number, part.size, digests.md5_hex(), part.checksums, 0, 0)
            for part, digests in zip(self._parts, self._of_parts, strict=True)
        ]

    def _parts_checksums(self) -> list[tuple[str, str, str]]:
        found = [
            (f"{algorithm} of part {part.number}", digests.checksum(algorithm), value)
            for part, digests in zip(self._parts, self._of_parts, strict=True)
            for algorithm, value in part.checksums.items()
            if algorithm in DIGEST_BYTES
        ]
        if self._record.checksums.get("type") != COMPOSITE or not self._parts:
            return found
        for algorithm in sorted(frozenset(self._record.checksums) & frozenset(DIGEST_BYTES)):
            if all(algorithm in part.checksums for part in self._parts):
                composite = composite_checksum(algorithm, [digests.checksum(algorithm) for digests in self._of_parts])
                found.append((f"{algorithm} of the parts", composite, self._record.checksums[algorithm]))
        return found
