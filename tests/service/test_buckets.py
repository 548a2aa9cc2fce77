"""Which bucket a request means."""

from __future__ import annotations

import pytest

from addon.s3.address import origin_address
from addon.s3.operations import Operation
from addon.service.buckets import Bucket, Directory, host_name


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("img.example.com", "img.example.com"),
        ("IMG.Example.com:443", "img.example.com"),
        ("img.example.com.", "img.example.com"),
        ("img.example.com.:8080", "img.example.com"),
        ("img.example.com:", "img.example.com"),
        (" img.example.com ", "img.example.com"),
        ("[::1]:8080", "[::1]"),
        ("[::1]", "[::1]"),
        ("", ""),
    ],
)
def test_hosts_are_compared_without_port_case_and_trailing_dot(host: str, name: str) -> None:
    assert host_name(host) == name


def bucket(name: str, *, hosts: set[str], path_hosts: set[str], credentials: dict[str, str]) -> Bucket:
    return Bucket(
        name=name,
        hosts=frozenset(hosts),
        path_hosts=frozenset(path_hosts),
        anonymous_read=True,
        reject_unknown_keys=False,
        credentials=credentials,
        origin=origin_address("https://origin.test", name, "path"),
        origin_bucket=name,
    )


DIRECTORY = Directory(
    [
        bucket("a", hosts={"a.test"}, path_hosts={"s3.test"}, credentials={"K1": "s1"}),
        bucket("b", hosts=set(), path_hosts={"s3.test", "other.test"}, credentials={"K1": "s1", "K2": "s2"}),
        bucket("c", hosts={"c.test"}, path_hosts=set(), credentials={"K3": "s3"}),
    ]
)


@pytest.mark.parametrize(
    ("host", "path", "found"),
    [
        ("a.test", "/b/k", ("a", "b/k", Operation.GET_OBJECT)),
        ("a.test", "/", ("a", "", Operation.LIST_OBJECTS)),
        ("s3.test", "/a/k", ("a", "k", Operation.GET_OBJECT)),
        ("s3.test", "/%61/k", ("a", "k", Operation.GET_OBJECT)),
        ("s3.test", "/c/k", None),
        ("s3.test", "//k", None),
        ("other.test", "/a/k", None),
        ("s3.test", "/", ("", "", Operation.LIST_BUCKETS)),
        ("S3.test:8080", "/", ("", "", Operation.LIST_BUCKETS)),
        ("s3.test", "", ("", "", Operation.LIST_BUCKETS)),
        ("nowhere.test", "/", None),
        ("c.test", "/", ("c", "", Operation.LIST_OBJECTS)),
    ],
)
def test_which_bucket_and_operation_a_request_means(
    host: str, path: str, found: tuple[str, str, Operation] | None
) -> None:
    addressed = DIRECTORY.find(host, "GET", path, "", [])
    if found is None:
        assert addressed is None
        return
    assert addressed is not None
    assert (addressed.bucket.name, addressed.target.key, addressed.target.operation) == found


def test_the_service_itself_knows_the_keys_of_its_host_and_nothing_else() -> None:
    for host, keys in (("s3.test", {"K1": "s1", "K2": "s2"}), ("other.test", {"K1": "s1", "K2": "s2"})):
        addressed = DIRECTORY.find(host, "GET", "/", "", [])
        assert addressed is not None
        service = addressed.bucket
        assert (service.credentials, service.origin, service.anonymous_read) == (keys, None, False)
    assert "" not in DIRECTORY.buckets


def test_no_secret_is_shown() -> None:
    addressed = DIRECTORY.find("s3.test", "GET", "/", "", [])
    assert "s1" not in repr(addressed).replace("s3.test", "")
