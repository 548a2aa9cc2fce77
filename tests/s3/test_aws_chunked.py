"""The aws-chunked decoder: published bodies; every case whole, byte by byte, with bytes after it; attacks 14 to 16; mutations."""

from __future__ import annotations

import hashlib
import io
import itertools
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from addon.s3.aws_chunked import AwsChunkedDecoder
from addon.s3.errors import S3Error
from addon.s3.payload import EMPTY_SHA256_HEX, ChunkSigning, Payload, PayloadKind
from addon.sigv4 import verify
from tests.signing import NOW, SECRETS, Recorder

SIGNING = ChunkSigning(b"k" * 32, "20260304T050607Z", "20260304/us-east-1/s3/aws4_request", "5" * 64)
TRAILER = ("x-amz-checksum-crc32c", "sOO8/Q==")
SIGNED, SIGNED_TRAILER = PayloadKind.STREAMING_SIGNED, PayloadKind.STREAMING_SIGNED_TRAILER
UNSIGNED_TRAILER = PayloadKind.STREAMING_UNSIGNED_TRAILER
KINDS = [SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER]


@dataclass(frozen=True)
class Request:
    payload: Payload
    chunk_signing: ChunkSigning | None


def request_of(kind: PayloadKind, signing: ChunkSigning = SIGNING) -> Request:
    return Request(Payload(kind, kind.value), None if kind is UNSIGNED_TRAILER else signing)


def headers_of(kind: PayloadKind, length: int | str) -> list[tuple[str, str]]:
    headers = [("Host", "h"), ("X-Amz-Decoded-Content-Length", str(length))]
    return headers if kind is SIGNED else [*headers, ("x-amz-trailer", TRAILER[0])]


def encode(
    kind: PayloadKind,
    chunks: Sequence[bytes],
    *,
    signing: ChunkSigning = SIGNING,
    trailer: tuple[str, str] = TRAILER,
    end_of_line: bytes = b"\r\n",
) -> bytes:
    """A body as a client makes it."""
    body, previous = b"", signing.seed_signature
    for chunk in [*chunks, b""]:
        previous = signing.chunk_signature(previous, hashlib.sha256(chunk).hexdigest())
        signature = b"" if kind is UNSIGNED_TRAILER else b";chunk-signature=" + previous.encode()
        body += b"%x%s\r\n%s" % (len(chunk), signature, chunk + b"\r\n" if chunk else b"")
    if kind is not SIGNED:
        line = f"{trailer[0]}:{trailer[1]}".encode()
        body += line + end_of_line
        if kind is SIGNED_TRAILER:
            signature = signing.trailer_signature(previous, hashlib.sha256(line + b"\n").hexdigest()).encode()
            body += b"x-amz-trailer-signature:" + signature + b"\r\n"
    return body + b"\r\n"


def decode(
    kind: PayloadKind, pieces: Iterator[bytes] | Sequence[bytes], length: int | str
) -> tuple[bytes, dict[str, str]]:
    decoder = AwsChunkedDecoder(request_of(kind), headers_of(kind, length))
    data = b"".join(itertools.chain.from_iterable(decoder.feed(piece) for piece in pieces))
    decoder.finish()
    return data, dict(decoder.trailers)


def byte_by_byte(body: bytes) -> list[bytes]:
    return [body[i : i + 1] for i in range(len(body))]


def refused(kind: PayloadKind, body: bytes, length: int | str) -> str:
    """The code of the refusal, which must be the same however the body is cut."""
    codes = set()
    for pieces in ([body], byte_by_byte(body), [body[i : i + 7] for i in range(0, len(body), 7)]):
        with pytest.raises(S3Error) as caught:
            decode(kind, pieces, length)
        codes.add(caught.value.code)
    (code,) = codes
    return code


def accepted(kind: PayloadKind, body: bytes, data: bytes, trailers: dict[str, str] | None = None) -> None:
    """The body decodes whole and byte by byte; nothing of it may be missing, and nothing may come after it."""
    expected = ({} if kind is SIGNED else dict([TRAILER])) if trailers is None else trailers
    assert decode(kind, [body], len(data)) == (data, expected)
    assert decode(kind, byte_by_byte(body), len(data)) == (data, expected)
    assert decode(kind, [b"", body, b""], len(data)) == (data, expected)
    for after in (b"\r\n", b"x", b"\n", b"0\r\n\r\n", body):
        assert refused(kind, body + after, len(data)) == "IncompleteBody"
    for end in range(len(body)):
        with pytest.raises(S3Error) as caught:
            decode(kind, [body[:end]], len(data))
        assert caught.value.code == "IncompleteBody"


