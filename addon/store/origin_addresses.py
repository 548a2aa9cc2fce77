"""To which addresses an origin's name may lead.

A connection to the origin bears our signature, and what it answers is shown to clients: a name that somebody makes lead into our
own network (DNS rebinding) must not open that to them. Private, loopback and link-local addresses are connected to only where the
operator meant one: the endpoint is such an address, or a name that leads to nothing else when it is resolved for the first time
after the start (`localhost`, a container's name, a host of the own network). Which kinds those are is fixed then: a name that
leads to 10.0.0.5 may move to 10.0.0.6, not to 169.254.169.254, and a public name stays public.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from addon.s3.ip_addresses import AddressKind, kind_of
from addon.store.ports import OriginUnavailable


class OriginAddresses:
    """Judges what one host (name or address, without brackets) resolves to. It remembers what was meant at first."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._meant: frozenset[AddressKind] | None = frozenset(AddressKind) if _is_address(host) else None

    def allowed(self, resolved: Sequence[str]) -> list[str]:
        """Those of the resolved addresses that may be connected to, in their order. Raises `OriginUnavailable` where none may."""
        kinds = {address: kind_of(address) for address in resolved}
        if self._meant is None and kinds:
            found = frozenset(kinds.values())
            # Public and private at once: the private ones were not what is meant.
            self._meant = (
                frozenset({AddressKind.PUBLIC}) if AddressKind.PUBLIC in found else found - {AddressKind.NOWHERE}
            )
        meant = self._meant or frozenset()
        usable = [address for address in resolved if kinds[address] in meant]
        if usable:
            return usable
        if not kinds:
            raise OriginUnavailable(f"the origin's name {self._host} has no address")
        address, kind = next(iter(kinds.items()))
        raise OriginUnavailable(
            f"the origin's name {self._host} leads to {address}, which is {kind.value}: look at its DNS; if this is meant, give"
            " origin.endpoint the address itself, or start tgstore anew"
        )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
