"""What faults change in the world before the call that they were ordered for is executed."""

from addon.standin.faults import Action
from addon.standin.identifiers import NotAFileId
from addon.standin.reception import Received
from addon.standin.world import World


def change_world(
    action: Action, world: World, *, bot_id: int, chat_id: int | None, received: Received, now: float
) -> None:
    """Carry out `expire_paths`, `kick`, `unkick`, `migrate`, `delete_message` or a permanent `invalid_file_id`."""
    if action.kind == "expire_paths":
        world.files.expire_slots()
    elif action.kind == "invalid_file_id" and action["permanent"]:
        _kill_file_id(world, received)
    elif action.kind in ("kick", "unkick", "migrate", "delete_message"):
        named = action["chat_id"] if action.kind == "delete_message" else 0
        _change_chat(action, world, bot_id, named or chat_id or 0, now)


def _change_chat(action: Action, world: World, bot_id: int, chat_id: int, now: float) -> None:
    chat = world.chats.get(chat_id)
    if chat is None:
        return
    if action.kind == "migrate":
        world.chats.migrate(chat, action["new_id"], int(now))
    elif action.kind == "delete_message":
        message = world.messages.get(chat, bot_id, action["message_id"])
        if message is not None:
            world.messages.remove(message)
    else:
        world.chats.set_state(chat.id, bot_id, "kicked" if action.kind == "kick" else chat.usual_state)


def _kill_file_id(world: World, received: Received) -> None:
    """The file_id that the call names is dead from now on; a forward of its message gives a living one."""
    try:
        reference = world.read_file_id(received.arguments.get("file_id", ""))
    except NotAFileId:
        return
    if reference is not None:
        world.files.kill_file_id(reference.nonce)
