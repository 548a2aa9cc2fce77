"""Cross-origin rules: which one a request meets, and the headers that S3 gives then."""

from __future__ import annotations

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.cors import (
    METHODS,
    RULES_MAX,
    CorsRule,
    configuration_xml,
    has_cors,
    parse_configuration,
    preflight_headers,
    response_headers,
    with_cors,
)
from addon.s3.errors import S3Error

VARY = ("vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")
SITE = CorsRule(["https://www.example.com"], ["PUT", "POST"], ["*"], ["ETag", "x-amz-request-id"], 3000, "site")
FAMILY = CorsRule(["https://*.example.net"], ["GET"], ["x-amz-*", "Content-Type"])
ANYONE = CorsRule(["*"], ["GET", "HEAD"], max_age_s=0)
RULES = (SITE, FAMILY, ANYONE)


def preflight(origin: str | None, method: str | None, headers: str | None = None) -> list[tuple[str, str]]:
    asked = {"origin": origin, "access-control-request-method": method, "access-control-request-headers": headers}
    return preflight_headers(RULES, [(name, value) for name, value in asked.items() if value is not None])


def test_a_page_with_a_rule_of_its_own_may_send_credentials() -> None:
    assert preflight("https://www.example.com", "PUT", "Content-Type, X-Amz-Acl") == [
        ("access-control-allow-origin", "https://www.example.com"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "PUT, POST"),
        ("access-control-allow-headers", "content-type, x-amz-acl"),
        ("access-control-expose-headers", "ETag, x-amz-request-id"),
        ("access-control-max-age", "3000"),
        VARY,
    ]


def test_where_anyone_may_ask_nobody_is_named() -> None:
    expected = [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET, HEAD"),
        ("access-control-max-age", "0"),
        VARY,
    ]
    assert preflight("https://evil.test", "GET") == expected
    assert response_headers(RULES, origin="null", method="HEAD") == expected


def test_the_first_rule_that_allows_everything_decides() -> None:
    assert dict(preflight("https://a.example.net", "GET", "x-amz-date"))["access-control-allow-methods"] == "GET"
    # The family's rule does not allow this header; anyone's allows none.
    with pytest.raises(S3Error):
        preflight("https://a.example.net", "GET", "x-other")
    assert dict(preflight("https://a.example.net", "HEAD"))["access-control-allow-origin"] == "*"
    actual = response_headers(RULES, origin="https://a.example.net", method="GET")
    assert dict(actual)["access-control-allow-origin"] == "https://a.example.net"


def test_a_rule_that_names_the_page_beside_anyone_names_it() -> None:
    for origins, named in ((["https://a.test", "*"], True), (["*", "https://a.test"], False), (["https://*"], True)):
        granted = dict(response_headers([CorsRule(origins, ["GET"])], origin="https://a.test", method="GET"))
        assert granted["access-control-allow-origin"] == ("https://a.test" if named else "*")
        assert ("access-control-allow-credentials" in granted) is named


@pytest.mark.parametrize(
    ("pattern", "origin", "matches"),
    [
        ("https://www.example.com", "https://www.example.com", True),
        ("https://www.example.com", "http://www.example.com", False),
        ("https://www.example.com", "https://www.example.com:8443", False),
        ("https://www.example.com", "https://www.example.com.evil.test", False),
        ("https://www.example.com", "https://WWW.example.com", False),
        ("https://*.example.com", "https://a.example.com", True),
        ("https://*.example.com", "https://a.b.example.com", True),
        ("https://*.example.com", "https://.example.com", True),
        ("https://*.example.com", "https://example.com", False),
        ("https://*.example.com", "https://a.example.com.evil.test", False),
        ("https://*.example.com", "https://a-example.com", False),
        ("http*://a.test", "https://a.test", True),
        ("https://ab*ba.test", "https://aba.test", False),
        ("https://a.test*", "https://a.test:8443", True),
        ("*", "null", True),
        ("*.example.com", "https://www.example.com", True),
    ],
)
def test_origins(pattern: str, origin: str, matches: bool) -> None:
    assert CorsRule([pattern], ["GET"]).allows(origin, "GET") is matches


@pytest.mark.parametrize(
    ("allowed", "wanted", "allows"),
    [
        ((), "", True),
        ((), "a", False),
        (("*",), "a, B", True),
        (("A",), "a", True),
        (("a",), "A,a , a", True),
        (("a", "b"), "a,b", True),
        (("a", "b"), "a,b,c", False),
        (("x-amz-*",), "X-Amz-Date", True),
        (("x-amz-*",), "x-am", False),
        (("*-date",), "x-amz-date", True),
        (("a",), "*", False),
    ],
)
def test_headers_of_a_preflight(allowed: tuple[str, ...], wanted: str, allows: bool) -> None:
    asked = [("origin", "https://a.test"), ("access-control-request-method", "PUT")]
    rules = [CorsRule(["*"], ["PUT"], allowed)]
    try:
        preflight_headers(rules, [*asked, ("access-control-request-headers", wanted)])
        refused = ""
    except S3Error as error:
        refused = error.code
    assert refused == ("" if allows else "AccessForbidden")


