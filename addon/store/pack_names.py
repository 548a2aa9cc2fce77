"""What an object is called inside a pack: a name that every unzip program takes, and that leads nowhere but below its folder.

The key itself stands in `tgstore.json`; the name is for people. It is `<bucket>/<key>` with `%XX` for what some system refuses in
file names, short enough for all of them, and different from every other name of the pack on systems that ignore case or Unicode's
ways to write a letter. Where two would meet (the same key twice; `a` as a file and `a/b` below it), the later one lies below
`<bucket>~2`, and so on.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

MANIFEST_NAME = "tgstore.json"

# Linux takes 255 bytes in a segment and 4096 in a path, of which the folder above has its share; each is cut with room for a hash.
SEGMENT_BYTES_MAX = 255
NAME_BYTES_MAX = 1000
_HASH_CHARS = 16

# What Windows refuses, `/` excepted, and our own sign.
_REFUSED = frozenset('\\:*?"<>|%~')
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)


class EntryNames:
    """The names of one pack, given one after the other."""

    def __init__(self) -> None:
        self._files: set[str] = {_met_as(MANIFEST_NAME)}
        self._folders: set[str] = set()
        self._next_root: dict[str, int] = {}

    def name(self, bucket: str, key: str) -> str:
        """The name of the pack's next entry."""
        path, root = safe_path(key), safe_path(bucket)
        place = _met_as(f"{root}/{path}")
        number = self._next_root.get(place, 1)
        while True:
            name = f"{root}/{path}" if number == 1 else f"{root}~{number}/{path}"
            number += 1
            if self._take(_met_as(name)):
                self._next_root[place] = number
                return name

    def _take(self, name: str) -> bool:
        folders = [name[: match.start()] for match in re.finditer("/", name)]
        if name in self._files or name in self._folders or not self._files.isdisjoint(folders):
            return False
        self._files.add(name)
        self._folders.update(folders)
        return True


def safe_path(key: str) -> str:
    """A key as a relative path without anything that a system refuses, in at most `NAME_BYTES_MAX` bytes of UTF-8."""
    path = "/".join(_safe_segment(segment) for segment in key.split("/"))
    if len(path.encode()) <= NAME_BYTES_MAX:
        return path
    return _cut(path, NAME_BYTES_MAX, key).replace("/~", "/%~")


def _safe_segment(segment: str) -> str:
    if not segment.strip("."):
        # Nothing, or nothing but dots.
        return (
            "%" + "%2E" * len(segment)
            if len(segment) * 3 < SEGMENT_BYTES_MAX
            else _cut("%", SEGMENT_BYTES_MAX, segment)
        )
    safe = "".join(char if char.isprintable() and char not in _REFUSED else _escaped(char) for char in segment)
    if safe[-1] in ". ":
        safe = safe[:-1] + _escaped(safe[-1])
    if safe[0] == " " or _DEVICES.match(safe):
        safe = _escaped(safe[0]) + safe[1:]
    return safe if len(safe.encode()) <= SEGMENT_BYTES_MAX else _cut(safe, SEGMENT_BYTES_MAX, segment)


def _escaped(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))


def _cut(text: str, bytes_max: int, whole: str) -> str:
    """The beginning of a text, and a hash of what it stood for."""
    kept = text.encode()[: bytes_max - _HASH_CHARS - 1].decode("utf-8", "ignore").rstrip("./ ")
    return f"{kept}~{hashlib.sha256(whole.encode('utf-8', 'surrogatepass')).hexdigest()[:_HASH_CHARS]}"


def _met_as(name: str) -> str:
    """Two names that are equal in this form may be one file somewhere."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
