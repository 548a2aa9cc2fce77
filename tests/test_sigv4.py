"""Signatures: the published vectors, botocore and awscrt as oracles, and attacks 1 to 13 and 32 of the attack list."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from addon import sigv4
from addon.s3.canonical_request import canonical_headers, canonical_parameters, canonical_path, canonical_query
from addon.s3.errors import S3Error
from addon.s3.payload import EMPTY_SHA256_HEX
from addon.sigv4 import PayloadKind, SignedRequest, Verified, access_key_id, verify
from tests.signing import (
    ACCESS_KEY_ID,
    MINUTE,
    NOW,
    SECOND,
    SECRET_ACCESS_KEY,
    SECRETS,
    SIGNERS,
    Recorder,
    changed,
    header_of,
    header_signed,
    presigned,
    received,
)

VECTORS = sorted((Path(__file__).parent / "vectors" / "sigv4").glob("*.json"))
URL = "https://images.s3.example.com/a/key.png"
ZEROS = "0" * 64


def check(request: SignedRequest, *, now: datetime = NOW) -> Verified:
    return verify(request, secret_for=SECRETS.get, now=now)


def refusal(
    request: SignedRequest, *, now: datetime = NOW, secret_for: Callable[[str], str | None] = SECRETS.get
) -> S3Error:
    with pytest.raises(S3Error) as caught:
        verify(request, secret_for=secret_for, now=now)
    return caught.value


def code(request: SignedRequest, *, now: datetime = NOW) -> str:
    return refusal(request, now=now).code


def with_authorization(request: SignedRequest, change: Callable[[str], str]) -> SignedRequest:
    return changed(request, headers={"authorization": change(header_of(request, "authorization"))})


def resigned(
    request: SignedRequest, signed_headers: list[str], payload: str, *, raw_path: str | None = None
) -> SignedRequest:
    """Signed here, in the few lines of AWS's description, for requests that botocore would not make."""
    names = sorted(signed_headers)
    values = {name.lower(): value for name, value in request.headers}
    timestamp = values["x-amz-date"]
    scope = f"{timestamp[:8]}/us-east-1/s3/aws4_request"
    lines = "".join(f"{name}:{values.get(name, '100-continue' if name == 'expect' else '')}\n" for name in names)
    path = request.raw_path if raw_path is None else raw_path
    canonical = f"{request.method}\n{path}\n{request.raw_query}\n{lines}\n{';'.join(names)}\n{payload}"
    key = ("AWS4" + SECRET_ACCESS_KEY).encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    to_sign = f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{hashlib.sha256(canonical.encode('latin-1')).hexdigest()}"
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return changed(request, headers={"authorization": authorization})


def plain(method: str = "GET", raw_path: str = "/a/key.png", **headers: str) -> SignedRequest:
    pairs = [("host", "images.s3.example.com"), ("x-amz-date", NOW.strftime("%Y%m%dT%H%M%SZ"))]
    return SignedRequest(
        method, raw_path, "", [*pairs, *((name.replace("_", "-"), value) for name, value in headers.items())]
    )


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


# ---- Attacks

STREAMING = [kind.value for kind in PayloadKind if kind.value.startswith("STREAMING")]
PAYLOADS = [EMPTY_SHA256_HEX, "UNSIGNED-PAYLOAD", *STREAMING]
REFUSED_PAYLOADS = {
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD": "NotImplemented",
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER": "NotImplemented",
    "STREAMING-UNSIGNED-PAYLOAD": "InvalidArgument",
    "STREAMING-SOMETHING-NEW": "InvalidArgument",
    "unsigned-payload": "InvalidArgument",
    "streaming-unsigned-payload-trailer": "InvalidArgument",
    "": "InvalidArgument",
    ZEROS[1:]: "InvalidArgument",
    "REQUIRED": "InvalidArgument",
}


