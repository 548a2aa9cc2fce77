"""The ports that the store needs, declared by their consumer and implemented in `index/`, `telegram/` and `origin/`.

Contract for every implementation: each method either does all that it says or raises, and leaves nothing half done. A library's
own exceptions never pass: they are mapped to the errors below, which say whether trying again can help. No error text holds a
secret.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from addon.s3.errors import S3Error
from addon.store.conditions import Verdict, WriteCondition
from addon.store.listed import Deletion, ListedObject, ListedPrefix
from addon.store.multipart import CompletedUpload, Completion, MultipartUpload, NewPart, PartFacts
from addon.store.records import (
    BLOCK_BYTES,
    CopyJob,
    CopyOrder,
    CopyState,
    Document,
    Extent,
    Move,
    NewObject,
    ObjectPart,
    ObjectRecord,
    Tombstone,
)


class StoreError(Exception):
    """Base of what the ports raise; never raised itself."""


class IndexUnavailable(StoreError):
    """The index does not answer, or its disk is full or read-only. Nothing was changed. Trying later can help."""


class TelegramUnavailable(StoreError):
    """Telegram could not take or give the bytes within the allowed tries. `retry_after_s` tells when to try again."""

    def __init__(self, message: str, *, retry_after_s: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DocumentLost(StoreError):
    """The document cannot be read by any means that we have (all of them were tried). Never proof that it is gone for ever."""


class KeyMissing(DocumentLost):
    """It is sealed under a key that is not in the settings. The text names the key's id."""


class DocumentCorrupt(StoreError):
    """The document's bytes are not the ones that were stored (wrong hash or length), also after it was fetched again."""


class OriginUnavailable(StoreError):
    """The origin did not answer, broke off, throttled (429, 503) or failed (5xx). Trying later can help."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class OriginUnreachable(OriginUnavailable):
    """No connection to the origin could be made: it has received nothing of the request."""


class OriginIsOurselves(OriginUnreachable):
    """What is configured as the origin leads back to us, so nothing is sent there. It takes other settings, or other DNS."""


class OriginRefused(StoreError):
    """The origin answered, and the answer is final for this request (403, 404, archive tier, SSE-C, …). `code` is that of the S3
    error, where it is known."""

    def __init__(self, message: str, *, status: int, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


class OriginChanged(StoreError):
    """What came is not one whole version of the object: 412, another ETag or length, truncated. Trying anew can help."""


class WriteRefused(StoreError):
    """A condition of the write does not hold; nothing was changed. `verdict` is never `HOLDS`."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(f"the condition of the write does not hold ({verdict.value})")
        self.verdict = verdict


class SourceChanged(StoreError):
    """The object that was to be copied, or described anew, is not the current one any more; nothing was changed."""


class UploadGone(StoreError):
    """There is no such multipart upload: never begun, completed, aborted or expired."""


class PartsChanged(StoreError):
    """A part was uploaded anew, or is not there, since the completion was computed; nothing was changed."""


