"""What kind of address an IP address is, as far as it matters to whoever connects to it: pure.

Sources: the IANA registries of special-purpose addresses (RFC 6890), IPv4-mapped addresses (RFC 4291), NAT64 (RFC 6052, RFC 8215),
6to4 (RFC 3056) and Teredo (RFC 4380).
"""

from __future__ import annotations

import enum
import ipaddress

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")


class AddressKind(enum.Enum):
    """`PRIVATE`: within an organisation (RFC 1918, unique local, shared by carriers, or not given out by IANA at all); `NOWHERE`:
    unspecified, multicast and reserved addresses, at which no server is."""

    PUBLIC = "public"
    LOOPBACK = "loopback"
    LINK_LOCAL = "link-local"
    PRIVATE = "private"
    NOWHERE = "unspecified, multicast or reserved"


def plain_address(text: str) -> str:
    """An address in one spelling, that of an IPv4-mapped one as IPv4 and without a zone. Raises ValueError where it is none."""
    return str(_innermost(ipaddress.ip_address(text.partition("%")[0]), mapped_only=True))


def kind_of(text: str) -> AddressKind:
    """The kind of an IPv4 or IPv6 address; one that carries an IPv4 address has that one's. Raises ValueError where it is none."""
    address = _innermost(ipaddress.ip_address(text.partition("%")[0]))
    if address.is_loopback:
        return AddressKind.LOOPBACK
    if address.is_link_local:
        return AddressKind.LINK_LOCAL
    if address.is_unspecified or address.is_multicast:
        return AddressKind.NOWHERE
    if isinstance(address, ipaddress.IPv6Address) and (address.is_site_local or address in _LOCAL_NAT64):
        return AddressKind.PRIVATE
    if address.is_global:
        return AddressKind.PUBLIC
    return AddressKind.NOWHERE if address.is_reserved else AddressKind.PRIVATE


def _innermost(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, *, mapped_only: bool = False
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address that packets to an IPv6 address end at, where it carries one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None or mapped_only:
        return address.ipv4_mapped or address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.sixtofour is not None:
        return address.sixtofour
    return address.teredo[1] if address.teredo is not None else address