@pytest.mark.parametrize("payload", [*PAYLOADS, *REFUSED_PAYLOADS])
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "GET", "HEAD", "PATCH"])
@pytest.mark.parametrize("signature", [ZEROS, "", "A" * 64, "é" * 64, ZEROS + "0", ZEROS[1:]])
def test_attack_1_and_3_a_wrong_signature_never_passes(method: str, payload: str, signature: str) -> None:
    request = resigned(
        plain(method, x_amz_content_sha256=payload), ["host", "x-amz-content-sha256", "x-amz-date"], payload
    )
    if payload in REFUSED_PAYLOADS:
        assert code(request) == REFUSED_PAYLOADS[payload]
    else:
        assert check(request).payload.declared == payload
    forged = with_authorization(request, lambda value: value.rpartition("=")[0] + "=" + signature)
    assert forged != request
    assert refusal(forged).status in {400, 403, 501}
    assert access_key_id(forged) == ACCESS_KEY_ID


@pytest.mark.parametrize("signature", ["", "&X-Amz-Signature=", f"&X-Amz-Signature={ZEROS}", "&X-Amz-Signature=%00"])
@pytest.mark.parametrize("payload", STREAMING)
def test_attack_2_credentials_in_the_query_without_a_signature(signature: str, payload: str) -> None:
    credential = f"{ACCESS_KEY_ID}/20260304/us-east-1/s3/aws4_request"
    raw_query = f"X-Amz-Credential={quote(credential, safe='')}&X-Amz-SignedHeaders=host{signature}"
    request = SignedRequest("PUT", "/k", raw_query, [("host", "h"), ("x-amz-content-sha256", payload)])
    assert access_key_id(request) == ACCESS_KEY_ID
    assert code(request) == "AuthorizationQueryParametersError"
    complete = changed(
        request,
        raw_query=f"{raw_query}&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20260304T050607Z&X-Amz-Expires=60",
    )
    assert refusal(complete).status in {400, 403}


@pytest.mark.parametrize(
    "name",
    [
        "x-amz-copy-source",
        "X-Amz-Tagging",
        "x-amz-acl",
        "x-amz-meta-x",
        "x-amz-website-redirect-location",
        "x-amz-unheard-of",
    ],
)
@pytest.mark.parametrize("sign", [header_signed, presigned])
def test_attack_4_headers_added_to_a_signed_request(name: str, sign: Callable[..., SignedRequest]) -> None:
    request = sign("PUT", URL)
    check(request)
    error = refusal(changed(request, extra=[(name, "x")]))
    assert (error.code, error.status) == ("AccessDenied", 403)
    assert error.message == "There were headers present in the request which were not signed"
    assert error.details == {"HeadersNotSigned": name.lower()}
    # Signed from the start, they are right; given twice, they are not what was signed.
    check(sign("PUT", URL, [(name, "x")]))
    assert code(changed(sign("PUT", URL, [(name, "x")]), extra=[(name, "y")])) == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    ("signed", "expected"),
    [
        ("x-amz-content-sha256;x-amz-date", "AccessDenied"),
        ("", "AuthorizationHeaderMalformed"),
        ("host;host;x-amz-content-sha256;x-amz-date", "AuthorizationHeaderMalformed"),
        ("x-amz-date;host;x-amz-content-sha256", "AuthorizationHeaderMalformed"),
        ("Host;x-amz-content-sha256;x-amz-date", "AuthorizationHeaderMalformed"),
        ("host;x-amz-content-sha256;x-amz-date;", "AuthorizationHeaderMalformed"),
        ("host;;x-amz-content-sha256;x-amz-date", "AuthorizationHeaderMalformed"),
        ("host;x-absent;x-amz-content-sha256;x-amz-date", "SignatureDoesNotMatch"),
        ("host; x-amz-content-sha256;x-amz-date", "AuthorizationHeaderMalformed"),
        ("host;x-amz-date", "AccessDenied"),
        ("h\u00f6st;x-amz-date", "AuthorizationHeaderMalformed"),
    ],
)
def test_attack_5_signed_headers(signed: str, expected: str) -> None:
    request = header_signed("GET", URL)
    forged = with_authorization(request, lambda value: value.replace("host;x-amz-content-sha256;x-amz-date", signed))
    assert code(forged) == expected


