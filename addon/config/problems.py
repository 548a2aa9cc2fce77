"""What is wrong with the settings, said so that it can be put right: file, key, value, what was expected. No secret is shown."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic_core import ErrorDetails

from addon.config.models import (
    Bucket,
    Cache,
    Config,
    Copies,
    Cors,
    Credential,
    Encryption,
    Index,
    Multipart,
    Origin,
    Section,
    Service,
    Store,
    Telegram,
)

BOT_TOKENS_VARIABLE = "TGSTORE_TELEGRAM_BOT_TOKENS"

_VALUE_SHOWN_CHARS_MAX = 100
_SECRET_KEYS = frozenset({"bot_tokens", "credentials", "access_key_id", "secret_access_key", "key", "former_keys"})

_MODELS: Mapping[str, type[Section]] = {
    "telegram": Telegram,
    "store": Store,
    "encryption": Encryption,
    "index": Index,
    "cache": Cache,
    "service": Service,
    "copies": Copies,
    "multipart": Multipart,
    "buckets": Bucket,
    "credentials": Credential,
    "origin": Origin,
    "cors": Cors,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `value` is as it may be shown, empty where there is none to show."""

    file: str
    key: str
    value: str
    expected: str

    def __str__(self) -> str:
        value = f" = {self.value}" if self.value else ""
        return f"{self.file}: {self.key}{value}: {self.expected}" if self.key else f"{self.file}: {self.expected}"


class ConfigError(Exception):
    """The settings cannot be used; the text has a line for each of `problems`."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def problem_of(path: Path, details: ErrorDetails, *, tokens_from_environment: bool) -> Problem:
    """What the library found, in our words."""
    location = details["loc"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
    if tokens_from_environment and location[:2] == ("telegram", "bot_tokens"):
        return Problem(f"environment variable {BOT_TOKENS_VARIABLE}", key, "***", _expected(details))
    return Problem(str(path), key, _shown(details), _expected(details))


def _shown(details: ErrorDetails) -> str:
    """The value as it may be shown: nothing that is, or could be, a secret in the wrong place."""
    value = details["input"]
    if details["type"] in {"missing", "extra_forbidden"}:
        return ""
    if isinstance(value, dict | list | tuple):
        return "a table" if isinstance(value, dict) else "a list"
    if _SECRET_KEYS.intersection(part for part in details["loc"] if isinstance(part, str)):
        return "***"
    if details["type"] in {"model_type", "dict_type", "tuple_type", "list_type"} or not isinstance(value, str):
        return "text" if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return quoted(value)


def quoted(value: str) -> str:
    """In quotes, cut off where it is long, without a password or a bot token that a URL may hold."""
    masked = re.sub(r"//[^/?#]*@", "//***@", value)
    masked = re.sub(r"[0-9]{3,}:[A-Za-z0-9_-]{3,}", "***", masked)
    masked = re.sub(r"\?.*", "?***", masked, flags=re.DOTALL)
    return json.dumps(masked[:_VALUE_SHOWN_CHARS_MAX], ensure_ascii=False)


def _expected(details: ErrorDetails) -> str:
    context = details.get("ctx", {})
    match details["type"]:
        case "missing":
            return "this key is missing"
        case "extra_forbidden":
            return _unknown(details["loc"])
        case "value_error":
            return str(context["error"])
        case "model_type" | "dict_type":
            return "expected a table"
        case "tuple_type" | "list_type":
            return "expected a list"
        case "literal_error":
            return f"expected {str(context['expected']).replace(chr(39), chr(34))}"
        case _:
            return details["msg"].replace("Input should be", "expected")


def _unknown(location: tuple[int | str, ...]) -> str:
    """There is no such key; which one was meant."""
    names = [part for part in location if isinstance(part, str)]
    model = _MODELS.get(names[-2], Config) if len(names) > 1 else Config
    known = [name for name in model.model_fields if name not in names[:-1]]
    near = difflib.get_close_matches(names[-1], known, n=1, cutoff=0.5)
    if near:
        return f"there is no such key; did you mean {near[0]}?"
    elsewhere = [section for section, other in _MODELS.items() if names[-1] in other.model_fields]
    if elsewhere:
        return f"there is no such key here; it belongs to {elsewhere[0]}"
    return f"there is no such key; expected one of {', '.join(known)}"