# ---- Right bodies


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "chunks",
    [[], [b"a"], [b"ab", b"c"], [b"\r\n", b"0\r\n\r\n", b";chunk-signature="], [b"x" * 300, b"y"], [bytes(range(256))]],
)
def test_right_body(kind: PayloadKind, chunks: list[bytes]) -> None:
    accepted(kind, encode(kind, chunks), b"".join(chunks))


@pytest.mark.parametrize("kind", [SIGNED_TRAILER, UNSIGNED_TRAILER])
def test_trailer_line_as_minio_go_ends_it(kind: PayloadKind) -> None:
    accepted(kind, encode(kind, [b"data"], end_of_line=b"\n\r\n"), b"data")


def test_trailer_names_have_no_case_and_values_no_blanks_around() -> None:
    body = b"4\r\ndata\r\n0\r\nX-Amz-Checksum-CRC32C: \tsOO8/Q== \r\n\r\n"
    accepted(UNSIGNED_TRAILER, body, b"data")


def test_sizes_in_any_case_of_hex_and_with_zeros_before() -> None:
    data = b"x" * 0xAB
    for size in (b"ab", b"AB", b"aB", b"0000000000AB"):
        body = size + b"\r\n" + data + b"\r\n0\r\n" + b":".join(part.encode() for part in TRAILER) + b"\r\n\r\n"
        accepted(UNSIGNED_TRAILER, body, data)


SEEDS = {
    SIGNED: (
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ),
    SIGNED_TRAILER: (
        "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
        "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    ),
}
TRAILER_SIGNATURE = b"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n"


@pytest.mark.parametrize("kind", SEEDS)
def test_published_body(kind: PayloadKind) -> None:
    """The examples of the pages "sigv4-streaming" and "sigv4-streaming-trailers" of the Amazon S3 API reference."""
    seed, *signatures = SEEDS[kind]
    # The signing key of the examples: AKIAIOSFODNN7EXAMPLE on 24 May 2013 in us-east-1.
    key = bytes.fromhex("dbb893acc010964918f1fd433add87c70e8b0db6be30c1fbeafefa5ec6ba8378")
    signing = ChunkSigning(key, "20130524T000000Z", "20130524/us-east-1/s3/aws4_request", seed)
    body = b""
    for size, signature in zip((65536, 1024, 0), signatures, strict=True):
        body += b"%x;chunk-signature=%s\r\n" % (size, signature.encode()) + b"a" * size + (b"\r\n" if size else b"")
    if kind is SIGNED_TRAILER:
        body += b"x-amz-checksum-crc32c:sOO8/Q==\r\n" + TRAILER_SIGNATURE
    body += b"\r\n"
    assert len(body) == {SIGNED: 66824, SIGNED_TRAILER: 66946}[kind], "the Content-Length of the example"
    assert body == encode(kind, [b"a" * 65536, b"a" * 1024], signing=signing)
    for step in (1, 100, 65536, len(body)):
        decoder = AwsChunkedDecoder(request_of(kind, signing), headers_of(kind, 66560))
        pieces = [decoder.feed(body[i : i + step]) for i in range(0, len(body), step)]
        decoder.finish()
        assert b"".join(itertools.chain.from_iterable(pieces)) == b"a" * 66560
        assert dict(decoder.trailers) == ({} if kind is SIGNED else {"x-amz-checksum-crc32c": "sOO8/Q=="})


@pytest.mark.parametrize("size", [0, 1, 5000, 3 * 1024 * 1024 + 1])
@pytest.mark.parametrize("algorithm", ["CRC32", "SHA256"])
def test_body_of_botocore(size: int, algorithm: str) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    recorder = Recorder("https://s3.example.com")
    request, body = recorder.send(
        "put_object", Bucket="images", Key="a b", Body=io.BytesIO(data[:size]), ChecksumAlgorithm=algorithm
    )
    verified = verify(request, secret_for=SECRETS.get, now=NOW)
    assert verified.payload.kind is UNSIGNED_TRAILER
    for step in (1 if size < 10_000 else 4093, 65536):
        decoder = AwsChunkedDecoder(verified, request.headers)
        assert decoder.decoded_length == size
        pieces = [decoder.feed(body[i : i + step]) for i in range(0, len(body), step)]
        decoder.finish()
        assert b"".join(itertools.chain.from_iterable(pieces)) == data[:size]
        assert list(decoder.trailers) == [f"x-amz-checksum-{algorithm.lower()}"]


@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    chunks=st.lists(st.binary(min_size=1, max_size=60), max_size=6),
    cuts=st.lists(st.integers(0, 900), max_size=12),
)
def test_any_split_of_a_right_body(kind: PayloadKind, chunks: list[bytes], cuts: list[int]) -> None:
    body = encode(kind, chunks)
    ends = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    pieces = [body[start:end] for start, end in itertools.pairwise(ends)]
    data = b"".join(chunks)
    assert decode(kind, pieces, len(data)) == (data, {} if kind is SIGNED else dict([TRAILER]))


