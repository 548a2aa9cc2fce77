"""The origin's ListObjectsV2: the query to ask it with, and its page read.

A page is some 400 kB of XML, and each listing through us waits for its reading. So the reading here is quicker than that of
`s3/xml.py`: defusedxml needs 10 ms to build the tree of 1000 entries, and all of this 3 ms. It is as strict. expat (in C) checks
that the whole document is well formed; "<!" does not occur in it, so there is no document type, no entity, no comment and no CDATA
section; then every "<" begins a tag, and the text can be cut at `<Contents>`. An entry stays the text that it was, all but its key,
and goes out like that. Whatever does not look as all servers write it is read through `s3/xml.py` instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import quote, unquote_to_bytes
from xml.etree.ElementTree import Element
from xml.parsers import expat

from addon.s3.errors import S3Error
from addon.s3.listing_tokens import ORIGIN_TOKEN_BYTES_MAX
from addon.s3.xml import only_text, parse_xml, xml_text

ORIGIN_PAGE_BYTES_MAX = 8 << 20
"""1000 keys of 1024 bytes, percent-encoded, with owners and checksums are half of it."""

Entry = tuple[str, "str | None"]
"""A key with the rest of its Contents element as XML, or a common prefix with None."""

_ROOT = "ListBucketResult"
_ROOT_TAG = re.compile(rf'(?:<\?xml[^<>]*\?>)?\s*<{_ROOT}(?: xmlns="[^"<>&]*")?>')
_OWNER = re.compile(r"<Owner>.*?</Owner>|<Owner/>", re.DOTALL)
# Ceph RGW and moto write the token, or the start-after that we sent, without regard to `encoding-type`: with references to
# characters, or with characters, that XML 1.0 does not have.
_NOT_XML = re.compile(
    r"&#(?:x0*(?:[0-8bcef]|1[0-9a-f])|0*(?:[0-8]|1[124-9]|2[0-9]|3[01]));|[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]",
    re.IGNORECASE,
)


class MalformedPage(Exception):
    """The origin's answer is no page of the listing that was asked for."""


@dataclass(frozen=True, slots=True)
class OriginQuery:
    """A page to ask the origin for: up to `max_keys` entries after `after`, or where its own `token` points to."""

    prefix: str
    delimiter: str
    after: str
    max_keys: int
    owners: bool = False
    token: str = ""

    @property
    def raw_query(self) -> str:
        """The query of the request. Names come back percent-encoded, because XML has no spelling for some of them."""
        pairs = [("list-type", "2"), ("encoding-type", "url"), ("max-keys", str(self.max_keys))]
        pairs += [("prefix", self.prefix), ("delimiter", self.delimiter), ("continuation-token", self.token)]
        if self.after >= self.prefix:
            # What sorts before the prefix excludes nothing, and not every server knows that.
            pairs.append(("start-after", self.after))
        if self.owners:
            pairs.append(("fetch-owner", "true"))
        return "&".join(f"{name}={quote(value, safe='~')}" for name, value in pairs if value)


@dataclass(frozen=True, slots=True)
class OriginPage:
    """Entries in ascending order, all within the prefix; `token` is the origin's for the next page."""

    entries: list[Entry]
    truncated: bool
    token: str = ""


def parse_origin_page(body: bytes, query: OriginQuery) -> OriginPage:
    """Raises `MalformedPage` where the answer is none, is not in UTF-8 byte order, or holds what was not asked for."""
    try:
        text = body.decode("utf-8-sig")
        contents, prefixes, about = _cut(text) or _read(text)
        if about.findtext("EncodingType") == "url":
            keys = _decoded([key for key, _ in contents])
            contents = [(key, fields) for key, (_, fields) in zip(keys, contents, strict=True)]
            prefixes = _decoded(prefixes)
        truncated = {"true": True, "false": False}[(only_text(about, "IsTruncated") or "").lower()]
        token = only_text(about, "NextContinuationToken") or ""
    except (ValueError, KeyError, S3Error):
        raise MalformedPage("the origin's listing cannot be understood") from None
    if not query.owners:
        contents = [(key, _OWNER.sub("", fields) if "<Owner" in fields else fields) for key, fields in contents]
    entries: list[Entry] = [*contents]
    if prefixes:
        entries += [(prefix, None) for prefix in prefixes]
        entries.sort(key=_name)
    _check(entries, query)
    usable = "\ufffd" not in token and len(token.encode()) <= ORIGIN_TOKEN_BYTES_MAX
    return OriginPage(entries, truncated, token if usable else "")


