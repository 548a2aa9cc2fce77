"""Whether the origin took a write: some operations say 200 and then fail in the body."""

from __future__ import annotations

import re

# A 200 whose body is an `<Error>` document is a failure (CompleteMultipartUpload, CopyObject: AWS API reference). The error
# stands at the beginning, after white space that keeps the connection alive; some servers give it a namespace.
_ERROR_ROOT = re.compile(rb"<Error[\s>]")


def is_accepted(status: int, body: bytes) -> bool:
    """True where the status is a success and the body does not take it back."""
    return 200 <= status < 300 and _ERROR_ROOT.search(body) is None
