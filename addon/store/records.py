"""What the index remembers: plain frozen values that every layer above and below the ports shares."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# An extent carries one SHA-256 for each block of this many bytes (the last block may be shorter), so that a reader can check
# a range without reading the whole document, and can pass bytes on before the document has ended.
BLOCK_BYTES = 1 << 20
# What a document of many small objects is sealed in, so that to read one of them is to read little more.
PACK_SEGMENT_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class DocumentCopy:
    """A message in another chat that holds the same file; `file_id` is that of the bot `bot_id`, empty where it is not known."""

    chat_id: int
    message_id: int
    bot_id: int
    file_id: str


@dataclass(frozen=True, slots=True)
class Document:
    """One file sent to Telegram.

    `document_id` is ours (it stands in the caption); (`chat_id`, `message_id`) is the durable address; `file_id` belongs to the
    bot whose numeric id is `bot_id` and is a cache that can be won again by forwarding the message. `size` is in bytes.
    A file that was imported by its `file_id` alone has no message that we know: `chat_id` and `message_id` are 0 then. One that
    waits in the spool folder has no `file_id` either. `key_id` names the key under which its bytes are sealed (`seal_format.Seal`),
    in segments of `segment_bytes` bytes each before sealing; empty and 0 where they lie there as they are. `copies` are the further
    messages that came of sending it; of a document that is read from the index they are not told.
    """

    document_id: str
    chat_id: int
    message_id: int
    bot_id: int
    file_id: str
    file_unique_id: str
    size: int
    key_id: str = ""
    segment_bytes: int = 0
    copies: tuple[DocumentCopy, ...] = field(default=(), compare=False)

    @property
    def is_spooled(self) -> bool:
        """Whether its bytes are on the local disk, on their way to Telegram."""
        return not self.file_id

    @property
    def has_message(self) -> bool:
        """Whether its message is known: without one, a `file_id` that is lost cannot be won again."""
        return self.message_id != 0


@dataclass(frozen=True, slots=True)
class Extent:
    """`length` bytes at `offset` of one document. `block_sha256s` concatenates the 32-byte SHA-256 of each block; it is empty for
    a file that was imported unread, of which nobody knows the hashes: then lengths are all that can be checked."""

    document: Document
    offset: int
    length: int
    block_sha256s: bytes

    @property
    def has_hashes(self) -> bool:
        """Whether its bytes can be checked."""
        return bool(self.block_sha256s) or self.length == 0


@dataclass(frozen=True, slots=True)
class Move:
    """What lay in one document lies in another now: `length` bytes from `offset` of `from_document_id`, at `to_offset` of `to`."""

    from_document_id: str
    offset: int
    length: int
    to: Document
    to_offset: int


class Provenance(enum.Enum):
    """Where an object's bytes came from; it decides what a stranger may be shown (design: where a request goes)."""

    WRITTEN_HERE = "written_here"
    COPIED_FROM_ORIGIN = "copied_from_origin"


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """One current object.

    `key` is the decoded key as UTF-8 text. `generation` grows with every commit in the index and never repeats.
    `etag` has no quotes. `last_modified_s` is whole UNIX seconds (S3 gives no more in Last-Modified). `headers` are the
    response headers that belong to the object, lower-case names: content-type, cache-control, content-disposition,
    content-encoding, content-language, expires, x-amz-meta-*, x-amz-storage-class, x-amz-website-redirect-location, … .
    `checksums` are the values behind `x-amz-checksum-*` (key: `crc32`, `crc32c`, `crc64nvme`, `sha1`, `sha256`; base64 text),
    plus `type` (`FULL_OBJECT` or `COMPOSITE`) where known. `anonymous_read` says that anyone may read it: it was stored with
    `x-amz-acl: public-read`, or the origin served it to an anonymous client. `tags` are its object tags. `parts_count` is the
    number of parts of a multipart upload made here, 0 for any other object. `checked_at_s` says of a copy when the origin was last
    known to hold the same object (whole UNIX seconds); 0 where nobody knows, and of what was written here.
    """

    bucket: str
    key: str
    generation: int
    size: int
    etag: str
    last_modified_s: int
    provenance: Provenance
    anonymous_read: bool
    headers: Mapping[str, str] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)
    extents: Sequence[Extent] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    parts_count: int = 0
    checked_at_s: int = 0


@dataclass(frozen=True, slots=True)
class NewObject:
    """What a committed write brings: an `ObjectRecord` before the index has given it a generation."""

    bucket: str
    key: str
    size: int
    etag: str
    last_modified_s: int
    provenance: Provenance
    anonymous_read: bool
    headers: Mapping[str, str]
    checksums: Mapping[str, str]
    extents: Sequence[Extent]
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ObjectPart:
    """One part of an object that was uploaded in parts: `number` (1 … 10 000), `size` in bytes, `checksums` by algorithm."""

    number: int
    size: int
    checksums: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Tombstone:
    """The record that a key was deleted here; the origin's copy is never shown again while it stands."""

    bucket: str
    key: str
    generation: int
    deleted_at_s: int


def is_ours_alone(state: ObjectRecord | Tombstone | None) -> bool:
    """The key was written or deleted here: what the origin has of it is out of date and never shown again."""
    if isinstance(state, ObjectRecord):
        return state.provenance is Provenance.WRITTEN_HERE
    return isinstance(state, Tombstone)


class CopyState(enum.Enum):
    """`WAITING` (for its time), `RUNNING` (leased), `FAILED` (attempts used up), `SKIPPED` (cannot be copied, with the reason)."""

    WAITING = "waiting"
    RUNNING = "running"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class CopyOrder:
    """The wish to have a key copied; `anonymous_read` where the origin served it to an anonymous client."""

    bucket: str
    key: str
    anonymous_read: bool


@dataclass(frozen=True, slots=True)
class CopyJob:
    """A durable order to copy one key from the origin.

    `job_id` is never reused. It is the fence of the copy: each write, delete or supersession of the key removes the job in
    its own transaction, and a copy commits only while its own job still stands. `size` is in bytes, 0 where nobody knows. `swept`
    says that a sweep ordered it, and nobody has read the key since.
    """

    job_id: int
    bucket: str
    key: str
    state: CopyState
    attempts: int
    not_before_s: float
    anonymous_read: bool
    reason: str = ""
    size: int = 0
    swept: bool = False
