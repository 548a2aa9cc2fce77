from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.store.cache import BlockKey, DiskCache, MemoryCache

KILLS = 6
# Fills a cache with blocks whose bytes follow from their names, forever, and says when it has begun.
FILLING = """
import itertools, sys
from pathlib import Path
from addon.store.cache import DiskCache
from tests.store.test_cache import content_of
disk = DiskCache(Path(sys.argv[1]), 3_000_000)
disk.open()
print("begun", flush=True)
for number in itertools.count():
    key = (f"{number % 7:02d}", number % 50 * 100_000, 100_000)
    disk.put(key, content_of(key))
    if number % 9 == 0:
        aside = disk.aside(f"{number % 5}-whole")
        aside.write(content_of((f"{number % 5}-whole", 0, 300_000)))
        aside.keep(0)
    if number % 13 == 0:
        disk.forget(key)
"""


def content_of(key: BlockKey) -> bytes:
    return random.Random(f"{key[0]}-{key[1]}").randbytes(key[2])


def block(offset: int, length: int = 10) -> tuple[BlockKey, bytes]:
    """A block of the document `abcd`, and its bytes."""
    return ("abcd", offset, length), bytes([offset % 256]) * length


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 60)), max_size=60))
def test_memory_never_holds_more_than_its_limit_and_never_another_block(puts: list[tuple[int, int]]) -> None:
    cache = MemoryCache(100)
    for offset, length in puts:
        cache.put(*block(offset, length))
        assert cache.bytes_held == sum(map(len, cache._blocks.values())) <= 100
        for other in range(10):
            held = cache.get(("abcd", other, length))
            assert held is None or set(held) <= {other}


def test_memory_drops_what_nobody_asked_for() -> None:
    cache = MemoryCache(30)
    for offset in (1, 2, 3):
        cache.put(*block(offset))
    assert cache.get(block(1)[0]) is not None
    cache.put(*block(4))
    assert cache.get(block(2)[0]) is None
    assert cache.get(block(1)[0]) == block(1)[1]


def test_a_block_larger_than_the_cache_is_not_kept(tmp_path: Path) -> None:
    cache, disk = MemoryCache(5), DiskCache(tmp_path / "cache", 5)
    disk.open()
    cache.put(*block(1))
    assert (cache.get(block(1)[0]), cache.bytes_held) == (None, 0)
    assert not disk.put(*block(1))
    assert files_of(tmp_path / "cache") == []


@pytest.fixture
def disk(tmp_path: Path) -> DiskCache:
    cache = DiskCache(tmp_path / "cache", 30)
    cache.open()
    return cache


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_disk_keeps_blocks_over_a_restart(disk: DiskCache, tmp_path: Path) -> None:
    assert disk.put(*block(7))
    again = DiskCache(tmp_path / "cache", 30)
    again.open()
    assert again.get(block(7)[0]) == block(7)[1]
    assert again.bytes_held == 10


def test_disk_never_holds_more_than_its_limit(disk: DiskCache, tmp_path: Path) -> None:
    for offset in range(10):
        disk.put(*block(offset * 10))
    assert disk.bytes_held == sum(path.stat().st_size for path in files_of(tmp_path / "cache")) == 30
    assert disk.get(block(0)[0]) is None
    assert disk.get(block(90)[0]) == block(90)[1]


def test_a_smaller_limit_after_a_restart_is_kept_at_once(disk: DiskCache, tmp_path: Path) -> None:
    for offset in range(3):
        disk.put(*block(offset * 10))
    smaller = DiskCache(tmp_path / "cache", 15)
    smaller.open()
    assert smaller.bytes_held == 10
    assert len(files_of(tmp_path / "cache")) == 1


def test_a_piece_holds_the_blocks_that_lie_in_it(disk: DiskCache, tmp_path: Path) -> None:
    disk.put(("abcd", 3, 4), b"3456")
    aside = disk.aside("abcd")
    aside.write(b"0123456789")
    aside.write(b"abcdef")
    assert disk.get(("abcd", 10, 6)) is None, "nothing counts before it is complete"
    assert aside.keep(0)
    assert disk.get(("abcd", 10, 6)) == b"abcdef"
    assert disk.get(("abcd", 3, 4)) == b"3456"
    assert disk.get(("abcd", 11, 6)) is None, "it ends beyond the piece"
    assert disk.get(("abce", 3, 4)) is None, "another document"
    assert disk.bytes_held == 16, "what lay in the same place went"
    assert [path.name for path in files_of(tmp_path / "cache")] == ["abcd-0-16"]
    disk.forget(("abcd", 3, 4))
    assert (disk.get(("abcd", 10, 6)), disk.bytes_held) == (None, 0)


def test_what_a_killed_process_left_half_written_is_cleared(disk: DiskCache, tmp_path: Path) -> None:
    disk.put(*block(1))
    half = tmp_path / "cache" / "ab" / "0123.new"
    half.write_bytes(b"half")
    short = tmp_path / "cache" / "ab" / "abcd-50-10"
    short.write_bytes(b"half")
    again = DiskCache(tmp_path / "cache", 30)
    again.open()
    assert [path.name for path in files_of(tmp_path / "cache")] == ["abcd-1-10"]
    assert (again.bytes_held, again.holds(("abcd", 50, 10))) == (10, False)


def test_a_process_killed_at_any_moment_leaves_whole_blocks_only(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    found = 0
    for number in range(KILLS):
        filling = subprocess.Popen([sys.executable, "-c", FILLING, folder], stdout=subprocess.PIPE, text=True)
        assert filling.stdout is not None
        assert filling.stdout.readline() == "begun\n"
        try:
            filling.wait(0.02 + 0.05 * number)
        except subprocess.TimeoutExpired:
            filling.send_signal(signal.SIGKILL)
        filling.wait()
        filling.stdout.close()
        again = DiskCache(folder, 3_000_000)
        again.open()
        files = files_of(folder)
        assert again.bytes_held == sum(path.stat().st_size for path in files) <= 3_000_000
        for path in files:
            document_id, offset, length = path.name.rsplit("-", 2)
            key = (document_id, int(offset), int(length))
            data = again.get(key)
            assert data is not None
            assert hashlib.sha256(data).digest() == hashlib.sha256(content_of(key)).digest()
        found += len(files)
    assert found, "none of the killed processes had kept anything"


def test_a_file_that_vanished_is_a_miss_and_no_longer_counted(disk: DiskCache, tmp_path: Path) -> None:
    disk.put(*block(1))
    for path in files_of(tmp_path / "cache"):
        path.unlink()
    assert disk.get(block(1)[0]) is None
    assert disk.bytes_held == 0


def test_a_folder_that_cannot_be_written_costs_only_the_cache(disk: DiskCache, tmp_path: Path) -> None:
    (tmp_path / "cache" / "ab").write_text("a file where a folder should be")
    assert disk.put(*block(1)) is False
    assert disk.get(block(1)[0]) is None


def test_many_threads_at_once_keep_the_books_right(disk: DiskCache, tmp_path: Path) -> None:
    def work(worker: int) -> None:
        for number in range(200):
            key = (f"{worker:02d}", number % 4 * 10, number % 9 + 1)
            disk.put(key, bytes([worker]) * key[2])
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
