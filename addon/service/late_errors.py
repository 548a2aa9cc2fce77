"""Whether the origin took a write: some operations say 200 and then fail in the body."""

from __future__ import annotations

import re
import zlib

# A 200 whose body is an `<Error>` document is a failure (CompleteMultipartUpload, CopyObject: AWS API reference). The error
# stands at the beginning, after white space that keeps the connection alive; some servers give it a namespace.
_ERROR_ROOT = re.compile(rb"<Error[\s>]")

# A client may ask for compressed answers, and what stands before the origin may give them (RFC 1952).
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW_BITS = 16 + zlib.MAX_WBITS
PLAIN_BYTES_MAX = 1 << 20


def is_accepted(status: int, body: bytes) -> bool:
    """True where the status is a success and the body does not take it back. `body` may be compressed by gzip."""
    return 200 <= status < 300 and _ERROR_ROOT.search(_plain(body)) is None


def _plain(body: bytes) -> bytes:
    """The body's beginning without its compression."""
    if not body.startswith(_GZIP_MAGIC):
        return body
    try:
        return zlib.decompressobj(_GZIP_WINDOW_BITS).decompress(body, PLAIN_BYTES_MAX)
    except zlib.error:
        return b""
