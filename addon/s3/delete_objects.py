"""The XML of DeleteObjects, in both directions.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html: up to 1000 keys, each with a version or conditions, and one
answer for each, of which a quiet request wants the failures alone. The conditions on size and time are defined for directory
buckets and mean the same here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree.ElementTree import Element

from addon.s3.errors import S3Error
from addon.s3.http_dates import parse_http_date
from addon.s3.keys import KEY_BYTES_MAX
from addon.s3.write_conditions import entity_tag
from addon.s3.xml import Node, document, malformed_xml, only_text, parse_xml

KEYS_MAX = 1000

# An escape takes up to six bytes for one of the key's (`&quot;`); version, conditions and elements take less than the rest.
DELETE_BYTES_MAX = KEYS_MAX * (6 * KEY_BYTES_MAX + 1024)
# Start and end of `Object` and of what it may hold, and as much again for comments. Counted before the document is parsed, so that
# millions of empty elements never become objects in memory.
TAGS_MAX = 2 * 2 * 6 * (KEYS_MAX + 1)

_ELEMENTS = frozenset({"Key", "VersionId", "ETag", "LastModifiedTime", "Size"})
_SIZE = re.compile(r"[0-9]{1,19}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class KeyToDelete:
    """One key, of which `version_id` is None for the current object; the other fields are conditions, None where not given:
    `etag` without quotes or `*`, `size` in bytes, `last_modified_s` in UNIX seconds."""

    key: str
    version_id: str | None = None
    etag: str | None = None
    size: int | None = None
    last_modified_s: int | None = None

    @property
    def is_conditional(self) -> bool:
        """Whether there is a condition."""
        return self.etag is not None or self.size is not None or self.last_modified_s is not None


@dataclass(frozen=True, slots=True)
class DeleteRequest:
    """What is to be deleted, in the request's order; a `quiet` one wants only the failures answered."""

    keys: tuple[KeyToDelete, ...]
    quiet: bool


@dataclass(frozen=True, slots=True)
class Deleted:
    """It is gone. `delete_marker_version_id` is given where the origin put a marker, or removed one."""

    key: str
    version_id: str | None = None
    delete_marker_version_id: str | None = None


@dataclass(frozen=True, slots=True)
class NotDeleted:
    """It was not deleted."""

    key: str
    version_id: str | None
    code: str
    message: str


def parse_delete(body: bytes) -> DeleteRequest:
    """Read the body of a DeleteObjects. Raises MalformedXML, also for no key at all, and for more than `KEYS_MAX`."""
    if body.count(b"<") > TAGS_MAX:
        raise malformed_xml()
    root = parse_xml(body, root="Delete")
    quiet = only_text(root, "Quiet")
    objects = root.findall("Object")
    if len(objects) + (quiet is not None) != len(root) or not 1 <= len(objects) <= KEYS_MAX:
        raise malformed_xml()
    return DeleteRequest(tuple(_key_to_delete(element) for element in objects), _boolean(quiet or "false"))


def result_xml(outcomes: Iterable[Deleted | NotDeleted], *, quiet: bool) -> bytes:
    """The answer."""
    return document(
        "DeleteResult",
        [_node(outcome) for outcome in outcomes if not quiet or isinstance(outcome, NotDeleted)],
    )


def key_error(key: str) -> S3Error | None:
    """Why no object can have this key; the other keys of the request may be deleted all the same."""
    if len(key.encode("utf-8", "surrogatepass")) > KEY_BYTES_MAX:
        return S3Error("KeyTooLongError", "Your key is too long")
    return None


def _key_to_delete(element: Element) -> KeyToDelete:
    if any(child.tag not in _ELEMENTS for child in element):
        raise malformed_xml()
    key = only_text(element, "Key")
    if not key:
        raise malformed_xml()
    version_id, etag = only_text(element, "VersionId"), only_text(element, "ETag")
    size, last_modified = only_text(element, "Size"), only_text(element, "LastModifiedTime")
    return KeyToDelete(
        key,
        version_id=version_id or None,
        etag=None if etag is None else "*" if etag.strip() == "*" else entity_tag(etag.strip()),
        size=None if size is None else _size(size.strip()),
        last_modified_s=None if last_modified is None else _time_s(last_modified.strip()),
    )


def _size(text: str) -> int:
    if _SIZE.fullmatch(text) is None:
        raise malformed_xml()
    return int(text)


def _time_s(text: str) -> int:
    """An HTTP date, as the schema says, or ISO 8601, as some serialisers write every time."""
    time_s = parse_http_date(text)
    if time_s is None and _TIME.fullmatch(text) is not None:
        try:
            time_s = int(datetime.fromisoformat(text[:19]).replace(tzinfo=UTC).timestamp())
        except ValueError:
            raise malformed_xml() from None
    if time_s is None:
        raise malformed_xml()
    return time_s


def _boolean(text: str) -> bool:
    if text.strip().lower() not in ("true", "false", "1", "0"):
        raise malformed_xml()
    return text.strip().lower() in ("true", "1")


def _node(outcome: Deleted | NotDeleted) -> Node:
    children: list[Node] = [("Key", outcome.key)]
    if outcome.version_id is not None:
        children.append(("VersionId", outcome.version_id))
    if isinstance(outcome, NotDeleted):
        return ("Error", [*children, ("Code", outcome.code), ("Message", outcome.message)])
    if outcome.delete_marker_version_id is not None:
        children += [("DeleteMarker", "true"), ("DeleteMarkerVersionId", outcome.delete_marker_version_id)]
    return ("Deleted", children)
