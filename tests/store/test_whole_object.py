"""One whole version of the origin's object, or none: length, MD5 and the checksums that the origin told."""

from __future__ import annotations

import base64
import hashlib
import zlib
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from addon.s3.checksums import BodyDigests
from addon.s3.metadata import OriginCopyHeaders
from addon.store.ports import OriginChanged
from addon.store.whole_object import check_whole, told_checksums

BODY = b"the object's bytes"
CRC32 = base64.b64encode(zlib.crc32(BODY).to_bytes(4, "big")).decode()
ABOUT = OriginCopyHeaders(
    size=len(BODY),
    etag=hashlib.md5(BODY).hexdigest(),
    etag_is_md5=True,
    last_modified_s=1_700_000_000,
    headers={},
    checksums={"crc32": CRC32, "type": "FULL_OBJECT"},
)


def check(about: OriginCopyHeaders, body: bytes = BODY) -> None:
    digests = BodyDigests(want=told_checksums(about))
    digests.update(body)
    upload: Any = SimpleNamespace(size=len(body))
    check_whole(about, upload, digests)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"etag": "x-2", "etag_is_md5": False},
        {"checksums": {}},
        {"checksums": {"crc32": "AAAAAA==-2", "type": "COMPOSITE"}},
        {"checksums": {"crc32": "AAAAAA=="}},
    ],
)
def test_a_whole_object(change: dict[str, Any]) -> None:
    check(replace(ABOUT, **change))


@pytest.mark.parametrize(
    ("change", "body"),
    [
        ({}, BODY[:-1]),
        ({}, BODY + b"x"),
        ({}, BODY[:-1] + b"x"),
        ({"size": None}, BODY),
        ({"etag": "0" * 32}, BODY),
        ({"etag": "x-2", "etag_is_md5": False}, BODY[:-1] + b"x"),
        ({"checksums": {"crc32": "AAAAAA==", "type": "FULL_OBJECT"}}, BODY),
    ],
)
def test_anything_else(change: dict[str, Any], body: bytes) -> None:
    with pytest.raises(OriginChanged):
        check(replace(ABOUT, **change), body)