@pytest.mark.parametrize("authorization", ["AWS4-HMAC-SHA256 garbage", "Bearer x", "", "AWS a:b", "valid"])
@pytest.mark.parametrize(
    "query", ["valid", f"X-Amz-Signature={ZEROS}", "AWSAccessKeyId=a&Signature=b&Expires=1", "x-amz-algorithm"]
)
def test_attack_6_two_mechanisms_at_once(authorization: str, query: str) -> None:
    in_header, in_query = header_signed("GET", URL), presigned("GET", URL)
    value = header_of(in_header, "authorization") if authorization == "valid" else authorization
    request = changed(
        in_header, raw_query=in_query.raw_query if query == "valid" else query, headers={"authorization": value}
    )
    error = refusal(request)
    assert (error.code, error.status) == ("InvalidArgument", 400)
    assert error.message.startswith("Only one auth mechanism allowed")
    assert access_key_id(request) is not None


CREDENTIAL = f"Credential={ACCESS_KEY_ID}/20260304/us-east-1/s3/aws4_request"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("/us-east-1/", "/us-east-2/", "SignatureDoesNotMatch"),
        ("/us-east-1/", "//", "AuthorizationHeaderMalformed"),
        ("/us-east-1/", "/us/east/", "AuthorizationHeaderMalformed"),
        ("/us-east-1/", "/us east/", "AuthorizationHeaderMalformed"),
        ("/s3/", "/sts/", "AuthorizationHeaderMalformed"),
        ("/s3/", "/s3tables/", "AuthorizationHeaderMalformed"),
        ("/s3/", "/S3/", "AuthorizationHeaderMalformed"),
        ("/aws4_request", "", "AuthorizationHeaderMalformed"),
        ("/aws4_request", "/aws5_request", "AuthorizationHeaderMalformed"),
        ("20260304", "20260305", "AuthorizationHeaderMalformed"),
        ("20260304", "2026034", "AuthorizationHeaderMalformed"),
        ("20260304", "\u0662\u0660\u0662\u0666\u0660\u0663\u0660\u0664", "AuthorizationHeaderMalformed"),
        (f"{ACCESS_KEY_ID}/", "/", "AuthorizationHeaderMalformed"),
        (f"{ACCESS_KEY_ID}/", "A" * 129 + "/", "AuthorizationHeaderMalformed"),
        (f"{ACCESS_KEY_ID}/", "UNKNOWN/", "InvalidAccessKeyId"),
        (CREDENTIAL, f"{CREDENTIAL}, {CREDENTIAL}", "AuthorizationHeaderMalformed"),
        (CREDENTIAL, "Credential", "AuthorizationHeaderMalformed"),
        (CREDENTIAL, CREDENTIAL + ",", "AuthorizationHeaderMalformed"),
        (CREDENTIAL, "x=y, " + CREDENTIAL, "AuthorizationHeaderMalformed"),
        ("SignedHeaders=", "signedheaders=", "AuthorizationHeaderMalformed"),
        ("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256", "InvalidArgument"),
        ("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA512 ", "InvalidArgument"),
        ("AWS4-HMAC-SHA256 ", "aws4-hmac-sha256 ", "InvalidArgument"),
        ("AWS4-HMAC-SHA256 ", "AWS4-ECDSA-P256-SHA256 ", "NotImplemented"),
        ("AWS4-HMAC-SHA256 ", "AWS ", "InvalidRequest"),
        ("AWS4-HMAC-SHA256 ", "Bearer ", "InvalidArgument"),
    ],
)
def test_attack_7_and_8_scope_and_scheme(old: str, new: str, expected: str) -> None:
    request = header_signed("GET", URL)
    assert old in header_of(request, "authorization")
    assert code(with_authorization(request, lambda value: value.replace(old, new))) == expected


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("%2Fs3%2F", "%2Fsts%2F", "Error parsing the X-Amz-Credential parameter; incorrect service"),
        ("%2Faws4_request", "", "Error parsing the X-Amz-Credential parameter; the Credential is mal-formed"),
        ("%2Faws4_request", "%2Faws5_request", "Error parsing the X-Amz-Credential parameter; incorrect terminal"),
        ("%2Fus-east-1%2F", "%2F%2F", "Error parsing the X-Amz-Credential parameter; the Credential is mal-formed"),
        ("%2F20260304%2F", "%2F20260305%2F", 'Invalid credential date "20260305". This date is not the same'),
        ("%2F20260304%2F", "%2F202603%2F", "Error parsing the X-Amz-Credential parameter; incorrect date format"),
        ("SignedHeaders=host", "SignedHeaders=Host", "SignedHeaders must be lower-case"),
        ("SignedHeaders=host", "SignedHeaders=host%3Bhost", "SignedHeaders must be lower-case"),
        ("SignedHeaders=host", "SignedHeaders=", "Query-string authentication version 4 requires"),
        ("&X-Amz-Expires=3600", "", "Query-string authentication version 4 requires"),
        ("HMAC-SHA256", "HMAC-SHA512", "X-Amz-Algorithm only supports"),
    ],
)
def test_attack_7_scope_and_form_of_a_presigned_url(old: str, new: str, message: str) -> None:
    request = presigned("GET", URL)
    assert old in request.raw_query
    error = refusal(changed(request, raw_query=request.raw_query.replace(old, new)))
    assert (error.code, error.status) == ("AuthorizationQueryParametersError", 400)
    assert error.message.startswith(message)


