"""The query: its decoder, its canonical spelling, and what of it is a signature."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.s3 import query
from addon.s3.errors import S3Error

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(pairs=st.lists(st.tuples(names, names), max_size=6))
def test_canonical_spelling_keeps_the_parameters_and_is_stable(pairs: list[tuple[str, str]]) -> None:
    raw = "&".join(f"{quote(name, safe='')}={quote(value, safe='/:,')}" for name, value in pairs)
    assert query.parameters(raw) == pairs
    canonical = query.canonical(raw)
    assert query.parameters(canonical) == pairs
    assert query.canonical(canonical) == canonical


@given(raw=st.from_regex(r"[a-zA-Z0-9+/=%&;.~-]{0,40}", fullmatch=True).filter(lambda raw: "%" not in raw))
def test_decoding_agrees_with_the_standard_library(raw: str) -> None:
    assert query.parameters(raw) == parse_qsl(raw, keep_blank_values=True)


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("acl", "acl"),
        ("acl=", "acl="),
        ("prefix=a/b", "prefix=a%2Fb"),
        ("prefix=a+b", "prefix=a%20b"),
        ("prefix=%7e%2a", "prefix=~%2A"),
        ("&&a=1&&b&", "a=1&b"),
        ("a=b=c", "a=b%3Dc"),
        ("", ""),
        ("z=1&a=2", "z=1&a=2"),
        ("caf\u00c3\u00a9=1", "caf%C3%A9=1"),
    ],
)
def test_canonical_spellings(raw: str, canonical: str) -> None:
    assert query.canonical(raw) == canonical


PRESIGNED = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=K%2F20260101%2Fr%2Fs3%2Faws4_request&X-Amz-Date=20260101T000000Z"
    "&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Security-Token=t&%58-Amz-Signature=00"
)


def test_nothing_of_a_signature_is_left() -> None:
    assert query.without_signature(f"prefix=a%2fb&{PRESIGNED}&acl&x-id=GetObject") == "prefix=a%2fb&acl&x-id=GetObject"
    assert query.without_signature(PRESIGNED) == ""
    assert query.without_signature("") == ""


def test_headers_in_a_presigned_query_count_as_headers() -> None:
    headers = [("host", "h")]
    raw = f"{PRESIGNED}&x-amz-acl=public-read&X-Amz-Meta-Name=caf%C3%A9&x-id=PutObject"
    assert query.with_hoisted_headers(headers, raw) == [
        ("host", "h"),
        ("x-amz-acl", "public-read"),
        ("x-amz-meta-name", "caf\u00c3\u00a9"),
    ]
    assert query.with_hoisted_headers(headers, "x%2Damz-acl=private") == [("host", "h"), ("x-amz-acl", "private")]
    assert query.with_hoisted_headers(headers, PRESIGNED) == headers
    assert query.with_hoisted_headers(headers, "a=b") is headers


def test_what_is_not_utf_8_is_refused() -> None:
    with pytest.raises(S3Error) as refused:
        query.parameters("a=%FF")
    assert refused.value.code == "InvalidURI"
