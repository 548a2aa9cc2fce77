"""Failed calls: the error object of the Bot API, and failures below it that carry no JSON at all."""

from typing import Any

PREFIXES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    429: "Too Many Requests",
    500: "Internal Server Error",
}


class ApiError(Exception):
    """A call that fails with a JSON answer: HTTP status `code`, `description`, and `parameters` where there are any.

    `keep_changes` is set where the failed call has already done a part of its work (an album cut short).
    """

    def __init__(
        self, code: int, description: str, parameters: dict[str, int] | None = None, *, keep_changes: bool = False
    ) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.parameters = parameters
        self.keep_changes = keep_changes

    def body(self) -> dict[str, Any]:
        """The JSON object of the answer, its keys in the order in which the real server writes them."""
        result: dict[str, Any] = {"ok": False, "error_code": self.code, "description": self.description}
        if self.parameters:
            result["parameters"] = self.parameters
        return result


class BareError(Exception):
    """A request refused by the HTTP parser: a status line, an empty body, and the connection is closed."""

    def __init__(self, status: int) -> None:
        super().__init__(f"refused with a bare {status}")
        self.status = status


def fail(code: int, text: str, parameters: dict[str, int] | None = None) -> ApiError:
    """The error for `text`, put into Telegram's form: prefix by code, first letter lowered.

    The first letter stays when the second character is `_` or a capital (`CHAT_ADMIN_REQUIRED`); a text that has its prefix
    already gets no second one (Client.cpp of tdlib/telegram-bot-api, `fail_query_with_error`).
    """
    prefix = PREFIXES.get(code, "")
    if not text or not prefix or text == prefix or text.startswith(prefix + ":"):
        return ApiError(code, text or prefix, parameters)
    second = text[1:2]
    if not (second == "_" or "A" <= second <= "Z"):
        text = text[0].lower() + text[1:]
    return ApiError(code, f"{prefix}: {text}", parameters)


def too_many_requests(retry_after_s: int) -> ApiError:
    """429 as flood control says it; the header `Retry-After` goes with it (Bot API, ResponseParameters)."""
    return ApiError(429, f"Too Many Requests: retry after {retry_after_s}", {"retry_after": retry_after_s})
