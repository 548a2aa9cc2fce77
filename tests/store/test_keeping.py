from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from addon.store.keeping import HITS_COUNTED_MAX, Keeping

STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "add proven", "hit", "remove"]), st.integers(0, 12), st.integers(0, 60)),
    max_size=200,
)


@given(STEPS)
def test_the_books_are_right_and_the_limit_holds(steps: list[tuple[str, int, int]]) -> None:
    keeping: Keeping[int] = Keeping(100)
    kept: dict[int, int] = {}
    for step, name, size in steps:
        if step == "hit":
            assert keeping.hit(name) == (name in kept)
        elif step == "remove":
            keeping.remove(name)
            kept.pop(name, None)
        elif name not in kept:
            kept[name] = size
            for gone in keeping.add(name, size, proven=step == "add proven"):
                del kept[gone]
        assert set(keeping) == set(kept)
        assert len(keeping) == len(kept)
        assert keeping.bytes_held == sum(kept.values()) <= 100
        assert all((one in keeping) == (one in kept) for one in range(13))


def test_one_scan_pushes_out_nothing_that_is_asked_for_again_and_again() -> None:
    keeping: Keeping[str] = Keeping(1000)
    popular = [f"popular {number}" for number in range(80)]
    for name in popular:
        keeping.add(name, 10)
        keeping.hit(name)
    for number in range(10_000):
        keeping.add(f"scanned {number}", 10)
        if number % 100 == 0:
            assert all(keeping.hit(name) for name in popular)
    assert all(name in keeping for name in popular)


def test_what_was_dropped_and_comes_back_outlives_a_scan() -> None:
    keeping: Keeping[str] = Keeping(1000)
    for number in range(100):
        keeping.add(f"first {number}", 10)
    gone = keeping.add("one more", 10)
    assert gone == ["first 0"]
    keeping.add("first 0", 10)
    for number in range(1000):
        keeping.add(f"scanned {number}", 10)
    assert "first 0" in keeping


def test_what_was_popular_once_does_not_stay_for_ever() -> None:
    keeping: Keeping[str] = Keeping(100)
    keeping.add("old", 50)
    for _ in range(100):
        keeping.hit("old")
    for number in range(20 * HITS_COUNTED_MAX):
        keeping.add(f"new {number}", 10)
        keeping.hit(f"new {number}")
    assert "old" not in keeping


def test_what_survived_a_restart_is_not_the_first_to_go() -> None:
    keeping: Keeping[str] = Keeping(100)
    for number in range(9):
        keeping.add(f"kept {number}", 10, proven=True)
    for number in range(100):
        keeping.add(f"scanned {number}", 10)
    assert sum(name.startswith("kept") for name in keeping) == 9