@pytest.mark.parametrize(
    ("origin", "method", "code", "message"),
    [
        (None, "GET", "BadRequest", "Insufficient information. Origin request header needed."),
        ("", "GET", "BadRequest", "Insufficient information. Origin request header needed."),
        ("https://a.test\x01", "GET", "BadRequest", "Insufficient information."),
        ("https://a.test", None, "BadRequest", "Invalid Access-Control-Request-Method: null"),
        ("https://a.test", "PATCH", "BadRequest", "Invalid Access-Control-Request-Method: PATCH"),
        ("https://a.test", "get", "BadRequest", "Invalid Access-Control-Request-Method: get"),
        ("https://a.test", "DELETE", "AccessForbidden", "CORSResponse: This CORS request is not allowed."),
        ("https://a.test", "PUT", "AccessForbidden", "CORSResponse: This CORS request is not allowed."),
    ],
)
def test_refused_preflights(origin: str | None, method: str | None, code: str, message: str) -> None:
    with pytest.raises(S3Error) as refused:
        preflight(origin, method)
    assert refused.value.code == code
    assert refused.value.message.startswith(message)


def test_what_no_rule_allows_gets_no_headers() -> None:
    assert response_headers(RULES, origin="https://a.test", method="PUT") == []
    assert response_headers((), origin="https://a.test", method="GET") == []


pieces = st.text(st.sampled_from("ab.:/"), max_size=4)


@given(pieces, st.booleans(), pieces, st.text(st.sampled_from("ab.:/"), max_size=8))
def test_patterns_match_as_a_wildcard_does(before: str, wild: bool, after: str, origin: str) -> None:
    pattern = f"{before}{'*' if wild else ''}{after}"
    expected = re.fullmatch(fnmatch.translate(pattern), origin) is not None
    assert CorsRule([pattern], ["GET"]).allows(origin, "GET") is expected


@given(
    st.lists(
        st.builds(
            CorsRule,
            st.lists(st.sampled_from(["*", "https://a.test", "https://*.b.test"]), min_size=1, max_size=2),
            st.lists(st.sampled_from(METHODS), min_size=1, max_size=2),
            st.lists(st.sampled_from(["*", "x-amz-*", "a"]), max_size=2),
        ),
        max_size=3,
    ),
    st.sampled_from(["https://a.test", "https://x.b.test", "https://evil.test", "null"]),
    st.sampled_from(METHODS),
    st.sampled_from(["", "a", "x-amz-date", "a, other"]),
)
def test_a_page_is_named_with_credentials_only_where_a_rule_names_it(
    rules: list[CorsRule], origin: str, method: str, wanted: str
) -> None:
    for granted in (response_headers(rules, origin=origin, method=method), asked_before(rules, origin, method, wanted)):
        named = dict(granted).get("access-control-allow-origin")
        allowing = [rule for rule in rules if rule.allows(origin, method)]
        assert named in (None, "*", origin)
        assert named is None or allowing
        if named == origin:
            assert any(pattern != "*" for rule in allowing for pattern in rule.allowed_origins)
        assert ("access-control-allow-credentials" in dict(granted)) == (named not in (None, "*"))


def asked_before(rules: list[CorsRule], origin: str, method: str, wanted: str) -> list[tuple[str, str]]:
    asked = [("origin", origin), ("access-control-request-method", method), ("access-control-request-headers", wanted)]
    try:
        return preflight_headers(rules, asked)
    except S3Error:
        return []


def test_what_the_origin_said_goes_and_what_varies_is_joined() -> None:
    theirs = [
        ("Access-Control-Allow-Origin", "*"),
        ("access-control-allow-credentials", "true"),
        ("Vary", "Accept-Encoding, origin"),
        ("ETag", '"e"'),
    ]
    assert has_cors(theirs)
    granted = response_headers([SITE], origin="https://www.example.com", method="PUT")
    ours = with_cors(theirs, granted)
    assert ours[0] == ("ETag", '"e"')
    assert ours[1:-1] == granted[:-1]
    assert ours[-1] == (
        "vary",
        "Accept-Encoding, origin, Access-Control-Request-Headers, Access-Control-Request-Method",
    )
    assert with_cors(theirs, []) == [("Vary", "Accept-Encoding, origin"), ("ETag", '"e"')]


def test_rules_survive_being_written_and_read() -> None:
    written = configuration_xml(RULES)
    assert [parse_configuration(written)[0].__class__, len(parse_configuration(written))] == [CorsRule, 3]
    for before, after in zip(RULES, parse_configuration(written), strict=True):
        assert list(before.allowed_origins) == list(after.allowed_origins)
        assert list(before.allowed_methods) == list(after.allowed_methods)
        assert list(before.allowed_headers) == list(after.allowed_headers)
        assert list(before.expose_headers) == list(after.expose_headers)
        assert (before.max_age_s, before.id) == (after.max_age_s, after.id)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<CORSConfiguration>",
        b"<Error><Code>AccessDenied</Code></Error>",
        b'<!DOCTYPE x [<!ENTITY a "b">]><CORSConfiguration>&a;</CORSConfiguration>',
        b"<CORSConfiguration>" + b"<CORSRule/>" * (RULES_MAX + 1) + b"</CORSConfiguration>",
        b"<CORSConfiguration><CORSRule><MaxAgeSeconds>soon</MaxAgeSeconds></CORSRule></CORSConfiguration>",
        b"<CORSConfiguration><CORSRule><ExposeHeader>a\nb</ExposeHeader></CORSRule></CORSConfiguration>",
        "<CORSConfiguration><CORSRule><ExposeHeader>\u017c</ExposeHeader></CORSRule></CORSConfiguration>".encode(),
    ],
    ids=lambda body: str(body[19:50]),
)
def test_configurations_that_are_none(body: bytes) -> None:
    with pytest.raises(S3Error) as refused:
        parse_configuration(body)
    assert refused.value.code == "MalformedXML"
