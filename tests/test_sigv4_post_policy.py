"""The signature of a browser's form: AWS's published example, boto3 as the oracle, and every field tampered with."""

from __future__ import annotations

from collections.abc import Mapping

import boto3
import pytest
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

from addon import sigv4
from addon.s3.errors import S3Error

SECRETS = {"AKIAIOSFODNN7EXAMPLE": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "AKOTHER": "another-secret"}

# https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-post-example.html
PUBLISHED = {
    "x-amz-algorithm": "AWS4-HMAC-SHA256",
    "x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request",
    "x-amz-date": "20151229T000000Z",
    "policy": (
        "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tldCI6ICJzaWd2NGV4YW1w"
        "bGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAg"
        "IHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2Fk"
        "Lmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUx"
        "MjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXot"
        "bWV0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3"
        "czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlU"
        "MDAwMDAwWiIgfQ0KICBdDQp9"
    ),
    "x-amz-signature": "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e",
}


def verified(fields: Mapping[str, str]) -> str:
    return sigv4.verify_post_policy(fields, secret_for=SECRETS.get)


def refusal(fields: Mapping[str, str]) -> S3Error:
    with pytest.raises(S3Error) as refused:
        verified(fields)
    return refused.value


def test_the_published_example() -> None:
    assert verified(PUBLISHED) == "AKIAIOSFODNN7EXAMPLE"


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "auto"])
def test_what_boto3_signs(region: str) -> None:
    s3 = boto3.client(
        "s3",
        region_name=region,
        endpoint_url="https://s3.test",
        aws_access_key_id="AKOTHER",
        aws_secret_access_key=SECRETS["AKOTHER"],
        config=Config(signature_version="s3v4"),
    )
    fields = s3.generate_presigned_post("images", "key/${filename}", {"acl": "private"}, [{"acl": "private"}])["fields"]
    assert verified(fields) == "AKOTHER"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        (
            {"x-amz-signature": "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699f"},
            "SignatureDoesNotMatch",
        ),
        ({"x-amz-signature": PUBLISHED["x-amz-signature"].upper()}, "SignatureDoesNotMatch"),
        ({"x-amz-signature": PUBLISHED["x-amz-signature"][:-1]}, "SignatureDoesNotMatch"),
        ({"x-amz-signature": PUBLISHED["x-amz-signature"] + "0"}, "SignatureDoesNotMatch"),
        ({"x-amz-signature": "\udcff"}, "SignatureDoesNotMatch"),
        ({"x-amz-signature": "ü" * 64}, "SignatureDoesNotMatch"),
        ({"x-amz-signature": ""}, "InvalidArgument"),
        ({"x-amz-signature": None}, "InvalidArgument"),
        ({"policy": PUBLISHED["policy"] + "="}, "SignatureDoesNotMatch"),
        ({"policy": PUBLISHED["policy"].replace("eyAi", "eyAI", 1)}, "SignatureDoesNotMatch"),
        ({"policy": ""}, "InvalidArgument"),
        ({"policy": None}, "InvalidArgument"),
        ({"x-amz-algorithm": "AWS4-ECDSA-P256-SHA256"}, "NotImplemented"),
        ({"x-amz-algorithm": "aws4-hmac-sha256"}, "InvalidArgument"),
        ({"x-amz-algorithm": "AWS4-HMAC-SHA256 "}, "InvalidArgument"),
        ({"x-amz-algorithm": None}, "InvalidArgument"),
        ({"x-amz-credential": None}, "InvalidArgument"),
        ({"x-amz-credential": "AKOTHER/20151229/us-east-1/s3/aws4_request"}, "SignatureDoesNotMatch"),
        ({"x-amz-credential": "AKNOBODY/20151229/us-east-1/s3/aws4_request"}, "InvalidAccessKeyId"),
        ({"x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20151229/eu-west-1/s3/aws4_request"}, "SignatureDoesNotMatch"),
        (
            {"x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/sts/aws4_request"},
            "AuthorizationQueryParametersError",
        ),
        (
            {"x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws5_request"},
            "AuthorizationQueryParametersError",
        ),
        (
            {"x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20151230/us-east-1/s3/aws4_request"},
            "AuthorizationQueryParametersError",
        ),
        ({"x-amz-credential": "AKIAIOSFODNN7EXAMPLE/us-east-1/s3"}, "AuthorizationQueryParametersError"),
        ({"x-amz-date": "20151230T000000Z"}, "AuthorizationQueryParametersError"),
        ({"x-amz-date": "20151229"}, "InvalidArgument"),
        ({"x-amz-date": "20151329T000000Z"}, "InvalidArgument"),
        ({"x-amz-date": None}, "InvalidArgument"),
        ({"x-amz-security-token": "a-token"}, "InvalidToken"),
        ({"x-amz-security-token": ""}, "InvalidToken"),
        ({"awsaccesskeyid": "AKIAIOSFODNN7EXAMPLE"}, "InvalidRequest"),
        ({"signature": "AbCd="}, "InvalidRequest"),
    ],
)
def test_every_field_tampered_with(changed: Mapping[str, str | None], code: str) -> None:
    merged = {**PUBLISHED, **changed}
    error = refusal({name: value for name, value in merged.items() if value is not None})
    assert error.code == code
    assert PUBLISHED["x-amz-signature"] not in str(error.details) + error.message


@pytest.mark.parametrize("fields", [{}, {"key": "k", "acl": "public-read"}])
def test_a_form_that_claims_nothing_is_anonymous(fields: Mapping[str, str]) -> None:
    assert refusal(fields).code == "AccessDenied"


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_form_with_half_a_claim_is_not_anonymous(name: str) -> None:
    assert refusal({name: PUBLISHED[name]}).code == "InvalidArgument"


def test_an_empty_secret_opens_nothing() -> None:
    with pytest.raises(S3Error) as refused:
        sigv4.verify_post_policy(PUBLISHED, secret_for=lambda _: "")
    assert refused.value.code == "InvalidAccessKeyId"


@given(st.dictionaries(st.sampled_from([*PUBLISHED, "x-amz-security-token", "signature"]), st.text(max_size=80)))
def test_nothing_else_ever_passes(changed: dict[str, str]) -> None:
    fields = {**PUBLISHED, **changed}
    if any(PUBLISHED.get(name) != value for name, value in fields.items()):
        with pytest.raises(S3Error):
            verified(fields)
