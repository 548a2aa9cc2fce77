"""The one thread that writes.

Group commit: while one transaction waits for the disk, more writes arrive; they share the next transaction and its one fsync. Each
runs in a savepoint, so one that fails is undone alone, and each caller hears of success only after the commit. Writes are
carried out in the order in which they were submitted.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from addon.index.errors import unavailable
from addon.store.ports import IndexUnavailable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Write:
    work: Callable[[Connection], Any]
    future: Future[Any]


class _TransactionLost(Exception):
    """The database ended the whole transaction by itself: nothing of it happened."""

    def __init__(self, error: SQLAlchemyError) -> None:
        super().__init__()
        self.error = error


class Writer:
    """Runs work on its own connection in its own thread, one transaction after another.

    `connect` opens a connection whose transactions take the write lock; `check` is asked before each transaction whether the
    database is still there; `is_lost` tells whether the database gave up the transaction that it was in. At most
    `queue_length_max` writes wait, and at most `group_length_max` share a transaction.
    """

    def __init__(
        self,
        *,
        connect: Callable[[], Connection],
        check: Callable[[], None],
        is_lost: Callable[[Connection], bool],
        queue_length_max: int,
        group_length_max: int,
    ) -> None:
        self._connect, self._check, self._is_lost = connect, check, is_lost
        self._group_length_max = group_length_max
        # One place more than may wait: for the sign that ends the thread.
        self._queue: queue.Queue[_Write | None] = queue.Queue()
        self._queue_length_max = queue_length_max
        self._lock = threading.Lock()
        self._closed = False
        self._connection: Connection | None = None
        # Not kept alive for it at exit: what was acknowledged is on the disk, and nothing else was promised.
        self._thread = threading.Thread(target=self._run, name="index-writer", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Carry out `work` in a transaction; its result, once that is durable. Raises IndexUnavailable, or what `work` raised.

        A caller who is cancelled while its work still waits in the queue takes it back; later, it is carried out all the same.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise IndexUnavailable("the index is closed")
            if self._queue.qsize() >= self._queue_length_max:
                raise IndexUnavailable(f"{self._queue_length_max} writes wait for the index already")
            self._queue.put(_Write(work, future))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Carry out what waits, then end the thread. Blocks; may be called more than once."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        open_for_more = True
        while open_for_more:
            group: list[_Write] = []
            entry = self._queue.get()
            while entry is not None:
                if entry.future.set_running_or_notify_cancel():
                    group.append(entry)
                if len(group) >= self._group_length_max:
                    break
                try:
                    entry = self._queue.get_nowait()
                except queue.Empty:
                    break
            open_for_more = entry is not None
            if group:
                self._carry_out(group)
        self._disconnect()

    def _carry_out(self, group: Sequence[_Write]) -> None:
        """One transaction; every future of the group is resolved when this returns."""
        try:
            outcomes = self._transaction(group)
        except (SQLAlchemyError, _TransactionLost, OSError, IndexUnavailable) as failure:
            self._disconnect()
            cause = failure.error if isinstance(failure, _TransactionLost) else failure
            error = cause if isinstance(cause, IndexUnavailable) else unavailable("written", cause)
            error.__cause__ = None if error is cause else cause
            outcomes = [error] * len(group)
        except BaseException as failure:  # noqa: BLE001 -- a defect must reach the callers that wait, and not end the thread
            self._disconnect()
            outcomes = [failure] * len(group)
        for write, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                write.future.set_exception(outcome)
            else:
                write.future.set_result(outcome[0])

    def _transaction(self, group: Sequence[_Write]) -> Sequence[tuple[Any] | BaseException]:
        self._check()
        if self._connection is None:
            self._connection = self._connect()
        with self._connection.begin():
            return [self._in_savepoint(self._connection, write.work) for write in group]

    def _in_savepoint(self, connection: Connection, work: Callable[[Connection], Any]) -> tuple[Any] | BaseException:
        """The result of one piece of work in a tuple, or what it raised after everything that it did was undone."""
        savepoint = connection.begin_nested()
        try:
            result = work(connection)
            savepoint.commit()
        except SQLAlchemyError as error:
            if self._is_lost(connection):
                raise _TransactionLost(error) from error
            savepoint.rollback()
            mapped = unavailable("written", error)
            mapped.__cause__ = error
            return mapped
        except Exception as error:  # noqa: BLE001 -- handed to the caller, who raises it
            savepoint.rollback()
            return error
        return (result,)

    def _disconnect(self) -> None:
        """Let go of the connection, and with it of any transaction; the next group opens another."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            connection.invalidate()
            connection.close()
        except SQLAlchemyError:
            connection.detach()
