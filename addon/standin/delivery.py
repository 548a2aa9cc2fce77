"""Sending an answer, whole or as a fault wants it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from addon.standin.answers import Answer
from addon.standin.connection import FILE_PIECE_BYTES, Connection
from addon.standin.faults import Action
from addon.standin.spoil import flipped

_SPOILING = frozenset({"truncate", "corrupt", "slow"})
_SLOW_PIECES_PER_S = 10


def spoils_delivery(action: Action | None) -> bool:
    return action is not None and (
        action.kind in _SPOILING or (action.kind == "reset" and action["at"] == "answer_body")
    )


async def deliver(connection: Connection, answer: Answer, *, head_only: bool) -> None:
    """Send the answer as it is."""
    body = b"" if head_only else answer.body
    await connection.send_head(answer.status, _headers(answer, answer.length), body)
    if answer.span is not None and answer.span.length and not head_only:
        await connection.send_file(answer.span.path, answer.span.offset, answer.span.length)
    await connection.finish()


def _headers(answer: Answer, length: int) -> list[tuple[str, str]]:
    headers = [*answer.headers, ("Content-Length", str(length))]
    if answer.close:
        headers.append(("Connection", "close"))
    return headers


async def deliver_spoilt(
    connection: Connection, answer: Answer, action: Action, sleep: Callable[[float], Awaitable[None]]
) -> None:
    """Send the answer with its body cut, changed, slowed or broken off by a reset, as the action says."""
    length = answer.length
    limit = min(action["bytes"], length) if action.kind in ("truncate", "reset") else length
    honest = action.kind == "truncate" and action["honest_length"]
    await connection.send_head(answer.status, _headers(answer, limit if honest else length))
    piece_bytes = FILE_PIECE_BYTES
    if action.kind == "slow":
        piece_bytes = max(1, min(piece_bytes, int(action["bytes_per_s"] / _SLOW_PIECES_PER_S)))
    position = 0
    async for piece in _pieces(answer, limit, piece_bytes):
        sent = flipped(piece, position, action["offset"], action["count"]) if action.kind == "corrupt" else piece
        if action.kind == "slow":
            await sleep(len(piece) / action["bytes_per_s"])
        await connection.send_raw(sent)
        position += len(piece)
    await connection.flush()
    if action.kind == "reset" and action["how"] == "rst":
        connection.abort()
    else:
        await connection.close()


async def _pieces(answer: Answer, limit: int, piece_bytes: int) -> AsyncIterator[bytes]:
    if answer.span is None:
        for start in range(0, limit, piece_bytes):
            yield answer.body[start : min(start + piece_bytes, limit)]
        return
    with answer.span.path.open("rb", buffering=0) as file:
        file.seek(answer.span.offset)
        left = limit
        while left > 0 and (piece := file.read(min(piece_bytes, left))):
            left -= len(piece)
            yield piece
            await asyncio.sleep(0)
