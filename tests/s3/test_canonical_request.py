"""Canonical forms: tables of spellings, and that no two meanings share one form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.canonical_request import (
    canonical_headers,
    canonical_parameters,
    canonical_path,
    canonical_query,
    decoded_parameter,
)
from addon.s3.errors import S3Error
from addon.s3.keys import decode_key
from addon.s3.query import parameters


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("/", "/"),
        ("/a//b/./../c/", "/a//b/./../c/"),
        ("/~%7e%7E", "/~~~"),
        ("/a%2fb%2Fc", "/a/b/c"),
        ("/a+b%2Bc", "/a%2Bb%2Bc"),
        ("/a b%20c", "/a%20b%20c"),
        ("/$&'()*,:;=@!", "/%24%26%27%28%29%2A%2C%3A%3B%3D%40%21"),
        ("/\xe1\x88\xb4", "/%E1%88%B4"),
        ("/%e1%88%b4", "/%E1%88%B4"),
        ("/%25%32%30", "/%2520"),
        ("/%zz%", "/%25zz%25"),
        ("/%ff%00", "/%FF%00"),
    ],
)
def test_canonical_path(raw: str, canonical: str) -> None:
    assert canonical_path(raw) == canonical
    assert canonical_path(canonical) == canonical


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("", ""),
        ("acl", "acl="),
        ("b=2&a=1", "a=1&b=2"),
        ("a=2&a=1&a", "a=&a=1&a=2"),
        ("B=1&a=1&A=1", "A=1&B=1&a=1"),
        ("a-=1&a=2&a%21=3", "a=2&a%21=3&a-=1"),
        ("k=a=b", "k=a%3Db"),
        ("k=a+b%20c%2bd", "k=a%20b%20c%2Bd"),
        ("k=~%7e/%2f", "k=~~%2F%2F"),
        ("&&a=1&", "a=1"),
        ("k=\xc3\xa9", "k=%C3%A9"),
    ],
)
def test_canonical_query(raw: str, canonical: str) -> None:
    assert canonical_query(canonical_parameters(raw)) == canonical


def test_parameters_decode_to_text() -> None:
    ((name, value),) = canonical_parameters("a%20b=%C3%A9+%ff")
    assert (decoded_parameter(name), decoded_parameter(value)) == ("a b", "é \ufffd")


RAW = st.text(st.sampled_from("ab/.~+ &=%25%2f%2B%41\xc3\xa9"), max_size=30)


@given(RAW, RAW)
def test_one_canonical_path_is_one_key(first: str, second: str) -> None:
    """A signature for one spelling serves for another only where both name the same object."""
    try:
        keys = decode_key(first), decode_key(second)
    except S3Error:
        return
    assert (canonical_path(first) == canonical_path(second)) == (keys[0] == keys[1])


@given(RAW, RAW)
def test_one_canonical_query_is_one_set_of_parameters(first: str, second: str) -> None:
    try:
        read = sorted(parameters(first)), sorted(parameters(second))
    except S3Error:
        return
    same = canonical_query(canonical_parameters(first)) == canonical_query(canonical_parameters(second))
    assert same == (read[0] == read[1])


def test_canonical_headers() -> None:
    values = {"host": ["h:8443"], "my-header": ["  a \t b  ", "c", ""], "q": ['"a   b"'], "u": ["Ã\xa0 x\x85"]}
    assert canonical_headers(["absent", "expect", *values], values) == (
        'absent:\nexpect:100-continue\nhost:h:8443\nmy-header:a b,c,\nq:"a b"\nu:Ã\xa0 x\x85\n'
    )
