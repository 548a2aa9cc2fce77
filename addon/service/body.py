"""The body of a verified request: decoded where it is aws-chunked, counted, and checked against all that was promised of it.

Nothing may be kept or passed on for good before `VerifiedBody.check` has returned: until then the bytes are a claim.
"""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import AsyncGenerator, Mapping, Sequence

from addon import sigv4
from addon.s3.aws_chunked import AwsChunkedDecoder
from addon.s3.checksums import BodyDigests, ExpectedDigests
from addon.s3.errors import S3Error
from addon.service.authorize import Call
from addon.service.request import S3Request


class VerifiedBody:
    """Reads one request's body once."""

    def __init__(
        self,
        request: S3Request,
        headers: Sequence[tuple[str, str]],
        verified: sigv4.Verified,
        *,
        bytes_max: int,
        want: frozenset[str] = frozenset(),
    ) -> None:
        """`headers` are the call's; `want` names digests that the caller needs besides the promised ones.

        Raises S3Error where the headers already say that the body cannot be right: before a byte of it is read.
        """
        self._request = request
        self._payload = verified.payload
        self._decoder = AwsChunkedDecoder(verified, headers) if verified.payload.is_streaming else None
        self._expected = ExpectedDigests.from_headers(headers)
        self.length = self._declared_length()
        if self.length is not None and self.length > bytes_max:
            raise _too_large(self.length, bytes_max)
        self._bytes_max = bytes_max
        self._size = 0
        self.digests = BodyDigests(want=want | self._expected.algorithms | self._payload_algorithms())

    @property
    def promises_checksum(self) -> bool:
        """Whether the client named a checksum, in a header or as a trailer."""
        return self._expected.value is not None or self._expected.in_trailer

    def _declared_length(self) -> int | None:
        if self._decoder is not None:
            return self._decoder.decoded_length
        return content_length(self._request)

    def _payload_algorithms(self) -> frozenset[str]:
        return frozenset({"sha256"}) if self._payload.sha256_hex is not None else frozenset()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The decoded bytes. Raises S3Error as soon as something is wrong, `ClientGone` where the client left."""
        async for received in self._request.body():
            for piece in [received] if self._decoder is None else self._decoder.feed(received):
                self._size += len(piece)
                if self._size > (self._bytes_max if self.length is None else self.length):
                    raise _too_large(self._size, self._bytes_max) if self.length is None else _incomplete()
                yield piece
        if self._decoder is not None:
            self._decoder.finish()

    def check(self) -> Mapping[str, str]:
        """Compare everything, after the last piece went through `digests`; returns the checksums to keep with the object.

        Raises IncompleteBody, XAmzContentSHA256Mismatch or BadDigest.
        """
        if self.length is not None and self._size != self.length:
            raise _incomplete()
        declared = self._payload.sha256_hex
        if declared is not None and not hmac.compare_digest(declared, self.digests.sha256_hex()):
            raise S3Error(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
                details={
                    "ClientComputedContentSHA256": declared,
                    "S3ComputedContentSHA256": self.digests.sha256_hex(),
                },
            )
        trailers = self._decoder.trailers if self._decoder is not None else {}
        return self._expected.verify(self.digests, trailers)


async def whole_body(call: Call, *, bytes_max: int) -> bytes:
    """A small body (a list of parts, a policy) in memory, verified and checked against all that was promised of it.

    Raises EntityTooLarge above `bytes_max` bytes, and AccessDenied for a caller who is not verified.
    """
    if call.verified is None:
        raise S3Error("AccessDenied", "Access Denied")
    if not call.request.has_body:
        return b""
    body = VerifiedBody(call.request, call.headers, call.verified, bytes_max=bytes_max)
    collected = bytearray()
    async with contextlib.aclosing(body.pieces()) as pieces:
        async for piece in pieces:
            body.digests.update(piece)
            collected += piece
    body.check()
    return bytes(collected)


def content_length(request: S3Request) -> int | None:
    """Content-Length in bytes; None where the body's end is marked otherwise.

    Raises MissingContentLength where nothing marks it, as S3 does: an empty body that nobody declared would replace an object by
    nothing. InvalidArgument for a bad number.
    """
    value = request.header("content-length")
    if value is None:
        if request.header("transfer-encoding") is None:
            raise S3Error("MissingContentLength", "You must provide the Content-Length HTTP header.")
        return None
    if not (value.isascii() and value.isdigit()):
        raise S3Error("InvalidArgument", "Content-Length is not a number.")
    return int(value)


def _incomplete() -> S3Error:
    return S3Error(
        "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header."
    )


def _too_large(size: int, bytes_max: int) -> S3Error:
    return S3Error(
        "EntityTooLarge",
        "Your proposed upload exceeds the maximum allowed size.",
        details={"ProposedSize": str(size), "MaxSizeAllowed": str(bytes_max)},
    )
