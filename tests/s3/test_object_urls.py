from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.errors import S3Error
from addon.s3.keys import encode_key
from addon.s3.object_urls import NotOurs, ObjectUrl, ObjectUrls, without_secrets
from addon.service.buckets import Bucket, Directory

BY_HOST = {"img.example.com": "pictures", "[::1]": "six"}
BY_PATH = {"s3.example.com": ["pictures", "other"]}
URLS = ObjectUrls(BY_HOST, BY_PATH)


def bucket(name: str, hosts: set[str], path_hosts: set[str]) -> Bucket:
    return Bucket(name, frozenset(hosts), frozenset(path_hosts), True, True, {}, None, None)


DIRECTORY = Directory(
    [
        bucket("pictures", {"img.example.com"}, {"s3.example.com"}),
        bucket("other", set(), {"s3.example.com"}),
        bucket("six", {"[::1]"}, set()),
        bucket("elsewhere", set(), {"elsewhere.example.com"}),
    ]
)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://img.example.com/a.jpg", ObjectUrl("pictures", "a.jpg", False)),
        ("http://IMG.example.com.:8080/a/b/", ObjectUrl("pictures", "a/b/", False)),
        ("HTTPS://[::1]:444/k", ObjectUrl("six", "k", False)),
        ("https://s3.example.com/other/a//b", ObjectUrl("other", "a//b", False)),
        ("https://s3.example.com/o%74her/k", ObjectUrl("other", "k", False)),
        ("https://img.example.com/a%2Fb%20c+d", ObjectUrl("pictures", "a/b c+d", False)),
        ("https://img.example.com/caf%C3%A9.png", ObjectUrl("pictures", "café.png", False)),
        ("https://img.example.com/café é.png", ObjectUrl("pictures", "café é.png", False)),
        (" https://img.example.com/k\r\n", ObjectUrl("pictures", "k", False)),
        ("https://img.example.com/k?width=5#top", ObjectUrl("pictures", "k", True)),
        ("https://img.example.com/a;b=c", ObjectUrl("pictures", "a;b=c", False)),
        ("https://img.example.com/a%3Fb%23c", ObjectUrl("pictures", "a?b#c", False)),
        ("https://img.example.com/..a/b..", ObjectUrl("pictures", "..a/b..", False)),
    ],
)
def test_a_url_means_the_object_that_a_request_for_it_would_be_for(url: str, found: ObjectUrl) -> None:
    assert URLS.read(url) == found


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "no URL"),
        ("a.jpg", "no URL"),
        ("//img.example.com/k", "no URL"),
        ("ftp://img.example.com/k", "no URL of http or https"),
        ("data:text/html,x", "no URL of http or https"),
        ("https://[::1/k", "no URL"),
        ("https://img.example.com:port/k", "no URL"),
        ("https:///k", "with a host"),
        ("https://elsewhere.example.net/k", "none of the configured ones"),
        ("https://s3.example.com/unknown/k", "none of the configured ones"),
        ("https://s3.example.com/", "none of the configured ones"),
        ("https://img.example.com", "no key"),
        ("https://img.example.com/", "no key"),
        ("https://img.example.com/?list-type=2", "no key"),
        ("https://s3.example.com/other", "no key"),
        ("https://img.example.com/100%.jpg", "InvalidURI"),
        ("https://img.example.com/%ff", "InvalidURI"),
        ("https://img.example.com/a%00b", "InvalidURI"),
        ("https://img.example.com/\udcff", "InvalidURI"),
        ("https://img.example.com/" + "k" * 1025, "KeyTooLongError"),
        ("https://img.example.com/" + "%6B" * 3000, "longer than"),
        ("https://user:word@img.example.com/k", "user's name"),
        ("https://img.example.com/a/../k", "segment"),
        ("https://img.example.com/a/%2E%2e", "segment"),
        ("https://img.example.com/./k", "segment"),
    ],
)
def test_a_url_that_means_no_object_of_ours_is_refused_with_its_reason(url: str, reason: str) -> None:
    with pytest.raises(NotOurs, match=reason):
        URLS.read(url)


HOSTS = st.sampled_from(
    ["img.example.com", "IMG.example.com:80", "s3.example.com", "s3.example.com.", "[::1]", "elsewhere.example.net"]
)
PATHS = st.text("a%2Fb/ .é+~'", max_size=12) | st.sampled_from(
    ["/other/k", "/pictures/a%2Fb", "/elsewhere/k", "/other"]
)


@given(HOSTS, PATHS)
def test_urls_and_requests_are_understood_alike(host: str, path: str) -> None:
    try:
        url = URLS.read(f"https://{host}/{path.lstrip('/')}")
    except NotOurs:
        return
    addressed = DIRECTORY.find(host, "GET", encode_as_a_browser(f"/{path.lstrip('/')}"), "", [])
    assert addressed is not None
    assert (addressed.bucket.name, addressed.target.key) == (url.bucket, url.key)


@given(HOSTS, PATHS)
def test_what_requests_reach_urls_name_too(host: str, path: str) -> None:
    raw_path = encode_as_a_browser(f"/{path.lstrip('/')}")
    try:
        addressed = DIRECTORY.find(host, "GET", raw_path, "", [])
    except S3Error:
        return
    if addressed is None or not addressed.target.key or any(s in (".", "..") for s in raw_path.split("/")):
        return
    # Spelt out, as spaces at the end of a URL do not belong to it.
    url = URLS.read(f"https://{host}{raw_path}")
    assert (url.bucket, url.key) == (addressed.bucket.name, addressed.target.key)


@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_every_key_is_named_by_its_own_url(key: str) -> None:
    url = f"https://img.example.com/{encode_key(key)}"
    if {".", ".."} & set(key.split("/")):
        with pytest.raises(NotOurs, match="segment"):
            URLS.read(url)
    else:
        assert URLS.read(url) == ObjectUrl("pictures", key, False)


def encode_as_a_browser(path: str) -> str:
    return path.rstrip(" ").replace(" ", "%20").replace("é", "%C3%A9")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/k?X-Amz-Signature=secret", "https://h/k"),
        ("https://h/k#secret", "https://h/k"),
        ("https://user:secret@h/k", "https://h/k"),
        ("https://u:se@cret@h/k", "https://h/k"),
        ("not a url", "not a url"),
    ],
)
def test_what_may_be_secret_of_a_url_is_not_shown(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
