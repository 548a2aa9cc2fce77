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

from addon.store.records import CopyJob, CopyOrder, CopyState, Document, NewObject, ObjectRecord, Tombstone


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


class DocumentCorrupt(StoreError):
    """The document's bytes are not the ones that were stored (wrong hash or length), also after it was fetched again."""


class OriginUnavailable(StoreError):
    """The origin did not answer, broke off, throttled (429, 503) or failed (5xx). Trying later can help."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class OriginRefused(StoreError):
    """The origin answered, and the answer is final for this request (403, 404, archive tier, SSE-C, …)."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class OriginChanged(StoreError):
    """What came is not one whole version of the object: 412, another ETag or length, truncated. Trying anew can help."""


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

    async def put_object(self, new: NewObject) -> ObjectRecord:
        """Make `new` the current object: replaces an object or tombstone, removes any copy job of the key and any pending
        origin write; documents that no extent refers to any more become garbage."""

    async def delete_object(self, bucket: str, key: str, *, now_s: float) -> Tombstone:
        """Put a tombstone in the place of whatever is there; the same consequences as `put_object`."""

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

    async def add_documents(self, documents: Sequence[Document], *, now_s: float) -> None:
        """Record documents as garbage-until-used right after Telegram acknowledged them; `put_object` and `commit_copy` take
        them into use. So a crash between the two leaves a known orphan, not an unknown one."""

    async def update_file_id(self, document_id: str, *, bot_id: int, file_id: str) -> None:
        """Remember a file_id that was won again."""

    async def garbage(self, *, limit: int) -> Sequence[Document]:
        """Documents without any extent, oldest first."""

    async def grant_anonymous_read(self, bucket: str, key: str, *, etag: str) -> None:
        """The origin served this object to an anonymous client: mark the copy that has this ETag, and a copy job of the key."""

    async def enqueue_copies(self, orders: Sequence[CopyOrder], *, now_s: float) -> int:
        """Order copies of keys that have no object, no tombstone and no job (a job only gains `anonymous_read`; a failed one is
        ordered anew). Returns how many were newly ordered."""

    async def lease_copy(self, *, now_s: float, lease_s: float) -> CopyJob | None:
        """Take the next job that is due (also one whose lease has run out), marking it RUNNING and counting an attempt."""

    async def extend_lease(self, job: CopyJob, *, now_s: float, lease_s: float) -> bool:
        """Hold on to a job that takes longer. False: it is not ours any more (removed, or leased to another)."""

    async def commit_copy(self, job: CopyJob, new: NewObject) -> ObjectRecord | None:
        """Make the copy the current object, only if the job still stands, the key has neither object nor tombstone and no write to
        the origin is under way. None: the copy lost, and its documents are garbage."""

    async def release_copy(self, job: CopyJob, *, state: CopyState, not_before_s: float, reason: str) -> None:
        """Put a job back (WAITING until `not_before_s`) or to rest (FAILED, SKIPPED) with its reason; a job that was removed
        in the meantime stays removed."""

    async def copy_jobs(self, bucket: str, *, states: Sequence[CopyState], limit: int) -> Sequence[CopyJob]:
        """Jobs for display, oldest first."""

    async def counts(self, bucket: str) -> Mapping[str, int]:
        """`objects`, `bytes`, `tombstones`, `waiting`, `running`, `failed`, `skipped` of one bucket."""

    async def check_writable(self) -> None:
        """A transaction that writes and is rolled back."""

    async def close(self) -> None:
        """Let go of every connection."""


@dataclass(frozen=True, slots=True)
class DocumentToSend:
    """A document to be sent: `content` is its bytes, or the file that holds them; `size` of them (1 … `document_bytes_max` of the
    port `Documents`). `caption` is compact ASCII."""

    document_id: str
    content: bytes | Path
    size: int
    caption: str


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
        it raises (`TelegramUnavailable`, `DocumentLost`). Resumes by itself after resets, truncation and expired paths. The
        caller checks hashes."""

    def send_delay_s(self) -> float:
        """How long a document sent now would wait for its turn, in seconds; `inf` where only the end of another send can tell."""

    def on_new_file_id(self, remember: Callable[[str, int, str], None]) -> None:
        """Register who is told (document_id, bot_id, file_id) when a file_id was won again."""

    async def delete(self, document: Document) -> bool:
        """Delete its message; False where Telegram says that it is too old or not there."""

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
    length in bytes, `payload_sha256` its lower-case hex SHA-256 where known (else it goes unsigned).
    """

    method: str
    raw_key: str
    raw_query: str
    headers: Sequence[tuple[str, str]]
    body: AsyncIterator[bytes] | None = None
    content_length: int = 0
    payload_sha256: str | None = None


class Origin(Protocol):
    """One bucket's origin."""

    def send(self, request: OriginRequest) -> AbstractAsyncContextManager[OriginResponse]:
        """Send a request and open its answer, whatever its status; the connection is released when the context ends. Follows no
        redirect, decodes no body. Raises `OriginUnavailable` where there is no answer."""

    def get_object(self, key: str, *, if_match: str | None = None) -> AbstractAsyncContextManager[OriginResponse]:
        """GET one decoded key for a copy: `Accept-Encoding: identity`, `If-Match` where given. Always 200; else raises
        `OriginRefused`, `OriginChanged` (412) or `OriginUnavailable` (408, 429, 5xx)."""

    async def close(self) -> None:
        """Let go of every connection."""
