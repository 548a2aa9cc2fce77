"""A call executed: the token, flood control, and the method over the world."""

import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from addon.standin.arguments import read_chat_id
from addon.standin.bots import Bots
from addon.standin.call import Call, ForcedType
from addon.standin.failures import ApiError, fail, too_many_requests
from addon.standin.limits import EQUAL_SIZE_REFUSAL_DELAY_S, EQUAL_SIZE_RETRY_AFTER_S, Limits
from addon.standin.log import Entry
from addon.standin.methods import METHODS
from addon.standin.methods_bot import Pollers
from addon.standin.reception import Received
from addon.standin.routes import Route
from addon.standin.switches import Switches
from addon.standin.world import World


def chat_number(received: Received) -> int | None:
    """The chat_id argument where it is a number: what rules and blocks go by."""
    wanted = read_chat_id(received.arguments.get("chat_id", ""))
    return wanted if isinstance(wanted, int) else None


class Api:
    def __init__(
        self,
        *,
        bots: Bots,
        switches: Switches,
        limits: Limits,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._bots = bots
        self._switches = switches
        self.limits = limits
        self.pollers = Pollers()
        self._clock = clock
        self._sleep = sleep

    async def execute(
        self, route: Route, received: Received, world: World, entry: Entry, forced_type: ForcedType | None = None
    ) -> Any:
        """The call's result. Raises ApiError for every way in which it can fail."""
        bot = self._bots.find(route.token, cloud=self._switches.cloud_404_for_malformed)
        method = METHODS.get(route.name)
        if method is None and route.name != "getupdates":
            raise fail(404, "method not found")
        await self._throttle(bot.id, received, entry)
        call = Call(bot, self._bots, world, received, self._clock(), self._switches, self.limits, forced_type)
        entry.executed += 1
        if method is None:
            return await self.pollers.get_updates(call)
        with world.database.transaction():
            try:
                return method(call)
            except ApiError as error:
                if error.keep_changes:
                    world.database.commit_early()
                raise

    async def _throttle(self, bot_id: int, received: Received, entry: Entry) -> None:
        """Delay or refuse uploads whose total size was sent too often of late."""
        delay_s = self.limits.equal_size_delay_s(bot_id, received.file_bytes, self._clock())
        refused = delay_s is None
        entry.delayed_s = EQUAL_SIZE_REFUSAL_DELAY_S if delay_s is None else delay_s
        if entry.delayed_s and self._switches.throttle_delay == "real":
            await self._sleep(entry.delayed_s)
        if refused:
            raise too_many_requests(EQUAL_SIZE_RETRY_AFTER_S)


def twin_of(received: Received) -> Received:
    """The same request once more, its files under other names, so that both can be executed."""
    files = []
    for file in received.files:
        path = file.path.with_name(f"{file.path.name}-twin")
        os.link(file.path, path)
        files.append(replace(file, path=path))
    return Received(dict(received.arguments), files, received.body_bytes)
