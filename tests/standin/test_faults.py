"""Which fault a request meets."""

from typing import Any

import pytest

from addon.standin.faults import ACTIONS, FaultError, Faults, Subject, parse_rule

SEND = Subject("senddocument", -1, 5000)


def hits(rules: list[dict[str, Any]], subjects: list[Subject], stage: Any = "call") -> list[str]:
    faults = Faults(seed=1)
    faults.add(rules)
    actions = [faults.match(subject, stage) for subject in subjects]
    return ["-" if action is None else action.kind for action in actions]


def test_rules_are_used_up_in_order() -> None:
    rules = [
        {"match": {"method": "sendDocument"}, "action": "rate"},
        {"match": {"method": "sendDocument"}, "times": 2, "action": "http"},
    ]
    assert hits(rules, [SEND] * 4) == ["rate", "http", "http", "-"]


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({"nth": 3}, ["-", "-", "empty200", "-", "-", "-"]),
        ({"every": 2}, ["-", "empty200", "-", "empty200", "-", "empty200"]),
        ({"probability": 0.0}, ["-"] * 6),
        ({"probability": 1.0}, ["empty200"] * 6),
        ({"chat_id": -2}, ["-"] * 6),
        ({"chat_id": -1}, ["empty200"] * 6),
        ({"min_bytes": 5001}, ["-"] * 6),
        ({"min_bytes": 5000}, ["empty200"] * 6),
        ({"method": "getFile"}, ["-"] * 6),
        ({"method": "*"}, ["empty200"] * 6),
        ({}, ["empty200"] * 6),
    ],
)
def test_what_a_rule_matches(match: dict[str, Any], expected: list[str]) -> None:
    assert hits([{"match": match, "times": None, "action": "empty200"}], [SEND] * 6) == expected


def test_chance_is_the_same_for_the_same_seed() -> None:
    rule = {"match": {"probability": 0.5}, "times": None, "action": "empty200"}
    first, second = hits([rule], [SEND] * 50), hits([rule], [SEND] * 50)
    assert first == second
    assert 10 < first.count("-") < 40


def test_what_acts_on_the_upload_is_matched_with_the_head_alone() -> None:
    rule = {"match": {"min_bytes": 10}, "action": {"kind": "reset", "at": "request_body", "bytes": 5}}
    assert hits([rule], [SEND], "call") == ["-"]
    assert hits([rule], [Subject("senddocument", None, None)], "head") == ["reset"]


@pytest.mark.parametrize(
    "rule",
    [
        5,
        {},
        {"action": "nothing"},
        {"action": {"kind": "rate", "retry": 5}},
        {"action": {"kind": "http", "form": "xml"}},
        {"action": {"kind": "rate", "phase": "during"}},
        {"action": "rate", "match": {"bot": 1}},
        {"action": "rate", "times": 0},
        {"action": "rate", "extra": 1},
    ],
)
def test_a_misspelt_rule_is_refused(rule: Any) -> None:
    with pytest.raises(FaultError):
        parse_rule(rule)


def test_one_wrong_rule_refuses_them_all() -> None:
    faults = Faults(seed=0)
    with pytest.raises(FaultError):
        faults.add([{"action": "rate"}, {"action": "nothing"}])
    assert faults.rules == []


@pytest.mark.parametrize("kind", sorted(ACTIONS))
def test_every_action_can_be_ordered_by_its_name(kind: str) -> None:
    assert parse_rule({"action": kind}).as_dict()["action"]["kind"] == kind
