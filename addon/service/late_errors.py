"""Whether the origin took a write: some operations say 200 and then fail in the body."""

from __future__ import annotations

# A 200 whose body is an `<Error>` document is a failure (CompleteMultipartUpload, CopyObject: AWS API reference). The error
# stands at the beginning, after white space that keeps the connection alive.
ERROR_ROOT = b"<Error>"


def is_accepted(status: int, body: bytes) -> bool:
    """True where the status is a success and the body does not take it back."""
    return 200 <= status < 300 and ERROR_ROOT not in body
