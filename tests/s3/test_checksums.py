"""Digests: published check values, zlib and hashlib as oracles, and every way of promising something wrong."""

from __future__ import annotations

import base64
import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.checksums import DEFAULT_ALGORITHM, DIGEST_BYTES, BodyDigests, ExpectedDigests
from addon.s3.errors import S3Error

# CRC catalogue (reveng.sourceforge.io/crc-catalogue): the check value is the CRC of "123456789".
CHECK_VALUES = {"crc32": "cbf43926", "crc32c": "e3069283", "crc64nvme": "ae8b14860a799888"}
ALL = frozenset(DIGEST_BYTES)


def digests_of(body: bytes, want: frozenset[str] = ALL, block: int = 7) -> BodyDigests:
    digests = BodyDigests(want)
    for start in range(0, len(body), block):
        digests.update(body[start : start + block])
    return digests


def crc32c_bit_by_bit(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(("algorithm", "value"), CHECK_VALUES.items())
def test_published_check_values(algorithm: str, value: str) -> None:
    assert digests_of(b"123456789").checksum(algorithm) == b64(bytes.fromhex(value))


@given(body=st.binary(max_size=200), block=st.integers(1, 64))
def test_blocks_of_any_size_give_the_digests_of_the_whole(body: bytes, block: int) -> None:
    digests = digests_of(body, block=block)
    assert digests.md5_hex() == hashlib.md5(body).hexdigest()
    assert digests.md5_base64() == b64(hashlib.md5(body).digest())
    assert digests.sha256_hex() == hashlib.sha256(body).hexdigest()
    assert digests.checksum("sha1") == b64(hashlib.sha1(body).digest())
    assert digests.checksum("crc32") == b64(zlib.crc32(body).to_bytes(4, "big"))
    assert digests.checksum("crc32c") == b64(crc32c_bit_by_bit(body).to_bytes(4, "big"))
    assert digests.checksum("crc64nvme") == digests_of(body, block=1000).checksum("crc64nvme")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_kind_of_block_is_taken(kind: type) -> None:
    digests = BodyDigests(ALL)
    digests.update(kind(b"123456789"))
    assert digests.checksum("crc32") == b64(bytes.fromhex(CHECK_VALUES["crc32"]))


def test_only_what_is_wanted_is_computed() -> None:
    with pytest.raises(KeyError):
        BodyDigests().sha256_hex()


BODY = b"the body"
RIGHT = {name: digests_of(BODY).checksum(name) for name in DIGEST_BYTES}
WRONG = {name: digests_of(b"another body").checksum(name) for name in DIGEST_BYTES}
MD5 = b64(hashlib.md5(BODY).digest())


def verify(headers: dict[str, str], trailers: dict[str, str] | None = None) -> dict[str, str]:
    expected = ExpectedDigests.from_headers(list(headers.items()))
    return dict(expected.verify(digests_of(BODY, expected.algorithms), trailers or {}))


@pytest.mark.parametrize("name", sorted(DIGEST_BYTES))
def test_right_checksums_are_kept_and_wrong_ones_refused(name: str) -> None:
    header = f"x-amz-checksum-{name}"
    kept = {name: RIGHT[name], "type": "FULL_OBJECT"}
    assert verify({header: RIGHT[name]}) == kept
    assert verify({header: RIGHT[name], "x-amz-sdk-checksum-algorithm": name.upper()}) == kept
    assert verify({"x-amz-trailer": header}, {header: RIGHT[name]}) == kept
    for headers, trailers in (({header: WRONG[name]}, {}), ({"x-amz-trailer": header}, {header: WRONG[name]})):
        with pytest.raises(S3Error) as refused:
            verify(headers, trailers)
        assert refused.value.code == "BadDigest"


def test_without_a_promise_the_default_of_s3_is_kept() -> None:
    assert verify({}) == {DEFAULT_ALGORITHM: RIGHT[DEFAULT_ALGORITHM], "type": "FULL_OBJECT"}
    assert verify({"x-amz-checksum-mode": "ENABLED", "content-md5": MD5})["crc64nvme"] == RIGHT["crc64nvme"]


def test_content_md5_is_compared_as_well() -> None:
    with pytest.raises(S3Error) as refused:
        verify({"content-md5": b64(hashlib.md5(b"x").digest()), "x-amz-checksum-crc32": RIGHT["crc32"]})
    assert refused.value.code == "BadDigest"
    assert refused.value.details["CalculatedDigest"] == MD5


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([("content-md5", "")], "InvalidDigest"),
        ([("content-md5", hashlib.md5(BODY).hexdigest())], "InvalidDigest"),
        ([("content-md5", b64(b"short"))], "InvalidDigest"),
        ([("content-md5", MD5[:-1])], "InvalidDigest"),
        ([("content-md5", MD5 + "\n")], "InvalidDigest"),
        ([("content-md5", "caf\u00e9")], "InvalidDigest"),
        ([("content-md5", MD5), ("content-md5", MD5)], "InvalidArgument"),
        ([("x-amz-checksum-crc32", "")], "InvalidRequest"),
        ([("x-amz-checksum-crc32", "%%%")], "InvalidRequest"),
        ([("x-amz-checksum-crc32", RIGHT["sha1"])], "InvalidRequest"),
        ([("x-amz-checksum-crc32", RIGHT["crc32"] + "-3")], "InvalidRequest"),
        ([("x-amz-checksum-crc16", "AAA=")], "InvalidRequest"),
        ([("x-amz-checksum-sha512", b64(bytes(64)))], "NotImplemented"),
        ([("x-amz-checksum-xxhash3", b64(bytes(8)))], "NotImplemented"),
        ([("x-amz-checksum-crc32", RIGHT["crc32"]), ("x-amz-checksum-sha1", RIGHT["sha1"])], "InvalidRequest"),
        ([("x-amz-checksum-crc32", RIGHT["crc32"]), ("x-amz-checksum-crc32", RIGHT["crc32"])], "InvalidArgument"),
        ([("x-amz-checksum-crc32", RIGHT["crc32"]), ("x-amz-trailer", "x-amz-checksum-crc32")], "InvalidRequest"),
        ([("x-amz-trailer", "x-amz-checksum-crc32,x-amz-checksum-sha1")], "InvalidRequest"),
        ([("x-amz-trailer", "x-amz-meta-a")], "InvalidRequest"),
        ([("x-amz-sdk-checksum-algorithm", "CRC32")], "InvalidRequest"),
        ([("x-amz-sdk-checksum-algorithm", "CRC16")], "InvalidRequest"),
        ([("x-amz-sdk-checksum-algorithm", "SHA1"), ("x-amz-checksum-crc32", RIGHT["crc32"])], "InvalidRequest"),
        ([("x-amz-sdk-checksum-algorithm", "SHA1"), ("x-amz-trailer", "x-amz-checksum-crc32")], "InvalidRequest"),
        ([("x-amz-checksum-type", "COMPOSITE"), ("x-amz-checksum-crc32", RIGHT["crc32"])], "InvalidRequest"),
    ],
)
def test_promises_that_are_refused_before_the_body(headers: list[tuple[str, str]], code: str) -> None:
    with pytest.raises(S3Error) as refused:
        ExpectedDigests.from_headers(headers)
    assert refused.value.code == code


