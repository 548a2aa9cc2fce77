"""A success that its body takes back is none."""

from __future__ import annotations

import gzip

import pytest

from addon.service.late_errors import is_accepted


@pytest.mark.parametrize(
    ("status", "body", "accepted"),
    [
        (200, b"<CopyObjectResult><ETag>x</ETag></CopyObjectResult>", True),
        (204, b"", True),
        (200, b"", True),
        (200, b'<?xml version="1.0"?>\n<Error><Code>InternalError</Code></Error>', False),
        (200, b"  \n \n<Error>\n<Code>SlowDown</Code></Error>", False),
        (200, b'<Error xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Code>x</Code></Error>', False),
        (200, b"<Errors/>", True),
        (200, gzip.compress(b"<Error><Code>InternalError</Code></Error>"), False),
        (200, gzip.compress(b"<CopyObjectResult/>"), True),
        (200, gzip.compress(b" " * (1 << 26)), True),
        (200, gzip.compress(b"<Error>")[:12], True),
        (200, b"\x1f\x8bx", True),
        (301, b"", False),
        (404, b"", False),
        (500, b"", False),
    ],
)
def test_what_counts_as_accepted(status: int, body: bytes, accepted: bool) -> None:
    assert is_accepted(status, body) is accepted
