"""Which answers about a document are accepted."""

from __future__ import annotations

from typing import Any

import pytest

from addon.telegram.answers import FileLink, Rejected, SentFile, file_link, sent_file

CHAT, SIZE = -1001, 500
FILE = {"file_id": "F", "file_unique_id": "U", "file_size": SIZE}
GOOD = {"message_id": 7, "chat": {"id": CHAT, "type": "channel"}, "document": FILE}


def changed(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in {**GOOD, **fields}.items() if value is not None}


@pytest.mark.parametrize("field", ["document", "animation", "video", "audio", "voice", "sticker"])
def test_any_media_field_with_the_right_size_is_accepted(field: str) -> None:
    answer = {"message_id": 7, "chat": {"id": CHAT}, field: FILE}
    assert sent_file(answer, chat_id=CHAT, size=SIZE) == SentFile(CHAT, 7, "F", "U", SIZE)


def test_of_two_media_fields_the_one_with_the_right_size_counts() -> None:
    smaller = {"file_id": "G", "file_unique_id": "V", "file_size": 3}
    found = sent_file(changed(document=smaller, animation=FILE), chat_id=CHAT, size=SIZE)
    assert isinstance(found, SentFile)
    assert found.file_id == "F"


def test_a_missing_size_is_left_to_be_asked_for() -> None:
    found = sent_file(changed(document={"file_id": "F", "file_unique_id": "U"}), chat_id=CHAT, size=SIZE)
    assert isinstance(found, SentFile)
    assert found.size is None


@pytest.mark.parametrize(
    ("answer", "deletable"),
    [
        (None, False),
        (True, False),
        ([GOOD], False),
        ({}, False),
        (changed(chat=None), False),
        (changed(chat=CHAT), False),
        (changed(chat={"id": -1002}), False),
        (changed(chat={"id": str(CHAT)}), False),
        (changed(message_id=None), False),
        (changed(message_id=0), False),
        (changed(message_id=-5), False),
        (changed(message_id=True), False),
        (changed(message_id="7"), False),
        (changed(document=None), True),
        (changed(document=None, photo=[FILE]), True),
        (changed(document="F"), True),
        (changed(document={**FILE, "file_size": SIZE - 1}), True),
        (changed(document={**FILE, "file_id": ""}), True),
        (changed(document={**FILE, "file_id": None}), True),
        (changed(document={"file_id": "F", "file_size": SIZE}), True),
    ],
)
def test_anything_else_is_rejected_and_only_a_message_that_is_ours_is_named_for_deletion(
    answer: Any, deletable: bool
) -> None:
    found = sent_file(answer, chat_id=CHAT, size=SIZE)
    assert isinstance(found, Rejected)
    assert (found.chat_id, found.message_id) == ((CHAT, 7) if deletable else (0, 0))


@pytest.mark.parametrize(
    ("answer", "link"),
    [
        ({"file_path": "documents/f.bin", "file_size": 5}, FileLink("documents/f.bin", 5)),
        ({"file_path": "documents/f.bin"}, FileLink("documents/f.bin", None)),
        ({"file_path": "documents/f.bin", "file_size": "5"}, FileLink("documents/f.bin", None)),
        ({"file_path": ""}, None),
        ({"file_size": 5}, None),
        (True, None),
        (None, None),
    ],
)
def test_a_file_link_needs_a_path(answer: Any, link: FileLink | None) -> None:
    assert file_link(answer) == link