@pytest.mark.parametrize("name", ["Authorization", "x-amz-date", "x-amz-content-sha256", "Host"])
def test_attack_7_headers_of_the_signature_stand_once(name: str) -> None:
    request = header_signed("GET", URL)
    twice = changed(request, extra=[(name, header_of(request, name.lower()))])
    assert refusal(twice).status in {400, 403}


@pytest.mark.parametrize(
    "change", [str.upper, lambda s: s + "0", lambda s: s[:-1], lambda s: "é" + s[1:], lambda s: s[:-1] + "\ud800"]
)
def test_attack_7_malformed_signatures(change: Callable[[str], str]) -> None:
    request = header_signed("GET", URL)
    start, equals, signature = header_of(request, "authorization").rpartition("=")
    assert change(signature) != signature
    assert (
        code(changed(request, headers={"authorization": start + equals + change(signature)})) == "SignatureDoesNotMatch"
    )


@pytest.mark.parametrize(
    ("raw_query", "expected"),
    [
        ("AWSAccessKeyId=AK&Signature=c2ln&Expires=1893456000", "InvalidRequest"),
        ("Signature=c2ln", "InvalidRequest"),
        ("X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256&X-Amz-Credential=AK%2F1%2Fs3%2Faws4_request&X-Amz-Signature=a", "NotImplemented"),
        ("X-Amz-Algorithm=AWS4-HMAC-SHA512&X-Amz-Credential=a&X-Amz-Signature=a&X-Amz-Date=a&X-Amz-SignedHeaders=a&X-Amz-Expires=1",
         "AuthorizationQueryParametersError"),
    ],
)  # fmt: skip
def test_attack_8_other_mechanisms_in_the_query(raw_query: str, expected: str) -> None:
    error = refusal(SignedRequest("GET", "/k", raw_query, [("host", "h")]))
    assert error.code == expected
    if expected == "InvalidRequest":
        assert (
            error.message
            == "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
        )


