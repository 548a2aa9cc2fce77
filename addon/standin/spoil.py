"""What a fault's action does to an answer, or puts in its place. Pure: no I/O."""

import copy
import json
from http import HTTPStatus
from typing import Any

from addon.standin.answers import Answer, failure, html_page, json_answer
from addon.standin.failures import ApiError, fail, too_many_requests
from addon.standin.faults import Action
from addon.standin.methods_bot import conflict
from addon.standin.methods_file import UNAVAILABLE


def replacement(action: Action) -> Answer | None:
    """The answer that the action gives instead of the real one, or None where it leaves that one in place."""
    match action.kind:
        case "rate":
            return failure(too_many_requests(action["retry_after"]))
        case "rate_text400":
            return failure(ApiError(400, f"Too Many Requests: retry after {action['retry_after']}"))
        case "http":
            return _http(action["code"], action["form"])
        case "http413":
            if action["form"] == "html":
                return html_page(413, "Request Entity Too Large", close=True)
            return failure(ApiError(413, "Request Entity Too Large"))
        case "empty200":
            return Answer(200, b"")
        case "unauthorized":
            return failure(ApiError(401, "Unauthorized"))
        case "unavailable":
            return failure(fail(400, UNAVAILABLE))
        case "conflict":
            return failure(conflict())
        case "wrong_json":
            return _wrong_json(action["form"])
        case _:
            return None


def _http(code: int, form: str) -> Answer:
    if form == "restart":
        return failure(fail(500, "restart"))
    reason = HTTPStatus(code).phrase
    if form == "html":
        return html_page(code, reason)
    return json_answer(code, ApiError(code, reason).body())


def _wrong_json(form: str) -> Answer:
    if form == "invalid":
        return Answer(200, b'{"ok":true,"result":{"message_id":')
    return json_answer(200, {"ok": True} if form == "no_result" else {"ok": True, "result": None})


def without_field(answer: Answer, path: str, value: Any) -> Answer:
    """The answer with the field at the dotted `path` of its result left out, or set to `value` where that is not None.

    In an array the path is followed in every element. Nothing changes where it leads nowhere.
    """
    if answer.span is not None or answer.status != 200:
        return answer
    document = copy.deepcopy(json.loads(answer.body))
    _drop(document.get("result"), path.split("."), value)
    return json_answer(200, document)


def _drop(node: Any, names: list[str], value: Any) -> None:
    if isinstance(node, list):
        for element in node:
            _drop(element, names, value)
    elif isinstance(node, dict) and names[0] in node:
        if len(names) > 1:
            _drop(node[names[0]], names[1:], value)
        elif value is None:
            del node[names[0]]
        else:
            node[names[0]] = value


def flipped(piece: bytes, position: int, offset: int, count: int) -> bytes:
    """The piece, which begins at `position` of the body, with the bytes from `offset` to `offset + count` inverted."""
    first, last = max(offset - position, 0), min(offset + count - position, len(piece))
    if first >= last:
        return piece
    return piece[:first] + bytes(byte ^ 0xFF for byte in piece[first:last]) + piece[last:]
