"""Pages as real servers write them, and as none should."""

from __future__ import annotations

import contextlib
from urllib.parse import parse_qsl, quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.origin_listing import (
    MalformedPage,
    OriginPage,
    OriginQuery,
    common_prefix,
    parse_origin_page,
)

ALL = OriginQuery("", "", "", 1000, owners=True)
FOLDED = OriginQuery("", "/", "", 1000)
NS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'

RGW = f"""<?xml version="1.0" encoding="UTF-8"?><ListBucketResult {NS}><EncodingType>url</EncodingType><Name>b</Name>\
<Prefix></Prefix><MaxKeys>4</MaxKeys><Delimiter>/</Delimiter><IsTruncated>true</IsTruncated>\
<CommonPrefixes><Prefix>photos/</Prefix></CommonPrefixes><CommonPrefixes><Prefix>sp%20ace%2Bplus/</Prefix></CommonPrefixes>\
<Contents><Key>%01ctl</Key><Size>1</Size><Owner><ID>lab</ID><DisplayName>Lab</DisplayName></Owner><Type>Normal</Type></Contents>\
<Contents><Key>photos0</Key><Size>2</Size><Owner><ID>lab</ID><DisplayName>Lab</DisplayName></Owner><Type>Normal</Type></Contents>\
<NextContinuationToken>&#x01;ctl</NextContinuationToken><KeyCount>4</KeyCount><StartAfter>\x02</StartAfter></ListBucketResult>"""

AWS = f"""<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult {NS}><Name>b</Name><Prefix></Prefix><NextContinuationToken>1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=\
</NextContinuationToken><KeyCount>2</KeyCount><MaxKeys>2</MaxKeys><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
<Contents><Key>a+b</Key><LastModified>2009-10-12T17:50:30.000Z</LastModified><ETag>&quot;fba9&quot;</ETag><Size>434234</Size>\
<StorageClass>STANDARD</StorageClass></Contents><Contents><Key>a%2Bb</Key><Size>0</Size></Contents></ListBucketResult>"""

MOTO = f"""<?xml version="1.0" encoding="utf-8"?>
<ListBucketResult {NS}><IsTruncated>false</IsTruncated><Contents><Key>a</Key><ETag>"9dd4"</ETag></Contents><Name>bkt</Name>\
<Prefix/><Delimiter>/</Delimiter><CommonPrefixes><Prefix>photos/</Prefix></CommonPrefixes><CommonPrefixes><Prefix>zz/</Prefix>\
</CommonPrefixes><EncodingType>url</EncodingType><KeyCount>3</KeyCount></ListBucketResult>"""


def test_ceph_rgw() -> None:
    page = parse_origin_page(RGW.encode(), FOLDED)
    assert page == OriginPage(
        [
            ("\x01ctl", "<Size>1</Size><Type>Normal</Type>"),
            ("photos/", None),
            ("photos0", "<Size>2</Size><Type>Normal</Type>"),
            ("sp ace+plus/", None),
        ],
        truncated=True,
    ), "a token with characters that XML does not have is none"
    asked = OriginQuery("", "/", "", 1000, owners=True)
    assert "<Owner><ID>lab</ID>" in str(parse_origin_page(RGW.encode(), asked).entries[0])


def test_aws() -> None:
    page = parse_origin_page(AWS.encode(), ALL)
    fields = (
        "<LastModified>2009-10-12T17:50:30.000Z</LastModified><ETag>&quot;fba9&quot;</ETag><Size>434234</Size>"
        "<StorageClass>STANDARD</StorageClass>"
    )
    assert page.entries == [("a b", fields), ("a+b", "<Size>0</Size>")]
    assert (page.truncated, page.token) == (True, "1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=")


def test_moto() -> None:
    page = parse_origin_page(MOTO.encode(), FOLDED)
    assert page == OriginPage([("a", '<ETag>"9dd4"</ETag>'), ("photos/", None), ("zz/", None)], truncated=False)