class WriteOutcome(enum.Enum):
    """What the origin made of a write that went past us; `UNKNOWN` where its answer never came."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Index(Protocol):
    """The index: objects, tombstones, documents, copy jobs. Every change is one transaction, durable on disk when it returns.

    Raises `IndexUnavailable` from every method.
    """

    async def key_state(self, bucket: str, key: str) -> ObjectRecord | Tombstone | None:
        """The current object with its extents, or the tombstone, or None where the index knows nothing of the key."""

    async def put_object(self, new: NewObject, *, condition: WriteCondition | None = None) -> ObjectRecord:
        """Make `new` the current object: replaces an object or tombstone, removes any copy job of the key and any pending
        origin write; documents that no extent refers to any more become garbage.

        Raises `WriteRefused` where `condition` does not hold at that moment. While a write to the origin is under way for a key
        of which the index knows nothing, every condition is a conflict."""

    async def copy_object(
        self, source: ObjectRecord, new: NewObject, *, condition: WriteCondition | None = None
    ) -> ObjectRecord:
        """Make `new` (whose extents are empty) the current object of its key, with the extents and parts of `source`, which may be
        the same key. All else as `put_object`. Raises `SourceChanged` where `source` is not current any more."""

    async def change_object(
        self, record: ObjectRecord, *, tags: Mapping[str, str] | None = None, anonymous_read: bool | None = None
    ) -> ObjectRecord:
        """Describe the current object anew, with a new generation. It counts as written here from then on: what the origin says
        of it is out of date. Raises `SourceChanged` where `record` is not current any more."""

    async def object_parts(self, record: ObjectRecord) -> Sequence[ObjectPart]:
        """The parts of an object with a `parts_count`, in ascending order. Raises `SourceChanged`."""

    async def delete_object(
        self, bucket: str, key: str, *, now_s: float, condition: WriteCondition | None = None
    ) -> Tombstone:
        """Put a tombstone in the place of whatever is there; the same consequences as `put_object`. Raises `WriteRefused`."""

    async def delete_objects(
        self, bucket: str, deletions: Sequence[Deletion], *, now_s: float
    ) -> Sequence[Tombstone | WriteRefused]:
        """`delete_object` for many keys (1000 at most) in one transaction; the outcome of each, in order."""

    async def list_objects(
        self, bucket: str, *, prefix: str, delimiter: str, after: str, limit: int
    ) -> Sequence[ListedObject | ListedPrefix]:
        """Up to `limit` objects and common prefixes after `after` in UTF-8 byte order; tombstones are left out. With a delimiter
        (empty: none) a key that has it behind `prefix` appears as its common prefix, once, and only if the prefix is greater than
        `after`. The cost is bounded by `limit`, also where a prefix holds a million keys."""

    async def decided_among(self, bucket: str, keys: Sequence[str]) -> Mapping[str, ListedObject | None]:
        """Those of `keys` (1000 at most) that have an object here, with the object, and those that have a tombstone, with None."""

    async def prefixes_with_tombstones(self, bucket: str, prefixes: Sequence[str]) -> frozenset[str]:
        """Under which of `prefixes` (1000 at most) at least one tombstone lies."""

    async def create_upload(self, upload: MultipartUpload) -> None:
        """Remember an upload that begins."""

    async def upload(self, upload_id: str) -> MultipartUpload | None:
        """The upload, if it is open."""

    async def put_part(self, upload_id: str, part: NewPart, *, source: ObjectRecord | None = None) -> None:
        """Remember a part; one of the same number is replaced, and its documents become garbage. A part that is made of `source`
        has some of its documents. Raises `UploadGone`, and `SourceChanged` where `source` is no longer the current object, or its
        bytes were moved to other documents."""

    async def parts(self, upload_id: str, *, after: int, limit: int) -> Sequence[PartFacts]:
        """Up to `limit` parts with numbers above `after`, in ascending order. Raises `UploadGone`."""

    async def part_extents(self, upload_id: str, number: int) -> Sequence[Extent]:
        """The extents of one part, in order; empty where there is no such part."""

    async def complete_upload(self, completion: Completion, *, condition: WriteCondition | None = None) -> ObjectRecord:
        """Make the chosen parts the current object, as `put_object` does it; parts that were not chosen become garbage. Raises
        `UploadGone`, `PartsChanged`, `WriteRefused`. The upload is remembered as completed."""

    async def completed_upload(self, upload_id: str) -> CompletedUpload | None:
        """What an upload became, while that is remembered."""

    async def abort_upload(self, upload_id: str) -> None:
        """Forget an upload; its documents become garbage. Raises `UploadGone`."""

    async def uploads(
        self, bucket: str, *, prefix: str, after_key: str, after_upload_id: str, limit: int
    ) -> Sequence[MultipartUpload]:
        """Up to `limit` open uploads in the order of (key, upload_id), beginning behind that place. With an empty
        `after_upload_id` all uploads of `after_key` are passed over."""

    async def expire_uploads(self, *, untouched_since_s: float, limit: int) -> int:
        """Abort up to `limit` open uploads that were begun, and got their last part, before that time, and forget as many that were
        completed before it; returns how many there were of both."""

    async def supersede(self, bucket: str, key: str) -> None:
        """The origin accepted a write past us: forget object and tombstone, remove the key's copy job and pending origin write."""

    async def begin_origin_write(self, bucket: str, key: str, *, now_s: float) -> int:
        """Record, before it is forwarded, that a write to the origin is under way; returns its id. Until it has ended no copy of
        the key commits, and `has_origin_write` is true."""

    async def end_origin_write(self, write_id: int, outcome: WriteOutcome) -> None:
        """It ended, and the mark goes. `ACCEPTED` supersedes the key (see `supersede`); `UNKNOWN` forgets a copy of it, because
        the origin has the truth, and lets an object written here and a tombstone stand; `REFUSED` changes nothing."""

    async def has_origin_write(self, bucket: str, key: str) -> bool:
        """Whether a write to the origin is under way or was cut off by a crash."""

    async def resolve_cut_off_origin_writes(self) -> int:
        """At start: writes whose end nobody saw. Copies of such keys are forgotten (the origin has the truth), objects written
        here stay; every mark goes. Returns how many there were."""

    async def add_documents(self, documents: Sequence[Document], *, now_s: float, used_within_s: float = 0.0) -> None:
        """Record documents as garbage-until-used right after Telegram acknowledged them; `put_object` and `commit_copy` take
        them into use. So a crash between the two leaves a known orphan, not an unknown one. They are not erased for `used_within_s`
        seconds; of one that is known as garbage already the earlier end counts."""

    async def give_up(self, extents: Sequence[Extent], *, now_s: float) -> None:
        """Telegram has these bytes, and nobody will use them: their documents are garbage where nothing else is in them."""

    async def update_file_id(self, document_id: str, *, bot_id: int, file_id: str) -> None:
        """Remember a file_id that was won again; those of other bots stay."""

    async def relocate(self, moves: Sequence[Move]) -> int:
        """Bytes lie in another document now: every extent of an object or a part within the moved ranges is led there, and what
        nothing refers to any more becomes garbage, the new documents too. Objects keep their generation. Returns how many extents
        there were."""

    async def garbage(self, *, limit: int) -> Sequence[Document]:
        """Documents in Telegram without any extent, oldest first; but not those that only ever told states of keys."""

    async def grant_anonymous_read(self, bucket: str, key: str, *, etag: str) -> None:
        """The origin served this object to an anonymous client: mark the copy that has this ETag, and a copy job of the key."""

    async def enqueue_copies(self, orders: Sequence[CopyOrder], *, now_s: float) -> int:
        """Order copies of keys that have no object, no tombstone and no job (a job only gains `anonymous_read`; a failed one is
        ordered anew). Returns how many were newly ordered."""

    async def lease_copy(self, *, now_s: float, lease_s: float, but_of: frozenset[str] = frozenset()) -> CopyJob | None:
        """Take the next job that is due (also one whose lease has run out), marking it RUNNING and counting an attempt. Keys that
        somebody read come before those of a sweep; those of the buckets `but_of` stay where they are."""

    async def extend_leases(self, jobs: Sequence[CopyJob], *, now_s: float, lease_s: float) -> frozenset[int]:
        """Hold on to jobs that take longer; returns the numbers of those that are ours still (neither removed, nor leased to
        another)."""

    async def commit_copy(self, job: CopyJob, new: NewObject) -> ObjectRecord | None:
        """Make the copy the current object, only if the job still stands, the key has neither object nor tombstone and no write to
        the origin is under way. None: the copy lost, and its documents are garbage."""

    async def release_copy(
        self, job: CopyJob, *, state: CopyState, not_before_s: float, reason: str, counts: bool = True
    ) -> None:
        """Put a job back (WAITING until `not_before_s`) or to rest (FAILED, SKIPPED) with its reason; a job that was removed
        in the meantime stays removed. Unless it `counts`, it is as if there had been no attempt."""

    async def copy_jobs(self, bucket: str, *, states: Sequence[CopyState], limit: int) -> Sequence[CopyJob]:
        """Jobs for display, oldest first."""

    async def counts(self, bucket: str) -> Mapping[str, int]:
        """`objects`, `bytes`, `tombstones`, `uploads` (open ones), `waiting`, `running`, `failed`, `skipped` of one bucket."""

    def on_change(self, tell: Callable[[str, str], None]) -> None:
        """Register who is told bucket and key after each transaction of this process that may have made, replaced or removed an
        object or tombstone, and when a write to the origin begins; also where it failed."""

    async def check_writable(self) -> None:
        """A transaction that writes and is rolled back."""

    async def close(self) -> None:
        """Let go of every connection."""


