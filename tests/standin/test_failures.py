"""The texts of errors."""

import pytest

from addon.standin.failures import ApiError, fail, too_many_requests


@pytest.mark.parametrize(
    ("code", "text", "description"),
    [
        (400, "Message is too long", "Bad Request: message is too long"),
        (400, "chat not found", "Bad Request: chat not found"),
        (400, "CHAT_ADMIN_REQUIRED", "Bad Request: CHAT_ADMIN_REQUIRED"),
        (400, "F_x", "Bad Request: F_x"),
        (400, "Bad Request: once", "Bad Request: once"),
        (401, "Unauthorized", "Unauthorized"),
        (401, "Invalid token specified", "Unauthorized: invalid token specified"),
        (403, "bot was blocked by the user", "Forbidden: bot was blocked by the user"),
        (404, "method not found", "Not Found: method not found"),
        (409, "terminated", "Conflict: terminated"),
        (500, "restart", "Internal Server Error: restart"),
        (400, "A", "Bad Request: a"),
    ],
)
def test_prefix_and_first_letter(code: int, text: str, description: str) -> None:
    assert fail(code, text).body() == {"ok": False, "error_code": code, "description": description}


def test_the_order_of_the_keys_and_parameters() -> None:
    body = too_many_requests(5).body()
    assert list(body) == ["ok", "error_code", "description", "parameters"]
    assert body["parameters"] == {"retry_after": 5}
    assert body["description"] == "Too Many Requests: retry after 5"
    assert "parameters" not in ApiError(404, "Not Found").body()
