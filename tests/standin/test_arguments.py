"""How arguments are read."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.standin.arguments import (
    merge,
    parse_disposition,
    parse_json_object,
    parse_urlencoded,
    read_bool,
    read_chat_id,
    read_integer,
    read_message_ids,
    require_increasing,
)
from addon.standin.failures import ApiError, BareError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        (" YES ", True),
        ("1", True),
        ("True", True),
        ("on", False),
        ("2", False),
        ("", False),
        ("no", False),
    ],
)
def test_booleans(text: str, value: bool) -> None:
    assert read_bool(text) is value


@pytest.mark.parametrize(("text", "value"), [("12", 12), ("-7", -7), ("12abc", 12), ("abc", 0), ("", 0), (" 5", 0)])
def test_integers_are_read_from_the_front(text: str, value: int) -> None:
    assert read_integer(text) == value


@pytest.mark.parametrize(
    ("text", "value"), [("-1001", -1001), ("@Name", "name"), ("12x", None), ("name", None), ("@", None), ("5", 5)]
)
def test_chat_ids(text: str, value: int | str | None) -> None:
    assert read_chat_id(text) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "message identifiers are not specified"),
        ("[", "can't parse message_ids JSON object"),
        ("5", "expected an Array of message identifiers"),
        ("[null]", "message identifier must be a Number"),
        ("[true]", "message identifier must be a Number"),
        ('["x"]', "can't parse message identifier as a Number"),
        ("[0]", "invalid message identifier specified"),
        (str(list(range(1, 102))), "too many message identifiers specified"),
    ],
)
def test_bad_message_identifiers(text: str, problem: str) -> None:
    with pytest.raises(ApiError) as caught:
        read_message_ids(text)
    assert caught.value.description == f"Bad Request: {problem}"


def test_a_hundred_message_identifiers_as_numbers_and_texts() -> None:
    assert read_message_ids(str(list(range(1, 101)))) == list(range(1, 101))
    assert read_message_ids('["3", 4]') == [3, 4]


@pytest.mark.parametrize("values", [[1, 1], [2, 1], [1, 3, 2]])
def test_identifiers_that_do_not_increase(values: list[int]) -> None:
    with pytest.raises(ApiError, match="strictly increasing order"):
        require_increasing(values)


@pytest.mark.parametrize(
    ("header", "name", "file_name"),
    [
        (b'form-data; name="a"', "a", None),
        (b"form-data; name=a", "a", None),
        (b'form-data; name="document"; filename="x.bin"', "document", b"x.bin"),
        (b"form-data; name=document; filename=chunk 00003.bin", "document", b"chunk 00003.bin"),
        (b"form-data; filename=chunk 3.bin; name=document", "document", b"chunk 3.bin"),
        (b'form-data; name="d"; filename=""', "d", b""),
        (b'form-data; name="d"; filename="a\\"b;c.bin"', "d", b'a"b;c.bin'),
        (b'form-data; name="d"; filename="a%22b%41+c"', "d", b'a"bA+c'),
        (b'form-data; name="d"; filename="50%"', "d", b"50%"),
        ('form-data; name="d"; filename="ü.bin"'.encode(), "d", "ü.bin".encode()),
        (b"form-data; NAME=d; FileName=x", "d", b"x"),
    ],
)
def test_content_disposition(header: bytes, name: str, file_name: bytes | None) -> None:
    disposition = parse_disposition(header)
    assert (disposition.name, disposition.file_name) == (name, file_name)


@pytest.mark.parametrize(
    "header", [b"", b"form-data", b'form-data; filename="x"', b'form-data; name="x', b'form-data; name=""']
)
def test_a_part_without_a_name_is_refused_bare(header: bytes) -> None:
    with pytest.raises(BareError) as caught:
        parse_disposition(header)
    assert caught.value.status == 400


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_disposition_is_read_or_refused(header: bytes) -> None:
    try:
        name = parse_disposition(header).name
    except BareError:
        return
    assert name


def test_the_first_occurrence_of_a_name_wins() -> None:
    query = parse_urlencoded("chat_id=1&caption=a+b%2Bc&empty=&chat_id=2")
    body = parse_json_object(b'{"chat_id": 3, "document": "x", "flag": true, "list": [1, "a"], "none": null}')
    assert merge(query, body) == {
        "chat_id": "1",
        "caption": "a b+c",
        "empty": "",
        "document": "x",
        "flag": "true",
        "list": '[1, "a"]',
        "none": "null",
    }


@pytest.mark.parametrize("body", [b"[1]", b"{", b"1", b"\xff"])
def test_json_that_is_no_object_is_refused_bare(body: bytes) -> None:
    with pytest.raises(BareError):
        parse_json_object(body)
