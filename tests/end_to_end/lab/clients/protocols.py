"""What the tests ask of a client: single objects with their headers, or everything under a prefix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tests.end_to_end.lab.target import Got, Target

PART_BYTES = 5 * 1024 * 1024
"""The smallest part that S3 takes: the size that clients are told to use, where they can be told."""


class Client(Protocol):
    """One object at a time.

    ``put`` returns nothing: what was stored is always looked at through a read. A client that cannot do an operation
    raises ``NotImplementedError``. Errors of the server become ``Refused``.
    """

    name: str

    def why_not_here(self) -> str | None: ...
    def put(self, target: Target, key: str, file: Path, content_type: str) -> None: ...
    def get(self, target: Target, key: str, scratch: Path) -> Got: ...
    def head(self, target: Target, key: str) -> dict[str, str]: ...
    def delete(self, target: Target, key: str) -> None: ...


class FolderClient(Protocol):
    """Everything under a prefix that ends with a slash, as the program's users would do it.

    Whatever does not succeed raises ``LabError``. ``multiparts`` says whether a file of several ``PART_BYTES`` goes
    up in parts; ``moves`` whether the client knows a move; ``copies_odd_names`` whether it can copy a name with a space.
    """

    name: str
    multiparts: bool
    moves: bool
    copies_odd_names: bool

    def why_not_here(self) -> str | None: ...
    def version(self) -> str: ...

    def listed(self, target: Target, prefix: str) -> list[tuple[str, int]]:
        """Each key that it shows with its size in bytes; a key shown twice is in the list twice."""
        ...

    def download(self, target: Target, prefix: str, folder: Path) -> None:
        """Put every object under ``folder``, at its key without the prefix."""
        ...

    def upload(self, target: Target, folder: Path, prefix: str) -> None: ...
    def copy(self, target: Target, prefix: str, names: Sequence[str], to: str) -> None:
        """Copy these names under ``prefix`` to the same names under the prefix ``to``, in the bucket."""
        ...

    def move(self, target: Target, prefix: str, names: Sequence[str], to: str) -> None: ...
    def delete(self, target: Target, prefix: str, names: Sequence[str]) -> None: ...
    def delete_all(self, target: Target, prefix: str) -> None: ...


class SyncClient(Protocol):
    """One that makes two trees alike and sends only what differs."""

    name: str

    def why_not_here(self) -> str | None: ...

    def sync_up(self, target: Target, folder: Path, prefix: str) -> list[str]:
        """Make the keys under ``prefix`` those of ``folder``, deleting what it has not; return a line for each change."""
        ...

    def sync_down(self, target: Target, prefix: str, folder: Path) -> list[str]:
        """The other way round."""
        ...


def files_under(folder: Path) -> dict[str, Path]:
    """Each file by its path from ``folder``, with slashes."""
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
