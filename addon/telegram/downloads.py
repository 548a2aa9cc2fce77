"""One download over a file link: exactly the bytes that were asked for, or an error; never bytes of another place.

The Bot API documents neither Range nor the answer's headers, and 200 answers with 0 bytes, truncated ones and expired links have
all been seen (tdlib/telegram-bot-api#871, #42). So Range is asked for and used where the answer proves it; a whole file is read
past its first bytes otherwise; and every length is compared with what the document is known to have.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing

import httpx

from addon.telegram.client import BotApi
from addon.telegram.errors import MalformedAnswer, NetworkFailure

PIECE_BYTES_MAX = 1 << 20
# A transfer that comes more slowly than this, after the grace time, counts as broken. Only time spent waiting for the network
# counts: a slow reader is no fault.
BYTES_PER_S_MIN = 4096
SLOW_GRACE_S = 30.0

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


def bytes_to_skip(status: int, headers: Mapping[str, str], *, size: int, offset: int, length: int) -> int:
    """How many bytes of the body lie before `offset`: 0 where Range was honoured, `offset` where the whole file comes.

    Raises `MalformedAnswer` where the headers show that the body cannot hold the `length` bytes at `offset` of `size`.
    """
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise MalformedAnswer("download", "an encoded body")
    if status == 206:
        match = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
        wanted = (offset, offset + length - 1)
        if match and (int(match[1]), int(match[2])) == wanted and match[3] in ("*", str(size)):
            return 0
        raise MalformedAnswer("download", "another range than the one that was asked for")
    told = headers.get("content-length")
    if told is not None and told != str(size):
        raise MalformedAnswer("download", f"an answer of {told[:20]} bytes for a document of {size} bytes")
    return offset


async def download(
    bot: BotApi,
    file_path: str,
    *,
    size: int,
    offset: int,
    length: int,
    clock: Callable[[], float],
    ask_for_range: bool = True,
    tell_range: Callable[[bool], None] = lambda _: None,
) -> AsyncGenerator[bytes, None]:
    """The bytes `offset … offset+length` of a file of `size` bytes, in pieces of at most 1 MiB. With `ask_for_range` false the
    whole file is fetched, whatever the file host may think of ranges. `tell_range` is told whether it honours the one that it was
    asked for.

    Raises a `BotApiError` where the transfer fails; what was given before that is right and can be continued from.
    """
    headers = {} if length == size or not ask_for_range else {"Range": f"bytes={offset}-{offset + length - 1}"}
    async with bot.open_file(file_path, headers) as response:
        skip = bytes_to_skip(response.status_code, response.headers, size=size, offset=offset, length=length)
        if headers:
            tell_range(response.status_code == 206)
        # A body that is read to its end leaves the connection for others; one that goes on behind our bytes is left.
        ends_there = "content-length" in response.headers and (response.status_code == 206 or offset + length == size)
        left = length
        async with aclosing(_pieces(response, clock)) as pieces:
            async for received in pieces:
                if not left:
                    return
                piece = received
                if skip:
                    dropped = min(skip, len(piece))
                    skip -= dropped
                    piece = piece[dropped:]
                if len(piece) > left:
                    piece = piece[:left]
                if not piece:
                    continue
                left -= len(piece)
                yield piece
                if not left and not ends_there:
                    return
    if not left:
        return
    raise NetworkFailure("download", f"the transfer ended {left} bytes early", ambiguous=False)


async def _pieces(response: httpx.Response, clock: Callable[[], float]) -> AsyncGenerator[bytes, None]:
    """The body as it comes; the library's errors are replaced, and a transfer that only trickles is ended."""
    received, waited_s = 0, 0.0
    failure = None
    asked_s = clock()
    try:
        async for piece in response.aiter_raw():
            waited_s += clock() - asked_s
            received += len(piece)
            if waited_s > SLOW_GRACE_S and received < waited_s * BYTES_PER_S_MIN:
                failure = NetworkFailure("download", f"only {received} bytes in {waited_s:.0f} s", ambiguous=False)
                break
            for start in range(0, len(piece), PIECE_BYTES_MAX):
                yield piece[start : start + PIECE_BYTES_MAX] if len(piece) > PIECE_BYTES_MAX else piece
            asked_s = clock()
    except httpx.TransportError as error:
        failure = NetworkFailure("download", f"the transfer broke off ({type(error).__name__})", ambiguous=False)
    if failure:
        raise failure
