"""What a snapshot of the index is in Telegram: pure reading and writing, no I/O.

A snapshot is the index's file, compressed with gzip and cut into documents. Behind them a root document is sent, a small JSON that
names them; it is pinned in every chat, so that `getChat` leads from a chat to everything. Captions say enough to find one's way
without any document: which snapshot it is, of which index, and where the root before it lies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from addon.store.records import Document, DocumentCopy

FORMAT = 1
# Of earlier roots so many are named by a root.
FORMER_ROOTS_MAX = 8


@dataclass(frozen=True, slots=True)
class RootMark:
    """What the caption of a root tells. `identity` is the index's own for its life, `number` its counter's value at that moment.
    `former` is the address (chat, message) of the root before it, None for the first one."""

    document_id: str
    snapshot_id: str
    identity: int
    number: int
    objects: int
    tombstones: int
    former: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class PartMark:
    """What the caption of a part of a snapshot tells; `number` counts from 0."""

    document_id: str
    snapshot_id: str
    number: int


@dataclass(frozen=True, slots=True)
class SnapshotPart:
    """A part: its document, and the SHA-256 of what was put into it, in lower-case hex; `length` in bytes."""

    document: Document
    length: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Root:
    """All about one snapshot. `length` and `sha256` are those of the compressed whole; `taken_at_s` is when the index was in that
    state, in UNIX seconds; `newest_messages` is the highest message id that the index knew in each chat."""

    snapshot_id: str
    identity: int
    number: int
    taken_at_s: float
    objects: int
    tombstones: int
    size: int
    length: int
    sha256: str
    parts: Sequence[SnapshotPart]
    newest_messages: Mapping[int, int]
    former: Sequence[Document] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot as the index remembers it. `taken_at_s` is None while it is being sent; `objects` and `size` (bytes) are those in
    it. `number_after` is the counter's value when its last message was out. `roots` has the address of its root in each chat, and
    `pinned` says whether they are pinned; `held_back` says why not. `expired` is set once its messages were to go and Telegram
    would not delete them any more: they are to be replaced."""

    snapshot_id: str
    began_at_s: float
    taken_at_s: float | None
    objects: int
    size: int
    number: int = 0
    number_after: int = 0
    tombstones: int = 0
    parts: Sequence[SnapshotPart] = ()
    root: Document | None = None
    roots: Mapping[int, int] = field(default_factory=dict)
    pinned: bool = False
    held_back: str = ""
    expired: bool = False

    @property
    def documents(self) -> list[Document]:
        """All that it has in Telegram, each copy of its root too."""
        found = [part.document for part in self.parts]
        if self.root is not None:
            found.append(self.root)
            found += [
                Document(self.root.document_id, chat_id, message_id, 0, "", "", self.root.size)
                for chat_id, message_id in self.roots.items()
                if (chat_id, message_id) != (self.root.chat_id, self.root.message_id)
            ]
        return [*found, *(_at(document, copy) for document in found for copy in document.copies)]


def _at(document: Document, copy: DocumentCopy) -> Document:
    """The document, with one of its copies as its address."""
    return replace(
        document, chat_id=copy.chat_id, message_id=copy.message_id, bot_id=copy.bot_id, file_id=copy.file_id, copies=()
    )


def root_caption(mark: RootMark) -> str:
    """Compact ASCII, far below Telegram's 1024 characters."""
    about: dict[str, Any] = {"tgstore": 1, "d": mark.document_id, "s": mark.snapshot_id, "root": FORMAT}
    about |= {"i": mark.identity, "n": mark.number, "c": mark.objects, "x": mark.tombstones}
    if mark.former is not None:
        about["f"] = list(mark.former)
    return json.dumps(about, separators=(",", ":"))


def part_caption(mark: PartMark) -> str:
    """The same for a part."""
    about = {"tgstore": 1, "d": mark.document_id, "s": mark.snapshot_id, "part": mark.number}
    return json.dumps(about, separators=(",", ":"))


def read_mark(about: Mapping[str, Any]) -> RootMark | PartMark | None:
    """What a caption, read, says of a snapshot; None where it is the caption of something else."""
    try:
        if about.get("tgstore") != 1 or "s" not in about:
            return None
        if about.get("root") == FORMAT:
            former = about.get("f")
            return RootMark(
                _text(about["d"]),
                _text(about["s"]),
                _whole(about["i"]),
                _whole(about["n"]),
                _whole(about["c"]),
                _whole(about["x"]),
                None if former is None else (_whole(former[0]), _whole(former[1])),
            )
        return PartMark(_text(about["d"]), _text(about["s"]), _whole(about["part"]))
    except (TypeError, KeyError, IndexError):
        return None


def root_bytes(root: Root) -> bytes:
    """The root document."""
    return json.dumps({"tgstore_root": FORMAT, **_plain(asdict(root))}, separators=(",", ":")).encode()


def read_root(content: bytes) -> Root:
    """The root in a root document. Raises ValueError where it is none that we can read."""
    try:
        about = json.loads(content)
        if about["tgstore_root"] != FORMAT:
            raise ValueError(f"the root document has format {about['tgstore_root']}, which this version does not know")
        return Root(
            snapshot_id=_text(about["snapshot_id"]),
            identity=_whole(about["identity"]),
            number=_whole(about["number"]),
            taken_at_s=float(about["taken_at_s"]),
            objects=_whole(about["objects"]),
            tombstones=_whole(about["tombstones"]),
            size=_whole(about["size"]),
            length=_whole(about["length"]),
            sha256=_text(about["sha256"]),
            parts=_parts(about["parts"]),
            newest_messages={int(chat_id): _whole(newest) for chat_id, newest in about["newest_messages"].items()},
            former=[_document(document) for document in about["former"]],
        )
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"the root document is not what it should be ({type(error).__name__})") from error


def snapshot_text(snapshot: Snapshot) -> str:
    """What the index keeps of a snapshot beside the columns of its own."""
    about = asdict(snapshot)
    for name in ("snapshot_id", "began_at_s", "taken_at_s", "objects", "size"):
        del about[name]
    return json.dumps(_plain(about), separators=(",", ":"))


def read_snapshot(
    snapshot_id: str, began_at_s: float, taken_at_s: float | None, objects: int, size: int, text: str
) -> Snapshot:
    """A snapshot as the index has it."""
    about = json.loads(text)
    return Snapshot(
        snapshot_id,
        began_at_s,
        taken_at_s,
        objects,
        size,
        number=about["number"],
        number_after=about["number_after"],
        tombstones=about["tombstones"],
        parts=_parts(about["parts"]),
        root=None if about["root"] is None else _document(about["root"]),
        roots={int(chat_id): message_id for chat_id, message_id in about["roots"].items()},
        pinned=about["pinned"],
        held_back=about["held_back"],
        expired=about["expired"],
    )


def _plain(about: dict[str, Any]) -> dict[str, Any]:
    """Numbers as names become text, as JSON will have them."""
    for name in ("newest_messages", "roots"):
        if name in about:
            about[name] = {str(chat_id): value for chat_id, value in about[name].items()}
    return about


def _document(given: Any) -> Document:
    return Document(**{**given, "copies": tuple(DocumentCopy(**copy) for copy in given.get("copies", ()))})


def _parts(given: Any) -> list[SnapshotPart]:
    return [SnapshotPart(_document(part["document"]), _whole(part["length"]), _text(part["sha256"])) for part in given]


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("a whole number was expected")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text was expected")
    return value
