"""The rules of multipart uploads, as tables and against computing over the whole."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.checksums import DIGEST_BYTES, BodyDigests
from addon.s3.crc_combine import COMBINABLE
from addon.s3.errors import S3Error
from addon.s3.multipart import (
    COMPOSITE,
    FULL_OBJECT,
    OBJECT_BYTES_MAX,
    PART_BYTES_MIN,
    ChecksumPlan,
    Expected,
    ListedPart,
    check_part_algorithm,
    checksum_plan,
    chosen_parts,
    composite_checksum,
    is_made_here,
    multipart_etag,
    new_upload_id,
    object_checksums,
    request_sha256,
)

Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Part:
    """A part that was uploaded."""

    number: int
    size: int
    md5_hex: str
    checksums: Mapping[str, str] = field(default_factory=dict)


def part(number: int, body: bytes, *algorithms: str, size: int | None = None) -> Part:
    digests = BodyDigests(want=frozenset(algorithms))
    digests.update(body)
    checksums = {algorithm: digests.checksum(algorithm) for algorithm in algorithms}
    return Part(number, len(body) if size is None else size, hashlib.md5(body).hexdigest(), checksums)


def choose(
    listed: Sequence[ListedPart], held: Sequence[Part], plan: ChecksumPlan | None = None, part_bytes_min: int = 0
) -> list[Part]:
    return chosen_parts(
        listed,
        {one.number: one for one in held},
        ChecksumPlan() if plan is None else plan,
        upload_id="u",
        part_bytes_min=part_bytes_min,
    )


@pytest.mark.parametrize(
    ("algorithm", "asked", "given_type"),
    [
        ("CRC32", None, COMPOSITE),
        ("CRC32C", None, COMPOSITE),
        ("SHA1", None, COMPOSITE),
        ("SHA256", None, COMPOSITE),
        ("CRC64NVME", None, FULL_OBJECT),
        ("CRC32", "FULL_OBJECT", FULL_OBJECT),
        ("crc32c", "full_object", FULL_OBJECT),
        ("SHA256", "COMPOSITE", COMPOSITE),
        ("CRC64NVME", "FULL_OBJECT", FULL_OBJECT),
    ],
)
def test_which_type_a_checksum_has(algorithm: str, asked: str | None, given_type: str) -> None:
    headers = [("x-amz-checksum-algorithm", algorithm)] + ([("x-amz-checksum-type", asked)] if asked else [])
    plan = checksum_plan(headers)
    assert plan == ChecksumPlan(algorithm.lower(), given_type)
    assert dict(plan.headers) == {"x-amz-checksum-algorithm": algorithm.upper(), "x-amz-checksum-type": given_type}


@pytest.mark.parametrize(
    ("algorithm", "asked", "code", "said"),
    [
        ("SHA1", "FULL_OBJECT", "InvalidRequest", "FULL_OBJECT checksum type cannot be used with the sha1"),
        ("SHA256", "FULL_OBJECT", "InvalidRequest", "FULL_OBJECT checksum type cannot be used with the sha256"),
        ("CRC64NVME", "COMPOSITE", "InvalidRequest", "COMPOSITE checksum type cannot be used with the crc64nvme"),
        ("CRC32", "WHOLE", "InvalidRequest", "x-amz-checksum-type header is invalid"),
        ("CRC16", None, "InvalidRequest", "valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]"),
        ("MD5", None, "NotImplemented", "MD5"),
        (None, "COMPOSITE", "InvalidRequest", "can only be used with the x-amz-checksum-algorithm header"),
    ],
)
def test_what_cannot_be_a_checksum_of_an_upload(algorithm: str | None, asked: str | None, code: str, said: str) -> None:
    headers = [("x-amz-checksum-algorithm", algorithm)] if algorithm else []
    headers += [("x-amz-checksum-type", asked)] if asked else []
    with pytest.raises(S3Error) as refused:
        checksum_plan(headers)
    assert refused.value.code == code
    assert said in refused.value.message


def test_an_upload_without_named_checksum_gets_s3s_own() -> None:
    plan = checksum_plan([("content-type", "text/plain")])
    assert (plan.algorithm, plan.type, plan.headers) == ("", "", [])
    parts = [part(1, b"one", "crc64nvme"), part(2, b"two", "crc64nvme")]
    whole = part(1, b"onetwo", "crc64nvme")
    assert object_checksums(parts, plan) == {**whole.checksums, "type": FULL_OBJECT}


@pytest.mark.parametrize(("declared", "fits"), [(None, True), ("sha1", True), ("crc32", False)])
def test_a_part_brings_the_uploads_checksum_or_none(declared: str | None, fits: bool) -> None:
    check_part_algorithm(ChecksumPlan(), declared)
    plan = ChecksumPlan("sha1", COMPOSITE)
    if fits:
        check_part_algorithm(plan, declared)
        return
    with pytest.raises(S3Error) as refused:
        check_part_algorithm(plan, declared)
    assert refused.value.message == (
        "Checksum Type mismatch occurred, expected checksum Type: sha1, actual checksum Type: crc32"
    )


def test_upload_ids_cannot_be_guessed_and_follow_time() -> None:
    ids = {new_upload_id(1_800_000_000.0, secrets.token_urlsafe) for _ in range(1000)}
    assert all(map(is_made_here, ids))
    assert not any(map(is_made_here, ("", "u", "2~abc.def", next(iter(ids))[:-1], next(iter(ids)) + "a")))
    assert len(ids) == 1000
    for upload_id in ids:
        assert len(upload_id.partition(".")[2]) >= 43, "256 bits"
        assert all(char.isascii() and (char.isalnum() or char in "._-") for char in upload_id)
    assert new_upload_id(1_800_000_000.0, lambda _: "z") < new_upload_id(1_800_000_000.001, lambda _: "a")


def test_the_etag_is_that_of_s3() -> None:
    """`-3` of three parts; the value that `openssl md5` gives for the three binary MD5s."""
    parts = [part(number, body) for number, body in enumerate((b"a" * 10, b"b" * 10, b"c"), start=1)]
    md5s = b"".join(hashlib.md5(body).digest() for body in (b"a" * 10, b"b" * 10, b"c"))
    assert multipart_etag(parts) == f"{hashlib.md5(md5s).hexdigest()}-3"
    assert multipart_etag(parts[:1]).endswith("-1")


@given(bodies=st.lists(st.binary(max_size=200), min_size=1, max_size=6))
def test_full_object_checksums_are_those_of_the_whole(bodies: list[bytes]) -> None:
    for algorithm in COMBINABLE:
        parts = [part(number, body, algorithm) for number, body in enumerate(bodies, start=1)]
        whole = part(1, b"".join(bodies), algorithm)
        assert object_checksums(parts, ChecksumPlan(algorithm, FULL_OBJECT)) == {**whole.checksums, "type": FULL_OBJECT}


@given(bodies=st.lists(st.binary(max_size=50), min_size=1, max_size=6))
def test_composite_checksums_are_those_of_the_parts_checksums(bodies: list[bytes]) -> None:
    for algorithm in DIGEST_BYTES:
        parts = [part(number, body, algorithm) for number, body in enumerate(bodies, start=1)]
        together = b"".join(base64.b64decode(one.checksums[algorithm]) for one in parts)
        expected = part(1, together, algorithm).checksums[algorithm]
        assert composite_checksum(algorithm, [one.checksums[algorithm] for one in parts]) == f"{expected}-{len(bodies)}"


def test_a_composite_sha256_that_was_computed_elsewhere() -> None:
    """By openssl: `(printf a | openssl dgst -sha256 -binary; printf b | …) | openssl dgst -sha256 -binary | base64`."""
    parts = [part(1, b"a", "sha256"), part(2, b"b", "sha256")]
    expected = "5aAf7hTg7VxIcU8iGA8lrYNltT+XefedxKPX6Tlj+Uo="
    assert object_checksums(parts, ChecksumPlan("sha256", COMPOSITE))["sha256"] == f"{expected}-2"


def test_where_a_part_has_no_checksum_the_object_has_none() -> None:
    assert object_checksums([part(1, b"a", "crc64nvme"), part(2, b"b")], ChecksumPlan()) == {}


HELD = [part(number, bytes([number]) * 10, "crc32") for number in (1, 2, 5)]
LISTED = [ListedPart(one.number, one.md5_hex, one.checksums) for one in HELD]


def test_parts_may_be_left_out_and_have_gaps() -> None:
    assert choose(LISTED, HELD) == HELD
    assert choose(LISTED[1:], HELD) == HELD[1:]


@pytest.mark.parametrize(
    ("listed", "code"),
    [
        ([LISTED[1], LISTED[0]], "InvalidPartOrder"),
        ([LISTED[0], LISTED[0]], "InvalidPartOrder"),
        ([LISTED[0], ListedPart(3, LISTED[0].etag)], "InvalidPart"),
        ([ListedPart(1, LISTED[1].etag)], "InvalidPart"),
        ([ListedPart(1, "")], "InvalidPart"),
        ([ListedPart(1, LISTED[0].etag, {"crc32": LISTED[1].checksums["crc32"]})], "InvalidPart"),
        ([ListedPart(1, LISTED[0].etag, {"crc32c": LISTED[0].checksums["crc32"]})], "InvalidPart"),
    ],
)
def test_lists_that_do_not_fit_what_is_held(listed: list[ListedPart], code: str) -> None:
    with pytest.raises(S3Error) as refused:
        choose(listed, HELD)
    assert refused.value.code == code
    assert refused.value.details["UploadId"] == "u"


def test_a_composite_upload_needs_the_checksum_of_each_part() -> None:
    listed = [LISTED[0], ListedPart(2, LISTED[1].etag)]
    with pytest.raises(S3Error) as refused:
        choose(listed, HELD, ChecksumPlan("crc32", COMPOSITE))
    assert refused.value.code == "InvalidRequest"
    assert refused.value.message == (
        "The upload was created using a crc32 checksum. The complete request must include the checksum for each part. It was "
        "missing for part 2 in the request."
    )
    assert choose(listed, HELD, ChecksumPlan("crc32", FULL_OBJECT)) == HELD[:2]


def test_only_the_last_part_may_be_small() -> None:
    held = [part(1, b"x", size=PART_BYTES_MIN), part(2, b"y", size=PART_BYTES_MIN - 1), part(3, b"z", size=0)]
    listed = [ListedPart(one.number, one.md5_hex) for one in held]
    assert choose(listed[:2], held, part_bytes_min=PART_BYTES_MIN) == held[:2]
    assert choose([listed[0], listed[2]], held, part_bytes_min=PART_BYTES_MIN) == [held[0], held[2]]
    with pytest.raises(S3Error) as refused:
        choose(listed, held, part_bytes_min=PART_BYTES_MIN)
    assert refused.value.code == "EntityTooSmall"
    assert refused.value.details == {
        "ProposedSize": str(PART_BYTES_MIN - 1),
        "MinSizeAllowed": str(PART_BYTES_MIN),
        "PartNumber": "2",
        "ETag": held[1].md5_hex,
    }


def test_no_object_is_larger_than_s3_allows() -> None:
    held = [part(1, b"x", size=OBJECT_BYTES_MAX), part(2, b"y")]
    assert choose([ListedPart(1, held[0].md5_hex)], held) == held[:1]
    with pytest.raises(S3Error) as refused:
        choose([ListedPart(one.number, one.md5_hex) for one in held], held)
    assert refused.value.code == "EntityTooLarge"


COMPOSITE_CRC = "x-amz-checksum-crc32"
PARTS = [part(1, b"one", "crc32", "crc64nvme"), part(2, b"two", "crc32", "crc64nvme")]
WHOLE = part(1, b"onetwo", "crc32", "crc64nvme", "crc32c")
PLANS = {
    "composite": ChecksumPlan("crc32", COMPOSITE),
    "full": ChecksumPlan("crc32", FULL_OBJECT),
    "unnamed": ChecksumPlan(),
}


def check(headers: Headers, plan: str) -> None:
    Expected.from_headers(headers).check(PARTS, PLANS[plan], object_checksums(PARTS, PLANS[plan]))


COMPOSITE_VALUE = object_checksums(PARTS, PLANS["composite"])["crc32"]


@pytest.mark.parametrize(
    ("plan", "headers"),
    [
        ("composite", []),
        ("composite", [("x-amz-mp-object-size", "6"), ("x-amz-checksum-type", "COMPOSITE")]),
        ("composite", [("x-amz-checksum-crc32", COMPOSITE_VALUE)]),
        ("composite", [("x-amz-checksum-crc32", COMPOSITE_VALUE.partition("-")[0])]),
        ("full", [("x-amz-checksum-crc32", WHOLE.checksums["crc32"]), ("x-amz-checksum-type", "FULL_OBJECT")]),
        (
            "unnamed",
            [("x-amz-checksum-crc64nvme", WHOLE.checksums["crc64nvme"]), ("x-amz-checksum-type", "FULL_OBJECT")],
        ),
        ("unnamed", [("x-amz-checksum-crc32", WHOLE.checksums["crc32"])]),
    ],
)
def test_headers_that_describe_the_object_rightly(plan: str, headers: Headers) -> None:
    check(headers, plan)


@pytest.mark.parametrize(
    ("plan", "headers", "code"),
    [
        ("composite", [("x-amz-mp-object-size", "7")], "InvalidRequest"),
        ("composite", [("x-amz-mp-object-size", "-1")], "InvalidRequest"),
        ("composite", [("x-amz-mp-object-size", "6" * 30)], "InvalidRequest"),
        ("composite", [("x-amz-checksum-type", "FULL_OBJECT")], "InvalidRequest"),
        ("full", [("x-amz-checksum-type", "COMPOSITE")], "InvalidRequest"),
        ("unnamed", [("x-amz-checksum-type", "COMPOSITE")], "InvalidRequest"),
        ("full", [("x-amz-checksum-type", "ANY")], "InvalidRequest"),
        ("full", [("x-amz-checksum-crc32", "AAAAAA==")], "BadDigest"),
        ("full", [("x-amz-checksum-crc32", f"{WHOLE.checksums['crc32']}-2")], "BadDigest"),
        ("composite", [("x-amz-checksum-crc32", "AAAAAA==-2")], "BadDigest"),
        ("composite", [("x-amz-checksum-crc32", COMPOSITE_VALUE.replace("-2", "-3"))], "BadDigest"),
        ("full", [("x-amz-checksum-crc32", "AAAA")], "InvalidRequest"),
        ("full", [("x-amz-checksum-crc32", "\xff")], "InvalidRequest"),
        ("composite", [("x-amz-checksum-crc32", "AAAAAA==-\xe9")], "InvalidRequest"),
        ("composite", [("x-amz-checksum-crc32", f"{COMPOSITE_VALUE}-2")], "InvalidRequest"),
        ("full", [("x-amz-checksum-crc32c", WHOLE.checksums["crc32c"])], "InvalidRequest"),
        ("unnamed", [("x-amz-checksum-crc32c", WHOLE.checksums["crc32c"])], "InvalidRequest"),
        ("full", [("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-checksum-crc32c", "AAAAAA==")], "InvalidRequest"),
        ("full", [("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-checksum-crc32", "AAAAAA==")], "InvalidArgument"),
        ("full", [("x-amz-checksum-xxhash64", "AAAAAA==")], "NotImplemented"),
    ],
)
def test_headers_that_describe_another_object(plan: str, headers: Headers, code: str) -> None:
    with pytest.raises(S3Error) as refused:
        check(headers, plan)
    assert refused.value.code == code


def test_a_list_is_the_same_however_it_was_spelt() -> None:
    """What identifies it is what it says: number, ETag, checksums."""
    listed = [ListedPart(1, "e", {"crc32": "v"}), ListedPart(2, "f")]
    assert request_sha256(listed) == request_sha256([ListedPart(1, "e", {"crc32": "v"}), ListedPart(2, "f", {})])
    others = [
        listed[:1],
        listed[::-1],
        [ListedPart(1, "e"), listed[1]],
        [ListedPart(1, "e2"), listed[1]],
        [ListedPart(3, "e", {"crc32": "v"}), listed[1]],
    ]
    assert len({request_sha256(other) for other in [listed, *others]}) == 6