def test_attack_9_the_payload_that_was_signed_is_the_one_that_counts() -> None:
    request = header_signed("PUT", URL, body=b"data")
    assert check(request).payload.sha256_hex == hashlib.sha256(b"data").hexdigest()
    for other in [*PAYLOADS, hashlib.sha256(b"other").hexdigest()]:
        assert code(changed(request, headers={"x-amz-content-sha256": other})) == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    "change",
    [
        lambda request: changed(request, method="PUT"),
        lambda request: changed(request, method="HEAD"),
        lambda request: changed(request, method="get"),
        lambda request: changed(request, raw_path="/a/key2.png"),
        lambda request: changed(request, raw_path="/a//key.png"),
        lambda request: changed(request, raw_path="/a/./key.png"),
        lambda request: changed(request, raw_query=request.raw_query + "&versionId=1"),
        lambda request: changed(request, raw_query=request.raw_query + "&response-content-type=text/html"),
        lambda request: changed(request, raw_query=request.raw_query.replace("Expires=3600", "Expires=3601")),
        lambda request: changed(request, headers={"host": "other.s3.example.com"}),
    ],
)
def test_attack_10_a_presigned_url_serves_nothing_else(change: Callable[[SignedRequest], SignedRequest]) -> None:
    request = presigned("GET", URL)
    check(request)
    assert code(change(request)) == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    "name",
    [
        "X-Amz-Expires",
        "x-amz-expires",
        "X-Amz-Signature",
        "X-Amz-Credential",
        "X-Amz-%44ate",
        "X-Amz-SignedHeaders",
        "X-Amz-Algorithm",
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_attack_10_a_parameter_given_twice(name: str, first: bool) -> None:
    raw_query = presigned("GET", URL).raw_query
    doubled = f"{name}=1&{raw_query}" if first else f"{raw_query}&{name}=1"
    assert code(changed(presigned("GET", URL), raw_query=doubled)) == "AuthorizationQueryParametersError"


@pytest.mark.parametrize(
    "expires",
    ["-1", "0", "604801", "1e9", " 60", "60 ", "+60", str(2**63), "9" * 5000, "\u0666\u0660", "", "0x10", "1_0"],
)
def test_attack_11_expires(expires: str) -> None:
    request = presigned("GET", URL)
    spelt = quote(expires, safe="")
    forged = changed(request, raw_query=request.raw_query.replace("Expires=3600", f"Expires={spelt}"))
    error = refusal(forged)
    assert (error.code, error.status) == ("AuthorizationQueryParametersError", 400)


@pytest.mark.parametrize(
    "date",
    [
        "20260230T000000Z",
        "00000101T000000Z",
        "20260304T050607",
        "20260304050607Z",
        "2026-03-04T05:06:07Z",
        "20260304T050660Z",
        "x" * 1000,
        "\u0662026304T050607Z",
    ],
)
def test_attack_11_malformed_dates(date: str) -> None:
    request = presigned("GET", URL)
    forged = changed(request, raw_query=request.raw_query.replace("20260304T050607Z", quote(date, safe="")))
    assert code(forged) == "AuthorizationQueryParametersError"
    in_header = changed(header_signed("GET", URL), headers={"x-amz-date": date})
    assert (refusal(in_header).code, refusal(in_header).status) == ("AccessDenied", 403)


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (-15 * MINUTE - SECOND, "Request is not valid yet"),
        (-15 * MINUTE, None),
        (timedelta(0), None),
        (60 * MINUTE, None),
        (60 * MINUTE + SECOND, "Request has expired"),
        (timedelta(days=365), "Request has expired"),
        (-timedelta(days=365), "Request is not valid yet"),
    ],
)
def test_attack_11_the_period_of_a_presigned_url(after: timedelta, message: str | None) -> None:
    request = presigned("GET", URL)
    if message is None:
        check(request, now=NOW + after)
        return
    error = refusal(request, now=NOW + after)
    assert (error.code, error.status, error.message) == ("AccessDenied", 403, message)
    if message == "Request has expired":
        assert error.details["X-Amz-Expires"] == "3600"
        assert error.details["Expires"] == "2026-03-04T06:06:07Z"
        assert error.details["ServerTime"] == (NOW + after).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("at", [datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)])
