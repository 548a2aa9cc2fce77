"""The stand-in for the tests of whoever talks to the Bot API."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from addon.standin.chats import ChatSpec
from addon.standin.server import StandIn
from addon.standin.switches import Switches

BOT_A, BOT_B = "111111:first-bots-secret", "222222:second-bots-secret"
BOT_A_ID, BOT_B_ID = 111111, 222222
CHANNEL, OTHER_CHANNEL = -1001000000001, -1001000000002
SUPERGROUP, GROUP, PRIVATE = -1001000000003, -4000001, 5000001
CHATS = (
    ChatSpec(CHANNEL, "channel", "Storage", "storage_channel"),
    ChatSpec(OTHER_CHANNEL, "channel", "More storage"),
    ChatSpec(SUPERGROUP, "supergroup", "Supergroup"),
    ChatSpec(GROUP, "group", "Group"),
    ChatSpec(PRIVATE, "private", "Owner"),
)


class SettableClock:
    """A clock that stands still until it is moved: `clock.now += 60`."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def running_standin(
    folder: Path | None = None,
    *,
    switches: Switches | None = None,
    clock: Callable[[], float] | None = None,
    **more: Any,
) -> AsyncIterator[StandIn]:
    """A stand-in in the running loop, on a free port, with two bots and the chats named above.

    Of use are `.url` (in the place of https://api.telegram.org), `.control` (faults, log, clock_advance, chat, state, reset;
    call it directly, it does not block) and `.control_url` (for other processes). The test fails at the end if the server
    crashed inside. Flood control is exact by default: a 429 that is repeated too early is answered by another one, so a client
    with a false `sleep` should move the clock with it (`standin.control.clock_advance(seconds)`).
    """
    if folder is None:
        with TemporaryDirectory(prefix="standin-") as temporary:
            async with running_standin(Path(temporary), switches=switches, clock=clock, **more) as standin:
                yield standin
        return
    if clock is not None:
        more["clock"] = clock
    standin = StandIn(folder, bots=(BOT_A, BOT_B), chats=CHATS, switches=switches, **more)
    await standin.start()
    try:
        yield standin
    finally:
        await standin.stop()
    assert not standin.crashes, standin.crashes[0]
