"""The origin's address in both styles."""

from __future__ import annotations

import pytest

from addon.s3.address import OriginAddress, origin_address


@pytest.mark.parametrize(
    ("endpoint", "addressing", "address"),
    [
        ("https://s3.example.com", "virtual", OriginAddress("https", "b.s3.example.com", 443, "b.s3.example.com", "")),
        ("https://s3.example.com/", "path", OriginAddress("https", "s3.example.com", 443, "s3.example.com", "/b")),
        ("http://127.0.0.1:9000", "path", OriginAddress("http", "127.0.0.1", 9000, "127.0.0.1:9000", "/b")),
        ("http://s3.localhost:80", "virtual", OriginAddress("http", "b.s3.localhost", 80, "b.s3.localhost", "")),
        ("https://h:8443/storage/s3/", "path", OriginAddress("https", "h", 8443, "h:8443", "/storage/s3/b")),
        ("http://[::1]:9000", "path", OriginAddress("http", "::1", 9000, "[::1]:9000", "/b")),
    ],
)
def test_addresses(endpoint: str, addressing: str, address: OriginAddress) -> None:
    assert origin_address(endpoint, "b", addressing) == address  # type: ignore[arg-type]


def test_raw_paths_are_never_normalised() -> None:
    virtual = origin_address("https://h", "b", "virtual")
    path = origin_address("https://h", "b", "path")
    for raw_key in ("k", "/lead", "a//b", "a/../b", "a%2Fb", "%7e", "a+b", "dir/"):
        assert virtual.raw_path(raw_key) == f"/{raw_key}"
        assert path.raw_path(raw_key) == f"/b/{raw_key}"
    assert (virtual.raw_path(""), path.raw_path("")) == ("/", "/b")


@pytest.mark.parametrize(
    ("endpoint", "bucket"),
    [
        ("s3.example.com", "b"),
        ("ftp://s3.example.com", "b"),
        ("https://", "b"),
        ("https://h?x=1", "b"),
        ("https://h#x", "b"),
        ("https://user:pass@h", "b"),
        ("https://h:99999", "b"),
        ("https://h", ""),
        ("https://h", "a/b"),
        ("https://h", "a b"),
        ("https://h", "a@b"),
        ("https://[::1]", "b"),
    ],
)
def test_what_cannot_be_meant_is_refused(endpoint: str, bucket: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        origin_address(endpoint, bucket, "virtual")
