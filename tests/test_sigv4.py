"""Signatures: the published vectors, botocore and awscrt as oracles. The attacks are in `test_sigv4_attacks.py`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from addon.s3.canonical_request import canonical_headers, canonical_parameters, canonical_path, canonical_query
from addon.s3.errors import S3Error
from addon.s3.payload import EMPTY_SHA256_HEX
from addon.sigv4 import PayloadKind, SignedRequest, access_key_id, verify
from tests.signing import (
    ACCESS_KEY_ID,
    SECRET_ACCESS_KEY,
    SIGNERS,
    Recorder,
    changed,
    check,
    code,
    header_of,
    header_signed,
    plain,
    presigned,
    received,
    refusal,
    resigned,
    with_authorization,
)

VECTORS = sorted((Path(__file__).parent / "vectors" / "sigv4").glob("*.json"))
URL = "https://images.s3.example.com/a/key.png"
ZEROS = "0" * 64


# ---- Published vectors


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_published_vector(path: Path) -> None:
    vector = json.loads(path.read_text())
    raw_path, _, raw_query = vector["target"].encode().decode("latin-1").partition("?")
    headers = [(name, value) for name, value in vector["headers"]]
    request = SignedRequest(vector["method"], raw_path, raw_query, headers)
    now = datetime.fromisoformat(vector["now"])
    if "canonical_request_sha256" in vector:
        assert canonical_sha256(request) == vector["canonical_request_sha256"], "the canonical request differs"
    secrets = {vector["access_key_id"]: vector["secret_access_key"]}
    verified = verify(request, secret_for=secrets.get, now=now, service=vector["service"])
    assert verified.access_key_id == vector["access_key_id"] == access_key_id(request)
    assert verified.payload.kind is PayloadKind[vector["payload"]]
    wrong = {vector["access_key_id"]: vector["secret_access_key"] + "x"}
    with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
        verify(request, secret_for=wrong.get, now=now, service=vector["service"])


def canonical_sha256(request: SignedRequest) -> str:
    headers: dict[str, list[str]] = {}
    for name, value in request.headers:
        headers.setdefault(name.lower(), []).append(value)
    parameters = canonical_parameters(request.raw_query)
    presigned = "authorization" not in headers
    signed = ["host"] if presigned else headers["authorization"][0].split("SignedHeaders=")[1].split(",")[0].split(";")
    payload = "UNSIGNED-PAYLOAD" if presigned else headers["x-amz-content-sha256"][0]
    query = canonical_query(pair for pair in parameters if pair[0] != "X-Amz-Signature")
    text = (
        f"{request.method}\n{canonical_path(request.raw_path)}\n{query}\n{canonical_headers(signed, headers)}\n"
        f"{';'.join(signed)}\n{payload}"
    )
    return hashlib.sha256(text.encode("latin-1")).hexdigest()


def test_upload_of_picgo() -> None:
    body = b"\x89PNG a small picture"
    request = header_signed(
        "PUT",
        "https://s3.example.com/images/2026/11/0cc175b9c0f1b6a831c399e269772661.png?x-id=PutObject",
        [
            ("content-type", "image/png"),
            ("x-amz-acl", "public-read"),
            ("amz-sdk-invocation-id", "0dd1a9b3-6a8c-4b9a-8f60-2b8ce2d1c4b0"),
            ("amz-sdk-request", "attempt=1; max=3"),
            ("x-amz-user-agent", "aws-sdk-js/3.729.0"),
            ("content-length", str(len(body))),
            ("Expect", "100-continue"),
        ],
        body,
        region="auto",
    )
    assert header_of(request, "authorization").split("SignedHeaders=")[1].split(",")[0] == (
        "amz-sdk-invocation-id;amz-sdk-request;content-length;content-type;host;x-amz-acl;x-amz-content-sha256;x-amz-date;x-amz-user-agent"
    )
    verified = check(request)
    assert verified.payload.sha256_hex == hashlib.sha256(body).hexdigest()
    assert "x-amz-acl" in verified.signed_headers
    assert not verified.presigned


# ---- botocore and awscrt as oracles

# What is a key's character on the wire: anything but what ends a target; odd ones often.
ODD = st.sampled_from(
    [
        "%",
        "+",
        "~",
        " ",
        "//",
        "/./",
        "/../",
        "é",
        "ሴ",
        "😀",
        "!",
        "'",
        "(",
        "*",
        "&",
        "=",
        ";",
        ":",
        "@",
        "$",
        ",",
        "\t",
        "\n",
    ]
)
KEYS = st.lists(st.one_of(ODD, st.text(st.characters(codec="utf-8"), max_size=4)), min_size=1, max_size=8).map("".join)
VALUES = st.lists(st.one_of(ODD, st.text(st.characters(codec="utf-8"), max_size=4)), max_size=4).map("".join)
QUERIES = st.lists(st.tuples(KEYS, VALUES), max_size=5)
HEADER_NAMES = st.sampled_from(
    ["content-type", "x-amz-meta-a", "x-amz-meta-b", "x-amz-acl", "cache-control", "X-Amz-Tagging", "x-custom"]
)
HEADER_VALUES = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"], include_characters=" \t"),
    max_size=12,
)
HEADERS = st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES), max_size=6)


def url_of(key: str, query: list[tuple[str, str]]) -> str:
    joined = "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in query)
    return f"https://images.s3.example.com/{quote(key, safe='/~')}" + (f"?{joined}" if joined else "")


def authenticating(query: list[tuple[str, str]]) -> bool:
    return any(
        name.lower() in {"signature", "awsaccesskeyid"} or name.lower().startswith("x-amz-") for name, _ in query
    )


@pytest.mark.parametrize("signer", SIGNERS)
@settings(max_examples=150, deadline=None)
@given(key=KEYS, query=QUERIES, headers=HEADERS, body=st.binary(max_size=20))
@example(
    key="a//b/../c/./d",
    query=[("prefix", ""), ("a", "2"), ("a", "1"), ("A", "+ %")],
    headers=[("x-amz-meta-a", "  b \t  c ")],
    body=b"",
)
def test_what_is_signed_in_the_header_verifies(
    signer: str, key: str, query: list[tuple[str, str]], headers: list[tuple[str, str]], body: bytes
) -> None:
    if authenticating(query):
        return
    if signer == "awscrt":
        # The C library takes header values as ASCII, and each header once.
        headers = list({name.lower(): (name, value) for name, value in headers if value.isascii()}.values())
    request = header_signed("PUT", url_of(key, query), headers, body, signer=signer)
    verified = check(request)
    assert verified.access_key_id == ACCESS_KEY_ID == access_key_id(request)
    assert verified.payload.sha256_hex == hashlib.sha256(body).hexdigest()
    assert code(changed(request, raw_path=request.raw_path + "x")) == "SignatureDoesNotMatch"
    assert code(changed(request, raw_query=request.raw_query + "&x-added=1")) == "SignatureDoesNotMatch"


@settings(max_examples=150, deadline=None)
@given(key=KEYS, query=QUERIES)
def test_what_is_presigned_verifies(key: str, query: list[tuple[str, str]]) -> None:
    # botocore folds a repeated parameter into a list of its own spelling, so each name stands once.
    query = list(dict(query).items())
    if authenticating(query):
        return
    request = presigned("GET", url_of(key, query))
    verified = check(request)
    assert verified.presigned
    assert verified.payload.kind is PayloadKind.UNSIGNED
    assert access_key_id(request) == ACCESS_KEY_ID
    assert code(changed(request, method="PUT")) == "SignatureDoesNotMatch"
    assert code(changed(request, raw_query=request.raw_query + "&x-added=1")) == "SignatureDoesNotMatch"


@settings(max_examples=100, deadline=None)
@given(key=KEYS)
def test_every_spelling_of_a_signed_key_verifies_and_no_other_key_does(key: str) -> None:
    request = header_signed("GET", url_of(key, []))
    every_byte = "/" + "".join(f"%{byte:02x}" for byte in key.encode())
    assert check(changed(request, raw_path=every_byte)).access_key_id == ACCESS_KEY_ID
    # One more level of encoding is another key.
    if "%" in request.raw_path:
        assert code(changed(request, raw_path=request.raw_path.replace("%", "%25"))) == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    "key", ["a b", "a+b", "a/b//c", "/lead", "trail/", "ü/日本", "~tilde", "a%2Fb", "dot/./../x", "x" * 300]
)
@pytest.mark.parametrize(
    "endpoint", ["http://s3.example.com", "https://s3.example.com:8443", "http://s3.example.com:9000"]
)
def test_requests_of_a_whole_botocore_client(key: str, endpoint: str) -> None:
    recorder = Recorder(endpoint, region="auto")
    put, _ = recorder.send(
        "put_object", Bucket="images", Key=key, Body=b"data", Metadata={"a": "b  c"}, ACL="public-read"
    )
    if endpoint.startswith("https:"):
        assert check(put).payload.kind is PayloadKind.STREAMING_UNSIGNED_TRAILER
    else:
        assert check(put).payload.sha256_hex == hashlib.sha256(b"data").hexdigest()
    for operation in ("get_object", "head_object", "delete_object"):
        assert check(recorder.send(operation, Bucket="images", Key=key)[0]).payload.sha256_hex == EMPTY_SHA256_HEX


def test_listing_with_odd_parameters() -> None:
    recorder = Recorder("https://s3.example.com")
    request, _ = recorder.send("list_objects_v2", Bucket="images", Prefix="a b+c/ü~&=", Delimiter="/", StartAfter="%41")
    assert check(request).access_key_id == ACCESS_KEY_ID


@pytest.mark.parametrize("separator", [", ", ",", " , ", ",\t"])
def test_fields_of_the_authorization_header_may_be_separated_by_a_comma_alone(separator: str) -> None:
    request = header_signed("GET", URL)
    check(with_authorization(request, lambda value: value.replace(", ", separator)))


@pytest.mark.parametrize("region", ["auto", "us-east-1", "eu_west", "EU", "x"])
def test_any_region_is_taken(region: str) -> None:
    check(header_signed("GET", URL, region=region))


def test_a_client_may_sign_the_spelling_that_it_sends() -> None:
    request = plain("PUT", "/a%7eb%2fc!.png", x_amz_content_sha256="UNSIGNED-PAYLOAD")
    names = ["host", "x-amz-content-sha256", "x-amz-date"]
    check(resigned(request, names, "UNSIGNED-PAYLOAD"))
    check(resigned(request, names, "UNSIGNED-PAYLOAD", raw_path="/a~b/c%21.png"))
    assert code(resigned(request, names, "UNSIGNED-PAYLOAD", raw_path="/a%257eb%252fc!.png")) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("port", ["443", "80"])
def test_a_default_port_may_be_left_out_of_what_is_signed(port: str) -> None:
    request = header_signed("GET", URL)
    check(changed(request, headers={"host": f"images.s3.example.com:{port}"}))
    assert code(changed(request, headers={"host": "images.s3.example.com:8443"})) == "SignatureDoesNotMatch"


def test_a_plus_is_a_plus_in_a_path_and_a_space_in_a_query() -> None:
    assert code(changed(header_signed("GET", url_of("a b", [])), raw_path="/a+b")) == "SignatureDoesNotMatch"
    check(changed(header_signed("GET", url_of("a+b", [])), raw_path="/a+b"))
    check(changed(header_signed("GET", url_of("k", [("prefix", "a b")])), raw_query="prefix=a+b"))
    assert (
        code(changed(header_signed("GET", url_of("k", [("prefix", "a+b")])), raw_query="prefix=a+b"))
        == "SignatureDoesNotMatch"
    )


def test_an_expect_header_that_a_proxy_took_away_still_counts_as_signed() -> None:
    request = resigned(
        plain("PUT", expect="100-continue", x_amz_content_sha256="UNSIGNED-PAYLOAD"),
        ["expect", "host", "x-amz-content-sha256", "x-amz-date"],
        "UNSIGNED-PAYLOAD",
    )
    check(request)
    check(changed(request, headers={"expect": None}))
    assert code(changed(request, headers={"expect": "other"})) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("name", ["accept-encoding", "content-length", "x-amz-meta-a"])
def test_a_signed_header_that_is_absent_counts_as_empty_only(name: str) -> None:
    request = header_signed("GET", URL, [(name, "gzip")])
    assert code(changed(request, headers={name: None})) == "SignatureDoesNotMatch"


# ---- Which key a request claims


@pytest.mark.parametrize(
    ("raw_query", "headers", "expected"),
    [
        ("", {}, None),
        ("x-id=GetObject&Expires=1&prefix=Signature", {}, None),
        ("response-content-type=X-Amz-Signature%3Da", {}, None),
        ("", {"Authorization": f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/a/b/s3/aws4_request"}, ACCESS_KEY_ID),
        ("", {"AUTHORIZATION": "AWS4-HMAC-SHA256 SignedHeaders=host,Credential=AK/1/a/b/c,Signature=a"}, "AK"),
        ("", {"authorization": "AWS4-HMAC-SHA256 Credential=with/slash/1/a/b/c"}, "with/slash"),
        ("", {"authorization": "AWS4-ECDSA-P256-SHA256 Credential=AK/1/s3/aws4_request, SignedHeaders=host"}, "AK"),
        ("", {"authorization": "AWS AK:c2ln"}, "AK"),
        ("", {"authorization": "Bearer token"}, ""),
        ("", {"authorization": ""}, ""),
        ("", {"authorization": "AWS4-HMAC-SHA256"}, ""),
        ("", {"authorization": "aws4-hmac-sha256 Credential=AK/1/a/b/c"}, "AK"),
        ("X-Amz-Credential=AK%2F1%2Fa%2Fb%2Fc", {}, "AK"),
        ("X-Amz-Credential=AK/1/a/b/c&X-Amz-SignedHeaders=host", {}, "AK"),
        ("x-amz-credential=AK/1/a/b/c", {}, "AK"),
        ("X-Amz-%43redential=AK/1/a/b/c", {}, "AK"),
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256", {}, ""),
        ("X-Amz-Signature=", {}, ""),
        ("AWSAccessKeyId=AK&Signature=c2ln&Expires=1", {}, "AK"),
        ("Signature=c2ln", {}, ""),
        ("x" * 100_000, {}, ""),
    ],
)
def test_claimed_access_key(raw_query: str, headers: dict[str, str], expected: str | None) -> None:
    request = SignedRequest("GET", "/k", raw_query, list(headers.items()))
    assert access_key_id(request) == expected
    # What claims nothing is refused as anonymous; what claims something never is, and never passes here.
    error = refusal(request)
    assert ((error.code, error.message) == ("AccessDenied", "Access Denied")) == (expected is None)


@settings(max_examples=300, deadline=None)
@given(
    raw_query=st.text(st.characters(max_codepoint=0x2FF), max_size=60),
    authorization=st.none() | st.text(max_size=60),
    raw_path=st.text(max_size=10),
)
@example(raw_query="Signature", authorization=None, raw_path="/")
@example(raw_query="%ff=\ud800&X-Amz-Signature", authorization="\udcff", raw_path="/\udcff")
def test_any_request_is_refused_by_an_s3_error(raw_query: str, authorization: str | None, raw_path: str) -> None:
    headers = [("host", "h")] + ([] if authorization is None else [("authorization", authorization)])
    request = SignedRequest("GET", raw_path, raw_query, headers)
    claimed = access_key_id(request)
    error = refusal(request)
    assert error.status in {400, 403, 501}
    if authorization is not None:
        assert claimed is not None


# ---- What the answer may say


@pytest.mark.parametrize("sign", [header_signed, presigned])
@pytest.mark.parametrize(
    "change",
    [
        lambda request: changed(request, raw_path="/other"),
        lambda request: changed(request, extra=[("x-amz-acl", "private")]),
        lambda request: changed(request, headers={"authorization": "AWS4-HMAC-SHA256 Signature=abc"}),
        lambda request: changed(request, extra=[("authorization", "Bearer secret-token")]),
        lambda request: changed(request, headers={"x-amz-content-sha256": "x"}),
    ],
)
def test_no_secret_and_no_signature_in_an_error_or_a_repr(
    sign: Callable[..., SignedRequest], change: Callable[[SignedRequest], SignedRequest]
) -> None:
    request = change(sign("GET", URL))
    error = refusal(request)
    valid = sign("GET", URL)
    signature = (valid.raw_query or header_of(valid, "authorization")).rpartition("=")[2]
    shown = f"{error!r} {error} {error.__cause__!r} {error.__context__!r} {request!r}"
    for hidden in (SECRET_ACCESS_KEY, signature, "secret-token"):
        assert hidden not in shown


def test_a_verified_request_does_not_show_its_keys() -> None:
    payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    names = ["host", "x-amz-content-sha256", "x-amz-date"]
    verified = check(resigned(plain("PUT", x_amz_content_sha256=payload), names, payload))
    assert verified.chunk_signing is not None
    assert verified.chunk_signing.seed_signature not in repr(verified)
    assert repr(verified.chunk_signing.signing_key) not in repr(verified)


def test_a_mismatch_says_what_aws_says() -> None:
    error = refusal(changed(header_signed("GET", URL), raw_path="/other"))
    assert (error.code, error.status) == ("SignatureDoesNotMatch", 403)
    assert error.message.startswith("The request signature we calculated does not match the signature you provided.")
    assert error.details == {"AWSAccessKeyId": ACCESS_KEY_ID}


# ---- Payloads


def test_a_request_without_a_body_may_leave_the_payload_hash_out() -> None:
    # curl --aws-sigv4 before 8.0 signs host and x-amz-date only.
    verified = check(resigned(plain("GET"), ["host", "x-amz-date"], EMPTY_SHA256_HEX))
    assert verified.payload.sha256_hex == EMPTY_SHA256_HEX
    check(resigned(plain("PUT", content_length="0"), ["host", "x-amz-date"], EMPTY_SHA256_HEX))


@pytest.mark.parametrize(
    "headers", [{"content_length": "6"}, {"transfer_encoding": "chunked"}, {"content_length": "00"}]
)
@pytest.mark.parametrize("payload", [EMPTY_SHA256_HEX, hashlib.sha256(b"hello\n").hexdigest(), "UNSIGNED-PAYLOAD"])
def test_an_upload_may_not(headers: dict[str, str], payload: str) -> None:
    error = refusal(resigned(plain("PUT", **headers), ["host", "x-amz-date"], payload))
    assert (error.code, error.status) == ("InvalidRequest", 400)
    assert error.message == "Missing required header for this request: x-amz-content-sha256"


def test_a_signed_payload_hash_cannot_be_left_out_afterwards() -> None:
    request = header_signed("PUT", URL)
    assert code(changed(request, headers={"x-amz-content-sha256": None})) == "SignatureDoesNotMatch"


def test_a_payload_hash_in_upper_case_is_compared_in_lower_case() -> None:
    upper = hashlib.sha256(b"data").hexdigest().upper()
    request = resigned(plain("PUT", x_amz_content_sha256=upper), ["host", "x-amz-content-sha256", "x-amz-date"], upper)
    assert check(request).payload.sha256_hex == upper.lower()


@pytest.mark.parametrize("kind", list(PayloadKind))
def test_a_presigned_url_may_carry_a_payload_as_a_signed_header(kind: PayloadKind) -> None:
    value = EMPTY_SHA256_HEX if kind is PayloadKind.HASH else kind.value
    request = presigned("PUT", URL, [("X-Amz-Content-SHA256", value)])
    if "x-amz-content-sha256" not in request.raw_query.lower():
        pytest.skip("this botocore does not sign the header")
    assert check(request).payload.kind is kind


def test_a_presigned_url_may_carry_a_payload_as_a_parameter() -> None:
    request = presigned("PUT", URL + "?X-Amz-Content-Sha256=UNSIGNED-PAYLOAD")
    assert check(request).payload.kind is PayloadKind.UNSIGNED
    other = changed(request, extra=[("x-amz-content-sha256", EMPTY_SHA256_HEX)])
    assert code(other) == "InvalidArgument"


def test_session_tokens_are_invalid() -> None:
    assert code(header_signed("GET", URL, [("x-amz-security-token", "t")])) == "InvalidToken"
    assert code(presigned("GET", URL + "?X-Amz-Security-Token=t")) == "InvalidToken"
    # Before the signature is verified, nothing is said of them.
    assert code(header_signed("GET", URL, [("x-amz-security-token", "t")], secret="x")) == "SignatureDoesNotMatch"


def test_bytes_of_a_header_are_verified_as_they_came() -> None:
    request = header_signed("PUT", URL, [("x-amz-meta-a", "à la carte …")])
    assert "Ã" in header_of(request, "x-amz-meta-a")
    check(request)
    assert code(changed(request, headers={"x-amz-meta-a": "à la carte …"})) == "SignatureDoesNotMatch"


def test_a_line_break_cannot_make_one_header_pass_for_two() -> None:
    names = ["a", "host", "x-amz-date"]
    request = resigned(plain("GET", a="1", b="2"), ["a", "b", "host", "x-amz-date"], EMPTY_SHA256_HEX)
    check(request)
    joined = changed(request, headers={"a": "1\nb:2", "b": None})
    forged = with_authorization(joined, lambda value: value.replace("a;b;host", "a;host"))
    assert code(forged) == "SignatureDoesNotMatch"
    assert code(resigned(joined, names, EMPTY_SHA256_HEX)) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("raw_path", ["", "*", "k", "%2Fk"])
def test_a_target_that_is_no_path(raw_path: str) -> None:
    assert code(changed(header_signed("GET", URL), raw_path=raw_path)) == "InvalidURI"


def test_a_query_that_is_too_long_is_not_read() -> None:
    request = received("GET", URL + "?" + "&" * 65_537, [])
    assert code(request) == "InvalidURI"
    assert access_key_id(request) == ""
