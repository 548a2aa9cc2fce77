"""What is tried again, how often, and after which pauses."""

from __future__ import annotations

import pytest

from addon.store.ports import (
    DocumentLost,
    OriginChanged,
    OriginRefused,
    OriginUnavailable,
    StoreError,
    TelegramUnavailable,
)
from addon.store.retrying import Retries


class Work:
    """Fails in these ways, one after another, and then gives 7."""

    def __init__(self, *failures: StoreError) -> None:
        self.failures, self.calls, self.pauses_s = list(failures), 0, list[float]()

    async def __call__(self) -> int:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return 7

    async def sleep(self, pause_s: float) -> None:
        self.pauses_s.append(pause_s)

    def retries(self, attempts_max: int = 5) -> Retries:
        return Retries(attempts_max, delay_s_min=1, delay_s_max=5, sleep=self.sleep, jitter=lambda: 1.0)


async def test_pauses_grow_and_are_bounded() -> None:
    work = Work(*[OriginUnavailable("down")] * 4)
    assert await work.retries().run(work) == 7
    assert work.pauses_s == [1, 2, 4, 5]


async def test_the_last_failure_is_raised() -> None:
    work = Work(OriginUnavailable("down"), OriginChanged("changed"), TelegramUnavailable("flood", retry_after_s=0))
    with pytest.raises(TelegramUnavailable):
        await work.retries(attempts_max=3).run(work)
    assert (work.calls, work.pauses_s) == (3, [1, 2])


async def test_what_is_asked_for_is_waited_up_to_the_bound() -> None:
    work = Work(OriginUnavailable("slow", retry_after_s=3), OriginUnavailable("slower", retry_after_s=3600))
    assert await work.retries().run(work) == 7
    assert work.pauses_s == [3, 5]


@pytest.mark.parametrize("final", [OriginRefused("no", status=403), DocumentLost("gone")])
async def test_what_is_final_passes_at_once(final: StoreError) -> None:
    work = Work(final)
    with pytest.raises(type(final)):
        await work.retries().run(work)
    assert work.calls == 1
