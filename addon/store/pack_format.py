"""The pack: many objects in one document, as an uncompressed ZIP file that describes itself. Pure format: bytes in, bytes out.

    <bucket>/<key>      one entry for each item, stored as it is (`pack_names.py` says how keys become names)
    …
    tgstore.json        the last entry: what the items are, and what else is known

`tgstore.json` is ASCII, with blanks behind it, because Telegram throttles documents of equal size:

    {"tgstore_pack": 1, "number", "document_id", "settled_up_to", "as_of", "under_way",
     "items": [{"bucket", "key", "kind", "etag", "size", …, "length", "block_sha256s", "name", "offset", "sha256", "generation"}],
     "states": [ … see told_states.py … ]}

- `number`: packs are numbered by the counter that also numbers generations. An item's `generation` is its pack's number: what its
  commit gives it is greater, and what was current before is less than that.
- `kind`: "object" (the item is the object's bytes, or the last of them with those in front in `before`), "part" (of a multipart
  upload that was open), "moved" (bytes that a transaction of their own places; the states of the keys tell of it).
- `as_of`, `under_way`: the states were read when the counter stood at `as_of`; the packs of those numbers were not settled then:
  some item of theirs was neither committed nor given up. So a state that is told here is younger than the item of any pack that was
  numbered up to `as_of` and is not among them.
- `settled_up_to`: all packs up to that number were settled, and every state that their commits had made is told in this pack or
  was told in packs before it. 0 where that cannot be said.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import json
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO

from addon.store.pack_names import MANIFEST_NAME, EntryNames, safe_path
from addon.store.records import BLOCK_BYTES, Provenance
from addon.store.told_states import ToldExtent, ToldState, compact, extent_from, extent_json, state_from

PACK_VERSION = 1
# ZIP counts its entries in 16 bits; the index commits so many objects in a second or two.
PACK_ITEMS_MAX = 4096

# ZIP's headers in front of an entry, in the directory and at the end, without the name
# (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3).
_LOCAL_BYTES = 30
_CENTRAL, _END = struct.Struct("<IHHHHHHIIIHHHHHII"), struct.Struct("<IHHHHIIH")
_CENTRAL_SIGN, _END_SIGN = 0x02014B50, 0x06054B50
_PLAIN_FILE = 0o100644 << 16
# The first day that ZIP knows: the same items make the same bytes.
_DATE_TIME = (1980, 1, 1, 0, 0, 0)
_COPY_BYTES = 1 << 20

TAIL_BYTES = _CENTRAL.size + len(MANIFEST_NAME) + _END.size
"""So many bytes at a pack's end tell where its `tgstore.json` is: see `manifest_place`."""

# What is filled in when the pack is written: the numbers, and in three places the "~<number>" of a name that was taken.
_FILLED_IN_BYTES_MAX = 220
_HEAD_BYTES_MAX = 2048


class NotAPack(ValueError):
    """These bytes are not those of a pack that this version reads."""


class ItemKind(enum.Enum):
    """What becomes of an item: see the head of this file."""

    OBJECT = "object"
    PART = "part"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class ItemAbout:
    """What is known of an item besides its bytes; the fields of `ObjectRecord` of the same names. `size` is the whole object's, in
    bytes; `before` are its extents in front of this one. A part names its upload and its number in it."""

    bucket: str
    key: str
    kind: ItemKind
    size: int
    etag: str = ""
    last_modified_s: int = 0
    provenance: Provenance = Provenance.WRITTEN_HERE
    anonymous_read: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    before: Sequence[ToldExtent] = ()
    upload_id: str = ""
    part_number: int = 0


@dataclass(frozen=True, slots=True)
class PackItem:
    """What is to be packed: `content` is its bytes or the file whose first `length` bytes they are (1 at least)."""

    about: ItemAbout
    content: bytes | Path
    length: int
    block_sha256s: bytes


