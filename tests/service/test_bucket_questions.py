"""What clients ask about buckets before they work, with an origin and without."""

from __future__ import annotations

import pytest

from addon.s3.bucket_answers import PLAIN_BUCKET_QUESTIONS
from tests.operation_samples import smallest_request
from tests.service.fixtures import OriginServer
from tests.service.product import ALONE, HOST, IMAGES, OPEN, OTHER, OTHER_USER, USER, Answer, Product
from tests.service.signing import EMPTY_SHA256, Key, sign


async def of_service(product: Product, by: Key | None, query: str = "", method: str = "GET") -> Answer:
    target = "/" + (f"?{query}" if query else "")
    headers = [("host", HOST)] if by is None else sign(by, method, target, HOST, [], payload=EMPTY_SHA256).headers
    return await product.send_as_is(method, target, headers)


def names(answer: Answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [piece.partition("<")[0] for piece in answer.text.split("<Name>")[1:]]


async def test_each_user_sees_the_buckets_of_their_key(product: Product) -> None:
    assert names(await of_service(product, USER)) == [ALONE, IMAGES, OPEN]
    assert names(await of_service(product, OTHER_USER)) == [OTHER]
    assert names(await of_service(product, USER, "prefix=o")) == [OPEN]
    assert product.origin.requests == []


async def test_pages(product: Product) -> None:
    first = await of_service(product, USER, "max-buckets=2")
    assert names(first) == [ALONE, IMAGES]
    token = first.text.partition("<ContinuationToken>")[2].partition("<")[0].replace("=", "%3D")
    rest = await of_service(product, USER, f"continuation-token={token}&max-buckets=2")
    assert (names(rest), "<ContinuationToken>" in rest.text) == ([OPEN], False)
    bad = await of_service(product, USER, "max-buckets=0")
    assert (bad.status_code, bad.code) == (400, "InvalidArgument")


async def test_strangers_see_no_bucket(product: Product) -> None:
    anonymous = await of_service(product, None)
    assert (anonymous.status_code, anonymous.code) == (403, "AccessDenied")
    unknown = await of_service(product, Key("AKNOBODY", "x"))
    assert (unknown.status_code, unknown.code) == (403, "InvalidAccessKeyId")
    forged = await of_service(product, Key(USER.access_key_id, "x"))
    assert (forged.status_code, forged.code) == (403, "SignatureDoesNotMatch")


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
async def test_nothing_else_is_done_to_the_service(product: Product, method: str) -> None:
    assert (await of_service(product, USER, method=method)).code == "NotImplemented"


@pytest.mark.parametrize("bucket", [IMAGES, ALONE])
async def test_a_configured_bucket_is_there(product: Product, bucket: str) -> None:
    head = await product.send("HEAD", "", bucket=bucket)
    assert (head.status_code, head.content, head.headers["x-amz-bucket-region"]) == (200, b"", "us-east-1")
    location = await product.send("GET", "", bucket=bucket, query="location")
    assert location.text.endswith(
        '<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></LocationConstraint>'
    )
    assert (await product.send("HEAD", "", bucket=bucket, by=OTHER_USER)).status_code == 403
    assert (await product.send("HEAD", "", bucket=bucket, by=None)).status_code == 403
    assert product.origin.requests == []


async def test_settings_are_the_origins(product: Product, origin_server: OriginServer) -> None:
    s3 = origin_server.s3
    s3.put_bucket_tagging(Bucket="images-there", Tagging={"TagSet": [{"Key": "a", "Value": "1"}]})
    try:
        answer = await product.send("GET", "", query="tagging")
        assert (answer.status_code, "<Key>a</Key>" in answer.text) == (200, True)
    finally:
        s3.delete_bucket_tagging(Bucket="images-there")
    assert (await product.send("GET", "", query="policy")).code == "NoSuchBucketPolicy"
    assert ("GET", "/images-there?policy") in product.origin.requests


async def test_without_an_origin_they_are_those_of_a_plain_bucket(product: Product) -> None:
    for operation in PLAIN_BUCKET_QUESTIONS:
        query = smallest_request(operation.value).query
        answer = await product.send("GET", "", bucket=ALONE, query=query)
        assert answer.status_code in (200, 404), operation
        assert "xmlns" in answer.text or f"<BucketName>{ALONE}</BucketName>" in answer.text
        stranger = await product.send("GET", "", bucket=ALONE, query=query, by=None)
        assert (stranger.status_code, stranger.code) == (403, "AccessDenied"), operation
    assert product.origin.requests == []


async def test_cross_origin_rules_of_the_settings_come_before_the_origins(product: Product) -> None:
    for bucket in (IMAGES, ALONE):
        assert (await product.send("GET", "", bucket=bucket, query="cors")).code == "NoSuchCORSConfiguration"
