"""The methods by name, in lower case: names are compared without regard to case."""

from collections.abc import Callable
from typing import Any

from addon.standin import (
    methods_bot,
    methods_chat,
    methods_delete,
    methods_edit,
    methods_file,
    methods_forward,
    methods_send,
)
from addon.standin.call import Call

METHODS: dict[str, Callable[[Call], Any]] = {
    "getme": methods_bot.get_me,
    "logout": methods_bot.log_out,
    "close": methods_bot.close,
    "deletewebhook": methods_bot.delete_webhook,
    "getwebhookinfo": methods_bot.get_webhook_info,
    "senddocument": methods_send.send_document,
    "sendmediagroup": methods_send.send_media_group,
    "sendmessage": methods_send.send_message,
    "getfile": methods_file.get_file,
    "forwardmessage": methods_forward.forward_message,
    "forwardmessages": methods_forward.forward_messages,
    "copymessage": methods_forward.copy_message,
    "copymessages": methods_forward.copy_messages,
    "editmessagemedia": methods_edit.edit_message_media,
    "editmessagecaption": methods_edit.edit_message_caption,
    "deletemessage": methods_delete.delete_message,
    "deletemessages": methods_delete.delete_messages,
    "getchat": methods_chat.get_chat,
    "getchatmember": methods_chat.get_chat_member,
    "pinchatmessage": methods_chat.pin_chat_message,
    "unpinchatmessage": methods_chat.unpin_chat_message,
    "unpinallchatmessages": methods_chat.unpin_all_chat_messages,
}
