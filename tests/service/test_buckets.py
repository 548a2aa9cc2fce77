"""Which bucket a request means."""

from __future__ import annotations

import pytest

from addon.service.buckets import host_name


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
