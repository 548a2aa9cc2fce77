"""multipart/form-data in every cut."""

import hashlib
from itertools import count, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.standin.failures import BareError
from addon.standin.multipart import ARGUMENT_BYTES_MAX, MultipartReader

BOUNDARY = b"boundary42"


def body(*parts: tuple[bytes, bytes]) -> bytes:
    """A body of parts, each its header lines and its content."""
    pieces = [b"--" + BOUNDARY + b"\r\n" + headers + b"\r\n\r\n" + content + b"\r\n" for headers, content in parts]
    return b"".join(pieces) + b"--" + BOUNDARY + b"--\r\n"


def argument(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    return b'Content-Disposition: form-data; name="' + name + b'"', value


def file(name: bytes, content: bytes) -> tuple[bytes, bytes]:
    return b'Content-Disposition: form-data; name="' + name + b'"; filename="f.bin"\r\nContent-Type: image/png', content


def read(data: bytes, cuts: list[int], folder: str) -> MultipartReader:
    numbers = count()
    reader = MultipartReader(BOUNDARY, lambda: Path(folder) / str(next(numbers)))
    try:
        edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
        for start, end in pairwise(edges):
            reader.write(data[start:end])
        reader.finish()
    finally:
        reader.close()
    return reader


# Contents made of the pieces of a boundary are where such a parser breaks.
contents = st.lists(st.sampled_from([b"\r", b"\n", b"--", BOUNDARY, b"x", b"\0", b"\r\n--bound"]), max_size=30).map(
    lambda pieces: b"".join(pieces).replace(b"\r\n--" + BOUNDARY, b"")
)


@settings(deadline=None)
@given(contents, st.lists(st.integers(0, 10_000), max_size=12))
def test_arguments_and_files_survive_every_cut(content: bytes, cuts: list[int]) -> None:
    data = body(argument(b"caption", "grüße".encode()), file(b"document", content), argument(b"empty", b""))
    with TemporaryDirectory() as folder:
        reader = read(data, cuts, folder)
        assert reader.fields == [("caption", "grüße"), ("empty", "")]
        (received,) = reader.files
        assert received.path.read_bytes() == content
        assert (received.size, received.head) == (len(content), content[:512])
        received.compute_sha256()
        assert received.sha256 == hashlib.sha256(content).hexdigest()


def test_a_body_byte_by_byte(tmp_path: Path) -> None:
    data = body(file(b"document", b"content\r\n--boundary4"), argument(b"a", b"b"))
    reader = read(data, list(range(len(data))), str(tmp_path))
    assert reader.files[0].path.read_bytes() == b"content\r\n--boundary4"
    assert reader.fields == [("a", "b")]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (body((b"Content-Type: text/plain", b"x")), 400),
        (body((b'Content-Disposition: form-data; filename="x"', b"x")), 400),
        (body(argument(b"a", b"b"))[:-6], 400),
        (b"no multipart at all", 400),
        (b"", 400),
        (body(argument(b"a", b"x" * (ARGUMENT_BYTES_MAX + 1))), 413),
        (body(*(file(b"f%d" % number, b"x") for number in range(51))), 413),
    ],
)
def test_what_is_refused(data: bytes, status: int, tmp_path: Path) -> None:
    with pytest.raises(BareError) as caught:
        read(data, [100], str(tmp_path))
    assert caught.value.status == status


def test_fifty_files_are_accepted(tmp_path: Path) -> None:
    assert len(read(body(*(file(b"f%d" % number, b"x") for number in range(50))), [], str(tmp_path)).files) == 50


@pytest.mark.parametrize("boundary", [b"", b"x" * 71])
def test_boundaries_out_of_measure(boundary: bytes, tmp_path: Path) -> None:
    with pytest.raises(BareError):
        MultipartReader(boundary, lambda: tmp_path / "x")
