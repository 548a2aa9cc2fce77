"""Reads: in the calling thread where they are short, in a few threads of their own where they are not.

A point read takes some ten microseconds of SQLite's time, and a hop to another thread and back about a hundred: so `key_state`,
which every request asks for, reads where it is called, on an event loop. Nothing there waits for a lock: with the write-ahead
log no reader waits for a writer, and in the rare case that the file is locked after all (another process recovers it) the read is
done again in a thread that may wait.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from addon.index.errors import mapped
from addon.store.ports import IndexUnavailable

T = TypeVar("T")


class Reader:
    """Runs work that only reads. `point_connection` must not wait for locks, those of `engine` may; the reader closes them.

    At most `threads` reads run in threads and `queue_length_max` wait for one.
    """

    def __init__(self, *, point_connection: Connection, engine: Engine, threads: int, queue_length_max: int) -> None:
        self._point_connection, self._engine = point_connection, engine
        self._point_lock = threading.Lock()
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="index-reader")
        self._under_way_max = threads + queue_length_max
        self._under_way = 0
        self._idle: list[Connection] = []
        self._closed = False

    async def point(self, work: Callable[[Connection], T]) -> T:
        """A read of one key, in the calling thread."""
        if self._closed:
            raise IndexUnavailable("the index is closed")
        try:
            with self._point_lock:
                return work(self._point_connection)
        except SQLAlchemyError:
            return await self.run(work)

    async def run(self, work: Callable[[Connection], T]) -> T:
        """A read of any length, in another thread. Each statement sees one commit; two may see two."""
        if self._closed:
            raise IndexUnavailable("the index is closed")
        if self._under_way >= self._under_way_max:
            raise IndexUnavailable(f"{self._under_way_max} reads of the index are under way already")
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, self._in_thread, work)
        finally:
            self._under_way -= 1

    def close(self) -> None:
        """Let the reads under way end, then let go of the connections. Blocks; may be called more than once."""
        self._closed = True
        self._executor.shutdown(wait=True)
        with self._point_lock:
            self._point_connection.close()
        while self._idle:
            self._idle.pop().close()

    def _in_thread(self, work: Callable[[Connection], T]) -> T:
        with mapped("read"):
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._engine.connect()
            try:
                result = work(connection)
            except BaseException:
                connection.close()
                raise
            self._idle.append(connection)
            return result
