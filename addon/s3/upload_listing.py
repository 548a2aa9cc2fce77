"""Listings of multipart uploads: one order for ours and the origin's, and pages that continue where the last one ended. Pure.

The order is that of keys (UTF-8 bytes), and of one key the origin's uploads in the origin's order, then ours in the order in which
they were begun. A page ends behind one upload or common prefix, so the place in both lists follows from that one entry: what the
markers name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote
from xml.etree.ElementTree import Element

from addon.s3.acl import OWNER
from addon.s3.multipart_xml import INITIATOR, count, url_encoded, wants_url_encoding
from addon.s3.query import parameters
from addon.s3.xml import Node, document, malformed_xml, only_text, parse_xml

PAGE_UPLOADS_MAX = 1000

_OURS = re.compile(r"[0-9a-f]{12}\.[A-Za-z0-9_-]+", re.ASCII)
_ORIGINS = "origin."


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a list of uploads: behind upload `upload_id` of `key`; with an empty id behind all uploads of `key`."""

    key: str = ""
    upload_id: str = ""


# Before every upload id, as each of ours begins with a digit or letter.
BEFORE_ALL_IDS = " "


@dataclass(frozen=True, slots=True)
class UploadEntry:
    """An upload in a listing; `upload_id` is empty for a common prefix, which `key` is then. `ours` says who holds it."""

    key: str
    upload_id: str = ""
    initiated: str = ""
    storage_class: str = "STANDARD"
    checksum_algorithm: str = ""
    checksum_type: str = ""
    ours: bool = False

    @property
    def order(self) -> tuple[bytes, bool, str]:
        """What entries are sorted by. Of one key the origin's stay in the order in which they came."""
        return self.key.encode("utf-8", "surrogatepass"), self.ours, self.upload_id if self.ours else ""


@dataclass(frozen=True, slots=True)
class UploadsAsked:
    """What was asked of ListMultipartUploads."""

    prefix: str
    delimiter: str
    key_marker: str
    upload_id_marker: str
    uploads_max: int
    url_encoded: bool

    @staticmethod
    def of(raw_query: str) -> UploadsAsked:
        """Read the query. Raises InvalidArgument or InvalidURI."""
        given = dict(parameters(raw_query))
        return UploadsAsked(
            prefix=given.get("prefix", ""),
            delimiter=given.get("delimiter", ""),
            key_marker=given.get("key-marker", ""),
            # It has no meaning without a key (AWS API reference).
            upload_id_marker=given.get("upload-id-marker", "") if given.get("key-marker") else "",
            uploads_max=min(count(given, "max-uploads", default=PAGE_UPLOADS_MAX), PAGE_UPLOADS_MAX),
            url_encoded=wants_url_encoding(given),
        )

    @property
    def places(self) -> tuple[Place, Place]:
        """Where our list and the origin's go on."""
        key, marker = self.key_marker, self.upload_id_marker
        if not marker:
            return Place(key), Place(key)
        if marker.startswith(_ORIGINS):
            return Place(key, BEFORE_ALL_IDS), Place(key, marker.removeprefix(_ORIGINS))
        if _OURS.fullmatch(marker):
            return Place(key, marker), Place(key)
        return Place(key, BEFORE_ALL_IDS), Place(key, marker)

    def common_prefix(self, key: str) -> str | None:
        """What `key` is rolled up into, if it is."""
        if not self.delimiter:
            return None
        end = key.find(self.delimiter, len(self.prefix))
        return None if end < 0 else key[: end + len(self.delimiter)]

    def of_origins(self, entries: Sequence[UploadEntry]) -> list[UploadEntry]:
        """The origin's entries that lie behind the markers, rolled up: some give again what they should have passed over, and do
        not know delimiters."""
        key, upload_id = self.key_marker, self.places[1].upload_id
        given = next(
            (at for at, one in enumerate(entries) if upload_id and (one.key, one.upload_id) == (key, upload_id)), -1
        )
        behind = []
        for at, entry in enumerate(entries):
            common = self.common_prefix(entry.key)
            one = entry if common is None else UploadEntry(common)
            if (
                _order(one.key) > _order(key)
                or not key
                or (one.key == key and upload_id and one.upload_id and at > given)
            ):
                behind.append(one)
        return behind


