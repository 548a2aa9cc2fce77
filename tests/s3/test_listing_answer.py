from __future__ import annotations

from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from botocore.compat import unquote_str
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.listing_answer import fields_of, owner_of, render_listing
from addon.s3.listing_request import parse_listing_request
from addon.s3.listing_tokens import Place, token_of

NS = "{http://s3.amazonaws.com/doc/2006-03-01/}"
FIELDS = fields_of(
    size=5,
    etag="abc-2",
    last_modified_s=1_700_000_000,
    storage_class="STANDARD",
    checksum_algorithm="crc64nvme",
    checksum_type="FULL_OBJECT",
    owner=owner_of("b&b"),
)


def test_version_2() -> None:
    request = parse_listing_request("prefix=a&delimiter=/&start-after=a1&max-keys=2", v2=True)
    answer = render_listing(request, "b&b", [("a2", FIELDS), ("a3/", None)], Place("a3/"))
    assert answer.decode().replace(owner_of("b&b"), "[owner]") == (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        "<Name>b&amp;b</Name><Prefix>a</Prefix><StartAfter>a1</StartAfter>"
        f"<NextContinuationToken>{token_of(Place('a3/'))}</NextContinuationToken><KeyCount>2</KeyCount>"
        "<MaxKeys>2</MaxKeys><Delimiter>/</Delimiter><IsTruncated>true</IsTruncated>"
        "<Contents><Key>a2</Key><LastModified>2023-11-14T22:13:20.000Z</LastModified><ETag>&quot;abc-2&quot;</ETag>"
        "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType><Size>5</Size>[owner]"
        "<StorageClass>STANDARD</StorageClass></Contents>"
        "<CommonPrefixes><Prefix>a3/</Prefix></CommonPrefixes></ListBucketResult>"
    )


def test_version_1() -> None:
    request = parse_listing_request("marker=a%201&encoding-type=url", v2=False)
    answer = render_listing(request, "b", [], Place("a 2"))
    assert answer.decode().partition('01/">')[2] == (
        "<Name>b</Name><Prefix></Prefix><Marker>a%201</Marker><NextMarker>a%202</NextMarker><MaxKeys>1000</MaxKeys>"
        "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated></ListBucketResult>"
    )
    last = render_listing(parse_listing_request("", v2=False), "b", [], None).decode()
    assert "<IsTruncated>false</IsTruncated>" in last
    assert "NextMarker" not in last


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), min_size=1))
def test_every_kind_of_client_decodes_the_same_names(names: list[str]) -> None:
    request = parse_listing_request("encoding-type=url", v2=True)
    root = ElementTree.fromstring(render_listing(request, "b", [(name, "") for name in names], None))
    spelt = [found.text or "" for found in root.iter(f"{NS}Key")]
    assert [unquote_str(name) for name in spelt] == names, "botocore decodes + too"
    assert [unquote(name) for name in spelt] == names, "as decodeURIComponent does"


@pytest.mark.parametrize(("name", "spelt"), [("a\x01", "a&#x1;"), ("<&>", "&lt;&amp;&gt;"), ("a\r\n", "a&#xd;&#xa;")])
def test_without_encoding_characters_become_references(name: str, spelt: str) -> None:
    answer = render_listing(parse_listing_request("", v2=True), "b", [(name, "")], None)
    assert f"<Key>{spelt}</Key>" in answer.decode()


def test_the_owner_is_the_same_for_a_bucket_and_another_for_another() -> None:
    assert owner_of("a") == owner_of("a") != owner_of("b")