# ---- Attack 14: signatures and trailers

BODY = [b"first chunk", b"second", b"3rd"]
LENGTH = sum(map(len, BODY))


def lines_of(kind: PayloadKind) -> list[bytes]:
    """The body in its parts: one for each chunk with its line, the last chunk, and what follows."""
    body = encode(kind, BODY)
    parts, position = [], 0
    for chunk in [*BODY, b""]:
        end = body.index(b"\r\n", position) + 2 + (len(chunk) + 2 if chunk else 0)
        parts.append(body[position:end])
        position = end
    return [*parts, body[position:]]


@pytest.mark.parametrize("kind", [SIGNED, SIGNED_TRAILER])
@pytest.mark.parametrize("which", [0, 1, 2, 3])
def test_attack_14_a_chunk_signature_that_is_wrong(kind: PayloadKind, which: int) -> None:
    parts = lines_of(kind)
    start = parts[which].index(b"=") + 1
    for signature in (b"0" * 64, parts[which][start : start + 64].upper(), b"", b"0" * 63, "é".encode() * 10):
        wrong = parts[which][:start] + signature + parts[which][start + 64 :]
        if wrong == parts[which]:
            continue
        body = b"".join([*parts[:which], wrong, *parts[which + 1 :]])
        assert refused(kind, body, LENGTH) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("kind", [SIGNED, SIGNED_TRAILER])
@pytest.mark.parametrize(
    ("order", "length", "code"),
    [
        ([1, 0, 2, 3, 4], LENGTH, "SignatureDoesNotMatch"),
        ([0, 2, 3, 4], LENGTH - len(BODY[1]), "SignatureDoesNotMatch"),
        ([0, 0, 1, 2, 3, 4], LENGTH + len(BODY[0]), "SignatureDoesNotMatch"),
        ([0, 1, 3, 4], LENGTH - len(BODY[2]), "SignatureDoesNotMatch"),
        ([3, 4], 0, "SignatureDoesNotMatch"),
        ([0, 1, 2], LENGTH, "IncompleteBody"),
        ([0, 1, 2, 4], LENGTH, "IncompleteBody"),
    ],
)
def test_attack_14_chunks_moved_dropped_or_repeated(
    kind: PayloadKind, order: list[int], length: int, code: str
) -> None:
    parts = lines_of(kind)
    assert refused(kind, b"".join(parts[index] for index in order), length) == code


@pytest.mark.parametrize("kind", [SIGNED_TRAILER, UNSIGNED_TRAILER])
@pytest.mark.parametrize(
    "trailer",
    [
        b"\r\n",
        b"x-amz-checksum-sha1:AAAA\r\n\r\n",
        b"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-checksum-crc32c:sOO8/Q==\r\n\r\n",
        b"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-meta-a:b\r\n\r\n",
        b"x-amz-checksum-crc32c\r\n\r\n",
        b"x-amz-checksum-crc32c :sOO8/Q==\r\n\r\n",
        b"x-amz-checksum-crc32c:sOO8/\x00Q==\r\n\r\n",
        b"x-amz-checksum-crc32c:a\xc3\xa9\r\n\r\n",
        b" x-amz-checksum-crc32c:sOO8/Q==\r\n\r\n",
        b":\r\n\r\n",
    ],
)
def test_attack_14_trailers_that_were_not_declared_so(kind: PayloadKind, trailer: bytes) -> None:
    body = b"".join(lines_of(kind)[:4]) + trailer
    assert refused(kind, body, LENGTH) == "MalformedTrailerError"


