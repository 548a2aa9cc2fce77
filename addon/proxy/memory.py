"""The in-memory answer: a small object that anyone may read and whose bytes are at hand, answered within the hook."""

from __future__ import annotations

from addon.proxy.switch import Routing, Seen
from addon.s3.errors import S3Error
from addon.s3.reads import answer_read
from addon.service.request import Answer
from addon.store.object_store import ObjectStore
from addon.store.records import ObjectRecord


def answer_from_memory(store: ObjectStore, routing: Routing, seen: Seen) -> Answer | None:
    """The answer, or None where the object service has to give it (bytes not at hand, or anything out of the ordinary)."""
    record = routing.state
    if not isinstance(record, ObjectRecord):
        return None
    try:
        answer = answer_read(record, seen.method, seen.headers, seen.raw_query, signed=False)
    except S3Error:
        return None
    if answer.body_range is None:
        return Answer(answer.status, answer.headers)
    whole = store.in_memory(record)
    if whole is None:
        return None
    part = answer.body_range
    return Answer(answer.status, answer.headers, whole[part.start : part.start + part.length])
