"""What mitmproxy connects to for passages: its connections to an origin go to addresses that were looked at, as our own do.

mitmproxy resolves a name within `asyncio.open_connection`, which asks the event loop. So that is where an origin's name is judged:
what is left of the answer is what is connected to, and no second lookup could say otherwise. Other names, and addresses, are left
alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from addon.store.origin_addresses import OriginAddresses
from addon.store.ports import OriginUnavailable

RulesOf = Callable[[str], OriginAddresses | None]


def judge_resolved_addresses(loop: asyncio.AbstractEventLoop, rules_of: RulesOf) -> Callable[[], None]:
    """Judge what `loop` resolves: `rules_of` gives the rules of an origin's host, None for any other. The function that is
    returned ends it. A name that may not be used ends in OSError, as one that does not resolve."""
    resolve = loop.getaddrinfo

    async def resolve_judged(host: Any, port: Any, **hints: Any) -> Any:
        found = await resolve(host, port, **hints)
        rules = rules_of(host) if isinstance(host, str) else None
        if rules is None:
            return found
        try:
            allowed = rules.allowed([str(entry[4][0]) for entry in found])
        except OriginUnavailable as refused:
            raise OSError(str(refused)) from None
        return [entry for entry in found if entry[4][0] in allowed]

    def end() -> None:
        loop.getaddrinfo = resolve  # type: ignore[method-assign]  # it was this one before

    loop.getaddrinfo = resolve_judged  # type: ignore[method-assign]  # a loop's resolver cannot be chosen in another way
    return end
