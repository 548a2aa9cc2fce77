"""The conditions of writes and deletes: each header and spelling, and what S3 takes on neither."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.errors import S3Error
from addon.s3.write_conditions import WantedState, entity_tag, wanted_by_delete, wanted_by_write

ETAG = "9e107d9d372bb6826bd81d3542a419d6"
DATE, DATE_S = "Tue, 14 Nov 2023 22:13:20 GMT", 1_700_000_000


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ([], None),
        ([("x-amz-if-match-size", "5"), ("if-modified-since", DATE)], None),
        ([("if-none-match", "*")], WantedState(absent=True)),
        ([("if-none-match", " *\t")], WantedState(absent=True)),
        ([("if-match", f'"{ETAG}"')], WantedState(etag=ETAG)),
        ([("if-match", ETAG)], WantedState(etag=ETAG)),
        ([("if-match", f' "{ETAG}-3" ')], WantedState(etag=f"{ETAG}-3")),
    ],
)
def test_conditions_of_writes(headers: list[tuple[str, str]], wanted: WantedState | None) -> None:
    assert wanted_by_write(headers) == wanted


@pytest.mark.parametrize(
    ("headers", "code", "header"),
    [
        ([("if-none-match", f'"{ETAG}"')], "NotImplemented", "If-None-Match"),
        ([("if-none-match", "")], "NotImplemented", "If-None-Match"),
        ([("if-none-match", '"*"')], "NotImplemented", "If-None-Match"),
        ([("if-match", "*")], "NotImplemented", "If-Match"),
        ([("if-match", ETAG), ("if-none-match", "*")], "NotImplemented", "If-Match,If-None-Match"),
        ([("if-none-match", "*"), ("if-none-match", "*")], "InvalidArgument", None),
        ([("if-match", ETAG), ("if-match", "other")], "InvalidArgument", None),
    ],
)
def test_conditions_that_writes_do_not_take(headers: list[tuple[str, str]], code: str, header: str | None) -> None:
    with pytest.raises(S3Error) as refused:
        wanted_by_write(headers)
    assert (refused.value.code, refused.value.details.get("Header")) == (code, header)


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ([], None),
        ([("if-none-match", "*")], None),
        ([("if-match", "*")], WantedState(etag="*")),
        ([("if-match", f'"{ETAG}"')], WantedState(etag=ETAG)),
        ([("x-amz-if-match-size", "0")], WantedState(size=0)),
        ([("x-amz-if-match-last-modified-time", DATE)], WantedState(last_modified_s=DATE_S)),
        (
            [("if-match", ETAG), ("x-amz-if-match-size", "17"), ("x-amz-if-match-last-modified-time", DATE)],
            WantedState(etag=ETAG, size=17, last_modified_s=DATE_S),
        ),
    ],
)
def test_conditions_of_deletes(headers: list[tuple[str, str]], wanted: WantedState | None) -> None:
    assert wanted_by_delete(headers) == wanted


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("x-amz-if-match-size", value) for value in ("", "-1", "+5", "5.0", "0x5", "\u0665", "9" * 20)),
        *(("x-amz-if-match-last-modified-time", value) for value in ("", "yesterday", "2023-11-14")),
    ],
)
def test_conditions_of_deletes_that_are_none(name: str, value: str) -> None:
    with pytest.raises(S3Error) as refused:
        wanted_by_delete([(name, value)])
    assert (refused.value.code, refused.value.details["ArgumentName"]) == ("InvalidArgument", name)


@pytest.mark.parametrize("name", ["if-match", "x-amz-if-match-size", "x-amz-if-match-last-modified-time"])
def test_a_condition_of_a_delete_that_stands_twice_is_refused(name: str) -> None:
    with pytest.raises(S3Error) as refused:
        wanted_by_delete([(name, "1"), (name, "1")])
    assert refused.value.code == "InvalidArgument"


@pytest.mark.parametrize("text", ['"*"', f'W/"{ETAG}"', f'"{ETAG}", "b"', '""', '"', "", f'"{ETAG}', f'""{ETAG}""'])
def test_what_is_no_entity_tag_equals_none(text: str) -> None:
    assert entity_tag(text) not in ("*", ETAG)


@given(st.text(alphabet='"*Wa/ ,', max_size=6))
def test_any_object_is_never_meant_by_a_spelling_other_than_the_star(text: str) -> None:
    if text.strip(" ") != "*":
        assert entity_tag(text) != "*"
