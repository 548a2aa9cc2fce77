"""The XML of DeleteObjects: every key comes through as it is, and a document that says too much or too little changes nothing."""

from __future__ import annotations

import tracemalloc
from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.delete_objects import (
    DELETE_BYTES_MAX,
    KEYS_MAX,
    Deleted,
    KeyToDelete,
    NotDeleted,
    key_error,
    parse_delete,
    result_xml,
)
from addon.s3.errors import S3Error
from addon.s3.xml import xml_text
from tests.s3.xml_samples import BILLION_LAUGHS, xml_characters

keys = st.text(xml_characters, min_size=1, max_size=40)


def delete(*objects: str, quiet: str = "") -> bytes:
    return f"<Delete>{quiet}{''.join(f'<Object>{one}</Object>' for one in objects)}</Delete>".encode()


def key(text: str) -> str:
    return f"<Key>{xml_text(text)}</Key>"


@given(names=st.lists(keys, min_size=1, max_size=8), quiet=st.booleans())
def test_every_key_comes_through(names: list[str], quiet: bool) -> None:
    request = parse_delete(delete(*map(key, names), quiet=f"<Quiet>{str(quiet).lower()}</Quiet>"))
    assert [one.key for one in request.keys] == names
    assert request.quiet is quiet
    assert not any(one.is_conditional or one.version_id for one in request.keys)


@given(names=st.lists(keys, max_size=8))
def test_every_key_is_answered_as_it_was_asked(names: list[str]) -> None:
    answered = fromstring(result_xml([Deleted(name) for name in names], quiet=False))
    assert [(one.tag.rpartition("}")[2], one[0].text) for one in answered] == [("Deleted", name) for name in names]


