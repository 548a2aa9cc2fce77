"""The aws-chunked body: frames of data, each with its length and often its signature, then perhaps trailing headers.

Sources: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and …/sigv4-streaming-trailers.html.

    body     = *chunk last-chunk [ trailer ] CRLF
    chunk    = size [ ";chunk-signature=" 64HEX ] CRLF size*OCTET CRLF      (size in hex, more than zero)
    last     = "0" [ ";chunk-signature=" 64HEX ] CRLF
    trailer  = name ":" value EOL [ "x-amz-trailer-signature:" 64HEX EOL ]  (the signature exactly where chunks are signed)
    EOL      = CRLF / LF CRLF                                               (the second is what minio-go sends)

Three forms exist: signed chunks, signed chunks with a signed trailer, and unsigned chunks with a trailer. AWS documents no other
but the two of SigV4A. Rules of this file:

- Data is handed out as it comes, before its chunk's signature could be checked: a chunk may be as large as the object, and memory
  is bounded. Nothing of it may be committed, acknowledged or shown to anyone before `finish` has returned.
- The decoder holds no data at all, only the line of framing that is under way, and that has a limit.
- After an error it stays in error: neither more data nor `finish` makes the body good again.
- Chunks of any size are taken, also those below 8 KiB that AWS refuses unless they are the last: other stores take them.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from types import MappingProxyType
from typing import Protocol

from addon.s3.errors import S3Error
from addon.s3.payload import EMPTY_SHA256_HEX, ChunkSigning, Payload

# Size, signature and line end take 100 bytes at most; a trailer's longest value (SHA-256 in base64) with its name takes 70.
CHUNK_LINE_BYTES_MAX = 128
TRAILER_LINE_BYTES_MAX = 512
# An object has one checksum algorithm (AWS: checking object integrity), and nothing else is ever sent in a trailer.
TRAILERS_MAX = 1

_CHUNK_LINE = re.compile(rb"([0-9a-fA-F]{1,16})(?:;chunk-signature=([^;\r\n]*))?\r\n")
_TRAILER_LINE = re.compile(rb"([A-Za-z0-9\-]+):([\x20-\x7e\t]*)\r?\n")
_LENGTH = re.compile(r"[0-9]{1,16}")
_SIGNATURE_NAME = "x-amz-trailer-signature"


class Streaming(Protocol):
    """What the decoder must know of a verified request: its payload, and how its chunks are signed if they are."""

    @property
    def payload(self) -> Payload: ...
    @property
    def chunk_signing(self) -> ChunkSigning | None: ...


class _Expecting(Enum):
    CHUNK_LINE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILER_LINE = auto()
    TRAILER_LINE_END = auto()
    LAST_LINE = auto()
    NOTHING = auto()


class AwsChunkedDecoder:
    """Decodes one body: `feed` what arrives, then `finish`. Does no I/O.

    Raises S3Error: IncompleteBody for broken framing and wrong lengths, SignatureDoesNotMatch for a chunk or trailer signature,
    MalformedTrailerError for a trailer that is not the declared one.
    """

    def __init__(self, request: Streaming, headers: Sequence[tuple[str, str]]) -> None:
        """Raises MissingContentLength, InvalidArgument or MalformedTrailerError where the headers already cannot be right."""
        if not request.payload.is_streaming:
            raise ValueError("this payload is not aws-chunked")
        self._signing = request.chunk_signing if request.payload.has_signed_chunks else None
        if request.payload.has_signed_chunks and self._signing is None:
            raise ValueError("signed chunks need what their signatures are computed with")
        #: The length of the decoded body in bytes, as declared; a body of another length is refused. None where the client did
        #: not know it: then the last chunk alone ends the body.
        self.decoded_length = _decoded_length(headers)
        self._declared_trailers = _declared_trailers(headers) if request.payload.has_trailer else []
        if request.payload.has_trailer and len(self._declared_trailers) != TRAILERS_MAX:
            raise _malformed_trailer()

        self._expecting = _Expecting.CHUNK_LINE
        self._line = b""
        self._data_left = 0
        self._decoded = 0
        self._hash = hashlib.sha256()
        self._chunk_signature = b""
        self._previous_signature = self._signing.seed_signature if self._signing is not None else ""
        self._received_trailers: dict[str, str] = {}
        self._trailer_signature: str | None = None
        self._error: S3Error | None = None

    @property
    def trailers(self) -> Mapping[str, str]:
        """The trailing headers by lower-case name, `x-amz-trailer-signature` excepted; empty until the body's end was verified."""
        done = self._expecting is _Expecting.NOTHING and self._error is None
        return MappingProxyType(self._received_trailers if done else {})

    def feed(self, received: bytes) -> list[bytes]:
        """The decoded data in `received`, in order; a claim until `finish` has returned."""
        if self._error is not None:
            raise self._error
        try:
            return self._decode(received)
        except S3Error as error:
            self._error = error
            raise

    def finish(self) -> None:
        """To be called at the end of the body: returns only if it was whole, and every signature right."""
        if self._error is not None:
            raise self._error
        if self._expecting is not _Expecting.NOTHING:
            self._error = _incomplete()
            raise self._error

    def _decode(self, received: bytes) -> list[bytes]:
        pieces: list[bytes] = []
        position = 0
        while position < len(received):
            if self._expecting is _Expecting.DATA:
                piece = received[position : position + self._data_left]
                position += len(piece)
                self._take_data(piece)
                pieces.append(piece)
            else:
                position = self._take_line(received, position)
        return pieces

    def _take_data(self, piece: bytes) -> None:
        self._data_left -= len(piece)
        if self._signing is not None:
            self._hash.update(piece)
        if self._data_left == 0:
            self._verify_chunk(self._hash.hexdigest())
            self._expecting = _Expecting.DATA_END

    def _take_line(self, received: bytes, position: int) -> int:
        """Collect a line of framing, and read it once it is whole; returns where it ends in `received`."""
        room = _LINE_BYTES_MAX[self._expecting] - len(self._line)
        newline = received.find(b"\n", position, position + room)
        if newline >= 0:
            line = self._line + received[position : newline + 1]
            self._line = b""
            self._read_line(line)
            return newline + 1
        if len(received) - position >= room:
            raise _incomplete()
        self._line += received[position:]
        return len(received)

    def _read_line(self, line: bytes) -> None:
        match self._expecting:
            case _Expecting.CHUNK_LINE:
                self._read_chunk_line(line)
            case _Expecting.TRAILER_LINE:
                self._read_trailer_line(line)
            case _Expecting.DATA_END if line == b"\r\n":
                self._expecting = _Expecting.CHUNK_LINE
            case _Expecting.TRAILER_LINE_END if line == b"\r\n":
                self._expecting = _Expecting.TRAILER_LINE
            case _Expecting.LAST_LINE if line == b"\r\n":
                self._expecting = _Expecting.NOTHING
            case _:
                raise _incomplete()

    def _read_chunk_line(self, line: bytes) -> None:
        match = _CHUNK_LINE.fullmatch(line)
        if match is None or (match[2] is None) != (self._signing is None):
            raise _incomplete()
        size = int(match[1], 16)
        self._chunk_signature = match[2] or b""
        self._decoded += size
        if self.decoded_length is not None and self._decoded > self.decoded_length:
            raise _incomplete()
        if size > 0:
            self._data_left = size
            self._hash = hashlib.sha256()
            self._expecting = _Expecting.DATA
            return
        self._verify_chunk(EMPTY_SHA256_HEX)
        if self.decoded_length not in (None, self._decoded):
            raise _incomplete()
        self._expecting = _Expecting.TRAILER_LINE if self._declared_trailers else _Expecting.LAST_LINE

    def _read_trailer_line(self, line: bytes) -> None:
        if line == b"\r\n":
            self._check_trailers()
            self._expecting = _Expecting.NOTHING
            return
        match = _TRAILER_LINE.fullmatch(line)
        if match is None or self._trailer_signature is not None:
            raise _malformed_trailer()
        name, value = match[1].decode("ascii").lower(), match[2].decode("ascii").strip(" \t")
        if name == _SIGNATURE_NAME and self._signing is not None:
            self._trailer_signature = value
        elif name in self._declared_trailers and name not in self._received_trailers:
            self._received_trailers[name] = value
        else:
            raise _malformed_trailer()
        if not line.endswith(b"\r\n"):
            self._expecting = _Expecting.TRAILER_LINE_END

    def _check_trailers(self) -> None:
        if len(self._received_trailers) != len(self._declared_trailers):
            raise _malformed_trailer()
        if self._signing is None:
            return
        if self._trailer_signature is None:
            raise _malformed_trailer()
        signed = "".join([f"{name}:{value}\n" for name, value in self._received_trailers.items()])
        trailer_sha256_hex = hashlib.sha256(signed.encode("ascii")).hexdigest()
        expected = self._signing.trailer_signature(self._previous_signature, trailer_sha256_hex)
        if not hmac.compare_digest(expected.encode("ascii"), self._trailer_signature.encode("ascii")):
            raise _signature_does_not_match()

    def _verify_chunk(self, data_sha256_hex: str) -> None:
        if self._signing is None:
            return
        expected = self._signing.chunk_signature(self._previous_signature, data_sha256_hex)
        if not hmac.compare_digest(expected.encode("ascii"), self._chunk_signature):
            raise _signature_does_not_match()
        self._previous_signature = expected


