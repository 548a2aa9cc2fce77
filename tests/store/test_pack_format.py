"""A pack is a ZIP file that any program opens, and tells everything of what is in it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.store.pack_format import (
    PACK_ITEMS_MAX,
    TAIL_BYTES,
    ItemAbout,
    ItemKind,
    NotAPack,
    Pack,
    PackHead,
    PackItem,
    frame_bytes_max,
    item_bytes_max,
    manifest_place,
    read_manifest,
    read_pack,
    write_pack,
)
from addon.store.pack_names import MANIFEST_NAME, NAME_BYTES_MAX, SEGMENT_BYTES_MAX
from addon.store.records import BLOCK_BYTES, ObjectPart, ObjectRecord, Provenance, Tombstone
from addon.store.told_states import ToldExtent, ToldObject, ToldState, state_text, whole_state

HEAD = PackHead(number=17, document_id="d" * 32, settled_up_to=12, as_of=20, under_way=(13, 17))

# What has been trouble to unzip programs, and what is a folder in one key and a file in another.
NASTY_KEYS = [
    "a", "a/b", "a/b/c", "A", "../../etc/passwd", "/etc/passwd", "..", ".", "", "/", "//", "a//b", "folder/", "c:\\windows",
    "~/.ssh", "con", "aux.txt", "LPT1", "trailing.", "trailing ", " leading", "new\nline", "nul\0", "\x7f", "\u202egnp.exe",
    "tgstore.json", "é", "e\u0301", "\ufb01le", "file", "Straße", "STRASSE", "%2e%2e/x",
    "a?b*c|d<e>f\"g", "😀" * 100, "x" * 1024, "日" * 341,
    "seg/" * 256, "." * 300, "-rf", "--help", "$(id)", "`id`", "b\\..\\c", "a~2", "\ud7ff\ue000\uffff",
]  # fmt: skip

keys = st.one_of(
    st.sampled_from(NASTY_KEYS).filter(bool),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
    st.text(st.sampled_from("aA./\\~% \0é"), min_size=1, max_size=40),
)
buckets = st.sampled_from(["images", "a", "tgstore.json", "con", "a..b", "x-y.z"])


def item(key: str, content: bytes, *, bucket: str = "images", kind: ItemKind = ItemKind.OBJECT) -> PackItem:
    blocks = [content[start : start + BLOCK_BYTES] for start in range(0, len(content), BLOCK_BYTES)]
    sha256s = b"".join(hashlib.sha256(block).digest() for block in blocks)
    about = ItemAbout(bucket, key, kind, len(content), etag=hashlib.md5(content).hexdigest(), last_modified_s=1)
    return PackItem(about, content, len(content), sha256s)


def packed(*items: PackItem, states: tuple[str, ...] = (), padding: int = 0) -> bytes:
    out = io.BytesIO()
    write_pack(out, HEAD, items, states, padding=padding)
    return out.getvalue()


@settings(max_examples=60, deadline=None)
@given(
    entries=st.lists(st.tuples(buckets, keys, st.binary(min_size=1, max_size=50)), max_size=30),
    padding=st.integers(0, 100),
)
def test_any_keys_come_back_and_any_program_finds_them(entries: list[tuple[str, str, bytes]], padding: int) -> None:
    items = [item(key, content, bucket=bucket) for bucket, key, content in entries]
    whole = packed(*items, padding=padding)
    pack = read_pack(whole)
    assert pack.head == HEAD
    assert [(one.about.bucket, one.about.key) for one in pack.items] == [(bucket, key) for bucket, key, _ in entries]
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [*(one.name for one in pack.items), MANIFEST_NAME]
        for one, (_, _, content) in zip(pack.items, entries, strict=True):
            assert whole[one.offset : one.offset + one.length] == content == archive.read(one.name)
            assert one.sha256 == hashlib.sha256(content).hexdigest()
    assert_safe([one.name for one in pack.items])
    assert len(whole) <= frame_bytes_max(padding) + sum(map(item_bytes_max, items))


def assert_safe(names: list[str]) -> None:
    folders = {name[:place].casefold() for name in names for place in range(len(name)) if name[place] == "/"}
    assert len({name.casefold() for name in (*names, MANIFEST_NAME)}) == len(names) + 1
    for name in names:
        assert name.casefold() not in folders
        assert name.isprintable()
        assert len(name.encode()) <= 2 * NAME_BYTES_MAX
        for segment in name.split("/"):
            assert segment.strip(".")
            assert len(segment.encode()) <= SEGMENT_BYTES_MAX
            assert not set(segment) & set('\\:*?"<>|')
            assert segment[-1] not in ". "
            assert segment[0] != " "


def test_the_real_unzip_finds_the_right_files(tmp_path: Path) -> None:
    """Info-ZIP's, where it is there; else Python's."""
    items = [item(key, key.encode() + bytes([number])) for number, key in enumerate(NASTY_KEYS) if key]
    path, folder = tmp_path / "pack.zip", tmp_path / "out"
    path.write_bytes(packed(*items, padding=1000))
    program = shutil.which("unzip")
    if program is not None:
        done = subprocess.run(
            [program, "-o", str(path), "-d", str(folder)],
            capture_output=True,
            timeout=60,
            env={"LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stderr + done.stdout[-2000:]
    else:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
    found = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    told = json.loads(found.pop(MANIFEST_NAME))
    assert found == {one["name"]: item.content for one, item in zip(told["items"], items, strict=True)}
    assert [path.name for path in tmp_path.iterdir()] in (["pack.zip", "out"], ["out", "pack.zip"])


def test_an_item_comes_from_a_file_of_which_only_the_beginning_counts(tmp_path: Path) -> None:
    path = tmp_path / "content"
    path.write_bytes(b"0123456789")
    whole = packed(replace(item("k", b"01234"), content=path))
    (one,) = read_pack(whole).items
    assert whole[one.offset : one.offset + one.length] == b"01234"
    path.write_bytes(b"01")
    with pytest.raises(OSError, match="lacks 3 bytes"):
        packed(replace(item("k", b"01234"), content=path))


def test_everything_that_is_known_of_an_item_comes_back() -> None:
    extent = ToldExtent("e" * 32, 5, BLOCK_BYTES + 1, bytes(range(64)))
    about = ItemAbout(
        bucket="images",
        key="k\0\u20ac",
        kind=ItemKind.PART,
        size=BLOCK_BYTES + 6,
        etag="etag-2",
        last_modified_s=1_700_000_000,
        provenance=Provenance.COPIED_FROM_ORIGIN,
        anonymous_read=True,
        headers={"content-type": "image/png", "x-amz-meta-a": "\ud800"},
        checksums={"crc32": "AAAAAA=="},
        tags={"t": "é"},
        before=(extent,),
        upload_id="u",
        part_number=3,
    )
    (one,) = read_pack(packed(replace(item("k", b"12345"), about=about))).items
    assert one.about == about


def record(**more: object) -> ObjectRecord:
    return ObjectRecord("images", "k", 9, 12, "etag", 1, Provenance.WRITTEN_HERE, False, **more)  # type: ignore[arg-type]


def test_states_come_back() -> None:
    extents = tuple(ToldExtent(f"d{number}", number, 1, bytes([number]) * 32) for number in range(5))
    parts = tuple(ObjectPart(number, 5, {"crc32": "x"}) for number in range(1, 4))
    whole = record(
        headers={"content-type": "a"}, checksums={"sha1": "b"}, tags={"c": "d"}, parts_count=3, checked_at_s=7
    )
    told = [
        ToldState("images", "k", 9, ToldObject(whole, extents, parts), telling=17),
        ToldState("images", "gone", 10, Tombstone("images", "gone", 10, 99), telling=17),
        ToldState("images", "unknown\n", 11, None, telling=17),
    ]
    assert list(read_pack(packed(states=tuple(map(state_text, told)))).states) == told


def test_the_pieces_of_a_state_are_put_together() -> None:
    extents = tuple(ToldExtent("d", number, 1, b"") for number in range(6))
    parts = (ObjectPart(1, 6, {}),)
    pieces = [
        ToldState("images", "k", 9, ToldObject(record(), extents[:2], ()), telling=3, piece=0, last=False),
        ToldState("images", "k", 9, ToldObject(record(), extents[2:6], ()), telling=3, piece=1, last=False),
        ToldState("images", "k", 9, ToldObject(record(), (), parts), telling=3, piece=2, last=True),
    ]
    expected = ToldState("images", "k", 9, ToldObject(record(), extents, parts), telling=3)
    assert whole_state([pieces[2], pieces[0], pieces[1], pieces[0]]) == expected
    for missing in range(3):
        with pytest.raises(ValueError, match="not all there"):
            whole_state(pieces[:missing] + pieces[missing + 1 :])
    with pytest.raises(ValueError, match="not all there"):
        whole_state([*pieces[:2], replace(pieces[2], telling=4)])


def test_what_is_no_pack_is_refused() -> None:
    whole = packed(item("k", b"content"))
    offset, length = manifest_place(whole[-TAIL_BYTES:])
    assert read_manifest(whole[offset : offset + length]) == read_pack(whole)
    for wrong in (b"", whole[:-1], b"\0" * TAIL_BYTES, whole[:50]):
        with pytest.raises(NotAPack):
            read_pack(wrong)
    for manifest in (b"", b"[]", b"{}", b'{"tgstore_pack":2}', b"[" * 100_000, whole[offset : offset + length - 40]):
        with pytest.raises(NotAPack):
            read_manifest(manifest)


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_damaged_manifest_is_read_or_refused(place: int, value: int) -> None:
    whole = packed(item("k", b"content"), states=(state_text(ToldState("b", "k", 1, None, 17)),))
    offset, length = manifest_place(whole[-TAIL_BYTES:])
    manifest = bytearray(whole[offset : offset + length])
    manifest[place % length] = value
    with contextlib.suppress(NotAPack):
        assert isinstance(read_manifest(bytes(manifest)), Pack)


def test_more_items_than_a_pack_takes_are_refused() -> None:
    one = item("k", b"c")
    with pytest.raises(ValueError, match="takes"):
        packed(*[one] * (PACK_ITEMS_MAX + 1))


def test_many_versions_of_one_key_are_named_in_no_time() -> None:
    one = item("k", b"c")
    names = [told.name for told in read_pack(packed(*[one] * PACK_ITEMS_MAX)).items]
    assert names[:2] == ["images/k", "images~2/k"]
    assert len(set(names)) == PACK_ITEMS_MAX