@dataclass(frozen=True, slots=True)
class PackHead:
    """What a pack says of itself; see the head of this file."""

    number: int
    document_id: str
    settled_up_to: int
    as_of: int
    under_way: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PackedItem:
    """An item in a pack: `length` bytes at `offset` of the document, under `name` in the ZIP. `sha256` is lower-case hex."""

    about: ItemAbout
    name: str
    offset: int
    length: int
    sha256: str
    block_sha256s: bytes


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack's `tgstore.json`."""

    head: PackHead
    items: tuple[PackedItem, ...]
    states: tuple[ToldState, ...]


def item_bytes_max(item: PackItem) -> int:
    """How much of a pack the item takes at most, with everything that is said of it."""
    name = f"{safe_path(item.about.bucket)}/{safe_path(item.about.key)}"
    names = 2 * len(name.encode()) + len(compact(name))
    return _LOCAL_BYTES + _CENTRAL.size + names + item.length + len(_item_text(item)) + _FILLED_IN_BYTES_MAX


def frame_bytes_max(padding: int) -> int:
    """How much of a pack is neither items nor states at most."""
    return _LOCAL_BYTES + TAIL_BYTES + len(MANIFEST_NAME) + _HEAD_BYTES_MAX + padding


def write_pack(
    out: BinaryIO, head: PackHead, items: Sequence[PackItem], states: Sequence[str], *, padding: int
) -> tuple[int, ...]:
    """Write a pack to `out` (empty, seekable); returns the offset of each item's bytes. `states` are lines of `state_text`;
    `padding` is how many blanks follow `tgstore.json`. Raises OSError where a file gives less than was promised."""
    if len(items) > PACK_ITEMS_MAX:
        raise ValueError(f"a pack takes {PACK_ITEMS_MAX} items")
    names, texts, offsets = EntryNames(), [], []
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for item in items:
            name = names.name(item.about.bucket, item.about.key)
            with archive.open(_entry(name, item.length), "w") as entry:
                offset = out.tell()
                sha256 = _write_content(entry, item)
            texts.append(_filled_in(_item_text(item), name, offset, sha256, head.number))
            offsets.append(offset)
        manifest = _manifest(head, texts, states) + b" " * padding + b"\n"
        archive.writestr(_entry(MANIFEST_NAME, len(manifest)), manifest)
    return tuple(offsets)


def manifest_place(tail: bytes) -> tuple[int, int]:
    """Offset and length of `tgstore.json` in a pack whose last `TAIL_BYTES` bytes are these. Raises `NotAPack`."""
    if len(tail) != TAIL_BYTES:
        raise NotAPack("too short")
    central = _CENTRAL.unpack_from(tail)
    name = tail[_CENTRAL.size : _CENTRAL.size + len(MANIFEST_NAME)]
    end = _END.unpack_from(tail, TAIL_BYTES - _END.size)
    if (
        central[0] != _CENTRAL_SIGN
        or name != MANIFEST_NAME.encode()
        or end[0] != _END_SIGN
        or central[4] != zipfile.ZIP_STORED
    ):
        raise NotAPack(f"{MANIFEST_NAME} is not its last entry")
    return central[16] + _LOCAL_BYTES + len(MANIFEST_NAME), central[9]


def read_manifest(manifest: bytes) -> Pack:
    """A pack's `tgstore.json`. Raises `NotAPack`."""
    try:
        told = json.loads(manifest)
        if told["tgstore_pack"] != PACK_VERSION:
            raise NotAPack("a version of packs that is not known here")
        return Pack(
            PackHead(
                int(told["number"]),
                str(told["document_id"]),
                int(told["settled_up_to"]),
                int(told["as_of"]),
                tuple(int(number) for number in told["under_way"]),
            ),
            tuple(_item_from(item) for item in told["items"]),
            tuple(state_from(state) for state in told["states"]),
        )
    except (KeyError, TypeError, ValueError, RecursionError) as failure:
        raise failure if isinstance(failure, NotAPack) else NotAPack(f"{MANIFEST_NAME} cannot be read") from failure