def test_attack_14_trailer_signature() -> None:
    *chunks, trailer = lines_of(SIGNED_TRAILER)
    start = b"".join(chunks)
    checksum, signature = trailer.split(b"\r\n")[:2]
    for wrong, code in {
        checksum + b"\r\n\r\n": "MalformedTrailerError",
        checksum + b"\r\n" + signature[:-1] + b"\r\n\r\n": "SignatureDoesNotMatch",
        checksum + b"\r\nx-amz-trailer-signature:" + b"0" * 64 + b"\r\n\r\n": "SignatureDoesNotMatch",
        checksum.replace(b"s", b"S") + b"\r\n" + signature + b"\r\n\r\n": "SignatureDoesNotMatch",
        signature + b"\r\n\r\n": "MalformedTrailerError",
        signature + b"\r\n" + checksum + b"\r\n\r\n": "MalformedTrailerError",
        checksum + b"\r\n" + signature + b"\r\n" + signature + b"\r\n\r\n": "MalformedTrailerError",
    }.items():
        assert refused(SIGNED_TRAILER, start + wrong, LENGTH) == code
    unsigned = b"".join(lines_of(UNSIGNED_TRAILER)[:4])
    assert refused(UNSIGNED_TRAILER, unsigned + trailer, LENGTH) == "MalformedTrailerError"


@pytest.mark.parametrize("kind", [SIGNED_TRAILER, UNSIGNED_TRAILER])
@pytest.mark.parametrize(
    "declared", [[], [""], [" , "], ["x-amz-checksum-crc32c,x-amz-checksum-sha1"], ["x-amz-checksum-crc32c"] * 2]
)
def test_attack_14_a_trailer_form_declares_one_trailer(kind: PayloadKind, declared: list[str]) -> None:
    headers = [("x-amz-decoded-content-length", "1"), *(("X-Amz-Trailer", value) for value in declared)]
    with pytest.raises(S3Error) as caught:
        AwsChunkedDecoder(request_of(kind), headers)
    assert caught.value.code == "MalformedTrailerError"


# ---- Attack 15: framing


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "size",
    [
        b"-4",
        b"0x4",
        b"+4",
        b" 4",
        b"4 ",
        b"",
        b"4_0",
        b"FFFFFFFFFFFFFFFF",
        b"F" * 17,
        b"0" * 1_000_000 + b"4",
        b"4\x00",
        b"g",
        "４".encode(),
    ],
)
def test_attack_15_chunk_sizes(kind: PayloadKind, size: bytes) -> None:
    body = encode(kind, [b"data"])
    assert body.startswith(b"4")
    decoder = AwsChunkedDecoder(request_of(kind), headers_of(kind, 4))
    with pytest.raises(S3Error, match="IncompleteBody"):
        decoder.feed(size + body[1:])
    if len(size) < 100:
        assert refused(kind, size + body[1:], 4) == "IncompleteBody"


@pytest.mark.parametrize("kind", KINDS)
def test_attack_15_extensions_and_line_ends(kind: PayloadKind) -> None:
    body = encode(kind, [b"data"])
    line, _, rest = body.partition(b"\r\n")
    for start in (
        line + b";x=" + b"y" * 1_000_000,
        line + b";a=b\r\n",
        line + b";\r\n",
        line + b"\n",
        line + b"\r",
        line + b"\r\r\n",
        b"\r\n" + line + b"\r\n",
        b"4;chunk-extension=" + b"0" * 64 + b"\r\n",
        b"4;chunk-signature=" + b"0" * 64 + b";chunk-signature=" + b"0" * 64 + b"\r\n",
        (b"4\r\n" if kind is not UNSIGNED_TRAILER else b"4;chunk-signature=" + b"0" * 64 + b"\r\n"),
    ):
        with pytest.raises(S3Error, match="IncompleteBody"):
            decode(kind, [start + rest], 4)
    assert refused(kind, line + b" \r\n" + rest, 4) in {"IncompleteBody", "SignatureDoesNotMatch"}
    for after in (b"", b"\n", b"\r", b"x\r\n", b"\r\n\r\n"):
        assert refused(kind, body.replace(b"data\r\n", b"data" + after), 4) in {
            "IncompleteBody",
            "SignatureDoesNotMatch",
        }


