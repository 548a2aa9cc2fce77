"""The server's end of the control port, and the same thing for whoever runs the stand-in in its own process."""

import json
from collections.abc import Callable
from typing import Any

from addon.standin.bots import Bots
from addon.standin.chats import ChatSpec
from addon.standin.faults import FaultError, Faults
from addon.standin.log import Log
from addon.standin.records import Bot, Chat
from addon.standin.render import chat_json, person_json
from addon.standin.world import World


class ControlError(Exception):
    """An order that cannot be understood or carried out; the text says why."""


class Desk:
    """Orders about the main world. `Control` in control.py has the same methods for another process."""

    def __init__(
        self,
        *,
        world: World,
        bots: Bots,
        faults: Faults,
        log: Log,
        clock: Callable[[], float],
        advance: Callable[[float], None],
        reset: Callable[[], None],
        wake: Callable[[int], None],
    ) -> None:
        self._world = world
        self._bots = bots
        self._faults = faults
        self._log = log
        self._clock = clock
        self._advance = advance
        self._reset = reset
        self._wake = wake

    def faults(self, *rules: dict[str, Any]) -> list[dict[str, Any]]:
        """Append rules (see faults.py) and return all that are in force. Raises ControlError for one that is wrong."""
        try:
            self._faults.add(list(rules))
        except FaultError as error:
            raise ControlError(str(error)) from None
        return [rule.as_dict() for rule in self._faults.rules]

    def clear_faults(self) -> None:
        """Drop every rule."""
        self._faults.clear()

    def log(self, after: int = 0) -> list[dict[str, Any]]:
        """The requests with a number greater than `after`."""
        return self._log.entries(after)

    def reset(self) -> None:
        """Begin again: chats as configured, no messages, no files, no faults, no log, all limits unused."""
        self._reset()

    def clock_advance(self, seconds: float) -> float:
        """Move the clock forward and return its new time in UNIX seconds."""
        if not seconds >= 0:
            raise ControlError("the clock goes forward only")
        self._advance(float(seconds))
        return self._clock()

    def chat(self, op: str, chat_id: int = 0, **values: Any) -> dict[str, Any]:
        """Do something to a chat as a person could: see `_OPERATIONS` for the names. Returns what there is to tell.

        create(type, title, username, protected) · kick, unkick, leave, join, demote, block, unblock, absent (bot_id, or all bots) ·
        deny(bot_id, rights) · protect(on) · delete · migrate(new_id) · delete_message(message_id, bot_id) ·
        post(text, bot_id): a person's message, seen by getUpdates · revoke, revive (bot_id): the bot's token · expire_paths
        """
        operation = _OPERATIONS.get(op)
        if operation is None:
            raise ControlError(f"op is one of {sorted(_OPERATIONS)}")
        try:
            with self._world.database.transaction():
                return operation(self, chat_id, values)
        except (KeyError, TypeError, ValueError) as error:
            raise ControlError(f"{op}: {error}") from None

    def state(self) -> dict[str, Any]:
        """A dump of the main world: what no client of the Bot API could ask for."""
        chats = {}
        for chat in self._world.chats.all():
            messages = []
            for message in self._world.messages.of_chat(chat.id):
                entry = {
                    "message_id": message.id,
                    "owner_id": message.owner_id,
                    "sender_id": message.sender_id,
                    "kind": message.kind,
                    "date": message.date,
                    "text": message.text,
                }
                if message.document_id is not None:
                    document = self._world.files.document(message.document_id)
                    entry["document"] = {"id": document.id, "size": document.size, "sha256": document.sha256}
                messages.append(entry)
            members = {str(bot_id): self._world.chats.member(chat, bot_id).state for bot_id in self._bots.by_id}
            pinned = self._world.messages.pinned_ids(chat.id)
            chats[str(chat.id)] = {**chat_json(chat), "members": members, "messages": messages, "pinned": pinned}
        return {"time": self._clock(), "chats": chats, "faults": self.faults()}

    def _existing(self, chat_id: int) -> Chat:
        chat = self._world.chats.get(chat_id)
        if chat is None:
            raise ValueError(f"there is no chat {chat_id}")
        return chat

    def _chosen_bots(self, values: dict[str, Any]) -> list[Bot]:
        if values.get("bot_id") is None:
            return list(self._bots.by_id.values())
        return [self._bots.by_id[int(values["bot_id"])]]

    def _create(self, chat_id: int, values: dict[str, Any]) -> dict[str, Any]:
        spec = ChatSpec(
            chat_id,
            values["type"],
            values.get("title", ""),
            values.get("username"),
            bool(values.get("protected", False)),
        )
        ChatSpec.parse(f"{spec.id}:{spec.type}")
        return {"created": self._world.chats.create(spec, int(self._clock()))}

    def _post(self, chat_id: int, values: dict[str, Any]) -> dict[str, Any]:
        """A person writes; every bot in the chat, or the one that is named, gets the update."""
        chat = self._existing(chat_id)
        message_ids = []
        shared_id = self._world.messages.next_id(chat, 0) if chat.numbers_its_messages else 0
        for bot in self._chosen_bots(values):
            message_id = shared_id or self._world.messages.next_id(chat, bot.id)
            message_ids.append(message_id)
            self._deliver_post(chat, bot, message_id, str(values.get("text", "")))
        return {"message_ids": message_ids}

    def _deliver_post(self, chat: Chat, bot: Bot, message_id: int, text: str) -> None:
        database, date = self._world.database, int(self._clock())
        database.change(
            "INSERT OR REPLACE INTO messages (owner_id, chat_id, id, sender_id, kind, date, text)"
            " VALUES (?, ?, ?, 0, 'text', ?, ?)",
            self._world.messages.owner(chat, bot.id),
            chat.id,
            message_id,
            date,
            text,
        )
        in_channel = chat.type == "channel"
        sender = {"sender_chat": chat_json(chat)} if in_channel else {"from": person_json(chat)}
        message = {"message_id": message_id, **sender, "chat": chat_json(chat), "date": date, "text": text}
        update_id = database.count_up(f"updates:{bot.id}", 100_000_001)
        payload = {"update_id": update_id, "channel_post" if in_channel else "message": message}
        database.change("INSERT INTO updates VALUES (?, ?, ?, ?)", bot.id, update_id, date, json.dumps(payload))
        self._wake(bot.id)

    def _deny(self, chat_id: int, values: dict[str, Any]) -> dict[str, Any]:
        chat = self._existing(chat_id)
        for bot in self._chosen_bots(values):
            state = self._world.chats.member(chat, bot.id).state
            self._world.chats.deny(chat_id, bot.id, state, [str(right) for right in values["rights"]])
        return {}

    def _set_states(self, chat_id: int, values: dict[str, Any], state: str) -> dict[str, Any]:
        chat = self._existing(chat_id)
        if state == "present":
            state = chat.usual_state
        for bot in self._chosen_bots(values):
            self._world.chats.set_state(chat_id, bot.id, state)  # type: ignore[arg-type]  # set_state refuses an unknown one
        return {}

    def _delete_message(self, chat_id: int, values: dict[str, Any]) -> dict[str, Any]:
        chat = self._existing(chat_id)
        found = [
            message
            for bot in self._chosen_bots(values)
            if (message := self._world.messages.get(chat, bot.id, int(values["message_id"]))) is not None
        ]
        for message in found:
            self._world.messages.remove(message)
        return {"deleted": bool(found)}

    def _set_tokens(self, values: dict[str, Any], state: str) -> dict[str, Any]:
        for bot in self._chosen_bots(values):
            self._bots.set_state(bot.id, state)  # type: ignore[arg-type]  # the two callers name states that there are
        return {}

    def _protect(self, chat_id: int, values: dict[str, Any]) -> dict[str, Any]:
        self._world.chats.protect(self._existing(chat_id).id, bool(values.get("on", True)))
        return {}

    def _delete(self, chat_id: int, values: dict[str, Any]) -> dict[str, Any]:
        self._world.chats.delete(self._existing(chat_id).id)
        return {}

    def _migrate(self, chat_id: int, values: dict[str, Any]) -> dict[str, Any]:
        self._world.chats.migrate(self._existing(chat_id), int(values["new_id"]), int(self._clock()))
        return {}

    def _expire_paths(self, chat_id: int, values: dict[str, Any]) -> dict[str, Any]:
        self._world.files.expire_slots()
        return {}


def _state_operation(state: str) -> Callable[[Desk, int, dict[str, Any]], dict[str, Any]]:
    return lambda desk, chat_id, values: desk._set_states(chat_id, values, state)


_OPERATIONS: dict[str, Callable[[Desk, int, dict[str, Any]], dict[str, Any]]] = {
    "create": Desk._create,
    "post": Desk._post,
    "deny": Desk._deny,
    "protect": Desk._protect,
    "delete": Desk._delete,
    "migrate": Desk._migrate,
    "delete_message": Desk._delete_message,
    "expire_paths": Desk._expire_paths,
    "revoke": lambda desk, chat_id, values: desk._set_tokens(values, "revoked"),
    "revive": lambda desk, chat_id, values: desk._set_tokens(values, "running"),
    "kick": _state_operation("kicked"),
    "unkick": _state_operation("present"),
    "join": _state_operation("present"),
    "demote": _state_operation("member"),
    "leave": _state_operation("left"),
    "block": _state_operation("blocked"),
    "unblock": _state_operation("present"),
    "absent": _state_operation("absent"),
}
