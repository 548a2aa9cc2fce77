"""The query of an S3 request: one decoder for it, and what of it belongs to a signature.

A raw `+` means a space here, as in Ceph RGW's argument decoder; SDKs never send one (they spell `%20` and `%2B`).
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, unquote_to_bytes

from addon.s3.errors import S3Error

# Parameters of a presigned URL. They authenticate the request that bore them and are worth nothing, or too much, anywhere else.
# https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
SIGNATURE_PARAMETERS = frozenset(
    {
        "x-amz-algorithm",
        "x-amz-content-sha256",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-expires",
        "x-amz-s3session-token",
        "x-amz-security-token",
        "x-amz-signature",
        "x-amz-signedheaders",
    }
)


def decode_component(raw: str) -> str:
    """A name or value of the query: percent-decoded, `+` as space, UTF-8. Raises InvalidURI where it is not UTF-8."""
    if "%" not in raw and "+" not in raw and raw.isascii():
        return raw
    try:
        return unquote_to_bytes(raw.replace("+", " ").encode("latin-1")).decode("utf-8")
    except UnicodeError:
        raise S3Error("InvalidURI", "Couldn't parse the specified URI.") from None


def parameters(raw_query: str) -> list[tuple[str, str]]:
    """The decoded parameters in order; a parameter without `=` has the empty value. Raises InvalidURI."""
    pairs = (piece.partition("=") for piece in raw_query.split("&") if piece)
    return [(decode_component(name), decode_component(value)) for name, _, value in pairs]


def without_signature(raw_query: str) -> str:
    """The query without the parameters of a presigned URL; what is left stays as it was spelt. Raises InvalidURI."""
    return "&".join(
        piece
        for piece in raw_query.split("&")
        if piece and decode_component(piece.partition("=")[0]).lower() not in SIGNATURE_PARAMETERS
    )


def canonical(raw_query: str) -> str:
    """The same parameters in the one spelling on which every verifier agrees.

    All but unreserved characters are escaped, in upper-case hex. Order, and whether an empty value has its `=`, stay as they
    were. Raises InvalidURI.
    """
    pieces = []
    for piece in filter(None, raw_query.split("&")):
        name, equals, value = piece.partition("=")
        pieces.append(f"{quote(decode_component(name), safe='~')}{equals}{quote(decode_component(value), safe='~')}")
    return "&".join(pieces)


def with_hoisted_headers(headers: Sequence[tuple[str, str]], raw_query: str) -> Sequence[tuple[str, str]]:
    """The headers together with those that a presigned URL carries as query parameters (`x-amz-acl`, `x-amz-meta-…`).

    Presigners of several SDKs (aws-sdk-js, aws-sdk-go) move `x-amz-*` headers into the signed query, and S3 honours them there. A
    header that is given in both places stands twice in the result. Names come out in lower case, values as Latin-1 text of
    their UTF-8 bytes, like every header value in this program. Raises InvalidURI.
    """
    if "x-amz-" not in raw_query.lower() and "%" not in raw_query:
        return headers
    hoisted = [
        (name.lower(), value.encode("utf-8").decode("latin-1"))
        for name, value in parameters(raw_query)
        if name.lower().startswith("x-amz-") and name.lower() not in SIGNATURE_PARAMETERS
    ]
    return [*headers, *hoisted] if hoisted else headers


def without_hoisted_headers(raw_query: str) -> str:
    """The query without a signature and without the headers that `with_hoisted_headers` finds in it. Raises InvalidURI."""
    return "&".join(
        piece
        for piece in raw_query.split("&")
        if piece and not decode_component(piece.partition("=")[0]).lower().startswith("x-amz-")
    )