DECLARED = {"x-amz-trailer": "x-amz-checksum-crc32"}


@pytest.mark.parametrize(
    ("headers", "trailers", "code"),
    [
        (DECLARED, {}, "MalformedTrailerError"),
        (DECLARED, {"x-amz-checksum-sha1": RIGHT["sha1"]}, "MalformedTrailerError"),
        (
            DECLARED,
            {"x-amz-checksum-crc32": RIGHT["crc32"], "x-amz-checksum-sha1": RIGHT["sha1"]},
            "MalformedTrailerError",
        ),
        ({}, {"x-amz-checksum-crc32": RIGHT["crc32"]}, "MalformedTrailerError"),
        (DECLARED, {"x-amz-checksum-crc32": "nonsense"}, "InvalidRequest"),
        (DECLARED, {"x-amz-checksum-crc32": RIGHT["sha1"]}, "InvalidRequest"),
    ],
)
def test_trailers_must_be_the_declared_ones(headers: dict[str, str], trailers: dict[str, str], code: str) -> None:
    with pytest.raises(S3Error) as refused:
        verify(headers, trailers)
    assert refused.value.code == code


def test_a_trailer_signature_is_no_checksum() -> None:
    trailers = {"x-amz-checksum-crc32": RIGHT["crc32"], "x-amz-trailer-signature": "00"}
    assert verify(DECLARED, trailers)["crc32"] == RIGHT["crc32"]
