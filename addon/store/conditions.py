"""Conditions of writes: what must hold of a key's current object for a write or delete to happen. Pure.

The index evaluates them inside the transaction that writes, so of several racing writers exactly one wins. What the index knows
nothing of (a key that has not moved) is judged by what the origin was found to hold just before.
Rules: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html and …/conditional-deletes.html
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from addon.store.records import ObjectRecord, Tombstone


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """What conditions look at; `etag` without quotes, `size` in bytes, `last_modified_s` in whole UNIX seconds."""

    etag: str
    size: int
    last_modified_s: int


class NotAsked(enum.Enum):
    """The origin was not asked about the key, because the index decided."""

    NOT_ASKED = "not asked"


NOT_ASKED = NotAsked.NOT_ASKED


@dataclass(frozen=True, slots=True)
class WriteCondition:
    """`absent`: If-None-Match: *. `etag`: If-Match, without quotes, `*` for any object. `size` and `last_modified_s`: the object's,
    for conditional deletes. `at_origin` is what the origin holds under a key of which the index knows nothing, None for nothing
    (also where the bucket has no origin)."""

    absent: bool = False
    etag: str | None = None
    size: int | None = None
    last_modified_s: int | None = None
    at_origin: ObjectFacts | NotAsked | None = NOT_ASKED


class Verdict(enum.Enum):
    """`HOLDS`; `FAILED` (412 PreconditionFailed); `MISSING` (there is no object that could match: 404, or 204 of a delete);
    `CONFLICT` (409: the key changed its place in the meantime, so the origin has to be asked anew)."""

    HOLDS = "holds"
    FAILED = "failed"
    MISSING = "missing"
    CONFLICT = "conflict"


def judge(condition: WriteCondition, state: ObjectRecord | Tombstone | None) -> Verdict:
    """Whether `condition` holds of what the index knows of the key."""
    if isinstance(state, ObjectRecord):
        return _judge(condition, ObjectFacts(state.etag, state.size, state.last_modified_s))
    if isinstance(state, Tombstone):
        return _judge(condition, None)
    if isinstance(condition.at_origin, NotAsked):
        return Verdict.CONFLICT
    return _judge(condition, condition.at_origin)


def _judge(condition: WriteCondition, current: ObjectFacts | None) -> Verdict:
    if condition.absent:
        return Verdict.HOLDS if current is None else Verdict.FAILED
    if current is None:
        return Verdict.MISSING
    matches = (
        condition.etag in (None, "*", current.etag)
        and condition.size in (None, current.size)
        and condition.last_modified_s in (None, current.last_modified_s)
    )
    return Verdict.HOLDS if matches else Verdict.FAILED
