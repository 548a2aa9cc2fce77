"""What an S3 bucket in front of a moving origin must look like: the model that the state machine compares the product with.

Three things decide a key: what was written, copied or deleted here, and beneath it what the origin holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

Place = tuple[str, str]
"""(bucket, key)."""


@dataclass(frozen=True)
class Held:
    """An object: its bytes, its ETag without quotes, and the headers that belong to it."""

    body: bytes
    etag: str
    headers: Mapping[str, str]
    # Told by whoever stored it, and the same ever after; None until it was seen for the first time.
    last_modified: str | None = None


def held(body: bytes, headers: Mapping[str, str]) -> Held:
    return Held(body, hashlib.md5(body).hexdigest(), headers)


@dataclass
class Upload:
    """A multipart upload that is open."""

    place: Place
    headers: Mapping[str, str]
    parts: dict[int, bytes] = field(default_factory=dict)

    def can_become(self, numbers: Sequence[int], *, part_bytes_min: int) -> bool:
        """Whether all these parts are there, and large enough, but for the last one."""
        if any(number not in self.parts for number in numbers):
            return False
        return all(len(self.parts[number]) >= part_bytes_min for number in numbers[:-1])

    def completed(self, numbers: Sequence[int]) -> Held:
        """The object of the chosen parts; its ETag is the MD5 of the parts' MD5s, and their number."""
        bodies = [self.parts[number] for number in numbers]
        digest = hashlib.md5(b"".join(hashlib.md5(body).digest() for body in bodies)).hexdigest()
        return Held(b"".join(bodies), f"{digest}-{len(bodies)}", self.headers)


@dataclass
class Model:
    """`origin` is what lies there, `here` what was written here or has been copied, `deleted` are the tombstones."""

    origin: dict[Place, Held] = field(default_factory=dict)
    here: dict[Place, Held] = field(default_factory=dict)
    copied: set[Place] = field(default_factory=set)
    deleted: set[Place] = field(default_factory=set)
    uploads: dict[str, Upload] = field(default_factory=dict)

    def visible(self, place: Place) -> Held | None:
        """What a reader gets."""
        if place in self.deleted:
            return None
        return self.here.get(place) or self.origin.get(place)

    def write(self, place: Place, new: Held) -> None:
        self.here[place] = new
        self.copied.discard(place)
        self.deleted.discard(place)

    def delete(self, place: Place) -> None:
        self.here.pop(place, None)
        self.copied.discard(place)
        self.deleted.add(place)

    def copy(self, place: Place, version: Held) -> None:
        """The migrator has brought a version of the origin's here."""
        self.here[place] = version
        self.copied.add(place)

    def supersede(self, place: Place) -> None:
        """The origin took a write past us: from now on its version counts."""
        self.here.pop(place, None)
        self.copied.discard(place)
        self.deleted.discard(place)

    def forget_copy(self, place: Place) -> None:
        """Nobody knows what a write past us did: the origin is asked again, where it was only a copy."""
        if place in self.copied:
            self.here.pop(place)
            self.copied.discard(place)

    def seen(self, place: Place, last_modified: str) -> None:
        """The date of an object that was written here, told for the first time."""
        here = self.here.get(place)
        if here is not None and here.last_modified is None:
            self.here[place] = replace(here, last_modified=last_modified)

    def keys(self, bucket: str) -> list[str]:
        """The keys that exist, in UTF-8 byte order."""
        known = {key for where, key in [*self.origin, *self.here] if where == bucket}
        return sorted((key for key in known if self.visible((bucket, key))), key=str.encode)

    def listed(self, bucket: str, *, prefix: str = "", delimiter: str = "", after: str = "") -> list[str]:
        """Keys and common prefixes of a listing, in the order in which they come."""
        found: dict[str, None] = {}
        for key in self.keys(bucket):
            if not key.startswith(prefix):
                continue
            head, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            name = prefix + head + cut if cut else key
            if name.encode() > after.encode():
                found[name] = None
        return list(found)