class Commits(Protocol):
    """Where writes become current: the index, or what stands in front of it. The terms are those of `Index`."""

    async def put_object(self, new: NewObject, *, condition: WriteCondition | None = None) -> ObjectRecord:
        """See `Index`."""

    async def copy_object(
        self, source: ObjectRecord, new: NewObject, *, condition: WriteCondition | None = None
    ) -> ObjectRecord:
        """See `Index`."""

    async def change_object(
        self, record: ObjectRecord, *, tags: Mapping[str, str] | None = None, anonymous_read: bool | None = None
    ) -> ObjectRecord:
        """See `Index`."""

    async def delete_object(
        self, bucket: str, key: str, *, now_s: float, condition: WriteCondition | None = None
    ) -> Tombstone:
        """See `Index`."""

    async def delete_objects(
        self, bucket: str, deletions: Sequence[Deletion], *, now_s: float
    ) -> Sequence[Tombstone | StoreError | S3Error]:
        """See `Index`; but keys may fail by themselves, and not all in one transaction."""

    async def complete_upload(self, completion: Completion, *, condition: WriteCondition | None = None) -> ObjectRecord:
        """See `Index`."""


@dataclass(frozen=True, slots=True)
class DocumentToSend:
    """A document to be sent: `content` is its bytes, or the file that holds them; `size` of them (1 … `document_bytes_max` of the
    port `Documents`). `caption` is compact ASCII, at most `captions.PLAIN_CHARS_MAX` characters. Where documents are sealed, this
    one is in segments of `segment_bytes`: whoever reads a byte of it reads that many."""

    document_id: str
    content: bytes | Path
    size: int
    caption: str
    segment_bytes: int = BLOCK_BYTES