_LINE_BYTES_MAX: Mapping[_Expecting, int] = {
    _Expecting.CHUNK_LINE: CHUNK_LINE_BYTES_MAX,
    _Expecting.DATA_END: 2,
    _Expecting.TRAILER_LINE: TRAILER_LINE_BYTES_MAX,
    _Expecting.TRAILER_LINE_END: 2,
    _Expecting.LAST_LINE: 2,
    _Expecting.NOTHING: 0,
}


def _decoded_length(headers: Sequence[tuple[str, str]]) -> int | None:
    """S3 asks for it always. One who streams what has no length yet cannot know it, and sends no Content-Length either: the signed
    last chunk, or the trailer's checksum, still prove that the body is whole."""
    values = _values(headers, "x-amz-decoded-content-length")
    if not values and _values(headers, "transfer-encoding") and not _values(headers, "content-length"):
        return None
    if not values:
        raise S3Error("MissingContentLength", "You must provide the Content-Length HTTP header.")
    if len(values) > 1 or not _LENGTH.fullmatch(values[0]):
        raise S3Error(
            "InvalidArgument",
            "x-amz-decoded-content-length must be given once, and be a number of bytes.",
            details={"ArgumentName": "x-amz-decoded-content-length"},
        )
    return int(values[0])


def _declared_trailers(headers: Sequence[tuple[str, str]]) -> list[str]:
    names = ",".join(_values(headers, "x-amz-trailer")).split(",")
    return [name.strip(" \t").lower() for name in names if name.strip(" \t")]


def _values(headers: Sequence[tuple[str, str]], wanted: str) -> list[str]:
    return [value.strip(" \t") for name, value in headers if name.lower() == wanted]


def _incomplete() -> S3Error:
    # What AWS answers to any framing that it cannot read.
    return S3Error("IncompleteBody", "The request body terminated unexpectedly")


def _malformed_trailer() -> S3Error:
    return S3Error(
        "MalformedTrailerError",
        "The request contained trailing data that was not well-formed or did not conform to our published schema.",
    )


def _signature_does_not_match() -> S3Error:
    return S3Error(
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
    )
