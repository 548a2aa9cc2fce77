"""What is said of a plain bucket, and pages of the list of buckets."""

from __future__ import annotations

from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.bucket_answers import (
    BUCKETS_PER_PAGE_MAX,
    PLAIN_BUCKET_QUESTIONS,
    BucketsQuery,
    buckets_xml,
    location_xml,
    parse_buckets_query,
    plain_bucket_answer,
)
from addon.s3.errors import S3Error
from addon.s3.operations import HANDLING, Handling, Operation

NAMES = st.text("abc.-0", min_size=3, max_size=6)


def parsed(body: bytes) -> Element:
    root = fromstring(body)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


@pytest.mark.parametrize("operation", sorted(PLAIN_BUCKET_QUESTIONS, key=lambda one: one.value))
def test_each_question_has_an_answer_or_the_error_that_there_is_none(operation: Operation) -> None:
    assert HANDLING[operation] is Handling.NATIVE
    try:
        body = plain_bucket_answer(operation, "b")
    except S3Error as error:
        found, details = error.status, error.details
    else:
        found, details = 200, {"BucketName": "b"}
        assert len(parsed(body).tag) > 10
    assert (found in (200, 404), details) == (True, {"BucketName": "b"})


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        (Operation.GET_BUCKET_VERSIONING, "VersioningConfiguration"),
        (Operation.GET_BUCKET_ACL, "FULL_CONTROL"),
        (Operation.GET_BUCKET_ENCRYPTION, "AES256"),
        (Operation.GET_BUCKET_REQUEST_PAYMENT, "BucketOwner"),
        (Operation.GET_BUCKET_POLICY, "NoSuchBucketPolicy"),
        (Operation.GET_BUCKET_LIFECYCLE_CONFIGURATION, "NoSuchLifecycleConfiguration"),
        (Operation.GET_PUBLIC_ACCESS_BLOCK, "NoSuchPublicAccessBlockConfiguration"),
    ],
)
def test_answers(operation: Operation, said: str) -> None:
    try:
        found = plain_bucket_answer(operation, "b").decode()
    except S3Error as error:
        found = error.code
    assert said in found


@pytest.mark.parametrize(("region", "text"), [("us-east-1", None), ("eu-central-1", "eu-central-1"), ("a<b", "a<b")])
def test_locations(region: str, text: str | None) -> None:
    location = parsed(location_xml(region))
    assert (location.tag, location.text, len(location)) == ("LocationConstraint", text, 0)


@given(
    regions=st.dictionaries(NAMES, st.sampled_from(["us-east-1", "eu-central-1"])),
    prefix=st.sampled_from(["", "a", "ab"]),
    region=st.none() | st.just("us-east-1"),
    limit=st.integers(1, 5),
)
def test_pages_give_every_bucket_once_and_in_order(
    regions: dict[str, str], prefix: str, region: str | None, limit: int
) -> None:
    found: list[str] = []
    query = f"max-buckets={limit}&prefix={prefix}" + ("" if region is None else f"&bucket-region={region}")
    token = ""
    for _ in range(len(regions) + 1):
        page = parsed(buckets_xml(regions, parse_buckets_query(f"{query}&continuation-token={token}")))
        names = [str(bucket.findtext("Name")) for bucket in page.iter("Bucket")]
        assert len(names) <= limit
        assert [bucket.findtext("BucketRegion") for bucket in page.iter("Bucket")] == [regions[name] for name in names]
        found += names
        token = page.findtext("ContinuationToken") or ""
        if not token:
            break
    wanted = [name for name in regions if name.startswith(prefix) and region in (None, regions[name])]
    assert found == sorted(wanted)


def test_an_unpaged_list_is_whole_and_says_no_more_than_s3_did_before_there_were_pages() -> None:
    listed = parsed(buckets_xml({"b": "eu-central-1", "a": "us-east-1"}, parse_buckets_query("x-id=ListBuckets")))
    assert listed.tag == "ListAllMyBucketsResult"
    assert [[child.tag for child in bucket] for bucket in listed.iter("Bucket")] == [["Name", "CreationDate"]] * 2
    assert listed.findtext("Owner/ID")
    assert parse_buckets_query("") == BucketsQuery()


@pytest.mark.parametrize(
    "query",
    [
        "max-buckets=0",
        f"max-buckets={BUCKETS_PER_PAGE_MAX + 1}",
        "max-buckets=x",
        "max-buckets=-1",
        "max-buckets=",
        "max-buckets=%D9%A1",
        "continuation-token=%FF",
        "continuation-token=a",
        "continuation-token=a%20b%3D",
        "continuation-token=/w==",
        "continuation-token=" + "A" * 2000,
    ],
)
def test_bad_parameters(query: str) -> None:
    with pytest.raises(S3Error) as refused:
        parse_buckets_query(query)
    assert refused.value.code in ("InvalidArgument", "InvalidURI")