@given(body=st.binary(max_size=100) | st.text(max_size=60).map(lambda text: f"<Delete>{text}</Delete>".encode()))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    with pytest.raises(S3Error) as refused:
        parse_delete(body)
    assert refused.value.code == "MalformedXML"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("<Key>k</Key>", KeyToDelete("k")),
        ("<Key> k </Key>", KeyToDelete(" k ")),
        ("<Key>a&lt;&amp;&quot;&#13;&#10;&#x1F600;b</Key>", KeyToDelete('a<&"\r\n\U0001f600b')),
        ("<Key>k</Key><VersionId>null</VersionId>", KeyToDelete("k", version_id="null")),
        ("<Key>k</Key><VersionId/>", KeyToDelete("k")),
        ("<VersionId>v1</VersionId><Key>k</Key>", KeyToDelete("k", version_id="v1")),
        ('<Key>k</Key><ETag>"e"</ETag>', KeyToDelete("k", etag="e")),
        ("<Key>k</Key><ETag>e</ETag>", KeyToDelete("k", etag="e")),
        ("<Key>k</Key><ETag> * </ETag>", KeyToDelete("k", etag="*")),
        ('<Key>k</Key><ETag>"*"</ETag>', KeyToDelete("k", etag='"*"')),
        ("<Key>k</Key><Size>0</Size>", KeyToDelete("k", size=0)),
        ("<Key>k</Key><Size> 17\n</Size>", KeyToDelete("k", size=17)),
        (
            "<Key>k</Key><LastModifiedTime>Sun, 06 Nov 1994 08:49:37 GMT</LastModifiedTime>",
            KeyToDelete("k", last_modified_s=784_111_777),
        ),
        (
            "<Key>k</Key><LastModifiedTime>1994-11-06T08:49:37.000Z</LastModifiedTime>",
            KeyToDelete("k", last_modified_s=784_111_777),
        ),
        ("<Key>k<!-- x --></Key>", KeyToDelete("k")),
    ],
)
def test_what_an_object_may_say(text: str, wanted: KeyToDelete) -> None:
    assert parse_delete(delete(text)).keys == (wanted,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<Key/>",
        "<Key>k</Key><Key>k</Key>",
        "<Key>k<b/></Key>",
        "<Key>k</Key><Other/>",
        "<Key>k</Key><Size>-1</Size>",
        "<Key>k</Key><Size>\N{ARABIC-INDIC DIGIT ONE}</Size>",
        f"<Key>k</Key><Size>{'9' * 20}</Size>",
        "<Key>k</Key><Size/>",
        "<Key>k</Key><LastModifiedTime>yesterday</LastModifiedTime>",
        "<Key>k</Key><LastModifiedTime>1994-13-06T08:49:37Z</LastModifiedTime>",
        "<Key>k</Key><ETag>e</ETag><ETag>e</ETag>",
        "<Key>k&#0;</Key>",
        "<Key>k\x00</Key>",
        "<Key>k&#xD800;</Key>",
        "<Key>k&nbsp;</Key>",
    ],
)
def test_what_is_no_object_is_malformed(text: str) -> None:
    with pytest.raises(S3Error) as refused:
        parse_delete(delete("<Key>good</Key>", text))
    assert refused.value.code == "MalformedXML"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Delete/>",
        b"<Remove><Object><Key>k</Key></Object></Remove>",
        b"<Delete><Quiet>true</Quiet></Delete>",
        b"<Delete><Quiet>maybe</Quiet><Object><Key>k</Key></Object></Delete>",
        b"<Delete><Quiet>true</Quiet><Quiet>true</Quiet><Object><Key>k</Key></Object></Delete>",
        b"<Delete><Key>k</Key></Delete>",
        b"<Delete><Object><Key>k</Key></Object>",
        b"&" * (1 << 20),
        b"<Delete>" + b"&" * (1 << 20) + b"</Delete>",
        b"<a>" * 500_000,
        b"<Delete>" + b"<a/>" * 500_000 + b"</Delete>",
        BILLION_LAUGHS.replace(b"ROOT", b"Delete"),
        '<?xml version="1.0" encoding="UTF-16"?><Delete/>'.encode("utf-16-le") + b"\x00\xd8",
        b'<?xml version="1.0" encoding="none"?><Delete/>',
    ],
)
def test_what_is_no_request_is_malformed_and_costs_little(body: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(S3Error) as refused:
            parse_delete(body)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused.value.code == "MalformedXML"
    assert peak_bytes < 8 << 20


@pytest.mark.parametrize(("count", "is_taken"), [(1, True), (KEYS_MAX, True), (KEYS_MAX + 1, False)])
def test_how_many_keys_there_may_be(count: int, is_taken: bool) -> None:
    longest = "<Key>{}</Key><VersionId>v</VersionId><ETag>e</ETag><Size>1</Size>".format("&quot;" * 1024)
    body = delete(*[longest + "<LastModifiedTime>Sun, 06 Nov 1994 08:49:37 GMT</LastModifiedTime>"] * count)
    assert len(body) < DELETE_BYTES_MAX or not is_taken
    if is_taken:
        assert len(parse_delete(body).keys) == count
        return
    with pytest.raises(S3Error) as refused:
        parse_delete(body)
    assert refused.value.code == "MalformedXML"


def test_a_key_that_is_too_long_is_refused_alone() -> None:
    assert key_error("k" * 1024) is None
    assert key_error("\u00e9" * 512) is None
    for too_long in ("k" * 1025, "\u00e9" * 513):
        error = key_error(too_long)
        assert error is not None
        assert error.code == "KeyTooLongError"


def test_answers() -> None:
    outcomes = [
        Deleted("a&b"),
        NotDeleted("c", None, "AccessDenied", "Access Denied"),
        Deleted("d", "v1"),
        Deleted("e", "v2", "v2"),
        NotDeleted("f", "v3", "NoSuchVersion", "no <such>"),
    ]
    head = b'<?xml version="1.0" encoding="UTF-8"?>\n<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    errors = (
        b"<Error><Key>c</Key><Code>AccessDenied</Code><Message>Access Denied</Message></Error>",
        b"<Error><Key>f</Key><VersionId>v3</VersionId><Code>NoSuchVersion</Code><Message>no &lt;such&gt;</Message></Error>",
    )
    assert result_xml(outcomes, quiet=True) == head + b"".join(errors) + b"</DeleteResult>"
    assert result_xml(outcomes, quiet=False) == (
        head
        + b"<Deleted><Key>a&amp;b</Key></Deleted>"
        + errors[0]
        + b"<Deleted><Key>d</Key><VersionId>v1</VersionId></Deleted>"
        + b"<Deleted><Key>e</Key><VersionId>v2</VersionId><DeleteMarker>true</DeleteMarker>"
        + b"<DeleteMarkerVersionId>v2</DeleteMarkerVersionId></Deleted>"
        + errors[1]
        + b"</DeleteResult>"
    )
