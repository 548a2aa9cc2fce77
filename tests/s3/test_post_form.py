"""Forms, taken apart whole, byte by byte and at random cuts; what is malformed or too much is refused within bounds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.errors import S3Error
from addon.s3.post_form import (
    BYTES_AFTER_FILE_MAX,
    BYTES_BEFORE_FILE_MAX,
    FIELDS_MAX,
    PostFormReader,
    boundary_of,
)

BOUNDARY = b"----WebKitFormBoundary7MA4"
FILE = b"\x89PNG\r\n--not the end--\r\n------WebKitFormBoundary7MA\r\n\0\xff"


def part(disposition: str, value: bytes, *more: str) -> bytes:
    head = "\r\n".join([f"Content-Disposition: {disposition}", *more, "", ""]).encode()
    return b"--" + BOUNDARY + b"\r\n" + head + value + b"\r\n"


def field(name: str, value: str = "v") -> bytes:
    return part(f'form-data; name="{name}"', value.encode())


def file(value: bytes = FILE, name: str = "cat.png") -> bytes:
    return part(f'form-data; name="file"; filename="{name}"', value, "Content-Type: image/png")


END = b"--" + BOUNDARY + b"--\r\n"


def read(body: bytes, cuts: Sequence[int] = ()) -> tuple[PostFormReader, bytes]:
    """The form, fed in pieces that end at `cuts`; and the file's bytes."""
    form = PostFormReader(BOUNDARY)
    content = bytearray()
    start = 0
    for cut in [*sorted(cuts), len(body)]:
        for piece in form.feed(body[start:cut]):
            assert form.file_name is not None
            content += piece
        start = cut
    form.finish()
    return form, bytes(content)


def refusal(body: bytes, cuts: Sequence[int] = ()) -> str:
    with pytest.raises(S3Error) as refused:
        read(body, cuts)
    return refused.value.code


WHOLE = field("Key", "a/${filename}") + field("x-amz-meta-ü", "żółw\r\nsecond line") + file() + field("submit") + END
FIELDS = {"key": "a/${filename}", "x-amz-meta-ü": "żółw\r\nsecond line"}


@given(st.lists(st.integers(0, len(WHOLE)), max_size=8))
def test_a_form_reads_the_same_however_it_is_cut(cuts: list[int]) -> None:
    form, content = read(WHOLE, cuts)
    assert (form.fields, form.file_name, content) == (FIELDS, "cat.png", FILE)


def test_a_form_reads_the_same_byte_by_byte() -> None:
    form, content = read(WHOLE, range(len(WHOLE)))
    assert (form.fields, form.file_name, content) == (FIELDS, "cat.png", FILE)


@given(st.binary(max_size=300), st.lists(st.integers(0, 600), max_size=5))
def test_every_file_comes_out_as_it_went_in(content: bytes, cuts: list[int]) -> None:
    body = field("key") + file(content) + END
    if b"\r\n--" + BOUNDARY not in b"\r\n" + content:
        assert read(body, [min(cut, len(body)) for cut in cuts])[1] == content


def test_what_follows_the_file_is_no_field() -> None:
    form, _ = read(file() + field("key") + field("acl", "public-read") + END + b"epilogue")
    assert form.fields == {}


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('form-data; name="file"; filename="cat.png"', "cat.png"),
        ('form-data; name="file"; filename=cat.png', "cat.png"),
        ('form-data; filename="cat.png"; name="file"', "cat.png"),
        ('Form-Data;name="FILE";filename="a; b=c.png"', "a; b=c.png"),
        ('form-data; name="file"; filename="żółw.png"', "żółw.png"),
        ('form-data; name="file"; filename="C:\\folder\\cat.png"', "C:\\folder\\cat.png"),
        ('form-data; name="file"; filename="a\\"b.png"', 'a"b.png'),
        ('form-data; name="file"; filename=""', ""),
        ('form-data; name="file"', ""),
        ('form-data; name="file"; filename="a"; filename*=utf-8\'\'b', "a"),
    ],
)
def test_names_of_files(disposition: str, name: str) -> None:
    assert read(part(disposition, b"x") + END)[0].file_name == name


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "MalformedPOSTRequest"),
        (b"key=value", "MalformedPOSTRequest"),
        (END, "IncorrectNumberOfFilesInPostRequest"),
        (field("key") + END, "IncorrectNumberOfFilesInPostRequest"),
        (field("key") + file() + file() + END, "IncorrectNumberOfFilesInPostRequest"),
        (field("key") + file() + part('form-data; name="FiLe"', b"") + END, "IncorrectNumberOfFilesInPostRequest"),
        (field("key") + file(), "MalformedPOSTRequest"),
        (field("key") + file() + END[:-3], "MalformedPOSTRequest"),
        (field("key") + file() + END[:-4] + b"x\r\n", "MalformedPOSTRequest"),
        (field("key") + field("KEY") + file() + END, "InvalidArgument"),
        (field("key") + part('form-data; name="acl"', b"\xff") + file() + END, "InvalidArgument"),
        (part('form-data; filename="a"', b"") + file() + END, "MalformedPOSTRequest"),
        (part('attachment; name="key"', b"") + file() + END, "MalformedPOSTRequest"),
        (part('form-data; name="key"; name="acl"', b"") + file() + END, "MalformedPOSTRequest"),
        (part('form-data; name="key', b"") + file() + END, "MalformedPOSTRequest"),
        (part('form-data; name="key"', b"v", 'Content-Disposition: form-data; name="acl"') + file() + END, "MalformedPOSTRequest"),
        (b"--" + BOUNDARY + b"\r\n\r\nno header\r\n" + file() + END, "MalformedPOSTRequest"),
        (b"--" + BOUNDARY + b"\r\nBad Header: 1\r\n\r\n\r\n" + file() + END, "MalformedPOSTRequest"),
        (b"--" + BOUNDARY + b"\r\n: 1\r\n\r\n\r\n" + file() + END, "MalformedPOSTRequest"),
    ],
)  # fmt: skip
def test_what_is_no_form(body: bytes, code: str) -> None:
    assert refusal(body) == code
    assert refusal(body, range(len(body))) == code


