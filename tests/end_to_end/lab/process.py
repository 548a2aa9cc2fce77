"""Child processes: started with a log file, awaited by probing, stopped or killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

POLL_PAUSE_S = 0.05
STOP_LIMIT_S = 15.0
LOG_TAIL_BYTES_MAX = 6000


class LabError(Exception):
    """A piece of the laboratory did not do what it must; says nothing about the product unless its log does."""


_held: list[socket.socket] = []


def held_port() -> int:
    """A TCP port of 127.0.0.1 that is nobody else's until this process ends.

    A socket that is bound to it and never listens holds it: with SO_REUSEADDR on both (socket(7)), a server can listen
    there, again after a restart too, while the system gives the number neither to a connection nor to whoever asks for
    any free port. Until something listens, connections are refused.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    _held.append(holder)
    return int(holder.getsockname()[1])


def listening(port: int) -> bool:
    """Whether something accepts connections on this port of 127.0.0.1."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False


def wait_for(condition: Callable[[], object], limit_s: float, what: str) -> None:
    """Return as soon as ``condition`` holds.

    Raises:
        LabError: it did not hold within ``limit_s`` seconds; the text says ``what`` was awaited.
    """
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"not within {limit_s:g} s: {what}")
        time.sleep(POLL_PAUSE_S)


class LabProcess:
    """One child process. Its output goes to ``log``; a restart appends to the same file."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        log: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.argv = [str(word) for word in argv]
        self.log = log
        self.cwd = cwd
        self.env = dict(env or {})
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self.child = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.cwd,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.env},
            )

    @property
    def running(self) -> bool:
        return self.child is not None and self.child.poll() is None

    @property
    def pid(self) -> int:
        assert self.child is not None, f"{self.name} was never started"
        return self.child.pid

    def wait_until(self, ready: Callable[[], object], limit_s: float) -> None:
        """Wait for ``ready``; an exit of the process before that is an error with the end of its log."""

        def ready_or_gone() -> bool:
            if not self.running:
                raise LabError(f"{self.name} ended with status {self.exit_status()}:\n{self.log_tail()}")
            return bool(ready())

        try:
            wait_for(ready_or_gone, limit_s, f"{self.name} is ready")
        except LabError as error:
            self.kill()
            raise LabError(f"{error}\n{self.log_tail()}") from None

    def exit_status(self, limit_s: float = STOP_LIMIT_S) -> int:
        """Wait for the process to end by itself, and return its status (negative: the signal that ended it)."""
        assert self.child is not None, f"{self.name} was never started"
        try:
            return self.child.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name} still runs after {limit_s:g} s:\n{self.log_tail()}") from None

    def stop(self) -> None:
        """Ask the process to end; after ``STOP_LIMIT_S`` it is killed."""
        if self.child is None:
            return
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                self.child.kill()
        self.child.wait()

    def kill(self) -> None:
        """End the process at once, as a power cut would end it."""
        if self.child is not None and self.child.poll() is None:
            self.child.send_signal(signal.SIGKILL)
        if self.child is not None:
            self.child.wait()

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_tail(self) -> str:
        return self.log_text()[-LOG_TAIL_BYTES_MAX:]
