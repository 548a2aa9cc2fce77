"""The sealed format: its vectors, computed anew without our code; and what is refused."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM
from hypothesis import given
from hypothesis import strategies as st

from addon.store.ports import KeyMissing
from addon.store.records import Document
from addon.store.seal_format import (
    HEADER_BYTES_MAX,
    HEADER_BYTES_MIN,
    TAG_BYTES,
    Header,
    NotSealed,
    Seal,
    content_bytes,
    content_bytes_max,
)
from addon.store.sealed_files import open_file, seal_file
from addon.store.sealing import MasterKeys, SealedDocument, WrongSeal, key_id_of, new_master_key

ROOT = Path(__file__).parents[2]
VECTORS = json.loads((ROOT / "tests/vectors/sealing/format-1.json").read_text())["documents"]
KEY, OTHER_KEY = bytes(range(32)), bytes(32)
contents = st.binary(min_size=1, max_size=100)
segment_sizes = st.integers(1, 40)


def hkdf(key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 for up to 32 bytes, by hand."""
    extracted = hmac.digest(salt or bytes(32), key, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)[:length]


def aes_gcm(key: bytes, nonce: bytes, content: bytes, about: bytes) -> bytes:
    encryptor = Cipher(AES(key), GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(about)
    return encryptor.update(content) + encryptor.finalize() + encryptor.tag


def header_of(vector: dict[str, Any]) -> Header:
    seal = Seal(vector["key_id"], bytes.fromhex(vector["salt"]))
    return Header(vector["document_id"], seal, vector["segment_bytes"], len(vector["content"]) // 2)


def sealer(content: bytes, segment_bytes: int, *, document_id: str = "doc", key: bytes = KEY) -> SealedDocument:
    keys = MasterKeys(key)
    return keys.document(Header(document_id, keys.new_seal(), segment_bytes, len(content)))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_vector_computed_from_the_primitives_alone(vector: dict[str, Any]) -> None:
    master, salt = bytes.fromhex(vector["master_key"]), bytes.fromhex(vector["salt"])
    document_id, content = vector["document_id"].encode(), bytes.fromhex(vector["content"])
    size = vector["segment_bytes"]
    key_id = hkdf(master, b"", b"tgstore 1 key id", 8)
    assert key_id.hex() == vector["key_id"]
    header = b"".join(
        (
            b"TGSEALED",
            (1).to_bytes(4, "big"),
            size.to_bytes(4, "big"),
            key_id,
            salt,
            len(content).to_bytes(8, "big"),
            bytes([len(document_id)]),
            document_id,
        )
    )
    key = hkdf(master, document_id, b"tgstore 1 document" + salt, 32)
    segments = [
        aes_gcm(key, number.to_bytes(12, "big"), content[start : start + size], header)
        for number, start in enumerate(range(0, len(content), size))
    ]
    assert (header + b"".join(segments)).hex() == vector["sealed"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_vector_is_sealed_and_opened_so(vector: dict[str, Any]) -> None:
    content, sealed = bytes.fromhex(vector["content"]), bytes.fromhex(vector["sealed"])
    document = MasterKeys(bytes.fromhex(vector["master_key"])).document(header_of(vector))
    assert document.sealed(content) == sealed
    assert document.opened(sealed) == content
    assert Header.parsed(sealed[:HEADER_BYTES_MAX]) == header_of(vector)


def test_the_documentation_shows_the_first_vector() -> None:
    shown = (ROOT / "docs/encryption.md").read_text().partition("## Test vectors")[2]
    first = VECTORS[0]
    for name in ("master_key", "key_id", "document_id", "salt", "segment_bytes", "content", "sealed"):
        assert f" {first[name]}\n" in shown, name


@given(contents, segment_sizes, st.text(min_size=1, max_size=20))
def test_what_was_sealed_is_opened(content: bytes, segment_bytes: int, document_id: str) -> None:
    document = sealer(content, segment_bytes, document_id=document_id)
    sealed = document.sealed(content)
    assert document.opened(sealed) == content
    header = document.header
    assert len(sealed) == header.document_bytes
    stored = Document(document_id, -1, 2, 3, "file", "unique", len(sealed), header.seal.name, segment_bytes)
    assert Header.of(stored) == Header.parsed(sealed) == header
    assert content_bytes(stored) == len(content)


@given(contents, segment_sizes, st.data())
def test_a_bit_flipped_anywhere_is_refused(content: bytes, segment_bytes: int, data: st.DataObject) -> None:
    document = sealer(content, segment_bytes)
    sealed = bytearray(document.sealed(content))
    at = data.draw(st.integers(0, 8 * len(sealed) - 1))
    sealed[at // 8] ^= 1 << at % 8
    with pytest.raises(WrongSeal):
        document.opened(bytes(sealed))


@given(contents, segment_sizes, st.data())
def test_a_bit_flipped_anywhere_is_refused_by_who_trusts_the_header(
    content: bytes, segment_bytes: int, data: st.DataObject
) -> None:
    sealed = bytearray(sealer(content, segment_bytes).sealed(content))
    at = data.draw(st.integers(0, 8 * len(sealed) - 1))
    sealed[at // 8] ^= 1 << at % 8
    with pytest.raises((WrongSeal, NotSealed, KeyMissing)):
        MasterKeys(KEY).document(Header.parsed(sealed)).opened(bytes(sealed))


@given(contents, segment_sizes, st.data())
def test_what_was_cut_off_or_added_is_refused(content: bytes, segment_bytes: int, data: st.DataObject) -> None:
    document = sealer(content, segment_bytes)
    sealed = document.sealed(content)
    with pytest.raises(WrongSeal):
        document.opened(sealed[: data.draw(st.integers(0, len(sealed) - 1))])
    with pytest.raises(WrongSeal):
        document.opened(sealed + data.draw(st.binary(min_size=1, max_size=40)))


@given(st.binary(min_size=2, max_size=100), st.data())
def test_a_segment_belongs_to_its_place_its_document_and_its_length(content: bytes, data: st.DataObject) -> None:
    segment_bytes = data.draw(st.integers(1, len(content) - 1))
    document = sealer(content, segment_bytes)
    number = data.draw(st.integers(0, document.header.segments - 1))
    segment = document.seal(number, content[number * segment_bytes : (number + 1) * segment_bytes])
    with pytest.raises(WrongSeal):
        document.open(number + 1, segment)
    seal = document.header.seal
    for other in (
        Header("other", seal, segment_bytes, len(content)),
        Header("doc", Seal(seal.key_id, bytes(16)), segment_bytes, len(content)),
        Header("doc", seal, segment_bytes, len(content) - 1),
        Header("doc", seal, segment_bytes + 1, len(content)),
    ):
        with pytest.raises(WrongSeal):
            MasterKeys(KEY).document(other).open(number, segment)


def test_the_same_bytes_under_the_same_id_are_never_sealed_alike() -> None:
    content = bytes(32)
    one, other = sealer(content, 16).sealed(content), sealer(content, 16).sealed(content)
    place = HEADER_BYTES_MIN + len("doc")
    assert one[place:] != other[place:]
    assert one[place : place + 32] != one[place + 32 : place + 64]


def test_another_key_is_missing_and_a_former_one_opens() -> None:
    document = sealer(b"content", 4)
    with pytest.raises(KeyMissing, match=key_id_of(KEY)):
        MasterKeys(OTHER_KEY).document(document.header)
    rotated = MasterKeys(OTHER_KEY, [KEY])
    assert rotated.document(document.header).opened(document.sealed(b"content")) == b"content"
    assert rotated.new_seal().key_id == key_id_of(OTHER_KEY)
    assert rotated.key_ids == {key_id_of(KEY), key_id_of(OTHER_KEY)}


def test_without_a_key_for_what_is_new_nothing_is_sealed() -> None:
    assert MasterKeys(None, [KEY]).key_id is None
    with pytest.raises(ValueError, match="no key"):
        MasterKeys(None, [KEY]).new_seal()


def test_a_new_key_is_a_key() -> None:
    assert MasterKeys(new_master_key()).key_id != MasterKeys(new_master_key()).key_id
    with pytest.raises(ValueError, match="32 bytes"):
        MasterKeys(bytes(31))


@given(st.integers(1, 400), segment_sizes)
def test_a_size_that_no_sealed_document_has_is_refused(size: int, segment_bytes: int) -> None:
    stored = Document("doc", -1, 2, 3, "file", "unique", size, Seal("0" * 16, bytes(16)).name, segment_bytes)
    possible = {Header("doc", Seal("0" * 16, bytes(16)), segment_bytes, n).document_bytes for n in range(1, 400)}
    if size in possible:
        assert Header.of(stored).document_bytes == size
    else:
        with pytest.raises(ValueError, match=r"size|nothing"):
            Header.of(stored)


@given(st.integers(HEADER_BYTES_MAX + 20, 10**6), st.integers(1, 70_000), st.integers(1, 3))
def test_what_is_said_to_fit_fits(document_bytes: int, segment_bytes: int, larger: int) -> None:
    fits = content_bytes_max(document_bytes, segment_bytes)
    if fits >= 1:
        header = Header("d" * 255, Seal("0" * 16, bytes(16)), segment_bytes * larger, fits)
        assert header.document_bytes <= document_bytes


def test_hardly_anything_is_lost_of_a_document() -> None:
    assert content_bytes_max(20_000_000, 65_536) > 20_000_000 - 5500


@pytest.mark.parametrize("start", [b"", b"PK\x03\x04" + bytes(60), b"TGSEALED" + bytes(30)])
def test_what_is_not_sealed_is_said_to_be_so(start: bytes) -> None:
    with pytest.raises(NotSealed):
        Header.parsed(start)


@given(st.binary(max_size=400))
def test_a_header_of_anything_is_a_header_or_said_to_be_none(start: bytes) -> None:
    with contextlib.suppress(NotSealed):
        header = Header.parsed(b"TGSEALED\0\0\0\1" + start)
        assert header.document_bytes > header.content_bytes


def test_a_newer_version_of_the_format_is_said_to_be_one() -> None:
    sealed = bytearray(sealer(b"content", 4).sealed(b"content"))
    sealed[11] = 2
    with pytest.raises(NotSealed, match="version 2"):
        Header.parsed(sealed)


@pytest.mark.parametrize("content", [b"x", b"x" * 16, b"x" * 100])
@pytest.mark.parametrize("in_file", [True, False])
def test_files_are_sealed_and_opened(tmp_path: Path, content: bytes, in_file: bool) -> None:
    (tmp_path / "plain").write_bytes(content + b"behind")
    document = sealer(content, 16)
    seal_file(document, tmp_path / "plain" if in_file else content, tmp_path / "sealed")
    assert (tmp_path / "sealed").read_bytes() == document.sealed(content)
    assert open_file(MasterKeys(KEY), tmp_path / "sealed", tmp_path / "opened") == document.header
    assert (tmp_path / "opened").read_bytes() == content


def test_a_file_that_is_shorter_than_was_said_is_not_sealed(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(bytes(15))
    with pytest.raises(ValueError, match="missing"):
        seal_file(sealer(bytes(16), 4), tmp_path / "plain", tmp_path / "sealed")


@pytest.mark.parametrize(
    "change", [lambda sealed: sealed[:-1], lambda sealed: sealed + b"x", lambda sealed: sealed[:60]]
)
def test_a_file_that_is_cut_off_or_has_more_is_refused(tmp_path: Path, change: Any) -> None:
    sealed = sealer(bytes(100), 16).sealed(bytes(100))
    (tmp_path / "sealed").write_bytes(change(sealed))
    with pytest.raises(WrongSeal):
        open_file(MasterKeys(KEY), tmp_path / "sealed", tmp_path / "opened")


def test_every_segment_has_a_tag() -> None:
    header = sealer(bytes(100), 16).header
    assert header.document_bytes == HEADER_BYTES_MIN + 3 + 100 + 7 * TAG_BYTES
