"""Captions: read plain, sealed and opened; their vectors, computed anew without our code."""

from __future__ import annotations

import base64
import contextlib
import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.store import layout
from addon.store.captions import CAPTION_CHARS_MAX, PLAIN_CHARS_MAX, Caption, open_caption, seal_caption
from addon.store.ports import KeyMissing
from addon.store.sealing import MasterKeys, WrongSeal
from tests.store.test_sealing import KEY, OTHER_KEY, ROOT, aes_gcm, hkdf

VECTORS = json.loads((ROOT / "tests/vectors/sealing/format-1.json").read_text())["captions"]
PLAIN = layout.caption(
    document_id="0123456789abcdef0123456789abcdef",
    bucket="images",
    key="a key",
    offset=5 << 30,
    length=20_000_000,
    block_sha256s=bytes(32),
)


def sealed(plain: str, keys: MasterKeys, segment_bytes: int = 65_536) -> str:
    return seal_caption(keys, keys.new_seal(), plain, segment_bytes=segment_bytes)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_vector_computed_from_the_primitives_alone(vector: dict[str, Any]) -> None:
    master, salt = bytes.fromhex(vector["master_key"]), bytes.fromhex(vector["salt"])
    nonce = bytes.fromhex(vector["nonce"])
    head = b"\x01" + hkdf(master, b"", b"tgstore 1 key id", 8) + salt + vector["segment_bytes"].to_bytes(4, "big")
    key = hkdf(master, salt, b"tgstore 1 caption", 32)
    whole = head + nonce + aes_gcm(key, nonce, vector["plain"].encode(), head)
    assert vector["caption"] == "tgstore2:" + base64.urlsafe_b64encode(whole).decode().rstrip("=")
    opened = open_caption(MasterKeys(master), vector["caption"])
    assert opened is not None
    assert opened.about == json.loads(vector["plain"])
    assert opened.segment_bytes == vector["segment_bytes"]


def test_a_plain_caption_is_read() -> None:
    assert open_caption(MasterKeys(), PLAIN) == Caption(json.loads(PLAIN))


@pytest.mark.parametrize("caption", ["", "hello", "[1]", "7", '{"a":1}', "{" * 1000, "[" * 1000])
def test_what_is_not_ours_is_told_from_what_is(caption: str) -> None:
    assert open_caption(MasterKeys(KEY), caption) is None


@pytest.mark.parametrize("segment_bytes", [0, 65_536])
def test_a_sealed_one_tells_how_its_document_is_sealed(segment_bytes: int) -> None:
    keys = MasterKeys(KEY)
    seal = keys.new_seal()
    caption = seal_caption(keys, seal, PLAIN, segment_bytes=segment_bytes)
    key_id = seal.name if segment_bytes else ""
    assert open_caption(keys, caption) == Caption(json.loads(PLAIN), key_id, segment_bytes)


def test_the_longest_one_fits_and_a_longer_one_is_refused() -> None:
    keys = MasterKeys(KEY)
    longest = json.dumps({"tgstore": 1, "x": ""})
    longest = longest[:-2] + "x" * (PLAIN_CHARS_MAX - len(longest)) + longest[-2:]
    caption = sealed(longest, keys)
    assert len(caption) <= CAPTION_CHARS_MAX
    assert open_caption(keys, caption) is not None
    with pytest.raises(ValueError, match=str(PLAIN_CHARS_MAX)):
        sealed(longest + " ", keys)
    with pytest.raises(ValueError, match="ASCII"):
        sealed("é", keys)


def test_what_we_say_of_a_document_fits() -> None:
    assert len(PLAIN) < PLAIN_CHARS_MAX // 2


def test_a_sealed_one_shows_nothing_and_is_never_the_same() -> None:
    keys = MasterKeys(KEY)
    seal = keys.new_seal()
    one, other = (seal_caption(keys, seal, PLAIN, segment_bytes=16) for _ in range(2))
    assert one[80:] != other[80:]
    assert one.isascii()
    assert b"tgstore" not in base64.urlsafe_b64decode(one[9:] + "==")


@given(st.integers(0, 10_000), st.sampled_from(string.ascii_letters + string.digits + "-_ ="))
def test_a_character_changed_anywhere_is_refused(at: int, character: str) -> None:
    keys = MasterKeys(KEY)
    caption = sealed(PLAIN, keys)
    at = len("tgstore2:") + at % (len(caption) - len("tgstore2:"))
    changed = caption[:at] + character + caption[at + 1 :]
    if changed != caption:
        with pytest.raises((WrongSeal, KeyMissing)):
            open_caption(keys, changed)


@given(st.text(max_size=200), st.booleans())
def test_of_anything_nothing_but_an_answer_or_a_refusal_comes(text: str, claims_to_be_sealed: bool) -> None:
    with contextlib.suppress(WrongSeal, KeyMissing):
        opened = open_caption(MasterKeys(KEY), "tgstore2:" * claims_to_be_sealed + text)
        assert opened is None or opened.about


@pytest.mark.parametrize("end", [9, 10, 40, 80, -4, -1])
def test_one_that_is_cut_off_is_refused(end: int) -> None:
    keys = MasterKeys(KEY)
    with pytest.raises(WrongSeal):
        open_caption(keys, sealed(PLAIN, keys)[:end])


def test_another_key_is_missing_and_a_former_one_opens() -> None:
    caption = sealed(PLAIN, MasterKeys(KEY))
    with pytest.raises(KeyMissing):
        open_caption(MasterKeys(OTHER_KEY), caption)
    assert open_caption(MasterKeys(OTHER_KEY, [KEY]), caption) is not None
