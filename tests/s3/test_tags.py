"""Object tags, from headers and from XML: S3's rules, and nothing lost on the way there and back."""

from __future__ import annotations

from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.errors import S3Error
from addon.s3.tags import (
    KEY_LENGTH_MAX,
    TAGGING_BYTES_MAX,
    VALUE_LENGTH_MAX,
    tagging_header,
    tagging_xml,
    tags_as_told,
    tags_from_header,
    tags_from_xml,
)
from addon.s3.xml import xml_text

ASTRAL = "\U00020000"  # a letter that is two units of UTF-16

allowed = st.characters(categories=["L", "N", "Zs"]) | st.sampled_from("+-=._:/@")
tag_sets = st.dictionaries(
    st.text(allowed, min_size=1, max_size=KEY_LENGTH_MAX // 2).filter(lambda key: not key.startswith("aws:")),
    st.text(allowed, max_size=VALUE_LENGTH_MAX // 2),
    max_size=10,
)


def tagging(*pairs: tuple[str, str]) -> bytes:
    tags = "".join(f"<Tag><Key>{xml_text(key)}</Key><Value>{xml_text(value)}</Value></Tag>" for key, value in pairs)
    return f"<Tagging><TagSet>{tags}</TagSet></Tagging>".encode()


@given(tags=tag_sets)
def test_tags_come_through_a_header_and_through_xml(tags: dict[str, str]) -> None:
    assert tags_from_header("&".join(f"{quote(key, safe='')}={quote_plus(tags[key])}" for key in tags)) == tags
    assert tags_from_header(tagging_header(tags)) == tags
    written = tagging_xml(tags)
    assert tags_from_xml(written) == tags_as_told(written) == tags
    assert len(written) <= TAGGING_BYTES_MAX


@given(value=st.text(st.characters(max_codepoint=255), max_size=60))
def test_any_header_is_read_or_refused(value: str) -> None:
    try:
        tags = tags_from_header(value)
    except S3Error as refused:
        code = refused.code
    else:
        code = None
        assert len(tags) <= 10
        assert all(key for key in tags)
    assert code in (None, "InvalidArgument", "InvalidTag", "BadRequest")


@given(body=st.binary(max_size=80) | st.text(max_size=60).map(lambda text: f"<Tagging>{text}</Tagging>".encode()))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    with pytest.raises(S3Error) as refused:
        tags_from_xml(body)
    assert refused.value.code == "MalformedXML"


@pytest.mark.parametrize(
    ("header", "tags"),
    [
        ("", {}),
        ("a=1", {"a": "1"}),
        ("a", {"a": ""}),
        ("a=b=c", {"a": "b=c"}),
        ("a+b=c%2Bd", {"a b": "c+d"}),
        ("A=1&a=2", {"A": "1", "a": "2"}),
        ("caf\u00c3\u00a9=\u00c3\u00bc", {"caf\u00e9": "\u00fc"}),
    ],
)
def test_headers(header: str, tags: dict[str, str]) -> None:
    assert tags_from_header(header) == tags


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("k" * KEY_LENGTH_MAX, "v" * VALUE_LENGTH_MAX, None),
        ("k" * (KEY_LENGTH_MAX + 1), "", "InvalidTag"),
        ("k", "v" * (VALUE_LENGTH_MAX + 1), "InvalidTag"),
        (ASTRAL * (KEY_LENGTH_MAX // 2), ASTRAL * (VALUE_LENGTH_MAX // 2), None),
        (ASTRAL * (KEY_LENGTH_MAX // 2) + "k", "", "InvalidTag"),
        ("k", ASTRAL * (VALUE_LENGTH_MAX // 2) + "v", "InvalidTag"),
        ("", "v", "InvalidTag"),
        ("aws:k", "v", "InvalidTag"),
        ("AWS:k", "v", None),
        ("k", "aws:v", None),
        ("k", "a#b", "InvalidTag"),
        ("k", "a\tb", "InvalidTag"),
        ("k<", "", "InvalidTag"),
        ("k&", "", "InvalidTag"),
        ("+-=._:/@ 1", "+-=._:/@ 1", None),
    ],
)
def test_what_a_tag_may_be_is_the_same_in_both_places(key: str, value: str, code: str | None) -> None:
    for read in (
        lambda: tags_from_header(f"{quote(key, safe='')}={quote(value, safe='')}"),
        lambda: tags_from_xml(tagging((key, value))),
    ):
        if code is None:
            assert read() == {key: value}
            continue
        with pytest.raises(S3Error) as refused:
            read()
        assert refused.value.code == code


def test_ten_tags_and_not_eleven() -> None:
    pairs = [(f"k{number}", "v") for number in range(11)]
    assert len(tags_from_xml(tagging(*pairs[:10]))) == 10
    for refused_by in (lambda: tags_from_xml(tagging(*pairs)), lambda: tags_from_header("&".join(k for k, _ in pairs))):
        with pytest.raises(S3Error) as refused:
            refused_by()
        assert refused.value.code == "BadRequest"


def test_a_key_twice_is_refused_as_s3_does_it() -> None:
    with pytest.raises(S3Error) as refused:
        tags_from_header("a=1&%61=1")
    assert refused.value.code == "InvalidArgument"
    with pytest.raises(S3Error) as refused:
        tags_from_xml(tagging(("a", "1"), ("a", "1")))
    assert refused.value.code == "InvalidTag"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Tagging/>",
        b"<TagSet/>",
        b"<Tagging><TagSet/><TagSet/></Tagging>",
        b"<Tagging><TagSet/><More/></Tagging>",
        b"<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>",
        b"<Tagging><TagSet><Tag><Value>a</Value></Tag></TagSet></Tagging>",
        b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value><Value>c</Value></Tag></TagSet></Tagging>",
        b"<Tagging><TagSet><Tag><Key>a<b/></Key><Value>b</Value></Tag></TagSet></Tagging>",
        b"<Tagging><TagSet><Mark><Key>a</Key><Value>b</Value></Mark></TagSet></Tagging>",
        b"<Tagging><TagSet><Tag><Key>a&#0;</Key><Value>b</Value></Tag></TagSet></Tagging>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><Tagging><TagSet/></Tagging>',
        b"&" * TAGGING_BYTES_MAX,
    ],
)
def test_what_is_no_tagging_is_malformed(body: bytes) -> None:
    with pytest.raises(S3Error) as refused:
        tags_from_xml(body)
    assert refused.value.code == "MalformedXML"


def test_a_namespace_may_stand_or_not() -> None:
    body = b'<a:Tagging xmlns:a="http://s3.amazonaws.com/doc/2006-03-01/"><a:TagSet/></a:Tagging>'
    assert tags_from_xml(body) == {}


def test_the_origins_tags_are_taken_as_they_are() -> None:
    pairs = [(f"aws:k#{number}", "v" * 300) for number in range(12)]
    assert tags_as_told(tagging(*pairs)) == dict(pairs)
