"""Listings of uploads, ours and the origin's: each once, in one order, page by page, against listing everything at once."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest
from botocore.parsers import create_parser
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.errors import S3Error
from addon.s3.multipart import new_upload_id
from addon.s3.upload_listing import (
    BEFORE_ALL_IDS,
    OriginPage,
    Place,
    UploadEntry,
    UploadsAsked,
    UploadsPage,
    first_behind,
    marker_of,
    merged,
    origin_query,
    parse_origin_page,
    uploads_list,
)

OURS = [new_upload_id(float(at), lambda _, at=at: f"token{at}") for at in range(1, 4)]  # type: ignore[misc]


def ask(query: str = "") -> UploadsAsked:
    return UploadsAsked.of(f"uploads&{query}")


def ours(key: str, upload_id: str) -> UploadEntry:
    return UploadEntry(key, upload_id, ours=True)


@pytest.mark.parametrize(
    ("query", "here", "there"),
    [
        ("", Place(), Place()),
        ("key-marker=k", Place("k"), Place("k")),
        ("upload-id-marker=x", Place(), Place()),
        (f"key-marker=k&upload-id-marker={OURS[0]}", Place("k", OURS[0]), Place("k")),
        ("key-marker=k&upload-id-marker=theirs", Place("k", BEFORE_ALL_IDS), Place("k", "theirs")),
        (f"key-marker=k&upload-id-marker=origin.{OURS[0]}", Place("k", BEFORE_ALL_IDS), Place("k", OURS[0])),
    ],
)
def test_where_a_page_goes_on(query: str, here: Place, there: Place) -> None:
    assert ask(query).places == (here, there)
    assert all(upload_id > BEFORE_ALL_IDS for upload_id in OURS)


@pytest.mark.parametrize(
    "entry", [ours("k", OURS[0]), UploadEntry("k", "theirs"), UploadEntry("k", OURS[1]), UploadEntry("k", "origin.x")]
)
def test_a_marker_leads_back_to_its_entry(entry: UploadEntry) -> None:
    here, there = ask(f"key-marker=k&upload-id-marker={marker_of(entry)}").places
    assert (here if entry.ours else there) == Place("k", entry.upload_id)


@pytest.mark.parametrize(
    ("prefix", "behind"),
    [("a", "b"), ("a/", "a0"), ("\ud7ff", "\ue000"), ("a\U0010ffff", "b"), ("\U0010ffff", None), ("", None)],
)
def test_the_first_key_behind_a_prefix(prefix: str, behind: str | None) -> None:
    assert first_behind(prefix) == behind


@given(prefix=st.text(max_size=4), rest=st.text(max_size=3))
def test_no_key_under_a_prefix_is_behind_it(prefix: str, rest: str) -> None:
    behind = first_behind(prefix)
    if behind is not None:
        assert (prefix + rest).encode() < behind.encode()


UPLOAD = (
    "<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>2026-01-01T00:00:00.000Z</Initiated>"
    "<StorageClass>STANDARD</StorageClass><ChecksumAlgorithm>CRC32</ChecksumAlgorithm></Upload>"
)


def origins(inner: str) -> bytes:
    return f'<ListMultipartUploadsResult xmlns="http://x/">{inner}</ListMultipartUploadsResult>'.encode()


def test_the_origins_answer_is_read() -> None:
    page = parse_origin_page(
        origins(
            "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextKeyMarker>b%2F</NextKeyMarker>"
            + UPLOAD.format(key="a%20b+c", id="one")
            + "<CommonPrefixes><Prefix>b%2F</Prefix></CommonPrefixes>"
        )
    )
    assert page.next_place == Place("b/")
    assert page.entries == [
        UploadEntry("a b c", "one", "2026-01-01T00:00:00.000Z", "STANDARD", "CRC32"),
        UploadEntry("b/"),
    ]
    plain = parse_origin_page(origins("<IsTruncated>false</IsTruncated>" + UPLOAD.format(key="a%20b", id="one")))
    assert (plain.next_place, plain.entries[0].key) == (None, "a%20b")
    untold = parse_origin_page(origins("<IsTruncated>true</IsTruncated>" + UPLOAD.format(key="k", id="one")))
    assert untold.next_place == Place("k", "one")


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"<Error/>", origins("<Upload><Key>k</Key></Upload>"), origins("<IsTruncated>true</IsTruncated>")],
)
def test_answers_that_are_none(content: bytes) -> None:
    with pytest.raises(S3Error):
        parse_origin_page(content)


def test_the_origin_is_asked_for_one_more_than_the_page_takes() -> None:
    asked = ask("prefix=a%2F&delimiter=%2F&max-uploads=7&encoding-type=url")
    assert origin_query(asked, Place("a b", "id/+")) == (
        "uploads=&delimiter=%2F&encoding-type=url&key-marker=a%20b&max-uploads=8&prefix=a%2F&upload-id-marker=id%2F%2B"
    )
    assert "max-uploads=1000" in origin_query(ask(), Place())


def test_of_one_key_the_origins_come_first_and_prefixes_stand_once() -> None:
    asked = ask("delimiter=%2F")
    page = merged(
        asked,
        [UploadEntry("d/", ours=True), ours("k", OURS[0]), ours("k", OURS[1])],
        [UploadEntry("d/"), UploadEntry("k", "z"), UploadEntry("k", "a")],
        origin_ends_at=None,
    )
    assert [(entry.key, entry.upload_id) for entry in page.entries] == [
        ("d/", ""), ("k", "z"), ("k", "a"), ("k", OURS[0]), ("k", OURS[1])
    ]  # fmt: skip
    assert not page.truncated


def test_behind_the_end_of_the_origins_page_nothing_is_shown() -> None:
    """The next key of the origin could stand before it."""
    page = merged(ask(), [ours("a", OURS[0]), ours("c", OURS[0])], [UploadEntry("b", "x")], origin_ends_at="b")
    assert [entry.key for entry in page.entries] == ["a", "b"]
    assert page.truncated


def test_origins_that_ignore_markers_and_delimiters() -> None:
    given_again = [UploadEntry("a", "x"), UploadEntry("k", "x"), UploadEntry("k", "y"), UploadEntry("k", "z")]
    page = merged(ask("key-marker=k&upload-id-marker=y"), [], given_again, origin_ends_at=None)
    assert [entry.upload_id for entry in page.entries] == ["z"]
    page = merged(ask("key-marker=k"), [], given_again, origin_ends_at=None)
    assert page.entries == []
    flat = [UploadEntry("d/1", "x"), UploadEntry("d/2", "y"), UploadEntry("e", "z")]
    page = merged(ask("delimiter=%2F"), [], flat, origin_ends_at=None)
    assert [(entry.key, entry.upload_id) for entry in page.entries] == [("d/", ""), ("e", "z")]
    assert [one.key for one in merged(ask("delimiter=%2F&key-marker=d%2F"), [], flat, origin_ends_at=None).entries] == [
        "e"
    ]


def simulated_origin(uploads: list[UploadEntry], asked: UploadsAsked, place: Place) -> OriginPage:
    """A server that does it as AWS documents: keys in order, of one key in the order of beginning, markers and delimiters."""
    limit = min(asked.uploads_max + 1, 1000)
    entries: list[UploadEntry] = []
    passed = not place.upload_id
    for upload in uploads:
        if not upload.key.startswith(asked.prefix):
            continue
        if upload.key.encode() < place.key.encode() or (upload.key == place.key and not place.upload_id and place.key):
            continue
        if upload.key == place.key and not passed:
            passed = upload.upload_id == place.upload_id
            continue
        common = asked.common_prefix(upload.key)
        if common is not None and common == place.key:
            continue
        one = upload if common is None else UploadEntry(common)
        if entries and not one.upload_id and entries[-1] == one:
            continue
        if len(entries) == limit:
            return OriginPage(entries, Place(entries[-1].key, entries[-1].upload_id))
        entries.append(one)
    return OriginPage(entries, None)


KEYS = st.sampled_from(["a", "a/1", "a/2", "b", "b/", "b/x/y", "c", "\u00e9", "\U0001f600", "\ufb01"])


@given(
    here=st.lists(KEYS, max_size=8),
    there=st.lists(KEYS, max_size=8),
    page_size=st.integers(1, 4),
    delimiter=st.sampled_from(["", "/"]),
    prefix=st.sampled_from(["", "a", "b/"]),
)
def test_pages_together_are_the_whole_list(
    here: list[str], there: list[str], page_size: int, delimiter: str, prefix: str
) -> None:
    mine = sorted(
        (ours(key, new_upload_id(float(at), lambda _: "t")) for at, key in enumerate(here)), key=lambda one: one.order
    )
    theirs = sorted((UploadEntry(key, f"t{at}") for at, key in enumerate(there)), key=lambda one: one.key.encode())
    expected: list[tuple[str, str]] = []
    for entry in sorted([*mine, *theirs], key=lambda one: one.order):
        if not entry.key.startswith(prefix):
            continue
        end = entry.key.find(delimiter, len(prefix)) if delimiter else -1
        one = (entry.key, entry.upload_id) if end < 0 else (entry.key[: end + 1], "")
        if not (one[1] == "" and expected and expected[-1] == one):
            expected.append(one)
    got: list[tuple[str, str]] = []
    markers = ("", "")
    for _ in range(len(expected) + 2):
        asked = UploadsAsked(prefix, delimiter, *markers, page_size, False)
        here_place, there_place = asked.places
        rolled: list[UploadEntry] = []
        for entry in mine:
            behind = (entry.key.encode(), entry.upload_id) > (here_place.key.encode(), here_place.upload_id)
            if not here_place.upload_id and entry.key == here_place.key:
                behind = False
            common = asked.common_prefix(entry.key)
            if (
                not entry.key.startswith(prefix)
                or not behind
                or (common is not None and common.encode() <= markers[0].encode())
            ):
                continue
            one_entry = entry if common is None else UploadEntry(common, ours=True)
            if not (rolled and rolled[-1] == one_entry):
                rolled.append(one_entry)
        origin = simulated_origin(theirs, asked, there_place)
        ends_at = origin.next_place.key if origin.next_place is not None else None
        page = merged(asked, rolled[: page_size + 1], origin.entries, origin_ends_at=ends_at)
        assert len(page.entries) <= page_size
        got += [(entry.key, entry.upload_id) for entry in page.entries]
        if not page.truncated:
            break
        assert page.entries, "a page that goes on holds something"
        markers = (page.entries[-1].key, marker_of(page.entries[-1]))
    assert got == expected


def test_the_answer_as_boto3_reads_it() -> None:
    asked = ask("prefix=p&delimiter=%2F&max-uploads=2&encoding-type=url&key-marker=%C3%A9")
    entries = [
        UploadEntry("p a/"),
        UploadEntry("p+b", OURS[0], "2026-01-01T00:00:00.000Z", "STANDARD_IA", "SHA256", "COMPOSITE", True),
    ]
    content = uploads_list(asked, UploadsPage(entries, truncated=True), bucket="images")
    model = botocore.session.get_session().get_service_model("s3").operation_model("ListMultipartUploads")
    answer = {"body": content, "headers": {}, "status_code": 200}
    told: dict[str, Any] = create_parser("rest-xml").parse(answer, model.output_shape)
    assert (told["Bucket"], told["MaxUploads"], told["IsTruncated"]) == ("images", 2, True)
    assert (told["NextKeyMarker"], told["NextUploadIdMarker"]) == ("p%2Bb", OURS[0])
    assert (told["KeyMarker"], told["Prefix"], told["Delimiter"], told["EncodingType"]) == ("%C3%A9", "p", "/", "url")
    assert told["CommonPrefixes"] == [{"Prefix": "p%20a/"}]
    upload = told["Uploads"][0]
    assert (upload["Key"], upload["UploadId"], upload["StorageClass"]) == ("p%2Bb", OURS[0], "STANDARD_IA")
    assert (upload["ChecksumAlgorithm"], upload["ChecksumType"]) == ("SHA256", "COMPOSITE")
    assert upload["Initiated"].isoformat() == "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize("query", ["max-uploads=-1", "max-uploads=x", "encoding-type=x", f"max-uploads={'9' * 5000}"])
def test_what_cannot_be_asked(query: str) -> None:
    with pytest.raises(S3Error) as refused:
        ask(query)
    assert refused.value.code == "InvalidArgument"
