"""What a pack tells of keys: their whole present state, as JSON, and back.

One state is one entry `{"bucket", "key", "generation", "telling", "piece", "last", "state"}`. `state` is `{"object": {…}}`,
`{"tombstone": {"deleted_at_s"}}`, or null for a key of which the index knows nothing any more (its `generation` is then that of
what it was last). A state too large for one pack comes in pieces, in packs one after the other: `telling` is the number of the pack
that has the first, `piece` counts from 0, and `last` is true in the last one. Each piece has the object's head, and the next of its
extents and parts; all pieces of one telling together are one consistent state, and a telling that lacks one says nothing.

Extents name their document by our own id, under which its message's caption, or the pack itself, is found.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from addon.store.records import Extent, ObjectPart, ObjectRecord, Provenance, Tombstone


@dataclass(frozen=True, slots=True)
class ToldExtent:
    """An `Extent` whose document is known by its id only."""

    document_id: str
    offset: int
    length: int
    block_sha256s: bytes

    @classmethod
    def of(cls, extent: Extent) -> ToldExtent:
        """The same."""
        return cls(extent.document.document_id, extent.offset, extent.length, extent.block_sha256s)


@dataclass(frozen=True, slots=True)
class ToldObject:
    """An object as it is told: `record` without its extents, and the extents and parts that this piece has."""

    record: ObjectRecord
    extents: tuple[ToldExtent, ...]
    parts: tuple[ObjectPart, ...]


@dataclass(frozen=True, slots=True)
class ToldState:
    """One entry of a pack's states; see the head of this file. `state` is None where the index knows nothing of the key."""

    bucket: str
    key: str
    generation: int
    state: ToldObject | Tombstone | None
    telling: int
    piece: int = 0
    last: bool = True


def extent_json(extent: ToldExtent) -> dict[str, Any]:
    """An extent as it stands in a pack."""
    return {
        "document_id": extent.document_id,
        "offset": extent.offset,
        "length": extent.length,
        "block_sha256s": base64.b64encode(extent.block_sha256s).decode(),
    }


def extent_from(json_value: Mapping[str, Any]) -> ToldExtent:
    """And back. Raises KeyError, TypeError, ValueError for anything else."""
    return ToldExtent(
        str(json_value["document_id"]),
        int(json_value["offset"]),
        int(json_value["length"]),
        base64.b64decode(json_value["block_sha256s"], validate=True),
    )


def state_text(told: ToldState) -> str:
    """An entry as it stands in a pack: one line of ASCII."""
    state: dict[str, Any] | None = None
    if isinstance(told.state, ToldObject):
        state = {"object": _object_json(told.state)}
    elif told.state is not None:
        state = {"tombstone": {"deleted_at_s": told.state.deleted_at_s}}
    return compact(
        {
            "bucket": told.bucket,
            "key": told.key,
            "generation": told.generation,
            "telling": told.telling,
            "piece": told.piece,
            "last": told.last,
            "state": state,
        }
    )


def state_from(json_value: Mapping[str, Any]) -> ToldState:
    """And back. Raises KeyError, TypeError, ValueError for anything else."""
    bucket, key, generation = str(json_value["bucket"]), str(json_value["key"]), int(json_value["generation"])
    told = json_value["state"]
    state: ToldObject | Tombstone | None = None
    if told is not None and "object" in told:
        state = _object_from(bucket, key, generation, told["object"])
    elif told is not None:
        state = Tombstone(bucket, key, generation, int(told["tombstone"]["deleted_at_s"]))
    return ToldState(
        bucket,
        key,
        generation,
        state,
        int(json_value["telling"]),
        int(json_value["piece"]),
        bool(json_value["last"]),
    )


def whole_state(pieces: Sequence[ToldState]) -> ToldState:
    """The pieces of one telling put together. Raises ValueError where one is missing."""
    ordered = sorted({one.piece: one for one in pieces}.values(), key=lambda one: one.piece)
    whole = [one.piece for one in ordered] == list(range(len(ordered))) and bool(ordered) and ordered[-1].last
    if not whole or len({(one.bucket, one.key, one.generation, one.telling) for one in ordered}) != 1:
        raise ValueError("the pieces of a state are not all there")
    first = ordered[0]
    if not isinstance(first.state, ToldObject):
        return first
    objects = [one.state for one in ordered if isinstance(one.state, ToldObject)]
    return ToldState(
        first.bucket,
        first.key,
        first.generation,
        ToldObject(
            first.state.record,
            tuple(extent for one in objects for extent in one.extents),
            tuple(part for one in objects for part in one.parts),
        ),
        first.telling,
    )


def _object_json(told: ToldObject) -> dict[str, Any]:
    record = told.record
    return {
        "size": record.size,
        "etag": record.etag,
        "last_modified_s": record.last_modified_s,
        "provenance": record.provenance.value,
        "anonymous_read": record.anonymous_read,
        "headers": dict(record.headers),
        "checksums": dict(record.checksums),
        "tags": dict(record.tags),
        "parts_count": record.parts_count,
        "checked_at_s": record.checked_at_s,
        "extents": [extent_json(extent) for extent in told.extents],
        "parts": [[part.number, part.size, dict(part.checksums)] for part in told.parts],
    }


def _object_from(bucket: str, key: str, generation: int, told: Mapping[str, Any]) -> ToldObject:
    record = ObjectRecord(
        bucket=bucket,
        key=key,
        generation=generation,
        size=int(told["size"]),
        etag=str(told["etag"]),
        last_modified_s=int(told["last_modified_s"]),
        provenance=Provenance(told["provenance"]),
        anonymous_read=bool(told["anonymous_read"]),
        headers=dict(told["headers"]),
        checksums=dict(told["checksums"]),
        tags=dict(told["tags"]),
        parts_count=int(told["parts_count"]),
        checked_at_s=int(told["checked_at_s"]),
    )
    return ToldObject(
        record,
        tuple(extent_from(extent) for extent in told["extents"]),
        tuple(ObjectPart(int(number), int(size), dict(checksums)) for number, size, checksums in told["parts"]),
    )


def compact(value: object) -> str:
    """JSON in one line of ASCII: a NUL or a lone surrogate survives in it."""
    return json.dumps(value, separators=(",", ":"))
