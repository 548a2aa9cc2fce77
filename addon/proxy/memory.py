"""The in-memory answer: a small object that anyone may read and whose bytes are at hand, answered within the hook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from addon.proxy.switch import Routing, Seen
from addon.s3.errors import S3Error, error_xml
from addon.s3.reads import answer_read
from addon.service.reads import no_such_key
from addon.store.object_store import ObjectStore
from addon.store.records import ObjectRecord


@dataclass(frozen=True, slots=True)
class AtHand:
    """A whole answer, and the object that it shows (None: that there is none)."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes
    record: ObjectRecord | None = None


def answer_from_memory(store: ObjectStore, routing: Routing, seen: Seen) -> AtHand | None:
    """The answer, or None where the object service has to give it (bytes not at hand, or anything out of the ordinary)."""
    record = routing.state
    if not isinstance(record, ObjectRecord):
        return None
    try:
        answer = answer_read(record, seen.method, seen.headers, seen.raw_query, signed=False)
    except S3Error:
        return None
    if answer.body_range is None:
        return AtHand(answer.status, answer.headers, b"", record)
    whole = store.in_memory(record)
    if whole is None:
        return None
    part = answer.body_range
    return AtHand(answer.status, answer.headers, whole[part.start : part.start + part.length], record)


def no_such_key_at_hand(seen: Seen, key: str, *, request_id: str) -> AtHand:
    """The 404 of S3 for a key that is not there, to whoever may know so."""
    error = no_such_key(key)
    body = error_xml(error, resource=seen.raw_path, request_id=request_id)
    headers = [("content-type", "application/xml")]
    if seen.method == "HEAD":
        return AtHand(error.status, headers, b"")
    return AtHand(error.status, [*headers, ("content-length", str(len(body)))], body)
