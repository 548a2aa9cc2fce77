"""Which address is of which kind, also where one is wrapped in another."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.s3.ip_addresses import AddressKind, kind_of, plain_address

KINDS = {
    AddressKind.PUBLIC: ["8.8.8.8", "52.216.0.1", "2600:1f00::1", "2a00:1450:4001::1"],
    AddressKind.LOOPBACK: ["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "64:ff9b::7f00:1"],
    AddressKind.LINK_LOCAL: [
        "169.254.169.254", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
    ],
    AddressKind.PRIVATE: [
        "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "fec0::1", "::ffff:10.0.0.1", "64:ff9b::a00:1",
        "64:ff9b:1::a00:1", "64:ff9b:1::808:808", "2002:a00:1::", "192.0.2.1", "198.18.0.1", "2001:db8::1",
    ],
    AddressKind.NOWHERE: ["0.0.0.0", "::", "224.0.0.1", "239.1.1.1", "ff02::1", "255.255.255.255", "240.0.0.1", "::ffff:0.0.0.0"],
}  # fmt: skip
CASES = [(address, kind) for kind, addresses in KINDS.items() for address in addresses]


@pytest.mark.parametrize(("address", "kind"), CASES, ids=[address for address, _ in CASES])
def test_the_kind_of_an_address(address: str, kind: AddressKind) -> None:
    assert kind_of(address) is kind


@given(st.ip_addresses(v=4))
def test_wrapping_hides_nothing(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for wrapped in (f"::ffff:{address}", f"64:ff9b::{number >> 16:x}:{number & 0xFFFF:x}"):
        assert kind_of(wrapped) is kind_of(str(address))
    assert plain_address(f"::ffff:{address}") == str(address)


@given(st.ip_addresses(v=6).filter(lambda address: not address.is_global))  # type: ignore[union-attr]
def test_no_address_is_public_that_the_registry_does_not_call_so(address: ipaddress.IPv6Address) -> None:
    carries = address.ipv4_mapped or address.sixtofour or address.teredo or str(address).startswith("64:ff9b::")
    assert carries or kind_of(str(address)) is not AddressKind.PUBLIC


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "1.2.3.4.5", "::g"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        kind_of(text)