def _order(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


def marker_of(entry: UploadEntry) -> str:
    """The upload-id-marker of a page that ends behind `entry`: its id, told apart from the other list's where it could be one."""
    if entry.ours or not entry.upload_id:
        return entry.upload_id
    ambiguous = entry.upload_id.startswith(_ORIGINS) or _OURS.fullmatch(entry.upload_id) is not None
    return _ORIGINS + entry.upload_id if ambiguous else entry.upload_id


def first_behind(prefix: str) -> str | None:
    """The least key greater than every key that begins with `prefix`; None where there is none."""
    for length in range(len(prefix), 0, -1):
        code = ord(prefix[length - 1])
        if code < 0x10FFFF:
            return prefix[: length - 1] + chr(0xE000 if code == 0xD7FF else code + 1)
    return None


@dataclass(frozen=True, slots=True)
class OriginPage:
    """A page of the origin's list; it goes on behind `next_place`, None where it has ended."""

    entries: Sequence[UploadEntry]
    next_place: Place | None


def origin_query(asked: UploadsAsked, place: Place) -> str:
    """The query that asks the origin for its list from `place` on: one more entry than the page takes, where that is allowed."""
    given = [
        ("uploads", ""),
        ("delimiter", asked.delimiter),
        ("encoding-type", "url"),
        ("key-marker", place.key),
        ("max-uploads", str(min(asked.uploads_max + 1, PAGE_UPLOADS_MAX))),
        ("prefix", asked.prefix),
        ("upload-id-marker", place.upload_id),
    ]
    return "&".join(f"{name}={quote(value, safe='~')}" for name, value in given if value or name == "uploads")


def parse_origin_page(body: bytes) -> OriginPage:
    """Read the origin's answer. Raises MalformedXML where it is none."""
    root = parse_xml(body, root="ListMultipartUploadsResult")
    encoded = only_text(root, "EncodingType") == "url"
    entries = [_origin_upload(element, encoded=encoded) for element in root.findall("Upload")]
    for element in root.findall("CommonPrefixes"):
        entries += [UploadEntry(_decoded(prefix.text or "", encoded)) for prefix in element.findall("Prefix")]
    # Python sorts stably: the origin's order of one key's uploads stays.
    entries.sort(key=lambda entry: _order(entry.key))
    if (only_text(root, "IsTruncated") or "").strip().lower() != "true":
        return OriginPage(entries, None)
    next_key = _decoded(only_text(root, "NextKeyMarker") or "", encoded)
    next_id = only_text(root, "NextUploadIdMarker") or ""
    if not next_key:
        if not entries:
            raise malformed_xml()
        next_key, next_id = entries[-1].key, entries[-1].upload_id
    return OriginPage(entries, Place(next_key, next_id))


def _origin_upload(element: Element, *, encoded: bool) -> UploadEntry:
    key, upload_id = only_text(element, "Key"), only_text(element, "UploadId")
    if not key or not upload_id:
        raise malformed_xml()
    return UploadEntry(
        key=_decoded(key, encoded),
        upload_id=upload_id,
        initiated=only_text(element, "Initiated") or "",
        storage_class=only_text(element, "StorageClass") or "STANDARD",
        checksum_algorithm=only_text(element, "ChecksumAlgorithm") or "",
        checksum_type=only_text(element, "ChecksumType") or "",
    )


def _decoded(text: str, encoded: bool) -> str:
    # A raw `+` means a space in what Java's encoder wrote; others write %2B for a plus.
    return unquote(text.replace("+", " ")) if encoded else text


@dataclass(frozen=True, slots=True)
class UploadsPage:
    """The entries of one page, in order, and whether more follow."""

    entries: Sequence[UploadEntry]
    truncated: bool


def merged(
    asked: UploadsAsked,
    ours: Sequence[UploadEntry],
    origins: Sequence[UploadEntry],
    *,
    origin_ends_at: str | None,
) -> UploadsPage:
    """One page of both lists, each entry once.

    `ours` are as many as the page takes and one more, where there are so many. `origin_ends_at` is the key up to which the origin's
    list is known, None where it is known to its end: behind it, nobody can say yet what comes next.
    """
    known = asked.of_origins(origins)
    mine = list(ours)
    if origin_ends_at is not None:
        mine = [entry for entry in mine if _order(entry.key) < _order(origin_ends_at)]
    entries: list[UploadEntry] = []
    for entry in sorted([*known, *mine], key=lambda entry: entry.order):
        repeats_prefix = not entry.upload_id and bool(entries) and entries[-1].key == entry.key
        if not repeats_prefix:
            entries.append(entry)
    page = entries[: asked.uploads_max]
    return UploadsPage(page, truncated=origin_ends_at is not None or len(entries) > len(page))


def uploads_list(asked: UploadsAsked, page: UploadsPage, *, bucket: str) -> bytes:
    """The answer to ListMultipartUploads."""

    def spelt(key: str) -> str:
        return url_encoded(key) if asked.url_encoded else key

    children: list[Node] = [
        ("Bucket", bucket),
        ("KeyMarker", spelt(asked.key_marker)),
        ("UploadIdMarker", asked.upload_id_marker),
    ]
    if page.truncated and page.entries:
        last = page.entries[-1]
        children += [("NextKeyMarker", spelt(last.key)), ("NextUploadIdMarker", marker_of(last))]
    children += [("Prefix", spelt(asked.prefix))]
    if asked.delimiter:
        children += [("Delimiter", spelt(asked.delimiter))]
    if asked.url_encoded:
        children += [("EncodingType", "url")]
    children += [("MaxUploads", asked.uploads_max), ("IsTruncated", "true" if page.truncated else "false")]
    children += [("Upload", _upload_nodes(entry, spelt(entry.key))) for entry in page.entries if entry.upload_id]
    children += [("CommonPrefixes", [("Prefix", spelt(entry.key))]) for entry in page.entries if not entry.upload_id]
    return document("ListMultipartUploadsResult", children)


def _upload_nodes(entry: UploadEntry, key: str) -> list[Node]:
    nodes: list[Node] = [
        ("Key", key),
        ("UploadId", entry.upload_id),
        INITIATOR,
        OWNER,
        ("StorageClass", entry.storage_class),
        ("Initiated", entry.initiated),
    ]
    if entry.checksum_algorithm:
        nodes += [("ChecksumAlgorithm", entry.checksum_algorithm)]
    if entry.checksum_type:
        nodes += [("ChecksumType", entry.checksum_type)]
    return nodes