class Deleted(enum.Enum):
    """What became of a message that was to be deleted: it is `GONE`, too old for it (`TOO_OLD`), or was `NOT_FOUND`."""

    GONE = "gone"
    TOO_OLD = "too old"
    NOT_FOUND = "not found"


class Documents(Protocol):
    """Documents in Telegram."""

    @property
    def document_bytes_max(self) -> int:
        """The largest document that may be sent, in bytes."""

    async def send(self, document: DocumentToSend) -> Document:
        """Send a file and check the answer. Returns only when Telegram acknowledged it with the right size. Honours 429 and
        back-off within its wait limit, then raises `TelegramUnavailable`."""

    def read(self, document: Document, *, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """The bytes `offset … offset+length` of a document, in pieces of any size up to 1 MiB. Exactly `length` bytes come, or
        it raises (`TelegramUnavailable`, `DocumentLost`, `DocumentCorrupt`). Offsets are those of the bytes that were sent, also
        where they lie there sealed (`seal_format.content_bytes` tells how many there are). Resumes by itself after resets,
        truncation and expired paths. The caller checks hashes."""

    def prepare(self, document: Document) -> None:
        """A read of this document will follow soon: what has to be asked for first is asked for in the background. Never raises,
        and promises nothing."""

    def reads_from_start(self) -> bool:
        """Whether a read, as far as is known, costs what lies in front of its offset as well: the file host ignores ranges."""

    def send_delay_s(self) -> float:
        """How long a document sent now would wait for its turn, in seconds; `inf` where only the end of another send can tell."""

    def burst_share_left(self) -> float:
        """Of the documents that may be sent one right after the other, the part that is left (0 … 1)."""

    def ways(self) -> int:
        """How many documents are worth being under way at once: one for each pair of bot and chat that is usable now."""

    def slot_s(self) -> float:
        """The pace that may be kept for ever, over all these pairs: the seconds from one document to the next."""

    def on_new_file_id(self, remember: Callable[[str, int, str], None]) -> None:
        """Register who is told (document_id, bot_id, file_id) when a file_id was won again."""

    async def delete(self, document: Document) -> Deleted:
        """Delete its message. Raises `TelegramUnavailable` where no bot could tell."""

    async def blank(self, document: Document) -> bool:
        """Put an empty placeholder in the place of the document in its message, which may be as old as it likes. That is a message
        to Telegram's limits, and waits for its turn. False where there is no such message. Raises `TelegramUnavailable`."""

    async def close(self) -> None:
        """Let go of every connection."""


@dataclass(frozen=True, slots=True)
class OriginResponse:
    """An answer of the origin.

    `headers` are the raw header pairs as they came, in order, lower-case names, without hop-by-hop headers. `body` streams the
    undecoded bytes and raises `OriginUnavailable` where the transfer breaks off before `Content-Length` or the last chunk.
    """

    status: int
    headers: Sequence[tuple[str, str]]
    body: AsyncIterator[bytes]

    def header(self, name: str) -> str | None:
        """The first header called `name` (lower case), or None."""
        return next((value for header, value in self.headers if header == name), None)


@dataclass(frozen=True, slots=True)
class OriginRequest:
    """A request to be sent to a bucket's origin, signed anew with our credentials.

    `raw_key` is the key as the client spelt it in its path (percent-encoded, no leading slash, empty for the bucket itself);
    `raw_query` the query as it came without any `X-Amz-*` signature parameters; `headers` what may pass (no host, no
    authorization, no x-amz-date, no x-amz-content-sha256, no hop-by-hop). `body` is None for no body; `content_length` its
    length in bytes, `payload_sha256` its lower-case hex SHA-256 where known (else it goes unsigned). With `anonymous` the request
    bears no signature: the origin answers what it would answer anyone.
    """

    method: str
    raw_key: str
    raw_query: str
    headers: Sequence[tuple[str, str]]
    body: AsyncIterator[bytes] | None = None
    content_length: int = 0
    payload_sha256: str | None = None
    anonymous: bool = False


class Origin(Protocol):
    """One bucket's origin."""

    def send(self, request: OriginRequest) -> AbstractAsyncContextManager[OriginResponse]:
        """Send a request and open its answer, whatever its status; the connection is released when the context ends. Follows no
        redirect, decodes no body. Raises `OriginUnavailable` where there is no answer."""

    def get_object(self, key: str, *, if_match: str | None = None) -> AbstractAsyncContextManager[OriginResponse]:
        """GET one decoded key for a copy: `Accept-Encoding: identity`, `If-Match` where given. Always 200; else raises
        `OriginRefused`, `OriginChanged` (412) or `OriginUnavailable` (408, 429, 5xx)."""

    async def failure(self, answer: OriginResponse) -> StoreError:
        """What an answer of `send` other than the hoped-for one means: the error to raise, of the three of `get_object`."""

    async def close(self) -> None:
        """Let go of every connection."""
