"""getFile."""

from typing import Any

from addon.standin.call import Call
from addon.standin.failures import fail
from addon.standin.identifiers import NotAFileId
from addon.standin.switches import DOWNLOAD_BYTES_MAX

UNAVAILABLE = "wrong file_id or the file is temporarily unavailable"


def get_file(call: Call) -> dict[str, Any]:
    """https://core.telegram.org/bots/api#getfile

    The order of the checks is the server's: missing, unparsable, too big, and then everything else under one text, which a file
    of another bot shares with trouble that passes.
    """
    text = call.text("file_id")
    if not text:
        raise fail(400, "file_id not specified")
    try:
        reference = call.world.read_file_id(text)
    except NotAFileId:
        raise fail(400, "invalid file_id") from None
    unavailable = fail(400, UNAVAILABLE)
    if reference is None or reference.bot_id != call.bot.id or reference.type == "thumbnail":
        raise unavailable
    if call.world.files.is_file_id_dead(reference.nonce):
        raise fail(400, "invalid file_id")
    try:
        document = call.world.files.document(reference.document_id)
    except LookupError:
        raise unavailable from None
    if document.size > DOWNLOAD_BYTES_MAX and not call.switches.local:
        raise fail(400, "file is too big")
    if document.dead or not call.limits.get_file_allowed(call.bot.id, call.now):
        raise unavailable
    slot = call.world.files.open_slot(call.bot.id, document, call.now, call.switches.path_lifetime_s)
    answered = call.world.refreshed(reference) if call.switches.refresh_file_id else reference
    return {
        "file_id": call.world.make_file_id(answered),
        "file_unique_id": call.world.unique_id(document),
        "file_size": document.size,
        "file_path": str(call.world.files.local_path(slot)) if call.switches.local else slot.path,
    }