def _cut(text: str) -> tuple[list[tuple[str, str]], list[str], Element] | None:
    """Contents, common prefixes, and the rest of the document; None where the text is written in an unusual way."""
    opening = _ROOT_TAG.match(text)
    if opening is None or _occurs(text, "<!", 0) or _occurs(text, "<?", 2):
        return None
    contents: list[tuple[str, str]] = []
    first, *pieces = text.split("<Contents>")
    rest = [first]
    for piece in pieces:
        inner, end, behind = piece.partition("</Contents>")
        key, key_end, fields = inner.partition("</Key>")
        if not end or not key_end or not key.startswith("<Key>") or "<Key>" in fields:
            return None
        contents.append((key[5:], fields))
        if behind:
            rest.append(behind)
    about = _NOT_XML.sub("\ufffd", "".join(rest))
    first, *pieces = about.split("<CommonPrefixes><Prefix>")
    prefixes, rest = [], [first]
    for piece in pieces:
        prefix, end, behind = piece.partition("</Prefix></CommonPrefixes>")
        if not end:
            return None
        prefixes.append(prefix)
        rest.append(behind)
    names = "".join([*prefixes, *(key for key, _ in contents)])
    if "&" in names or "<" in names:
        return None
    _check_well_formed(text, opening.end(), about, contents)
    element = parse_xml("".join(rest).encode(), root=_ROOT)
    if element.find(".//Contents") is not None or element.find(".//CommonPrefixes") is not None:
        return None
    return contents, prefixes, element


def _occurs(text: str, mark: str, start: int) -> bool:
    """Whether `mark` stands in the text. Its second character hardly ever does, and one is found a hundred times quicker."""
    return text.find(mark[1], start) >= 0 and text.find(mark, start) >= 0


def _check_well_formed(text: str, opening_end: int, about: str, contents: list[tuple[str, str]]) -> None:
    """The document without what is no XML in it, each entry in its place again: as a whole, and so every entry in itself.

    Each entry's fields stand between two tags of their own, so that none can close what another opened.
    """
    entries = "</Contents><Contents>".join([fields for _, fields in contents])
    checked = f"{text[:opening_end]}<Contents>{entries}</Contents>{about[opening_end:]}"
    parser = expat.ParserCreate("utf-8", " ")
    try:
        parser.Parse(checked.encode(), True)
    except expat.ExpatError:
        raise MalformedPage("the origin's listing is not well-formed XML") from None


def _read(text: str) -> tuple[list[tuple[str, str]], list[str], Element]:
    """The same by a parser that builds a tree."""
    root = parse_xml(text.encode(), root=_ROOT)
    contents = []
    for element in root.findall("Contents"):
        fields = [child for child in element if child.tag != "Key"]
        contents.append((only_text(element, "Key") or "", "".join(map(_written, fields))))
        root.remove(element)
    prefixes = [only_text(element, "Prefix") or "" for element in root.findall("CommonPrefixes")]
    return contents, prefixes, root


def _written(element: Element) -> str:
    inner = "".join(map(_written, element)) if len(element) else xml_text(element.text or "")
    return f"<{element.tag}>{inner}</{element.tag}>"


def _decoded(names: list[str]) -> list[str]:
    """Percent-encoded names. AWS S3 and MinIO write a space as `+` and a plus as `%2B`; no server is known that leaves a plus.

    All at once, with a byte between them that is in no UTF-8: ten times as quick as one by one. Raises UnicodeError, and ValueError
    where that byte was in a name.
    """
    if not names:
        return names
    joined = b"\xff".join([name.encode() for name in names]).replace(b"+", b" ")
    decoded = [name.decode() for name in unquote_to_bytes(joined).split(b"\xff")]
    if len(decoded) != len(names):
        raise ValueError("a name is not UTF-8")
    return decoded


def _name(entry: Entry) -> str:
    return entry[0]


def _check(entries: list[Entry], query: OriginQuery) -> None:
    if len(entries) > query.max_keys:
        raise MalformedPage("the origin's listing has more entries than were asked for")
    names = [name for name, _ in entries]
    if any(name >= following for name, following in pairwise(names)):
        raise MalformedPage("the origin's listing is not in UTF-8 byte order")
    if names and not (names[0].startswith(query.prefix) and names[-1].startswith(query.prefix)):
        # All between two names with a prefix have it too.
        raise MalformedPage("the origin's listing leaves the prefix")
    if not query.delimiter:
        if any(fields is None for _, fields in entries):
            raise MalformedPage("the origin's listing has common prefixes that nobody asked for")
        return
    for name, fields in entries:
        if (name if fields is None else None) != common_prefix(name, query.prefix, query.delimiter):
            raise MalformedPage("the origin's listing does not group keys by the delimiter")


@dataclass(frozen=True, slots=True)
class EntryFields:
    """What an entry says of its key: `size` in bytes, `etag` without quotes."""

    size: int
    etag: str
    storage_class: str


def entry_of(fields: str) -> EntryFields:
    """The fields of an `Entry`. Raises ValueError where they are not what S3 lists."""
    try:
        root = parse_xml(f"<Contents>{fields}</Contents>".encode(), root="Contents")
        size, etag = only_text(root, "Size") or "", (only_text(root, "ETag") or "").strip('"')
        storage_class = only_text(root, "StorageClass") or "STANDARD"
    except S3Error:
        raise ValueError("its fields cannot be read") from None
    if not (size.isascii() and size.isdigit() and len(size) < 20):
        raise ValueError("its size is no number")
    return EntryFields(int(size), etag, storage_class)


def common_prefix(name: str, prefix: str, delimiter: str) -> str | None:
    """The common prefix that stands for a key in a listing; None where the key stands for itself."""
    if not delimiter or not name.startswith(prefix):
        return None
    found = name.find(delimiter, len(prefix))
    return name[: found + len(delimiter)] if found >= 0 else None
