"""Faults: rules that are matched against requests in order, and the actions that they order. Pure: no I/O.

A rule is a JSON object:

    {"match": {"method": "sendDocument", "chat_id": -1001, "nth": 2, "min_bytes": 1000},
     "times": 1, "action": {"kind": "rate", "retry_after": 5}}

`method` is a method's name, "download" for the file host, or "*". One of `nth` (only the nth matching request), `every` (each
nth) and `probability` (seeded) may narrow it. `times` is how often the rule fires, null for ever, 1 when left out. Rules that act
before a body was read know only the head: its method, the chat_id in the query, and the declared length (a chunked body counts
as longer than any `min_bytes`).
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

RULES_MAX = 1000

# Each action with its parameters and their defaults; `phase` before leaves the state unchanged, after executes the request first.
ACTIONS: dict[str, dict[str, Any]] = {
    "rate": {"retry_after": 1, "phase": "before", "hold": True},
    "rate_text400": {"retry_after": 1, "phase": "before"},
    "http": {"code": 502, "form": "html", "phase": "before"},
    "http413": {"form": "json", "phase": "before"},
    "reset": {"at": "before_answer", "bytes": 0, "how": "rst", "phase": "before"},
    "hang": {"seconds": None, "phase": "before"},
    "slow": {"bytes_per_s": 1_000_000, "direction": "download"},
    "truncate": {"bytes": 0, "honest_length": False},
    "empty200": {"phase": "before"},
    "corrupt": {"offset": 0, "count": 1},
    "wrong_json": {"form": "invalid", "phase": "after"},
    "drop_field": {"path": "document", "value": None},
    "as_type": {"type": "animation", "replace_bytes": False},
    "unavailable": {"phase": "before"},
    "invalid_file_id": {"permanent": False},
    "expire_paths": {},
    "path404": {"times": 1},
    "unauthorized": {"phase": "before"},
    "kick": {},
    "unkick": {},
    "migrate": {"new_id": 0},
    "delete_message": {"chat_id": 0, "message_id": 0},
    "duplicate": {},
    "reorder": {"wait_s": 1.0},
    "conflict": {"phase": "before"},
}

_CHOICES: dict[tuple[str, str], tuple[str, ...]] = {
    ("http", "form"): ("html", "json", "restart"),
    ("http413", "form"): ("html", "json", "reset"),
    ("reset", "at"): ("request_headers", "request_body", "before_answer", "answer_body"),
    ("reset", "how"): ("rst", "fin"),
    ("slow", "direction"): ("download", "upload"),
    ("wrong_json", "form"): ("invalid", "no_result", "null"),
    ("as_type", "type"): ("animation", "video", "audio", "voice", "sticker"),
}
_PHASES = ("before", "after")
_MATCH_KEYS = frozenset({"method", "chat_id", "nth", "every", "probability", "min_bytes"})

Stage = Literal["head", "call"]


@dataclass(frozen=True, slots=True)
class Action:
    kind: str
    parameters: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.parameters[name]

    @property
    def after(self) -> bool:
        """True when the request is executed although its answer is lost."""
        return self.parameters.get("phase") == "after"

    @property
    def stage(self) -> Stage:
        """`head` for what acts on the request while it arrives, `call` for what acts when it is complete."""
        if self.kind == "reset" and self["at"] in ("request_headers", "request_body"):
            return "head"
        if (self.kind == "slow" and self["direction"] == "upload") or (
            self.kind == "http413" and self["form"] == "reset"
        ):
            return "head"
        return "call"


@dataclass(frozen=True, slots=True)
class Subject:
    """What rules are matched against."""

    method: str
    chat_id: int | None
    size: int | None  # bytes of the body; None while it is not known


@dataclass(slots=True)
class Rule:
    method: str
    chat_id: int | None
    nth: int | None
    every: int | None
    probability: float | None
    min_bytes: int | None
    times_left: int | None
    action: Action
    seen: int = 0
    fired: int = 0

    def matches(self, subject: Subject) -> bool:
        if self.method not in ("*", subject.method) or self.times_left == 0:
            return False
        if self.chat_id is not None and self.chat_id != subject.chat_id:
            return False
        return self.min_bytes is None or subject.size is None or subject.size >= self.min_bytes

    def as_dict(self) -> dict[str, Any]:
        """The rule as the control port shows it."""
        return {
            "method": self.method,
            "chat_id": self.chat_id,
            "times_left": self.times_left,
            "seen": self.seen,
            "fired": self.fired,
            "action": {"kind": self.action.kind, **self.action.parameters},
        }


class FaultError(Exception):
    """A rule that cannot be understood; the text says why."""


def parse_rule(value: Any) -> Rule:
    """A rule from its JSON object. Raises FaultError for anything unknown in it, so that no test relies on a misspelt fault."""
    if not isinstance(value, dict) or not set(value) <= {"match", "times", "action"} or "action" not in value:
        raise FaultError("a rule is an object with action, and perhaps match and times")
    match = value.get("match", {})
    if not isinstance(match, dict) or not set(match) <= _MATCH_KEYS:
        raise FaultError(f"match is an object with keys out of {sorted(_MATCH_KEYS)}")
    times = value.get("times", 1)
    if times is not None and (not isinstance(times, int) or times < 1):
        raise FaultError("times is a number from 1, or null for ever")
    return Rule(
        method=str(match.get("method", "*")).lower(),
        chat_id=match.get("chat_id"),
        nth=match.get("nth"),
        every=match.get("every"),
        probability=match.get("probability"),
        min_bytes=match.get("min_bytes"),
        times_left=times,
        action=_parse_action(value["action"]),
    )


def _parse_action(value: Any) -> Action:
    if isinstance(value, str):
        value = {"kind": value}
    if not isinstance(value, dict) or value.get("kind") not in ACTIONS:
        raise FaultError(f"action.kind is one of {sorted(ACTIONS)}")
    kind = value["kind"]
    known = ACTIONS[kind]
    parameters = {name: field for name, field in value.items() if name != "kind"}
    if unknown := set(parameters) - set(known):
        raise FaultError(f"{kind} has no parameter {sorted(unknown)[0]!r}; it has {sorted(known)}")
    for name, given in parameters.items():
        choices = _PHASES if name == "phase" else _CHOICES.get((kind, name))
        if choices and given not in choices:
            raise FaultError(f"{kind}.{name} is one of {choices}")
    return Action(kind, {**known, **parameters})


@dataclass(slots=True)
class Faults:
    """The rules in force."""

    seed: int
    rules: list[Rule] = field(default_factory=list)
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - reproducible tests, not secrets

    def add(self, values: list[Any]) -> None:
        """Append rules from their JSON objects: all of them, or none and FaultError."""
        rules = [parse_rule(value) for value in values]
        if len(self.rules) + len(rules) > RULES_MAX:
            raise FaultError(f"more than {RULES_MAX} rules")
        self.rules.extend(rules)

    def clear(self) -> None:
        self.rules.clear()
        self._random.seed(self.seed)

    def match(self, subject: Subject, stage: Stage) -> Action | None:
        """The action for this request at this stage, of the first rule that fires; every rule that matches counts the request."""
        chosen: Rule | None = None
        for rule in self.rules:
            if rule.action.stage != stage or not rule.matches(subject):
                continue
            rule.seen += 1
            if chosen is None and self._fires(rule):
                chosen = rule
        if chosen is None:
            return None
        chosen.fired += 1
        if chosen.times_left is not None:
            chosen.times_left -= 1
        return chosen.action

    def _fires(self, rule: Rule) -> bool:
        if rule.nth is not None and rule.seen != rule.nth:
            return False
        if rule.every is not None and rule.seen % rule.every != 0:
            return False
        return rule.probability is None or self._random.random() < rule.probability