@pytest.mark.parametrize("kind", KINDS)
def test_attack_15_memory_is_bounded_while_a_line_does_not_end(kind: PayloadKind) -> None:
    for start in (b"", b"".join(lines_of(kind)[:4])):
        decoder = AwsChunkedDecoder(request_of(kind), headers_of(kind, LENGTH))
        decoder.feed(start)
        assert feeds_until_refused(decoder, b"0") <= 512


def feeds_until_refused(decoder: AwsChunkedDecoder, piece: bytes, feeds_max: int = 10_000) -> int:
    for feeds in range(feeds_max):
        try:
            decoder.feed(piece)
        except S3Error:
            return feeds
    return feeds_max


def test_a_chunk_as_large_as_the_object_is_not_kept() -> None:
    size = 64 * 1024 * 1024
    piece = b"x" * 65536
    digest = hashlib.sha256()
    for _ in range(size // len(piece)):
        digest.update(piece)
    signature = SIGNING.chunk_signature(SIGNING.seed_signature, digest.hexdigest())
    last = SIGNING.chunk_signature(signature, EMPTY_SHA256_HEX)
    decoder = AwsChunkedDecoder(request_of(SIGNED), headers_of(SIGNED, size))
    tracemalloc.start()
    try:
        decoder.feed(b"%x;chunk-signature=%s\r\n" % (size, signature.encode()))
        for _ in range(size // len(piece)):
            assert decoder.feed(piece) == [piece]
        assert decoder.feed(b"\r\n0;chunk-signature=%s\r\n\r\n" % last.encode()) == []
        decoder.finish()
        assert tracemalloc.get_traced_memory()[1] < 4 * len(piece)
    finally:
        tracemalloc.stop()


# ---- Attack 16: the decoded length


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("difference", [-LENGTH, -1, 1, 10**12])
def test_attack_16_another_length_than_declared(kind: PayloadKind, difference: int) -> None:
    assert refused(kind, encode(kind, BODY), LENGTH + difference) == "IncompleteBody"


@pytest.mark.parametrize("kind", KINDS)
def test_attack_16_too_much_is_cut_before_it_is_read(kind: PayloadKind) -> None:
    decoder = AwsChunkedDecoder(request_of(kind), headers_of(kind, 1024))
    line = b"140000000" + (b"" if kind is UNSIGNED_TRAILER else b";chunk-signature=" + b"0" * 64)
    with pytest.raises(S3Error, match="IncompleteBody"):
        decoder.feed(line + b"\r\n")


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_whose_length_nobody_knows_ends_with_its_last_chunk(kind: PayloadKind) -> None:
    headers = [
        (name, value) for name, value in headers_of(kind, LENGTH) if name.lower() != "x-amz-decoded-content-length"
    ]
    body = encode(kind, BODY)
    decoder = AwsChunkedDecoder(request_of(kind), [*headers, ("transfer-encoding", "chunked")])
    assert decoder.decoded_length is None
    assert b"".join(decoder.feed(body)) == b"".join(BODY)
    decoder.finish()
    cut = AwsChunkedDecoder(request_of(kind), [*headers, ("transfer-encoding", "chunked")])
    cut.feed(body[:-2])
    with pytest.raises(S3Error, match="IncompleteBody"):
        cut.finish()
    with pytest.raises(S3Error, match="MissingContentLength"):
        AwsChunkedDecoder(request_of(kind), [*headers, ("transfer-encoding", "chunked"), ("content-length", "1")])


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([], "MissingContentLength"),
        (["-1"], "InvalidArgument"),
        (["+1"], "InvalidArgument"),
        (["0x1"], "InvalidArgument"),
        ([""], "InvalidArgument"),
        (["1.0"], "InvalidArgument"),
        (["９"], "InvalidArgument"),
        (["9" * 5000], "InvalidArgument"),
        (["1", "1"], "InvalidArgument"),
        (["1, 1"], "InvalidArgument"),
    ],
)
def test_attack_16_a_length_that_is_none(values: list[str], code: str) -> None:
    headers = [("x-amz-trailer", TRAILER[0]), *(("X-Amz-Decoded-Content-Length", value) for value in values)]
    with pytest.raises(S3Error) as caught:
        AwsChunkedDecoder(request_of(UNSIGNED_TRAILER), headers)
    assert caught.value.code == code


# ---- After an error, and before the end


