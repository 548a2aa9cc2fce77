"""A call of a method: everything that a method may look at, in one value."""

from collections.abc import Mapping
from dataclasses import dataclass

from addon.standin.arguments import read_bool, read_integer
from addon.standin.bots import Bots
from addon.standin.content import Kind
from addon.standin.limits import Limits
from addon.standin.reception import Received
from addon.standin.records import Bot, Chat
from addon.standin.switches import Switches
from addon.standin.world import World


@dataclass(frozen=True, slots=True)
class ForcedType:
    """The kind that a fault makes of an uploaded document, and whether its bytes are replaced as well."""

    kind: Kind
    replace_bytes: bool


@dataclass(frozen=True, slots=True)
class Call:
    bot: Bot
    bots: Bots
    world: World
    received: Received
    now: float
    switches: Switches
    limits: Limits
    forced_type: ForcedType | None = None

    @property
    def arguments(self) -> Mapping[str, str]:
        return self.received.arguments

    @property
    def date(self) -> int:
        """The server's clock in whole seconds, as messages carry it."""
        return int(self.now)

    def text(self, name: str) -> str:
        return self.received.arguments.get(name, "")

    def integer(self, name: str) -> int:
        return read_integer(self.text(name))

    def boolean(self, name: str) -> bool:
        return read_bool(self.text(name))

    def count_messages(self, chat: Chat, count: int = 1) -> None:
        """Let flood control count messages that are about to be made. Raises ApiError 429."""
        self.limits.take(self.bot.id, chat.id, chat.type, count, self.now)