def read_pack(whole: bytes) -> Pack:
    """The same from a whole pack. Raises `NotAPack`."""
    offset, length = manifest_place(whole[-TAIL_BYTES:])
    return read_manifest(whole[offset : offset + length])


def _entry(name: str, length: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _DATE_TIME)
    entry.external_attr, entry.file_size = _PLAIN_FILE, length
    return entry


def _write_content(entry: IO[bytes], item: PackItem) -> str:
    """The SHA-256 of what was written."""
    sha256, left = hashlib.sha256(), item.length
    for piece in _pieces(item.content, item.length):
        sha256.update(piece)
        entry.write(piece)
        left -= len(piece)
    if left:
        raise OSError(f"an item that is to be packed lacks {left} bytes")
    return sha256.hexdigest()


def _pieces(content: bytes | Path, length: int) -> Iterator[bytes | memoryview]:
    if isinstance(content, bytes):
        yield memoryview(content)[:length]
        return
    with content.open("rb") as file:
        while length and (piece := file.read(min(length, _COPY_BYTES))):
            length -= len(piece)
            yield piece


def _item_text(item: PackItem) -> str:
    """What is known before the pack is written."""
    about = item.about
    told: dict[str, Any] = {
        "bucket": about.bucket,
        "key": about.key,
        "kind": about.kind.value,
        "etag": about.etag,
        "size": about.size,
        "last_modified_s": about.last_modified_s,
        "provenance": about.provenance.value,
        "anonymous_read": about.anonymous_read,
        "headers": dict(about.headers),
        "checksums": dict(about.checksums),
        "tags": dict(about.tags),
        "length": item.length,
        "block_sha256s": base64.b64encode(item.block_sha256s).decode(),
    }
    if about.before:
        told["before"] = [extent_json(extent) for extent in about.before]
    if about.kind is ItemKind.PART:
        told |= {"upload_id": about.upload_id, "part_number": about.part_number}
    return compact(told)


def _filled_in(text: str, name: str, offset: int, sha256: str, number: int) -> str:
    more = compact({"name": name, "offset": offset, "sha256": sha256, "generation": number})
    return f"{text[:-1]},{more[1:]}"


def _manifest(head: PackHead, items: Sequence[str], states: Sequence[str]) -> bytes:
    told = {
        "tgstore_pack": PACK_VERSION,
        "number": head.number,
        "document_id": head.document_id,
        "settled_up_to": head.settled_up_to,
        "as_of": head.as_of,
        "under_way": list(head.under_way),
    }
    return f"{compact(told)[:-1]},\n{_lines('items', items)},\n{_lines('states', states)}}}\n".encode("ascii")


def _lines(name: str, entries: Sequence[str]) -> str:
    return f'"{name}":[\n' + ",\n".join(entries) + "]"


def _item_from(told: Mapping[str, Any]) -> PackedItem:
    about = ItemAbout(
        bucket=str(told["bucket"]),
        key=str(told["key"]),
        kind=ItemKind(told["kind"]),
        size=int(told["size"]),
        etag=str(told["etag"]),
        last_modified_s=int(told["last_modified_s"]),
        provenance=Provenance(told["provenance"]),
        anonymous_read=bool(told["anonymous_read"]),
        headers=dict(told["headers"]),
        checksums=dict(told["checksums"]),
        tags=dict(told["tags"]),
        before=tuple(extent_from(extent) for extent in told.get("before", ())),
        upload_id=str(told.get("upload_id", "")),
        part_number=int(told.get("part_number", 0)),
    )
    sha256s = base64.b64decode(told["block_sha256s"], validate=True)
    length = int(told["length"])
    if length < 1 or len(sha256s) not in (0, 32 * -(-length // BLOCK_BYTES)):
        raise NotAPack("an item's length and hashes do not fit each other")
    return PackedItem(about, str(told["name"]), int(told["offset"]), length, str(told["sha256"]), sha256s)
