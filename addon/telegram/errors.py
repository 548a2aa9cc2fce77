"""What a Bot API call can fail with, as values that policy can tell apart. Never shown to the store: `documents.py` maps them.

No text here holds a token: it is made from the method's name, the status and Telegram's own description, out of which the
token is cut (`client.py`). Sources: https://core.telegram.org/bots/api#making-requests and #responseparameters.
"""

from __future__ import annotations


class BotApiError(Exception):
    """Base of the failures of one call; `method` is the Bot API method, or `download` for a file link."""

    def __init__(self, method: str, detail: str) -> None:
        super().__init__(f"{method}: {detail}")
        self.method = method
        self.detail = detail


class RateLimited(BotApiError):
    """429, or a 400 whose text says so (tdlib/td#3003): nothing was done, and nothing may be tried for `retry_after_s`."""

    def __init__(self, method: str, retry_after_s: float) -> None:
        super().__init__(method, f"too many requests, retry after {retry_after_s:g} s")
        self.retry_after_s = retry_after_s


class Unauthorized(BotApiError):
    """401 (or the cloud's 404 for a malformed token): the bot's token is revoked or wrong. Seen to heal by itself on file links."""


class Forbidden(BotApiError):
    """403: the bot was removed from the chat, or the chat is gone."""


class ChatMigrated(BotApiError):
    """The group became a supergroup; `chat_id` is its new id."""

    def __init__(self, method: str, chat_id: int) -> None:
        super().__init__(method, f"the group was upgraded to the supergroup {chat_id}")
        self.chat_id = chat_id


class BadRequest(BotApiError):
    """Any other refusal (4xx). `text` is Telegram's description; its exact wording is no contract."""

    def __init__(self, method: str, status: int, text: str) -> None:
        super().__init__(method, f"{status} {text}")
        self.status = status
        self.text = text


class TooLarge(BadRequest):
    """413: the request is larger than the server takes."""


class NotFound(BotApiError):
    """404 on a file link: the path has expired or was never there."""


class FileUnreadable(BotApiError):
    """A local server's file that this process cannot read until the operator has changed something; the text says what."""

    def __init__(self, detail: str) -> None:
        super().__init__("download", detail)


class ServerFailure(BotApiError):
    """5xx, as JSON or as a gateway's HTML page. The request may have been carried out."""

    def __init__(self, method: str, status: int) -> None:
        super().__init__(method, f"the server failed with status {status}")
        self.status = status


class NetworkFailure(BotApiError):
    """No whole answer. `ambiguous`: the request had been handed over completely, so it may have been carried out."""

    def __init__(self, method: str, detail: str, *, ambiguous: bool) -> None:
        super().__init__(method, detail)
        self.ambiguous = ambiguous


class MalformedAnswer(BotApiError):
    """An answer that is not what the Bot API promises. The request may have been carried out."""


TRANSIENT = (ServerFailure, NetworkFailure, MalformedAnswer)
"""The failures that a growing pause may heal (besides `RateLimited`, which says itself how long)."""