def page_of(contents: str, *, head: str = "", root: str = "ListBucketResult", truncated: str = "false") -> bytes:
    return f"{head}<{root}><IsTruncated>{truncated}</IsTruncated>{contents}</{root.split()[0]}>".encode()


ONE = "<Contents><Key>%s</Key></Contents>"

UNUSUAL = {
    "written over several lines": page_of("\n <Contents>\n  <Key>a</Key>\n  <Size>1</Size>\n </Contents>\n"),
    "the key behind": page_of("<Contents><Size>1</Size><Key>a</Key></Contents>"),
    "a namespace prefix": page_of(
        "<s:Contents><s:Key>a</s:Key><s:Size>1</s:Size></s:Contents>", root='ListBucketResult xmlns:s="s"'
    ),
    "a comment": page_of("<!-- <Contents> --><Contents><Key>a</Key><Size>1</Size></Contents>"),
    "a CDATA section": page_of("<Contents><Key><![CDATA[a]]></Key><Size>1</Size></Contents>"),
    "an instruction": page_of("<?x <Contents> ?><Contents><Key>a</Key><Size>1</Size></Contents>"),
    "an entry in a comment": page_of(f"<!--{ONE % 'z'}--><Contents><Key>a</Key><Size>1</Size></Contents>"),
    "an entry in an instruction": page_of(f"<?x {ONE % 'z'}?><Contents><Key>a</Key><Size>1</Size></Contents>"),
    "an attribute": page_of('<Contents a=">"><Key>a</Key><Size>1</Size></Contents>'),
    "references": page_of("<Contents><Key>&#97;</Key><Size>1</Size></Contents>"),
    "a byte order mark": b"\xef\xbb\xbf" + page_of("<Contents><Key>a</Key><Size>1</Size></Contents>"),
    "capitals": page_of("<Contents><Key>a</Key><Size>1</Size></Contents>").replace(b"false", b"False"),
}


@pytest.mark.parametrize("body", UNUSUAL.values(), ids=UNUSUAL)
def test_what_is_written_unusually_means_the_same(body: bytes) -> None:
    assert parse_origin_page(body, ALL) == OriginPage([("a", "<Size>1</Size>")], truncated=False)


def test_what_goes_out_again_is_escaped_again() -> None:
    body = page_of(
        "<Contents><Key>a&amp;b</Key><ETag>&quot;&lt;&amp;&quot;</ETag><Owner><ID>&#38;</ID></Owner></Contents>"
    )
    assert parse_origin_page(body, ALL).entries == [("a&b", '<ETag>"&lt;&amp;"</ETag><Owner><ID>&amp;</ID></Owner>')]


BAD = {
    "nothing": b"",
    "an error": b"<Error><Code>SlowDown</Code></Error>",
    "html": b"<html><body>",
    "broken off": RGW.encode()[:-30],
    "not UTF-8": page_of(ONE % "a").replace(b"a<", b"\xff<"),
    "UTF-16": page_of(ONE % "a").decode().encode("utf-16"),
    "a document type": page_of(ONE % "a", head='<!DOCTYPE x [<!ENTITY a "aaaa">]>'),
    "a bomb": page_of(ONE % "&b;", head='<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'),
    "no word on truncation": b"<ListBucketResult></ListBucketResult>",
    "a wrong word on truncation": page_of("", truncated="maybe"),
    "two words on truncation": page_of("<IsTruncated>true</IsTruncated>"),
    "not in order": page_of(ONE % "b" + ONE % "a"),
    "twice": page_of(ONE % "a" + ONE % "a"),
    "an unescaped sign": page_of(ONE % "a" + "<Contents><Key>b</Key>&</Contents>"),
    "fields that close the entry": page_of("<Contents><Key>a</Key><A></Contents><Contents><Key>b</Key></A></Contents>"),
    "fields that close two": page_of("<Contents><Key>a</Key></A></Contents><Contents><Key>b</Key><A></Contents>"),
    "a foreign prefix": page_of("<Contents><Key>a</Key><x:A/></Contents>"),
    "two keys": page_of("<Contents><Key>a</Key><Key>b</Key></Contents>"),
    "an escape that is not UTF-8": page_of("<EncodingType>url</EncodingType>" + ONE % "%FF"),
    "a prefix that nobody asked for": page_of("<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>"),
    "an entry within an entry": page_of('<Contents><Key>a</Key><Contents a=""></Contents></Contents>'),
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_what_is_no_page_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedPage):
        parse_origin_page(body, ALL)


