"""What the index lists: plain frozen values."""

from __future__ import annotations

from dataclasses import dataclass

from addon.store.conditions import WriteCondition
from addon.store.records import Provenance


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object in a listing; the fields of `ObjectRecord` of the same names, `storage_class` `STANDARD` where none was given."""

    key: str
    size: int
    etag: str
    last_modified_s: int
    storage_class: str
    provenance: Provenance
    checksum_algorithm: str = ""
    checksum_type: str = ""


@dataclass(frozen=True, slots=True)
class ListedPrefix:
    """A common prefix under which at least one object lies."""

    prefix: str


@dataclass(frozen=True, slots=True)
class Deletion:
    """One key to be deleted, under a condition or none."""

    key: str
    condition: WriteCondition | None = None
