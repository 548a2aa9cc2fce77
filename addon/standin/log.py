"""The log of requests, for assertions: bounded, and without tokens."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from addon.standin.multipart import ReceivedFile

ENTRIES_MAX = 50_000
_VALUE_CHARACTERS_MAX = 4096


@dataclass(slots=True)
class Entry:
    """One request: `outcome` says how it ended (`answered`, `reset`, `gone`, `refused`, `hung`)."""

    number: int
    time: float
    method: str
    bot_id: int | None
    arguments: dict[str, str] = field(default_factory=dict)
    files: list[dict[str, Any]] = field(default_factory=list)
    body_bytes: int = 0
    status: int = 0
    description: str = ""
    fault: str = ""
    executed: int = 0
    delayed_s: float = 0.0
    sent_bytes: int = 0
    outcome: str = "open"

    def note_request(self, arguments: dict[str, str], files: list[ReceivedFile], body_bytes: int) -> None:
        self.arguments = {name: value[:_VALUE_CHARACTERS_MAX] for name, value in arguments.items()}
        self.body_bytes = body_bytes
        self.files = [
            {
                "name": file.name,
                "file_name": file.raw_file_name.decode("utf-8", "replace"),
                "size": file.size,
                "sha256": file.sha256,
            }
            for file in files
        ]

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


class Log:
    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=ENTRIES_MAX)
        self._count = 0

    def begin(self, time: float, method: str, bot_id: int | None) -> Entry:
        self._count += 1
        entry = Entry(self._count, time, method, bot_id)
        self._entries.append(entry)
        return entry

    def entries(self, after: int = 0) -> list[dict[str, Any]]:
        """The entries with a number greater than `after`, in the order of the requests' arrival."""
        return [entry.as_dict() for entry in self._entries if entry.number > after]

    def clear(self) -> None:
        self._entries.clear()