@pytest.mark.parametrize(
    ("query", "contents"),
    [
        (OriginQuery("b", "", "", 10), ONE % "a" + ONE % "b"),
        (OriginQuery("b", "", "", 10), ONE % "b" + ONE % "c"),
        (OriginQuery("", "/", "", 10), ONE % "a/b"),
        (OriginQuery("", "/", "", 10), "<CommonPrefixes><Prefix>a/b</Prefix></CommonPrefixes>"),
        (OriginQuery("", "/", "", 10), "<CommonPrefixes><Prefix>a</Prefix></CommonPrefixes>"),
        (OriginQuery("", "", "", 1), ONE % "a" + ONE % "b"),
    ],
    ids=["before the prefix", "behind the prefix", "not grouped", "half grouped", "grouped by nothing", "too many"],
)
def test_what_was_not_asked_for_is_refused(query: OriginQuery, contents: str) -> None:
    with pytest.raises(MalformedPage):
        parse_origin_page(page_of(contents), query)


def test_an_origin_that_does_not_encode_is_understood() -> None:
    assert parse_origin_page(page_of(ONE % "a%20+b"), ALL).entries == [("a%20+b", "")]


NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8), max_size=8, unique=True)


@given(NAMES)
def test_every_name_comes_through(names: list[str]) -> None:
    names.sort()
    for spell in (quote, quote_plus):
        contents = "".join(ONE % spell(name) for name in names)
        page = parse_origin_page(page_of(f"<EncodingType>url</EncodingType>{contents}"), ALL)
        assert [name for name, _ in page.entries] == names


@given(st.binary(max_size=200) | st.text("<>/ContesKy&#x1;", max_size=200).map(str.encode))
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    for body in (data, page_of("").replace(b"</List", data + b"</List")):
        with contextlib.suppress(MalformedPage):
            parse_origin_page(body, ALL)


def test_the_query_says_what_is_asked() -> None:
    query = OriginQuery("a b+c/", "/", "a b+c/é", 1000, owners=True, token="t=&")
    assert "+" not in query.raw_query
    assert dict(parse_qsl(query.raw_query, strict_parsing=True)) == {
        "list-type": "2",
        "encoding-type": "url",
        "max-keys": "1000",
        "prefix": "a b+c/",
        "delimiter": "/",
        "continuation-token": "t=&",
        "start-after": "a b+c/é",
        "fetch-owner": "true",
    }
    assert OriginQuery("", "", "", 5).raw_query == "list-type=2&encoding-type=url&max-keys=5"


def test_a_place_before_the_prefix_is_not_said() -> None:
    assert "start-after" not in OriginQuery("b/", "", "a", 5).raw_query
    assert "start-after=b%2F" in OriginQuery("b/", "", "b/", 5).raw_query


@pytest.mark.parametrize(
    ("name", "prefix", "delimiter", "expected"),
    [
        ("a/b/c", "", "/", "a/"),
        ("a/b/c", "a/", "/", "a/b/"),
        ("a/b", "a/", "/", None),
        ("a/", "a", "/", "a/"),
        ("a--b-c", "", "--", "a--"),
        ("a/b", "", "", None),
        ("x/y", "a", "/", None),
    ],
)
def test_common_prefixes(name: str, prefix: str, delimiter: str, expected: str | None) -> None:
    assert common_prefix(name, prefix, delimiter) == expected