def test_attack_11_and_12_the_ends_of_the_calendar(at: datetime) -> None:
    stamp = f"{at.year:04d}{at.month:02d}{at.day:02d}T{at:%H%M%S}Z"
    request = presigned("GET", URL, expires_s=604800)
    forged = request.raw_query.replace("20260304T050607Z", stamp).replace("20260304", stamp[:8])
    assert code(changed(request, raw_query=forged)) == "AccessDenied"
    in_header = with_authorization(header_signed("GET", URL), lambda value: value.replace("20260304", stamp[:8]))
    assert code(changed(in_header, headers={"x-amz-date": stamp})) == "RequestTimeTooSkewed"


@pytest.mark.parametrize("days", [1, 7])
def test_presigned_urls_last_a_week_at_most(days: int) -> None:
    request = presigned("GET", URL, expires_s=days * 86400)
    check(request, now=NOW + timedelta(days=days))
    assert refusal(request, now=NOW + timedelta(days=days) + SECOND).message == "Request has expired"


@pytest.mark.parametrize("skew", [15 * MINUTE, 15 * MINUTE - SECOND, timedelta(0)])
def test_attack_12_a_clock_that_is_off_by_less_than_a_quarter_of_an_hour(skew: timedelta) -> None:
    check(header_signed("GET", URL), now=NOW + skew)
    check(header_signed("GET", URL), now=NOW - skew)


@pytest.mark.parametrize("skew", [15 * MINUTE + SECOND, timedelta(days=1), -15 * MINUTE - SECOND])
def test_attack_12_a_clock_that_is_off_by_more(skew: timedelta) -> None:
    error = refusal(header_signed("GET", URL), now=NOW + skew)
    assert (error.code, error.status) == ("RequestTimeTooSkewed", 403)
    assert error.details == {
        "RequestTime": "20260304T050607Z",
        "ServerTime": (NOW + skew).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "MaxAllowedSkewMilliseconds": "900000",
    }


@pytest.mark.parametrize("date", ["Wed, 04 Mar 2026 05:06:07 GMT", "20260304T050607Z"])
def test_attack_12_only_a_date_header(date: str) -> None:
    request = SignedRequest("GET", "/k", "", [("host", "h"), ("x-amz-date", "20260304T050607Z"), ("date", date)])
    signed = changed(resigned(request, ["date", "host"], EMPTY_SHA256_HEX), headers={"x-amz-date": None})
    check(signed)
    # x-amz-date goes before Date, and must then be signed.
    assert code(changed(signed, extra=[("x-amz-date", "20260304T050607Z")])) == "AccessDenied"
    assert refusal(changed(signed, headers={"date": None})).code == "AccessDenied"
    for bad in (
        "yesterday",
        "",
        "Wed, 04 Mar 9999 24:06:07 GMT",
        "Fri, 31 Dec 9999 23:59:60 GMT",
        "Thu, 01 Jan 1960 00:00:00 GMT",
    ):
        assert code(changed(signed, headers={"date": bad})) == "AccessDenied"


def test_attack_13_a_replay_within_the_quarter_of_an_hour_is_accepted_as_s3_does() -> None:
    request = header_signed("PUT", URL, body=b"x")
    assert check(request) == check(request, now=NOW + 14 * MINUTE)


def test_attack_32_known_and_unknown_keys_take_the_same_path() -> None:
    known = header_signed("GET", URL, secret="wrong")
    unknown = header_signed("GET", URL, access_key_id="AKIDNOBODY")
    with mock.patch.object(sigv4.hmac, "compare_digest", wraps=hmac.compare_digest) as compare:
        assert code(known) == "SignatureDoesNotMatch"
        assert code(unknown) == "InvalidAccessKeyId"
    assert compare.call_count == 2
    assert all(type(side) is bytes for call in compare.call_args_list for side in call.args)


@pytest.mark.parametrize("secret", [None, ""])
def test_attack_32_a_key_without_a_secret_opens_nothing(secret: str | None) -> None:
    for guess in ("", "nobody holds this key", SECRET_ACCESS_KEY):
        request = header_signed("GET", URL, secret=guess)
        assert refusal(request, secret_for=lambda _: secret).code == "InvalidAccessKeyId"


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
