"""What faults make of an answer."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.standin.answers import json_answer
from addon.standin.spoil import flipped, without_field

MESSAGE = {"message_id": 5, "document": {"file_id": "x", "file_size": 3}}


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("document", None, {"message_id": 5}),
        ("document.file_size", None, {"message_id": 5, "document": {"file_id": "x"}}),
        ("message_id", 0, {"message_id": 0, "document": MESSAGE["document"]}),
        ("nothing.there", None, MESSAGE),
    ],
)
def test_a_field_is_left_out_or_changed(path: str, value: Any, expected: dict[str, Any]) -> None:
    answer = without_field(json_answer(200, {"ok": True, "result": MESSAGE}), path, value)
    assert json.loads(answer.body)["result"] == expected


def test_a_field_is_left_out_of_each_element() -> None:
    answer = without_field(json_answer(200, {"ok": True, "result": [MESSAGE, MESSAGE]}), "message_id", None)
    assert json.loads(answer.body)["result"] == [{"document": MESSAGE["document"]}] * 2


@settings(deadline=None)
@given(st.binary(max_size=50), st.integers(0, 60), st.integers(0, 60), st.integers(1, 20))
def test_flipping_in_pieces_is_flipping_the_whole(data: bytes, cut: int, offset: int, count: int) -> None:
    whole = flipped(data, 0, offset, count)
    assert flipped(data[:cut], 0, offset, count) + flipped(data[cut:], len(data[:cut]), offset, count) == whole
    assert len(whole) == len(data)
    changed = {position for position in range(len(data)) if data[position] != whole[position]}
    assert changed == set(range(offset, min(offset + count, len(data))))
