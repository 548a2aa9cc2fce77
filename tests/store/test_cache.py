from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.store.cache import DiskCache, MemoryCache


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60)), max_size=60))
def test_memory_never_holds_more_than_its_limit_and_never_another_block(puts: list[tuple[int, int]]) -> None:
    cache = MemoryCache(100)
    for offset, length in puts:
        cache.put(("document", offset, 10), bytes([offset]) * length)
        assert cache.bytes_held <= 100
        for other in range(10):
            held = cache.get(("document", other, 10))
            assert held is None or set(held) <= {other}


def test_memory_drops_what_was_unused_for_longest() -> None:
    cache = MemoryCache(30)
    for offset in (1, 2, 3):
        cache.put(("document", offset, 10), b"x" * 10)
    assert cache.get(("document", 1, 10)) is not None
    cache.put(("document", 4, 10), b"x" * 10)
    assert cache.get(("document", 2, 10)) is None
    assert cache.get(("document", 1, 10)) == b"x" * 10


def test_a_block_larger_than_the_cache_is_not_kept() -> None:
    cache = MemoryCache(5)
    cache.put(("document", 0, 10), b"123456")
    assert cache.get(("document", 0, 10)) is None
    assert cache.bytes_held == 0


@pytest.fixture
def disk(tmp_path: Path) -> DiskCache:
    cache = DiskCache(tmp_path / "cache", 30)
    cache.open()
    return cache


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_disk_keeps_blocks_over_a_restart(disk: DiskCache, tmp_path: Path) -> None:
    assert disk.put(("abcd", 7, 10), b"block")
    again = DiskCache(tmp_path / "cache", 30)
    again.open()
    assert again.get(("abcd", 7, 10)) == b"block"
    assert again.bytes_held == 5


def test_disk_never_holds_more_than_its_limit(disk: DiskCache, tmp_path: Path) -> None:
    for offset in range(10):
        disk.put(("abcd", offset, 10), b"x" * 10)
    assert disk.bytes_held == sum(path.stat().st_size for path in files_of(tmp_path / "cache")) == 30
    assert disk.get(("abcd", 0, 10)) is None
    assert disk.get(("abcd", 9, 10)) == b"x" * 10


def test_a_smaller_limit_after_a_restart_is_kept_at_once(disk: DiskCache, tmp_path: Path) -> None:
    for offset in range(3):
        disk.put(("abcd", offset, 10), b"x" * 10)
    smaller = DiskCache(tmp_path / "cache", 15)
    smaller.open()
    assert smaller.bytes_held == 10
    assert len(files_of(tmp_path / "cache")) == 1


def test_what_a_killed_process_left_half_written_is_cleared(disk: DiskCache, tmp_path: Path) -> None:
    disk.put(("abcd", 1, 10), b"x")
    half = tmp_path / "cache" / "ab" / "0123.new"
    half.write_bytes(b"half")
    DiskCache(tmp_path / "cache", 30).open()
    assert not half.exists()


def test_a_file_that_vanished_is_a_miss_and_no_longer_counted(disk: DiskCache, tmp_path: Path) -> None:
    disk.put(("abcd", 1, 10), b"12345")
    for path in files_of(tmp_path / "cache"):
        path.unlink()
    assert disk.get(("abcd", 1, 10)) is None
    assert disk.bytes_held == 0


def test_a_folder_that_cannot_be_written_costs_only_the_cache(disk: DiskCache, tmp_path: Path) -> None:
    (tmp_path / "cache" / "ab").write_text("a file where a folder should be")
    assert disk.put(("abcd", 1, 10), b"x") is False
    assert disk.get(("abcd", 1, 10)) is None


def test_many_threads_at_once_keep_the_books_right(disk: DiskCache, tmp_path: Path) -> None:
    def work(worker: int) -> None:
        for number in range(200):
            key = (f"{worker:02d}", number % 4, 10)
            disk.put(key, bytes([worker]) * (number % 9))
            held = disk.get(key)
            assert held is None or set(held) <= {worker}
            if number % 7 == 0:
                disk.forget(key)

    failures: list[BaseException] = []

    def run(worker: int) -> None:
        try:
            work(worker)
        except BaseException as failure:  # noqa: BLE001 -- carried out of the thread, to the assertion
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failures
    assert disk.bytes_held == sum(path.stat().st_size for path in files_of(tmp_path / "cache")) <= 30
