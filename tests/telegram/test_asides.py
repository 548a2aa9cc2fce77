"""What was found out here, and what other processes found out, whichever was known first."""

from __future__ import annotations

import logging

import httpx
import pytest

from addon.store.send_ledger import PairFacts
from addon.telegram.asides import Asides, Pair
from addon.telegram.client import BotApi, Timeouts
from tests.standin_fixture import BOT_A, BOT_A_ID, CHANNEL


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def pair() -> Pair:
    return Pair(BotApi("http://127.0.0.1:1", BOT_A, httpx.AsyncHTTPTransport(), Timeouts()), CHANNEL)


def aside(left_s: float = 30.0) -> PairFacts:
    return PairFacts(BOT_A_ID, CHANNEL, aside_for_s=10.0, aside_left_s=left_s, reason="kicked")


def test_what_others_found_out_counts_and_ends_with_them(pair: Pair) -> None:
    clock = Clock()
    asides = Asides(clock)
    asides.learn(pair, aside(), asides.mark())
    assert asides.until_s(pair) == clock.now_s + 30
    assert asides.to_be_asked([pair]) == []
    clock.now_s += 30
    assert asides.to_be_asked([pair]) == [pair]
    asides.learn(pair, None, asides.mark())
    assert asides.to_be_asked([pair]) == []
    assert asides.until_s(pair) < 0


def test_an_answer_that_is_older_than_what_was_told_does_not_count(pair: Pair) -> None:
    asides = Asides(Clock())
    before = asides.mark()
    asides.set_aside(pair, "kicked")
    asides.is_being_told(pair)
    asides.learn(pair, None, asides.mark())
    assert asides.until_s(pair) > 0, "they do not know yet"
    asides.told(pair)
    asides.learn(pair, None, before)
    assert asides.until_s(pair) > 0, "they were asked before they knew"
    asides.learn(pair, None, asides.mark())
    assert asides.until_s(pair) < 0
    assert asides.found_to_work(pair) is False
    asides.is_being_told(pair)
    asides.learn(pair, aside(), asides.mark())
    assert asides.until_s(pair) < 0, "that it works again is on its way to them"


def test_each_outage_is_said_once(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    asides = Asides(clock)
    for _ in range(4):
        asides.set_aside(pair, "kicked")
        clock.now_s = max(clock.now_s, asides.until_s(pair))
    asides.found_to_work(pair)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [text.partition(" for ")[0] for text in warnings] == [
        f"bot {BOT_A_ID} in chat {CHANNEL} is set aside",
        f"bot {BOT_A_ID} works again in chat {CHANNEL}",
    ]


def test_one_that_fails_again_right_after_it_was_found_to_work_waits_longer(pair: Pair) -> None:
    clock = Clock()
    asides = Asides(clock)
    assert asides.set_aside(pair, "kicked") == 5
    clock.now_s += 5
    assert asides.found_to_work(pair)
    assert asides.set_aside(pair, "no right to send documents") == 10
    clock.now_s += 10
    assert asides.worked(pair)
    assert asides.set_aside(pair, "kicked") == 5