def test_after_an_error_the_body_never_becomes_good() -> None:
    body = encode(SIGNED, [b"data"])
    decoder = AwsChunkedDecoder(request_of(SIGNED), headers_of(SIGNED, 4))
    with pytest.raises(S3Error) as first:
        decoder.feed(b"5" + body[1:])
    for again in (lambda: decoder.feed(body), lambda: decoder.feed(b""), decoder.finish):
        with pytest.raises(S3Error) as caught:
            again()
        assert caught.value is first.value
    unfinished = AwsChunkedDecoder(request_of(SIGNED), headers_of(SIGNED, 4))
    with pytest.raises(S3Error, match="IncompleteBody"):
        unfinished.finish()
    with pytest.raises(S3Error, match="IncompleteBody"):
        unfinished.feed(body)


def test_trailers_show_only_at_the_verified_end() -> None:
    body = encode(SIGNED_TRAILER, [b"data"])
    decoder = AwsChunkedDecoder(request_of(SIGNED_TRAILER), headers_of(SIGNED_TRAILER, 4))
    for byte in byte_by_byte(body)[:-1]:
        decoder.feed(byte)
        assert dict(decoder.trailers) == {}
    decoder.feed(body[-1:])
    assert dict(decoder.trailers) == dict([TRAILER])
    with pytest.raises(S3Error):
        decoder.feed(b"x")
    assert dict(decoder.trailers) == {}


def test_only_streaming_payloads_and_signed_chunks_with_their_signing() -> None:
    with pytest.raises(ValueError, match="not aws-chunked"):
        AwsChunkedDecoder(Request(Payload(PayloadKind.UNSIGNED, "UNSIGNED-PAYLOAD"), None), headers_of(SIGNED, 1))
    with pytest.raises(ValueError, match="signatures"):
        AwsChunkedDecoder(Request(Payload(SIGNED, SIGNED.value), None), headers_of(SIGNED, 1))


# ---- Mutations


@settings(max_examples=400, deadline=None)
@given(
    kind=st.sampled_from([SIGNED, SIGNED_TRAILER]),
    chunks=st.lists(st.binary(min_size=1, max_size=20), max_size=4),
    where=st.integers(0, 10_000),
    byte=st.integers(0, 255),
    change=st.sampled_from(["replace", "insert", "delete", "repeat"]),
)
@example(kind=SIGNED_TRAILER, chunks=[b"a"], where=0, byte=ord("0"), change="insert")
def test_no_mutation_of_a_signed_body_yields_other_data(
    kind: PayloadKind, chunks: list[bytes], where: int, byte: int, change: str
) -> None:
    body, data = encode(kind, chunks), b"".join(chunks)
    at = where % len(body)
    mutated = {
        "replace": body[:at] + bytes([byte]) + body[at + 1 :],
        "insert": body[:at] + bytes([byte]) + body[at:],
        "delete": body[:at] + body[at + 1 :],
        "repeat": body[: at + 1] + body[at:],
    }[change]
    for length in (len(data), len(data) - 1, len(data) + 1):
        try:
            result = decode(kind, [mutated], max(length, 0))
        except S3Error:
            continue
        assert result == (data, {} if kind is SIGNED else dict([TRAILER]))


@pytest.mark.parametrize("kind", [SIGNED, SIGNED_TRAILER])
def test_every_single_byte_of_a_signed_body_counts(kind: PayloadKind) -> None:
    """Each bit turned over: refused, but where the spelling alone changes (a hex digit's or a trailer name's case)."""
    body, data = encode(kind, [b"data", b"more data!"]), b"datamore data!"
    taken = set()
    for at, bit in itertools.product(range(len(body)), range(8)):
        mutated = body[:at] + bytes([body[at] ^ (1 << bit)]) + body[at + 1 :]
        try:
            result = decode(kind, [mutated], len(data))
        except S3Error:
            continue
        assert result[0] == data
        taken.add((body[at : at + 1].swapcase() == mutated[at : at + 1], bit))
    assert taken <= {(True, 5)}


@settings(max_examples=300, deadline=None)
@given(kind=st.sampled_from(KINDS), body=st.binary(max_size=200), length=st.integers(0, 100))
def test_garbage_is_refused_by_an_s3_error(kind: PayloadKind, body: bytes, length: int) -> None:
    with pytest.raises(S3Error) as caught:
        decode(kind, [body], length)
    assert caught.value.status in {400, 403}