def test_ignored_fields_may_stand_twice() -> None:
    assert read(field("x-ignore-a", "1") + field("x-ignore-a", "2") + file() + END)[0].fields == {"x-ignore-a": "2"}


def test_fields_are_bounded_in_all() -> None:
    def body(more: int) -> bytes:
        return field("key", "k") + field("x-ignore-a", "a" * more)

    head = len(part('form-data; name="file"; filename="cat.png"', b"", "Content-Type: image/png")) - 2
    most = BYTES_BEFORE_FILE_MAX - len(body(0)) - head
    assert read(body(most) + file(b"f" * 100_000) + END)[1] == b"f" * 100_000
    assert read(body(most) + file(b"f" * 100_000) + END, range(0, 100_000, 777))[1] == b"f" * 100_000
    assert refusal(body(most + 1) + file() + END) == "MaxPostPreDataLengthExceededError"
    assert refusal(body(most + 1) + file() + END, range(0, 21_000, 7)) == "MaxPostPreDataLengthExceededError"


@pytest.mark.parametrize(
    "endless",
    [
        b"\r\n" * (1 << 20),
        b"--" + BOUNDARY + b"\r\nA: " + b"a" * (1 << 20),
        b"--" + BOUNDARY + b"\r\n" + b"A" * (1 << 20),
        b"--" + BOUNDARY + b"\r\n" + b"A: a\r\n" * (1 << 17),
        field("key", "a" * (1 << 20)),
        field("a") * 10_000,
        END + b"x" * (1 << 20),
    ],
    ids=lambda body: str(body[28:40]),
)
def test_what_never_gets_to_the_file_is_refused_soon(endless: bytes) -> None:
    form = PostFormReader(BOUNDARY)
    with pytest.raises(S3Error) as refused:
        form.feed(endless)
    assert refused.value.code in ("MaxPostPreDataLengthExceededError", "MalformedPOSTRequest", "InvalidArgument")


def test_number_of_fields_is_bounded() -> None:
    fields = [field(f"x-ignore-{number}", "") for number in range(FIELDS_MAX + 1)]
    assert len(read(b"".join(fields[:-1]) + file() + END)[0].fields) == FIELDS_MAX
    assert refusal(b"".join(fields) + file() + END) == "MaxPostPreDataLengthExceededError"


def test_what_follows_the_file_is_bounded() -> None:
    form = PostFormReader(BOUNDARY)
    form.feed(field("key") + file() + END)
    form.feed(b"x" * BYTES_AFTER_FILE_MAX)
    with pytest.raises(S3Error):
        form.feed(b"x")


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data;boundary="a b c"', b"a b c"),
        ("multipart/form-data; charset=utf-8; boundary=" + "x" * 70, b"x" * 70),
    ],
)
def test_boundaries(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    ("content_type", "code"),
    [
        ("", "PreconditionFailed"),
        ("application/x-www-form-urlencoded", "PreconditionFailed"),
        ("multipart/mixed; boundary=a", "PreconditionFailed"),
        ("multipart/form-data", "MalformedPOSTRequest"),
        ("multipart/form-data; boundary=", "MalformedPOSTRequest"),
        ("multipart/form-data; boundary=ü", "MalformedPOSTRequest"),
        ("multipart/form-data; boundary=a; boundary=b", "MalformedPOSTRequest"),
        ('multipart/form-data; boundary="a ', "MalformedPOSTRequest"),
        ("multipart/form-data; boundary=" + "x" * 71, "MalformedPOSTRequest"),
    ],
)
def test_what_has_no_boundary(content_type: str, code: str) -> None:
    with pytest.raises(S3Error) as refused:
        boundary_of(content_type)
    assert refused.value.code == code


@given(st.binary(max_size=400))
def test_no_bytes_do_more_than_be_refused(body: bytes) -> None:
    form = PostFormReader(b"b")
    try:
        form.feed(body)
        form.finish()
    except S3Error:
        return
    assert form.file_ended
