"""file_id and file_unique_id."""

import re
from base64 import urlsafe_b64decode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.standin.identifiers import (
    FileReference,
    NotAFileId,
    make_file_id,
    make_unique_id,
    message_nonce,
    read_file_id,
)

SECRET = b"s" * 32


def reference(bot_id: int = 1, document_id: int = 2, *parts: int) -> FileReference:
    return FileReference(bot_id, document_id, message_nonce(SECRET, bot_id, document_id, *parts), "document")


@settings(deadline=None)
@given(st.integers(1, 2**62), st.integers(1, 2**62))
def test_a_file_id_looks_like_telegrams_and_is_read_back(bot_id: int, document_id: int) -> None:
    made = reference(bot_id, document_id)
    text = make_file_id(SECRET, made)
    assert re.fullmatch(r"BQACAgI[A-Za-z0-9_-]{53,83}", text)
    assert urlsafe_b64decode(text + "=" * (-len(text) % 4))[-1] == 4
    assert read_file_id(SECRET, text) == made
    assert re.fullmatch(r"AgAD[A-Za-z0-9_-]{12}", make_unique_id(SECRET, document_id))


def test_a_file_id_differs_by_bot_and_message_but_its_file_is_one() -> None:
    texts = {make_file_id(SECRET, reference(bot, 5, message)) for bot in (1, 2) for message in (1, 2)}
    assert len(texts) == 4


def test_a_file_id_of_another_world_has_the_form_and_no_use() -> None:
    assert read_file_id(SECRET, make_file_id(b"t" * 32, reference())) is None


@settings(deadline=None)
@given(st.integers(0, 71), st.sampled_from("ABCxyz019_-"))
def test_a_changed_file_id_is_never_taken(position: int, character: str) -> None:
    text = make_file_id(SECRET, reference())
    changed = text[:position] + character + text[position + 1 :]
    if changed == text:
        return
    try:
        assert read_file_id(SECRET, changed) is None
    except NotAFileId:
        return


@pytest.mark.parametrize("text", ["garbage", "", "AgADBAAD", "ü", "BQACAgI!", "BQACAgIAAAAAAAAAAAAAAAAAAAAAAA"])
def test_garbage_is_no_file_id(text: str) -> None:
    with pytest.raises(NotAFileId):
        read_file_id(SECRET, text)
